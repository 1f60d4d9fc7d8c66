"""What an annotator is given and what it returns: the protocol of all annotators, ours and outsiders'."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from pipeline.sampling.roller import Roller
from schemas.records import Problem, Solution, Vote
from schemas.sources import Sources


@dataclass(frozen=True)
class Context:
    """A problem, and ways to ask the models about it."""

    # Only the roller draws: it keeps, seeds and counts every rollout, so no annotator can spend tokens
    # unseen.
    roller: Roller
    """Draws completions of the problem from the run's policy. What it draws is paid for, kept with the run,
    and drawn only once; `roller.taken` are all rollouts so far."""
    other: Roller | None = None
    """The same for the annotator's own policy, where its configuration names one."""
    checked: Sequence[Vote] = ()
    """Votes of the verifiers on this solution. They vote first; to themselves this is empty."""

    @property
    def problem(self) -> Problem:
        """The problem, with its gold answer where it has one."""
        return self.roller.problem

    @property
    def own(self) -> Roller:
        """Asks the annotator's own policy; without one, the run's."""
        return self.other or self.roller


class Annotator(Protocol):
    """Votes on the steps of a solution."""

    @property
    def sources(self) -> Sources:
        """Every source that it votes as, and what that source's votes are evidence of."""
        ...

    @property
    def needs_gold(self) -> bool:
        """Whether it is asked only about problems with a gold answer; its sources abstain on others."""
        ...

    async def annotate(self, context: Context, solution: Solution) -> list[Vote]:
        """Votes on any of the solution's steps, in any order.

        Raises BackendError when a model or service fails: the problem is then owed, and done later. What
        cannot be decided is a vote with p None and its reason, or no vote; never a no.
        """
        ...
