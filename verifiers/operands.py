"""Where an expression begins and ends in running text, and whether its neighbours may change its meaning.

Words between numbers and signs are read over ("15 feet * 12 inches/foot = 180 inches") unless they compute.
"""

from typing import Any, NamedTuple

from verifiers.expressions import FUNCTIONS
from verifiers.tokens import Tokens
from verifiers.units import singular
from verifiers.words import (
    ABBREVIATIONS,
    AFTER,
    AFTER_IF_NUMBER,
    BEFORE,
    COPULAS,
    COUNTS,
    GLUE,
    GLUED_UNITS,
    OPERATIVE,
    OPERATIVE_OF,
    ORDINALS,
    SOFT,
)

_UNIT_LETTERS = frozenset("mghslL")
_BINARY = frozenset({"+", "-", "*", "/", "//", "^"})
_OPERATORS = _BINARY | {"!", "%"}
_SPOKEN = {"plus": "+", "minus": "-", "times": "*", "x": "*", "X": "*"}
_SPECIAL = FUNCTIONS | {"times", "plus", "minus", "divided", "multiplied"}
_REACHES = frozenset({"to", "from", "by", "with"})
_LEADS = frozenset({"gives", "give", "find", "obtain", "yields", "implies"})
_LONGEST_PHRASE = 7
_CLOSERS = frozenset({")", "]", '"', "'", "”", "’"})
_OPENERS = frozenset({"(", "[", '"', "“"})

MATHS, WORD, OTHER = "m", "w", "o"


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
            if kind == "word" and len(text := self.signs[at]) > 2 and tokens.spaces[low + at]:
                # Most of a step is such words; straight after a number they may be a symbol.
                plain = text not in _SPECIAL and "_" not in text
                self.classes[at] = WORD if plain else self._class(at)
            else:
                self.classes[at] = self._class(at)

    def _class(self, at: int) -> str:
        kind, text = self.tokens.kinds[self.low + at], self.signs[at]
        if kind == "number":
            return MATHS
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
        if text in FUNCTIONS or text == "pi":
            return MATHS
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
        if high - low > _LONGEST_PHRASE:
            return False
        words = self.spoken(low, high)
        if high < self.size and ("and" in words or "or" in words):
            return False  # "-7 * 2 = -14 and -7 + 2 = -5"
        labels = words[-1] in ORDINALS and self._number_next(high - 1) if words else False
        return not labels and COUNTS.isdisjoint(words)

    def joined(self, chosen: list[int]) -> str:
        """Signs as text, with their spacing kept where it carries meaning."""
        spaces = self.tokens.spaces
        return "".join(
            (" " if index and spaces[self.low + at] else "") + self.signs[at]
            for index, at in enumerate(chosen)
        )

    def operand(self, chosen: list[int], loose: str, **more: Any) -> Operand:
        """The operand of the chosen signs."""
        first, last = chosen[0], chosen[-1]
        signs = [self.signs[at] for at in chosen]
        units: tuple[str, ...] = ()
        if last - first >= len(chosen):
            chosen_set = {*chosen}
            over = [at for at in range(first, last) if at not in chosen_set]
            units = tuple(self.signs[at].lower() for at in over if at - 1 in chosen_set)
            soft = SOFT.intersection(self.signs[at] for at in over)
            loose = loose or (f"{min(soft)!r} between" if soft else "")
        start, end = self.tokens.start(self.low + first), self.tokens.ends[self.low + last]
        return Operand(signs, start, end, self.joined(chosen), loose, units=units, **more)


def right_operand(tokens: Tokens, low: int, high: int) -> Operand | None:
    """What stands after a relation sign; None where that is no expression."""
    # "= 1/3 of 150" may claim the share or the product, so `of` ends the run on this side.
    end = high
    while end > low and tokens.kinds[end - 1] == "word":
        end -= 1
    clause = Clause(tokens, low, min(high, end + 3), shares=False)
    chosen, at = _forward(clause)
    chosen = chosen[: _balanced_prefix([clause.signs[i] for i in chosen])]
    if not chosen:
        return None
    at, trimmed = chosen[-1] + 1, ""
    while chosen and (clause.signs[chosen[-1]] in _BINARY or clause.signs[chosen[-1]] in FUNCTIONS):
        chosen.pop()
        trimmed = "the text goes on after an operator"
    if not chosen:
        return None
    words = chosen[-1] - chosen[0] >= len(chosen)
    loose = trimmed or _after(clause, at)
    if clause.signs[chosen[-1]] == "!" and at == clause.size:
        loose = loose or "a factorial or an exclamation"
    unit = clause.signs[at].lower() if at < clause.size and clause.classes[at] == WORD else ""
    return clause.operand(chosen, loose, unit=unit, words=words)


