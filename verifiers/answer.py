r"""Finds the final answer of a solution and compares it with the gold one: True, False, or None for a doubt.

Numbers and choices are settled here in microseconds. Expressions are compared by our own forms first; only
where they cannot tell is math-verify asked, in a worker, and only its yes is used, and only where its known
false equalities (units, percent, intervals against sets, tiny or rounded numbers) are out of the question.
"""

import logging
import re
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction

from schemas.records import AnswerKind
from verifiers.expressions import NUMBER, Expression, Name, Number, Refused, exact, names, parse
from verifiers.latex import to_plain
from verifiers.limits import Pool, run_limited

TAIL = 20_000
"""The answer is looked for in the last characters only."""
LONGEST_ANSWER = 1_000

_HASHES = re.compile(r"####[ \t]*([^\n]*)")
_SAID = re.compile(r"(?i)\banswer\s+is\s*:?\s*([^\n]*)")
_BOXED = re.compile(r"\\f?boxed\s*\{")
_SENTENCE_END = re.compile(r"[.!](?=\s|$)")


def extract_answer(text: str) -> str | None:
    r"""The last `#### x`, else the last `\boxed{x}`, else the last "The answer is x"; else None."""
    text = text[-TAIL:]
    if hashes := _HASHES.findall(text):
        return _cleaned(hashes[-1])
    if (boxed := _last_boxed(text)) is not None:
        return _cleaned(boxed)
    if said := _SAID.findall(text):
        return _cleaned(_SENTENCE_END.split(said[-1].replace("**", ""))[0])
    return None


def _cleaned(text: str) -> str | None:
    return text.strip()[:LONGEST_ANSWER] or None


def _last_boxed(text: str) -> str | None:
    found = None
    for match in _BOXED.finditer(text):
        depth = 1
        for at in range(match.end(), min(len(text), match.end() + LONGEST_ANSWER)):
            depth += (text[at] == "{") - (text[at] == "}")
            if depth == 0:
                found = text[match.end() : at]
                break
    return found


def grade(gold: str, answer: str | None, kind: AnswerKind, *, pool: Pool | None = None) -> bool | None:
    """Whether the answer equals the gold one. None when there is no answer or it cannot be decided."""
    if answer is None or not answer.strip() or not gold.strip():
        return None
    if len(answer) > LONGEST_ANSWER or len(gold) > LONGEST_ANSWER:
        return None
    match kind:
        case "choice":
            return _choice(gold) == _choice(answer)
        case "text":
            return _words(gold) == _words(answer)
        case _:
            numbers = _quantity(gold), _quantity(answer)
            if numbers[0] is not None and numbers[1] is not None:
                return _same_quantity(numbers[0], numbers[1])
            if _NOTHING.fullmatch(_words(answer)) and numbers[0] is not None:
                return False
            # A number that our own parser cannot read is no number: no library is needed to see that.
            return _same_expression(gold, answer, pool, library=kind == "expression")


_NOTHING = re.compile(r"(?:there (?:is|are) )?(?:no (?:real )?solutions?|does not exist|dne|undefined)")


def _words(text: str) -> str:
    text = re.sub(r"\\(?:text|mathrm|textbf)\{([^{}]*)\}", r"\1", text)
    return " ".join(re.sub(r"[\s$*`\"'.,;:!?]+", " ", text).casefold().split())


def _choice(text: str) -> str:
    """`(B)`, `B.`, `B) 12` and `b` are the same choice."""
    words = _words(text)
    letter = re.match(r"\(?([a-j])(?:\)|\]|$)", words)
    return letter[1] if letter else words


_NOT_UNITS = frozenset(
    {
        "million",
        "billion",
        "thousand",
        "hundred",
        "dozen",
        "k",
        "and",
        "or",
        "to",
        "times",
        "plus",
        "minus",
        "x",
    }
)
_QUANTITY = re.compile(
    rf"(?:[A-Za-z]\s*=\s*)?(?P<number>[-−]?\s?(?:{NUMBER})(?:\s*/\s*\d+)?)\s*(?P<percent>%)?\s*"
    r"(?P<unit>[A-Za-z][A-Za-z .]*)?\.?"
)
_UNWRAPPED = re.compile(r"\\(?:text|mathrm|textbf|mbox)\{([^{}]*)\}")
_DEGREES = re.compile(r"\s*\^\s*(?:\{\s*\\circ\s*\}|\\circ)|\s*°")
_SPACES = re.compile(r"\\[,;:! ]|~")
_SURE_DEGREES = 10
"""From here on an angle without a unit is meant in degrees, where the other side says so."""
_TRIM = str.maketrans("", "", "$€£*`")


@dataclass(frozen=True)
class _Quantity:
    value: Fraction
    decimals: int
    percent: bool
    unit: str


