"""Words put in the order of their letters: letters at a place, comparisons, and the lists in between.

A chain `"a" < ["c" ? "b"] < "d"` has words in groups that are not sorted yet. A word with characters other
than letters (`she'll`) is ordered with or without these, so a chain fails only if both refute it.
"""

import re
from collections import Counter
from collections.abc import Callable
from difflib import SequenceMatcher
from itertools import pairwise
from typing import NamedTuple

from verifiers.calculation.checked import Checked
from verifiers.claims.parsed import ParsedText
from verifiers.rules.spoken import (
    ORDINALS,
    Judged,
    Texts,
    fails,
    holds,
    is_hedged,
    is_readable,
    lines_of,
    nothing,
    unread,
)

_WORD = r"[A-Za-z][A-Za-z'’-]*"
_MOST = 200
_LIKE = 0.85
"""Share of common letters from which on a word is another one's misspelling."""
_CASES: tuple[Callable[[str], str], ...] = (str.lower, lambda word: re.sub(r"[^a-z]", "", word.lower()))
"""The two keys by which words may be ordered."""
# "Sort the following words alphabetically: List: b a c"; a bare list of words is a problem, too.
_ASKED = re.compile(
    r"(?:(?:please )?(?:sort|order|arrange|put|alphabeti[sz]e)\b[^:\n]{0,80}:\s*)?"
    r"(?:(?:the )?(?:words?|list)\s*:\s*)?"
    rf"({_WORD}(?:(?:,? | and |, and ){_WORD})*)\.?",
    re.I,
)
_OTHERWISE = re.compile(
    r"\b(?:revers\w*|descend\w*|length|longest|shortest|last|vowel\w*|ignor\w*|backward\w*)\b"
)
_Q = rf"[\"'“`]({_WORD})[\"'”`]"
# `"colza": "c" (3)`; in lists these end with full stops.
_LETTER = re.compile(rf"\s*{_Q}\s*:\s*[\"'“`]?([A-Za-z])[\"'”`]?(?:\s*\((\d{{1,2}})\))?\s*[.,;]?")
_LETTERS = re.compile(
    rf"(?P<said>.*?)\b[Tt]he ({'|'.join(ORDINALS)}) letters?(?: of (?:the|each) words?)?\s*:\s*(?P<rest>.*)"
)
_SUBPART = re.compile(r"(?:now )?(?:let's|let us|we) sort this subpart (?P<group>\[[^\]]*\])", re.I)
_TOKEN = re.compile(rf"\s*(?:\((?P<number>\d{{1,2}})\)|{_Q}|(?P<bare>{_WORD})|(?P<sign>[<=?,\[\]]))")
_HAVE = re.compile(
    r"(?:(?:hence|so|thus|therefore|then|now),? )?"
    r"(?:we (?:now )?have(?: now)?|this gives(?: us)?|the (?:new )?order is)"
    r"\s*:?\s*(?P<chain>.*?)(?P<part>\s+for (?:the|this) subpart)?",
    re.I,
)
_ANSWER = re.compile(
    r"(?:(?:i|we) have (?:now )?sorted all the words\.?\s*)?(?:(?:so|thus|therefore|hence),? )?"
    r"(?:the )?(?:(?:final )?answer|(?:final )?sorted (?:list|order|words)|(?:words in )?alphabetical order)"
    r"(?: of (?:the )?words)?\s*(?:is|are|:)+\s*(?P<words>.*)",
    re.I,
)
_BEFORE = re.compile(rf"(?:(?:so|and|since),? )?{_Q} (?:comes|goes|is) (before|after) {_Q}", re.I)


class _Group(NamedTuple):
    number: int | None
    words: tuple[str, ...]


def judged(texts: Texts) -> Judged:
    """The verdicts on the letters, comparisons and lists of each step."""
    words = texts[0].once(_words) if is_readable(texts) else None
    if words is None:
        return nothing(texts)
    reader = _Reader(words)
    return tuple(tuple(reader.step(lines_of(text.text))) for text in texts[1:])