def _forward(clause: Clause) -> tuple[list[int], int]:
    """The signs from the clause's beginning on, over phrases that an operator follows."""
    chosen: list[int] = []
    at, classes, signs = 0, clause.classes, clause.signs
    while True:
        while at < clause.size and classes[at] == MATHS:
            chosen.append(at)
            at += 1
        end = at
        while at < clause.size and classes[at] == WORD:
            at += 1
        if not chosen or end == at or at + 1 >= clause.size or classes[at] != MATHS:
            return chosen, end
        joins = signs[at] in _BINARY and classes[at + 1] == MATHS and signs[chosen[-1]] not in _BINARY
        if not joins or not clause.reads_over(end, at):
            return chosen, end


def _balanced_prefix(signs: list[str]) -> int:
    """Length of the longest prefix whose brackets close."""
    if "(" not in signs and ")" not in signs:
        return len(signs)
    depth, last = 0, 0
    for index, sign in enumerate(signs):
        depth += (sign == "(") - (sign == ")")
        if depth < 0:
            return last
        if depth == 0:
            last = index + 1
    return last


def _after(clause: Clause, at: int) -> str:
    """Why what follows an expression may belong to it."""
    if at >= clause.size:
        return ""
    first, classes, size = clause.signs[at], clause.classes, clause.size
    glued = clause.tokens.glued(clause.low + at)
    words = [clause.signs[i].lower() for i in range(at, min(at + 3, size)) if classes[i] == WORD]
    if classes[at] == WORD:
        # 5AD^2 and "5 AD + 2" are products of a symbol that is spelt with several letters.
        symbol = glued and first.isalpha() and not first.islower()
        symbol = symbol or (at + 1 < size and clause.signs[at + 1] in _OPERATORS and not first.islower())
        # "11 more eggs than Tom" is a value; "2 more than 5" is the beginning of another sum.
        symbol = symbol or any(
            clause.signs[i] == "than" and classes[i + 1] == MATHS for i in range(at, size - 1)
        )
        bound = words[0] in AFTER_IF_NUMBER and at + 1 < size and classes[at + 1] == MATHS
        share = words[0] == "of" and (clause.signs[at - 1] == "%" or "/" in clause.signs[:at])
        share = share and MATHS in classes[at:]
        return f"{words[0]!r} follows" if words[0] in AFTER or symbol or bound or share else ""
    if first == "(":
        return "'mod' follows" if words and words[0] in AFTER else ""
    if first in _CLOSERS:
        return ""
    return f"{first!r} follows" if glued or first not in {",", ";", "—", "–"} else ""


def left_operand(tokens: Tokens, low: int, high: int, *, first: bool) -> Operand | None:
    """What stands before a relation sign; `first` where no other sign stands before it in the clause."""
    start = low
    while start < high and tokens.kinds[start] == "word" and len(tokens.texts[start]) > 2:
        start += 1
    clause = Clause(tokens, max(low, start - 1), high, shares=True)
    end = clause.size
    while end and clause.classes[end - 1] == WORD:
        end -= 1
    if not end or clause.classes[end - 1] != MATHS or not clause.reads_over(end, clause.size):
        return None
    chosen, opened = _backward(clause, end)
    if not chosen:
        return None
    if clause.signs[chosen[0]] == "*" and chosen[0] == 0:
        chosen = chosen[1:]
        if not chosen:
            return None
    head, loose, signs = chosen[0], "", clause.signs
    if head and signs[head] in _OPERATORS and not _is_negative(clause, chosen):
        return None  # "the profit - 3 = 2": a quantity that words name is a symbol to us
    loose = _before(clause, chosen, low, first=first) if head else ""
    if opened and not (head > 1 and clause.classes[head - 2] != MATHS):
        loose = loose or ("a bracket stays open" if head > 1 else "")
    if all(signs[at] in _OPERATORS for at in chosen):
        return None
    if (
        not head
        and signs[0] == "-"
        and len(chosen) > 1
        and first
        and not tokens.glued(clause.low + chosen[1])
    ):
        return clause.operand(chosen, "a dash that may be a bullet")
    unit = signs[end].lower() if end < clause.size else ""
    if unit and head and not _computes(clause, chosen):
        loose = loose or "words around a quantity"
    if unit == "of":
        loose = loose or "'of' follows"
    words = chosen[-1] - chosen[0] >= len(chosen) or clause.size - end > 1
    return clause.operand(chosen, loose, unit=unit, words=words, other=_spaced_thousands(clause, chosen))


def _computes(clause: Clause, chosen: list[int]) -> bool:
    return any(clause.signs[at] in _BINARY for at in chosen)


