"""A model reads the whole solution and says where it is wrong (ProcessBench, arXiv 2412.06559, section 4).

Its prompt says what it is asked for: the first wrong step, a verdict a step, all wrong steps, or a score.
Votes per step keep everything a reply said: a reply that names step k as the first error says yes to the
steps before k, no to step k, and nothing about those after it. So the first error that most replies name can
be computed from the counts alone.
"""

import asyncio
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import chain
from statistics import fmean

from pipeline.annotators.base import Context
from pipeline.annotators.scores import read_score
from pipeline.annotators.stepwise import read_all_errors, read_per_step
from pipeline.annotators.verdicts import Reading, read_first_error, read_redone
from pipeline.policies.base import Sampling
from pipeline.prompts.filling import defused
from pipeline.prompts.reply_schemas import reply_schema
from pipeline.prompts.templates import Asked, JudgePrompt
from pipeline.sampling.roller import LONGEST_TEXT, silence
from schemas.config import JudgeConfig
from schemas.reasoning import answer_part
from schemas.records import Outcome, Rollout, Solution, StopReason, Vote
from schemas.sources import Sources, judge_source, score_source

_EVIDENCE, _SAMPLE = 2000, 300
"""Characters kept of a reply that names a step, and of one that could not be read."""
_CRITIQUE = 20_000
"""Characters of a critique that its reviewer is shown, the last ones."""
_UNFINISHED: dict[StopReason, str] = {
    "length": "it was cut off by judge.max_tokens",
    "error": "the call failed",
    "budget": "it was not drawn",
}


@dataclass(frozen=True)
class Judge:
    """Asks about a whole solution, with one prompt; with `meta`, then again with each reply shown."""

    config: JudgeConfig
    prompt: JudgePrompt
    meta: JudgePrompt | None = None
    needs_gold: bool = False

    @property
    def source(self) -> str:
        """`judge:PROMPT`; of a judge with a name of its own `NAME:PROMPT`. Before the name of a meta-critique
        stands that of the prompt it reviews: `judge:PROMPT.META`."""
        reviewed = f".{self.meta.name}" if self.meta else ""
        return f"{self.config.name}:{self.prompt.name}{reviewed}"

    @property
    def begins(self) -> bool:
        """Whether a prompt of it begins the reply, so that its policy must go on with a begun answer."""
        return bool(self.prompt.begins or (self.meta and self.meta.begins))

    @property
    def sources(self) -> Sources:
        """Opinions whether a step is right, or of a rubric whether the whole solution is sound."""
        reads = (self.meta or self.prompt).reads
        if reads == "rubric":
            return score_source(self.source)
        return judge_source(self.source, every_step=reads == "all_errors")

    async def annotate(self, context: Context, solution: Solution) -> list[Vote]:
        """Votes on every step; of a rubric one, on the last step. Replies that cannot be read count as
        failed, never as "wrong"."""
        n_steps, problem = len(solution.steps), context.problem
        last = self.meta or self.prompt
        votes = score_votes if last.reads == "rubric" else votes_of
        if lacking := self.prompt.lacks(problem) or last.lacks(problem):
            return votes([], n_steps, self.source, why=lacking)
        # As they are shown: a solution that is done again must be like what the judge saw.
        steps = tuple(map(defused, solution.step_texts()))
        # A judge of what the model thought would judge drafts: it is shown the answer.
        answer = answer_part(solution.text) or solution.text
        asked = self.prompt.ask(problem, answer, steps)
        replies = await self._replies(context, self.prompt, asked, self.config.votes, steps)
        if self.meta is not None:
            replies = await self._reviewed(context, self.meta, answer, replies, steps)
        readings = [_of(reply, last, steps, problem.text) for reply in replies]
        return votes(readings, n_steps, self.source, replies)

    async def _replies(
        self, context: Context, prompt: JudgePrompt, asked: Asked, n: int, steps: tuple[str, ...]
    ) -> list[Rollout]:
        def readable(reply: str) -> Outcome:
            found = read_reply(reply, prompt, steps, context.problem.text)
            return "correct" if found.is_read else "unknown"

        how = Sampling(
            temperature=self.config.temperature,
            max_tokens=self.config.max_tokens,
            json_schema=reply_schema(prompt, len(steps)),
        )
        return await context.own.ask(asked, n, how, readable, self.config.owner)

    async def _reviewed(
        self,
        context: Context,
        meta: JudgePrompt,
        answer: str,
        replies: Sequence[Rollout],
        steps: tuple[str, ...],
    ) -> list[Rollout]:
        """A review of each critique; those that cannot be reviewed stay, and are not read."""
        critiques = Counter(reply.text for reply in replies if reply.stopped == "stop")
        shown = {text: said for text in critiques if (said := (answer_part(text) or "").strip())}

        async def review(text: str) -> list[Rollout]:
            asked = meta.ask(context.problem, answer, steps, shown[text][-_CRITIQUE:])
            # Equal critiques in one request: it would have the same seed for each of them otherwise.
            return await self._replies(context, meta, asked, critiques[text], steps)

        found = await asyncio.gather(*map(review, shown))
        return [*chain.from_iterable(found), *(reply for reply in replies if reply.text not in shown)]


