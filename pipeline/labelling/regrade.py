"""Grade a run's stored rollouts again, without sampling: for a corrected answer, or a better grader.

A problem is labelled anew from its first draw to its last vote, with the stored completions in place of new
ones (`pipeline.sampling.replay`). What is asked for is told by seeds, so the same requests find the same
completions. Where a new grade leads elsewhere (a problem that the difficulty filter had dropped, a search
that turns another way), completions are missing: the problem is left to the run, which draws them.
"""

import asyncio
from collections.abc import Callable, Container, Iterator, Sequence
from itertools import groupby
from pathlib import Path
from typing import NamedTuple

from pipeline.annotators.opening import writer_role
from pipeline.labelling.shard import label_problem
from pipeline.labelling.tools import Annotators, annotators_of
from pipeline.runs.given_files import Given
from pipeline.runs.run_store import RunStore
from pipeline.sampling.draws import Draws
from pipeline.sampling.replay import Nobody, NotStored, completions, with_rest
from schemas.records import Finished, PolicyIdentity, Problem, Rollout
from schemas.sources import POLICY


class Regraded(NamedTuple):
    """What became of the problems that were graded again."""

    changed: int = 0
    same: int = 0
    missing: int = 0
    """Problems whose stored rollouts do not suffice. They keep the line they have; where that was graded by
    another gold answer, they are owed."""


def mark(store: RunStore) -> Path:
    """A file that is there from when a run is graded again until it is sealed: its rows are of the past."""
    return store.path / "journal" / "regrading"


async def regrade_shard(
    store: RunStore, shard: int, *, only: Container[str] | None = None, advance: Callable[[], None]
) -> Regraded:
    """Grade what a shard has stored again; of the problems `only`, where they are given."""
    changed = same = missing = 0
    tools, given = _tools(store), store.given(shard)
    with store.writing(shard) as writer:
        for problem, before, rollouts in stored_problems(store, shard, only):
            try:
                item, taken = await regrade(problem, rollouts, tools, given.of(problem.id))
            # Never a failure: the run draws what is missing the next time it goes on.
            except NotStored:
                missing += 1
            else:
                # An equal line is not written again, so grading twice leaves every file as it was.
                is_same = item == before and taken == rollouts
                same, changed = same + is_same, changed + (not is_same)
                if not is_same:
                    writer.record(item, taken)
            advance()
    store.pack_rollouts(shard)
    return Regraded(changed, same, missing)


async def regrade(
    problem: Problem, rollouts: Sequence[Rollout], tools: Annotators, given: Given
) -> tuple[Finished, list[Rollout]]:
    """A problem's journal line and rollouts by the gold and the given solutions it has and by today's grader.
    Raises NotStored."""
    item, taken = await label_problem(problem, tools, Draws(stored=completions(rollouts)), given)
    return await asyncio.to_thread(with_rest, item, taken, rollouts)


def stored_problems(
    store: RunStore, shard: int, only: Container[str] | None = None
) -> Iterator[tuple[Problem, Finished, list[Rollout]]]:
    """Every finished problem of a shard as it is posed now, with its journal line and its rollouts."""
    entries = store.entries(shard)
    drawn = groupby(store.rollouts(shard), key=lambda row: row["problem_id"])
    name, rows = next(drawn, ("", iter(())))

    def wanted() -> Iterator[Problem]:  # in the order of their ids, as rollouts are
        found = (one for one in store.posed(shard) if one.id in entries)
        return (one for one in found if only is None or one.id in only)

    items = store.lines(shard, (entries[problem.id] for problem in wanted()))
    for problem, item in zip(wanted(), items, strict=True):
        while name and name < problem.id:
            name, rows = next(drawn, ("", iter(())))
        stored = [Rollout.model_validate(row) for row in rows] if name == problem.id else []
        yield problem, item, stored


def _tools(store: RunStore) -> Annotators:
    """A run's annotators and prompts, and a policy that draws nothing, of the name its solutions bear."""
    named = {POLICY: store.config.policy}
    named |= {writer_role(one): one.policy for one in store.config.writers if one.policy is not None}
    # Where there is not one solution of a policy, its configuration is all that says what it is called.
    known = {role: PolicyIdentity(kind=one.kind, model=one.model) for role, one in named.items()}
    known |= _authors(store, known)
    nobody = {role: Nobody(who.kind, who.model, who.revision) for role, who in known.items()}
    policy = nobody.pop(POLICY)
    return annotators_of(store.config, policy, templates=store.templates(), writers=nobody)


def _authors(store: RunStore, roles: Container[str]) -> dict[str, PolicyIdentity]:
    """Who wrote the solutions, by role: of each the first that is found."""
    found: dict[str, PolicyIdentity] = {}
    wanted = 1 + len(store.config.writers)
    for shard in range(store.config.shards):
        for _, item, rollouts in stored_problems(store, shard):
            purposes = {rollout.seed: rollout.purpose for rollout in rollouts}
            for candidate in item.candidates:
                who = candidate.solution.policy
                role = purposes.get(who.seed, "").removesuffix(":propose")
                if who.kind != "given":
                    found.setdefault(role if role in roles else POLICY, who)
            if len(found) == wanted:
                return found
    return found
