"""Mathematical expressions as trees of our own, and their exact rational values.

Text from a model is never evaluated: this parser knows numbers, names, operators and a few functions, and
refuses the rest. Sizes are bounded before anything is computed, so `9^9^9^9` costs microseconds.
Lark reads 43,000 texts alike, but takes 9 times as long (`python -m benchmarks libraries.expressions`).
"""

import math
import operator
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from typing import Literal, cast

# Limits before anything is computed. Calculations that people write stay far below all of them.
LONGEST = 400
DEEPEST = 60
MOST_BITS = 10_000
LARGEST_EXPONENT = 1000
LARGEST_FACTORIAL = 200

RefusalKind = Literal["parse", "undefined_symbol", "domain", "irrational", "too_large"]
FUNCTIONS = frozenset({"sqrt", "root", "abs", "log", "ln", "sin", "cos", "tan"})


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
    """A known function applied to its arguments; `root(n, a)` is the n-th root."""

    function: str
    args: "tuple[Expression, ...]"


Expression = Number | Name | Unary | Binary | Call

# 1,234 and 1,234.5, whole: `1,2345` and `1,234,5` are lists; 12, 1.5 and .5. No sign: -3 is a negation.
NUMBER = r"[0-9]{1,3}(?:,[0-9]{3})+(?![0-9,]*[0-9])(?:\.[0-9]+)?|[0-9]+(?:\.[0-9]+)?|\.[0-9]+"
_TOKEN = re.compile(
    rf"\s*(?:(?P<number>{NUMBER})|(?P<word>[A-Za-z]+(?:_[A-Za-z0-9]+)?)|(?P<op>//|[-+*/^()!%,#]))"
)
# How tightly signs bind: 1/2x is 1/(2x) (`is_ambiguous` tells where), -2^2 is -(2^2), 2^3! is 2^(3!).
_INFIX = {"+": 10, "-": 10, "*": 20, "/": 20, "//": 20, "·": 22, "^": 30, "#": 35}
_NEGATION, _POSTFIX = 25, 40


def parse(text: str) -> Expression:
    """The tree of an expression. Raises Refused on anything else, and on text over the limits."""
    if len(text) > LONGEST:
        raise Refused("parse", f"longer than {LONGEST} characters")
    return parse_tokens(_tokens(text))


def parse_tokens(tokens: list[str]) -> Expression:
    """The same for a text that is in tokens already."""
    if len(tokens) > LONGEST or sum(map(len, tokens)) > LONGEST:
        raise Refused("parse", f"longer than {LONGEST} characters")
    if len(tokens) % 2 and _FLAT.issuperset(tokens[1::2]) and all(t[0].isdigit() for t in tokens[::2]):
        return _row(tokens)
    parser = _Parser(tokens)
    tree = parser.expression(0)
    if parser.peek():
        raise Refused("parse", f"unexpected {parser.peek()!r}")
    return tree


_FLAT = frozenset("+-*/")


def _row(tokens: list[str]) -> Expression:
    """A number, or a row such as `3 + 4 * 5`: most of what steps hold, without the parser's machinery."""
    total: Expression | None = None
    sign, tree = "", cast(Expression, number(tokens[0]))
    for at in range(1, len(tokens), 2):
        op, operand = tokens[at], number(tokens[at + 1])
        if op in "*/":
            tree = Binary(op, tree, operand)
        else:
            total = tree if total is None else Binary(sign, total, tree)
            sign, tree = op, operand
    return tree if total is None else Binary(sign, total, tree)


def _tokens(text: str) -> list[str]:
    found, at, text = [], 0, text.strip()
    while at < len(text):
        match = _TOKEN.match(text, at)
        if match is None:
            raise Refused("parse", f"unexpected {text[at]!r}")
        found.append(match[match.lastgroup or 0])
        at = match.end()
    return found


