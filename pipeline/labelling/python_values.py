"""Problems and solutions as a Python program has them: texts, dicts, records, and pairs of these."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from pydantic import ValidationError

from pipeline.inputs.columns import ANSWERS, TEXTS
from pipeline.inputs.golds import golds_of, kind_of
from pipeline.inputs.program_steps import steps_of
from pipeline.inputs.rows import Unreadable
from pipeline.inputs.solutions import Written, written
from pipeline.sampling.roller import outcome_of
from schemas.errors import UserError
from schemas.records import LabelledSolution, PolicyIdentity, Problem, Solution, Step
from verifiers.answers.grade import extract_answer

Given = tuple[Problem, Solution | None]
"""A problem, with the solution to label where there is one."""
_FIELDS = ("answer_kind", "premises", "reference", "table", "tests", "domain", "licence", "source")
"""Of a dict what becomes a problem's field of the same name; other keys are the caller's own."""
_EXPECTED = (
    "a text, a dict with `problem` and perhaps `answer`, a Problem, a pair (problem, solution), or a "
    "LabelledSolution"
)


def read_given(items: Iterable[Any], separator: str = "\n") -> Iterator[Given]:
    """Each item as a problem, and the solution where the item holds one; `separator` stands between two steps
    of a text. UserError names the item."""
    for number, item in enumerate(_several(items, "problems")):
        try:
            yield _given(item, separator)
        except ValidationError as error:
            first = error.errors()[0]
            raise UserError(
                f"problems[{number}]: {'.'.join(map(str, first['loc']))}: {first['msg']}"
            ) from None
        except UserError as error:
            raise UserError(f"problems[{number}]: {error}") from None


def read_written(items: Iterable[Any]) -> Iterator[Written]:
    """Each item as a solution to be checked. A dict is read as a row of a file is (`read_solutions`); a text
    alone is a solution of a problem that nobody states. UserError names the item."""
    for number, item in enumerate(_several(items, "solutions")):
        place = f"solutions[{number}]"
        match item:
            case str():
                yield written({"solution": item}, place, str(number))
            case Solution():
                yield Written(item.id, " ", tuple(item.step_texts()))
            case Mapping():
                yield written(dict(item), place, str(number))
            case _:
                problem, solution = next(read_given([item]))
                if solution is None:
                    raise UserError(f"{place}: a problem without a solution: there are no steps to check")
                texts = tuple(solution.step_texts())
                yield Written(solution.id, problem.text, texts, premises=problem.premises)


def _several(items: Iterable[Any], name: str) -> Iterable[Any]:
    """A single item would be read letter by letter, or key by key."""
    # `label("What is 2 + 3?")` would otherwise label 14 problems of one letter.
    if isinstance(items, str | Mapping | Problem | Solution | LabelledSolution):
        raise UserError(f"{name}: expected a list, found one {type(items).__name__}: put it in brackets")
    return items


def _given(item: Any, separator: str) -> Given:
    match item:
        case LabelledSolution():
            return item.problem, item.solution
        case (problem, solution):
            return _with_solution(_problem(problem), solution, separator)
        # Steps before the text: who gives both has cut the text already, and we would cut it anew.
        case Mapping() if "steps" in item or "solution" in item:
            steps = item["steps"] if item.get("steps") is not None else item["solution"]
            return _with_solution(_problem(item), steps, separator)
        case _:
            return _problem(item), None


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


def _with_solution(problem: Problem, solution: Any, separator: str) -> Given:
    """The solution as a record, graded where it has no outcome yet."""
    match solution:
        case Solution():
            if solution.problem_id != problem.id:
                raise UserError(f"the solution is one of problem {solution.problem_id}, not {problem.id}")
            found = solution
        case str():
            found = _solution(problem, solution, steps_of(problem, solution, separator))
        # An empty list is no solution: it has no step that could be labelled.
        case Sequence() if solution and all(isinstance(step, str) for step in solution):
            found = _solution(problem, separator.join(solution), tuple(_steps(solution, separator)))
        case _:
            raise UserError(
                f"solution: expected a text, a list of texts, or a Solution; found {type(solution).__name__}"
            )
    if not found.steps or not all(step.text.strip() for step in found.steps):
        raise UserError("solution: it has no step, or an empty one")
    # A stated outcome is believed: it may come from a grader that knows more than the answer.
    if found.outcome == "unknown":
        found = found.model_copy(update={"outcome": outcome_of(problem, found.text)})
    return problem, found


def _solution(problem: Problem, text: str, steps: tuple[Step, ...]) -> Solution:
    who = PolicyIdentity(kind="given", model="")
    return Solution(problem_id=problem.id, text=text, steps=steps, answer=extract_answer(text), policy=who)


def _steps(texts: Sequence[str], separator: str) -> Iterator[Step]:
    """Steps with their places in the text that joins them."""
    start = 0
    for text in texts:
        yield Step(text=text, start=start, end=start + len(text))
        start += len(text) + len(separator)
