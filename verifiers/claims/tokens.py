"""A step's words, numbers and signs in one pass, with the sentences and clauses they form."""

import re
import string
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import accumulate
from operator import add
from typing import Literal

from verifiers.claims.words import ABBREVIATIONS
from verifiers.expressions.parser import NUMBER

Kind = Literal["number", "word", "operator", "relation", "other"]

_L = "[A-Za-zÀ-ɏ]"
# A word with its apostrophe (`Tom's`), index (`x_1`) or hyphens between letters (`twenty-five`); a number; a
# sign of two characters; or any other character.
_TOKEN = re.compile(
    rf"(\s*)({_L}+(?:['’]{_L}*|_[A-Za-z0-9]+|(?<={_L}{_L})-(?={_L}{_L}){_L}+)*|{NUMBER}"
    r"|<=|>=|!=|~=|==|=>|->|//|\S)"
)
_SIGNS: dict[Kind, str] = {
    "number": "0123456789",
    "operator": "+-*/^()!%#°⌊⌋⌈⌉⟦⟧",
    "relation": "≠≈=<>≤≥",
    "word": string.ascii_letters,
    "other": ",:;?'\"$",
}
_KINDS: dict[str, Kind] = {character: kind for kind, characters in _SIGNS.items() for character in characters}
_FIRST = {character: kind for character, kind in _KINDS.items() if character not in "!~=-/"}
"""Kinds that the first character settles; the rest may begin a longer sign."""
# Signs whose first character alone would be another kind: `=>` is an arrow and no relation.
_WHOLE_KINDS: dict[str, Kind] = {"!=": "relation", "~=": "relation", "=>": "other", "->": "other"}
# "2x = 6 => x = 3" is two clauses.
_ARROWS = frozenset({"=>", "->", "⇒", "→"})
# Tokens that may end a clause or a sentence; `_ends` looks at what stands around them.
_MAY_END = frozenset({".", "?", "!", ";", ":", ",", *_ARROWS})


@dataclass(frozen=True, slots=True)
class Tokens:
    """Parallel lists: what stands there, its kind, the space before it, and where it begins and ends."""

    texts: list[str]
    kinds: list[Kind]
    spaces: list[str]
    ends: list[int]

    def start(self, index: int) -> int:
        """Where a token begins."""
        return self.ends[index] - len(self.texts[index])

    def glued(self, index: int) -> bool:
        """Whether no space stands before a token."""
        return index == 0 or not self.spaces[index]


def tokenize(text: str) -> Tokens:
    """The tokens of a text that holds no null characters."""
    found = _TOKEN.findall(text)
    if not found:
        return Tokens([], [], [], [])
    spaces, texts = map(list, zip(*found, strict=True))
    ends = list(accumulate(map(add, map(len, spaces), map(len, texts))))
    kinds = [_FIRST.get(word[0]) or _kind(word) for word in texts]
    if "," in texts and not _OF_SEVERAL.isdisjoint(texts):
        _join_arguments(texts, kinds)
    return Tokens(texts, kinds, spaces, ends)


# Functions of several arguments; `C(5, 2)` counts choices where both are numbers.
_OF_SEVERAL = frozenset({"binom", "gcd", "lcm", "GCD", "LCM", "root", "C"})


def _join_arguments(texts: list[str], kinds: list[Kind]) -> None:
    """A comma between the arguments of a function ends no clause."""
    for at, text in enumerate(texts[:-1]):
        if text in _OF_SEVERAL and texts[at + 1] == "(":
            depth, inside = 1, at + 2
            while inside < min(len(texts), at + 40) and depth:
                depth += (texts[inside] == "(") - (texts[inside] == ")")
                if texts[inside] == "," and depth == 1:
                    kinds[inside] = "operator"
                inside += 1


def _kind(text: str) -> Kind:
    kind = _KINDS.get(text[0])
    if kind is None:
        return "number" if text[0] == "." and len(text) > 1 else "word" if text[0].isalpha() else "other"
    return kind if len(text) == 1 or kind == "number" else _WHOLE_KINDS.get(text, kind)


def sentences(tokens: Tokens) -> Iterator[list[tuple[int, int]]]:
    """For each sentence the ranges of its clauses. Separators belong to none."""
    texts, spaces = tokens.texts, tokens.spaces
    clauses: list[tuple[int, int]] = []
    start, last = 0, len(texts) - 1
    marks = [index for index, text in enumerate(texts) if text in _MAY_END]
    lines = [index for index, space in enumerate(spaces) if space != " " and "\n" in space]
    for index in sorted({*marks, *lines}) if lines else marks:
        text = texts[index]
        if lines and "\n" in spaces[index] and index > start and text not in {"=", "≈"}:
            clauses.append((start, index))
            yield clauses
            clauses, start = [], index
        if text not in _MAY_END:
            continue
        end = _ends(tokens, index, spaced=index == last or spaces[index + 1] != "")
        if end:
            clauses.append((start, index))
            start = index + 1
        if end == "sentence":
            yield clauses
            clauses = []
    yield [*clauses, (start, len(texts))]


def _ends(tokens: Tokens, index: int, *, spaced: bool) -> str:
    texts = tokens.texts
    match texts[index]:
        case "." if spaced:
            return "" if _abbreviates(tokens, index) else "sentence"
        case "?" if spaced:
            return "sentence"
        case "!" if spaced and index and texts[index - 1] != ")" and tokens.kinds[index - 1] != "number":
            return "sentence"
        case ";" if spaced:
            return "clause"
        case ":" if spaced and tokens.glued(index):
            return "clause"
        case "," if spaced and tokens.kinds[index] != "operator":
            return "clause" if not _parts_thousands(tokens, index) else ""
        case arrow if arrow in _ARROWS:
            return "clause"
    return ""


def _abbreviates(tokens: Tokens, index: int) -> bool:
    if index == 0 or index + 1 >= len(tokens.texts) or tokens.texts[index - 1].lower() not in ABBREVIATIONS:
        return False
    after = tokens.texts[index + 1]
    return "\n" not in tokens.spaces[index + 1] and not after[0].isupper()


def _parts_thousands(tokens: Tokens, index: int) -> bool:
    """The comma in `14, 400`, which may be one number."""
    before, after = tokens.texts[index - 1 : index], tokens.texts[index + 1 : index + 2]
    if not before or not after or tokens.kinds[index - 1] != "number" or tokens.spaces[index + 1] != " ":
        return False
    return len(after[0]) == 3 and after[0].isdigit()
