"""Draw completions for one problem, grade them, and keep every one that was paid for."""

import asyncio
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from pipeline.policies.base import Completion, Policy, Prompt, Sampling
from pipeline.prompts.templates import fill, prompt_text, solving_text
from pipeline.sampling.budget import Allowance
from pipeline.sampling.unfinished import Draws
from schemas.config import JudgeConfig, PromptConfig, RunConfig
from schemas.records import Outcome, Problem, Rollout, seed_of
from verifiers.answers.grade import extract_answer, grade

JUDGE = "judge"
"""What replies about a solution are stored as; those of a judge with a name of its own as `judge:NAME`."""
LONGEST_TEXT = 200_000
"""Characters; a longer completion is a fault of the backend and is not read."""


def sampling_of(prompt: PromptConfig) -> Sampling:
    """How a run's policy is sampled, but for the seed."""
    return Sampling(
        temperature=prompt.temperature, top_p=prompt.top_p, max_tokens=prompt.max_tokens, stop=prompt.stop
    )


def token_limit(config: RunConfig) -> tuple[str, int]:
    """The largest token limit that a run's policy is asked with, and the setting that it comes from."""
    limits = [("prompt.max_tokens", config.prompt.max_tokens)]
    judges = [judge for judge in config.annotators(JudgeConfig) if judge.policy is None]
    limits += [(f"{judge.section}.max_tokens", judge.max_tokens) for judge in judges]
    return max(limits, key=lambda limit: limit[1])


class Roller:
    """One problem's access to the policy: same prefix, same purpose, same draws; paid for once."""

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
        self._templates, self._how = templates or {}, sampling_of(prompt)
        self.template = solving_text(prompt.template, self.prompt_text(prompt.template))
        self.taken: list[Rollout] = []
        """Every completion drawn, in the order of asking."""
        self._owner = ""
        self._others: dict[tuple[Policy, str], Roller] = {}
        self._known: dict[tuple[str, str, int, int], asyncio.Future[list[Rollout]]] = {}

    def of(self, policy: Policy, owner: str) -> "Roller":
        """The same problem asked of another policy; what it draws is kept, and shared, here. `owner` is the
        kind of the annotator whose policy it is, as `KIND:NAME` where its name differs."""
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
            other.taken, other._owner = self.taken, owner
            self._others[policy, owner] = other
        return self._others[policy, owner]

    def prompt_text(self, name: str) -> str:
        """A prompt's whole file: the one that the run began with, or today's where no run is under way."""
        return self._templates.get(name) or prompt_text(name)

    async def roll(self, prefix: str, n: int, purpose: str, *, start: int = 0) -> list[Rollout]:
        """`n` graded completions of a prefix, the `start`-th and those after it. Equal requests share one
        answer, also while it is under way.

        What another policy than the run's draws is stored with its owner before the purpose.
        """
        if self._owner:
            is_plain = purpose == self._owner.partition(":")[0]
            purpose = self._owner if is_plain else f"{self._owner}:{purpose}"
        key = (prefix, purpose, start, n)
        if key not in self._known:
            self._known[key] = asyncio.ensure_future(self._draw(prefix, n, purpose, start))
        return await self._known[key]

    def sampling(self, prefix: str, purpose: str) -> Sampling:
        """How completions of a prefix are drawn; the seed depends on what is asked and on nothing else."""
        return replace(self._how, seed=seed_of(self._seed, self.problem.id, prefix, purpose))

    async def _draw(self, prefix: str, n: int, purpose: str, start: int) -> list[Rollout]:
        prompt = Prompt(fill(self.template, problem=self.problem.text), prefix)
        sampling = self.sampling(prefix, purpose)
        sampling = replace(sampling, seed=sampling.seed + start)
        async with self.allowance.turn():
            completions = await self.allowance.draw(self.draws.of(self.policy), prompt, n, sampling)
            if self.problem.answer_kind != "expression":
                return [self._keep(prefix, purpose, sampling.seed + i, c) for i, c in enumerate(completions)]
            # These may need a library in a worker, seconds at worst; the event loop must feed engines
            # meanwhile.
            return [
                await asyncio.to_thread(self._keep, prefix, purpose, sampling.seed + i, c)
                for i, c in enumerate(completions)
            ]

    def _keep(self, prefix: str, purpose: str, seed: int, done: Completion) -> Rollout:
        text, stopped = (done.text, done.stopped) if len(done.text) <= LONGEST_TEXT else ("", "error")
        rollout = Rollout(
            problem_id=self.problem.id,
            purpose=purpose,
            prefix=prefix,
            text=text,
            outcome=outcome_of(self.problem, prefix + text) if stopped == "stop" else "unknown",
            stopped=stopped,
            tokens=done.tokens,
            seed=seed,
        )
        if stopped != "budget":
            self.taken.append(rollout)
        return rollout

    async def ask(
        self,
        template: str,
        solution: str,
        config: JudgeConfig,
        read: Callable[[str], Outcome],
        purpose: str = JUDGE,
    ) -> list[Rollout]:
        """`config.votes` replies about a solution; `read` says whether a reply could be parsed. `purpose` is
        `judge`, or `judge:NAME` where there are several."""
        text = fill(template, problem=self.problem.text, solution=solution)
        seed = seed_of(self._seed, self.problem.id, purpose, text)
        sampling = Sampling(temperature=config.temperature, max_tokens=config.max_tokens, seed=seed)
        async with self.allowance.turn():
            replies = await self.allowance.draw(
                self.draws.of(self.policy), Prompt(text), config.votes, sampling
            )
        kept = [
            Rollout(
                problem_id=self.problem.id,
                purpose=purpose,
                prefix=text,
                text=reply.text[:LONGEST_TEXT],
                outcome=read(reply.text)
                if reply.stopped == "stop" and len(reply.text) <= LONGEST_TEXT
                else "unknown",
                stopped=reply.stopped,
                tokens=reply.tokens,
                seed=seed + i,
            )
            for i, reply in enumerate(replies)
        ]
        self.taken += [rollout for rollout in kept if rollout.stopped != "budget"]
        return kept


def outcome_of(problem: Problem, solution: str) -> Outcome:
    """Grade a finished solution by its answer; `unknown` without a gold answer or a readable one."""
    answer = extract_answer(solution)
    if problem.answer is None or answer is None:
        return "unknown"
    match grade(problem.answer, answer, problem.answer_kind):
        case None:
            return "unknown"
        case is_right:
            return "correct" if is_right else "incorrect"


def silence(rollouts: Sequence[Rollout], what: str) -> str:
    """Why rollouts say nothing: they were not drawn, or not one of them allowed `what`."""
    if any(rollout.stopped == "budget" for rollout in rollouts):
        return f"the problem's token budget is spent; {what}"
    if rollouts and all(rollout.stopped == "withheld" for rollout in rollouts):
        return f"the server withheld every answer; {what}"
    if rollouts and all(rollout.stopped == "length" and not rollout.text for rollout in rollouts):
        return f"the prompt leaves no room to answer; {what}"
    return what


def counts(rollouts: Sequence[Rollout]) -> tuple[int, int, int]:
    """(c, n, n_failed): correct, readable, and neither."""
    by = Counter(rollout.outcome for rollout in rollouts)
    return by["correct"], by["correct"] + by["incorrect"], by["unknown"]
