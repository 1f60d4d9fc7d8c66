"""Compares two forms of answers, part by part, as sets, by names, or as equations."""

from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction
from itertools import product

from verifiers.answers.bases import Based
from verifiers.answers.forms import Form, Same, is_interval
from verifiers.answers.regions import is_region, same_region
from verifiers.answers.values import proportional, symbols_of
from verifiers.expressions.tree import Binary, Expression, Name, Number

Part = Form | Expression | Based

_UNORDERED = {"{}", "", "∪"}
_RELATIONS = {"=", "<", "≤"}


def same_form(gold: Form, answer: Form, same: Same) -> bool | None:
    """Whether two forms say the same, with `same` for their scalars. None for a doubt."""
    assigned = _assigned(gold), _assigned(answer)
    if "=" in {gold.brackets, answer.brackets}:
        return _same_equation(_as_equation(gold), _as_equation(answer), same)
    if assigned[0] or assigned[1]:
        return _same_assigned(gold, answer, assigned, same)
    if (is_region(gold) or is_region(answer)) and (found := same_region(gold, answer)) is not None:
        return found
    if gold.brackets != answer.brackets:
        return _unlike(gold, answer, same)
    if (
        not gold.brackets
        and 1 in {len(gold.parts), len(answer.parts)}
        and (_measured(gold) or _measured(answer))
    ):
        return _one_of(gold, answer, same)
    # `1, 1, 2` and `1, 2` list the same values: repeated items are compared away before lengths decide.
    if len(gold.parts) != len(answer.parts):
        ours, theirs = _distinct(gold, same), _distinct(answer, same)
        return same_form(ours, theirs, same) if (ours, theirs) != (gold, answer) else False
    if gold.unit != answer.unit:
        if gold.unit and answer.unit:
            return None
        if "degree" in {gold.unit, answer.unit}:
            return _same_angle(gold, answer, same)
    verdicts = [_same_part(a, b, same) for a, b in zip(gold.parts, answer.parts, strict=True)]
    # In the order given first: it is the cheap comparison, and it is the right one for points and intervals.
    if all(verdicts):
        return True
    if gold.brackets in _UNORDERED and len(gold.parts) > 1:
        return _same_set(gold.parts, answer.parts, same)
    # `3:2` and `6:4` are one ratio, if order and scale are no matter.
    if gold.brackets in {":", "<", "≤"}:
        return None if gold.brackets != ":" or _ratio(gold, answer, same) else False
    return False if any(verdict is False for verdict in verdicts) else None


def _same_part(gold: Part, answer: Part, same: Same) -> bool | None:
    if isinstance(gold, Form) and isinstance(answer, Form):
        return same_form(gold, answer, same)
    return None if isinstance(gold, Form) or isinstance(answer, Form) else same(gold, answer)


def _same_angle(gold: Form, answer: Form, same: Same) -> bool | None:
    """90 degrees are a half of pi. Against a bare 90 nobody can tell."""
    first, second = gold.scalar, answer.scalar
    if first is None or second is None or isinstance(first, Based) or isinstance(second, Based):
        return None
    plain = same(first, second)
    first, second = (
        Binary("/", Binary("*", side, Name("pi")), Number(Fraction(180), "180")) if form.unit else side
        for form, side in ((gold, first), (answer, second))
    )
    radians = same(first, second)
    return True if radians else None if plain is not False else radians


def _ratio(gold: Form, answer: Form, same: Same) -> bool:
    """Whether two ratios may be one, written with other numbers."""
    ours, theirs = (
        [leaf for leaf in _leaves(form) if not isinstance(leaf, Based)] for form in (gold, answer)
    )
    return len(ours) != len(theirs) or all(
        same(Binary("*", a, theirs[0]), Binary("*", b, ours[0])) is not False
        for a, b in zip(ours, theirs, strict=True)
    )


def _distinct(form: Form, same: Same) -> Form:
    """A list or set without what it says twice: `x+11 or 11+x` is one answer."""
    if form.brackets not in _UNORDERED or len(form.parts) < 2:
        return form
    found: list[Part] = []
    for part in form.parts:
        if not any(_same_part(part, other, same) for other in found):
            found.append(part)
    if len(found) == 1 and not form.brackets and isinstance(found[0], Form):
        return found[0]
    return replace(form, parts=tuple(found))


