r"""Answers read into forms: numbers, lists, points, intervals, sets, matrices, relations, named values.

`x = 1, y = 2` is a list of two named values, `\pm 3` a list of two, `x > 2` the interval
of x's values. What cannot be read has no form, and nobody compares it.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass, replace

from verifiers.answers.bases import Based, based
from verifiers.answers.matrices import CLOSE, OPEN, encoded, read_matrix
from verifiers.answers.measures import without_unit
from verifiers.answers.notation import worded
from verifiers.answers.phrases import NOTHING, REALS, notated
from verifiers.answers.series import ANSWER_FUNCTIONS
from verifiers.answers.spelled import spelled
from verifiers.answers.values import symbols_of
from verifiers.expressions.matrices import Matrix
from verifiers.expressions.parser import parse
from verifiers.expressions.tree import Expression, Name, Refused


@dataclass(frozen=True)
class Form:
    """Parts by their brackets: a scalar and a list have none, `(1, 2)` is a point or an interval.

    Brackets may also be `∪` for a union, `matrix` and its shape, `:` for a ratio, or a relation: `=`, `<`.
    """

    brackets: str
    parts: "tuple[Form | Expression | Based, ...]"
    name: str = ""
    """The unknown that the form is the value of."""
    unit: str = ""

    @property
    def scalar(self) -> "Expression | Based | None":
        """The one value that it is, if it is one."""
        return self.parts[0] if not self.brackets and not isinstance(self.parts[0], Form) else None


Same = Callable[[Expression | Based, Expression | Based], bool | None]

_DEEPEST = 8
_MOST_PARTS = 40
"""How deep brackets may nest, and how many items a list may have. Comparing two sets takes the square of the
items, so a long list that a model writes must not slow the grader."""
_BRACKETS = {"(": ")", "[": "]", "{": "}"}
_OPENS, _CLOSES = "([{" + OPEN, ")]}" + CLOSE
_MORE = re.compile(r"\b(?:more|less|each|over|only|both|most|other|none|any|all)\b")
"""Short words that are no product of symbols: `5 or more`."""
_OF_ANGLE = re.compile(r"\\?(?:sin|cos|tan|cot|sec|csc)[^()+-]*$")
r"""`\sin 15^\circ` is a number: its degrees belong to the angle."""
_ARROWED = re.compile(r"\\(?:vec|overrightarrow|mathbf|boldsymbol|bm)\s*\{\s*(\\?[A-Za-z]{1,5})\s*\}")
_CHOOSE = re.compile(r"\{([^{}\\]{1,20})\\choose([^{}\\]{1,20})\}")
_INFINITE = {
    sign + word: f"{'-' if '-' in sign else ''}infinity"
    for sign in ("", "+", "-")
    for word in ("\\infty", "infinity", "inf")
}
"""Ends of intervals. They are names to the parser, since infinity has no value."""
_NAME = r"\\?[A-Za-z]+(?:_(?:\{[^{}]*\}|\w))?'*"
r"""A symbol as answers name it: `x`, `x_1`, `a_{12}`, `\theta`, `f'`."""
# What has a value: a symbol, words, a function of a symbol, a length or a quotient of lengths, a ratio.
_NAMED = re.compile(
    rf"(?:{_NAME}|[A-Za-z][A-Za-z ]*|[A-Za-z](?:'|\^\{{-1\}})*\([A-Za-z](?:,\s*[A-Za-z])*\)|\|[A-Z]{{2}}\|"
    r"|[A-Za-z]\((?:[a-z]\([^()A-Za-z]*\)|[^()A-Za-z]+)\)"
    rf"|\\frac\{{[A-Z]{{2}}\}}\{{[A-Z]{{2}}\}}|{_NAME}\s*:\s*{_NAME})"
)
_TUPLED = re.compile(rf"\(\s*({_NAME}(?:\s*,\s*{_NAME})+)\s*\)\s*(?:=|\\in)\s*([(\[\\].+)", re.DOTALL)
_AND = re.compile(r",?\s(?:and|or)\s|,\s*(?:and|or)\b|(?<=\))(?:and|or)(?=\()|;", re.IGNORECASE)
"""What parts a list as a comma does: `1 and 2`, `1, and 2`, `1; 2`, `(1,2)or(2,1)`."""
# Two words in a row are a sentence, and no product: "no solution", but not "sin x".
_PROSE = re.compile(
    r"(?<![\\A-Za-z])(?!sin|cos|tan|log|ln|pi)[A-Za-z]{2,}\s+(?!sin|cos|tan|log|ln|pi|sqrt)[A-Za-z]{2,}"
)
# One sign a relation. `\left` is no `\le`, and `n!=6` may be a factorial: only after a space it is `≠`.
_RELATIONS = tuple(
    (re.compile(pattern), sign)
    for pattern, sign in (
        (r"\\leq?(?:slant)?(?![A-Za-z])|<=", "≤"), (r"\\geq?(?:slant)?(?![A-Za-z])|>=", "≥"),
        (r"\\lt(?![A-Za-z])", "<"), (r"\\gt(?![A-Za-z])", ">"), (r"\\not\s*=|\\neq?(?![A-Za-z])|\s!=", "≠"),
        (r"\\in(?![A-Za-z])", "∈"), (r"\\(?:approx|simeq)(?![A-Za-z])", "≈"), (r"\\colon(?![A-Za-z])", ":"),
    )
)  # fmt: skip
_TURNED = {"()": "()", "[]": "[]", "[)": "(]", "(]": "[)"}
_MIRRORED = {"<": ">", ">": "<", "≤": "≥", "≥": "≤"}


def read_form(text: str, depth: int = 0) -> Form | None:
    """The form of a tidied answer, or None."""
    if depth > _DEEPEST:
        return None
    text = text.strip().removesuffix(".").strip()
    if depth == 0:
        text = _prepared(text)
    if text == NOTHING:
        return Form("{}", ())
    if text == REALS:
        return Form("()", tuple(Form("", (Name(name),)) for name in ("-infinity", "infinity")))
    # `(x, y) = (1, 2)` must be read before the list is split, which would part it inside `(x, y)`.
    if named := _TUPLED.fullmatch(text):
        return _tupled(named, depth)
    parts = _split(_with_commas(" ".join(text.split())))
    if len(parts) > _MOST_PARTS:
        return None
    if len(parts) > 1:
        joined = [word for word in ("or", "and") if f" {word} " in text]
        return _list("", parts, depth, joined[0] if len(joined) == 1 else "")
    return _one(parts[0].strip(), depth)


def _prepared(text: str) -> str:
    """The whole answer with matrices, relations and words for sets in the notation that is read."""
    if "\\" in text or "=" in text:
        if "\\begin" in text:
            text = encoded(text)
        if "\\choose" in text:
            text = _CHOOSE.sub(r"\\binom{\1}{\2}", text)
        text = _ARROWED.sub(r"\1", text)
        for pattern, sign in _RELATIONS:
            text = pattern.sub(f" {sign} ", text)
    return notated(worded(text))


def _with_commas(text: str) -> str:
    """The words between items as commas; inside brackets they stay, since "or" and "and" say something."""
    out, start, depth = "", 0, 0
    for match in _AND.finditer(text):
        gap = text[start : match.start()]
        depth += sum((c in _OPENS) - (c in _CLOSES) for c in gap)
        out += gap + ("," if depth == 0 else match[0])
        start = match.end()
    return out + text[start:]


def _one(text: str, depth: int) -> Form | None:
    """One value, in brackets or not, or a relation."""
    if any(sign in text for sign in "=<>≤≥≠≈∈") and (found := _relation(text, depth)) is not _NO_RELATION:
        return found
    if operation := _SET_OPERATION.search(text):
        return _combined(text, operation[0], depth)
    if built := _BUILT.fullmatch(text):
        told = read_form(built[2].replace(",", " and ") if " or " not in built[2] else built[2], depth + 1)
        return told if told and told.name == built[1] and is_interval(told) else None
    inner, brackets = text.replace("\\{", "{").replace("\\}", "}").strip(), ""
    parts = [text]
    if inner[:1] in _BRACKETS and inner[-1:] in {")", "]", "}"} and _closes_at_end(inner):
        inner, brackets = inner[1:-1], inner[0] + inner[-1]
        parts = _split(inner)
    # `(3)` is a number in brackets, read with them; `[3]` and `{3}` are a list and a set of one.
    if len(parts) == 1 and brackets in {"", "()"}:
        return _scalar(parts[0] if not brackets else text, depth)
    return _list(brackets, parts, depth) if len(parts) <= _MOST_PARTS else None


_SET_OPERATION = re.compile(r"\\(?:cup|cap|setminus)(?![A-Za-z])")
_SIGNS = {"\\cup": "∪", "\\cap": "∩", "\\setminus": "∖"}
# `\{x \mid x > 3\}`, `\{x \in \mathbb{R} : x > 3\}`: the values of x that are told.
_BUILT = re.compile(
    r"\\?\{\s*([A-Za-z])(?:\s*∈\s*\\mathbb\{R\})?\s*(?:\\mid(?![A-Za-z])|\||:)\s*(.+?)(?:,\s*\1\s*∈\s*\\mathbb\{R\})?\s*\\?\}"
)


def _combined(text: str, operation: str, depth: int) -> Form | None:
    """A union, an intersection or a difference of sets. Several of them need brackets, which are not read."""
    cells = [read_form(part, depth + 1) for part in text.split(operation)[: _MOST_PARTS + 1]]
    sign = _SIGNS[operation]
    if len(cells) > _MOST_PARTS or None in cells or (sign == "∖" and len(cells) != 2):
        return None
    if any(other != operation for other in _SET_OPERATION.findall(text)):
        return None
    return Form(sign, tuple(cell for cell in cells if cell))


def is_interval(form: Form) -> bool:
    """Whether it looks like an interval or what sets of numbers are combined to."""
    return form.brackets in {"()", "[]", "(]", "[)", *_SIGNS.values()}


_NO_RELATION = Form("no relation", ())


def _relation(text: str, depth: int) -> Form | None:
    """A named value, an interval of a name's values, or two sides; `_NO_RELATION` for a sign in brackets."""
    if "≈" in text:
        exact, _, near = text.partition("≈")
        if not exact.strip():
            return _one(near.strip(), depth + 1)
        # `1/3 ≈ 0.33` says 1/3, and `x ≈ 11` x = 11.
        return _one(f"{exact}={near}" if _NAMED.fullmatch(exact.strip()) else exact.strip(), depth + 1)
    for sign in ("∈", "≠"):
        name, found, rest = text.partition(sign)
        if found and _NAMED.fullmatch(name.strip()):
            value = read_form(rest, depth + 1)
            return value and _named(value if sign == "∈" else _without(value), name)
    ordered = [part.strip() for part in _split(text, "<>≤≥", kept=True)]
    sides = [side.strip() for side in _split(text, "=")]
    if len(ordered) > 1:
        return _ordered(ordered, depth) if len(sides) == 1 else None
    if len(sides) < 2 or not all(sides) or not all(map(_balanced, sides)):
        return _NO_RELATION
    return _equal(sides, depth)


