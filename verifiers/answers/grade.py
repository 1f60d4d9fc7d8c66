r"""Finds the final answer of a solution and compares it with the gold one: True, False, or None for a doubt.

Numbers and choices are settled here in microseconds. Expressions are compared by our own forms first; only
where they cannot tell is math-verify asked, in a worker, and only its yes is used, and only where its known
false equalities (units, percent, intervals against sets, bases, tiny or rounded numbers) are out of the
question.
"""

import logging
import re
from collections.abc import Iterable
from itertools import product

from schemas.records import AnswerKind
from verifiers.answers.choices import same_choice, same_words, words_of
from verifiers.answers.forms import Based, divides_in_two_ways, read_form, same_form
from verifiers.answers.measures import Quantity, other_spellings, quantity, same_quantity
from verifiers.answers.notation import SEPARATOR, grouped, squeezed, tidied, worded
from verifiers.expressions.tree import LONGEST, Expression, Name, Number, Refused, exact, names
from verifiers.isolation.workers import Pool, run_limited

TAIL = 20_000
"""The answer is looked for in the last characters only."""
LONGEST_ANSWER = 1_000

_THOUGHT = re.compile(r"</think(?:ing)?>")
_HASHES = re.compile(r"####(?!#)[ \t]*([^\n]*)")
_ANSWER = re.compile(r"[Aa]nswer|ANSWER")
_SAID = re.compile(
    r"answer(?:[*_`]*(?:[ \t]+(?:to|of|for|in)\b[^.\n:=\\$]{1,60}?)?[ \t]*"
    r"(?:\b(?:is|was|equals|(?:must|should|would|will) be)\b|=)(?:[ \t]*:)?|[*_`]*[ \t]*[:：])"
    r"[*_`]*[ \t]*(?P<said>[^\n]{0,1000})",
    re.IGNORECASE,
)
_HEADED = re.compile(
    r"answer[ \t*_:]*\n\s{0,20}(?:(?:[-•*]|\d{1,2}[.)])[ \t]+)?(?P<said>[^\s][^\n]{0,1000})", re.IGNORECASE
)
_HEADING = re.compile(r"[ \t#*_]*(?:the[ \t]+)?(?:final[ \t]+)?", re.IGNORECASE)
"""What may stand before a heading's "answer"; the next line is the answer."""
_BOXED = re.compile(r"\\(?:f?boxed|fbox)\s*\{")
_BETWEEN = re.compile(
    r"(?:[\s$,;&]|\(?\b[a-e]\)|\\[,;:! ()\[\]]|\\text\{\s*(?:and|or)\s*,?\s*\}|\b(?:and|or)\b)*"
    r"(?:[A-Za-z]\s*=\s*)?\$?"
)
"""What may stand between boxes that hold one answer together."""
_MOST_BETWEEN, _MOST_BOXES = 40, 50
_NAME = re.compile(r"([A-Za-z]\s*=)\s*\$?$")
_SENTENCE_END = re.compile(r"[.](?=\s|$)|!(?=\s+[A-Z])")
_VALUE = re.compile(r"[-+*_`(\[{$€£\s]*(?:\d|\\|\.\d|[A-Za-z]\s*=|[A-Z]\b(?!\s+[a-z])|\()")
"""How a value begins: other words about an answer that was boxed before are a remark on it."""
_ANOTHERS = re.compile(r"(?:\b(?:wrong|incorrect|false|bad)|\w['’]s|s['’])\s+(?:final\s+)?$", re.IGNORECASE)
"""Before "answer": a mistaken one, or somebody's."""
_REMARK = re.compile(
    r"\W*(?:in)?(?:correct|right|wrong|valid|not|also|therefore|thus|then|below)\b", re.IGNORECASE
)

_Stated = tuple[int, str]
"""Where an answer is stated, and the answer."""


def extract_answer(text: str) -> str | None:
    r"""The answer stated last: `#### x`, `\boxed{x}`, "The answer is x", "Answer: x"; None where none is.

    Boxes side by side are one answer. A `####` line of words with more text after it is a heading. What a
    model thought aloud counts only when it says nothing after that.
    """
    text = text[-TAIL:]
    thoughts = list(_THOUGHT.finditer(text)) if "</think" in text else []
    if thoughts and text[thoughts[-1].end() :].strip():
        text = text[thoughts[-1].end() :]
    marked = [found for found in (_boxed(text), _hashed(text)) if found]
    stated = [*marked, *_said(text, beside=bool(marked))]
    return _cleaned(max(stated)[1]) if stated else None


def _cleaned(text: str) -> str | None:
    text = text.strip()
    if text.count("**") == 1 or (text.count("**") == 2 and text[:2] == text[-2:] == "**"):
        text = text.removeprefix("**").removesuffix("**").strip()
    return text[:LONGEST_ANSWER] or None


