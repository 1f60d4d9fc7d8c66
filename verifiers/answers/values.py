"""Whether two expressions have one value: a rational one, a complex one to 100 digits, or one at each point.

An expression with symbols is tried at a few random points. Where it differs at one, it is another expression;
where it agrees at all, it is the same one. Two polynomials of degree d that differ agree at one of these
points with a chance below d/10,000. What has a value for whole numbers alone, as (-1)^n, is tried at some.
"""

import random
from collections.abc import Iterator, Mapping
from fractions import Fraction
from typing import Any

from verifiers.expressions.decimals import Rules, computed, context, number
from verifiers.expressions.tree import (
    Binary,
    Call,
    Convention,
    Expression,
    Name,
    Number,
    Refused,
    names,
    walk,
)
from verifiers.expressions.values import Bounds

_POINTS, _FEWEST = 6, 3
"""Points tried, and points at which both sides must have a value, for a root of negatives has none."""
_MOST_SYMBOLS = 12
_SMALLEST, _LARGEST = 10.0**-40, 10**60
"""Between them 100 digits are enough to call two values equal; beyond, a term may have been lost."""
CONSTANTS = frozenset({"e", "i"})
"""Names that are numbers in an answer: the base of the natural logarithm and the imaginary unit."""
_LARGE = Bounds(bits=40_000, exponent=20_000, factorial=3_000)
"""What is computed exactly without symbols: 2^2024 and 2024!, the numbers of competitions."""
_CONSTANT = {real: Rules(CONSTANTS, real, lenient=True, bounds=_LARGE) for real in (True, False)}
_AT_POINT = {real: Rules(CONSTANTS, real, lenient=True, terms=200) for real in (True, False)}
_STEPPED = frozenset({"floor", "ceil"})
"""Functions that are alike around a point: they are tried further apart."""
_WHOLE_ALIKE = _STEPPED | {"sin", "cos", "tan"}
"""Functions that may make two expressions one for whole numbers, and for no others."""
_REAL = frozenset("xyz") | {"t", "g_theta", "g_alpha", "g_phi"}
"""Names that people do not give to whole numbers."""


def same_values(gold: Expression, answer: Expression) -> bool | None:
    """Whether both have one value wherever they have any; None where a reading or a limit leaves a doubt.

    Raises Refused where a value is too large to compute.
    """
    symbols = sorted((names(gold) | names(answer)) - CONSTANTS)
    if len(symbols) > _MOST_SYMBOLS:
        raise Refused("too_large", "too many symbols")
    verdicts = {_same(gold, answer, symbols, reading) for reading in _readings(gold, answer)}
    return verdicts.pop() if len(verdicts) == 1 else None


def near(gold: Expression, answer: Expression) -> bool:
    """Whether one may be the other, rounded: within 2% at every point, or unknown."""
    symbols = sorted((names(gold) | names(answer)) - CONSTANTS)
    for point in _points(symbols):
        try:
            first, second = (_value(side, point, Convention(), real=False) for side in (gold, answer))
        except Refused:
            return True
        a, b = number(first), number(second)
        if abs(a - b) > max(abs(a), abs(b)) / 50:
            return False
    return True


def proportional(gold: Expression, answer: Expression) -> bool | None:
    """Whether one is so many times the other, as `2x - 2y` is of `x - y`: their zeros are one equation.

    Different only of two polynomials: `√x - y` and `x - y^2` have zeros in common.
    """
    symbols = sorted(symbols_of(gold) | symbols_of(answer))
    ratios = []
    for point in _points(symbols):
        try:
            first, second = (_value(side, point, Convention(), real=True) for side in (gold, answer))
        except Refused:
            continue
        if first == 0 or second == 0:
            return None
        top, bottom = number(first), number(second)
        ratios.append(top / bottom)
    if len(ratios) < _FEWEST:
        return None
    if all(_equal(ratio, ratios[0]) for ratio in ratios[1:]):
        return True
    return False if _is_polynomial(gold) and _is_polynomial(answer) else None


def _is_polynomial(tree: Expression) -> bool:
    for node in walk(tree):
        if isinstance(node, Binary):
            constant = not symbols_of(node.right)
            whole = isinstance(node.right, Number) and node.right.value.denominator == 1
            if (node.op == "/" and not constant) or (node.op == "^" and not whole):
                return False
        elif isinstance(node, Call) and symbols_of(node):
            return False
    return True


def symbols_of(tree: Expression) -> frozenset[str]:
    """The symbols that stand for no known number."""
    return names(tree) - CONSTANTS


