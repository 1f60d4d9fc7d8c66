"""A clause's tokens as a reader of calculations sees them: maths, words that are read over, or neither."""

from typing import Any, NamedTuple

from verifiers.claims.tokens import Tokens
from verifiers.claims.words import ABBREVIATIONS, COUNTS, GLUED_UNITS, ORDINALS, SOFT
from verifiers.expressions.tree import FUNCTIONS, GREEK

# `5 m` at a clause's end or before a word is 5 metres; `5 x` is a product.
_UNIT_LETTERS = frozenset("mghslL")
BINARY = frozenset({"+", "-", "*", "/", "//", "^"})
# Words that are signs between numbers: "3 plus 4", "3 x 4".
_SPOKEN = {"plus": "+", "minus": "-", "times": "*", "x": "*", "X": "*"}
_SPECIAL = FUNCTIONS | GREEK | {"times", "plus", "minus", "divided", "multiplied", "percent"}
_LONGEST_PHRASE = 7
"""Words between two signs that may be a unit, as in "15 feet of red cloth * 2"; longer ones are a thought."""

_PLACES = frozenset({"st", "nd", "rd", "th"})
"""The 3rd and the 4th are places and no quantities."""
_SPELT = {"C": "binom", "GCD": "gcd", "LCM": "lcm"}

MATHS, WORD, OTHER = "m", "w", "o"
_PLACING = frozenset("at in on for from during after before until with of".split())
"""Words after a sign that make a number tell which quantity is meant: "+ points in the first 20 minutes"."""


class Operand(NamedTuple):
    """One side of a relation: its signs as the parser knows them, and what surrounds them."""

    signs: list[str]
    start: int
    end: int
    """Where it stands in the plain text, its unit left out."""
    text: str
    loose: str = ""
    unit: str = ""
    words: bool = False
    """Whether words beside or between its signs were read over."""
    units: tuple[str, ...] = ()
    """The first words of what was read over between its signs."""
    other: tuple[str, ...] = ()
    """What it may be instead: `14400 / 80` in "14, 400 / 80 = 180", where the comma may part thousands."""