def _words(parsed: ParsedText) -> tuple[str, ...] | None:
    """The words to sort, where it is plain that they are to be sorted by their letters."""
    problem = parsed.text
    if _OTHERWISE.search(problem.lower()) and not re.fullmatch(rf"{_WORD}(?: {_WORD})+", problem.strip()):
        return None
    match = _ASKED.fullmatch(problem.strip()) if len(problem) <= 4_000 else None
    words = tuple(re.findall(_WORD, re.sub(r",? and ", " ", match[1]))) if match else ()
    return words if 3 <= len(words) <= _MOST else None


class _Reader:
    """Goes through the steps and keeps the list that was shown last."""

    def __init__(self, words: tuple[str, ...]) -> None:
        self._words = words
        self._unsorted: list[Counter[str]] = []
        """The groups that the last list leaves unsorted, in their order."""

    def step(self, lines: list[str]) -> list[Checked]:
        found: list[Checked] = []
        for line in lines:
            # "Maybe" may be a word of the list.
            plain = re.sub(_WORD, lambda word: "" if word[0] in self._words else word[0], line)
            if is_hedged(plain.replace(" ? ", " ")):
                continue
            if match := _LETTERS.fullmatch(line):
                found.append(self._letters(line, match))
                continue
            # A full stop ends a statement where the next one begins with a capital: `"b". Hence, we have`.
            for part in re.split(r"\.\s+(?=[A-Z])", line):
                found += self._statement(part.rstrip(". "))
        return found

    def _letters(self, line: str, match: re.Match[str]) -> Checked:
        subpart = _SUBPART.match(match["said"])
        checked, listed = _letters(line, match, self._words)
        if checked.verdict != "holds":
            return checked
        if subpart is None:
            return checked if listed == Counter(self._words) else unread(line)
        groups = _chain(subpart["group"]) or []
        meant = Counter(word for group in groups for word in group.words)
        # Another group that comes first was left as it was: this may be the wrong thing to sort now.
        return checked if meant == listed and self._unsorted[:1] == [meant] else unread(line)

    def _statement(self, text: str) -> list[Checked]:
        match = _HAVE.fullmatch(text)
        groups = _chain(match["chain"]) if match and not match["part"] else None
        if groups:
            self._unsorted = [Counter(group.words) for group in groups if len(group.words) > 1]
        checked = _statement(text, self._words)
        return [checked] if checked else []


def _letters(line: str, match: re.Match[str], words: tuple[str, ...]) -> tuple[Checked, Counter[str]]:
    """The verdict on a list of letters, and the words in it."""
    place, at = ORDINALS.index(match[2].lower()), 0
    listed: list[str] = []
    for one in _LETTER.finditer(match["rest"]):
        if one.start() != at:
            return unread(line), Counter()
        at = one.end()
        word, letter, number = one[1], one[2].lower(), one[3]
        if word not in words:
            return unread(line), Counter()
        if number and int(number) != ord(letter) - ord("a") + 1:
            number_is = ord(letter) - ord("a") + 1
            return fails(one[0].strip(), f"{letter} is letter {number_is} of the alphabet"), Counter()
        right = {key(word)[place : place + 1] for key in _CASES}
        if letter not in right:
            really = f"the {match[2]} letter of {word} is {min(right) or 'missing'}"
            return fails(one[0].strip(), really), Counter()
        listed.append(word)
    if match["rest"][at:].strip(" .") or not listed:
        return unread(line), Counter()
    return holds(line), Counter(listed)


