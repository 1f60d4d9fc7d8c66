"""Run one shard: every owed problem through filter, proposer and annotators, and into the journal."""

import asyncio
import logging
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, aclosing, contextmanager
from itertools import chain, islice
from typing import TYPE_CHECKING

from pydantic import ValidationError

from pipeline.annotators.base import Context
from pipeline.annotators.monte_carlo import answer_vote
from pipeline.annotators.opening import Part, writer_role
from pipeline.labelling.measured import meter
from pipeline.labelling.skipped import nobody_can_label, nothing_finished
from pipeline.labelling.tools import Annotators, Engines
from pipeline.policies.admission import run_in_order
from pipeline.proposers import omegaprm, sample
from pipeline.proposers.gold import with_votes
from pipeline.runs import records
from pipeline.runs.given_files import Given, GivenFile, merged
from pipeline.sampling import difficulty, replay
from pipeline.sampling.budget import Allowance, ShardBudget
from pipeline.sampling.counted import counts
from pipeline.sampling.draws import Draws
from pipeline.sampling.roller import Roller, outcome_of, silence
from pipeline.sampling.unfinished import UnfinishedFile
from schemas.config import GivenConfig, OmegaConfig, RunConfig, SampleConfig
from schemas.errors import BackendError, BackendGone, UserError
from schemas.logged import about
from schemas.records import Candidate, Finished, Problem, Quarantined, Rollout, Solution, Vote
from schemas.sources import ANSWER, GRADE, NO_GOLD, Source, Sources, check_votes
from schemas.text import one_line

if TYPE_CHECKING:
    from pipeline.runs.run_store import Owed, RunStore
    from pipeline.storage.journal import ShardWriter

log = logging.getLogger(__name__)
Drawn = Mapping[str, Sequence[Rollout]]
"""Rollouts by their problem's id."""
_NOTHING = Given()
_REASON = 400
"""Characters of a failure's reason that are kept."""


async def run_shard(
    store: "RunStore",
    shard: int,
    *,
    most: int | None = None,
    opened: Callable[[], None] = lambda: None,
    advance: Callable[[], None] = lambda: None,
    engines: Engines | None = None,
) -> dict[str, int]:
    """Do what the shard owes, or the first `most` of it; returns counts of problems done and failed.

    `opened` is called when the policies are loaded, `advance` after every problem; `engines` stay open. A
    problem whose backend failed is quarantined with its reason and stays owed, and what was drawn for it is
    kept; when the backend is gone for all of them, BackendError ends the shard.
    """
    if not store.shard_state(shard).owed:
        _tidy(store, shard)
        return {"done": 0, "failed": 0}
    with store.writing(shard) as writer, _reasons(store, shard) as failures:
        async with AsyncExitStack() as stack:
            kept = await stack.enter_async_context(aclosing(Engines())) if engines is None else engines
            tools = await stack.enter_async_context(kept.tools(store.config, store.templates()))
            store.declare(tools.sources)
            writer.used = tools.used
            # All of it is tried again: what stopped it before would outlive a kill and be told as the reason.
            records.set_aside(store.path, shard, [])
            opened()
            work = await label_all(
                _in_order(store, islice(store.owed(shard), most)),
                tools,
                writer,
                store.shard_budget(shard),
                advance=advance,
                stored=_drawn(store, shard),
                unfinished=store.unfinished(shard),
                failures=failures,
                given=store.given(shard),
            )
    done, failed = work.done, len(work.failures)
    # A backend that fails everything is an error of the run; single failures are problems still owed.
    if failed:
        await kept.aclose()  # an engine may be broken
    if failed and not done:
        raise BackendError(f"every problem of shard {shard} failed; the first: {failures[0].reason}")
    if not failed:
        store.pack_rollouts(shard)
        if not store.shard_state(shard).owed:
            store.unfinished(shard).clear()
    log.info("shard %d: %d problems done, %d failed", shard, done, failed)
    return {"done": done, "failed": failed}


def _tidy(store: "RunStore", shard: int) -> None:
    """Where nothing is owed: reasons of earlier failures, and what was kept of them, are out of date."""
    records.set_aside(store.path, shard, [])
    store.unfinished(shard).clear()
    store.pack_rollouts(shard)


