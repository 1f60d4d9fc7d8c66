"""Samples completions for one problem, grades them, and keeps every one that was paid for.

Annotators and proposers ask the policy only through a `Roller`, so equal requests are sent once and the
budget counts everything.
"""

import asyncio
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import cached_property

from pipeline.policies.base import Completion, Policy, Prompt, Sampling
from pipeline.prompts.filling import defused
from pipeline.prompts.templates import Asked, prompt_text, solving_prompt
from pipeline.sampling.budget import Allowance
from pipeline.sampling.draws import Draws
from schemas.config import JudgeConfig, PromptConfig, RunConfig
from schemas.reasoning import UNCLOSED, answer_part
from schemas.records import Outcome, Problem, Rollout, StopReason, seed_of
from schemas.sources import NO_GOLD
from verifiers.answers.grade import Grade, grade_solution

JUDGE = "judge"
"""The purpose of stored replies about a solution; that of a judge with its own name is `judge:NAME`."""
LONGEST_TEXT = 200_000
"""Characters; a longer completion is a fault of the backend and is not read. 32 768 tokens have about 130
000."""


def sampling_of(prompt: PromptConfig) -> Sampling:
    """How a run's policy is sampled, but for the seed."""
    return Sampling(
        temperature=prompt.temperature,
        top_p=prompt.top_p,
        max_tokens=prompt.max_tokens,
        stop=prompt.stop,
        stop_token_ids=prompt.stop_token_ids,
    )


def token_limit(config: RunConfig) -> tuple[str, int]:
    """The largest token limit that a run's policy is asked with, and the setting that it comes from."""
    limits = [("prompt.max_tokens", config.prompt.max_tokens)]
    judges = [judge for judge in config.annotators(JudgeConfig) if judge.policy is None]
    limits += [(f"{judge.section}.max_tokens", judge.max_tokens) for judge in judges]
    return max(limits, key=lambda limit: limit[1])


