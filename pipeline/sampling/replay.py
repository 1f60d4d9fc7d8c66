"""Stored rollouts as completions, so that a problem can be labelled again without asking a policy."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Self

from pipeline.policies.base import Completion, Prompt, Sampling
from pipeline.sampling.roller import JUDGE, LONGEST_TEXT, outcome_of
from schemas.errors import BackendError
from schemas.records import Finished, Problem, Rollout


class NotStored(BackendError):
    """A completion is needed that no stored rollout holds."""


@dataclass(eq=False)
class Nobody:
    """A policy that samples nothing. It has the name of the policy whose rollouts are stored."""

    kind: str
    model: str
    revision: str

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc: object) -> None:
        return None

    async def sample(self, prompt: Prompt, n: int, sampling: Sampling) -> list[Completion]:  # noqa: ARG002
        """Raises NotStored."""
        raise NotStored("not among the stored rollouts")


def completions(rollouts: Iterable[Rollout]) -> dict[int, Completion]:
    """Stored rollouts as completions by their seeds, which tell problem, prefix, purpose and place."""
    found = {}
    for rollout in rollouts:
        # A reply longer than LONGEST_TEXT was cut to it and not read. One more character keeps it too long,
        # so that it is not read now either.
        text = f"{rollout.text}." if len(rollout.text) == LONGEST_TEXT else rollout.text
        found[rollout.seed] = Completion(text, rollout.stopped, rollout.tokens)
    return found


def with_rest(
    item: Finished, taken: Sequence[Rollout], stored: Iterable[Rollout]
) -> tuple[Finished, list[Rollout]]:
    """A problem's line and rollouts, with the stored rollouts that were not asked for this time added: they
    were paid for, and a later run of another grader may need them."""
    asked = {_key(rollout) for rollout in taken}
    rest = [_graded(rollout, item.problem) for rollout in stored if _key(rollout) not in asked]
    tokens = Counter(item.tokens)
    for rollout in rest:
        tokens[rollout.purpose] += rollout.tokens
    counts = {"n_rollouts": item.n_rollouts + len(rest), "tokens": dict(sorted(tokens.items()))}
    return item.model_copy(update=counts), sorted([*taken, *rest], key=_key)


def _key(rollout: Rollout) -> tuple[str, str, int]:
    return rollout.purpose, rollout.prefix, rollout.seed


def _graded(rollout: Rollout, problem: Problem) -> Rollout:
    # A judge's reply is no solution, and a completion that did not end by itself is never graded.
    if rollout.purpose.partition(":")[0] == JUDGE or rollout.stopped != "stop":
        return rollout
    return rollout.model_copy(update={"outcome": outcome_of(problem, rollout.prefix + rollout.text)})