def _in_order(store: "RunStore", owed: "Iterable[Owed]") -> "Iterable[Owed]":
    """Long searches first: begun last they would end alone. A budget is spent in the order of the store."""
    if store.config.budget.run is not None:
        return owed
    return sorted(owed, key=lambda one: len(one.problem.text), reverse=True)


@contextmanager
def _reasons(store: "RunStore", shard: int) -> Iterator[list[Quarantined]]:
    """A list for the failures of a shard, which is on disk afterwards, with what stopped the shard itself."""
    failures: list[Quarantined] = []
    try:
        yield failures
    except (BackendError, UserError) as error:
        failures.append(Quarantined(file=f"shard {shard}", reason=one_line(str(error), _REASON)))
        raise
    finally:
        records.set_aside(store.path, shard, sorted(failures, key=lambda failure: failure.problem_id))


class Work:
    """What is done with each problem of a shard, and what became of them."""

    def __init__(
        self,
        tools: Annotators,
        writer: "ShardWriter",
        budget: ShardBudget,
        advance: Callable[[], None],
        stored: Drawn | None = None,
        unfinished: UnfinishedFile | None = None,
        failures: list[Quarantined] | None = None,
        given: GivenFile | None = None,
    ) -> None:
        self._stored, self._given = stored or {}, given
        self._tools, self._writer, self._budget, self._advance = tools, writer, budget, advance
        self._unfinished = unfinished
        self.done = 0
        self.failures = [] if failures is None else failures

    async def label(self, owed: "Owed") -> None:
        """Label a problem and record it, if the budget reaches it; set it aside when its backend fails.

        Whatever ends it early, what was drawn for it is kept. Raises BackendGone when nothing can be drawn
        any more.
        """
        problem = owed.problem
        with about(problem=problem.id):
            await self._label(problem, owed.before)

    async def _label(self, problem: Problem, before: list[int]) -> None:
        # In the order of the store: which problems a budget reaches must not depend on which finished first.
        if not await self._budget.admits(before):
            return
        # Where the problem's gold was corrected, what was drawn for it before is not drawn again.
        stored = self._stored.get(problem.id, ())
        said = replay.completions(stored)
        draws = self._unfinished.draws(problem.id, said) if self._unfinished else Draws(stored=said)
        finished = False
        try:
            given = self._given.of(problem.id) if self._given else Given()
            item, rollouts = await label_problem(problem, self._tools, draws, given)
            finished = True
        except (BackendError, ValidationError) as error:  # or what it said can be kept in no file
            log.warning("problem %s failed and stays owed: %s", problem.id, error)
            self._budget.settle(None)
            meter().failed()
            source, reason = problem.source, one_line(str(error), _REASON)
            self.failures.append(
                Quarantined(file=source.dataset, row=source.row, reason=reason, problem_id=problem.id)
            )
            if isinstance(error, BackendGone):
                raise
            await draws.close()
        finally:
            if not finished and self._unfinished:
                self._unfinished.keep(problem.id, draws)
        if finished:
            if stored:
                # In a thread: grading what is left over may run programs, which takes seconds.
                item, rollouts = await asyncio.to_thread(replay.with_rest, item, rollouts, stored)
            self._writer.record(item, rollouts)
            self._budget.settle(sum(item.tokens.values()))
            self.done += 1
            meter().finished(item)
            self._advance()


async def label_all(
    owed: "Iterable[Owed]",
    tools: Annotators,
    writer: "ShardWriter",
    budget: ShardBudget,
    *,
    advance: Callable[[], None] = lambda: None,
    stored: Drawn | None = None,
    unfinished: UnfinishedFile | None = None,
    failures: list[Quarantined] | None = None,
    given: GivenFile | None = None,
) -> Work:
    """Label problems in their order, as many at once as the engines have room for and the budget admits."""
    work = Work(tools, writer, budget, advance, stored, unfinished, failures, given)
    await run_in_order(owed, work.label)
    return work


