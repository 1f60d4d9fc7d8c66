"""A scripted judge behind a server on loopback, and solutions whose errors it can see.

It gets what a chat model gets and knows nothing else: it finds the paragraphs by their tags, as a careful
reader would, checks each calculation, and answers in the style that the model's name asks for.
"""

import asyncio
import json
import random
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any, NamedTuple

from benchmarks.fault_kinds import Call
from benchmarks.loopback import Loopback
from benchmarks.reply_forms import NO_VERDICT, STYLES
from benchmarks.reply_styles import EQUATION, NO_ERROR, Verdict, Writer, Written
from pipeline.inputs.segment import segment
from pipeline.policies.tokens import cut_at_stop
from pipeline.prompts.filling import variables
from pipeline.prompts.templates import PROMPTS, JudgePrompt, load_judge
from schemas.records import PolicyIdentity, Problem, Solution, Step

JUDGES = tuple(
    sorted(path.stem for path in PROMPTS.glob("*.txt") if path.read_text("utf-8").startswith("---\n"))
)
"""Every shipped prompt of a judge."""
_TAG = re.compile(r"<\s*(/?)\s*paragraph[ _-]?(\d+)\s*/?\s*>", re.IGNORECASE)
"""A tag as leniently as a model may read it."""


class Seen(NamedTuple):
    """What a judge is shown: the prompt that asks, and the steps as they stand there."""

    prompt: str
    steps: tuple[str, ...]


class Told(NamedTuple):
    """What the judge has answered: the form of its verdict, and how it was worded."""

    verdict: Verdict
    reply: Written


@cache
def _endings() -> Mapping[str, tuple[JudgePrompt, str]]:
    """Each shipped prompt, and its text behind the last variable."""
    found = {}
    for name in JUDGES:
        prompt = load_judge(name)
        last = list(variables(prompt.text))[-1]
        found[name] = prompt, prompt.text.rpartition(last.written)[2]
    return found


