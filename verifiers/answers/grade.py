"""Compares a solution's final answer with the gold one: equal, different, or a doubt, each with its reason.

Numbers and choices are settled here in microseconds. Expressions are compared by our own forms first. Where
those cannot tell, math-verify is asked in a worker, and only its yes is used: its no may be a misreading.
Even its yes is not used where it is known to call unequal answers equal (units, percent, intervals against
sets, bases, tiny or rounded numbers).
"""

import logging
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import product

from schemas.records import AnswerKind
from verifiers.answers.choices import same_choice, same_words, words_of
from verifiers.answers.extract import LONGEST_ANSWER, extract_answer
from verifiers.answers.forms import Based, divides_in_two_ways, read_form, same_form
from verifiers.answers.measures import Quantity, other_spellings, quantity, same_quantity
from verifiers.answers.notation import SEPARATOR, grouped, squeezed, tidied, worded
from verifiers.expressions.parser import LONGEST
from verifiers.expressions.tree import Expression, Name, Number, Refused, names
from verifiers.expressions.values import exact
from verifiers.isolation.workers import Pool, run_limited

__all__ = ["Grade", "extract_answer", "grade", "grade_any", "same_answer"]


@dataclass(frozen=True, slots=True)
class Grade:
    """Whether an answer equals the gold one, and why that is so or cannot be said."""

    verdict: bool | None
    """None is a doubt. It never counts as a wrong answer."""
    reason: str
    """For people: `equal`, `different`, `no answer found`, `the gold answer cannot be read`, `the answer
    cannot be read`, `too long`, `limit reached: time` (or `memory`, `size`), or `not comparable: ` and what
    stands in the way, such as `number against text`."""

    def __bool__(self) -> bool:
        """Refused, since a doubt is neither: `if grade(...)` would take every answer for a right one."""
        raise TypeError("a grade is yes, no or a doubt: ask for its .verdict")


EQUAL, DIFFERENT = Grade(True, "equal"), Grade(False, "different")
NO_ANSWER = Grade(None, "no answer found")
UNREADABLE_GOLD = Grade(None, "the gold answer cannot be read")
UNREADABLE = Grade(None, "the answer cannot be read")
TOO_LONG = Grade(None, "too long")
_LIMITS = {"timeout": "time", "memory": "memory", "too_large": "size"}
"""The limits of workers and of our own arithmetic, by the names that those give them."""


def grade(gold: str | None, answer: str | None, kind: AnswerKind, *, pool: Pool | None = None) -> Grade:
    """Compare a final answer (see `extract_answer`) with one gold answer, and say why.

    `kind` says how both are read: as a `number` with its unit, an `expression` in LaTeX or plain text, a
    `choice` or `text`. Never raises on any text. Expressions may take 3 seconds in a worker of `pool` (the
    default one, if None); what reaches that limit is a doubt.
    """
    if answer is None or not answer.strip():
        return NO_ANSWER
    if gold is None or not gold.strip():
        return UNREADABLE_GOLD
    if len(answer) > LONGEST_ANSWER or len(gold) > LONGEST_ANSWER:
        return TOO_LONG
    match kind:
        case "choice":
            return _graded(same_choice(gold, answer), "the answer names no one choice")
        case "text":
            return _graded(same_words(gold, answer), "the words may mean the same")
        case _:
            return _same_value(tidied(gold), tidied(answer), kind, pool)


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


def same_answer(gold: str, answer: str | None, kind: AnswerKind, *, pool: Pool | None = None) -> bool | None:
    """The verdict of `grade` without its reason."""
    return grade(gold, answer, kind, pool=pool).verdict


def _graded(verdict: bool | None, doubt: str) -> Grade:
    if verdict is None:
        return Grade(None, f"not comparable: {doubt}")
    return EQUAL if verdict else DIFFERENT