def _same_set(gold: tuple[Part, ...], answer: tuple[Part, ...], same: Same) -> bool | None:
    """Each part has its partner. Order is not part of a set, and rarely of a list."""
    if len(gold) != len(answer):
        return False
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


def _unlike(gold: Form, answer: Form, same: Same) -> bool | None:
    """Forms of other brackets: a set is its list, a number is no point; what holds the same is a doubt."""
    if {gold.brackets, answer.brackets} & _RELATIONS or _is_label(gold) or _is_label(answer):
        return None
    if found := _listed_regions(gold, answer):
        return None if None in found or True in found else False
    if {gold.brackets, answer.brackets} == {"", "{}"}:
        ours, theirs = (_items(form) for form in (gold, answer))
        return _same_set(ours, theirs, same) if len(ours) == len(theirs) else same_form(
            _distinct(Form("{}", ours), same), _distinct(Form("{}", theirs), same), same
        )  # fmt: skip
    if ":" in {gold.brackets, answer.brackets}:
        ratio, other = (gold, answer) if gold.brackets == ":" else (answer, gold)
        if other.scalar is None or isinstance(other.scalar, Based) or len(ratio.parts) != 2 or other.unit:
            return None  # 3:30 may be 3.5 hours
        sides = [part.scalar for part in ratio.parts if isinstance(part, Form)]
        return None if same(Binary("/", *sides), other.scalar) is not False else False  # type: ignore[arg-type]
    if gold.brackets in _UNORDERED and answer.brackets not in _UNORDERED:
        gold = _distinct(gold, same)
    elif answer.brackets in _UNORDERED:
        answer = _distinct(answer, same)
    first, second = tuple(_leaves(gold)), tuple(_leaves(answer))
    if len(first) != len(second):
        return None if is_region(gold) and is_region(answer) else False
    if not any(same(a, b) is False for a, b in zip(first, second, strict=True)):
        return None
    return None if _same_set(first, second, same) is not False else False


def _is_label(form: Form) -> bool:
    """A capital alone names something else: the point P, the matrix I."""
    return isinstance(form.scalar, Name) and len(form.scalar.name) == 1 and form.scalar.name.isupper()


def _listed_regions(gold: Form, answer: Form) -> list[bool | None]:
    """`x > 1, x < 3` against an interval: the verdicts where the comma means "or", and where "and"."""
    listed, other = (gold, answer) if gold.brackets in {"", "{}"} else (answer, gold)
    parts = [part for part in listed.parts if isinstance(part, Form) and is_interval(part)]
    if listed.brackets not in {"", "{}"} or not is_region(other) or not 1 < len(parts) == len(listed.parts):
        return []
    return [same_region(Form(sign, tuple(parts)), other) for sign in "∪∩"]


def _one_of(gold: Form, answer: Form, same: Same) -> bool | None:
    """12 against `12 apples and 3 pears`: which of them is meant is not said."""
    sides = list(_leaves(gold)), list(_leaves(answer))
    alike = any(same(a, b) is not False for a, b in product(*sides))
    return None if alike else False


def _measured(form: Form) -> bool:
    """Whether the items of a list have units of their own."""
    return (
        not form.brackets
        and len(form.parts) > 1
        and any(isinstance(part, Form) and part.unit for part in form.parts)
    )


def _items(form: Form) -> tuple[Part, ...]:
    return form.parts if form.brackets or form.scalar is None else (form,)


def _leaves(form: Form) -> Iterator[Expression | Based]:
    for part in form.parts:
        if isinstance(part, Form):
            yield from _leaves(part)
        else:
            yield part


def _as_equation(form: Form) -> Form:
    """`y = 2x` as the equation that it may also be."""
    if len(form.name) == 1 and form.scalar is not None:
        return Form("=", (Form("", (Name(form.name),)), replace(form, name="")))
    return form


