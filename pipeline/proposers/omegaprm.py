"""OmegaPRM: divide-and-conquer tree search for the first error (arXiv 2406.06592, section 3).

Every wrong rollout of every state competes for the next search by Q + U; binary search over its steps then
finds the first prefix from which no rollout succeeds. Prefixes probed on the way become states whose
rollouts compete in turn.

Two things the paper leaves out can be asked for. `recheck`: k failures are no proof (where one rollout in ten
succeeds, eight fail with chance .43), so the prefix that is about to be named gets a second sample, and the
search goes on above it where that has a success. `refute`: a step proved wrong bounds the search from above.
"""

import math
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from pipeline.annotators.monte_carlo import answer_vote, vote_of
from pipeline.inputs.segment import prefix_of
from pipeline.proposers.sample import to_solution
from pipeline.sampling.counted import counts
from pipeline.sampling.roller import Roller
from schemas.config import OmegaConfig
from schemas.records import Candidate, Rollout, Solution, Vote
from schemas.sources import GRADE, Sources, rollout_source

SOURCE = "omegaprm"
SOURCES: Sources = {**rollout_source(SOURCE), **GRADE}
Check = Callable[[Solution], Awaitable[list[Vote]]]
"""Asks the run's verifiers about a solution."""


@dataclass
class State:
    """A solution prefix with its rollouts. One state exists per distinct prefix."""

    prefix: str
    rollouts: list[Rollout]
    visits: int = 0
    rechecked: bool = False

    @property
    def value(self) -> float | None:
        """MC(s), the share of readable rollouts that are correct; None when none is readable."""
        correct, n, _ = counts(self.rollouts)
        return correct / n if n else None


@dataclass
class Tree:
    """The states found so far, the wrong rollouts waiting for a search, and what was drawn for them."""

    states: dict[str, State] = field(default_factory=dict)
    pool: list[tuple[State, Rollout]] = field(default_factory=list)
    drawn: int = 0
    searches: int = 0
    offered: set[str] = field(default_factory=set)
    """Texts that were put into the pool, from the problem on: each is searched once."""
    searched: dict[str, Solution] = field(default_factory=dict)


def rollout_value(value: float, tokens: int, config: OmegaConfig) -> float:
    """Q(s, r) = alpha^(1 - MC(s)) * beta^(len(r) / L)."""
    # Wrong rollouts of states that mostly succeed come first (their errors are the surprising ones, and easy
    # to place), and of those the short ones, which cost less.
    return float(config.alpha ** (1 - value) * config.beta ** (tokens / config.length_scale))


def exploration(visits: int, total: int, config: OmegaConfig) -> float:
    """U(s) = c_puct * sqrt(sum of visits) / (1 + visits of s)."""
    # States that were seldom searched gain on the others as searches go on, as in AlphaGo's PUCT.
    return config.c_puct * math.sqrt(total) / (1 + visits)


async def propose(
    roller: Roller,
    config: OmegaConfig,
    root: list[Rollout] | None = None,
    check: Check | None = None,
) -> list[Candidate]:
    """Search one problem. `root` are rollouts already drawn from the bare problem (the difficulty filter's);
    with `refute`, `check` asks verifiers, which may refute steps.

    Candidates are the solutions that were searched, and one correct solution where the root found any; their
    votes are the values measured along them. Without either they are the root's own solutions, `searches` at
    most, for other annotators to vote on.
    """
    tree = Tree()
    await _state(tree, "", roller, config, root)
    while tree.pool and tree.searches < config.searches and tree.drawn < config.budget:
        state, rollout = _pop_best(tree, config)
        state.visits += 1
        tree.searches += 1
        solution = to_solution(roller, rollout)
        refuted = await _refuted(solution, check) if config.refute and check else None
        await _search(tree, state, solution, roller, config, refuted=refuted)
    # Searches look at wrong solutions only; a dataset without right ones would teach that every solution has
    # an error.
    right = next((r for r in tree.states[""].rollouts if r.outcome == "correct"), None)
    if right is not None:
        solution = to_solution(roller, right)
        tree.searched[solution.text] = solution
    # No success at the root, or nothing that can be graded: a search would locate nothing, yet the solutions
    # are there.
    if not tree.searched:
        finished = [rollout for rollout in tree.states[""].rollouts if rollout.stopped == "stop"]
        found = {rollout.text: to_solution(roller, rollout) for rollout in finished}
        tree.searched = dict(list(found.items())[: config.searches])
    return [_candidate(tree, solution, roller) for solution in tree.searched.values() if solution.steps]


