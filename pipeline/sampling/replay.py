"""Say again what a run has stored, as a policy: so a problem can be labelled anew without sampling."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Self

from pipeline.policies.base import Completion, Policy, Prompt, Sampling, Unfinished
from pipeline.sampling.roller import JUDGE, LONGEST_TEXT, outcome_of
from schemas.errors import BackendError
from schemas.records import Finished, Problem, Rollout


class NotStored(BackendError):
    """A completion is needed that no stored rollout holds."""


@dataclass(eq=False)
class Stored:
    """A policy that says what stored rollouts say; what they do not hold it asks of another, if any."""

    said: dict[int, Completion]
    """Completions by their seeds, which tell problem, prefix, purpose and place."""
    kind: str
    model: str
    revision: str
    behind: Policy | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc: object) -> None:
        return None

    async def sample(self, prompt: Prompt, n: int, sampling: Sampling) -> list[Completion]:
        """Exactly `n` completions: those that are stored, and from the first missing one on new ones.

        Raises NotStored where there is nobody to draw them, and what whoever draws them raises.
        """
        found: list[Completion] = []
        while len(found) < n and sampling.seed + len(found) in self.said:
            found.append(self.said[sampling.seed + len(found)])
        if len(found) == n:
            return found
        if self.behind is None:
            raise NotStored("not among the stored rollouts")
        rest = replace(sampling, seed=sampling.seed + len(found))
        try:
            return [*found, *await self.behind.sample(prompt, n - len(found), rest)]
        except Unfinished as failure:  # places count from the first of the whole request
            drawn = {len(found) + place: completion for place, completion in failure.drawn.items()}
            raise Unfinished(str(failure), drawn) from failure


def before(policy: Policy, said: dict[int, Completion]) -> Stored:
    """A policy that looks among stored completions before it draws."""
    return Stored(said, policy.kind, policy.model, policy.revision, behind=policy)


def completions(rollouts: Iterable[Rollout]) -> dict[int, Completion]:
    """Stored rollouts as a policy's answers, by seed."""
    found = {}
    for rollout in rollouts:
        # A reply that was too long to be read was cut; it must stay too long.
        text = f"{rollout.text}." if len(rollout.text) == LONGEST_TEXT else rollout.text
        found[rollout.seed] = Completion(text, rollout.stopped, rollout.tokens)
    return found


def with_rest(
    item: Finished, taken: Sequence[Rollout], stored: Iterable[Rollout]
) -> tuple[Finished, list[Rollout]]:
    """A problem's line and rollouts, completed by the stored ones that were not asked for again: they were
    paid for, and a later grade may need them."""
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
    if rollout.purpose.partition(":")[0] == JUDGE or rollout.stopped != "stop":
        return rollout
    return rollout.model_copy(update={"outcome": outcome_of(problem, rollout.prefix + rollout.text)})