def _same_equation(gold: Form, answer: Form, same: Same) -> bool | None:
    """Equal where one is a multiple of the other, different where two polynomials are not."""
    sides = [
        [part.scalar for part in form.parts if isinstance(part, Form)] if form.brackets == "=" else []
        for form in (gold, answer)
    ]
    if all(len(pair) == 2 and not any(s is None or isinstance(s, Based) for s in pair) for pair in sides):
        ours, theirs = (Binary("-", *pair) for pair in sides)  # type: ignore[arg-type]
        if symbols_of(ours) != symbols_of(theirs):
            return None if len(symbols_of(ours)) == len(symbols_of(theirs)) else False
        return proportional(ours, theirs)
    equation, other = (gold, answer) if gold.brackets == "=" else (answer, gold)
    symbols = frozenset().union(
        *(symbols_of(leaf) for leaf in _leaves(equation) if not isinstance(leaf, Based))
    )
    if len(symbols) < 2 or other.brackets == "=":
        return None  # `2x = 6` may be the 3 that it leads to
    values = [leaf for leaf in _leaves(equation) if not isinstance(leaf, Based) and not symbols_of(leaf)]
    if (
        values
        and other.scalar is not None
        and not isinstance(other.scalar, Based)
        and symbols_of(other.scalar)
    ):
        return False  # `11a + c = 7` is not the expression `11a + c`
    if other.scalar is None:
        return None if other.brackets in {"<", "≤", ":"} or other.name else False
    # `a + b = 7` may be the answer 7.
    return None if any(same(side, other.scalar) is not False for side in _leaves(equation)) else False


def _assigned(form: Form) -> dict[str, list[Form]]:
    """The values by their names, where all have one."""
    if form.name:
        return {form.name: [replace(form, name="")]}
    found: dict[str, list[Form]] = {}
    for part in form.parts if not form.brackets else ():
        if not isinstance(part, Form) or not part.name:
            return {}
        found.setdefault(part.name, []).append(replace(part, name=""))
    return found


def _same_assigned(
    gold: Form, answer: Form, assigned: tuple[dict[str, list[Form]], dict[str, list[Form]]], same: Same
) -> bool | None:
    """Values belong to their names. Against values without names only the usual order of names is trusted."""
    named, other = assigned
    if _is_solved(gold, answer) and _is_solved(answer, gold):
        return _same_equation(_as_equation(gold), _as_equation(answer), same)
    if named and other:
        if named.keys() != other.keys():
            return None
        verdicts = [same_form(_joined(named[name]), _joined(other[name]), same) for name in named]
        return True if all(verdicts) else False if False in verdicts else None
    plain, values = (answer, named) if named else (gold, other)
    if len(values) == 1:
        ((name, mine),) = values.items()
        verdict = same_form(_joined(mine), plain, same) if named else same_form(plain, _joined(mine), same)
        return None if verdict and plain.scalar is not None and _is_function(name, plain) else verdict
    if any(len(mine) > 1 for mine in values.values()) or plain.brackets not in {"", "()", "{}"}:
        return None
    if len({name.partition("_")[0] for name in values}) == 1:
        # `x_1 = 2, x_2 = 5`: the numbers only tell the values of one unknown apart.
        return _same_set(tuple(mine[0] for mine in values.values()), _items(plain), same)
    # `x = 1, y = 2` against `(1, 2)`: the names by alphabet are the order that people write values in.
    ordered = tuple(values[name][0] for name in sorted(values))
    verdict = same_form(Form("", ordered), Form("", plain.parts), same)
    in_order = [_same_part(a, b, same) for a, b in zip(ordered, plain.parts, strict=False)]
    return verdict if verdict is False or all(in_order) else None


def _is_solved(form: Form, other: Form) -> bool:
    """`x = 2y`, beside `y = x/2`: one equation, solved for the other unknown."""
    scalar = form.scalar
    if form.name == other.name or len(form.name) != 1 or scalar is None or isinstance(scalar, Based):
        return False
    return other.name in symbols_of(scalar)


def _is_function(name: str, value: Form) -> bool:
    """Whether `f(x) = 0` stands against 0: the function that is always 0 is not that number."""
    symbols = any(not isinstance(leaf, Based) and symbols_of(leaf) for leaf in _leaves(value))
    return name.endswith(")") and name[-2].islower() and not symbols


def _joined(values: list[Form]) -> Form:
    return values[0] if len(values) == 1 else Form("", tuple(values))
