"""Answers spelled in two ways, equal or different by construction: no verdict may contradict the values."""

import math
import time
from fractions import Fraction

from hypothesis import assume, given, settings
from hypothesis import strategies as st

from verifiers.answers.grade import grade

Tree = tuple  # (sign, left, right), ("sqrt", inner), ("number", n) or ("symbol", name)

_LEAVES = st.one_of(
    st.integers(1, 12).map(lambda n: ("number", n)),
    st.sampled_from(["x", "y"]).map(lambda name: ("symbol", name)),
)
TREES = st.recursive(
    _LEAVES,
    lambda inner: st.one_of(
        st.tuples(st.sampled_from("+-*/"), inner, inner),
        st.tuples(st.just("^"), inner, st.integers(2, 3).map(lambda n: ("number", n))),
        st.tuples(st.just("sqrt"), inner),
    ),
    max_leaves=6,
)
_POINTS = ({"x": 1.37, "y": 2.11}, {"x": 0.83, "y": 3.59}, {"x": 2.71, "y": 0.41})


def value(tree: Tree, point: dict[str, float]) -> float:
    match tree:
        case ("number", n):
            return float(n)
        case ("symbol", name):
            return point[name]
        case ("sqrt", inner):
            return math.sqrt(value(inner, point))
        case ("^", base, (_, power)):
            return value(base, point) ** power
        case (sign, left, right):
            a, b = value(left, point), value(right, point)
            return {"+": a + b, "-": a - b, "*": a * b, "/": a / b if sign == "/" else 0.0}[sign]


def latex(tree: Tree) -> str:
    """With fractions, roots and products without a sign."""
    match tree:
        case ("number", n) | ("symbol", n):
            return str(n)
        case ("sqrt", inner):
            return rf"\sqrt{{{latex(inner)}}}"
        case ("/", top, bottom):
            return rf"\dfrac{{{latex(top)}}}{{{latex(bottom)}}}"
        case ("^", base, (_, power)):
            return rf"\left({latex(base)}\right)^{{{power}}}"
        case ("*", left, right):
            return rf"\left({latex(left)}\right)\left({latex(right)}\right)"
        case (sign, left, right):
            return rf"{latex(left)} {sign} \left({latex(right)}\right)"


def plain(tree: Tree) -> str:
    """As programs write it, with sums and products turned round."""
    match tree:
        case ("number", n) | ("symbol", n):
            return str(n)
        case ("sqrt", inner):
            return f"sqrt({plain(inner)})"
        case ("+" | "*" as sign, left, right):
            return f"({plain(right)}) {sign} ({plain(left)})"
        case (sign, left, right):
            return f"({plain(left)}){sign}({plain(right)})"


def changed(tree: Tree, by: int) -> Tree:
    """Its first number, another one."""
    match tree:
        case ("number", n):
            return ("number", n + by)
        case ("symbol", _):
            return tree
        case ("sqrt", inner):
            return ("sqrt", changed(inner, by))
        case (sign, left, right):
            other = changed(left, by)
            return (sign, other, right) if other != left or sign == "^" else (sign, left, changed(right, by))


def values_of(tree: Tree) -> list[float]:
    found = []
    for point in _POINTS:
        try:
            found.append(value(tree, point))
        except (ValueError, ZeroDivisionError, OverflowError):
            assume(False)
    assume(all(1e-6 < abs(one) < 1e9 for one in found))
    return found


@settings(max_examples=150, deadline=None, derandomize=True)
@given(TREES)
def test_an_expression_spelled_otherwise_is_the_same(tree: Tree) -> None:
    values_of(tree)
    assert grade(latex(tree), plain(tree), "expression").verdict is not False
    assert grade(plain(tree), f"$ {latex(tree)} $.", "expression").verdict is not False


@settings(max_examples=150, deadline=None, derandomize=True)
@given(TREES, st.integers(1, 3))
def test_another_number_is_another_expression(tree: Tree, by: int) -> None:
    other = changed(tree, by)
    pairs = zip(values_of(tree), values_of(other), strict=True)
    assume(any(abs(a - b) > 1e-6 * max(abs(a), abs(b)) for a, b in pairs))
    assert grade(latex(tree), plain(other), "expression").verdict is not True


# Unions of intervals between whole numbers, as lists of (low, low closed, high, high closed).
_ENDS = st.lists(st.integers(-6, 6), min_size=2, max_size=6, unique=True).map(sorted)


@st.composite
def unions(draw: st.DrawFn) -> list[tuple[int, bool, int, bool]]:
    ends = draw(_ENDS)
    return [
        (low, draw(st.booleans()), high, draw(st.booleans()))
        for low, high in zip(ends[::2], ends[1::2], strict=False)
    ]


def holds(union: list[tuple[int, bool, int, bool]], x: Fraction) -> bool:
    return any(
        low < x < high or (x == low and closed) or (x == high and shut) for low, closed, high, shut in union
    )


def as_intervals(union: list[tuple[int, bool, int, bool]]) -> str:
    return r"\cup".join(
        f"{'[' if closed else '('}{low},{high}{']' if shut else ')'}" for low, closed, high, shut in union
    )


