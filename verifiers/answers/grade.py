"""Compares a solution's final answer with the gold one: equal, different, or a doubt, each with its reason.

Numbers and choices are settled in microseconds. Expressions are read into forms (`verifiers.answers.forms`)
and compared part by part, by their values. No library is asked: on the sampled solutions of MATH math-verify
had no yes to add, and its no may be a misreading.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import permutations, product

from schemas.records import AnswerKind
from verifiers.answers.alike import same_form
from verifiers.answers.bases import Based
from verifiers.answers.choices import same_choice, same_words, words_of
from verifiers.answers.dates import date_of, same_date
from verifiers.answers.extract import LONGEST_ANSWER, extract_answer, read_answer
from verifiers.answers.forms import read_form
from verifiers.answers.measures import Quantity, other_spellings, quantity, same_quantity, slashed
from verifiers.answers.notation import SEPARATOR, grouped, squeezed, tidied, worded
from verifiers.answers.spelled import divides_in_two_ways
from verifiers.answers.times import same_time, time_of
from verifiers.answers.values import near, real_value, same_values, symbols_of
from verifiers.expressions.tree import Binary, Expression, Name, Number, Refused, renamed, walk
from verifiers.expressions.values import exact

__all__ = ["Grade", "extract_answer", "grade", "grade_any", "grade_solution", "read_answer", "same_answer"]


@dataclass(frozen=True, slots=True)
class Grade:
    """Whether an answer equals the gold one, and why that is so or cannot be said."""

    verdict: bool | None
    """None is a doubt. It never counts as a wrong answer."""
    reason: str
    """For people: `equal`, `different`, `no answer found` and why, `the gold answer cannot be read`, `the
    answer cannot be read`, `too long`, `limit reached: size`, or `not comparable: ` and what stands in the
    way, such as `number against text`."""

    def __bool__(self) -> bool:
        """Refused, since a doubt is neither: `if grade(...)` would take every answer for a right one."""
        raise TypeError("a grade is yes, no or a doubt: ask for its .verdict")


EQUAL, DIFFERENT = Grade(True, "equal"), Grade(False, "different")
NO_ANSWER = Grade(None, "no answer found")
UNREADABLE_GOLD = Grade(None, "the gold answer cannot be read")
UNREADABLE = Grade(None, "the answer cannot be read")
TOO_LONG, TOO_LARGE = Grade(None, "too long"), Grade(None, "limit reached: size")
_CLOCK = re.compile(r":\d\d|\d[\d\s}]*(?:\\text\{)?[\s~\\]*[aApP]\.?\s?[mM]\b|\b(?:noon|midnight)\b")
"""What only times of day look like. Most answers are told by it that they are none."""
_RAISED_POINT = re.compile(r"(?<=\d)·(?=\d)")
"""3·4 is a product to most, and 3.4 in British print."""
_UNITS_BELOW = re.compile(
    r"[^A-Za-z]*(?:\\(?:times|cdot)[^A-Za-z]*)?[A-Wa-w]+"  # 3 \times 10^8 m
    r"(?:(?:\^\{?-?\d\}?)? ?(?:\*|\\cdot| ) ?[A-Wa-w]+)+\^\{?-\d\}?"  # *s^{-1}
)
"""A number with several units, the last below the line: 5 m·s⁻¹ is 5 m/s, and 5 where the unit was given."""
_MOST_RENAMED = 3
"""Symbols whose names are exchanged in every way: six for three of them."""


def grade(gold: str | None, answer: str | None, kind: AnswerKind) -> Grade:
    """Compare a final answer (see `extract_answer`) with one gold answer, and say why.

    `kind` says how both are read: as a `number` with its unit, an `expression` in LaTeX or plain text, a
    `choice` or `text`. Never raises on any text. Sizes are bounded before anything is computed; what
    reaches a limit is a doubt.
    """
    if answer is None or not answer.strip():
        return NO_ANSWER
    if gold is None or not gold.strip():
        return UNREADABLE_GOLD
    if len(answer) > LONGEST_ANSWER or len(gold) > LONGEST_ANSWER:
        return TOO_LONG
    if kind != "choice":
        if times := _times(gold, answer):
            return _graded(same_time(*times), "the half of the day is not said")
        if (day := date_of(gold)) and (other := date_of(answer)):
            return _graded(same_date(day, other), "only one of them says the year")
    match kind:
        case "choice":
            return _graded(same_choice(gold, answer), "the answer names no one choice")
        case "text":
            return _graded(same_words(gold, answer), "the words may mean the same")
        case _:
            found = _same_value(tidied(gold), tidied(answer), kind)
            if found.verdict is False and _RAISED_POINT.search(f"{gold} {answer}"):
                ours, theirs = (tidied(_RAISED_POINT.sub(".", text)) for text in (gold, answer))
                if _same_value(ours, theirs, kind).verdict:
                    return _graded(None, "equal if a raised point is a decimal one")
            return found


def grade_any(golds: Iterable[str], answer: str | None, kind: AnswerKind) -> Grade:
    """Compare with each of the accepted answers: equal if one is, different if all differ, else the first
    doubt. Without any accepted answer it is a doubt, too."""
    # A right match ends it; otherwise a doubt outweighs "different", since another accepted answer may be
    # meant.
    found = UNREADABLE_GOLD
    for number, gold in enumerate(golds):
        one = grade(gold, answer, kind)
        if one.verdict:
            return one
        if number == 0 or (found.verdict is False and one.verdict is None):
            found = one
    return found


def grade_solution(golds: Iterable[str], solution: str, kind: AnswerKind) -> Grade:
    """Compare the answer that a whole solution states with each of the accepted ones."""
    found = read_answer(solution)
    if found.answer is None and found.why:
        return Grade(None, f"{NO_ANSWER.reason}: {found.why}")
    return _stated(tuple(golds), found.answer, kind)


@lru_cache(maxsize=1024)
def _stated(golds: tuple[str, ...], answer: str | None, kind: AnswerKind) -> Grade:
    """`grade_any` of an answer that was read, which is never long. The rollouts of a problem state the same
    few answers again and again."""
    return grade_any(golds, answer, kind)


def same_answer(gold: str, answer: str | None, kind: AnswerKind) -> bool | None:
    """The verdict of `grade` without its reason."""
    return grade(gold, answer, kind).verdict


def _times(gold: str, answer: str) -> tuple[tuple[int, bool], tuple[int, bool]] | None:
    """Both as times of day, if both are and one says so: 3:2 and 3:30 may be ratios."""
    if not _CLOCK.search(gold) or not _CLOCK.search(answer):
        return None
    first, second = time_of(worded(tidied(gold))), time_of(worded(tidied(answer)))
    return (first, second) if first and second else None


def _graded(verdict: bool | None, doubt: str) -> Grade:
    if verdict is None:
        return Grade(None, f"not comparable: {doubt}")
    return EQUAL if verdict else DIFFERENT


def _same_value(gold: str, answer: str, kind: AnswerKind) -> Grade:
    if not gold:
        return UNREADABLE_GOLD
    if not answer:
        return NO_ANSWER
    found = _as_spelled(gold, answer, kind)
    if found.verdict is False:
        # 3,5 may be 3.5: a spelling that has another reading refutes nothing which that reading confirms.
        for ours, theirs in product((gold, *other_spellings(gold)), (answer, *other_spellings(answer))):
            if (ours, theirs) != (gold, answer) and _as_spelled(ours, theirs, kind).verdict:
                # Of a gold 3.5, which is sure to be a decimal, 3,5 is another spelling and no list.
                if ours == gold and _DECIMAL.fullmatch(gold) and _DECIMAL_COMMA.fullmatch(answer):
                    return EQUAL
                return _graded(None, "equal if a comma or a point is meant otherwise")
    return found


def _as_spelled(gold: str, answer: str, kind: AnswerKind) -> Grade:
    words = worded(gold), worded(answer)
    # The same characters are the same answer, whatever they mean: most answers end here.
    if squeezed(words[0]) == squeezed(words[1]):
        return EQUAL
    if "!!" in gold or "!!" in answer:
        return _graded(None, "a double factorial, or excitement")
    numbers = [
        quantity(slashed(grouped(text).replace(SEPARATOR, "")), symbols=kind == "expression")
        for text in words
    ]
    if numbers[0] and numbers[1]:
        return _graded(
            same_quantity(numbers[0], numbers[1]),
            "units, unknowns, percent or rounding may be the difference",
        )
    # "No solution" against 5: it denies that there is a number, so it is wrong, not unreadable.
    if numbers[0] and _NOTHING.fullmatch(words_of(answer)):
        return DIFFERENT
    if _WORDS.fullmatch(words[0]) and _WORDS.fullmatch(words[1]) and sorted(words[0]) != sorted(words[1]):
        # The same letters in another order may be a product: xyz, zyx.
        return _graded(same_words(*words), "the words may mean the same")
    if bool(numbers[0]) != bool(numbers[1]) and _SENTENCE.search(words[0] if numbers[1] else words[1]):
        doubt = "number against text" if numbers[0] else "text against number"
    else:
        doubt = ""
    if (
        doubt == ""
        and bool(numbers[0]) != bool(numbers[1])
        and _LETTERS.fullmatch(words[bool(numbers[0])].strip())
    ):
        doubt = "number against text" if numbers[0] else "text against number"
        return _graded(None, doubt)
    found = _same_expression(gold, answer, doubt)
    below = any(number and "^-" in number.unit for number in numbers)
    if found.verdict is False and (below or any(map(_UNITS_BELOW.fullmatch, (gold, answer)))):
        return _graded(None, "a unit below the line")  # 5 m^-1 is 5/m, where m may also be an unknown
    return found


def _same_expression(gold: str, answer: str, doubt: str) -> Grade:
    """By every reading of the commas: 1,234 may be a number or a list of two.

    `doubt` is the reason of a doubt for which there is no better one.
    """
    sides = [
        [form for reading in dict.fromkeys(_spelled_out(text)) if (form := read_form(reading))]
        for text in (gold, answer)
    ]
    if not all(sides):
        return _graded(None, doubt) if doubt else UNREADABLE if sides[0] else UNREADABLE_GOLD
    doubts: list[Grade] = []

    def same(a: Expression | Based, b: Expression | Based) -> bool | None:
        found = _same_scalar(a, b)
        if found.verdict is None:
            doubts.append(found)
        return found.verdict

    # One reading under which both agree is enough: nobody knows which one was meant.
    verdicts = {same_form(ours, theirs, same) for ours, theirs in product(*sides)}
    if True in verdicts:
        return EQUAL
    if None in verdicts:
        return _why(doubts, doubt)
    if divides_in_two_ways(gold) or divides_in_two_ways(answer):
        return _graded(None, "3/4 x is read in two ways")  # and refutes nothing
    return DIFFERENT


def _spelled_out(text: str) -> tuple[str, ...]:
    """An answer with commas for thousands, for lists, and, as `P(5,2)`, with the name of a point."""
    return (grouped(text), text, text[1:].lstrip()) if _LABELLED.fullmatch(text) else (grouped(text), text)


_LABELLED = re.compile(r"[A-Z]\s*\([^()]*,[^()]*\)")


def _why(doubts: Sequence[Grade], doubt: str) -> Grade:
    """The doubt that stands for several: a limit before all others, since another run may not reach it."""
    limits = (found for found in doubts if found.reason.startswith("limit"))
    otherwise = _graded(None, doubt or "answers of another form")
    return next(limits, otherwise if doubt or not doubts else doubts[0])


_DECIMAL = re.compile(r"-?\d+\.(?:\d{1,2}|\d{4,})")
_DECIMAL_COMMA = re.compile(r"-?\d+(?:\.\d{3})*,(?:\d{1,2}|\d{4,})")
"""Not 1.500 nor 1,500, which may be 1500."""
_NOTHING = re.compile(r"(?:there (?:is|are) )?(?:no (?:real )?solutions?|does not exist|dne|undefined)")
"""Answers that deny that there is a number: against a gold number they are wrong, not unreadable."""
_WORDS = re.compile(r"[A-Za-z][A-Za-z' -]{2,}|[Nn]o")
"""Nothing but words, such as `Monday`: two letters may be a product, `ab`."""
_LETTERS = re.compile(r"[A-Za-z]{2,4}")
"""A short word, such as `five`, or a product such as `xy`: nobody knows which."""
_SENTENCE = re.compile(r"(?<![\\{A-Za-z])[A-Za-z]{2,}\s+[A-Za-z]{2,}|(?<![\\{A-Za-z])[A-Za-z]{5,}")
r"""Words where a number is wanted, such as `I do not know`: no command (`\sqrt`, `\begin{pmatrix}`), and no
product (`abc`)."""


def _same_scalar(gold: Expression | Based, answer: Expression | Based) -> Grade:
    if gold == answer:
        return EQUAL
    if isinstance(gold, Based) or isinstance(answer, Based):
        return _graded(_same_based(gold, answer), "a number whose base is not said")
    if any(isinstance(side, Name) and "infinity" in side.name for side in (gold, answer)):
        # Infinity is no number; against an expression with symbols nobody can tell.
        symbols = symbols_of(gold) | symbols_of(answer)
        finite = all("infinity" in name for name in symbols)
        return DIFFERENT if finite else _graded(None, "infinity and symbols")
    try:
        values = exact(gold, {}), exact(answer, {})
    except Refused:
        return _by_values(gold, answer)
    sides = [
        Quantity(value, side.decimals if isinstance(side, Number) else 0)
        for side, value in zip((gold, answer), values, strict=True)
    ]
    return _graded(same_quantity(sides[0], sides[1]), "rounding may be the difference")


def _same_based(gold: Expression | Based, answer: Expression | Based) -> bool | None:
    """Digits of one base are compared. A number without one may be meant in any, or be the value."""
    if isinstance(gold, Based) and isinstance(answer, Based):
        same = gold.value == answer.value
        return same if gold.base == answer.base else None if same else False
    based, other = (gold, answer) if isinstance(gold, Based) else (answer, gold)
    if not isinstance(based, Based) or isinstance(other, Based):
        return None
    if symbols := symbols_of(other):
        return None if all(symbol[0] in "ABCDEF" for symbol in symbols) else False  # D_16 may be 13
    if not isinstance(other, Number):
        value = real_value(other)
        return None if value is None or value == based.value else False
    return None if other.value == based.value or other.text == based.digits.lstrip("0") else False


def _by_values(gold: Expression, answer: Expression) -> Grade:
    """With roots and symbols, by their values."""
    try:
        verdict = same_values(gold, answer)
        if verdict:
            return EQUAL
        if verdict is None:
            return _graded(None, "a value that is not known, or that is read in two ways")
        if _may_be_renamed(gold, answer):
            return _graded(None, "different symbols")
    except Refused as refusal:
        return TOO_LARGE if refusal.kind == "too_large" else _graded(None, str(refusal))
    # 1.41 may be the square root of 2, rounded.
    decimals = [
        side for side in (gold, answer) for node in walk(side) if isinstance(node, Number) and node.decimals
    ]
    return _graded(None, "rounding may be the difference") if decimals and near(gold, answer) else DIFFERENT


def _may_be_renamed(gold: Expression, answer: Expression) -> bool:
    """Whether other names for the unknowns would make one of the other; also a letter that may be a choice,
    a unit or a name, against a number."""
    ours, theirs = sorted(symbols_of(gold)), sorted(symbols_of(answer))
    if ours == theirs:
        return False
    if ["j"] in (ours, theirs) and [] in (ours, theirs):
        # Engineers write j for the imaginary unit.
        gold, answer = renamed(gold, {"j": "i"}), renamed(answer, {"j": "i"})
        return same_values(gold, answer) is not False
    if not ours or not theirs:
        number, other = (gold, answer) if not ours else (answer, gold)
        if isinstance(other, Name):
            return other.name.isupper()
        # `5 m` may be 5 metres.
        if not isinstance(other, Binary) or other.op not in "*·" or not isinstance(other.right, Name):
            return False
        return same_values(number, other.left) is not False
    if isinstance(gold, Name) and isinstance(answer, Name):
        return not (gold.name.isupper() and answer.name.isupper())
    if len(ours) != len(theirs) or len(ours) > _MOST_RENAMED:
        return len(ours) == len(theirs)
    return any(
        same_values(gold, renamed(answer, dict(zip(theirs, order, strict=True)))) is not False
        for order in permutations(ours)
    )
