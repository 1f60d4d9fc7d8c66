"""Problems and solutions as a Python program has them: texts, dicts, records, and pairs of these."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

from pydantic import ValidationError

from pipeline.inputs.columns import ANSWERS, TEXTS
from pipeline.inputs.formats import Found
from pipeline.inputs.golds import golds_of, kind_of
from pipeline.inputs.rows import Unreadable
from pipeline.inputs.segment import Cuts
from pipeline.inputs.solutions import (
    Skip,
    Written,
    gold_labels,
    read_row,
    readable,
    solution_of,
    written,
)
from schemas.errors import UserError
from schemas.records import Candidate, GoldLabels, LabelledSolution, Problem, Solution
from verifiers.answers.grade import extract_answer


class Given(NamedTuple):
    """A problem, with the solution to label where there is one."""

    problem: Problem
    candidate: Candidate | None
    place: int
    """The item that it stands in, from 0: a row may hold several solutions."""


_FIELDS = ("answer_kind", "premises", "reference", "table", "tests", "domain", "licence", "source")
"""Of a dict what becomes a problem's field of the same name; other keys are the caller's own."""
_EXPECTED = (
    "a text, a dict with `problem` and perhaps `answer`, a Problem, a pair (problem, solution), or a "
    "LabelledSolution"
)


def read_given(items: Iterable[Any], cuts: Cuts = "\n") -> Iterator[Given]:
    """Each item as a problem, and the solutions where the item holds some; `cuts` says how a text is
    cut into steps. A dict may be a row of any format of docs/given.md. UserError names the item."""
    for number, item in enumerate(_several(items, "problems")):
        try:
            problem, candidates = _given(item, cuts)
            yield from (Given(problem, one, number) for one in candidates or (None,))
        except ValidationError as error:
            first = error.errors()[0]
            raise UserError(
                f"problems[{number}]: {'.'.join(map(str, first['loc']))}: {first['msg']}"
            ) from None
        except UserError as error:
            raise UserError(f"problems[{number}]: {error}") from None


def read_written(items: Iterable[Any], skip: Skip | None = None) -> Iterator[Written]:
    """Each item as a solution to be checked. A dict is read as a row of a file is (`read_solutions`); a text
    alone is a solution of a problem that nobody states. UserError names the item. With `skip` rows that
    cannot be read are left out, as those of a file are."""
    found = (
        replace(one, row=number) if isinstance(one, Written) else one
        for number, item in enumerate(_several(items, "solutions"), 1)
        for one in _item(item, number - 1)
    )
    return readable(found, "solutions: the list is empty", skip)


def _item(item: Any, number: int) -> Iterator[Written | Unreadable]:
    place = f"solutions[{number}]"
    match item:
        case str():
            yield from written({"solution": item}, place, str(number))
        case Solution():
            yield Written(item.id, " ", tuple(item.step_texts()))
        case Mapping():
            yield from written(dict(item), place, str(number))
        case _:
            found = next(read_given([item]))
            if found.candidate is None:
                raise UserError(f"{place}: a problem without a solution: there are no steps to check")
            solution, problem = found.candidate.solution, found.problem
            yield Written(solution.id, problem.text, tuple(solution.step_texts()), premises=problem.premises)


def _several(items: Iterable[Any], name: str) -> Iterable[Any]:
    """A single item would be read letter by letter, or key by key."""
    # `label("What is 2 + 3?")` would otherwise label 14 problems of one letter.
    if isinstance(items, str | Mapping | Problem | Solution | LabelledSolution):
        raise UserError(f"{name}: expected a list, found one {type(items).__name__}: put it in brackets")
    return items


def _given(item: Any, cuts: Cuts) -> tuple[Problem, list[Candidate]]:
    match item:
        case LabelledSolution():
            return item.problem, [_checked(item.problem, item.solution, item.gold)]
        case (problem, solution):
            stated = _problem(problem)
            return stated, [_with_solution(stated, solution, cuts)]
        case Mapping() if isinstance(item.get("solution"), Solution):
            stated = _problem(item)
            return stated, [_checked(stated, item["solution"])]
        case Mapping():
            return _of_row(item, cuts)
        case _:
            return _problem(item), []


def _of_row(row: Mapping[str, Any], cuts: Cuts) -> tuple[Problem, list[Candidate]]:
    """A row of any of the formats that files are read in."""
    parsed = read_row(row)
    if isinstance(parsed.solutions, Unreadable):
        raise UserError(f"solution: {parsed.solutions.why}")
    problem, candidates = _problem(parsed.problem), []
    for found in parsed.solutions:
        solution = found if isinstance(found, Unreadable) else solution_of(found, problem.id, cuts)
        if isinstance(found, Unreadable) or isinstance(solution, Unreadable):
            raise UserError(f"solution: {solution.why if isinstance(solution, Unreadable) else ''}")
        gold = gold_labels(found, len(solution.steps))
        if isinstance(gold, Unreadable):
            raise UserError(f"solution: {gold.why}")
        candidates.append(Candidate(solution=solution, gold=gold))
    return problem, candidates


def _problem(item: Any) -> Problem:
    match item:
        case Problem():
            return item
        case str() if item.strip():
            return Problem(text=item)
        case Mapping():
            return _problem_of(item)
        case Solution():
            raise UserError(
                "a Solution names its problem by an id only: give the pair (problem, solution) instead"
            )
    raise UserError(f"expected {_EXPECTED}; found {type(item).__name__} {str(item)[:40]!r}")


def _problem_of(row: Mapping[str, Any]) -> Problem:
    texts = [name for name in TEXTS if row.get(name) is not None]
    if not texts:
        raise UserError(f"no problem: expected one of {', '.join(TEXTS)}; found {', '.join(map(str, row))}")
    stated = row[texts[0]]
    if isinstance(stated, Problem):
        return stated
    fields = {name: row[name] for name in _FIELDS if row.get(name) is not None}
    # A `solution` is one to label here, and no gold answer.
    named = (row[name] for name in ANSWERS if name != "solution" and row.get(name) is not None)
    golds = golds_of(next(named, None))
    if isinstance(golds, Unreadable):
        raise UserError(f"answer: {golds.why}")
    if len(golds) == 1 and "\n####" in golds[0]:  # GSM8K's `answer` is a whole solution
        fields.setdefault("reference", golds[0])
        answer = extract_answer(golds[0])
        golds = () if answer is None else (answer,)
    if golds:
        fields |= {"answer": golds[0], "alternatives": golds[1:]}
        fields.setdefault("answer_kind", kind_of(golds))
    return Problem.model_validate({"text": stated, **fields})


def _with_solution(problem: Problem, given: Any, cuts: Cuts) -> Candidate:
    match given:
        case Solution():
            return _checked(problem, given)
        case str():
            found = solution_of(Found(given), problem.id, cuts)
        # An empty list is no solution: it has no step that could be labelled.
        case Sequence() if given and all(isinstance(step, str) for step in given):
            found = solution_of(Found(tuple(given)), problem.id, cuts)
        case _:
            raise UserError(
                f"solution: expected a text, a list of texts, or a Solution; found {type(given).__name__}"
            )
    if isinstance(found, Unreadable):
        raise UserError(f"solution: {found.why}")
    return Candidate(solution=found)


def _checked(problem: Problem, solution: Solution, gold: GoldLabels | None = None) -> Candidate:
    if solution.problem_id != problem.id:
        raise UserError(f"the solution is one of problem {solution.problem_id}, not {problem.id}")
    if not solution.steps or not all(step.text.strip() for step in solution.steps):
        raise UserError("solution: it has no step, or an empty one")
    return Candidate(solution=solution, gold=gold)
