"""Values and functions that earlier equations give, put into others: a stated root, `f(2)` of a known f.

Sides are compared by their values to 30 digits, so a root may be irrational.
"""

from collections.abc import Iterable, Mapping
from fractions import Fraction

from verifiers.claims.find import Claim
from verifiers.expressions.tree import (
    Binary,
    Call,
    Convention,
    Expression,
    Name,
    Number,
    Refused,
    Unary,
    names,
    replaced,
)

_AGREE = Fraction(1, 10**30)
FUNCTION_LETTERS = frozenset("fghpqFGPQ")
"""Letters that are applied where a bracket follows: `f(2)` is no product."""
_DEEPEST = 4
"""Functions of functions that are put in; a recursion without end stops there."""

Function = tuple[str, Expression]
"""The argument's symbol and the function's term: `x` and `x^2` for `f(x) = x^2`."""


def solves(claim: Claim, before: Iterable[Claim]) -> str:
    """The last earlier equation in the claim's symbol alone, where the value that is stated solves it."""
    if not isinstance(claim.left, Name) or names(claim.right):
        return ""
    symbol = claim.left.name
    for earlier in reversed(list(before)):
        sides = earlier.left, earlier.right
        if earlier.relation == "=" and names(sides[0]) | names(sides[1]) == {symbol}:
            if any(isinstance(side, Name) for side in sides):
                continue  # another value of it
            put = [replaced(side, {symbol: claim.right}) for side in sides]
            return earlier.text if agree(*put) else ""
    return ""


def agree(left: Expression, right: Expression) -> bool:
    """Whether two expressions without symbols have one value, to 30 digits."""
    # Only steps with symbols need mpmath, which takes long to load.
    from verifiers.expressions.decimals import approximate

    try:
        first, second = approximate(left, {}, Convention()), approximate(right, {}, Convention())
    except Refused:
        return False
    return abs(first - second) <= _AGREE * max(Fraction(1), abs(first))


def functions(claims: Iterable[Claim]) -> dict[str, Function]:
    """The functions that claims define: `f(x) = x^2 + 1`. One that is defined twice is none."""
    found: dict[str, Function | None] = {}
    for claim in claims:
        match claim.left:
            case Binary("·", Name(name), Name(argument)) if (
                name in FUNCTION_LETTERS and claim.relation == "="
            ):
                if names(claim.right) <= {argument}:
                    new = (argument, claim.right)
                    found[name] = new if found.get(name, new) == new else None
    return {name: function for name, function in found.items() if function}


def put_in(tree: Expression, known: Mapping[str, Function], depth: int = 0) -> Expression:
    """The tree with each known function's term for its application."""
    if depth > _DEEPEST:
        raise Refused("too_large", "a function of itself")
    match tree:
        case Binary("·", Name(name), argument) if name in known:
            symbol, term = known[name]
            return put_in(replaced(term, {symbol: argument}), known, depth + 1)
        case Unary(op, operand):
            return Unary(op, put_in(operand, known, depth))
        case Binary(op, left, right):
            return Binary(op, put_in(left, known, depth), put_in(right, known, depth))
        case Call(function, args):
            return Call(function, tuple(put_in(arg, known, depth) for arg in args))
    return tree


def defined(claim: Claim, known: Mapping[str, Function]) -> Claim | None:
    """The claim with the known functions put in; None where it applies none of them."""
    if not known or not (known.keys() & (names(claim.left) | names(claim.right))):
        return None
    try:
        put = claim._replace(left=put_in(claim.left, known), right=put_in(claim.right, known))
    except Refused:
        return None
    return None if (put.left, put.right) == (claim.left, claim.right) else put


def with_value(tree: Expression, symbol: str, value: Fraction, text: str) -> Expression:
    """The tree with a number for one symbol, `pi` included."""
    return replaced(tree, {symbol: Number(value, text)})


def is_instance(general: Expression, special: Expression) -> bool:
    """Whether the second is the first with numbers for its symbols: `1/2 b h` and `1/2 * 6 * 8`."""
    named = not isinstance(general, Name) and names(general)
    return bool(named) and not names(special) and _matches(general, special, {})


def _matches(general: Expression, special: Expression, meant: dict[str, Expression]) -> bool:
    match general, special:
        case Name(name), _ if name != "pi":
            return meant.setdefault(name, special) == special
        case Number(value), Number(other):
            return value == other
        case Unary(op, operand), Unary(other_op, other_operand):
            return op == other_op and _matches(operand, other_operand, meant)
        case Binary(op, left, right), Binary(other_op, first, second):
            same = op == other_op or {op, other_op} == {"*", "·"}
            return same and _matches(left, first, meant) and _matches(right, second, meant)
        case Call(function, args), Call(other_function, others):
            same = function == other_function and len(args) == len(others)
            return same and all(_matches(a, b, meant) for a, b in zip(args, others, strict=True))
    return general == special


def is_equation_with(general: Claim, special: Claim) -> bool:
    """Whether a relation of numbers is one of symbols with the same numbers for them on both sides."""
    # `A = b c` would be met by any equation: a symbol on both sides binds them together.
    bound = names(general.left) & names(general.right)
    if not bound or general.relation != special.relation or names(special.left) or names(special.right):
        return False
    meant: dict[str, Expression] = {}
    return _matches(general.left, special.left, meant) and _matches(general.right, special.right, meant)
