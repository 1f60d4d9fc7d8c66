r"""Replies that speak of every step: a verdict a step (`per_step`), or all wrong steps (`all_errors`).

A verdict a step stands in a line with the step's number (`Paragraph 2: incorrect`), or after an analysis
below a heading (`### Paragraph 2`, then `Verdict: incorrect` or `\boxed{incorrect}`), or in a bare list.
Where a step has several, the last counts; where steps are gone through twice, the last time counts.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

from pipeline.annotators.boxes import BACK, Box, boxed, boxes, is_review, repeats
from pipeline.annotators.json_replies import json_and_rest, json_of, keyed
from pipeline.annotators.verdicts import TWO, Reading, tail_of
from pipeline.annotators.wording import (
    FAULT,
    NONE,
    UNIT,
    called_wrong,
    calls,
    plain,
    sentences,
    value_of,
)
from schemas.reasoning import UNCLOSED

# Signs too: ✗ ✘ ❌ and ✓ ✔ ✅.
_WRONG = (
    r"(?:not\s+(?:correct|right|valid|true|accurate|sound)|incorrect|wrong|invalid|inaccurate|erroneous|flawed|faulty|"
    r"unsound|false|"
    r"\u2717|\u2718|\u274c)"
)
_RIGHT = (
    r"(?:correct|right|valid|true|accurate|sound|fine|ok(?:ay)?|error-free|no\s+errors?|"
    r"\u2713|\u2714\ufe0f?|\u2705)"
)
# Behind a verdict a sentence ends or gives its reason: "correct, as", and no "right triangle".
_ENDS = r"(?=\s*(?:$|[.!,;:()\]}|\u2014\u2013\u2192]|\s-+\s)|\s+(?:because|since|as|and|but|except|though)\b)"
_VERDICT = rf"(?P<verdict>{_WRONG}|{_RIGHT})(?!\w){_ENDS}"
_LABEL = (
    r"(?:(?:my|the|final|overall|step)\s+)*"
    r"(?:verdict|judge?ment|conclusion|assessment|result|status|label|correctness|evaluation|answer)"
)
# What stands before a step's name: list signs, brackets, pictures; but no sign of a calculation.
_SIGNS = r"(?:[^\w=/^$.,\\]|=>|\[x\]){0,12}"
_BOX = r"(?:is\s+)?(?:\\f?boxed\s*\{\s*)?"
# `Paragraph 2: incorrect`, `Step 3 is correct`, `Verdict for paragraph 1: right`, `2. wrong`, `| 0 | right`.
# A number alone is a step's only as in a list or a table: "24 is correct" speaks of a result.
_NUMBERED = re.compile(
    rf"{_SIGNS}(?:\d{{1,3}}[.)]\s+(?={UNIT}\b))?(?:(?:so|thus|therefore|hence),?\s+)?(?:{_LABEL}\s*(?:for|of|on|[:=])?\s*)?"
    rf"(?:{UNIT}\s*[#(]?(?P<number>\d{{1,4}})\)?(?:\s*[:.)|=\-\u2013\u2014\u2192>]+\s*|\s+(?=is\b))|"
    rf"[#(]?(?P<listed>\d{{1,4}})\s*[:.)|]+\s*)(?:{_LABEL}\s*[:=]\s*)?{_BOX}{_VERDICT}",
    re.IGNORECASE,
)
# `Paragraph 2`, `3. Paragraph 2:`, `In paragraph 2: ...`; and `Step 3: Review paragraph 2`, where the reply
# counts its own steps from 1.
_CHECKS = (
    r"(?:(?:check|review|analy[sz]|examin|verif|evaluat|inspect|assess|consider)(?:e|y|ing|ying)?|"
    r"(?:look|turn|mov)(?:e|ing)?\s+(?:at|to|on\s+to))"
)
_HEADING = re.compile(
    rf"{_SIGNS}(?:\d{{1,3}}[.)]\s*)?(?:step\s*\d{{1,3}}\s*[:.(\-\u2014]+\s*(?={_CHECKS}\s|paragraph))?"
    rf"(?:(?:in|for|at|on|now|next|then|regarding|{_CHECKS})\b,?\s+(?:the\s+)?(?:\w+\s+of\s+)?)?{UNIT}\s*#?(?P<number>\d{{1,4}})\b"
    rf"(?P<other>[^\d\n]{{0,60}}\bparagraph\s*#?\d)?",
    re.IGNORECASE,
)
# Below a heading: `Verdict: correct`, `\boxed{correct}`, `This paragraph is correct.`
_MARKED = re.compile(
    rf"(?:\b{_LABEL}\s*[:=]\s*{_BOX}|\\f?boxed\s*\{{\s*|\b(?:this|the)\s+{UNIT}\s+is\s+(?:therefore\s+|thus\s+)?)"
    rf"{_VERDICT}",
    re.IGNORECASE,
)
_ALONE = re.compile(
    rf"(?:^|[.!?:]\s)\s*(?:(?:so|thus|therefore|hence),?\s+)?"
    rf"(?:(?:this|it|that)\s+is\s+(?:(?:therefore|thus|indeed|also)\s+)?)?{_VERDICT}[\s.!]*$",
    re.IGNORECASE,
)
"""A line, or its last sentence, that is nothing but a verdict: "Correct.", "So this is wrong.\""""
_IS_WRONG = re.compile(_WRONG, re.IGNORECASE)
# "Correct, but the unit is missing" is neither.
_BUT = re.compile(
    r"[\s,;.!})]*\b(?:but|except|however|although|though)\b|[\s,;]*\b(?:only|if|unless|up to)\b",
    re.IGNORECASE,
)


