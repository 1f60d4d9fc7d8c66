"""A number of the problem that a step copies wrongly: "20% of the watermelons are ready", where the problem
says 30% in the same words.

A step's clause is laid over the problem's sentences word by word. It is refuted only where all words agree,
the number stands nowhere before, and no single operation on numbers that do would give it.
"""

import re
from collections.abc import Iterator
from fractions import Fraction
from functools import lru_cache

from verifiers.base import StepContext
from verifiers.calculation.number_provenance import SAID
from verifiers.claims.parsed import LONGEST_STEP, ParsedText
from verifiers.claims.words import HEDGES, NEAR_HEDGES, REFUTES, ROUNDED
from verifiers.expressions.parser import NUMBER

Restated = tuple[tuple[int, int], str]
"""Where a clause stands, and what is to be said of it."""
_Item = str | tuple[Fraction, str]
"""A word's stem; or a number with `$`, `%`, `x` for "times as many", or nothing."""
_Sentences = tuple[tuple[_Item, ...], ...]

_LEAST_WORDS = 2
"""Words beside the number that must agree, prepositions left out."""
_MOST_NUMBERS = 15
"""Numbers stated before; of more some two or three give any number."""
_LONGEST_PROBLEM = 4_000
_ENDS = re.compile(r"[.!?;:](?=\s|$)|\n")
_CLAUSES = re.compile(
    r"[.!?;:,](?=\s|$)|\n"
    r"|\b(?:[Ss]o|[Ss]ince|[Bb]ecause|[Tt]hus|[Tt]herefore|that|where|while|but)\b(?! (?:many|much))"
)
_ITEM = re.compile(rf"(?P<money>\$?)(?P<number>{NUMBER})(?P<percent>%?)|(?P<word>[A-Za-z]+)")
# A sign of a calculation, which others read.
_SIGN = re.compile(r"[=+*/×÷<>^\\]| [-–] |\d ?[xX] ?\d")
_RATIO_WORDS = {"twice": Fraction(2), "thrice": Fraction(3), "half": Fraction(1, 2)}
_DROPPED = frozenset(
    """
a an the this that these those each every all both he she it they his her their its him them we you i is are
was were be been being has have had do does did will can could may also just only s there which who per and
""".split()
)
"""Words that a step may add or leave out; without them the rest must agree in order."""
_SMALL = frozenset("of in to for from by at on as than with into".split())
# After these a thing may have another number than before, or only be supposed to.
_CHANGES = frozenset(
    """
if suppose would should let say instead now new after before another next last remaining left rest other
increase increased decrease decreased discount change changed first second third fourth
""".split()
)
_SUPPOSED = frozenset("if suppose say let would should assume assuming assumed imagine".split())
_DOUBTFUL = HEDGES | REFUTES | ROUNDED | NEAR_HEDGES | _CHANGES
_PAIRS = """
sold sell bought buy spent spend paid pay made make gave give got get took take ate eat drove drive ran run
children child feet foot wrote write went go grew grow caught catch lost lose
""".split()
_IRREGULAR = dict(zip(_PAIRS[::2], _PAIRS[1::2], strict=True))


def restated(context: StepContext) -> tuple[Restated, ...]:
    """The clauses of the last step that tell a number of the problem otherwise."""
    problem, step = context.parsed_problem, context.parsed
    if len(step.text) > LONGEST_STEP or len(problem.text) > _LONGEST_PROBLEM:
        return ()
    if not problem.once(_figures):
        return ()
    figures, ratios = step.once(_alone)
    if not figures and not ratios:
        return ()
    if _are_stated(figures, context) and ratios <= problem.once(_alone)[1]:
        return ()
    found = []
    for span, items, place in step.once(_stated):
        sentences = problem.once(_sentences)
        told = {one for sentence in sentences for one in _laid_over(items, place, sentence)}
        if len(told) == 1 and not _is_known(items[place], sentences, context, span[0]):
            value, kind = _number(items[place])
            really = f"{_shown(told.pop(), kind)}, not {_shown(value, kind)}"
            found.append((span, f"{step.text[slice(*span)].strip()}: the problem says {really}"))
    return tuple(found)


def _are_stated(figures: frozenset[str], context: StepContext) -> bool:
    """Whether the problem or a step before has all of the numbers."""
    if context.whole is None:
        # A table that no other context shares would be made for one look.
        return all(any(said in one.once(_figures) for one in context.parsed_before) for said in figures)
    here, written = context.count, context.whole.once(_written)
    return all(written.get(said, here) < here for said in figures)


