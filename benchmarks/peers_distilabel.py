"""Labels beside those of distilabel's own Math-Shepherd completer, on the embedded policy and one set of
solutions.

The bench fetches nothing. Its pins and ours go together, but for packages that it needs beside ours:

    pip install --no-deps --target FOLDER distilabel==1.5.3 nest-asyncio portalocker tblib \\
        universal-pathlib pathlib_abc

`STEPMINT_PEER_DISTILABEL` names this folder, or another from which `distilabel` can be imported, such as
`src` of a checkout.
"""

import asyncio
import importlib
import importlib.util
import os
import re
import sys
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from benchmarks.labels import (
    CHECKS,
    PROMPT,
    SEED,
    Arm,
    Figures,
    Known,
    Labelled,
    bisected,
    faster,
    fused,
    judged,
    measured_of,
    opened,
    propose_two,
    rolled_out,
    timed,
)
from benchmarks.metering import metered
from pipeline.inputs.segment import without_answer
from pipeline.policies.base import Policy, Prompt
from pipeline.prompts.filling import fill
from pipeline.prompts.templates import load_template
from pipeline.sampling.roller import sampling_of
from schemas.config import MonteCarloConfig
from schemas.records import Problem, Solution, seed_of

VARIABLE = "STEPMINT_PEER_DISTILABEL"
PROBLEMS = int(os.environ.get("STEPMINT_PEER_PROBLEMS", "64"))
_COMPLETER = "distilabel.steps.tasks.math_shepherd.completer"
_ANSWER = "The answer is: "
_ASKED = re.compile(
    r"Generate (\d+) example solutions.*\nThis is the problem:\n(.*?) (Step 1: .*)", re.DOTALL
)
_NUMBERED = re.compile(r"Step \d+: ")


def distilabel() -> Figures:
    """Labelled steps for 1,000 tokens: bisection, verifiers and fusion; baseline: distilabel's Math-Shepherd
    completer with 8 completions after every step. Between them our 8 rollouts after every step, labelled as
    in the paper. All label the same solutions, on one decoder, at one temperature and token limit.

    `faster` is how many times our seconds distilabel takes, by wall clock and CPU.
    """
    ours, plain, theirs = Arm(), Arm(), Arm()
    labelled: Labelled = []

    with _imported() as (completer, base):

        async def work(policy: Policy, posed: list[Problem]) -> None:
            for arm, draw in ((ours, bisected), (plain, rolled_out)):
                await timed(arm, await propose_two(policy, posed), draw)
            known = await propose_two(policy, posed)
            labelled.extend(await _complete(theirs, known, completer, base))

        asyncio.run(opened(work, PROBLEMS))
    rows = {
        "bisection, verifiers, fused": judged(ours, fused(ours)),
        "k=8, verifiers, fused": judged(plain, fused(plain)),
        "k=8, fused": judged(plain, fused(plain.without(CHECKS))),
        "k=8 alone": judged(plain, measured_of(plain)),
        "distilabel": judged(theirs, labelled),
    }
    return {
        "value": rows["bisection, verifiers, fused"]["rate"],
        "unit": "labelled steps per 1,000 tokens",
        "baseline": rows["distilabel"]["rate"],
        "n": len(theirs.rows),
        "details": {
            "rows": rows,
            "faster": {"bisection": faster(ours, theirs), "k=8": faster(plain, theirs)},
            "load": round(os.getloadavg()[0], 1),
        },
    }


@contextmanager
def _imported() -> Iterator[tuple[Any, Any]]:
    """distilabel's completer and its base class of models. ModuleNotFoundError, by which a bench is skipped,
    without them."""
    named = os.environ.get(VARIABLE, "")
    # Behind our own packages: what a folder brings along must not replace what the pipeline runs on.
    before = list(sys.path)
    sys.path += [str(Path(named).resolve())] if named else []
    try:
        if not importlib.util.find_spec("distilabel"):
            where = f"distilabel: set {VARIABLE} to a folder from which it can be imported (docs/search.md)"
            raise ModuleNotFoundError(where, name=where)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # it declares settings in a way that newer pydantic warns of
            yield (
                importlib.import_module(_COMPLETER).MathShepherdCompleter,
                importlib.import_module("distilabel.models.llms.base").LLM,
            )
    finally:
        sys.path[:] = before


