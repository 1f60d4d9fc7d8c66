"""How a run's policy is asked."""

import pytest

from pipeline.sampling.roller import token_limit
from schemas.config import JudgeConfig, PolicyConfig, PromptConfig, RunConfig


@pytest.mark.parametrize(
    ("judge", "limit"),
    [
        (None, ("prompt.max_tokens", 300)),
        (JudgeConfig(max_tokens=200), ("prompt.max_tokens", 300)),
        (JudgeConfig(max_tokens=400), ("judge.max_tokens", 400)),
        (JudgeConfig(max_tokens=400, policy=PolicyConfig(model="other")), ("prompt.max_tokens", 300)),
    ],
)
def test_the_largest_limit_is_the_judges_where_it_is_the_policy_itself(
    judge: JudgeConfig | None, limit: tuple[str, int]
) -> None:
    annotate = (judge,) if judge else ()
    assert token_limit(RunConfig(name="r", prompt=PromptConfig(max_tokens=300), annotate=annotate)) == limit