def _quantity(text: str) -> _Quantity | None:
    plain = _DEGREES.sub(" degrees ", _UNWRAPPED.sub(r"\1", text))
    plain = _SPACES.sub(" ", plain).translate(_TRIM).replace("\\%", "%").replace("\\", "").strip()
    match = _QUANTITY.fullmatch(plain)
    if match is None:
        return None
    unit = (match["unit"] or "").strip(" .").lower()
    if set(unit.split()) & _NOT_UNITS:
        return None
    digits = re.sub(r"[\s,]", "", match["number"]).replace("−", "-")
    top, _, bottom = digits.partition("/")
    if bottom and int(bottom) == 0:
        return None
    value = Fraction(top) / int(bottom or 1)
    return _Quantity(value, len(top.partition(".")[2]), match["percent"] is not None, unit)


def _same_quantity(gold: _Quantity, answer: _Quantity) -> bool | None:
    units = {_singular(unit) for unit in (gold.unit, answer.unit) if unit}
    if gold.percent != answer.percent:
        # 28% against 28 or 0.28: equal for one reader and not for another.
        alike = gold.value in {answer.value, answer.value * 100, answer.value / 100}
        return None if alike else False
    if gold.value == answer.value:
        # 90 degrees against 90: below a full turn and a half of radians nobody can tell.
        unsure = units == {"degree"} and gold.unit != answer.unit and abs(gold.value) < _SURE_DEGREES
        return True if len(units) < 2 and not unsure else None
    return None if len(units) > 1 or _rounded(gold, answer) or _rounded(answer, gold) else False


def _singular(unit: str) -> str:
    return unit[:-1] if unit.endswith("s") and len(unit) > 2 else unit


def _rounded(coarse: _Quantity, fine: _Quantity) -> bool:
    """Whether a decimal is the other value with fewer digits; nobody can tell whether that was allowed."""
    more = (fine.value * 10**coarse.decimals).denominator != 1
    return more and coarse.decimals > 0 and abs(coarse.value - fine.value) < Fraction(1, 10**coarse.decimals)


@dataclass(frozen=True)
class _Form:
    """An answer by its brackets: a scalar has none, `(1, 2)` is a point or an interval, `{1, 2}` a set."""

    brackets: str
    parts: "tuple[_Form | Expression, ...]"


_DEEPEST = 8
_BRACKETS = {"(": ")", "[": "]", "{": "}"}


def _form(text: str, depth: int = 0) -> _Form | None:
    if depth > _DEEPEST:
        return None
    text = text.strip().strip("$").replace("\\left", "").replace("\\right", "")
    text = re.sub(r"\\\{", "{", re.sub(r"\\\}", "}", text)).strip().removesuffix(".")
    text = re.sub(r"^[A-Za-z]\s*=(?!=)", "", text).strip()
    if _MATRIX.fullmatch(text) or "\\cup" in text or "\\pm" in text:
        return _compound(text, depth + 1)
    if text.replace(" ", "") in _INFINITE:
        return _Form("", (Name(_INFINITE[text.replace(" ", "")]),))
    inner, brackets = text, ""
    if len(text) > 1 and text[0] in _BRACKETS and text[-1] in ")]}" and _closes_at_end(text):
        inner, brackets = text[1:-1], text[0] + text[-1]
    parts = _split(inner.replace("{,}", ""))
    if len(parts) == 1 and brackets in {"", "()"}:
        try:
            return _Form("", (parse(to_plain(text)),))
        except Refused:
            return None
    forms = [_form(part, depth + 1) for part in parts]
    if any(form is None for form in forms):
        return None
    return _Form(brackets, tuple(form for form in forms if form is not None))


_MATRIX = re.compile(r"\\begin\{([pbv]?matrix)\}(.*)\\end\{\1\}", re.DOTALL)
_INFINITE = {
    sign + word: f"{'-' if '-' in sign else ''}infinity"
    for sign in ("", "+", "-")
    for word in ("\\infty", "∞")
}


def _compound(text: str, depth: int) -> _Form | None:
    """A matrix by rows, a union of intervals, or the two values of a plus-minus."""
    matrix = _MATRIX.fullmatch(text)
    if matrix:
        rows = [
            [_form(cell, depth) for cell in row.split("&")]
            for row in re.split(r"\\\\", matrix[2])
            if row.strip()
        ]
        cells = [cell for row in rows for cell in row]
        shape = f"matrix {len(rows)} {[len(row) for row in rows]}"
    elif text.count("\\pm") == 1:
        cells = [_form(text.replace("\\pm", sign), depth) for sign in "+-"]
        shape = ""
    else:
        cells, shape = [_form(part, depth) for part in text.split("\\cup")], "∪"
    found = tuple(cell for cell in cells if cell is not None)
    return _Form(shape, found) if len(found) == len(cells) else None


def _closes_at_end(text: str) -> bool:
    depth = 0
    for at, character in enumerate(text):
        depth += (character in "([{") - (character in ")]}")
        if depth == 0:
            return at == len(text) - 1
    return False