class _Mark(NamedTuple):
    """A verdict on a step: its number as the reply counts, whether it is right (None: it does not say), and
    where it ends."""

    number: int
    right: bool | None
    end: int
    form: int = 2
    """2: with the number in its line; 1: with a label or in a box; 0: a sentence, perhaps about a part."""


def read_per_step(reply: str, n_steps: int, counts_from: int = 0) -> Reading:
    """Read a reply of a verdict a step, in their order.

    What follows the first `wrong` does not count; right are all only where each is called so.
    """
    said = tail_of(reply)
    if said is None:
        return Reading(None, UNCLOSED)
    value, rest = json_and_rest(said)
    marks = _of_json(value, counts_from)
    text = plain(rest if marks else said)
    if not marks:
        marks = _last_pass(list(_marks(text, counts_from)), counts_from)
    if marks is None:
        return Reading(None, "its verdicts are not in the order of the steps")
    if not marks:
        marks = [_Mark(i, right, len(text)) for i, right in enumerate(_listed(text), counts_from)]
    if not marks:
        return Reading(None, "it is no list of verdicts")
    at = next((i for i, mark in enumerate(marks) if mark.right is not True), None)
    if at is not None and marks[at].right is None:
        return Reading(None, "it is not sure of a step")
    first = NONE if at is None else at
    if first >= n_steps or (at is None and len(marks) != n_steps):
        return Reading(None, "it does not have a verdict for every step")
    against = _contradicted(text[marks[-1].end :], first, counts_from) or (
        # "Paragraph 0: wrong. Hold on ...": what comes then may be said in other words.
        at is not None and BACK.search(text, marks[at].end)
    )
    return Reading(None, TWO) if against else Reading(first)


def _marks(text: str, counts_from: int) -> Iterator[_Mark]:
    current: int | None = None
    start = 0
    for line in text.split("\n"):
        end = start + len(line)
        numbered = _NUMBERED.match(line[:400])
        if numbered:
            current = int(numbered["number"] or numbered["listed"])
            yield _Mark(current, _right(numbered, line), end)
        elif heading := _HEADING.match(line[:100]):
            number = int(heading["number"])
            # "Paragraph 1 gave 5", said of paragraph 3, or "Step 3, that is paragraph 2": whose verdict
            # follows cannot be told.
            in_order = current is None or number in (counts_from, current, current + 1)
            current = number if in_order and not heading["other"] else None
        line = line[-400:]
        found = None if numbered else [*_MARKED.finditer(line), *_ALONE.finditer(line)]
        if found and current is not None:
            yield _Mark(current, _right(found[-1], line), end, int(found[-1].re is _MARKED))
        start = end + 1


def _right(match: re.Match[str], line: str) -> bool | None:
    return None if _BUT.match(line, match.end()) else not _IS_WRONG.fullmatch(match["verdict"])


