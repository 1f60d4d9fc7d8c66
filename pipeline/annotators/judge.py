"""A model reads the whole solution and names the first wrong step (ProcessBench, arXiv 2412.06559, section
4).

Votes per step keep everything a reply said: a reply that names step k says yes to the steps before k, no to
step k, and nothing about those after it. So the most common first error can be recovered from the counts
alone.
"""

import re
from collections import Counter
from collections.abc import Sequence

from pipeline.policies.base import Policy
from pipeline.rollouts import Roller, silence
from pipeline.segment import segment
from schemas.config import JudgeConfig
from schemas.records import Outcome, Rollout, Solution, Vote

PREFIX = "judge:"
_EVIDENCE = 2000
_NAMED = re.compile(r"first error:\s*(?:step\s*)?(none|\d{1,4})\b", re.IGNORECASE)
_MARK = re.compile(r"\b(right|wrong)\b")


async def annotate(
    roller: Roller, solution: Solution, prompt: str, config: JudgeConfig, judge: Policy
) -> list[Vote]:
    """Votes of one judge prompt on every step. Replies that cannot be read count as failed, never as
    "wrong"."""
    template, n_steps = roller.template_named(prompt), len(solution.steps)
    redoes = template.rstrip().endswith("Review:")

    def read(reply: str) -> int | None:
        return read_redone(reply, solution.step_texts()) if redoes else read_verdict(reply, n_steps)

    def readable(reply: str) -> Outcome:
        return "unknown" if read(reply) is None else "correct"

    shown = tagged(solution) if "<paragraph" in template else solution.text
    replies = await roller.ask(judge, template, shown, config, readable)
    verdicts = [read(r.text) if r.outcome == "correct" else None for r in replies]
    return votes_of(verdicts, n_steps, PREFIX + prompt, replies)


def tagged(solution: Solution) -> str:
    """The solution with each step in its numbered paragraph, counted from 0 as in ProcessBench."""
    return "\n".join(
        f"<paragraph_{i}>\n{text}\n</paragraph_{i}>" for i, text in enumerate(solution.step_texts())
    )


def read_verdict(reply: str, n_steps: int) -> int | None:
    r"""0-based index of the first wrong step, -1 for none; None when the reply names no step of the solution.

    Three forms are read, the last of each counting: `\boxed{k}` (from 0, -1 for none), `First error: k`
    (from 1, or `none`), and one `right`/`wrong` a step.
    """
    if "\\boxed" in reply:
        found = _boxed(reply)
    elif named := _NAMED.findall(reply):
        found = -1 if named[-1].lower() == "none" else int(named[-1]) - 1
        found = found if found >= -1 and named[-1] != "0" else None
    else:
        found = _marked(reply, n_steps)
    return found if found is not None and -1 <= found < n_steps else None


def read_redone(reply: str, steps: Sequence[str]) -> int | None:
    """The same from a reply that does the solution again: the first step that it words or answers otherwise.

    For models too small to compare two steps but able to do one (the embedded one), asked by a template that
    ends in `Review:`. Steps after the reply's answer are not held against the solution, another answer is.
    None when the reply reaches no answer.
    """
    redone = [step.text.partition("\n####")[::2] for step in segment(reply)]
    if not redone or not (answer := redone[-1][1].strip()):
        return None
    for index, step in enumerate(steps):
        said, _, answered = step.partition("\n####")
        if index < len(redone) and said.split() != redone[index][0].split():
            return index
        if answered.strip() not in ("", answer):
            return index
    return -1


def _boxed(reply: str) -> int | None:
    inner = reply[reply.rindex("\\boxed") + len("\\boxed") :][:200]
    match = re.match(r"\s*\{\s*(?:\\text\s*\{)?\s*(?:paragraph_)?(-?\d{1,4})\s*\}", inner)
    return int(match[1]) if match else None


def _marked(reply: str, n_steps: int) -> int | None:
    marks = _MARK.findall(reply[:_EVIDENCE])
    if "wrong" in marks:
        return marks.index("wrong")
    return -1 if len(marks) == n_steps else None


def votes_of(
    verdicts: Sequence[int | None], n_steps: int, source: str, replies: Sequence[Rollout] = ()
) -> list[Vote]:
    """Verdicts of several replies as one vote a step; the reply that names a step is that step's evidence."""
    read = [verdict for verdict in verdicts if verdict is not None]
    n_failed = len(verdicts) - len(read)
    votes = []
    for step in range(n_steps):
        yes = sum(verdict == -1 or verdict > step for verdict in read)
        no = sum(verdict == step for verdict in read)
        critique = next((r.text for r, v in zip(replies, verdicts, strict=False) if v == step), "")
        votes.append(
            Vote(
                step=step,
                source=source,
                asks="valid",
                p=yes / (yes + no) if yes + no else None,
                correct=yes,
                n=yes + no,
                n_failed=n_failed,
                why=""
                if yes + no
                else silence(
                    list(replies),
                    "every reply stopped before this step" if read else "no reply could be read",
                ),
                evidence=critique[:_EVIDENCE],
                tokens=sum(reply.tokens for reply in replies) if step == 0 else 0,
            )
        )
    return votes


def first_error_of(votes: Sequence[Vote], n_steps: int) -> int | None:
    """The most common first error among the replies of one judge; the earliest of equals, None without any
    reply."""
    if not votes:
        return None
    named = Counter({vote.step: vote.n - vote.correct for vote in votes})
    named[-1] = sum(vote.correct for vote in votes if vote.step == n_steps - 1)
    best = max(named.values())
    if best == 0:
        return None
    return min(
        (step for step, count in named.items() if count == best),
        key=lambda step: n_steps if step < 0 else step,
    )