class _Parser:
    """Pratt's algorithm: unary minus binds weaker than a power, powers associate to the right."""

    def __init__(self, tokens: list[str]) -> None:
        self._tokens = tokens
        self._at = 0
        self._depth = 0

    def peek(self) -> str:
        return self._tokens[self._at] if self._at < len(self._tokens) else ""

    def _take(self) -> str:
        token = self.peek()
        self._at += 1
        return token

    def expression(self, floor: int) -> Expression:
        self._depth += 1
        if self._depth > DEEPEST:
            raise Refused("parse", f"nested deeper than {DEEPEST}")
        tree = self._prefix()
        while True:
            token = self.peek()
            if token in {"!", "%"} and floor < _POSTFIX:
                self._take()
                tree = Unary(token, tree)
                continue
            op = token if token in _INFIX else "·" if _starts_factor(token) else ""
            if not op or _INFIX[op] <= floor:
                break
            if op != "·":
                self._take()
            # A right operand at the same strength is refused a place on the left, except for powers.
            tree = Binary(op, tree, self.expression(_INFIX[op] - (op == "^")))
        self._depth -= 1
        return tree

    def _prefix(self) -> Expression:
        token = self._take()
        if not token:
            raise Refused("parse", "ends too early")
        if token == "-":
            return Unary("-", self.expression(_NEGATION))
        if token == "+" and self._tokens[self._at - 2 : self._at - 1] != ["^"]:
            return self.expression(_NEGATION)
        if token == "(":
            inner = self.expression(0)
            self._expect(")")
            return inner
        if token[0].isdigit() or token[0] == ".":
            return number(token)
        if token[0].isalpha():
            return self._word(token)
        raise Refused("parse", f"unexpected {token!r}")

    def _word(self, token: str) -> Expression:
        if token not in FUNCTIONS:
            if len(token.partition("_")[0]) > 1 and token != "pi":
                raise Refused("parse", f"unknown word {token!r}")
            return Name(token)
        self._expect("(")
        args = [self.expression(0)]
        while self.peek() == ",":
            self._take()
            args.append(self.expression(0))
        self._expect(")")
        if len(args) != (2 if token == "root" else 1):
            raise Refused("parse", f"{token} of {len(args)} arguments")
        return Call(token, tuple(args))

    def _expect(self, token: str) -> None:
        if self._take() != token:
            raise Refused("parse", f"{token!r} expected")


@lru_cache(maxsize=4096)
def number(token: str) -> Number:
    """The literal that a token of digits is. Raises Refused on leading zeros: 007 is no plain number."""
    digits = token.replace(",", "")
    if len(digits) > LONGEST:
        raise Refused("too_large", f"a number of more than {LONGEST} digits")
    if digits[0] == "0" and digits[1:2].isdigit():
        raise Refused("parse", f"{token} is no plain number")
    return Number(Fraction(int(digits) if digits.isdigit() else digits), digits)


def _starts_factor(token: str) -> bool:
    return token == "(" or token[:1].isalpha()


def walk(tree: Expression) -> Iterator[Expression]:
    """Every node, the root first."""
    yield tree
    match tree:
        case Unary(_, operand):
            yield from walk(operand)
        case Binary(_, left, right):
            yield from walk(left)
            yield from walk(right)
        case Call(_, args):
            for arg in args:
                yield from walk(arg)


def names(tree: Expression) -> frozenset[str]:
    """The symbols in it, `pi` left out."""
    return frozenset(node.name for node in walk(tree) if isinstance(node, Name) and node.name != "pi")


def is_ambiguous(tree: Expression) -> bool:
    """Whether people read it in two ways: a division before a product without a sign, as in `6/2(3)`."""
    return any(
        isinstance(node, Binary)
        and node.op == "/"
        and isinstance(node.right, Binary)
        and node.right.op == "·"
        for node in walk(tree)
    )


@dataclass(frozen=True, slots=True)
class Reading:
    """How loosely a tree is read. The default is the strict reading."""

    percent: Fraction = Fraction(1, 100)
    """What `%` multiplies by; 1 drops the sign, as in `3/4 * 100 = 75%`."""
    mixed: bool = True
    """Whether `2½` is a mixed number; otherwise it is a product."""


STRICT = Reading()


def exact(tree: Expression, values: Mapping[str, Fraction], reading: Reading = STRICT) -> Fraction:
    """The rational value. Raises Refused where there is none, or where it would be too large to compute."""
    if isinstance(tree, Number):
        return tree.value
    match tree:
        case Name(name):
            if name == "pi":
                raise Refused("irrational", "pi is irrational")
            if name not in values:
                raise Refused("undefined_symbol", f"{name} is not defined")
            return values[name]
        case Unary("!", operand):
            return _factorial(exact(operand, values, reading))
        case Unary(op, operand):
            return exact(operand, values, reading) * (-1 if op == "-" else reading.percent)
        case Binary(op, left, right):
            return _binary(op, exact(left, values, reading), exact(right, values, reading), reading)
        case Call(function, args):
            return _call(function, [exact(arg, values, reading) for arg in args])