def _is_known(item: _Item, sentences: _Sentences, context: StepContext, start: int) -> bool:
    """Whether a number may come from elsewhere than the sentence that it stands in for."""
    value, kind = _number(item)
    if kind == "x":
        # The problem tells it of another thing: "On Monday twice as many, on Tuesday three times as many".
        return any(item in sentence for sentence in sentences)
    here = context.count
    return context.shared.once(_first).get(value, here) < here or _explained(value, kind, context, start)


def _number(item: _Item) -> tuple[Fraction, str]:
    assert not isinstance(item, str)
    return item


def _shown(value: Fraction, kind: str) -> str:
    said = str(value) if value.denominator == 1 else f"{float(value):g}"
    return {"$": f"${said}", "%": f"{said}%", "x": f"{said} times"}.get(kind, said)


def _alone(step: ParsedText) -> tuple[frozenset[str], frozenset[str]]:
    """The numbers of a step that it does not compute with, and the words that tell ratios: a quick look."""
    text = step.text
    figures = frozenset(_ALONE.findall(text))
    if figures:
        figures -= frozenset(_RESULT.findall(text))
    return figures, frozenset(map(str.lower, _RATIOS.findall(text))) if " as " in text else frozenset()


def _written(texts: tuple[ParsedText, ...]) -> dict[str, int]:
    """For each number, as it is written, the first text with it."""
    first: dict[str, int] = {}
    for at, text in enumerate(texts):
        for said in text.once(_figures):
            first.setdefault(said, at)
    return first


def figures_of(parsed: ParsedText) -> frozenset[str]:
    """The numbers of a text as they are written."""
    return parsed.once(_figures)


def _figures(parsed: ParsedText) -> frozenset[str]:
    return frozenset(_FIGURE.findall(parsed.text[:LONGEST_STEP]))


_FIGURE = re.compile(r"[0-9][0-9,.]*[0-9]|[0-9]")
# Most numbers of a step stand beside a sign: they are operands and results.
_ALONE = re.compile(
    rf"(?=[0-9.])(?<![\d.,=+*/×÷^_\\{{(<-])(?<![=+*/×÷-][ $])({NUMBER})(?![\d.,]*\d| ?[-+*/×÷=^])"
)
_RESULT = re.compile(rf"= ?\$?({NUMBER})")
_RATIOS = re.compile(r"(\w+ times|twice|half) as ", re.I)


def _sentences(problem: ParsedText) -> _Sentences:
    """The problem's sentences that state numbers."""
    said = (tuple(_items(sentence)) for _, sentence in _parts(problem.text, _ENDS))
    return tuple(items for items in said if any(isinstance(item, tuple) for item in items))


def _stated(step: ParsedText) -> tuple[tuple[tuple[int, int], tuple[_Item, ...], int], ...]:
    """The clauses of a step that state a number in words alone, and the place of that number."""
    if "?" in step.text or not _STATES.search(step.text):
        return ()
    found = []
    for start, clause in _claimed(step.text):
        if not _STATES.search(clause) or _SIGN.search(clause) or not _DOUBTFUL.isdisjoint(_words(clause)):
            continue
        items = tuple(_items(clause))
        # A thing may come to have another number; what each of several has, or more than another, stays.
        fixed = _EACH.search(clause) is not None
        numbers = [
            at for at, one in enumerate(items) if isinstance(one, tuple) and (fixed or one[1] in {"%", "x"})
        ]
        words = sum(isinstance(item, str) and item not in _SMALL for item in items)
        if words < _LEAST_WORDS or not 0 < len(numbers) < 3:
            continue
        span = (start, start + len(clause))
        for place in numbers:
            # "20% of the 120 watermelons": another number may be added.
            alone = tuple(item for at, item in enumerate(items) if at == place or isinstance(item, str))
            found.append((span, items, place))
            if len(alone) < len(items):
                found.append((span, alone, sum(isinstance(item, str) for item in items[:place])))
    return tuple(found)


_EACH = re.compile(r"\b(?:[Ee]ach|[Ee]very|per|apiece|than)\b")
_STATES = re.compile(r"\d|\b(?:twice|half|times)\b")