async def _state(
    tree: Tree, prefix: str, roller: Roller, config: OmegaConfig, rollouts: list[Rollout] | None = None
) -> State | None:
    """The state of a prefix, rolled out when it is new; None when the budget does not allow it any more."""
    if prefix in tree.states:
        return tree.states[prefix]
    if rollouts is None:
        n = min(config.rollouts, config.budget - tree.drawn)
        if n <= 0:
            return None
        tree.drawn += n
        rollouts = await roller.roll(prefix, n, SOURCE)
    state = tree.states[prefix] = State(prefix, rollouts)
    _offer(tree, state)
    return state


def _offer(tree: Tree, state: State) -> None:
    """Only wrong, readable, non-empty rollouts of half-successful states can be searched, each text once."""
    # At value 1 there is no wrong rollout; at 0 the error lies before this state, and a search below it would
    # name a step after the first error.
    if state.value is None or not 0 < state.value < 1:
        return
    for rollout in state.rollouts:
        text = rollout.prefix + rollout.text
        # A policy that repeats a mistake word for word draws one text many times: a second search of it would
        # meet the states of the first, find nothing new, and count as a search.
        if rollout.outcome == "incorrect" and rollout.text.strip() and text not in tree.offered:
            tree.offered.add(text)
            tree.pool.append((state, rollout))


def _pop_best(tree: Tree, config: OmegaConfig) -> tuple[State, Rollout]:
    """Take out the entry with the largest Q + U. U changes for every entry at each search, so it is never
    stored."""

    def score(entry: tuple[State, Rollout]) -> float:
        state, rollout = entry
        q = rollout_value(state.value or 0.0, rollout.tokens, config)
        return q + exploration(state.visits, tree.searches, config)

    best = max(range(len(tree.pool)), key=lambda i: score(tree.pool[i]))
    return tree.pool.pop(best)


async def _refuted(solution: Solution, check: Check) -> int | None:
    return min((vote.step for vote in await check(solution) if vote.p == 0), default=None)


async def _search(
    tree: Tree,
    state: State,
    solution: Solution,
    roller: Roller,
    config: OmegaConfig,
    *,
    refuted: int | None = None,
) -> None:
    """Binary search for the first error of a wrong rollout: prefix `low` is sound, the last of `unsound` not.

    A `refuted` step is unsound from the start.
    """
    steps, how = solution.steps, roller.prompt.reasoning
    low, unsound = _steps_before(solution, state.prefix), [len(steps)]
    if refuted is not None and low <= refuted < len(steps) - 1:
        unsound.append(refuted + 1)
    while True:
        if unsound[-1] - low > 1:
            middle = (low + unsound[-1]) // 2
            probed = await _state(tree, prefix_of(solution.text, steps, middle, how), roller, config)
            if probed is None or probed.value is None:
                break  # out of budget, or nothing readable came back: neither half can be ruled out
            if probed.value > 0:
                low = middle
            else:
                unsound.append(middle)
        elif await _recovers(tree, prefix_of(solution.text, steps, unsound[-1], how), roller, config):
            low = unsound.pop()
        else:
            break
    tree.searched[solution.text] = solution


async def _recovers(tree: Tree, prefix: str, roller: Roller, config: OmegaConfig) -> bool:
    """Whether a state without a success has one among `recheck` more rollouts. Asked once a state."""
    state = tree.states.get(prefix)
    n = min(config.recheck, config.budget - tree.drawn)
    if state is None or state.value != 0 or state.rechecked or n <= 0:
        return False
    state.rechecked = True
    tree.drawn += n
    state.rollouts = [*state.rollouts, *await roller.roll(prefix, n, SOURCE, start=len(state.rollouts))]
    _offer(tree, state)
    return counts(state.rollouts)[0] > 0


def _steps_before(solution: Solution, prefix: str) -> int:
    return sum(step.end <= len(prefix) for step in solution.steps)


def _candidate(tree: Tree, solution: Solution, roller: Roller) -> Candidate:
    """The solution with a vote for every one of its prefixes that the tree has measured, and its grade."""
    votes: list[Vote] = []
    doubts, how = roller.doubts, roller.prompt.reasoning
    for index in range(1, len(solution.steps)):
        state = tree.states.get(prefix_of(solution.text, solution.steps, index, how))
        if state is not None:
            votes.append(vote_of(index - 1, state.rollouts, SOURCE, doubts))
    return Candidate(solution=solution, votes=(*votes, answer_vote(solution, doubts)))