class Clause:
    """A clause's tokens, each as maths, word or neither, with spoken signs written out."""

    def __init__(self, tokens: Tokens, low: int, high: int, *, shares: bool) -> None:
        self.tokens, self.low, self.high, self.size = tokens, low, high, high - low
        self.signs = tokens.texts[low:high]
        self.classes = [""] * (high - low)
        self._shares = shares
        for at, kind in enumerate(tokens.kinds[low:high]):
            if self.classes[at]:
                continue
            if kind == "number":
                self.classes[at] = MATHS
                continue
            if kind == "word" and len(text := self.signs[at]) > 2 and tokens.spaces[low + at]:
                # Most of a step is such words; straight after a number they may be a symbol.
                plain = text not in _SPECIAL and "_" not in text
                self.classes[at] = WORD if plain else self._class(at)
            else:
                self.classes[at] = self._class(at)

    def _class(self, at: int) -> str:
        kind, text = self.tokens.kinds[self.low + at], self.signs[at]
        if text in _SPELT and self.signs[at + 1 : at + 2] == ["("] and self._lists(at):
            self.signs[at] = text = _SPELT[text]
        if kind == "word":
            return self._word(at, text)
        if kind == "operator":
            if text == "/" and self._is_plain_word(at + 1):
                return WORD  # a rate: miles / hour
            if text == "(":
                return self._bracket(at)
            if text == "-" and self._hyphenates(at):
                return WORD
            if text == "^" and at and self.classes[at - 1] == WORD:
                self.classes[at + 1 : at + 2] = [WORD] * len(self.classes[at + 1 : at + 2])
                return WORD  # cm^3
            return MATHS
        if (
            text == "."
            and at
            and self.classes[at - 1] == WORD
            and self.signs[at - 1].lower() in ABBREVIATIONS
        ):
            return WORD
        return OTHER

    def _lists(self, at: int) -> bool:
        """Whether a call has numbers as arguments: `C(5, 2)`, not the point C(x, y)."""
        inside = self.signs[at + 2 : at + 6]
        return len(inside) == 4 and inside[1] == "," and inside[3] == ")" and inside[0].isdigit()

    def _is_plain_word(self, at: int) -> bool:
        if at >= self.size or self.tokens.kinds[self.low + at] != "word":
            return False
        return len(self.signs[at].partition("_")[0]) > 1 and self.signs[at] not in FUNCTIONS | {"pi"}

    def _hyphenates(self, at: int) -> bool:
        """The hyphen of "a 5-pound bag"."""
        glued = (
            self.tokens.glued(self.low + at) and at + 1 < self.size and self.tokens.glued(self.low + at + 1)
        )
        quantity = at > 0 and (self.tokens.kinds[self.low + at - 1] == "number" or self.signs[at - 1] == "%")
        named = self._is_plain_word(at + 1) and len(self.signs[at + 1]) > 2
        # Not `5-x`, where a single letter is a symbol and the hyphen a minus.
        return quantity and glued and named and self.signs[at + 2 : at + 3] != ["^"]

    def _bracket(self, at: int) -> str:
        """A remark like "(in dollars)" is words; `.1(minutes)` is a product that cannot be read."""
        end = at + 1
        while self._is_plain_word(end):
            end += 1
        if end == at + 1 or end >= self.size or self.signs[end] != ")" or not at:
            return MATHS
        found = OTHER if self.tokens.glued(self.low + at) else WORD
        self.classes[at : end + 1] = [found] * (end + 1 - at)
        return found

    def _number_next(self, at: int) -> bool:
        after = self.low + at + 1
        return after < self.high and self.tokens.kinds[after] == "number"

    def _word(self, at: int, text: str) -> str:
        previous = at > 0 and self.classes[at - 1] == MATHS
        spoken = _SPOKEN.get(text)
        if spoken and at and self._multiplies(at, text, after_value=previous):
            self.signs[at] = spoken
            return MATHS
        shares = text == "percent" and self.signs[at + 1 : at + 2] == ["of"]
        if shares and previous and self._number_next(at + 1):
            self.signs[at] = "%"
            return MATHS
        if text == "of" and self._shares and previous and self._number_next(at) and self._is_share(at):
            self.signs[at] = "*"
            return MATHS
        if text in {"divided", "multiplied"} and at and self.signs[at + 1 : at + 2] == ["by"]:
            if previous and self._number_next(at + 1):
                self.signs[at] = "/" if text == "divided" else "*"
                self.classes[at + 1] = WORD
                return MATHS
            return WORD
        if len(text) == 1 or text[1] == "_":
            return self._letter(at, text, previous=previous)
        if text == "log" and self._number_next(at) and self.tokens.glued(self.low + at + 1):
            return OTHER  # `log2(16)`: to the base 2, or of 2?
        if text in FUNCTIONS or text == "pi" or text.partition("_")[0] in GREEK | {"log"}:
            return MATHS
        # `2ab` is a product of symbols; `2kg` is a quantity with its unit.
        symbols = previous and self.tokens.glued(self.low + at) and text not in GLUED_UNITS
        return OTHER if symbols or text.partition("_")[0] in FUNCTIONS else WORD

    def _multiplies(self, at: int, text: str, *, after_value: bool) -> bool:
        spaced = self.tokens.spaces[self.low + at] != ""
        if not after_value:
            unit = self.classes[at - 1] == WORD and spaced and MATHS in self.classes[max(0, at - 4) : at]
            return unit and self._number_next(at)
        before = self.signs[at - 1]
        if not (before[-1].isdigit() or before in {")", "%"}):
            return False
        opens = spaced and at + 1 < self.size and self.signs[at + 1] == "("
        return self._number_next(at) or (
            opens and text in {"x", "X"} and self.tokens.spaces[self.low + at + 1] != ""
        )

    def _is_share(self, at: int) -> bool:
        """`12% of 50` and `3/4 of 20`, but not `5 of 20`."""
        if self.signs[at - 1] == "%":
            return True
        texts = self.signs[max(0, at - 3) : at]
        return len(texts) == 3 and texts[1] == "/" and texts[0].isdigit() and texts[2].isdigit()

    def _letter(self, at: int, text: str, *, previous: bool) -> str:
        """A single letter is a symbol unless it is a unit, the article or the pronoun in running text."""
        kinds, after = self.tokens.kinds, self.low + at + 1
        last = after >= self.high
        digit = previous and self.signs[at - 1][-1].isdigit()
        spaced = self.tokens.spaces[self.low + at] == " "
        if text in _UNIT_LETTERS and digit and spaced and (last or kinds[after] == "word"):
            return WORD
        if text not in {"a", "A", "I"}:
            return MATHS
        # Straight before a relation sign even `a` is a symbol.
        touches = (
            (last and (self._shares or at == 0))
            or (not last and kinds[after] == "operator")
            or (previous and last)
        )
        return MATHS if touches else WORD

    def spoken(self, low: int, high: int) -> list[str]:
        """The words of a range, in lower case."""
        return [self.signs[at].lower() for at in range(low, high)]

    def reads_over(self, low: int, high: int) -> bool:
        """Whether a phrase between signs is a unit or a label, and computes nothing."""
        if not 0 < high - low <= _LONGEST_PHRASE:
            return high == low
        words = self.spoken(low, high)
        if "and" in words or "or" in words:
            return False  # "-7 * 2 = -14 and -7 + 2 = -5"
        labels = words[-1] in ORDINALS and self._number_next(high - 1)
        return not labels and COUNTS.isdisjoint(words)

    def operand(self, chosen: list[int], loose: str, **more: Any) -> Operand:
        """The operand of the chosen signs; its text keeps the spacing, where that carries meaning."""
        first, last = chosen[0], chosen[-1]
        start, end = self.tokens.start(self.low + first), self.tokens.ends[self.low + last]
        if last - first < len(chosen):
            signs = self.signs[first : last + 1]
            gaps = self.tokens.spaces[self.low + first : self.low + last + 1]
            text = "".join([f" {sign}" if gap else sign for sign, gap in zip(signs, gaps, strict=True)])
            return Operand(signs, start, end, text.lstrip(), loose, **more)
        over = sorted({*range(first, last)} - {*chosen})
        signs = [self.signs[at] for at in chosen]
        text = "".join(
            f" {self.signs[at]}" if self.tokens.spaces[self.low + at] else self.signs[at] for at in chosen
        )
        units = tuple(self.signs[at].lower() for at in over if at - 1 not in over)
        soft = SOFT.intersection(self.signs[at] for at in over if not self._counts_times(at))
        soft |= _PLACES.intersection(self.signs[at] for at in over)
        if soft:
            loose = f"{loose} and {min(soft)!r} between" if loose else f"{min(soft)!r} between"
        loose = loose or self._named(over)
        return Operand(signs, start, end, text.lstrip(), loose, units=units, **more)

    def _counts_times(self, at: int) -> bool:
        """The noun of "4 times + 3 times", which multiplies nothing."""
        return self.signs[at] == "times" and self.signs[at + 1] in BINARY | {"per"}

    def _named(self, over: list[int]) -> str:
        """Why a number may be part of a name: "distance driven at 30 mph + distance driven at 80 mph"."""
        for at in over:
            joined = at and self.signs[at - 1] in BINARY and self.classes[at - 1] == MATHS
            end = at
            while joined and end in over:
                if self.signs[end].lower() in _PLACING:
                    return f"{self.signs[end]!r} may lead to a name"
                end += 1
        return ""
