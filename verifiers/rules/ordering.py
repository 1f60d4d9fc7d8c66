"""Puzzles that put objects in a row: which places the statements leave to each object.

All orders that the problem's statements allow are listed. A placement fails if none of them has it. It holds
only if it follows from the statements that the solution has cited so far: a true placement that nothing said
so far leads to is a guess, and gets no verdict.
"""

import re
from collections.abc import Callable, Iterable
from itertools import permutations
from typing import NamedTuple

from verifiers.calculation.checked import GIVEN, Checked
from verifiers.claims.parsed import ParsedText
from verifiers.rules.spoken import (
    ANSWER,
    ORDINALS,
    Judged,
    Texts,
    fails,
    holds,
    is_readable,
    nothing,
    options_of,
    sentences_of,
    unread,
)

Order = tuple[str, ...]
Test = Callable[[Order], bool]
_MOST = 7
"""Objects; of more there are too many orders."""
# Ends of the row: the first of a pair is the beginning. "Newer" is nearer to it than "older".
_SCALES = {
    "left": False, "right": True, "leftmost": False, "rightmost": True,
    "newest": False, "oldest": True, "newer": False, "older": True,
    "most expensive": False, "least expensive": True, "more expensive": False, "less expensive": True,
    "cheapest": True, "cheaper": True, "above": False, "below": True, "first": False, "last": True,
}  # fmt: skip
_COUNTS = "|".join(ORDINALS)
_OBJECTS = re.compile(r"^- .*?:\s*(.+?)\.\s*$", re.M)
_STATEMENT = re.compile(r"^- (?!.*:)(.+?)\.?\s*$", re.M)
_COMPARED = re.compile(
    r"(.+?) (?:(?:is|are|must be) (?:to the )?(left|right|newer|older|more expensive|less expensive|cheaper)"
    r"(?: of| than)|finished (above|below)) (.+)"
)
_ENDS = r"newest|oldest|most expensive|least expensive|cheapest|leftmost|rightmost"
_PLACE = (
    rf"(?:the )?(?:(?:(?P<count>{_COUNTS})[- ])?(?P<end>{_ENDS})"
    rf"|(?P<from>{_COUNTS}) from the (?P<side>left|right)|(?P<back>second|third)-to-last"
    rf"|(?P<at>{_COUNTS}|last))"
)
_NOUN = r"(?: (?:fruit|vehicle|bird|book|golfer|object)s?)?"
_PLACED = re.compile(rf"(.+?) (?:is|are|must be|finished|must have finished) {_PLACE}{_NOUN}")
_NAMED = re.compile(rf"(?:the )?{_PLACE}{_NOUN} (?:is|are|must be) (.+)")
_EXCLUDED = re.compile(rf"(.+?) (?:cannot be|can't be|cannot finish|cannot have finished) {_PLACE}{_NOUN}")
_FROM = re.compile(r"(?:so,? )?from (?P<low>[a-z ]+?) to (?P<high>[a-z ]+?): (?P<clauses>.+)", re.I)
_LEAD = re.compile(
    r"(?:so|thus|therefore|hence|and|then|according to (?:this|our|the) ordering|by process of elimination"
    r"|we (?:previously )?(?:concluded|know|also know)(?: that)?),?\s+",
    re.I,
)
_FREE = re.compile(r"(?:(?:can|could|may) be|is|are) (?:an unknown|unknown|any)\b")
# "second can be the truck or the bus", "sixth or seventh is the plums", "third is not Mel".
_CLAUSE = re.compile(
    rf"(?:then )?((?:{_COUNTS})(?: or (?:{_COUNTS}))?) (is|must be|are|can be|could be|is not|cannot be) "
    r"(.+)",
    re.I,
)


class _Row(NamedTuple):
    objects: tuple[str, ...]
    statements: dict[str, Test]
    orders: tuple[Order, ...]
    """Those that all statements allow."""
    options: dict[str, str]


def judged(texts: Texts) -> Judged:
    """The verdicts on the placements and comparisons of each step."""
    row = texts[0].once(_row) if is_readable(texts) else None
    if row is None:
        return nothing(texts)
    reader = _Reader(row)
    return tuple(tuple(reader.step(sentences_of(text.text))) for text in texts[1:])


def _row(parsed: ParsedText) -> _Row | None:
    """The objects with what is said of them, where all of it is understood and some order is left."""
    problem = parsed.text
    listed = _OBJECTS.findall(problem)
    if len(listed) != 1 or len(problem) > 4_000:
        return None
    objects = tuple(_bare(part) for part in re.split(r",? and |, ", listed[0]))
    if not 2 < len(set(objects)) == len(objects) <= _MOST:
        return None
    said = _STATEMENT.findall(problem)
    tests = [_test(statement, objects) for statement in said]
    known = [test for test in tests if test]
    if not known or len(known) != len(said):
        return None
    orders = tuple(order for order in permutations(objects) if all(test(order) for test in known))
    statements = dict(zip(map(_bare, said), known, strict=True))
    return _Row(objects, statements, orders, options_of(problem)) if orders else None


def _bare(text: str) -> str:
    return re.sub(r"^(?:the|an?) ", "", " ".join(text.lower().strip(" .").split()))


def _object(text: str, objects: Iterable[str]) -> str | None:
    bare = _bare(text)
    return bare if bare in objects else None


