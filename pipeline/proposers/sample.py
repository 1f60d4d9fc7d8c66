"""Propose by plain sampling: n solutions, equal texts merged and counted."""

from collections import Counter
from dataclasses import replace

from pipeline.inputs.program_steps import steps_of
from pipeline.policies.base import identity
from pipeline.sampling.roller import Roller
from schemas.config import SampleConfig
from schemas.records import Candidate, Rollout, Solution
from verifiers.answers.grade import extract_answer


async def propose(roller: Roller, config: SampleConfig) -> list[Candidate]:
    """Solutions the policy finished; those cut off or failed stay among the rollouts and are not proposed."""
    drawn = await roller.roll("", config.n, "propose")
    finished = [rollout for rollout in drawn if rollout.stopped == "stop"]
    # Equal texts get equal labels; annotating each copy would cost the same tokens again.
    times = Counter(rollout.text for rollout in finished)
    solutions = {rollout.text: to_solution(roller, rollout) for rollout in finished}
    return [Candidate(solution=s, drawn=times[s.text]) for s in solutions.values() if s.steps]


def to_solution(roller: Roller, rollout: Rollout) -> Solution:
    """A finished rollout as a solution: its prefix and its text, split into steps."""
    text = rollout.prefix + rollout.text
    # The seed stands with the solution, so that this very draw can be repeated.
    asked = roller.solving.whole + roller.solving.begins
    who = identity(roller.policy, asked, replace(roller.how, seed=rollout.seed))
    return Solution(
        problem_id=roller.problem.id,
        text=text,
        steps=steps_of(roller.problem, text, roller.prompt.cuts),
        answer=None if roller.problem.tests else extract_answer(text),
        outcome=rollout.outcome,
        policy=who,
        stopped=rollout.stopped,
        tokens=rollout.tokens,
    )
