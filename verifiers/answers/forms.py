r"""Answers of more than one number, read into forms: lists, points, intervals, sets, matrices, named values.

`x = 1, y = 2` is a list of two named values, `101_2` a number in a base, `\pm 3` a list of two. What cannot
be read has no form, and nobody compares it.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass

from verifiers.answers.notation import SEPARATOR, worded
from verifiers.expressions.latex import to_plain
from verifiers.expressions.parser import parse
from verifiers.expressions.tree import FUNCTIONS, Expression, Name, Refused


@dataclass(frozen=True)
class Based:
    """Digits in a stated base."""

    digits: str
    base: int

    @property
    def value(self) -> int:
        """What they stand for."""
        return int(self.digits, self.base)


@dataclass(frozen=True)
class Form:
    """Parts by their brackets: a scalar and a list have none, `(1, 2)` is a point or an interval."""

    brackets: str
    parts: "tuple[Form | Expression | Based, ...]"
    name: str = ""
    """The unknown that the form is the value of."""


Same = Callable[[Expression | Based, Expression | Based], bool | None]

_DEEPEST = 8
_MOST_PARTS = 40
"""How deep brackets may nest, and how many items a list may have. Comparing two sets takes the square of the
items, so a long list that a model writes must not slow the grader."""
_BRACKETS = {"(": ")", "[": "]", "{": "}"}
_MATRIX = re.compile(r"\\begin\{([pbv]?matrix)\}(.*)\\end\{\1\}", re.DOTALL)
_INFINITE = {
    sign + word: f"{'-' if '-' in sign else ''}infinity"
    for sign in ("", "+", "-")
    for word in ("\\infty", "infinity", "inf")
}
"""Ends of intervals. They are names to the parser, since infinity has no value."""
_NAME = r"\\?[A-Za-z]+(?:_(?:\{[^{}]*\}|\w))?'*"
r"""A symbol as answers name it: `x`, `x_1`, `a_{12}`, `\theta`, `f'`."""
_NAMED = re.compile(rf"({_NAME}|[A-Za-z][A-Za-z ]*)\s*=\s*(.+)", re.DOTALL)
_TUPLED = re.compile(rf"\(\s*({_NAME}(?:\s*,\s*{_NAME})+)\s*\)\s*=\s*(\(.+\))", re.DOTALL)
_AND = re.compile(r",?\s(?:and|or)\s|;", re.IGNORECASE)
"""What parts a list as a comma does: `1 and 2`, `1, and 2`, `1; 2`."""
_BASES = {"two": 2, "three": 3, "four": 4, "five": 5, "six": 6, "seven": 7, "eight": 8, "nine": 9, "ten": 10}
# `101_2`, `101_{two}`, `(1A)_{16}`, `101 base 2`, `101 (base 2)`.
_BASED = re.compile(
    r"\(?(?P<digits>[0-9A-Fa-f]{1,200})\)?\s*(?:_|\(?\s*(?=base))\s*[({\s]*(?:base\s*)?(?P<base>\d{1,2}|[a-z]{3,5})[)}\s]*"
)
_SCIENTIFIC = re.compile(r"(?<![\w.])(\d+(?:\.\d+)?)[eE]([-+]?\d{1,3})(?![\w.])")
"""`1.5e-3`; not `2e`, which is twice the number e."""
# Two words in a row are a sentence, and no product: "no solution", but not "sin x".
_PROSE = re.compile(r"(?!sin|cos|tan|log|ln|pi)[A-Za-z]{2,}\s+[A-Za-z]{2,}")
_LETTERS = re.compile(r"(?<![A-Za-z_])[A-Za-z]{2,4}(?![A-Za-z_])")
"""Up to four letters in a row are a product of symbols, `xyz`; longer ones are a word."""


def read_form(text: str, depth: int = 0) -> Form | None:
    """The form of a tidied answer, or None."""
    if depth > _DEEPEST:
        return None
    text = text.strip().removesuffix(".").strip()
    if _MATRIX.fullmatch(text) or "\\cup" in text:
        return _compound(text, depth + 1)
    # `(x, y) = (1, 2)` must be read before the list is split, which would part it at the comma inside `(x,
    # y)`.
    if named := _TUPLED.fullmatch(text):
        return _tupled(named, depth)
    parts = _split(_AND.sub(",", " ".join(worded(text).split())))
    if len(parts) > _MOST_PARTS:
        return None
    if len(parts) > 1:
        return _list("", parts, depth)
    # One equals sign only: `x = y = 2` gives a value to two unknowns.
    if text.count("=") == 1 and (single := _NAMED.fullmatch(parts[0])):
        value = read_form(single[2], depth + 1)
        return value and Form(value.brackets, value.parts, re.sub(r"[\s{}\\]", "", single[1]))
    inner, brackets = parts[0].replace("\\{", "{").replace("\\}", "}").strip(), ""
    if inner[:1] in _BRACKETS and inner[-1:] in {")", "]", "}"} and _closes_at_end(inner):
        inner, brackets = inner[1:-1], inner[0] + inner[-1]
        parts = _split(inner)
    # `(3)` is a number in brackets, read with them; `[3]` and `{3}` are a list and a set of one.
    if len(parts) == 1 and brackets in {"", "()"}:
        return _scalar(parts[0] if not brackets else text, depth)
    return _list(brackets, parts, depth)


def _list(brackets: str, parts: list[str], depth: int) -> Form | None:
    found: list[Form] = []
    for part in parts:
        form = read_form(part, depth + 1)
        if form is None:
            return None
        # The two values of a plus-minus are two items of the list.
        several = not form.brackets and not form.name and len(form.parts) > 1
        found += [item for item in form.parts if isinstance(item, Form)] if several else [form]
    names = {form.name for form in found}
    if len(names) == 2 and "" in names and found[0].name and not brackets:
        # `x = 1, 2`: the name is said once for all.
        if any(form.name for form in found[1:]):
            return None
        found = [Form(form.brackets, form.parts, found[0].name) for form in found]
    return Form(brackets, tuple(found))


def _scalar(text: str, depth: int) -> Form | None:
    if text.count("\\pm") == 1:
        values = [read_form(text.replace("\\pm", sign), depth + 1) for sign in "+-"]
        return None if None in values else Form("", tuple(value for value in values if value))
    bare = text.replace(" ", "")
    if bare in _INFINITE:
        return Form("", (Name(_INFINITE[bare]),))
    if based := _based(text):
        return Form("", (based,))
    # The separator stands where a comma parted thousands: `1,000` is one number here.
    text = _SCIENTIFIC.sub(r"(\1*10^(\2))", text.replace(SEPARATOR, ""))
    text = to_plain(text)
    if _PROSE.search(text):
        return None
    try:
        return Form("", (parse(_LETTERS.sub(_product, text)),))
    except Refused:
        return None


def _product(match: re.Match[str]) -> str:
    """Letters without a sign are factors: `xy` is `x y`."""
    word = match[0]
    return word if word in FUNCTIONS or word == "pi" else " ".join(word)


def _based(text: str) -> Based | None:
    match = _BASED.fullmatch(text.replace(SEPARATOR, "")) if "_" in text or "base" in text else None
    if match is None:
        return None
    base = _BASES.get(match["base"]) or (int(match["base"]) if match["base"].isdigit() else 0)
    digits = match["digits"]
    # A digit is required, so that the subscript of `x_1` or `AB_2` is not read as a base.
    if not 2 <= base <= 36 or not any(digit.isdigit() for digit in digits):
        return None
    return Based(digits, base) if all(int(digit, 36) < base for digit in digits) else None


def _tupled(match: re.Match[str], depth: int) -> Form | None:
    """`(x, y) = (1, 2)` as the two named values that it says."""
    names = [name.strip().replace("\\", "") for name in match[1].split(",")]
    value = read_form(match[2], depth + 1)
    if value is None or len(value.parts) != len(names) or len(set(names)) < len(names):
        return None
    parts = [
        Form(part.brackets, part.parts, name)
        for name, part in zip(names, value.parts, strict=True)
        if isinstance(part, Form)
    ]
    return Form("", tuple(parts)) if len(parts) == len(names) else None


def _compound(text: str, depth: int) -> Form | None:
    """A matrix by rows, or a union of intervals."""
    matrix = _MATRIX.fullmatch(text)
    if matrix:
        rows = [
            [read_form(cell, depth) for cell in row.split("&")]
            for row in re.split(r"\\\\", matrix[2])
            if row.strip()
        ]
        cells = [cell for row in rows for cell in row]
        shape = f"matrix {len(rows)} {[len(row) for row in rows]}"
    else:
        cells, shape = [read_form(part, depth) for part in text.split("\\cup")], "∪"
    found = tuple(cell for cell in cells if cell is not None)
    return Form(shape, found) if len(found) == len(cells) else None


def _closes_at_end(text: str) -> bool:
    depth = 0
    for at, character in enumerate(text):
        depth += (character in "([{") - (character in ")]}")
        if depth == 0:
            return at == len(text) - 1
    return False


def _split(text: str) -> list[str]:
    """At commas outside brackets."""
    parts, depth, start = [], 0, 0
    for at, character in enumerate(text):
        depth += (character in "([{") - (character in ")]}")
        if character == "," and depth == 0:
            parts.append(text[start:at])
            start = at + 1
    return [*parts, text[start:]]


_GROUP = r"\((?:[^()]|\([^()]*\))*\)"
# A slash, one factor, and another factor straight behind it: `3/4 x`, `1/2(a+b)`, but not `3/4 and x`.
_BARE_DIVISION = re.compile(
    rf"/\s*(?:\d[\d.]*|[A-Za-z]*{_GROUP}|[A-Za-z])(?:\s*\^\s*(?:\w+|{_GROUP}))?\s*(?!(?:and|or)\b)[A-Za-z(]"
)


def divides_in_two_ways(text: str) -> bool:
    """Whether a slash stands before a product without a sign, as in `3/4 x`, or `1/3 %`."""
    if "%" in text and ("/" in text or "frac" in text):
        return True
    return "/" in text and bool(_BARE_DIVISION.search(to_plain(text)))


def same_form(gold: Form, answer: Form, same: Same) -> bool | None:
    """Whether two forms say the same, with `same` for their scalars. None for a doubt."""
    assigned = _assigned(gold), _assigned(answer)
    if assigned[0] or assigned[1]:
        return _same_assigned(gold, answer, assigned, same)
    if gold.brackets != answer.brackets:
        return False if _unlike_intervals(gold, answer) else None
    # `1, 1, 2` and `1, 2` list the same values: repeated items are compared away before lengths decide.
    if len(gold.parts) != len(answer.parts):
        ours, theirs = _distinct(gold, same), _distinct(answer, same)
        return same_form(ours, theirs, same) if (ours, theirs) != (gold, answer) else False
    verdicts = [_same_part(a, b, same) for a, b in zip(gold.parts, answer.parts, strict=True)]
    # In the order given first: it is the cheap comparison, and it is the right one for points and intervals.
    if all(verdicts):
        return True
    if gold.brackets in {"{}", "", "∪"} and len(gold.parts) > 1:
        return _same_set(gold.parts, answer.parts, same)
    return False if any(verdict is False for verdict in verdicts) else None


Part = Form | Expression | Based


def _same_part(gold: Part, answer: Part, same: Same) -> bool | None:
    if isinstance(gold, Form) and isinstance(answer, Form):
        return same_form(gold, answer, same)
    return None if isinstance(gold, Form) or isinstance(answer, Form) else same(gold, answer)


def _distinct(form: Form, same: Same) -> Form:
    """A list or set without what it says twice: `x+11 or 11+x` is one answer."""
    if form.brackets not in {"", "{}", "∪"} or len(form.parts) < 2:
        return form
    found: list[Part] = []
    for part in form.parts:
        if not any(_same_part(part, other, same) for other in found):
            found.append(part)
    if len(found) == 1 and not form.brackets and isinstance(found[0], Form):
        return found[0]
    return Form(form.brackets, tuple(found))


def _same_set(gold: tuple[Part, ...], answer: tuple[Part, ...], same: Same) -> bool | None:
    """Each part has its partner. Order is not part of a set, and rarely of a list."""
    left = list(answer)
    doubt = False
    for part in gold:
        verdicts = [_same_part(part, other, same) for other in left]
        if True in verdicts:
            # Each item of the answer may pay for one item of the gold only, so `{1, 1}` is not `{1, 2}`.
            left.pop(verdicts.index(True))
        elif None in verdicts:
            doubt = True
        else:
            return False
    return None if doubt else True


def _unlike_intervals(gold: Form, answer: Form) -> bool:
    """Whether both are intervals that include their ends differently.

    `(1, 2)` may be a point and `[1, 2]` a list: one of them must be told by an infinite end or by being half
    open.
    """
    forms = (gold, answer)
    ends = {form.brackets for form in forms}
    pairs = all(len(form.parts) == 2 for form in forms) and ends <= {"()", "[]", "(]", "[)"}
    infinite = all(any(_is_infinite(part) for part in form.parts) for form in forms)
    return pairs and (infinite or bool(ends & {"(]", "[)"}))


def _is_infinite(part: Part) -> bool:
    return isinstance(part, Form) and isinstance(part.parts[0], Name) and "infinity" in part.parts[0].name


def _assigned(form: Form) -> dict[str, list[Form]]:
    """The values by their names, where all have one."""
    if form.name:
        return {form.name: [Form(form.brackets, form.parts)]}
    found: dict[str, list[Form]] = {}
    for part in form.parts if not form.brackets else ():
        if not isinstance(part, Form) or not part.name:
            return {}
        found.setdefault(part.name, []).append(Form(part.brackets, part.parts))
    return found


def _same_assigned(
    gold: Form, answer: Form, assigned: tuple[dict[str, list[Form]], dict[str, list[Form]]], same: Same
) -> bool | None:
    """Values belong to their names. Against values without names only the usual order of names is trusted."""
    named, other = assigned
    if named and other:
        if named.keys() != other.keys():
            return None
        verdicts = [same_form(_joined(named[name]), _joined(other[name]), same) for name in named]
        return True if all(verdicts) else False if False in verdicts else None
    plain, values = (answer, named) if named else (gold, other)
    if len(values) == 1:
        (mine,) = values.values()
        return same_form(_joined(mine), plain, same) if named else same_form(plain, _joined(mine), same)
    if any(len(mine) > 1 for mine in values.values()) or plain.brackets not in {"", "()"}:
        return None
    # `x = 1, y = 2` against `(1, 2)`: the names by alphabet are the order that people write values in.
    ordered = tuple(values[name][0] for name in sorted(values))
    verdict = same_form(Form("", ordered), Form("", plain.parts), same)
    in_order = [_same_part(a, b, same) for a, b in zip(ordered, plain.parts, strict=False)]
    return verdict if verdict is False or all(in_order) else None


def _joined(values: list[Form]) -> Form:
    return values[0] if len(values) == 1 else Form("", tuple(values))