def _equal(sides: list[str], depth: int) -> Form | None:
    first, last = read_form(sides[0], depth + 1), read_form(sides[-1], depth + 1)
    if _NAMED.fullmatch(sides[0]):
        # A chain such as `x = 5 + 6 = 11` says 11; `x = y = 2` gives a value to two unknowns: not read.
        between = [read_form(side, depth + 1) for side in sides[1:-1]]
        return (
            last and _named(last, sides[0]) if all(form and _is_constant(form) for form in between) else None
        )
    if first is None or last is None:
        return None
    if _is_constant(first) and _is_constant(last):
        return last
    if len(sides) > 2:
        return None
    if re.fullmatch(_NAME, sides[1]) and _is_constant(first):
        return _named(first, sides[1])
    return Form("=", (first, last))


def _named(form: Form, name: str) -> Form:
    return replace(form, name=re.sub(r"[\s{}\\]", "", name))


def _is_constant(form: Form) -> bool:
    return form.scalar is not None and (isinstance(form.scalar, Based) or not symbols_of(form.scalar))


def _ordered(parts: list[str], depth: int) -> Form | None:
    """`1 < x < 3`, `x > 2` and `2 < x` as the interval of x's values; otherwise the smaller side first."""
    sides, signs = parts[::2], parts[1::2]
    if len(signs) > 2:
        return None
    first, last = read_form(sides[0], depth + 1), read_form(sides[-1], depth + 1)
    if first is None or last is None:
        return None
    if len(signs) == 2:
        if (signs[0] in "<≤") != (signs[1] in "<≤") or not _is_constant(first):
            return None
        brackets = ("[" if signs[0] in "≤≥" else "(") + ("]" if signs[1] in "≤≥" else ")")
        if signs[0] in "<≤":
            return _named(Form(brackets, (first, last)), sides[1])
        return _named(Form(_TURNED[brackets], (last, first)), sides[1])
    name, end, sign = (sides[0], last, signs[0])
    if _is_constant(first):
        name, end, sign = (sides[1], first, _MIRRORED[signs[0]])
    if _NAMED.fullmatch(name) and _is_constant(end):
        infinite = Form("", (Name("infinity" if sign in ">≥" else "-infinity"),))
        closed = sign in "≤≥"
        if sign in ">≥":
            return _named(Form("[)" if closed else "()", (end, infinite)), name)
        return _named(Form("(]" if closed else "()", (infinite, end)), name)
    return Form("≤" if signs[0] in "≤≥" else "<", (first, last) if signs[0] in "<≤" else (last, first))


