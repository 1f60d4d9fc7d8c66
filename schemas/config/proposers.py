"""What proposes the solutions of a run: `[propose]`, or several sections `[[propose]]`."""

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Discriminator, Field, Tag

from schemas.config.annotators import OmegaConfig, SampleConfig
from schemas.sections import Section, default_tag


class GivenConfig(Section):
    """Solutions that exist already stand in the rows of `[problems]` (docs/given.md says in which formats).

    [propose]
    kind = "given"
    """

    kind: Literal["given"] = "given"
    column: str = ""
    """The column that holds the solution or solutions; when left out, it is found by the row's format or by
    its name. The answer, the reference and the text of the problem are never taken for it."""
    gold_votes: bool = False
    """Let the step labels that came with the rows vote, as the source `gold`. Otherwise they only stand
    beside ours, to be compared with."""


AnyProposer = SampleConfig | OmegaConfig | GivenConfig
_One = Annotated[AnyProposer, Field(discriminator="kind"), default_tag("kind", "sample")]


def _settled(found: Any) -> Any:
    """One section, or several of different kinds."""
    if not isinstance(found, tuple):
        return found
    if not found:
        raise ValueError("an empty list proposes no solution: leave it out, or name a kind")
    kinds = [one.kind for one in found if getattr(one, "policy", None) is None]
    if twice := next((kind for kind in kinds if kinds.count(kind) > 1), ""):
        raise ValueError(
            f'{kinds.count(twice)} sections of kind "{twice}" without a policy of their own: keep one'
        )
    names = [one.name for one in found if isinstance(one, SampleConfig)]
    if twice := next((name for name in names if names.count(name) > 1), ""):
        raise ValueError(f"{names.count(twice)} samplers are called {twice!r}: give each its own `name`")
    # A list of one is that one: it is the same run, and so has the same digest.
    return found[0] if len(found) == 1 else found


Propose = Annotated[
    Annotated[_One, Tag("one")] | Annotated[tuple[_One, ...], Tag("several")],
    Discriminator(lambda found: "several" if isinstance(found, list | tuple) else "one"),
    AfterValidator(_settled),
]
"""`[propose]` of a run file, or its list `[[propose]]`."""
