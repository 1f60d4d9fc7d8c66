"""What the votes of a source are evidence of. Whoever votes declares it; nothing is guessed from a name.

Fusion, consensus and reports are given the declarations of a run. They are recorded with the run when it
begins, and in its manifest, so a sealed run is read without whoever voted in it.
"""

from collections.abc import Iterable, Mapping
from typing import Literal, Self

from pydantic import model_validator

from schemas.errors import UserError
from schemas.records import Asks, Record, Vote

Kind = Literal["rollouts", "search", "grade", "judge", "score", "check"]
"""`rollouts`: counts of completions from the end of a step. `search`: such counts too, but its p is a
posterior of the first error over all its rollouts. `grade`: the solution's own answer. `judge`: a model's
opinion of a step; of several replies, counts. `score`: a model's score of the whole solution, on its last
step: a low one means an error somewhere, not in that step. `check`: a verifier, which holds, fails or
abstains."""
POLICY = "policy"
"""`by` of rollouts of the run's own policy."""
ANSWER = "answer"
"""The source of the last step's vote: a finished solution is graded, never rolled out."""

NO_GOLD = "the problem has no gold answer"
"""Why a source abstains that needs one."""


class Source(Record):
    """What is known of one source of votes."""

    kind: Kind
    asks: Asks
    """What all of its votes ask."""
    by: str = ""
    """Whose completions are counted: `policy` for the run's own policy, any other word for another one.
    Counts with equal `by` are added up, others never."""
    includes: tuple[str, ...] = ()
    """Sources whose rollouts this one has counted already; where it votes, they are not counted again."""
    every_step: bool = False
    """Of a judge: each reply speaks of every step, also of those after an error. Other judges' replies say
    yes to the steps before the first error, no to it, and nothing of later ones."""

    @model_validator(mode="after")
    def _says_whose_completions_it_counts(self) -> Self:
        counts = self.kind in ("rollouts", "search")
        if counts != bool(self.by):
            raise ValueError(f"a source of kind {self.kind!r} {'needs' if counts else 'has no'} `by`")
        if self.kind in ("rollouts", "search", "grade") and self.asks != "solvable":
            raise ValueError(f"a source of kind {self.kind!r} tells whether the answer is in reach: solvable")
        return self


_ROUNDED = 0.01
"""What p may differ from the share that it is: one that was rounded to two digits is no mistake."""

Sources = Mapping[str, Source]
"""Declarations by the source's name, as it stands in votes."""
GRADE = {ANSWER: Source(kind="grade", asks="solvable")}
"""The grade of a solution's own answer, which every run gives."""


def rollout_source(name: str, by: str = POLICY) -> dict[str, Source]:
    """The declaration of a source that counts completions from the ends of steps."""
    return {name: Source(kind="rollouts", asks="solvable", by=by)}


def judge_source(name: str, *, every_step: bool = False) -> dict[str, Source]:
    """The declaration of a source of opinions whether a step is right; with `every_step` also of steps after
    an error."""
    return {name: Source(kind="judge", asks="valid", every_step=every_step)}


def score_source(name: str) -> dict[str, Source]:
    """The declaration of a source of scores of whole solutions, each a vote on the last step."""
    return {name: Source(kind="score", asks="valid")}


def check_source(name: str) -> dict[str, Source]:
    """The declaration of a verifier."""
    return {name: Source(kind="check", asks="valid")}


def declared(sources: Sources, name: str) -> Source:
    """The declaration of a source. UserError where there is none."""
    try:
        return sources[name]
    except KeyError:
        raise UserError(undeclared(name)) from None


def undeclared(name: str) -> str:
    """The line that refuses votes of a source that nobody declared."""
    return (
        f"votes of source {name!r}, which nobody declared: whoever votes must say what they are evidence "
        f'of, e.g. sources = {{{name!r}: Source(kind="judge", asks="valid")}} (schemas/sources.py)'
    )


def check_votes(votes: Iterable[Vote], sources: Sources, n_steps: int, who: str) -> None:
    """UserError for a vote that `who` did not declare, that asks something else, is on no step, whose counts
    contradict it, or that is the second of its source on one step: fusion would count both."""
    seen = set[tuple[str, int]]()
    for vote in votes:
        if (vote.source, vote.step) in seen:
            raise UserError(f"{who}: two votes of {vote.source!r} on step {vote.step}: give one, with counts")
        seen.add((vote.source, vote.step))
        if vote.source not in sources:
            raise UserError(f"{who}: {undeclared(vote.source)}; declared are {', '.join(sources)}")
        if vote.asks != (asks := sources[vote.source].asks):
            raise UserError(
                f"{who}: a vote of {vote.source!r} asks {vote.asks!r}, but the source is declared with "
                f"asks={asks!r}: change the vote, or the declaration in `sources`"
            )
        if vote.step >= n_steps:
            raise UserError(f"{who}: a vote of {vote.source!r} is on step {vote.step} of {n_steps} (from 0)")
        if complaint := _counts_complaint(vote, sources[vote.source].kind):
            raise UserError(f"{who}: a vote of {vote.source!r} on step {vote.step} {complaint}")


def _counts_complaint(vote: Vote, kind: Kind) -> str:
    """How a vote's p and its counts contradict each other; empty where they agree. Fusion reads the counts
    where there are any, so p would be lost without a word. A search's p is no share of its own counts."""
    if vote.p is None or kind == "search":
        return ""
    if not vote.n:
        only = "rollouts are weighed by their counts: say how many were right (correct) and readable (n)"
        return f"says p={vote.p:g} without counts, and {only}" if kind == "rollouts" else ""
    if abs(vote.p - vote.correct / vote.n) > _ROUNDED:
        share = f"correct={vote.correct} of n={vote.n} is {vote.correct / vote.n:.3g}"
        return f"says p={vote.p:g}, but {share}: make p = correct / n, or leave correct and n out"
    return ""


def gathered(parts: Iterable[tuple[str, Sources]]) -> dict[str, Source]:
    """The declarations of all parts of a run, each given with the words that name it.

    UserError where two parts declare one name differently, or would both vote under it. Only the grade of
    the answer is shared: it is the same whoever gives it.
    """
    found: dict[str, Source] = dict(GRADE)
    owners = dict.fromkeys(GRADE, "the run itself")
    for part, sources in parts:
        for name, source in sources.items():
            if name in found and (source != found[name] or source.kind != "grade"):
                how = (
                    "differently" if source != found[name] else "too, so their votes could not be told apart"
                )
                raise UserError(
                    f"{part} declares the source {name!r}, and {owners[name]} does {how}: "
                    "give one of them another name"
                )
            found.setdefault(name, source)
            owners.setdefault(name, part)
    return found


class _Earlier(dict[str, Source]):
    """The sources of runs that recorded no declarations. A judge's was known by its first letters then."""

    def __missing__(self, name: str) -> Source:
        if name.startswith("judge:"):
            return Source(kind="judge", asks="valid")
        raise KeyError(name)


EARLIER: Sources = _Earlier(
    {
        **GRADE,
        **rollout_source("monte_carlo"),
        **rollout_source("omegaprm"),
        **rollout_source("scan"),
        **rollout_source("prover", by="prover"),
        "bisection": Source(kind="search", asks="solvable", by=POLICY, includes=("omegaprm",)),
        **check_source("arithmetic"),
        **check_source("algebra"),
        **check_source("constraints"),
        **check_source("logic"),
        **check_source("code"),
        **check_source("tables"),
    }
)
"""Only for runs and rows from before declarations were recorded; everything newer has its own."""