def _backward(clause: Clause, end: int) -> tuple[list[int], bool]:
    """The signs up to `end`, over phrases beside an operator; and whether a bracket before stays open."""
    chosen: list[int] = []
    at, classes, signs = end, clause.classes, clause.signs
    while True:
        while at and classes[at - 1] == MATHS:
            at -= 1
            chosen.append(at)
        start = at
        while at and classes[at - 1] == WORD:
            at -= 1
        if start == at or not at or classes[at - 1] != MATHS:
            break
        after, before = signs[chosen[-1]], signs[at - 1]
        joins = (after in _BINARY or after == ")") != (before in _BINARY or before == "(")
        if not joins or not clause.reads_over(at, start):
            break
    chosen.reverse()
    size = len(chosen)
    chosen = _balanced_suffix(chosen, signs)
    return chosen, bool(chosen and len(chosen) < size and signs[chosen[0] - 1] == "(")


def _balanced_suffix(chosen: list[int], signs: list[str]) -> list[int]:
    depth, start = 0, 0
    for index in range(len(chosen) - 1, -1, -1):
        depth += (signs[chosen[index]] == ")") - (signs[chosen[index]] == "(")
        if depth < 0:
            return chosen[index + 1 :]
    while depth > 0 and start < len(chosen):
        depth -= signs[chosen[start]] == ")"
        start += 1
    return chosen[start:]


def _spaced_thousands(clause: Clause, chosen: list[int]) -> tuple[str, ...]:
    """The signs with the digits before a comma joined to them: `14400 / 80` in "14, 400 / 80 = 180"."""
    head, first = chosen[0], clause.signs[chosen[0]]
    if head < 2 or clause.signs[head - 1] != "," or len(first) != 3 or not first.isdigit():
        return ()
    before = clause.signs[head - 2].replace(",", "")
    return (before + first, *(clause.signs[at] for at in chosen[1:])) if before.isdigit() else ()


def _is_negative(clause: Clause, chosen: list[int]) -> bool:
    """The sign in "Ruth has -6 - 9 = -15": straight after a verb and close to its number."""
    head, tokens = chosen[0], clause.tokens
    if len(chosen) < 2 or clause.signs[head] != "-" or not tokens.glued(clause.low + chosen[1]):
        return False
    return not tokens.glued(clause.low + head) and clause.signs[head - 1].lower() in COPULAS


def _before(clause: Clause, chosen: list[int], low: int, *, first: bool) -> str:
    """Why the words before an expression, from token `low` on, may belong to it."""
    head, signs = chosen[0], clause.signs
    last = signs[head - 1]
    if head <= 3 and last == ")" and len(signs[head - 2]) <= 2 and signs[0] in {"(", signs[head - 2]}:
        return ""  # a list mark: "a) 3 + 4 = 7"
    if clause.classes[head - 1] != WORD:
        spaced = not clause.tokens.glued(clause.low + head)
        titled = last == ":" and head > 1 and clause.classes[head - 2] == WORD
        return "" if (last in {",", ";"} and spaced) or last in _OPENERS or titled else f"{last!r} precedes"
    before = clause.tokens.texts[low : clause.low + head]
    if _computes(clause, chosen):
        return _bound(before, first=first)
    if last.lower() in {"and", "or"}:
        return "" if last.lower() == "and" and not first else f"{last!r} precedes"
    if any(signs[at].isalpha() for at in chosen) and last.lower() in COPULAS | _LEADS:
        return ""  # "which gives 2x = 6"
    for word in reversed(before):
        if word.lower() in COPULAS:
            break
        if word.lower() in BEFORE:
            return f"{word.lower()!r} precedes"
    return "a lone number after words"


def _bound(before: list[str], *, first: bool) -> str:
    """Why a calculation may be part of a longer one: "half of the 10 + 2", "add 5 to 3 + 4"."""
    glue: list[str] = []
    if singular(before[-1].lower()) in ORDINALS:
        return f"{before[-1]!r} precedes"  # "on day 1 * 2"
    for word in reversed(before):
        lowered = word.lower()
        if lowered in GLUE:
            glue.append(lowered)
        elif word[0].isdigit():
            bound = bool(glue) and (glue != ["and"] or first)
            return f"{glue[-1]!r} precedes" if bound else ""
        else:
            # "add 20 decorations to the 29 + 24": the verb may stand anywhere before.
            reach = before if not _REACHES.isdisjoint(glue) else [word]
            bound_by = (OPERATIVE_OF if "of" in glue else OPERATIVE).intersection(map(str.lower, reach))
            return f"{min(bound_by)!r} precedes" if bound_by else ""
    return ""