def real_value(tree: Expression) -> Fraction | None:
    """The value of an expression without symbols, to some 100 digits, where it has a real one."""
    try:
        value = _value(tree, {}, Convention(), real=True)
    except Refused:
        return None
    if isinstance(value, Fraction):
        return value
    return None if value.imag else Fraction(str(value.real))  # its decimals, exactly


def _readings(gold: Expression, answer: Expression) -> Iterator[Convention]:
    calls = [node for side in (gold, answer) for node in walk(side) if isinstance(node, Call)]
    logs = (False, True) if any(node.function == "log" for node in calls) else (False,)
    # sin 30 may be of degrees, and arcsin 1/2 may be 30. What names pi or a symbol is in radians.
    plain = {"pi"}.isdisjoint(
        node.name for side in (gold, answer) for node in walk(side) if isinstance(node, Name)
    )
    bare = any(
        plain if node.function[0] == "a" else not any(isinstance(n, Name | Call) for n in walk(node.args[0]))
        for node in calls
        if node.function in {"sin", "cos", "tan", "asin", "acos", "atan"}
    )
    for log in logs:
        for degrees in (False, True) if bare else (False,):
            yield Convention(log, degrees)


def _same(gold: Expression, answer: Expression, symbols: list[str], reading: Convention) -> bool | None:
    real = not any("i" in names(side) for side in (gold, answer))
    calls = {node.function for side in (gold, answer) for node in walk(side) if isinstance(node, Call)}
    scale = 1000 if not calls.isdisjoint(_STEPPED) else 1
    found = list(_compared(gold, answer, _points(symbols, scale), reading, real))
    if len(found) < _FEWEST and symbols and len(symbols) <= _FEWEST:
        found = list(_compared(gold, answer, _whole_points(symbols), reading, real))
    if None in found or len(found) < (_FEWEST if symbols else 1):
        return None
    if all(found):
        return True
    # Equal at some points and not at others: `√(x^2)` and `x`. Two polynomials do not meet by chance.
    if any(found):
        return None
    # ⌈n/2⌉ is ⌊(n+1)/2⌋, and sin πn is 0, for whole numbers only.
    if not _REAL.issuperset(symbols) and not calls.isdisjoint(_WHOLE_ALIKE):
        whole = list(_compared(gold, answer, _whole_points(symbols), reading, real))
        return None if not whole or False not in whole else False
    return False


def _compared(
    gold: Expression,
    answer: Expression,
    points: Iterator[dict[str, Fraction]],
    reading: Convention,
    real: bool,
) -> Iterator[bool | None]:
    """Whether both have one value, at each point at which they have any."""
    for point in points:
        try:
            sides = [_value(side, point, reading, real) for side in (gold, answer)]
        except Refused as refusal:
            if refusal.kind != "domain":
                raise
            continue
        yield _equal(*sides)


def _points(symbols: list[str], scale: int = 1) -> Iterator[dict[str, Fraction]]:
    # A fixed seed: the same answers meet the same points in every run.
    rng = random.Random(" ".join(symbols))
    for at in range(_POINTS if symbols else 1):
        # Half of the points have no negative number, since roots and logarithms want none.
        signs = (1,) if at % 2 else (1, -1)
        yield {name: Fraction(scale * rng.randint(200, 20_000), 5003) * rng.choice(signs) for name in symbols}


def _whole_points(symbols: list[str]) -> Iterator[dict[str, Fraction]]:
    """Even and odd numbers in turn: (-1)^n is another expression than 1."""
    rng = random.Random(" ".join(symbols))
    for at in range(_POINTS):
        # The later ones are larger, since nobody asks for 9 of 5 things.
        yield {
            name: Fraction(2 * rng.randint(6, 12) + 20 * place + (at + place) % 2)
            for place, name in enumerate(reversed(symbols))
        }


def _value(tree: Expression, point: Mapping[str, Fraction], reading: Convention, real: bool) -> Any:
    """A fraction where it is rational and of a usual size, else a number of mpmath."""
    return computed(tree, point, reading, (_AT_POINT if point else _CONSTANT)[real])


def _equal(first: Any, second: Any) -> bool | None:
    if isinstance(first, Fraction) and isinstance(second, Fraction):
        return first == second
    a, b = number(first), number(second)
    apart, size = abs(a - b), max(abs(a), abs(b))
    if apart > size * context().mpf(10) ** -9:
        return False
    known = size == 0 or (_SMALLEST < size < _LARGEST and apart <= size * context().mpf(10) ** -30)
    return True if known else None