def _drawn(store: "RunStore", shard: int) -> Drawn:
    """The stored rollouts of the problems whose gold or given solutions have changed."""
    if not (stale := set(store.stale(shard))):
        return {}
    found = defaultdict(list)
    for row in store.rollouts(shard):
        if row["problem_id"] in stale:
            found[row["problem_id"]].append(Rollout.model_validate(row))
    return found


async def label_problem(
    problem: Problem, tools: Annotators, draws: Draws | None = None, given: Given = _NOTHING
) -> tuple[Finished, list[Rollout]]:
    """One problem from the difficulty filter to its last vote, as a journal line and the completions paid
    for; `draws` holds what was drawn for it earlier. Where solutions are `given`, others are proposed only
    beside a proposer of kind "given"."""
    allowance = Allowance(tools.config.budget.per_problem)
    config = tools.config
    roller = Roller(
        tools.policy,
        config.prompt,
        problem,
        seed=config.seed,
        allowance=allowance,
        draws=draws,
        templates=tools.templates,
    )
    # Without a gold answer nothing can be graded, so neither filter nor search has anything to go by.
    if not problem.is_gradable:
        skipped, root = nobody_can_label(tools, given), None
    else:
        skipped, root = await _too_easy_or_hard(roller, config)
    candidates: list[Candidate] = []
    if not skipped:
        found = await _proposed(roller, tools, root, given.candidates)
        candidates = await _annotated(roller, found, tools)
        skipped = "" if candidates else nothing_finished(roller, config, late=allowance.reached)
    # Concurrent draws finish in any order; the record keeps one.
    taken = sorted(roller.taken, key=lambda r: (r.purpose, r.prefix, r.seed))
    tokens = Counter[str]()
    for rollout in taken:
        tokens[rollout.purpose] += rollout.tokens
    finished = Finished(
        problem=problem,
        candidates=tuple(candidates),
        skipped=skipped,
        n_rollouts=len(taken),
        n_calls=allowance.calls,
        tokens=dict(sorted(tokens.items())),
        given=given.key,
        over_budget=allowance.reached,
    )
    return finished, taken


async def _too_easy_or_hard(roller: Roller, config: RunConfig) -> tuple[str, list[Rollout] | None]:
    """The difficulty filter's verdict (empty to go on), and its rollouts, which the search uses again."""
    if config.filter is None:
        return "", None
    searched = config.proposer(OmegaConfig)
    # A search begins with k rollouts of the bare problem, which are these.
    drawn = await difficulty.draw(roller, config.filter, least=searched.rollouts if searched else 0)
    correct, n, _ = counts(drawn)
    # Not one rollout could be graded: neither too hard nor too easy, but unknown, and its reason is kept.
    if n == 0:
        return silence(drawn, "filter: no rollout could be graded", roller.doubts), None
    # Where the policy never succeeds, or always, rollouts say the same after every step and locate no error.
    match difficulty.verdict(correct, n, config.filter.rollouts - len(drawn), config.filter):
        case "hard":
            return "filter: too hard", None
        case "easy":
            return "filter: too easy", None
    return "", drawn


async def _proposed(
    roller: Roller, tools: Annotators, root: list[Rollout] | None, given: Sequence[Candidate]
) -> list[Candidate]:
    """The candidates of all proposers of the run, equal texts merged. Solutions that a program gives to a run
    without a proposer of that kind are all there is to label."""
    # Comparing expressions may take seconds, which a thread waits for: the engines are kept busy meanwhile.
    graded = [await asyncio.to_thread(_graded, roller.problem, one) for one in given]
    asked = tools.config.proposer(GivenConfig)
    if graded and asked is None:
        return graded
    found = [with_votes(one) for one in graded] if asked and asked.gold_votes else graded
    for one in tools.config.proposers:
        if not isinstance(one, GivenConfig):
            found = [*found, *await _propose(roller, tools, one, root)]
    return merged(found)


def _graded(problem: Problem, given: Candidate) -> Candidate:
    """A given solution, graded where it has no outcome yet. A stated outcome is believed: it may come from a
    grader that knows more than the answer."""
    if given.solution.outcome != "unknown":
        return given
    solution = given.solution.model_copy(update={"outcome": outcome_of(problem, given.solution.text)})
    return given.model_copy(update={"solution": solution})