def _hashed(text: str) -> _Stated | None:
    lines = list(_HASHES.finditer(text)) if "####" in text else []
    if not lines or not lines[-1][1].strip():
        return None
    last = lines[-1]
    begun = text[: last.start()].rpartition("\n")[2].strip(" \t>*#") == ""
    if begun and text[last.end() :].strip():
        worded = re.search(r"[A-Za-z]{2}", re.sub(r"\\[A-Za-z]+", "", last[1]))
        if worded or len(lines) > 1:
            return None  # a heading
    return last.start(), last[1]


def _boxed(text: str) -> _Stated | None:
    """The last box, with those that stand beside it."""
    boxes: list[tuple[int, int, int]] = []  # where the command, its content and the box's last brace begin
    for match in list(_BOXED.finditer(text))[-_MOST_BOXES:] if "box" in text else ():
        depth = 1
        for at in range(match.end(), min(len(text), match.end() + LONGEST_ANSWER)):
            depth += (text[at] == "{") - (text[at] == "}")
            if depth == 0:
                boxes.append((match.start(), match.end(), at))
                break
    if not boxes:
        return None
    run = [boxes[-1]]
    for box in reversed(boxes[:-1]):
        gap = text[box[2] + 1 : run[0][0]]
        if len(gap) > _MOST_BETWEEN or box[2] > run[0][0] or not _BETWEEN.fullmatch(gap):
            break
        run.insert(0, box)
    found = [_named(text, box) for box in run] if len(run) > 1 else [text[boxes[-1][1] : boxes[-1][2]]]
    return boxes[-1][0], ", ".join(dict.fromkeys(found))


def _named(text: str, box: tuple[int, int, int]) -> str:
    r"""A box's content, with the name before it: `x = \boxed{1}`."""
    name = _NAME.search(text[max(0, box[0] - 8) : box[0]])
    return (f"{name[1]} " if name else "") + text[box[1] : box[2]].strip()


def _said(text: str, *, beside: bool) -> list[_Stated]:
    """What sentences and labels say; beside a marked answer only what reads like a value."""
    found = []
    for word in _ANSWER.finditer(text) if "nswer" in text or "NSWER" in text else ():
        match = _SAID.match(text, word.start())
        if match is None or not match["said"]:
            start = text.rfind("\n", 0, word.start()) + 1
            heading = _HEADING.fullmatch(text, start, word.start())
            match = _HEADED.match(text, word.start()) if heading else None
        if match is None or (beside and _ANOTHERS.search(text[max(0, word.start() - 30) : word.start()])):
            continue
        said = _SENTENCE_END.split(match["said"].strip(), maxsplit=1)[0]
        if said.strip("*_` ") and not _REMARK.match(said):
            found.append((match.start(), said))
    values = [(at, said) for at, said in found if _VALUE.match(said)]
    return values or ([] if beside else found)


def grade(gold: str, answer: str | None, kind: AnswerKind, *, pool: Pool | None = None) -> bool | None:
    """Whether the answer equals the gold one. None when there is no answer or it cannot be decided."""
    if answer is None or len(answer) > LONGEST_ANSWER or len(gold) > LONGEST_ANSWER:
        return None
    if not answer.strip() or not gold.strip():
        return None
    match kind:
        case "choice":
            return same_choice(gold, answer)
        case "text":
            return same_words(gold, answer)
        case _:
            return _same_value(tidied(gold), tidied(answer), kind, pool)


def grade_any(golds: Iterable[str], answer: str | None, kind: AnswerKind) -> bool | None:
    """Whether the answer equals one of the accepted ones: True for any of them, False where it differs from
    all, None where that cannot be decided or there are none."""
    verdicts = set[bool | None]()
    for gold in golds:
        verdicts.add(verdict := grade(gold, answer, kind))
        if verdict:
            return True
    return False if verdicts == {False} else None


def _same_value(gold: str, answer: str, kind: AnswerKind, pool: Pool | None) -> bool | None:
    if not gold or not answer:
        return None
    verdict = _as_spelled(gold, answer, kind, pool)
    if verdict is False:
        # 3,5 may be 3.5: a spelling that has another reading refutes nothing which that reading confirms.
        for ours, theirs in product((gold, *other_spellings(gold)), (answer, *other_spellings(answer))):
            if (ours, theirs) != (gold, answer) and _as_spelled(ours, theirs, kind, pool):
                return None
    return verdict