def _statement(text: str, words: tuple[str, ...]) -> Checked | None:
    if match := _ANSWER.fullmatch(text):
        listed = re.findall(_WORD, match["words"])
        plain = re.fullmatch(rf"[\"'`\[(]*{_WORD}(?:[\s,<\"'`]+{_WORD})*[\"'`\])]*", match["words"])
        return (
            _whole(text, [_Group(None, (word,)) for word in listed], words)
            if plain and listed
            else unread(text)
        )
    if match := _BEFORE.fullmatch(text):
        first, second = (match[1], match[3]) if match[2].lower() == "before" else (match[3], match[1])
        return _ordered(text, [_Group(None, (first,)), _Group(None, (second,))]) if first != second else None
    match = _HAVE.fullmatch(text)
    groups = _chain(match["chain"] if match else text)
    if groups is None:
        return unread(text) if match else None
    if not match or match["part"]:
        known = all(word in words or len(word) == 1 for group in groups for word in group.words)
        return _ordered(text, groups) if known else unread(text)
    return _whole(text, groups, words)


def _chain(text: str) -> list[_Group] | None:
    """The groups of `(1) "a" < (3) ["c" ? "cb"]`; words joined by `=` or `?` are one group."""
    tokens, at = [], 0
    while at < len(text.rstrip()):
        match = _TOKEN.match(text, at)
        if match is None:
            return None
        tokens.append(match)
        at = match.end()
    groups: list[_Group] = []
    number, group, inside, wants = None, list[str](), False, True
    for token in tokens:
        word, sign = token[2] or token["bare"], token["sign"]
        if token["number"] and wants and not inside:
            number = int(token["number"]) if number in (None, int(token["number"])) else 99
        elif word and wants:
            group.append(word)
            wants = False
        elif sign == "[" and wants and not inside:
            inside = True
        elif sign == "]" and inside and not wants:
            inside = False
        elif (sign == "=" or (sign in {"?", ","} and inside)) and not wants:
            wants = True
        elif sign == "<" and not wants and not inside:
            groups.append(_Group(number, tuple(group)))
            number, group, wants = None, [], True
        else:
            return None
    return None if wants or inside else [*groups, _Group(number, tuple(group))]


def _whole(text: str, groups: list[_Group], words: tuple[str, ...]) -> Checked:
    """The verdict on a chain of all words."""
    listed, meant = Counter(word for group in groups for word in group.words), Counter(words)
    added, lost = listed - meant, meant - listed
    # "schilling" for "schelling" is a slip of the pen, which people pass.
    if added.total() == lost.total() == 1 and _is_like(min(added), min(lost)):
        return unread(text)
    for other, what in ((added, "is not in the list so often"), (lost, "is missing")):
        if other:
            return fails(text, f"{min(other)} {what}")
    return _ordered(text, groups)


def _is_like(word: str, other: str) -> bool:
    return SequenceMatcher(None, word.lower(), other.lower()).ratio() >= _LIKE


def _ordered(text: str, groups: list[_Group]) -> Checked:
    wrong = [_disorder(groups, key) for key in _CASES]
    if all(wrong):
        return fails(text, wrong[0])
    if any(wrong):
        return unread(text)
    return _numbered(text, groups)


def _disorder(groups: list[_Group], key: Callable[[str], str]) -> str:
    for one, other in pairwise(groups):
        first, second = max(one.words, key=key), min(other.words, key=key)
        if key(first) >= key(second) and first != second:
            return f"{first} comes after {second}"
        if first == second:
            return f"{first} stands twice"
    return ""


def _numbered(text: str, groups: list[_Group]) -> Checked:
    """The numbers of a chain's groups are those of one letter, say the second, of all their words."""
    numbered = [group for group in groups if group.number is not None]
    longest = max((len(word) for group in groups for word in group.words), default=0)
    for key in _CASES:
        for place in range(longest):
            if all(_letter(key(word), place) == group.number for group in numbered for word in group.words):
                return holds(text)
    # A number that is noted wrongly leaves the order right, and people pass it.
    return unread(text)


def _letter(word: str, place: int) -> int | None:
    return ord(word[place]) - ord("a") + 1 if place < len(word) else None
