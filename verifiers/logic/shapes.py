"""The shape of an inference: what is left of its formulas when names and the order of premises do not count.

`{A}{a}, (x): {A}x -> {B}x, so {B}{a}` and `(y): {F}y -> {G}y, {F}{c}, so {G}{c}` are one inference in other
words, and what is decided of one holds of the other. Steps of proofs repeat few shapes.
"""

from collections.abc import Sequence

from verifiers.logic.formulas import Atom, Constant, Formula, Joined, Not, Quantified

Shape = tuple[tuple[str | int, ...], ...]
"""The conclusion's and the premises' signs, in which numbers stand for names."""
_Signs = list[str | tuple[str, str]]
"""Signs of one formula in prefix order; a pair is a name, after its kind."""


def shape(premises: Sequence[Formula], conclusion: Formula) -> Shape:
    """Equal for two inferences only if one becomes the other when predicates, constants and bound variables
    are renamed one to one, and premises are put in another order. Not every such pair is found: premises
    that are alike but for their names keep their order."""
    written = [(_outline(signs), signs) for signs in map(_signs, premises)]
    written.sort(key=_by_outline)
    numbers: dict[tuple[str, str], int] = {}
    ordered = [_signs(conclusion), *(signs for _, signs in written)]
    return tuple(
        tuple(sign if isinstance(sign, str) else numbers.setdefault(sign, len(numbers)) for sign in signs)
        for signs in ordered
    )


def is_monadic(found: Shape) -> bool:
    """Whether no predicate of it has more than one term; such inferences are always decided."""
    return not any(
        isinstance(sign, str) and sign[0] == "P" and sign > "P1" for signs in found for sign in signs
    )


def _by_outline(written: tuple[str, _Signs]) -> str:
    return written[0]


def _outline(signs: _Signs) -> str:
    """The signs with names numbered within the formula alone, to order premises by."""
    numbers: dict[tuple[str, str], int] = {}
    return " ".join(
        sign if isinstance(sign, str) else str(numbers.setdefault(sign, len(numbers))) for sign in signs
    )


def _signs(formula: Formula) -> _Signs:
    found: _Signs = []
    _write(formula, (), found)
    return found


def _write(formula: Formula, bound: tuple[str, ...], found: _Signs) -> None:
    match formula:
        case Atom(predicate, terms):
            # One spelling with one term and with two are two predicates.
            kind = f"P{len(terms)}"
            found += (kind, (kind, predicate))
            for term in terms:
                if isinstance(term, Constant):
                    found.append(("c", term.name))
                else:
                    # By how many quantifiers further out it is bound: `x` and `y` make no difference.
                    found.append(f"x{bound.index(term.name)}")
        case Not(body):
            found.append("¬")
            _write(body, bound, found)
        case Joined(connective, parts):
            found.append(f"{connective}{len(parts)}")
            for part in parts:
                _write(part, bound, found)
        case Quantified(exists, variable, body):
            found.append("E" if exists else "A")
            _write(body, (variable, *bound), found)