def seen(text: str) -> Seen | None:
    """The prompt and the steps in a user's message; None where no shipped prompt asks.

    ValueError where the tags are not exactly one pair a paragraph, in order: then something in a solution has
    got out of its fence.
    """
    fitting = [(ending, name) for name, (_, ending) in _endings().items() if text.endswith(ending)]
    if not fitting:
        return None
    ending, name = max(fitting, key=lambda found: len(found[0]))
    body = text.removesuffix(ending)
    if _endings()[name][0].shows == "text":
        written = body.rpartition("\nSolution:\n")[2]
        return Seen(name, tuple(step.text for step in segment(written)))
    tags = list(_TAG.finditer(body))
    order = [(tag[1], int(tag[2])) for tag in tags]
    if not tags or order != [(end, i) for i in range(len(tags) // 2) for end in ("", "/")]:
        raise ValueError(f"{name}: the tags are {order}")
    pairs = zip(tags[::2], tags[1::2], strict=True)
    return Seen(name, tuple(body[begin.end() + 1 : end.start() - 1] for begin, end in pairs))


def is_wrong(step: str) -> bool:
    """Whether a step has a false calculation, or is a bad one of the simulated policy."""
    sums = {"+": int.__add__, "-": int.__sub__, "*": int.__mul__}
    found = EQUATION.findall(step)
    return (
        step.endswith(": bad")
        or ": bad\n" in step
        or any(sums[op](int(a), int(b)) != int(c) for a, op, b, c in found)
    )


@dataclass
class JudgeServer(Loopback):
    """Answers as a chat model whose name is `PART/STYLE` (`any`: one of all); it names the
    true verdict with chance `accuracy`, else another. `told` has what it said, by model and what it saw."""

    accuracy: float = 1.0
    seed: int = 0
    told: dict[tuple[str, Seen], Told] = field(default_factory=dict)
    broken: list[str] = field(default_factory=list)
    """Prompts whose tags are in disorder."""

    async def _answer(self, head: str, body: bytes, writer: asyncio.StreamWriter) -> None:
        asked, call = json.loads(body or b"{}"), Call({}, True, {}, writer)
        if not head.startswith("POST"):
            await call.send("{}", 200 if "/models" in head else 404)
            return
        text = asked["messages"][-1]["content"]
        choices = [self._choice(asked, text, index) for index in range(asked.get("n") or 1)]
        words = sum(len(choice["message"]["content"].split()) for choice in choices)
        usage = {"prompt_tokens": sum(len(one["content"].split()) for one in asked["messages"])}
        await call.send({"choices": choices, "usage": {**usage, "completion_tokens": words + len(choices)}})

    def _choice(self, asked: Mapping[str, Any], text: str, index: int) -> dict[str, Any]:
        said = self._said(asked["model"], text, f"{asked.get('seed', 0)} {index}")
        cut = cut_at_stop(said.text, asked.get("stop", ()))
        message = {"role": "assistant", "content": said.text if cut is None else cut}
        if said.thought:
            message["reasoning_content"] = said.thought
        return {"index": index, "message": message, "finish_reason": said.stopped}

    def _said(self, model: str, text: str, drawn: str) -> Written:
        try:
            shown = seen(text)
        except ValueError as disorder:
            self.broken.append(str(disorder))
            return Written("The solution's paragraphs are not in order.")
        if shown is None:
            return Written(f"Words for the probe, {random.Random(drawn).random()}")
        part, _, style = model.partition("/")
        # What is said depends on what is seen and on nothing else: asked again, it answers alike.
        rng = random.Random(f"{self.seed} {model} {shown.prompt} {shown.steps}")
        verdict = _verdict(shown.steps, self.accuracy, rng)
        styles = STYLES[load_judge(shown.prompt).reads]
        if style == "any":
            rng = random.Random(f"{self.seed} {drawn} {shown.prompt} {shown.steps}")
            style = rng.choice([*styles])
        # A meta-critique's first call asks for another form than its second, and that has other styles.
        write = NO_VERDICT.get(style) or styles.get(style) or next(iter(styles.values()))
        said = write(Writer(part, verdict, rng))
        reply = said if isinstance(said, Written) else Written(said)
        self.told[model, shown] = Told(verdict, reply)
        return reply


def _verdict(steps: tuple[str, ...], accuracy: float, rng: random.Random) -> Verdict:
    wrong = {step for step, text in enumerate(steps) if is_wrong(text)}
    first = min(wrong, default=NO_ERROR)
    if rng.random() >= accuracy:
        first = rng.choice([step for step in range(NO_ERROR, len(steps)) if step != first])
        wrong = {step for step in range(first + 1, len(steps)) if rng.random() < 0.4}
        wrong |= {first} if first >= 0 else set()
        wrong = wrong if first >= 0 else set()
    score = round(random.Random(f"{first} {len(steps)}").random(), 2)
    return Verdict(steps, first, tuple(sorted(wrong)), score)


# Solutions


_THINGS = ("clips", "apples", "marbles", "tickets")


def solutions(n: int, seed: int = 0) -> list[tuple[Problem, Solution]]:
    """Word problems with chains of calculations, of which half have one or two wrong ones. Half of them deal
    in single digits, so that answers look like numbers of steps."""
    return [_one(random.Random(f"{seed} {i}"), i) for i in range(n)]


def _one(rng: random.Random, number: int) -> tuple[Problem, Solution]:
    most, thing, n_sums = (9, 99)[number % 2], rng.choice(_THINGS), rng.randint(2, 6)
    have = rng.randint(2, most)
    told, steps = [f"Problem {number}. She has {have} {thing}."], [f"At first she has {have} {thing}."]
    wrong = set(rng.sample(range(n_sums), rng.randint(1, 2))) if rng.random() < 0.5 else set()
    for i in range(n_sums):
        op = "-" if have > 4 and rng.random() < 0.5 else "+"
        by = rng.randint(1, have - 1 if op == "-" else most)
        told.append(f"Then she {'gives away' if op == '-' else 'gets'} {by}.")
        gives = (have - by if op == "-" else have + by) + (i in wrong) * rng.randint(1, 3)
        form = rng.choice(("Then she has H.", "So that is H.", "This makes H {thing}.", "Now H remain."))
        steps.append(form.replace("H", f"{have} {op} {by} = {gives}").replace("{thing}", thing))
        have = gives
    steps.append(f"In the end she has {have} {thing}.\n#### {have}")
    problem = Problem(
        text=" ".join([*told, "How many has she in the end?"]), answer=str(have), reference="\n".join(steps)
    )
    return problem, solution(problem, steps)


def solution(problem: Problem, steps: Sequence[str], between: str = "\n") -> Solution:
    """Steps as a solution that was given."""
    starts = [sum(len(one) + len(between) for one in steps[:i]) for i in range(len(steps))]
    spans = tuple(Step(text=one, start=at, end=at + len(one)) for one, at in zip(steps, starts, strict=True))
    who = PolicyIdentity(kind="given", model="")
    return Solution(
        problem_id=problem.id, text=between.join(steps), steps=spans, outcome="correct", policy=who
    )
