"""Reads plain text such as `3/4 * (x + 1)^2` into a tree.

Text from a model is never evaluated: this parser knows numbers, names, operators and a few functions, and
refuses the rest. Lark's LALR parser reads 43,000 texts alike but takes 9 times as long, and the arithmetic
verifier then checks 29% fewer steps a second: so the parser stays ours
(`python -m benchmarks libraries.expressions`).
"""

import re
from collections.abc import Container
from fractions import Fraction
from functools import lru_cache
from typing import cast

from verifiers.expressions.tree import (
    FUNCTIONS,
    GREEK,
    TRIGONOMETRIC,
    Binary,
    Call,
    Expression,
    Name,
    Number,
    Refused,
    Unary,
)

# A text is refused over these limits, which calculations that people write do not reach. The parser calls
# itself for each bracket, and at 60 it is far from Python's own limit of 1,000 calls.
LONGEST = 400
DEEPEST = 60

# 1,234 and 1,234.5, whole: `1,2345` and `1,234,5` are lists; 12, 1.5 and .5. No sign: -3 is a negation.
NUMBER = r"[0-9]{1,3}(?:,[0-9]{3})+(?![0-9,]*[0-9])(?:\.[0-9]+)?|[0-9]+(?:\.[0-9]+)?|\.[0-9]+"
_TOKEN = re.compile(
    rf"\s*(?:(?P<number>{NUMBER})|(?P<word>[A-Za-z]+(?:_[A-Za-z0-9]+)?)|(?P<op>//|[-+*/^()!%,#°⌊⌋⌈⌉⟦⟧]))"
)
# How tightly signs bind: 1/2x is 1/(2x) (`is_ambiguous` tells where), -2^2 is -(2^2), 2^3! is 2^(3!).
_INFIX = {"+": 10, "-": 10, "*": 20, "/": 20, "//": 20, "·": 22, "^": 30, "#": 35}
_NEGATION, _POSTFIX = 25, 40
_CLOSES = {"⌊": ("floor", "⌋"), "⌈": ("ceil", "⌉"), "⟦": ("abs", "⟧")}
_BARE = TRIGONOMETRIC | {"log", "ln"}
_ARGUMENTS: dict[str, Container[int]] = {
    "root": (2,),
    "binom": (2,),
    "log": (1, 2),
    "gcd": range(2, 9),
    "lcm": range(2, 9),
    "max": range(1, 20),
    "min": range(1, 20),
    "sum": (4,),
    "prod": (4,),
}
_HALF_TURN = Number(Fraction(180), "180")


def parse(text: str, functions: frozenset[str] = FUNCTIONS) -> Expression:
    """The tree of an expression. Raises Refused on anything else, and on text over the limits.

    `functions` are the words that are applied to arguments; answers know more of them than steps.
    """
    if len(text) > LONGEST:
        raise Refused("parse", f"longer than {LONGEST} characters")
    return parse_tokens(_tokens(text), functions)


def parse_tokens(tokens: list[str], functions: frozenset[str] = FUNCTIONS) -> Expression:
    """The same for a text that is in tokens already."""
    if len(tokens) == 1 and tokens[0].isdigit() and len(tokens[0]) <= LONGEST:
        return number(tokens[0])
    if len(tokens) > LONGEST or sum(map(len, tokens)) > LONGEST:
        raise Refused("parse", f"longer than {LONGEST} characters")
    if len(tokens) % 2 and _FLAT.issuperset(tokens[1::2]) and all(t[0].isdigit() for t in tokens[::2]):
        return _row(tokens)
    parser = _Parser(tokens, functions)
    tree = parser.expression(0)
    if parser.peek():
        raise Refused("parse", f"unexpected {parser.peek()!r}")
    return tree


# `3 + 4 * 5` has numbers at the even places and one of these signs at each odd one.
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

    def __init__(self, tokens: list[str], functions: frozenset[str]) -> None:
        self._tokens = tokens
        self._functions = functions
        self._at = 0
        self._depth = 0
        self._angles = 0

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
            if token and token in "!%°" and floor < _POSTFIX:
                self._take()
                # Degrees are a unit as others, except where a function is taken of them.
                tree = self._radians(tree) if token == "°" else Unary(token, tree)
                continue
            after = isinstance(tree, Unary) and tree.op == "!" and token[:1].isdigit()  # 2!3!
            op = token if token in _INFIX else "·" if after or _starts_factor(token) else ""
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
        if token in _CLOSES:
            function, close = _CLOSES[token]
            inner = self.expression(0)
            self._expect(close)
            return Call(function, (inner,))
        if token[0].isdigit() or token[0] == ".":
            return number(token)
        if token[0].isalpha():
            return self._word(token)
        raise Refused("parse", f"unexpected {token!r}")

    def _word(self, token: str) -> Expression:
        function, _, base = token.partition("_")
        if function not in self._functions or (base and function != "log"):
            if len(function) > 1 and token != "pi" and function not in GREEK:
                raise Refused("parse", f"unknown word {token!r}")
            return Name(token)
        power = self._power() if function in TRIGONOMETRIC else None
        self._angles += function in TRIGONOMETRIC
        args = self._arguments(function)
        self._angles -= function in TRIGONOMETRIC
        if base:
            args.insert(0, number(base) if base.isdigit() else Name(base))
        if len(args) not in _ARGUMENTS.get(function, (1,)):
            raise Refused("parse", f"{function} of {len(args)} arguments")
        call = Call(function, tuple(args))
        return Binary("^", call, power) if power else call

    def _power(self) -> Expression | None:
        """The 2 of `sin^2 x`. Of -1 nobody knows whether the inverse is meant."""
        if self.peek() != "^":
            return None
        self._take()
        if not (token := self._take()).isdigit():
            raise Refused("parse", "a function to a power")
        return number(token)

    def _arguments(self, function: str) -> list[Expression]:
        """What stands in brackets; or, without them, the product that follows: `sin 2x cos x`."""
        if self.peek() == "(":
            self._take()
            args = [self.expression(0)]
            while self.peek() == ",":
                self._take()
                args.append(self.expression(0))
            self._expect(")")
            if self.peek() == "°":
                self._take()
                args = [self._radians(arg) for arg in args]
            return args
        if function not in _BARE or self.peek() in {"-", "+"}:
            raise Refused("parse", "'(' expected")
        tree = self.expression(_INFIX["·"])
        while (
            self.peek() and self.peek().partition("_")[0] not in self._functions and self.peek()[0].isalpha()
        ):
            tree = Binary("·", tree, self.expression(_INFIX["·"]))
        return [tree]

    def _radians(self, tree: Expression) -> Expression:
        return Binary("/", Binary("*", tree, Name("pi")), _HALF_TURN) if self._angles else tree

    def _expect(self, token: str) -> None:
        if self._take() != token:
            raise Refused("parse", f"{token!r} expected")


@lru_cache(maxsize=4096)
def number(token: str) -> Number:
    """The literal that a token of digits is. Raises Refused on leading zeros: 007 is no plain number."""
    digits = token.replace(",", "")
    if len(digits) > LONGEST:
        raise Refused("too_large", f"a number of more than {LONGEST} digits")
    # 007 is an identifier or a code; as a number it would equal 7.
    if digits[0] == "0" and digits[1:2].isdigit():
        raise Refused("parse", f"{token} is no plain number")
    return Number(Fraction(int(digits) if digits.isdigit() else digits), digits)


def _starts_factor(token: str) -> bool:
    return token == "(" or token in _CLOSES or token[:1].isalpha()