def _test(text: str, objects: tuple[str, ...]) -> Test | None:
    """What a sentence says of an order; None where it is not understood."""
    text = " ".join(text.lower().split())
    if match := _COMPARED.fullmatch(text):
        first, second = _object(match[1], objects), _object(match[4], objects)
        if first is None or second is None or first == second:
            return None
        later = _SCALES[match[2] or match[3]]
        return lambda order: (order.index(first) > order.index(second)) == later
    if match := _EXCLUDED.fullmatch(text):
        placed = _is_at(_object(match[1], objects), _place(match, len(objects)))
        return placed and (lambda order: not placed(order))
    for pattern, which in ((_PLACED, 1), (_NAMED, -1)):
        if match := pattern.fullmatch(text):
            named = _object(match[1] if which == 1 else match.groups()[-1], objects)
            return _is_at(named, _place(match, len(objects)))
    return None


def _is_at(one: str | None, at: int | None) -> Test | None:
    return None if one is None or at is None else lambda order: order[at] == one


def _place(match: re.Match[str], size: int) -> int | None:
    """The place, from 0, that words such as "the second-newest" mean."""
    if match["back"]:
        at = size - 1 - ORDINALS.index(match["back"])
    elif match["at"]:
        at = size - 1 if match["at"] == "last" else ORDINALS.index(match["at"])
    else:
        count = match["count"] or match["from"]
        at = ORDINALS.index(count) if count else 0
        at = size - 1 - at if _SCALES[match["end"] or match["side"]] else at
    return at if 0 <= at < size else None


class _Reader:
    """Goes through a solution and collects the statements that it has cited."""

    def __init__(self, row: _Row) -> None:
        self._row = row
        self._left = tuple(permutations(row.objects))
        """The orders that the statements cited so far allow."""

    def step(self, sentences: list[str]) -> list[Checked]:
        found: list[Checked] = []
        for sentence in sentences:
            if match := ANSWER.fullmatch(sentence):
                found += self._answer(sentence, self._row.options.get(match["option"].upper(), ""))
            elif match := _FROM.fullmatch(_stripped(sentence)):
                found += self._clauses(match)
            else:
                for part in re.split(r",? so |, and (?=we )", sentence):
                    found += self._part(_stripped(part))
        return found

    def _part(self, text: str) -> list[Checked]:
        cited = self._row.statements.get(_bare(text))
        if cited:
            self._left = tuple(filter(cited, self._left))
            return [Checked("holds", f"{text}: as stated")]
        test = _test(text, self._row.objects)
        if test is not None:
            return [self._decided(text, test)]
        mentioned = any(re.search(rf"\b{re.escape(one)}\b", text.lower()) for one in self._row.objects)
        return [unread(text)] if mentioned else []

    def _answer(self, text: str, option: str) -> list[Checked]:
        test = _test(option, self._row.objects)
        return [self._decided(text, test)] if test else []

    def _decided(self, text: str, test: Test) -> Checked:
        if not any(map(test, self._row.orders)):
            return fails(text, "no order that the statements allow has it")
        if all(map(test, self._left)):
            return holds(text)
        return Checked("abstains", f"{text[:300]}: does not follow from what was cited so far", "context")

    def _clauses(self, match: re.Match[str]) -> list[Checked]:
        backwards = _direction(match["low"], match["high"])
        if backwards is None:
            return [unread(match[0])]
        found: list[Checked] = []
        for clause in re.split(r",? then |; ", match["clauses"]):
            found += self._clause(clause.strip(" ,."), backwards=backwards)
        return found

    def _clause(self, clause: str, *, backwards: bool) -> list[Checked]:
        size = len(self._row.objects)
        ordinals = re.findall(rf"\b({_COUNTS})\b", clause.lower())
        beyond = next((one for one in ordinals if ORDINALS.index(one) >= size), None)
        if beyond:
            return [fails(clause, f"there are {size} objects, and no {beyond}")]
        if _FREE.search(clause.lower()):
            return [Checked("abstains", f"{clause}: left open", GIVEN)]
        match = _CLAUSE.fullmatch(clause)
        named = [_object(part, self._row.objects) for part in match[3].split(" or ")] if match else [None]
        if match is None or None in named:
            return [unread(clause)]
        places = [ORDINALS.index(one) for one in match[1].lower().split(" or ")]
        places = [size - 1 - at for at in places] if backwards else places
        denied = match[2].lower() in {"is not", "cannot be"}
        checked = self._decided(clause, lambda order: any(order[at] in named for at in places) != denied)
        # "Can be" leaves out what else it can be, which may be right.
        is_open = checked.verdict == "holds" and match[2].lower() in {"can be", "could be"}
        return [unread(clause) if is_open else checked]


def _stripped(text: str) -> str:
    text = text.strip(" .,")
    while match := _LEAD.match(text):
        text = text[match.end() :]
    return text


def _direction(low: str, high: str) -> bool | None:
    """Whether a row is told from its end to its beginning; None where its ends are not understood."""
    low, high = low.strip().lower(), high.strip().lower()
    if low in {"most", "least"}:
        low = f"{low} {high.partition(' ')[2]}"
    first, last = _SCALES.get(low), _SCALES.get(high)
    return first if first is not None and last is not None and first != last else None
