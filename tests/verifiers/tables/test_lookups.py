"""What is read off a table: known answers, and silence wherever a sentence or a cell is unclear."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.records import Problem, Table
from verifiers.base import StepContext
from verifiers.tables.lookups import Tables
from verifiers.tables.query import (
    Query,
    Unclear,
    answer,
    number,
)

CITIES = Table(
    columns=("id", "city", "year", "pop"),
    rows=(
        ("1", "A", "2000", "10"),
        ("2", "A", "2010", "12"),
        ("3", "B", "2000", "7"),
        ("4", "B", "2010", "9"),
    ),
)
ODD = Table(
    columns=("name", "score", "share", "Total", "Total", "sales (thousands)", "note"),
    rows=(
        ("x y", "4", "12%", "1", "2", "1,200", "n/a"),
        ("z", "", "30%", "3", "4", "800", "5"),
        ("w", "6", "58%", "5", "6", "", "7"),
    ),
)


def verdict(step: str, table: Table | None = CITIES) -> str:
    return Tables().check(StepContext(Problem(text="p", table=table), (step,))).verdict


@pytest.mark.parametrize(
    ("step", "expected"),
    [
        ("The pop of A in 2010 is 12.", "holds"),
        ("The pop of A in 2010 is 9.", "fails"),
        ("In 2000, the pop of B was 7", "holds"),
        ("pop where city = A and year = 2010 is 12", "holds"),
        ("The city where id = 1 is B", "fails"),
        ("The city where id = 1 is Z", "abstains"),
        ("The number of rows with pop > 8 is 3.", "holds"),
        ("The number of rows with pop > 8 is 2.", "fails"),
        ("count of rows with pop at least 9 and city A is 2", "holds"),
        ("The total pop is 38", "holds"),
        ("sum(pop) = 37", "fails"),
        ("The average pop of A is 11", "holds"),
        ("The median pop is 9.5", "holds"),
        ("The highest pop in 2000 is 10", "holds"),
        ("The lowest pop is 9", "fails"),
        ("The average pop in 2000 is 8.5; the total pop is 39", "fails"),
        ("According to the table, the value of pop in row 2 is 12", "abstains"),  # an id, or the second row
        ("According to the table, the pop of A in 2010 is 12", "holds"),
        ("We can see that the 'pop' of A in 2010 is 9.", "fails"),
        ("From the table, the value in the Pop column for B in 2000 is 7", "holds"),
        ("So the sum of the pop column is 38", "holds"),
        ("A had a pop of 12 in 2010.", "holds"),
        ("B has a pop of 12 in 2010", "fails"),
        ("A had a pop of 12", "abstains"),
        ("A had a growth of 12 in 2010", "abstains"),
        ("A had an average pop of 11", "holds"),
        ("A had almost a pop of 11 in 2010", "abstains"),
        ("The total pop to 2010 is 21", "abstains"),
        # Silence.
        ("The pop of A is 10", "abstains"),
        ("The pop of A and B is 12", "abstains"),
        ("The pop of C in 2010 is 12", "abstains"),
        ("The growth of A is 2", "abstains"),
        ("The pop of A in 2010 is not 9", "abstains"),
        ("The pop of A in 2010 is 9 more than 3", "abstains"),
        ("The predicted pop of A in 2010 is 9", "abstains"),
        ("The total pop is about 40", "abstains"),
        ("The average pop of A is 11%", "abstains"),
        ("The pop of A in 2010 is 12 - 3 = 9", "abstains"),
        ("The average is 5", "abstains"),
        ("We look at city A. The total pop is 22", "abstains"),
        ("Keep what exceeds 8. The average pop is 10.33", "abstains"),
        ("A total pop is 38", "abstains"),
        ("x" * 10_000, "abstains"),
        ("= : is = was", "abstains"),
        ("", "abstains"),
    ],
)
def test_sentences(step, expected):
    assert verdict(step) == expected


@pytest.mark.parametrize(
    ("step", "expected"),
    [
        ("The mean score is 5", "holds"),  # blank is not nought
        ("The score of x y is 4", "holds"),
        ("The share of z is 30%", "holds"),
        ("The share of z is 0.3", "holds"),
        ("The share of z is 30", "holds"),
        ("The share of z is 40%", "fails"),
        ("The total Total is 9", "abstains"),
        ("The sum of note is 12", "abstains"),
        ("The sales (thousands) of z is 800", "holds"),
        ("The sales (thousands) of z is 800000", "abstains"),
        ("The maximum sales (thousands) is 1200", "holds"),
    ],
)
def test_untidy_tables(step, expected):
    assert verdict(step, ODD) == expected


def test_a_line_that_sums_up_forbids_aggregation():
    summed = Table(columns=CITIES.columns, rows=(*CITIES.rows, ("", "Total", "", "38")))
    assert verdict("The total pop is 76", summed) == "abstains"
    assert verdict("The pop of A in 2010 is 12", summed) == "holds"


def test_no_table_no_verdict():
    assert verdict("The total pop is 38", None) == "abstains"


@pytest.mark.parametrize(
    ("cell", "value"), [("1,200", 1200), ("$5", 5), ("12%", 12), ("n/a", None), ("", None)]
)
def test_numbers_are_read_strictly(cell, value):
    assert number(cell) == value


def test_a_column_named_twice_names_nothing():
    with pytest.raises(Unclear, match="occurs 2 times"):
        answer(ODD, Query("sum", "Total"))


@given(st.permutations(range(4)), st.permutations(range(4)), st.integers(0, 40))
def test_order_changes_no_verdict(rows, columns, claimed):
    moved = Table(
        columns=tuple(CITIES.columns[j] for j in columns),
        rows=tuple(tuple(CITIES.rows[i][j] for j in columns) for i in rows),
    )
    for step in (f"The pop of A in 2010 is {claimed}", f"The total pop is {claimed}"):
        assert verdict(step, moved) == verdict(step) == ("holds" if claimed == eval_of(step) else "fails")


def eval_of(step: str) -> int:
    return 38 if "total" in step else 12


@given(st.text(max_size=400))
def test_any_text_is_survived(text):
    assert verdict(text) in {"holds", "fails", "abstains"}