def _of(reply: Rollout, prompt: JudgePrompt, steps: tuple[str, ...], problem: str) -> Reading:
    if reply.stopped != "stop":
        return Reading(None, _UNFINISHED.get(reply.stopped, f"it ended with {reply.stopped!r}"))
    # One of exactly this length may have been cut to it.
    if len(reply.text) >= LONGEST_TEXT:
        return Reading(None, "it is too long")
    return read_reply(reply.text, prompt, steps, problem)


# Cached: each reply is read when it comes, and again for its vote; and a model repeats itself.
@lru_cache(maxsize=512)
def read_reply(reply: str, prompt: JudgePrompt, steps: tuple[str, ...], problem: str = "") -> Reading:
    """What a reply says, read as its prompt declares."""
    match prompt.reads:
        case "first_error":
            return read_first_error(reply, len(steps), prompt.counts_from)
        case "per_step":
            return read_per_step(reply, len(steps), prompt.counts_from)
        case "all_errors":
            return read_all_errors(reply, len(steps), prompt.counts_from)
        case "rubric":
            return read_score(reply, prompt.maximum)
        case "redo":
            return read_redone(reply, steps, problem)


def votes_of(
    readings: Sequence[Reading], n_steps: int, source: str, replies: Sequence[Rollout] = (), *, why: str = ""
) -> list[Vote]:
    """What several replies said as one vote a step; the reply that names a step is that step's evidence.

    Where no reply could be read, the commonest reason says why, and the first step keeps the beginning of a
    reply. `why` is the reason where nobody was asked.
    """
    read = [reading for reading in readings if reading.first is not None]
    n_failed = len(readings) - len(read)
    # Only where nothing could be read: one readable reply is a vote, and the others count as failed.
    unread = "" if read else why or _unreadable(readings)
    votes = []
    for step in range(n_steps):
        verdicts = [_verdict(reading, step) for reading in read]
        yes, no = verdicts.count(True), verdicts.count(False)
        naming = zip(replies, readings, strict=False)
        evidence = next((r.text for r, said in naming if _verdict(said, step) is False), "")
        if unread and step == 0:
            evidence = next((r.text[:_SAMPLE] for r in replies if r.text), "")
        reason = silence(list(replies), unread or "every reply stopped before this step")
        votes.append(
            Vote(
                step=step,
                source=source,
                asks="valid",
                p=yes / (yes + no) if yes + no else None,
                correct=yes,
                n=yes + no,
                n_failed=n_failed,
                why="" if yes + no else reason,
                evidence=evidence[:_EVIDENCE],
                # On the first step only: a reply covers all steps, and a sum over votes must count its tokens
                # once.
                tokens=sum(reply.tokens for reply in replies) if step == 0 else 0,
            )
        )
    return votes


def _verdict(reading: Reading, step: int) -> bool | None:
    """Whether a reply calls a step right. The verdict "step 3" says yes to steps 0 to 2, no to 3, and nothing
    of later ones; -1 says yes to all. A reply that was to name all wrong steps speaks of every step."""
    if reading.wrong is not None:
        return step not in reading.wrong
    first = reading.first
    if first is None or -1 < first < step:
        return None
    return first != step


def score_votes(
    readings: Sequence[Reading], n_steps: int, source: str, replies: Sequence[Rollout] = (), *, why: str = ""
) -> list[Vote]:
    """The mean score of several replies, as one vote on the last step: it speaks of the solution up to there.

    It has no counts, so fusion takes it as one sample, however many replies agree: they are one model's.
    """
    scores = [reading.score for reading in readings if reading.score is not None]
    lowest = min(
        (
            (said.score, reply.text)
            for reply, said in zip(replies, readings, strict=False)
            if said.score is not None
        ),
        default=(0.0, next((r.text[:_SAMPLE] for r in replies if r.text), "")),
    )
    return [
        Vote(
            step=n_steps - 1,
            source=source,
            asks="valid",
            p=fmean(scores) if scores else None,
            n_failed=len(readings) - len(scores),
            why="" if scores else silence(list(replies), why or _unreadable(readings)),
            evidence=lowest[1][:_EVIDENCE],
            tokens=sum(reply.tokens for reply in replies),
        )
    ]


def _unreadable(readings: Sequence[Reading]) -> str:
    reasons = Counter(reading.why for reading in readings if reading.why).most_common(1)
    return f"no reply could be read: {reasons[0][0]}" if reasons else "no reply could be read"
