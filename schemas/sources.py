"""What each source of votes is: who was asked, and what its votes are evidence of.

Fusion, consensus and reports read these declarations; nothing guesses from a name. A source that is not
declared is an `opinion`: it speaks for the very step of its vote and for nothing else, and counts no more
than a judge until the fit finds it reliable.
"""

from functools import lru_cache
from typing import Literal, NamedTuple

Kind = Literal["rollouts", "search", "grade", "judge", "check", "opinion"]
"""`rollouts`: counts of completions from the end of a step. `search`: such counts too, but its p is a
posterior of the first error over all its rollouts. `grade`: the solution's own answer. `judge`: replies that
name the first error. `check`: a verifier, which holds, fails or abstains."""


class Declared(NamedTuple):
    """What is known of one source."""

    kind: Kind
    by: str = ""
    """Whose completions are counted, `policy` or `prover`. Counts of one are pooled, those of two never."""
    includes: tuple[str, ...] = ()
    """Sources whose rollouts this one has counted already; where it votes, they are not counted again."""


SOURCES: dict[str, Declared] = {
    "monte_carlo": Declared("rollouts", "policy"),
    "omegaprm": Declared("rollouts", "policy"),
    "scan": Declared("rollouts", "policy"),
    "prover": Declared("rollouts", "prover"),
    "bisection": Declared("search", "policy", includes=("omegaprm",)),
    "answer": Declared("grade"),
    "arithmetic": Declared("check"),
    "algebra": Declared("check"),
    "constraints": Declared("check"),
    "logic": Declared("check"),
    "code": Declared("check"),
    "tables": Declared("check"),
}
JUDGE = "judge:"
"""What the source of a judge begins with; the name of its prompt follows."""


@lru_cache(1024)
def declared(source: str) -> Declared:
    """The declaration of a source; an opinion where there is none."""
    return Declared("judge") if source.startswith(JUDGE) else SOURCES.get(source, Declared("opinion"))
