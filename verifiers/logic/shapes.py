"""The shape of an inference: what is left of its formulas when names and the order of premises do not count.

`{A}{a}, (x): {A}x -> {B}x, so {B}{a}` and `(y): {F}y -> {G}y, {F}{c}, so {G}{c}` are one inference in other
words, and what is decided of one holds of the other. Steps of proofs repeat few shapes.
"""

from collections.abc import Sequence
from functools import lru_cache

from verifiers.logic.formulas import Atom, Constant, Formula, Joined, Not, Quantified

Shape = tuple[tuple[str, ...], tuple[int, ...]]
"""The outlines of the conclusion and the premises, and which of the names in them are the same."""


def shape(premises: Sequence[Formula], conclusion: Formula) -> Shape:
    """Equal for two inferences only if one becomes the other when predicates, constants and bound variables
    are renamed one to one, and premises are put in another order. Not every such pair is found: premises of
    one outline keep their order."""
    ordered = [outlined(conclusion), *sorted(map(outlined, premises), key=_outline)]
    numbers: dict[str, int] = {}
    named = tuple(numbers.setdefault(name, len(numbers)) for _, names in ordered for name in names)
    return tuple(outline for outline, _ in ordered), named


def is_monadic(found: Shape) -> bool:
    """Whether no predicate of it has more than one term; such inferences are always decided."""
    return not any("R" in outline for outline in found[0])


def _outline(written: tuple[str, tuple[str, ...]]) -> str:
    return written[0]


# A premise is cited by several steps.
@lru_cache(4096)
def outlined(formula: Formula) -> tuple[str, tuple[str, ...]]:
    """The formula's signs in prefix order without its names, and its names."""
    signs: list[str] = []
    names: list[str] = []
    _write(formula, (), signs, names)
    return "".join(signs), tuple(names)


def _write(formula: Formula, bound: tuple[str, ...], signs: list[str], names: list[str]) -> None:
    match formula:
        case Atom(predicate, terms):
            # One spelling with one term and with two are two predicates. `R` is a relation, `P` is none.
            kind = f"R{len(terms)}" if len(terms) > 1 else f"P{len(terms)}"
            signs.append(kind)
            names.append(f"{kind} {predicate}")
            for term in terms:
                if isinstance(term, Constant):
                    signs.append("c")
                    names.append(f"c {term.name}")
                else:
                    # By how many quantifiers further in it is bound: `x` and `y` make no difference.
                    signs.append(f"x{bound.index(term.name)}")
        case Not(body):
            signs.append("¬")
            _write(body, bound, signs, names)
        case Joined(connective, parts):
            signs.append(f"{connective}{len(parts)}")
            for part in parts:
                _write(part, bound, signs, names)
        case Quantified(exists, variable, body):
            signs.append("E" if exists else "A")
            _write(body, (variable, *bound), signs, names)