async def _propose(
    roller: Roller, tools: Annotators, asked: SampleConfig | OmegaConfig, root: list[Rollout] | None
) -> list[Candidate]:
    if isinstance(asked, SampleConfig):
        if asked.policy is not None:
            role = writer_role(asked)
            roller = roller.of(tools.others[role], role)
        return await sample.propose(roller, asked)
    if not roller.problem.is_gradable:  # a search rests on graded rollouts
        # A sampler of the run's policy beside it would draw these very solutions again.
        samplers = [one for one in tools.config.proposers if isinstance(one, SampleConfig)]
        is_there = any(one.policy is None for one in samplers)
        return [] if is_there else await sample.propose(roller, SampleConfig())

    async def check(solution: Solution) -> list[Vote]:
        return await _checked(roller, solution, tools)

    return await omegaprm.propose(roller, asked, root, check)


async def _annotated(roller: Roller, found: list[Candidate], tools: Annotators) -> list[Candidate]:
    """All candidates with their votes. Under a budget one after the other: annotators wait for verifiers, so
    which of two candidates drew first would be chance."""
    if tools.config.budget.per_problem is not None:
        return [await _annotate(roller, candidate, tools) for candidate in found]
    return list(await asyncio.gather(*(_annotate(roller, candidate, tools) for candidate in found)))


async def _checked(roller: Roller, solution: Solution, tools: Annotators) -> list[Vote]:
    """The first round: votes of the verifiers."""
    first = [part for part in tools.parts if part.checks]
    found = await asyncio.gather(*(_votes(part, roller, solution, tools) for part in first))
    return list(chain.from_iterable(found))


async def _annotate(roller: Roller, candidate: Candidate, tools: Annotators) -> Candidate:
    """The candidate with the votes of every annotator of the run."""
    solution = candidate.solution
    # The verifiers come first: what they refute saves a search rollouts.
    checked = await _checked(roller, solution, tools) if any(part.checks for part in tools.parts) else []
    rest = [part for part in tools.parts if not part.checks]
    votes: list[Vote] = [*candidate.votes, *checked]
    if not roller.problem.is_gradable:
        searches = tools.config.proposer(OmegaConfig) is not None
        votes += _abstentions({**GRADE, **(omegaprm.SOURCES if searches else {})}, len(solution.steps))
    for found in await asyncio.gather(*(_votes(part, roller, solution, tools, checked) for part in rest)):
        # A search has already answered for the last step; its vote is not counted twice.
        known = {(vote.source, vote.step) for vote in votes}
        votes += [vote for vote in found if (vote.source, vote.step) not in known]
    # Every solution has the vote of its grade, whichever annotators a run has.
    if not any(vote.source == ANSWER for vote in votes):
        votes.append(answer_vote(solution, roller.doubts))
    return candidate.model_copy(update={"votes": tuple(sorted(votes, key=lambda v: (v.step, v.source)))})


async def _votes(
    part: Part, roller: Roller, solution: Solution, tools: Annotators, checked: Sequence[Vote] = ()
) -> list[Vote]:
    """What one annotator says of a solution, all of it declared; where it needs a gold answer and there is
    none, its abstentions."""
    annotator, config = part.annotator, part.config
    if annotator.needs_gold and not roller.problem.is_gradable:
        return _abstentions(annotator.sources, len(solution.steps))
    policy = tools.others.get(config.name)
    other = roller.of(policy, config.owner) if policy is not None else None
    votes = await annotator.annotate(Context(roller, other, checked), solution)
    check_votes(votes, annotator.sources, len(solution.steps), part.called)
    return votes


def _abstentions(sources: Sources, n_steps: int) -> list[Vote]:
    """What is said in place of an annotator that needs a gold answer. The grade is a vote on the last step,
    which nothing is rolled out from."""

    def steps(source: Source) -> range:
        if source.kind == "grade":
            return range(n_steps - 1, n_steps)
        return range(n_steps - 1) if source.by else range(n_steps)

    return [
        Vote(step=step, source=name, asks=source.asks, why=NO_GOLD)
        for name, source in sources.items()
        for step in steps(source)
    ]
