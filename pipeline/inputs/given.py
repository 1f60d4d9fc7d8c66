"""Reads rows that hold problems with solutions: each problem once, and after it the solutions of each row.

Rows about the same problem become one problem with several candidates. Nothing but the ids of the problems
is kept in memory, so a file may have any number of rows.
"""

import logging
from collections.abc import Iterator
from itertools import chain, islice
from typing import NamedTuple

from pydantic import ValidationError

from pipeline.inputs.columns import MAPPINGS, Columns, find_columns
from pipeline.inputs.formats import Found
from pipeline.inputs.problems import (
    LOOKED_AT,
    file_names,
    name_of,
    refuse_if_all_bad,
    rows_in,
    to_problem,
)
from pipeline.inputs.rows import Row, Unreadable
from pipeline.inputs.segment import Cuts
from pipeline.inputs.solutions import gold_labels, none_found, read_row, solution_of
from schemas.config import EmbeddedProblems, GivenConfig, ProblemsConfig, RowsConfig, RunConfig
from schemas.errors import UserError
from schemas.records import Candidate, Problem, Quarantined, text_id

log = logging.getLogger(__name__)
Item = Problem | Candidate | Quarantined


class Reading(NamedTuple):
    """How solutions are read beside the problems of a run."""

    config: GivenConfig
    cuts: Cuts
    is_needed: bool
    """Whether a row without a solution is a bad one: nobody else proposes any."""


class _Split(NamedTuple):
    """A row taken apart."""

    row: Row
    """The row of its problem, without the solutions."""
    solutions: tuple[Found | Unreadable, ...] | Unreadable


def reading_of(config: RunConfig) -> Reading | None:
    """How a run reads given solutions; None for a run without them. UserError where its problems have no
    rows."""
    given = config.proposer(GivenConfig)
    if given and isinstance(config.problems, EmbeddedProblems):
        raise UserError(
            '[propose] kind = "given" labels solutions in the rows of [problems], and these problems are '
            "generated: name a file with `path` there"
        )
    return Reading(given, config.prompt.cuts, len(config.proposers) == 1) if given else None


def load_given(config: ProblemsConfig, reading: Reading) -> Iterator[Item]:
    """Problems in the order of their rows, each where it is first met, with its solutions after it; rows and
    solutions that cannot be used as `Quarantined`. At `config.limit` problems it stops before the next one.

    UserError as for problems without solutions.
    """
    assert not isinstance(config, EmbeddedProblems)
    splits, named = (_split(row, config, reading) for row in rows_in(config)), file_names(config)
    first = list(islice(splits, LOOKED_AT))
    columns = find_columns(config, [one.row for one in first], name_of(config))
    log.info("%s: %s", name_of(config), columns.said)
    texts: dict[str, list[str]] = {}
    good = 0
    for one in chain(first, splits):
        file = named(one.row)
        found = _tried(one, columns, config, reading, file)
        if isinstance(found, Quarantined):
            yield found
            continue
        assert not isinstance(one.solutions, Unreadable)
        name = _known(found, texts)
        if not name:
            if good == config.limit:
                return
            good, name = good + 1, found.id
            texts.setdefault(text_id(found), []).append(name)
            yield found
        elif not one.solutions:
            yield _bad(file, one.row, f"the same problem as {name}, and no further solution", name)
        for solution in one.solutions:
            yield _candidate(solution, name, reading, file, one.row)


def check_given(config: ProblemsConfig, reading: Reading) -> list[str]:
    """What was taken, in a line, of rows with solutions. Reads the first rows only. UserError where these are
    all rows and none can be used, or where columns cannot be told."""
    assert not isinstance(config, EmbeddedProblems)
    splits = [_split(row, config, reading) for row in islice(rows_in(config), LOOKED_AT)]
    columns = find_columns(config, [one.row for one in splits], name_of(config))
    tried = [_tried(one, columns, config, reading, one.row.file.name) for one in splits]
    refuse_if_all_bad(config, tried)
    n = sum(len(one.solutions) for one in splits if not isinstance(one.solutions, Unreadable))
    return [f"{columns.said}; {n} given solutions in the first {len(splits)} rows"]


def _split(row: Row, config: RowsConfig, reading: Reading) -> _Split:
    if not isinstance(row.value, dict):  # a problem of an outsider's function, or a row that is refused later
        return _Split(row, ())
    reserved = {*config.fields.values(), *MAPPINGS.get(config.mapping, ())}
    parsed = read_row(row.value, reading.config.column, reserved)
    # An empty column would be taken for the one with the gold answers.
    problem = {name: value for name, value in parsed.problem.items() if value is not None}
    return _Split(row._replace(value=problem), parsed.solutions)


def _tried(
    one: _Split, columns: Columns, config: RowsConfig, reading: Reading, file: str
) -> Problem | Quarantined:
    """The problem of a row, unless its solutions cannot be read."""
    found = to_problem(one.row, columns, config, file)
    if isinstance(found, Quarantined):
        return found
    if isinstance(one.solutions, Unreadable):
        return _bad(file, one.row, one.solutions.why, found.id)
    faults = (solution if isinstance(solution, Unreadable) else solution.gold for solution in one.solutions)
    bad = [fault for fault in faults if isinstance(fault, Unreadable)]
    if bad and len(bad) == len(one.solutions):
        return _bad(file, one.row, bad[0].why, found.id)
    if not one.solutions and reading.is_needed:
        where = "name its column with `column` under [propose] (`stepmint label`: --solution COLUMN)"
        return _bad(file, one.row, f"{none_found(one.row.value)}: {where}", found.id)
    return found


def _known(problem: Problem, texts: dict[str, list[str]]) -> str:
    """The id of the same problem in an earlier row. A row without a gold answer joins the first with its
    text; two gold answers are two problems, because only one of them can be right."""
    earlier = texts.get(text_id(problem), [])
    return problem.id if problem.id in earlier else earlier[0] if earlier and not problem.golds else ""


def _candidate(found: Found | Unreadable, problem_id: str, reading: Reading, file: str, row: Row) -> Item:
    """A solution with the labels that came with it."""
    if isinstance(found, Unreadable):
        return _bad(file, row, found.why, problem_id)
    try:
        solution = solution_of(found, problem_id, reading.cuts)
        if isinstance(solution, Unreadable):
            return _bad(file, row, solution.why, problem_id)
        gold = gold_labels(found, len(solution.steps))
        if isinstance(gold, Unreadable):
            return _bad(file, row, gold.why, problem_id)
        return Candidate(solution=solution, gold=gold)
    except ValidationError as error:  # a text that no file can hold
        return _bad(file, row, error.errors()[0]["msg"], problem_id)


def _bad(file: str, row: Row, why: str, problem_id: str) -> Quarantined:
    return Quarantined(file=file, row=row.number, field="solution", reason=why, problem_id=problem_id)