class Roller:
    """One problem's access to the policy. The same prefix and purpose give the same rollouts, asked for
    once."""

    def __init__(
        self,
        policy: Policy,
        prompt: PromptConfig,
        problem: Problem,
        *,
        seed: int,
        allowance: Allowance | None = None,
        draws: Draws | None = None,
        templates: Mapping[str, str] | None = None,
    ) -> None:
        self.policy, self.prompt, self.problem, self._seed = policy, prompt, problem, seed
        self.allowance, self.draws = allowance or Allowance(), draws or Draws()
        self._templates = templates or {}
        self.how = sampling_of(prompt)
        """How completions are sampled, but for the seed."""
        self.solving = solving_prompt(prompt.template, self.prompt_text(prompt.template))
        self.taken: list[Rollout] = []
        """Every completion so far, in the order of the requests."""
        self._owner = ""
        self.doubts: dict[int, str] = {}
        """Why a completion's outcome is `unknown`, or how many tests its program passes, by its seed, for the
        reasons and evidence of votes. Not stored: grading the same text again says the same again."""
        self._others: dict[tuple[Policy, str], Roller] = {}
        self._known: dict[tuple[str, str, int, int], asyncio.Future[list[Rollout]]] = {}

    def of(self, policy: Policy, owner: str) -> "Roller":
        """A roller that asks another policy about the same problem; its completions are kept here too.

        `owner` is the kind of the annotator that the policy belongs to, or `KIND:NAME` if it has a name.
        """
        if (policy, owner) not in self._others:
            other = Roller(
                policy,
                self.prompt,
                self.problem,
                seed=self._seed,
                allowance=self.allowance,
                draws=self.draws,
                templates=self._templates,
            )
            other.taken, other.doubts, other._owner = self.taken, self.doubts, owner
            self._others[policy, owner] = other
        return self._others[policy, owner]

    def prompt_text(self, name: str) -> str:
        """The whole text of a prompt file: as the run began with it, or as it is today outside a run."""
        return self._templates.get(name) or prompt_text(name)

    async def roll(self, prefix: str, n: int, purpose: str, *, start: int = 0) -> list[Rollout]:
        """`n` graded completions of a prefix, from the `start`-th on. Equal requests share one result, also
        while it is under way.

        Completions of a policy other than the run's are stored with its owner in front of the purpose.
        """
        if self._owner:
            is_plain = purpose == self._owner.partition(":")[0]
            purpose = self._owner if is_plain else f"{self._owner}:{purpose}"
        key = (prefix, purpose, start, n)
        # The future and not the result is kept: a second caller waits for the request that is under way.
        if key not in self._known:
            self._known[key] = asyncio.ensure_future(self._draw(prefix, n, purpose, start))
        return await self._known[key]

    def sampling(self, prefix: str, purpose: str) -> Sampling:
        """How completions of a prefix are sampled; the seed depends on the request and on nothing else."""
        return replace(self.how, seed=seed_of(self._seed, self.problem.id, prefix, purpose))

    @cached_property
    def _asked(self) -> Asked:
        return self.solving.ask(self.problem)

    async def _draw(self, prefix: str, n: int, purpose: str, start: int) -> list[Rollout]:
        asked = self._asked
        prompt = Prompt(asked.text, defused(prefix) or asked.begins, asked.system)
        sampling = self.sampling(prefix, purpose)
        if start:
            sampling = replace(sampling, seed=sampling.seed + start)
        async with self.allowance.one_at_a_time():
            drawn = await self.allowance.draw(self.draws.of(self.policy), prompt, n, sampling)
            begins = "" if prefix else asked.begins
            completions = [replace(done, text=begun(begins, done)) for done in drawn] if begins else drawn
            grades = await self._grades(prefix, completions)
        return [
            self._keep(prefix, purpose, sampling.seed + i, done, grade)
            for i, (done, grade) in enumerate(zip(completions, grades, strict=True))
        ]

    async def _grades(self, prefix: str, completions: Sequence[Completion]) -> list[Grade]:
        """The grade of each completion; equal ones are graded once."""
        different = list(dict.fromkeys((done.text, done.stopped) for done in completions))

        def in_turn() -> list[Grade]:
            return [self._grade(prefix, *done) for done in different]

        # A sandbox runs programs for seconds, and expressions may be compared to a hundred digits. Threads do
        # it, because the event loop has to keep the engines busy meanwhile.
        if self.problem.tests:
            tasks = (asyncio.to_thread(self._grade, prefix, *done) for done in different)
            found = await asyncio.gather(*tasks)
        elif self.problem.answer_kind == "expression":
            # In one thread: of Python's own work several do no more, and a change of threads costs as much as
            # a usual grade.
            found = await asyncio.to_thread(in_turn)
        else:
            found = in_turn()
        grades = dict(zip(different, found, strict=True))
        return [grades[done.text, done.stopped] for done in completions]

    def _grade(self, prefix: str, text: str, stopped: StopReason) -> Grade:
        if len(text) > LONGEST_TEXT:
            stopped = "error"
        return grade_of(self.problem, prefix + text) if stopped == "stop" else Grade(None, ENDED[stopped])

    def _keep(self, prefix: str, purpose: str, seed: int, done: Completion, graded: Grade) -> Rollout:
        text, stopped = (done.text, done.stopped) if len(done.text) <= LONGEST_TEXT else ("", "error")
        rollout = Rollout(
            problem_id=self.problem.id,
            purpose=purpose,
            prefix=prefix,
            text=text,
            outcome=_OUTCOMES[graded.verdict],
            stopped=stopped,
            tokens=done.tokens,
            seed=seed,
        )
        if graded.verdict is None or self.problem.tests:
            self.doubts[seed] = graded.reason
        if stopped != "budget":  # it was never sampled, and may be when the budget is raised
            self.taken.append(rollout)
        return rollout

    async def ask(
        self, asked: Asked, n: int, how: Sampling, read: Callable[[str], Outcome], purpose: str = JUDGE
    ) -> list[Rollout]:
        """`n` replies about a solution; `read` says whether a reply could be parsed. `purpose` is `judge`, or
        `judge:NAME` where there are several. The seed of `how` is replaced by one of the request."""
        begins = [asked.begins] if asked.begins else []
        seed = seed_of(self._seed, self.problem.id, purpose, asked.whole, *begins)
        prompt = Prompt(asked.text, asked.begins, asked.system)
        async with self.allowance.one_at_a_time():
            replies = await self.allowance.draw(
                self.draws.of(self.policy), prompt, n, replace(how, seed=seed)
            )
        kept = [self._reply(asked, purpose, seed + i, reply, read) for i, reply in enumerate(replies)]
        self.taken += [rollout for rollout in kept if rollout.stopped != "budget"]
        return kept

    def _reply(
        self, asked: Asked, purpose: str, seed: int, reply: Completion, read: Callable[[str], Outcome]
    ) -> Rollout:
        text = begun(asked.begins, reply)
        is_read = reply.stopped == "stop" and len(text) <= LONGEST_TEXT
        return Rollout(
            problem_id=self.problem.id,
            purpose=purpose,
            prefix=asked.whole,
            text=text[:LONGEST_TEXT],
            outcome=read(text) if is_read else "unknown",
            stopped=reply.stopped,
            tokens=reply.tokens,
            seed=seed,
        )