def _as_spelled(gold: str, answer: str, kind: AnswerKind, pool: Pool | None) -> bool | None:
    words = worded(gold), worded(answer)
    if squeezed(words[0]) == squeezed(words[1]):
        return True
    if "!!" in gold or "!!" in answer:
        return None  # a double factorial, or excitement
    numbers = [quantity(grouped(text).replace(SEPARATOR, ""), symbols=kind == "expression") for text in words]
    if numbers[0] and numbers[1]:
        return same_quantity(numbers[0], numbers[1])
    if numbers[0] and _NOTHING.fullmatch(words_of(answer)):
        return False
    if _WORDS.fullmatch(words[0]) and _WORDS.fullmatch(words[1]) and sorted(words[0]) != sorted(words[1]):
        return same_words(*words)  # the same letters in another order may be a product: xyz, zyx
    # A number that our own parser cannot read is no number: no library is needed to see that.
    return _same_expression(gold, answer, pool, library=kind == "expression")


def _same_expression(gold: str, answer: str, pool: Pool | None, *, library: bool) -> bool | None:
    """By every reading of the commas: 1,234 may be a number or a list of two."""
    sides = [
        [form for reading in dict.fromkeys((grouped(text), text)) if (form := read_form(reading))]
        for text in (gold, answer)
    ]
    if not all(sides):
        return _second_opinion(gold, answer, pool) if library else None

    def same(a: Expression | Based, b: Expression | Based) -> bool | None:
        return _same_scalar(a, b, pool)

    verdicts = {same_form(ours, theirs, same) for ours, theirs in product(*sides)}
    if True in verdicts:
        return True
    # 3/4 x is read in two ways, and refutes nothing.
    return None if None in verdicts or divides_in_two_ways(gold) or divides_in_two_ways(answer) else False


_NOTHING = re.compile(r"(?:there (?:is|are) )?(?:no (?:real )?solutions?|does not exist|dne|undefined)")
_WORDS = re.compile(r"[A-Za-z][A-Za-z' -]{2,}|[Nn]o")


def _same_scalar(gold: Expression | Based, answer: Expression | Based, pool: Pool | None) -> bool | None:
    if gold == answer:
        return True
    if isinstance(gold, Based) or isinstance(answer, Based):
        return _same_based(gold, answer)
    if any(isinstance(side, Name) and "infinity" in side.name for side in (gold, answer)):
        # Infinity is no number; against an expression with symbols nobody can tell.
        symbols = names(gold) | names(answer)
        return False if all("infinity" in name for name in symbols) else None
    try:
        values = exact(gold, {}), exact(answer, {})
    except Refused as refusal:
        if refusal.kind not in {"irrational", "undefined_symbol"}:
            return None
        verdict = _same_values(gold, answer, pool)
    else:
        sides = [
            Quantity(value, side.decimals if isinstance(side, Number) else 0)
            for side, value in zip((gold, answer), values, strict=True)
        ]
        verdict = same_quantity(sides[0], sides[1])
    return verdict


def _same_based(gold: Expression | Based, answer: Expression | Based) -> bool | None:
    """Digits of one base are compared. A number without one may be meant in any, or be the value."""
    if isinstance(gold, Based) and isinstance(answer, Based):
        same = gold.value == answer.value
        return same if gold.base == answer.base else None if same else False
    based, other = (gold, answer) if isinstance(gold, Based) else (answer, gold)
    if not isinstance(based, Based) or not isinstance(other, Number):
        return None
    return None if other.value == based.value or other.text == based.digits.lstrip("0") else False


def _same_values(gold: Expression, answer: Expression, pool: Pool | None) -> bool | None:
    """By value, with roots and symbols. Imported late: numbers never need the algebra."""
    symbols = names(gold) | names(answer)
    if symbols == {"i"}:
        from verifiers.expressions.imaginary import same_complex

        return same_complex(gold, answer)
    if names(gold) != names(answer):
        return None
    from verifiers.calculation.algebra import judge_identity

    shown = [side.decimals for side in (gold, answer) if isinstance(side, Number)]
    verdict = judge_identity(gold, answer, positive=False, pool=pool).verdict
    if verdict == "holds":
        return True
    return False if verdict == "fails" and not any(shown) and "i" not in symbols else None


_FENCED = re.compile(
    r"[%°!|±$]|\\(?:text|mathrm|ldots|cdots|dots|circ|infty|pm|cup|overline)|\.\.\.|\d\.\d|\^\{?-?\d\d|\d\s*_"
    r"|[A-Za-z]{3,}\s[A-Za-z]{3,}|\d:\d\d|:\d+:|[A-Za-z]\([^()]*\)\s*=|\d(?:\s+|-)\d+/\d"
)


def _second_opinion(gold: str, answer: str, pool: Pool | None) -> bool | None:
    """True where math-verify says equal and is not known to err; its "different" is too often wrong."""
    if max(len(gold), len(answer)) > LONGEST or _outline(gold) != _outline(answer):
        return None
    if _FENCED.search(gold) or _FENCED.search(answer):
        return None
    result = run_limited(library_says_equal, (gold, answer), preload="math_verify", pool=pool)
    return True if result.value else None


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