def as_relations(union: list[tuple[int, bool, int, bool]]) -> str:
    signs = {True: r"\le", False: "<"}
    return r" \text{ or } ".join(
        f"{low} {signs[closed]} x {signs[shut]} {high}" for low, closed, high, shut in union
    )


def as_built(union: list[tuple[int, bool, int, bool]]) -> str:
    return rf"\{{x \mid {as_relations(union)}\}}"


@settings(max_examples=100, deadline=None, derandomize=True)
@given(unions(), unions(), st.sampled_from([as_intervals, as_relations, as_built]))
def test_sets_of_numbers_are_the_same_where_they_hold_the_same(one, other, spelled) -> None:
    grid = [Fraction(n, 2) for n in range(-14, 15)]
    same = all(holds(one, x) == holds(other, x) for x in grid)
    verdict = grade(as_intervals(one), spelled(other), "expression").verdict
    # A lone `(1, 2)` may also be a point, and then says nothing of intervals.
    assert verdict in ({True, None} if same else {False, None})
    assert grade(as_intervals(one), spelled(one), "expression").verdict is True


_MATRICES = st.integers(2, 3).flatmap(
    lambda n: st.lists(st.lists(st.integers(-9, 9), min_size=n, max_size=n), min_size=n, max_size=n)
)


def pmatrix(rows: list[list[int]]) -> str:
    return r"\begin{pmatrix}" + r" \\ ".join(" & ".join(map(str, row)) for row in rows) + r"\end{pmatrix}"


@settings(max_examples=60, deadline=None, derandomize=True)
@given(_MATRICES, st.integers(2, 5), st.integers(0, 8))
def test_products_of_matrices_are_computed(rows: list[list[int]], by: int, at: int) -> None:
    size = len(rows)
    square = [[sum(rows[i][k] * rows[k][j] for k in range(size)) for j in range(size)] for i in range(size)]
    scaled = [[by * n for n in row] for row in square]
    spelled = rf"{by}{pmatrix(rows)}{pmatrix(rows)}"
    assert grade(pmatrix(scaled), spelled, "expression").verdict is True
    assert grade(pmatrix(square), f"{pmatrix(rows)}^2", "expression").verdict is True
    scaled[at % size][at // size % size] += 1
    assert grade(pmatrix(scaled), spelled, "expression").verdict is False


@settings(max_examples=100, deadline=None, derandomize=True)
@given(st.integers(1, 10**7), st.integers(1, 5))
def test_whole_numbers_in_every_spelling(number: int, by: int) -> None:
    spellings = (f"{number:,}", rf"\${number}", f"{number}.00", f"{number} apples", f"**{number}**",
                 f"{number:,}".replace(",", r",\!"), f"x = {number}", f"{number}个", rf"\({number}\)",
                 rf"\lfloor {number}.5 \rfloor", rf"\sum_{{k=1}}^{{{2}}} {number} - {number}")  # fmt: skip
    for spelled in spellings:
        assert grade(str(number), spelled, "number").verdict in {True, None}
        assert grade(str(number + by), spelled, "number").verdict in {False, None}


@settings(max_examples=60, deadline=None, derandomize=True)
@given(st.permutations([1, 2, 3, 5]), st.integers(0, 3))
def test_lists_are_sets_and_points_are_not(order: list[int], at: int) -> None:
    listed = ", ".join(map(str, order))
    same = order == [1, 2, 3, 5]
    assert grade("1, 2, 3, 5", listed, "expression").verdict is True
    assert grade(r"\{1,2,3,5\}", listed.replace(", 5", " and 5"), "expression").verdict is True
    assert grade("(1,2,3,5)", f"({listed})", "expression").verdict is same
    order[at] += 10
    assert grade("1, 2, 3, 5", ", ".join(map(str, order)), "expression").verdict is False


@settings(max_examples=60, deadline=None, derandomize=True)
@given(*[st.integers(-9, 9).filter(bool)] * 3, st.integers(2, 5))
def test_lines_are_one_equation_up_to_a_factor_and_its_sides(a: int, b: int, c: int, by: int) -> None:
    line = f"{a}x + {b}y = {c}".replace("+ -", "- ")
    solved = rf"y = \frac{{{c} - ({a})x}}{{{b}}}"
    scaled = f"{by * a}x + {by * b}y - {by * c} = 0".replace("+ -", "- ").replace("- -", "+ ")
    for spelled in (solved, scaled, f"{c} = {line.split(' = ')[0]}"):
        assert grade(line, spelled, "expression").verdict is True
        assert grade(f"{a}x + {b}y = {c + by}".replace("+ -", "- "), spelled, "expression").verdict is False


def test_sums_in_sums_end() -> None:
    deep = "".join(rf"\sum_{{{k}=1}}^{{40}}" for k in "hjkl") + " h^j"
    wide = r"\sum_{k=1}^{2500} \frac{1}{k}"
    start = time.process_time()
    assert grade(deep, "5", "expression").reason == "limit reached: size"
    assert grade(wide, "5", "expression").verdict is False
    assert time.process_time() - start < 5
