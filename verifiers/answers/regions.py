"""Sets of real numbers, made of intervals: compared at their ends, between them and beyond.

`(-∞, 2) ∪ (2, ∞)` and `ℝ ∖ {2}` hold the same numbers, and so do `(0, 2) ∩ (1, 3)` and `(1, 2)`.
"""

from fractions import Fraction
from typing import NamedTuple

from verifiers.answers.bases import Based
from verifiers.answers.forms import Form
from verifiers.answers.values import real_value
from verifiers.expressions.tree import Name, Number

_INTERVALS = {"()", "[]", "(]", "[)"}
_COMBINED = {"∪", "∩", "∖"}
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
    if form.brackets in _COMBINED:
        return True
    if form.brackets not in _INTERVALS or len(form.parts) != 2:
        return False
    return form.brackets in {"(]", "[)"} or bool(form.name) or any(_infinite(part) for part in form.parts)


def same_region(gold: Form, answer: Form) -> bool | None:
    """Whether both hold the same numbers; None where an end has no known value, or one is rounded."""
    ours, theirs = _set(gold), _set(answer)
    if ours is None or theirs is None:
        return None
    pieces = (*ours.pieces, *theirs.pieces)
    ends = sorted({end for piece in pieces for end in (piece.low, piece.high) if end is not None})
    tried = [*ends, *((a + b) / 2 for a, b in zip(ends, ends[1:], strict=False))]
    tried += [ends[0] - 1, ends[-1] + 1] if ends else [Fraction(0)]
    same = all(ours.holds(x) == theirs.holds(x) for x in tried)
    return True if same else None if _rounded(gold) or _rounded(answer) else False


class _Set(NamedTuple):
    """Pieces, and how sets made of them are combined."""

    pieces: tuple[_Piece, ...]
    sign: str = "∪"
    parts: "tuple[_Set, ...]" = ()

    def holds(self, x: Fraction) -> bool:
        if not self.parts:
            return any(piece.holds(x) for piece in self.pieces)
        held = [part.holds(x) for part in self.parts]
        if self.sign == "∖":
            return held[0] and not held[1]
        return any(held) if self.sign == "∪" else all(held)


def _set(form: Form) -> _Set | None:
    if form.brackets in _COMBINED:
        parts = [_set(part) if isinstance(part, Form) else None for part in form.parts]
        found = tuple(part for part in parts if part is not None)
        pieces = tuple(piece for part in found for piece in part.pieces)
        complete = len(found) == len(parts) and len(pieces) <= _MOST_PIECES
        return _Set(pieces, form.brackets, found) if complete else None
    if form.brackets == "{}":
        values = [_end(part) for item in form.parts for part in _items(item)]
        return None if None in values else _Set(tuple(_Piece(v, True, v, True) for v in values))
    if form.brackets not in _INTERVALS or len(form.parts) != 2:
        return None
    if (form.brackets[0] == "[" and _infinite(form.parts[0])) or (
        form.brackets[1] == "]" and _infinite(form.parts[1])
    ):
        return None  # infinity is in no set of numbers
    low, high = (None if _infinite(part) else _end(part) for part in form.parts)
    if any(end is None and not _infinite(part) for end, part in zip((low, high), form.parts, strict=True)):
        return None
    return _Set((_Piece(low, form.brackets[0] == "[", high, form.brackets[1] == "]"),))


def _items(part: object) -> tuple[object, ...]:
    r"""The two values of a plus-minus in a set: `\{\pm 1\}`."""
    return part.parts if isinstance(part, Form) and not part.brackets and part.scalar is None else (part,)


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