def _without(value: Form) -> Form:
    """All numbers but these."""
    ends = Form("()", tuple(Form("", (Name(name),)) for name in ("-infinity", "infinity")))
    several = not value.brackets and value.scalar is None
    return Form("∖", (ends, Form("{}", value.parts if several else (value,))))


def _list(brackets: str, parts: list[str], depth: int, joined: str = "") -> Form | None:
    """`joined` is the word between the parts: `x < 1 or x > 3` is a union, `x > 1 and x < 3` has both."""
    found: list[Form] = []
    for part in parts:
        form = read_form(part, depth + 1)
        if form is None:
            return None
        # The two values of a plus-minus are two items of the list.
        several = not form.brackets and not form.name and len(form.parts) > 1
        found += [item for item in form.parts if isinstance(item, Form)] if several else [form]
        if several and brackets == "()":
            return _points(parts, depth)
    names = {form.name for form in found}
    if all(map(is_interval, found)) and len(names) == 1 and not brackets and names != {""}:
        # `x ≠ 1, x ≠ 2` holds together, also where "or" was said.
        without = all(form.brackets == "∖" for form in found)
        if joined or without:
            sign = "∪" if joined == "or" and not without else "∩"
            return Form(sign, tuple(replace(form, name="") for form in found), found[0].name)
    if len(names) == 2 and "" in names and found[0].name and not brackets:
        # `x = 1, 2`: the name is said once for all.
        if any(form.name for form in found[1:]):
            return None
        found = [replace(form, name=found[0].name) for form in found]
    elif "" in names and len(names) > 1 and not brackets:
        return None  # `x, y = 1, 2`
    return Form(brackets, tuple(found))