def begun(begins: str, done: Completion) -> str:
    """A completion's text with the beginning that the prompt gave it. A stored rollout has it already."""
    given = done.text.startswith(begins) or done.stopped not in ("stop", "length")
    return done.text if given else begins + done.text


_OUTCOMES: Mapping[bool | None, Outcome] = {True: "correct", False: "incorrect", None: "unknown"}
ENDED: Mapping[StopReason, str] = {
    "length": "cut off at the token limit",
    "withheld": "withheld by the server",
    "error": "an unusable text",
    "budget": "not drawn: the token budget is spent",
}
"""Why a completion that did not end by itself is not graded."""


def grade_of(problem: Problem, solution: str) -> Grade:
    """Grade a finished solution by its problem's unit tests or else by its answer, with the reason of a
    doubt. A solution that ended inside its reasoning block has neither program nor answer."""
    if not problem.is_gradable:
        return Grade(None, NO_GOLD)
    said = answer_part(solution)
    if said is None:
        return Grade(None, UNCLOSED)
    if problem.tests:
        from verifiers.code.programs import grade_program  # with the sandbox

        return grade_program(problem.text, said, problem.tests)
    return grade_solution(problem.golds, said, problem.answer_kind)


def outcome_of(problem: Problem, solution: str) -> Outcome:
    """The outcome of a finished solution; `unknown` without a gold answer or tests, and where
    no answer or program can be read."""
    return _OUTCOMES[grade_of(problem, solution).verdict]


def silence(rollouts: Sequence[Rollout], what: str, doubts: Mapping[int, str] | None = None) -> str:
    """Why rollouts give no vote: they were not sampled, or none of them allowed `what`.

    `doubts` (see `Roller`) are listed with their counts, the most frequent first.
    """
    if any(rollout.stopped == "budget" for rollout in rollouts):
        return f"the problem's token budget is spent; {what}"
    if rollouts and all(rollout.stopped == "withheld" for rollout in rollouts):
        return f"the server withheld every answer; {what}"
    if rollouts and all(rollout.stopped == "length" and not rollout.text for rollout in rollouts):
        return f"the prompt leaves no room to answer; {what}"
    found = Counter(doubts[rollout.seed] for rollout in rollouts if doubts and rollout.seed in doubts)
    return f"{what}: {', '.join(f'{why} ({n})' for why, n in found.most_common())}" if found else what