def _claimed(text: str) -> Iterator[tuple[int, str]]:
    """The clauses of sentences that suppose nothing."""
    for begin, sentence in _parts(text, _ENDS):
        if _SUPPOSED.isdisjoint(_words(sentence)):
            for start, clause in _parts(sentence, _CLAUSES):
                yield begin + start, clause


def _parts(text: str, ends: re.Pattern[str]) -> Iterator[tuple[int, str]]:
    start = 0
    for mark in ends.finditer(text):
        yield start, text[start : mark.start()]
        start = mark.end()
    yield start, text[start:]


def _words(text: str) -> set[str]:
    return set(re.findall("[a-z]+", text.lower()))


def _items(text: str) -> Iterator[_Item]:
    """What a clause says: stems and numbers in order; "3 times as" and "twice as" are ratios."""
    matches = list(_ITEM.finditer(text))
    for at, match in enumerate(matches):
        after = matches[at + 1]["word"] if at + 1 < len(matches) else None
        if match["number"]:
            kind = "$" if match["money"] else "%" if match["percent"] or after == "percent" else ""
            yield Fraction(match["number"].replace(",", "")), "x" if after == "times" else kind
            continue
        word = match["word"].lower()
        if word in _RATIO_WORDS and after == "as":
            yield _RATIO_WORDS[word], "x"
        elif word in SAID and after == "times":
            yield Fraction(SAID[word]), "x"
        elif word not in _DROPPED and word not in {"times", "percent"}:
            yield _stem(word)


@lru_cache(maxsize=4096)
def _stem(word: str) -> str:
    word = _IRREGULAR.get(word, word)
    for ending in ("ies", "ing", "ed", "es", "s"):
        if word.endswith(ending) and len(word) - len(ending) > 2:
            return word[: -len(ending)].rstrip("eiy")
    return word.rstrip("eiy") if len(word) > 3 else word


def _laid_over(items: tuple[_Item, ...], place: int, sentence: tuple[_Item, ...]) -> Iterator[Fraction]:
    """The numbers of a sentence that stand among the same words."""
    kind = _number(items[place])[1]
    before, after = items[:place], items[place + 1 :]
    for at, item in enumerate(sentence):
        if isinstance(item, tuple) and item[1] == kind and at >= place:
            alike = sentence[at - place : at] == before and sentence[at + 1 : at + 1 + len(after)] == after
            if alike:
                yield item[0]


def _first(texts: tuple[ParsedText, ...]) -> dict[Fraction, int]:
    """For each number that the texts state the first that does."""
    first: dict[Fraction, int] = {}
    for at, text in enumerate(texts):
        for value in text.once(_numbers):
            first.setdefault(value, at)
    return first


def _numbers(parsed: ParsedText) -> frozenset[Fraction]:
    return _numbers_of(parsed.text[:LONGEST_STEP])


def _numbers_of(text: str) -> frozenset[Fraction]:
    numbers = {
        Fraction(match["number"].replace(",", "")) for match in _ITEM.finditer(text) if match["number"]
    }
    return frozenset(numbers | {Fraction(SAID[word]) for word in _words(text) if word in SAID})


_COUNTS = tuple(map(Fraction, (2, 3, 4, 7, 10, 12, 24, 30, 52, 60, 100, 365)))


def _explained(value: Fraction, kind: str, context: StepContext, start: int) -> bool:
    """Whether two operations on numbers stated before, or a count of units, give the value."""
    known = {one for one in _numbers_of(context.step[:start]) if one > 1}
    # The table has the numbers in the order of the texts: only those of texts before are looked at.
    for one, at in context.shared.once(_first).items():
        if at >= context.count or len(known) > _MOST_NUMBERS:
            break
        if one > 1:
            known.add(one)
    if len(known) > _MOST_NUMBERS:
        return True
    once = _combined(known, known)
    if kind == "%":
        shares = {share for a in known | once for share in (100 - a, 100 + a, 100 * a)}
        return value in known | once | shares | {part for a in known for part in (a / 2, 2 * a)}
    scaled = {made for a in known for by in _COUNTS for made in (a * by, a / by, a + 1, a - 1)}
    shares = {a * by / 100 for a in known for b in known for by in (b, 100 - b, 100 + b)}
    return value in once | scaled | shares | _combined(once, known)


def _combined(some: set[Fraction], others: set[Fraction]) -> set[Fraction]:
    return {
        made for a in some for b in others for made in (a + b, a - b, b - a, a * b, a / b, b / a if a else a)
    }