def _stopped(failure: str, otherwise: Grade) -> Grade:
    """The grade where a comparison failed: by a limit that it names, or `otherwise`."""
    limit = _LIMITS.get(failure.partition(":")[0])
    return Grade(None, f"limit reached: {limit}") if limit else otherwise


def _same_value(gold: str, answer: str, kind: AnswerKind, pool: Pool | None) -> Grade:
    if not gold:
        return UNREADABLE_GOLD
    if not answer:
        return NO_ANSWER
    found = _as_spelled(gold, answer, kind, pool)
    if found.verdict is False:
        # 3,5 may be 3.5: a spelling that has another reading refutes nothing which that reading confirms.
        for ours, theirs in product((gold, *other_spellings(gold)), (answer, *other_spellings(answer))):
            if (ours, theirs) != (gold, answer) and _as_spelled(ours, theirs, kind, pool).verdict:
                return _graded(None, "equal if a comma or a point is meant otherwise")
    return found


def _as_spelled(gold: str, answer: str, kind: AnswerKind, pool: Pool | None) -> Grade:
    words = worded(gold), worded(answer)
    # The same characters are the same answer, whatever they mean: most answers end here.
    if squeezed(words[0]) == squeezed(words[1]):
        return EQUAL
    if "!!" in gold or "!!" in answer:
        return _graded(None, "a double factorial, or excitement")
    numbers = [quantity(grouped(text).replace(SEPARATOR, ""), symbols=kind == "expression") for text in words]
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
    # A number that our own parser cannot read is no number: no library is needed to see that.
    return _same_expression(gold, answer, pool, library=kind == "expression", doubt=doubt)


def _same_expression(gold: str, answer: str, pool: Pool | None, *, library: bool, doubt: str) -> Grade:
    """By every reading of the commas: 1,234 may be a number or a list of two.

    `doubt` is the reason of a doubt for which there is no better one.
    """
    sides = [
        [form for reading in dict.fromkeys((grouped(text), text)) if (form := read_form(reading))]
        for text in (gold, answer)
    ]
    if not all(sides):
        unread = _graded(None, doubt) if doubt else UNREADABLE if sides[0] else UNREADABLE_GOLD
        return _second_opinion(gold, answer, pool, unread) if library else unread
    doubts: list[Grade] = []

    def same(a: Expression | Based, b: Expression | Based) -> bool | None:
        found = _same_scalar(a, b, pool)
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


def _why(doubts: Sequence[Grade], doubt: str) -> Grade:
    """The doubt that stands for several: a limit before all others, since another run may not reach it."""
    limits = (found for found in doubts if found.reason.startswith("limit"))
    otherwise = _graded(None, doubt or "answers of another form")
    return next(limits, otherwise if doubt or not doubts else doubts[0])


_NOTHING = re.compile(r"(?:there (?:is|are) )?(?:no (?:real )?solutions?|does not exist|dne|undefined)")
"""Answers that deny that there is a number: against a gold number they are wrong, not unreadable."""
_WORDS = re.compile(r"[A-Za-z][A-Za-z' -]{2,}|[Nn]o")
"""Nothing but words, such as `Monday`: two letters may be a product, `ab`."""
_SENTENCE = re.compile(r"(?<![\\{A-Za-z])[A-Za-z]{2,}\s+[A-Za-z]{2,}|(?<![\\{A-Za-z])[A-Za-z]{5,}")
r"""Words where a number is wanted, such as `I do not know`: no command (`\sqrt`, `\begin{pmatrix}`), and no
product (`abc`)."""


def _same_scalar(gold: Expression | Based, answer: Expression | Based, pool: Pool | None) -> Grade:
    if gold == answer:
        return EQUAL
    if isinstance(gold, Based) or isinstance(answer, Based):
        return _graded(_same_based(gold, answer), "a number whose base is not said")
    if any(isinstance(side, Name) and "infinity" in side.name for side in (gold, answer)):
        # Infinity is no number; against an expression with symbols nobody can tell.
        symbols = names(gold) | names(answer)
        return (
            DIFFERENT
            if all("infinity" in name for name in symbols)
            else _graded(None, "infinity and symbols")
        )
    try:
        values = exact(gold, {}), exact(answer, {})
    except Refused as refusal:
        if refusal.kind in {"irrational", "undefined_symbol"}:
            return _same_values(gold, answer, pool)
        return _stopped(refusal.kind, _graded(None, str(refusal)))
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
    if not isinstance(based, Based) or not isinstance(other, Number):
        return None
    return None if other.value == based.value or other.text == based.digits.lstrip("0") else False