def _split(text: str) -> list[str]:
    """At commas outside brackets, except before three digits: 1,234 is one number."""
    parts, depth, start = [], 0, 0
    for at, character in enumerate(text):
        depth += (character in "([{") - (character in ")]}")
        if character == "," and depth == 0 and not re.match(r"(?<=\d),\d{3}(?!\d)", text[at:]):
            parts.append(text[start:at])
            start = at + 1
    return [*parts, text[start:]]


def _same_expression(gold: str, answer: str, pool: Pool | None, *, library: bool) -> bool | None:
    if re.sub(r"\s+", "", gold) == re.sub(r"\s+", "", answer):
        return True
    forms = _form(gold), _form(answer)
    if forms[0] is None or forms[1] is None:
        return _second_opinion(gold, answer, pool) if library else None
    return _same_form(forms[0], forms[1], lambda a, b: _same_scalar(a, b, pool))


def _same_form(
    gold: _Form, answer: _Form, same: Callable[[Expression, Expression], bool | None]
) -> bool | None:
    if gold.brackets != answer.brackets:
        return False if _unlike_intervals(gold, answer) else None
    if len(gold.parts) != len(answer.parts):
        return False
    verdicts = [
        _same_form(a, b, same) if isinstance(a, _Form) and isinstance(b, _Form)
        else None if isinstance(a, _Form) or isinstance(b, _Form) else same(a, b)
        for a, b in zip(gold.parts, answer.parts, strict=True)
    ]  # fmt: skip
    if all(verdicts):
        return True
    if gold.brackets in {"{}", "", "∪"} and len(gold.parts) > 1:
        return _same_set(gold, answer, same)
    return False if any(verdict is False for verdict in verdicts) else None


def _unlike_intervals(gold: _Form, answer: _Form) -> bool:
    """Whether both are intervals, told by an infinite end, that include their ends differently."""
    return all(
        len(form.parts) == 2
        and any(
            isinstance(p, _Form) and isinstance(p.parts[0], Name) and "infinity" in p.parts[0].name
            for p in form.parts
        )
        for form in (gold, answer)
    )


def _same_set(
    gold: _Form, answer: _Form, same: Callable[[Expression, Expression], bool | None]
) -> bool | None:
    """Each part has its partner. Order is not part of a set, and rarely of a list."""
    left = [part for part in answer.parts if isinstance(part, _Form)]
    doubt = False
    for part in gold.parts:
        verdicts = [_same_form(part, other, same) if isinstance(part, _Form) else None for other in left]
        if True in verdicts:
            left.pop(verdicts.index(True))
        elif None in verdicts:
            doubt = True
        else:
            return False
    return None if doubt else True


def _same_scalar(gold: Expression, answer: Expression, pool: Pool | None) -> bool | None:
    if gold == answer:
        return True
    if any(isinstance(side, Name) and "infinity" in side.name for side in (gold, answer)):
        # Infinity is no number; against an expression with symbols nobody can tell.
        symbols = names(gold) | names(answer)
        return False if all("infinity" in name for name in symbols) else None
    try:
        values = exact(gold, {}), exact(answer, {})
    except Refused as refusal:
        return (
            _same_values(gold, answer, pool) if refusal.kind in {"irrational", "undefined_symbol"} else None
        )
    quantities = [
        _Quantity(value, side.decimals if isinstance(side, Number) else 0, False, "")
        for side, value in zip((gold, answer), values, strict=True)
    ]
    return _same_quantity(quantities[0], quantities[1])


def _same_values(gold: Expression, answer: Expression, pool: Pool | None) -> bool | None:
    """By value, with roots and symbols. Imported late: numbers never need the algebra."""
    if names(gold) != names(answer):
        return None
    from verifiers.algebra import judge_identity

    shown = [side.decimals for side in (gold, answer) if isinstance(side, Number)]
    verdict = judge_identity(gold, answer, positive=False, pool=pool).verdict
    if verdict == "holds":
        return True
    return False if verdict == "fails" and not any(shown) else None


_FENCED = re.compile(
    r"[%°!|±]|\\(?:text|mathrm|ldots|cdots|dots|circ|infty|pm|cup|overline)|\.\.\.|\d\.\d|\^\{?-?\d\d|[A-Za-z]{3,}\s[A-Za-z]{3,}"
)


def _second_opinion(gold: str, answer: str, pool: Pool | None) -> bool | None:
    """True where math-verify says equal and is not known to err; its "different" is too often wrong."""
    ends = {(text.strip(" $")[:1], text.strip(" $")[-1:]) for text in (gold, answer)}
    if _FENCED.search(gold) or _FENCED.search(answer) or gold.count("=") != answer.count("="):
        return None
    if len(ends) > 1 and any(bracket in "".join(map("".join, ends)) for bracket in "[](){}"):
        return None
    result = run_limited(library_says_equal, (gold, answer), preload="math_verify", pool=pool)
    return True if result.value else None


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