def _last_pass(marks: Sequence[_Mark], counts_from: int) -> list[_Mark] | None:
    """The marks of the last time that the steps were gone through; None where they are in disorder: nobody
    can tell then which step a verdict is for."""
    found: list[_Mark] = []
    for mark in marks:
        if found and mark.number == found[-1].number:
            # After "Verdict: correct" a sentence "This is wrong." may be about the next step, whose heading
            # was not understood.
            doubtful = mark.right != found[-1].right and mark.form < 2 and found[-1].form
            found[-1] = mark._replace(right=None) if doubtful else mark
        elif mark.number == counts_from:
            found = [mark]
        elif found and mark.number == found[-1].number + 1:
            found.append(mark)
        # After the first wrong step a reply may come back to it, or name others.
        elif not any(one.right is False for one in found) or any(
            one.number == mark.number and one.right != mark.right for one in found
        ):
            return None
    return found


def _contradicted(after: str, first: int, counts_from: int) -> bool:
    """Whether what follows the verdicts names another first error."""
    meant = first if first == NONE else first + counts_from
    told = [said.number for said in (*sentences(after), *boxes(after)) if said.number is not None]
    return any(number != meant for number in told)


_MARK = re.compile(r"\b(right|wrong|correct|incorrect)\b", re.IGNORECASE)
_LISTED = re.compile(r"\W*(?:\w+\W+)?(?:(?:right|wrong|correct|incorrect)\W*)+|\W*", re.IGNORECASE)
"""A piece of a list without numbers: a word for what the step is about, and its mark; or marks alone."""
_BOXED = re.compile(rf"{_VERDICT}\W*", re.IGNORECASE)


def _listed(text: str) -> list[bool]:
    """The verdicts of a list without numbers, or of boxes one for each step in any language."""
    held = [_BOXED.fullmatch(box.inner.strip()) for box in boxed(text) if box.inner]
    if held and all(held):
        return [not _IS_WRONG.fullmatch(match["verdict"]) for match in held if match]
    if not all(map(_LISTED.fullmatch, re.split(r"[,.;\n]", text))):
        return []
    return [mark.lower() in ("right", "correct") for mark in _MARK.findall(text)]


def _of_json(value: Any, counts_from: int) -> list[_Mark] | None:
    """Verdicts of a JSON reply: `[1, 0]`, `{"steps": [{"verdict": "correct"}, ...]}`; None without any, or
    where they are in disorder."""
    if isinstance(value, dict):
        lists = [held for held in value.values() if isinstance(held, list)]
        value = lists[0] if len(lists) == 1 else None
    if not isinstance(value, list):
        return None
    marks = []
    for number, item in enumerate(value, counts_from):
        for own in keyed(item, "paragraph|step|index|number|id"):
            found = own if isinstance(own, int) else value_of(str(own)[:100])
            if found != number:
                return None
        names = "verdict|label|judge?ment|correctness|result|assessment|correct|is_correct|conclusion"
        said = next(keyed(item, names), item)
        word = _BOXED.fullmatch(str(said).strip("*_` \n")[:40])
        if isinstance(said, bool | int) and said in (0, 1):
            marks.append(_Mark(number, bool(said), 0))
        elif word:
            marks.append(_Mark(number, not _IS_WRONG.fullmatch(word["verdict"]), 0))
        else:
            return None
    return marks


# All wrong steps


_ITEM = rf"(?:{UNIT}\s*)?(?:no\.?\s*)?#?\d{{1,4}}"
_AND = r"(?:\s*[,;&]\s*(?:and\s+)?|\s+and\s+)"
_NUMBERS = re.compile(
    rf"(?:(?:in|at)\s+)?[\[({{\s]*{_ITEM}(?:(?:{_AND}|\s+){_ITEM})*[\])}}\s.]*", re.IGNORECASE
)
_LIST = rf"{UNIT}\s*#?\d{{1,4}}(?:{_AND}{_ITEM})*"
# "Paragraphs 1 and 3 contain errors", "I found mistakes in paragraphs 1, 3 and 4"
_CALLS = re.compile(
    rf"\b({_LIST})\s+(?:is|are|contains?|has|have|makes?)\s+(?:\w+\s+){{0,2}}?{FAULT}s?\b|"
    rf"\b(?:errors?|mistakes?|flaws?)\s+(?:(?:is|are|occurs?|lies?)\s+)?(?:in|at)\s+({_LIST})",
    re.IGNORECASE,
)
_NO_NUMBERS = re.compile(r"[\[({\s]+[\])}\s]*|\\emptyset|\\varnothing|\u2205", re.IGNORECASE)
_LAST_LINE = re.compile(
    rf"[^\w\-]*(?:(?:my|the|final|all)\s+)*(?:(?:wrong|incorrect|erroneous)(?:\s+{UNIT})?|"
    rf"(?:errors?|mistakes?)(?:\s+in)?(?:\s+{UNIT})?|verdict|{UNIT}\s+with\s+errors?)\s*(?:[:=]|is|are)\s*(.+)",
    re.IGNORECASE,
)
_KEYS = (
    r"(?:all_)?(?:errors?|mistakes?|wrong|incorrect|erroneous)"
    r"(?:_(?:steps?|paragraphs?|ind(?:ex|exes|ices)))?"
)