_WHOLE = {"+": operator.add, "-": operator.sub, "*": operator.mul}


def _binary(op: str, left: Fraction, right: Fraction, reading: Reading) -> Fraction:
    if left.denominator == right.denominator == 1 and op in _WHOLE:
        return _bounded(Fraction(_WHOLE[op](left.numerator, right.numerator)))
    match op:
        case "+":
            return _bounded(left + right)
        case "-":
            return _bounded(left - right)
        case "^":
            return power(left, right)
        case "/" | "//" if right == 0:
            raise Refused("domain", "division by zero")
        case "/":
            return _bounded(left / right)
        case "//":
            if left.denominator != 1 or right.denominator != 1:
                raise Refused("domain", "// of fractions")
            return Fraction(left // right)
        case "#" if reading.mixed:
            return _bounded(left + right)
        case _:
            return _bounded(left * right)


def power(base: Fraction, exponent: Fraction) -> Fraction:
    """`base ^ exponent` where it is rational and within the limits."""
    if abs(exponent) > LARGEST_EXPONENT or exponent.denominator > LARGEST_EXPONENT:
        raise Refused("too_large", f"exponent beyond {LARGEST_EXPONENT}")
    if base == 0 and exponent <= 0:
        raise Refused("domain", f"0 to the power {exponent}")
    if exponent.denominator != 1:
        base = _root(base, exponent.denominator)
    whole = exponent.numerator
    if max(base.numerator.bit_length(), base.denominator.bit_length()) * abs(whole) > MOST_BITS:
        raise Refused("too_large", f"a power of more than {MOST_BITS} bits")
    return base**whole


def _root(value: Fraction, degree: int) -> Fraction:
    # An odd root of a negative number has a real and a principal value: neither is assumed.
    if value < 0:
        raise Refused("domain", "root of a negative number")
    top, bottom = _whole_root(value.numerator, degree), _whole_root(value.denominator, degree)
    return Fraction(top, bottom)


def _whole_root(value: int, degree: int) -> int:
    low, high = 0, 1 << (value.bit_length() // degree + 1)
    while low < high:
        middle = (low + high) // 2
        if middle**degree < value:
            low = middle + 1
        else:
            high = middle
    if low**degree != value:
        raise Refused("irrational", f"root {degree} of {value} is irrational")
    return low


def _factorial(value: Fraction) -> Fraction:
    if value.denominator != 1 or value < 0:
        raise Refused("domain", f"factorial of {value}")
    if value > LARGEST_FACTORIAL:
        raise Refused("too_large", f"factorial beyond {LARGEST_FACTORIAL}")
    return Fraction(math.factorial(int(value)))


def _call(function: str, args: list[Fraction]) -> Fraction:
    match function:
        case "abs":
            return abs(args[0])
        case "sqrt":
            return _root(args[0], 2)
        case "root":
            degree = args[0]
            if degree.denominator != 1 or not 2 <= degree <= LARGEST_EXPONENT:
                raise Refused("domain", f"root of degree {degree}")
            return _root(args[1], int(degree))
        case _:
            raise Refused("irrational", f"{function} has no exact rational value here")


def _bounded(value: Fraction) -> Fraction:
    if value.numerator.bit_length() > MOST_BITS or value.denominator.bit_length() > MOST_BITS:
        raise Refused("too_large", f"a number of more than {MOST_BITS} bits")
    return value


def show(value: Fraction) -> str:
    """A value for people: a whole number, a short decimal, or a fraction; long ones are cut."""
    if max(value.numerator.bit_length(), value.denominator.bit_length()) > 200:
        digits = str(value)  # bounded by MOST_BITS, so below Python's own limit on digits
        return f"{digits[:20]}…"
    if value.denominator == 1:
        return str(value.numerator)
    rest = value.denominator
    for prime in (2, 5):
        while rest % prime == 0:
            rest //= prime
    if rest == 1 and abs(value) < 10**8:
        return f"{float(value):.10g}"
    text = str(value)
    return text if len(text) < 20 else f"{float(value):.10g}"
