"""How a run's policy is asked, and why a completion has no outcome."""

import asyncio

import pytest

from pipeline.annotators.base import Context
from pipeline.annotators.monte_carlo import MonteCarlo
from pipeline.policies.base import Completion, Prompt, Sampling
from pipeline.policies.simulated import SimulatedPolicy
from pipeline.proposers.sample import to_solution
from pipeline.sampling.roller import Roller, token_limit
from schemas.config import JudgeConfig, MonteCarloConfig, PromptConfig, RunConfig, TransformersConfig
from schemas.records import Problem, StopReason, Vote


@pytest.mark.parametrize(
    ("judge", "limit"),
    [
        (None, ("prompt.max_tokens", 300)),
        (JudgeConfig(max_tokens=200), ("prompt.max_tokens", 300)),
        (JudgeConfig(max_tokens=400), ("judge.max_tokens", 400)),
        (JudgeConfig(max_tokens=400, policy=TransformersConfig(model="other")), ("prompt.max_tokens", 300)),
    ],
)
def test_the_largest_limit_is_the_judges_where_it_is_the_policy_itself(
    judge: JudgeConfig | None, limit: tuple[str, int]
) -> None:
    annotate = (judge,) if judge else ()
    assert token_limit(RunConfig(name="r", prompt=PromptConfig(max_tokens=300), annotate=annotate)) == limit


class Says(SimulatedPolicy):
    """Answers every prompt with one text, or with several in turn."""

    def __init__(self, *completions: Completion) -> None:
        super().__init__()
        self.completions = completions

    async def sample(self, prompt: Prompt, n: int, sampling: Sampling) -> list[Completion]:
        return [self.completions[i % len(self.completions)] for i in range(n)]


def completion(text: str, stopped: StopReason = "stop") -> Completion:
    return Completion(text, stopped, tokens=1)


NOTHING, WORDS, CUT = (
    completion("So it is."),
    completion("So.\n#### I do not know"),
    completion("So", "length"),
)


def votes_on(roller: Roller) -> list[Vote]:
    """Of the first solution that the policy wrote itself."""

    async def votes() -> list[Vote]:
        (rollout,) = await roller.roll("One step.\n", 1, "propose")
        return await MonteCarlo(MonteCarloConfig(rollouts=3)).annotate(
            Context(roller), to_solution(roller, rollout)
        )

    return asyncio.run(votes())


@pytest.mark.parametrize(
    ("answer", "said", "rollouts", "last"),
    [
        ("5", (NOTHING,), "no answer found (3)", "no answer found"),
        ("5", (WORDS,), "not comparable: number against text (3)", "not comparable: number against text"),
        ("5", (NOTHING, CUT), "no answer found (2), cut off at the token limit (1)", "no answer found"),
        (None, (WORDS,), "the problem has no gold answer (3)", "the problem has no gold answer"),
        (
            "x +",
            (completion("So.\n#### 5"),),
            "the gold answer cannot be read (3)",
            "the gold answer cannot be read",
        ),
    ],
)
def test_votes_repeat_why_nothing_could_be_graded(
    answer: str | None, said: tuple[Completion, ...], rollouts: str, last: str
) -> None:
    problem = Problem(text="a problem", answer=answer, answer_kind="number")
    roller = Roller(Says(*said), PromptConfig(separator="\n"), problem, seed=0)
    first, *_, graded = votes_on(roller)
    assert first.why == f"none of 3 rollouts could be graded: {rollouts}"
    assert graded.why == f"the final answer could not be graded: {last}"


def test_what_was_graded_leaves_no_doubt() -> None:
    roller = Roller(Says(completion("#### 5")), PromptConfig(), Problem(text="p", answer="5"), seed=0)
    asyncio.run(roller.roll("", 3, "propose"))
    assert [rollout.outcome for rollout in roller.taken] == ["correct"] * 3
    assert not roller.doubts