def _points(parts: list[str], depth: int) -> Form | None:
    r"""`(\pm 1, 0)` as the two points that it is."""
    points = [
        read_form("(" + ",".join(part.replace("\\pm", sign) for part in parts) + ")", depth + 1)
        for sign in "+-"
    ]
    together = sum("\\pm" in part for part in parts) > 1  # the signs may belong together or not
    return None if together or None in points else Form("", tuple(point for point in points if point))


def _scalar(text: str, depth: int) -> Form | None:
    if text.count("\\pm") == 1:
        values = [read_form(text.replace("\\pm", sign), depth + 1) for sign in "+-"]
        return None if None in values else Form("", tuple(value for value in values if value))
    bare = text.replace(" ", "")
    if bare in _INFINITE:
        return Form("", (Name(_INFINITE[bare]),))
    if digits := based(text):
        return Form("", (digits,))
    if ":" in text:
        sides = [read_form(side, depth + 1) for side in text.split(":")]
        return (
            Form(":", tuple(side for side in sides if side)) if all(s and s.scalar for s in sides) else None
        )
    if OPEN in text:
        return _matrix(text, depth)
    text, unit = without_unit(text.strip(" ."))
    if unit == "degree" and _OF_ANGLE.search(text):
        text, unit = f"{text} degrees", ""
    try:
        return Form("", (_expression(text),), unit=unit)
    except Refused:
        return None


def _expression(text: str) -> Expression:
    """The tree of one expression. Raises Refused."""
    if _PROSE.search(text) or _MORE.search(text):
        raise Refused("parse", "words")
    return parse(spelled(text), ANSWER_FUNCTIONS)


def _tupled(match: re.Match[str], depth: int) -> Form | None:
    """`(x, y) = (1, 2)` as the two named values that it says; of several points the points alone."""
    names = [name.strip().replace("\\", "") for name in match[1].split(",")]
    value = read_form(match[2], depth + 1)
    if value is None or (value.parts and not value.brackets) or value.brackets == "{}":
        return value
    if len(value.parts) != len(names) or len(set(names)) < len(names):
        return None
    parts = [
        replace(part, name=name)
        for name, part in zip(names, value.parts, strict=True)
        if isinstance(part, Form)
    ]
    return Form("", tuple(parts)) if len(parts) == len(names) else None


def _matrix(text: str, depth: int) -> Form | None:
    def cell(inside: str) -> Expression | None:
        form = read_form(inside, depth + 1)
        scalar = form.scalar if form and not form.unit and not form.name else None
        return None if isinstance(scalar, Based) else scalar

    found = read_matrix(text, cell, _expression)
    if found is None:
        return None
    if not isinstance(found, Matrix):
        return Form("", (found,))
    return Form(f"matrix {found.shape}", tuple(Form("", (one,)) for one in found.entries()))


def _balanced(text: str) -> bool:
    return sum((c in _OPENS) - (c in _CLOSES) for c in text) == 0


def _closes_at_end(text: str) -> bool:
    depth = 0
    for at, character in enumerate(text):
        depth += (character in _OPENS) - (character in _CLOSES)
        if depth == 0:
            return at == len(text) - 1
    return False


def _split(text: str, signs: str = ",", *, kept: bool = False) -> list[str]:
    """At these signs outside of brackets, which stand between the parts where they are kept."""
    parts, depth, start = [], 0, 0
    for at, character in enumerate(text):
        depth += (character in _OPENS) - (character in _CLOSES)
        if character in signs and depth == 0:
            parts += [text[start:at], character] if kept else [text[start:at]]
            start = at + 1
    return [*parts, text[start:]]