async def _complete(arm: Arm, known: Sequence[Known], completer: Any, base: Any) -> Labelled:
    """distilabel's labels of all solutions, as its pipeline asks for those of one batch of rows."""
    spent: list[int] = []
    model = _model(base, known[0][0].policy, spent)
    task = completer(llm=model, N=MonteCarloConfig().rollouts)
    task.load()
    rows = [
        {
            "instruction": roller.problem.text,
            "golden_solution": [f"{_ANSWER}{roller.problem.answer}"],
            "solutions": [shown(solution) for solution in found],
        }
        for roller, found, _ in known
    ]
    with metered(arm.took):
        # It waits for its model, which in its turn waits for our decoder in this thread.
        [done] = await asyncio.to_thread(lambda: list(task.process(rows)))
    arm.tokens = sum(spent)
    arm.rows = [(roller.problem, solution, []) for roller, found, _ in known for solution in found]
    return [read(steps) for row in done for steps in row["solutions"]]


def _model(base: Any, policy: Policy, spent: list[int]) -> Any:
    """distilabel's interface to a model, before our decoder; notes the tokens of each reply."""
    loop = asyncio.get_running_loop()

    class Model(base):  # type: ignore[misc]
        """Reads the chat message and replies in its form, but asks in the words that the embedded model
        knows."""

        @property
        def model_name(self) -> str:
            return "embedded"

        def generate(self, inputs: list[Any], **_: Any) -> list[Any]:  # it asks for one generation each
            async def together() -> list[tuple[str, int]]:
                # A whole batch at once: the decoder has as much to do as with rollouts of our own.
                messages = [chat[-1]["content"] for chat in inputs]
                return await asyncio.gather(
                    *(reply(policy, text, len(spent) + i) for i, text in enumerate(messages))
                )

            drawn = asyncio.run_coroutine_threadsafe(together(), loop).result()
            spent.extend(tokens for _, tokens in drawn)
            return [{"generations": [text], "statistics": {}} for text, _ in drawn]

    return Model()


async def reply(policy: Policy, message: str, number: int) -> tuple[str, int]:
    """One reply to distilabel's message, with as many completions as it asks for, and what they cost."""
    found = _ASKED.match(message)
    if not found:
        raise ValueError(f"a message of another form than that of distilabel 1.5.3: {message[:200]!r}")
    n, problem, told = int(found[1]), found[2], _NUMBERED.split(found[3].rstrip())[1:]
    steps = [step.strip() for step in told]
    prompt = Prompt(fill(load_template("embedded_solve"), problem=problem), "".join(f"{s}\n" for s in steps))
    # Equal prefixes of two solutions are asked for twice, and each time new completions are expected.
    how = replace(sampling_of(PROMPT), seed=seed_of(SEED, message, number))
    drawn = await policy.sample(prompt, n, how)
    texts = [_in_its_form(done.text, len(steps)) for done in drawn]
    return "\n---\n".join(texts), sum(done.tokens for done in drawn)


def _in_its_form(text: str, before: int) -> str:
    """A completion as distilabel asks for it: numbered steps, then the answer."""
    said, _, answer = text.partition("####")
    steps = [line for line in said.split("\n") if line.strip()]
    numbered = [f"Step {before + i}: {line}" for i, line in enumerate(steps, 1)]
    return "\n".join([*numbered, *([f"{_ANSWER}{answer.strip()}"] if answer else [])])


def shown(solution: Solution) -> list[str]:
    """A solution in the form of distilabel's generator, the answer apart."""
    steps = [f"Step {i}: {without_answer(text)}" for i, text in enumerate(solution.step_texts(), 1)]
    return [*steps, f"{_ANSWER}{solution.answer}"]


def read(steps: Sequence[str]) -> tuple[int | None, int]:
    """The first error that distilabel's tags name (-1 for none, None where a step before it has no tag), and
    how many steps have one."""
    tags = [step[-2:] for step in steps]
    n = next((i for i, tag in enumerate(tags) if tag not in (" +", " -")), len(tags))
    wrong = next((i for i, tag in enumerate(tags[:n]) if tag == " -"), None)
    return wrong if wrong is not None else -1 if n == len(tags) else None, n