def _same_values(gold: Expression, answer: Expression, pool: Pool | None) -> Grade:
    """By value, with roots and symbols. Imported late: numbers never need the algebra."""
    symbols = names(gold) | names(answer)
    if symbols == {"i"}:
        from verifiers.expressions.imaginary import same_complex

        return _graded(same_complex(gold, answer), "a complex value that is not known")
    if names(gold) != names(answer):
        return _graded(None, "different symbols")
    from verifiers.calculation.identities import judge_identity

    shown = [side.decimals for side in (gold, answer) if isinstance(side, Number)]
    judged = judge_identity(gold, answer, positive=False, pool=pool)
    if judged.verdict == "holds":
        return EQUAL
    if judged.verdict == "abstains":
        return _stopped(judged.code, _graded(None, judged.reason))
    # 1.41 may be the square root of 2, rounded; `i` may be a symbol.
    return _graded(None, "rounding may be the difference") if any(shown) or "i" in symbols else DIFFERENT


_FENCED = re.compile(
    r"[%°!|±$]|\\(?:text|mathrm|ldots|cdots|dots|circ|infty|pm|cup|overline)|\.\.\.|\d\.\d|\^\{?-?\d\d|\d\s*_"
    r"|[A-Za-z]{3,}\s[A-Za-z]{3,}|\d:\d\d|:\d+:|[A-Za-z]\([^()]*\)\s*=|\d(?:\s+|-)\d+/\d"
)
r"""What math-verify drops or reads wrongly, so that its yes is none: units and percent, intervals and unions,
the dots of a sequence, decimals and long exponents, which it compares as floats, `101_2` in a base, words,
clock times and ratios (`1:2:3`), `f(x) = ...`, and mixed numbers such as `1 1/2` or `1-1/2`."""


def _second_opinion(gold: str, answer: str, pool: Pool | None, unread: Grade) -> Grade:
    """Equal where math-verify says so and is not known to err; its "different" is too often wrong.

    `unread` is the grade where it says nothing.
    """
    if max(len(gold), len(answer)) > LONGEST or _outline(gold) != _outline(answer):
        return unread
    if _FENCED.search(gold) or _FENCED.search(answer):
        return unread
    result = run_limited(library_says_equal, (gold, answer), preload="math_verify", pool=pool)
    return EQUAL if result.value else _stopped(result.failure, unread)


def _outline(text: str) -> tuple[int, frozenset[str], str, str]:
    """What the library overlooks: equal signs, which symbols there are, and the outer brackets."""
    symbols = frozenset(re.sub(r"\\[A-Za-z]+|[^A-Za-z]", "", text))
    ends = (re.match(r"\\?[{(\[]", text), re.search(r"\)$|\]$|\\}$", text))
    return text.count("="), symbols, ends[0][0] if ends[0] else "", ends[1][0] if ends[1] else ""


def library_says_equal(gold: str, answer: str) -> bool:
    """math-verify's verdict in both directions. Meant for a worker: it may take for ever."""
    import math_verify

    logging.getLogger("math_verify").setLevel(logging.ERROR)  # it warns that its own time limit is off
    sides = [
        math_verify.parse(text if "$" in text else f"${text}$", parsing_timeout=None, raise_on_error=True)
        for text in (gold, answer)
    ]
    return all(sides) and all(
        bool(math_verify.verify(a, b, timeout_seconds=None)) for a, b in (sides, reversed(sides))
    )
