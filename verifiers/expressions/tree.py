"""Mathematical expressions as trees: their nodes, the symbols in them, and why one is refused."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Literal

RefusalKind = Literal["parse", "undefined_symbol", "domain", "irrational", "too_large"]
# Any other word of two letters or more is refused, so that prose never becomes a product of symbols.
FUNCTIONS = frozenset("sqrt root abs log ln sin cos tan asin acos atan binom gcd lcm".split())
BINDING = frozenset({"sum", "prod"})
"""`sum(k, 1, n, k^2)` binds its first argument: only answers are read with these."""
TRIGONOMETRIC = frozenset({"sin", "cos", "tan"})
GREEK = frozenset("alpha beta gamma delta theta phi lambda mu omega varphi rho sigma".split())


class Refused(Exception):
    """The expression cannot be read or has no exact rational value here; `kind` says which."""

    def __init__(self, kind: RefusalKind, detail: str) -> None:
        super().__init__(detail)
        self.kind: RefusalKind = kind


@dataclass(frozen=True, slots=True)
class Number:
    """A literal, with the digits it was written with."""

    value: Fraction
    text: str

    @property
    def decimals(self) -> int:
        """Digits shown after the decimal point."""
        return len(self.text.partition(".")[2])


@dataclass(frozen=True, slots=True)
class Name:
    """A symbol."""

    name: str


@dataclass(frozen=True, slots=True)
class Unary:
    """Negation `-`, factorial `!` or percent `%`."""

    op: str
    operand: "Expression"


@dataclass(frozen=True, slots=True)
class Binary:
    """`+ - * / // ^`, `·` for a product without a sign, `#` for a mixed number (2#1/2 is 2½)."""

    op: str
    left: "Expression"
    right: "Expression"


@dataclass(frozen=True, slots=True)
class Call:
    """A known function applied to its arguments; `root(n, a)` is the n-th root, `log(b, a)` has base b.

    `sum(k, a, b, body)` and `prod` go over the whole numbers k from a to b.
    """

    function: str
    args: "tuple[Expression, ...]"


@dataclass(frozen=True)
class Convention:
    """What `log` and angles mean, where texts differ: a claim is wrong only if wrong under all of them."""

    common_log: bool = False
    degrees: bool = False


# The parser makes one of these and nothing else, so whoever reads a tree can list every case.
Expression = Number | Name | Unary | Binary | Call


def walk(tree: Expression) -> Iterator[Expression]:
    """Every node, the root first."""
    # A list of what is left, as generators within generators pass each node through all of them.
    left: list[Expression] = [tree]
    while left:
        node = left.pop()
        yield node
        if isinstance(node, Binary):
            left += (node.right, node.left)
        elif isinstance(node, Unary):
            left.append(node.operand)
        elif isinstance(node, Call):
            left += reversed(node.args)


def names(tree: Expression) -> frozenset[str]:
    """The symbols in it, `pi` and the counters of sums left out."""
    # `pi` is a constant: `2 pi` has no unknown.
    found = set()
    for node in walk(tree):
        if isinstance(node, Name):
            if node.name != "pi":
                found.add(node.name)
        elif isinstance(node, Call) and node.function in BINDING:
            return _free(tree)
    return frozenset(found)


def _free(tree: Expression) -> frozenset[str]:
    match tree:
        case Name(name):
            return frozenset({name} - {"pi"})
        case Unary(_, operand):
            return _free(operand)
        case Binary(_, left, right):
            return _free(left) | _free(right)
        case Call(function, (Name(counter), low, high, body)) if function in BINDING:
            return _free(low) | _free(high) | (_free(body) - {counter})
        case Call(_, args):
            return frozenset().union(*map(_free, args))
    return frozenset()


def replaced(tree: Expression, meant: Mapping[str, Expression]) -> Expression:
    """The tree with expressions for its symbols."""
    match tree:
        case Name(name):
            return meant.get(name, tree)
        case Unary(op, operand):
            return Unary(op, replaced(operand, meant))
        case Binary(op, left, right):
            return Binary(op, replaced(left, meant), replaced(right, meant))
        case Call(function, args):
            return Call(function, tuple(replaced(arg, meant) for arg in args))
    return tree


def renamed(tree: Expression, to: Mapping[str, str]) -> Expression:
    """The tree with other names for its symbols."""
    return replaced(tree, {name: Name(other) for name, other in to.items()})


def is_ambiguous(tree: Expression) -> bool:
    """Whether people read it in two ways: a division before a product without a sign, as in `6/2(3)`."""
    for node in walk(tree):
        if isinstance(node, Binary) and node.op == "/":
            right = node.right
            if isinstance(right, Binary) and right.op == "·":
                return True
    return False
