"""A model reads the whole solution and names the first wrong step (ProcessBench, arXiv 2412.06559, section
4).

Votes per step keep everything a reply said: a reply that names step k says yes to the steps before k, no to
step k, and nothing about those after it. So the first error that most replies name can be computed from the
counts alone.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache

from pipeline.annotators.base import Context
from pipeline.annotators.verdicts import Reading, read_first_error, read_per_step, read_redone
from pipeline.prompts.templates import JudgePrompt
from pipeline.sampling.roller import silence
from schemas.config import JudgeConfig
from schemas.reasoning import answer_part
from schemas.records import Outcome, Rollout, Solution, StopReason, Vote
from schemas.sources import Sources, judge_source

_EVIDENCE, _SAMPLE = 2000, 300
"""Characters kept of a reply that names a step, and of one that could not be read."""
_UNFINISHED: dict[StopReason, str] = {
    "length": "it was cut off by judge.max_tokens",
    "error": "the call failed",
    "budget": "it was not drawn",
}


@dataclass(frozen=True)
class Judge:
    """Asks for the first error of a whole solution, with one prompt."""

    config: JudgeConfig
    prompt: JudgePrompt
    needs_gold: bool = False

    @property
    def source(self) -> str:
        """`judge:PROMPT`; of a judge with a name of its own `NAME:PROMPT`."""
        return f"{self.config.name}:{self.prompt.name}"

    @property
    def sources(self) -> Sources:
        """Opinions whether a step is right."""
        return judge_source(self.source)

    async def annotate(self, context: Context, solution: Solution) -> list[Vote]:
        """Votes on every step. Replies that cannot be read count as failed, never as "wrong"."""
        asked, steps = self.prompt, solution.step_texts()

        # A model repeats itself; a long reply is read once, by `readable` and again for its vote.
        @cache
        def read(reply: str) -> Reading:
            return read_reply(reply, asked, steps, context.problem.text)

        def readable(reply: str) -> Outcome:
            return "unknown" if read(reply).first is None else "correct"

        # A judge of what the model thought would judge drafts: it is shown the answer.
        text = answer_part(solution.text) or solution.text
        shown = tagged(steps, asked.counts_from) if asked.shows == "paragraphs" else text
        replies = await context.own.ask(asked.text, shown, self.config, readable, self.config.owner)
        readings = [_of(reply, read) for reply in replies]
        return votes_of(readings, len(steps), self.source, replies)


def _of(reply: Rollout, read: Callable[[str], Reading]) -> Reading:
    if reply.stopped != "stop":
        return Reading(None, _UNFINISHED.get(reply.stopped, f"it ended with {reply.stopped!r}"))
    found = read(reply.text)
    return found if reply.outcome == "correct" or found.first is None else Reading(None, "it is too long")


def read_reply(reply: str, prompt: JudgePrompt, steps: Sequence[str], problem: str = "") -> Reading:
    """What a reply says, read as its prompt declares."""
    match prompt.reads:
        case "first_error":
            return read_first_error(reply, len(steps), prompt.counts_from)
        case "per_step":
            return read_per_step(reply, len(steps), prompt.counts_from)
        case "redo":
            return read_redone(reply, steps, problem)


def tagged(steps: Sequence[str], counts_from: int = 0) -> str:
    """Each step in its numbered paragraph, as in ProcessBench, which counts from 0."""
    return "\n".join(
        f"<paragraph_{i}>\n{text}\n</paragraph_{i}>" for i, text in enumerate(steps, counts_from)
    )


def votes_of(
    readings: Sequence[Reading], n_steps: int, source: str, replies: Sequence[Rollout] = ()
) -> list[Vote]:
    """What several replies said as one vote a step; the reply that names a step is that step's evidence.

    Where no reply could be read, the commonest reason says why, and the first step keeps the beginning of a
    reply.
    """
    verdicts = [reading.first for reading in readings]
    read = [verdict for verdict in verdicts if verdict is not None]
    n_failed = len(verdicts) - len(read)
    # Only where nothing could be read: one readable reply is a vote, and the others count as failed.
    unread = "" if read else _unreadable(readings)
    votes = []
    for step in range(n_steps):
        # A verdict "step 3" says yes to steps 0 to 2, no to 3, and nothing of later ones; -1 says yes to all.
        yes = sum(verdict == -1 or verdict > step for verdict in read)
        no = sum(verdict == step for verdict in read)
        evidence = next((r.text for r, v in zip(replies, verdicts, strict=False) if v == step), "")
        if unread and step == 0:
            evidence = next((r.text[:_SAMPLE] for r in replies if r.text), "")
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
                else silence(list(replies), unread or "every reply stopped before this step"),
                evidence=evidence[:_EVIDENCE],
                # On the first step only: a reply covers all steps, and a sum over votes must count its tokens
                # once.
                tokens=sum(reply.tokens for reply in replies) if step == 0 else 0,
            )
        )
    return votes


def _unreadable(readings: Sequence[Reading]) -> str:
    reasons = Counter(reading.why for reading in readings if reading.why).most_common(1)
    return f"no reply could be read: {reasons[0][0]}" if reasons else "no reply could be read"