def read_all_errors(reply: str, n_steps: int, counts_from: int = 0) -> Reading:
    """Read a reply that names every wrong step, or says that there is none (CAPO, arXiv 2508.02298)."""
    said = tail_of(reply)
    if said is None:
        return Reading(None, UNCLOSED)
    text = plain(said)
    found, before, after = _named(said, text)
    if found is None:
        return Reading(None, "it names no steps, and does not say that there is no error")
    if not is_review(before + after):
        return Reading(None, "it solves the problem instead of reviewing the solution")
    wrong = {number - counts_from for number in found}
    if not all(0 <= step < n_steps for step in wrong):
        return Reading(None, "it names a step that the solution does not have")
    told = {number for one in sentences(after) if (number := one.number) is not None}
    against = (called_wrong(after) | told) - found - (set() if found else {NONE})
    if BACK.search(after) or against:
        return Reading(None, TWO)
    return Reading(min(wrong, default=NONE), wrong=frozenset(wrong))


def _named(said: str, text: str) -> tuple[set[int] | None, str, str]:
    """The numbers of the steps that a reply calls wrong, as it counts; what stands before and after them."""
    value = json_of(said)
    for listed in keyed(value, _KEYS) if isinstance(value, dict) else [value]:
        if isinstance(listed, list) and (numbers := _integers(listed)) is not None:
            return numbers, "", ""
    if held := list(boxed(text)):
        begin = max(i for i, box in enumerate(held) if not (i and box.beside))
        found = _boxed_numbers(held[begin:])
        if found and len(found) == 1 and repeats(min(found), text, held[-1].at):
            found = None  # the last result, and perhaps the answer of the problem
        return found, text[: held[begin].at], text[held[-1].end :]
    *lines, last = text.strip().split("\n")
    if match := _LAST_LINE.fullmatch(last.strip()[:400]):
        return _listed_numbers(match[1]), "\n".join(lines), ""
    return _called(text), text, ""


def _boxed_numbers(side_by_side: Sequence[Box]) -> set[int] | None:
    r"""The numbers in the last box, and in those right beside it: `\boxed{1}, \boxed{2}`."""
    found = [None if box.inner is None else _listed_numbers(box.inner) for box in side_by_side]
    known = [numbers for numbers in found if numbers is not None]
    # "No error" beside a number is two verdicts.
    if len(known) < len(found) or len(set(map(bool, known))) > 1:
        return None
    return set().union(*known)


def _called(text: str) -> set[int] | None:
    """The steps that the sentences of a reply call wrong; empty where all they say is that there is no
    error."""
    said = list(sentences(text))
    found, told = called_wrong(text), {one.number for one in said}
    for called in calls(text, _CALLS):
        found |= {int(number) for number in re.findall(r"\d+", called[1] or called[2])}
    if told == {NONE} and not found:
        # Numbers after it may be a list of errors that was not understood.
        return None if re.search(r"\d", text[said[-1].at :]) else set()
    # Another verdict beside them, or second thoughts: which of them holds?
    return found if found and told <= {min(found)} and not BACK.search(text) else None


def _integers(values: Iterable[Any]) -> set[int] | None:
    found = set()
    for one in values:
        number = one if type(one) is int else value_of(one) if isinstance(one, str) else None
        if number is None or number < 0:
            return None
        found.add(number)
    return found


def _listed_numbers(inner: str) -> set[int] | None:
    inner = inner[:400].replace("\\{", "").replace("\\}", "").replace("\\", " ").strip(" \t\n.;,")
    if not inner or _NO_NUMBERS.fullmatch(inner) or inner in ("emptyset", "varnothing"):
        return set()
    if value_of(inner) == NONE:
        return set()
    if not _NUMBERS.fullmatch(inner):
        return None
    return {int(number) for number in re.findall(r"\d{1,4}", inner)}
