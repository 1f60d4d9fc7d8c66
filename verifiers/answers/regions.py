"""Sets of real numbers, as unions of intervals: compared at their ends, between them and beyond.

`(-∞, 2) ∪ (2, ∞)` and `(2, ∞) ∪ (-∞, 2)` hold the same numbers, and so do `(0, 2)` and `(0, 1] ∪ (1, 2)`.
"""

from fractions import Fraction
from typing import NamedTuple

from verifiers.answers.forms import Based, Form
from verifiers.answers.values import real_value
from verifiers.expressions.tree import Name, Number

_INTERVALS = {"()", "[]", "(]", "[)"}
_GRID = 10**40
"""Ends that agree to so many digits are one: `1/√2` and `√2/2` are computed apart."""
_MOST_PIECES = 20


class _Piece(NamedTuple):
    low: Fraction | None
    """None for an end at infinity."""
    low_closed: bool
    high: Fraction | None
    high_closed: bool

    def holds(self, x: Fraction) -> bool:
        above = self.low is None or x > self.low or (self.low_closed and x == self.low)
        return above and (self.high is None or x < self.high or (self.high_closed and x == self.high))


def is_region(form: Form) -> bool:
    """Whether it is surely a set of real numbers: `(1, 2)` may be a point and `[1, 2]` a list."""
    if form.brackets == "∪":
        return True
    if form.brackets not in _INTERVALS or len(form.parts) != 2:
        return False
    return form.brackets in {"(]", "[)"} or bool(form.name) or any(_infinite(part) for part in form.parts)


def same_region(gold: Form, answer: Form) -> bool | None:
    """Whether both hold the same numbers; None where an end has no known value, or one is rounded."""
    sides = _pieces(gold), _pieces(answer)
    if sides[0] is None or sides[1] is None:
        return None
    ends = sorted(
        {end for piece in (*sides[0], *sides[1]) for end in (piece.low, piece.high) if end is not None}
    )
    tried = [*ends, *((a + b) / 2 for a, b in zip(ends, ends[1:], strict=False))]
    tried += [ends[0] - 1, ends[-1] + 1] if ends else [Fraction(0)]
    same = all(any(p.holds(x) for p in sides[0]) == any(p.holds(x) for p in sides[1]) for x in tried)
    return True if same else None if _rounded(gold) or _rounded(answer) else False


def _pieces(form: Form) -> list[_Piece] | None:
    if form.brackets == "∪":
        found: list[_Piece] = []
        for part in form.parts:
            inner = _pieces(part) if isinstance(part, Form) else None
            if inner is None or len(found) > _MOST_PIECES:
                return None
            found += inner
        return found
    if form.brackets == "{}":
        values = [_end(part) for part in form.parts]
        return None if None in values else [_Piece(value, True, value, True) for value in values]
    if form.brackets not in _INTERVALS or len(form.parts) != 2:
        return None
    if (form.brackets[0] == "[" and _infinite(form.parts[0])) or (
        form.brackets[1] == "]" and _infinite(form.parts[1])
    ):
        return None  # infinity is in no set of numbers
    low, high = (None if _infinite(part) else _end(part) for part in form.parts)
    if any(end is None and not _infinite(part) for end, part in zip((low, high), form.parts, strict=True)):
        return None
    return [_Piece(low, form.brackets[0] == "[", high, form.brackets[1] == "]")]


def _end(part: object) -> Fraction | None:
    scalar = part.scalar if isinstance(part, Form) and not part.unit else None
    if scalar is None or isinstance(scalar, Based):
        return None
    value = real_value(scalar)
    return None if value is None else Fraction(round(value * _GRID), _GRID)


def _infinite(part: object) -> bool:
    scalar = part.scalar if isinstance(part, Form) else None
    return isinstance(scalar, Name) and "infinity" in scalar.name


def _rounded(form: Form) -> bool:
    scalar = form.scalar if form.parts else None
    if isinstance(scalar, Number):
        return scalar.decimals > 0
    return any(isinstance(part, Form) and _rounded(part) for part in form.parts)
