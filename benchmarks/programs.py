"""`verifiers.code.*`: unit tests as graders of programs, against the data sets' own harnesses."""

import gzip
import json
import re
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

from benchmarks.corpora import DATA, rows
from pipeline.inputs.problems import load_problems
from schemas.config.problems import problems_config
from schemas.records import Problem
from verifiers.code.programs import grade_program
from verifiers.isolation.sandbox import run_python

_FILES = {"humaneval": "humaneval/humaneval_part.jsonl", "mbpp": "mbpp/mbpp_prompt_validation_train.jsonl"}
# Mistakes as people make them, each in the first place of a program where it can stand.
_MISTAKES = (
    (r"==", "!="), (r" < ", " >= "), (r" > ", " <= "), (r" \+ ", " - "), (r"\*", "+"),
    (r"\breturn .+", "return None"), (r"\b\d+\b", "7919"), (r"\bin range\(", "in range(1 + "),
    (r"\bappend\(", "extend("), (r"\bmax\(", "min("),
)  # fmt: skip
# Where HumanEval's own evaluation cuts a completion (openai/human-eval, the paper's section 2.1).
_STOPS = ("\nclass", "\ndef", "\n#", "\nif", "\nprint")
_EACH = 3  # planted mistakes and recorded samples of a problem: each costs up to three sandboxes


class _Tried(NamedTuple):
    what: str
    problem: Problem
    solution: str
    script: str
    """The program with the tests in one text, as the data set's own harness runs it."""


def programs() -> dict[str, Any]:
    """Verdicts on programs that agree with the data sets' own harnesses, in per cent: the canonical programs
    of HumanEval and of MBPP, the same with planted mistakes, and recorded samples of CodeGen-16B.

    `details` counts the verdicts of each kind and lists where they differ. A planted mistake that the tests
    do not notice is right by both.
    """
    tried = [*_humaneval(), *_mbpp()]
    with ThreadPoolExecutor(2) as threads:
        ours = list(
            threads.map(lambda one: grade_program(one.problem.text, one.solution, one.problem.tests), tried)
        )
        theirs = list(threads.map(lambda one: run_python(one.script).status == "ok", tried))
    found: dict[str, Counter[str]] = {}
    differ = []
    for one, grade, passes in zip(tried, ours, theirs, strict=True):
        verdict = {True: "correct", False: "incorrect", None: "unknown"}[grade.verdict]
        found.setdefault(one.what, Counter())[f"{verdict}, harness {'passes' if passes else 'fails'}"] += 1
        if grade.verdict is not passes:
            differ.append(f"{one.what} row {one.problem.source.row}: {grade.reason}"[:150])
    agree = len(tried) - len(differ)
    counts = {what: dict(verdicts) for what, verdicts in found.items()}
    return {"value": 100 * agree / len(tried), "unit": "% of verdicts", "baseline": 100.0, "n": len(tried),
            "details": {**counts, "differ": differ}}  # fmt: skip


def _problems(mapping: str) -> Iterator[tuple[dict[str, Any], Problem]]:
    asked = problems_config(path=str(DATA / _FILES[mapping]), mapping=mapping)
    for row, problem in zip(rows(_FILES[mapping]), load_problems(asked), strict=True):
        if isinstance(problem, Problem):
            yield row, problem


def _humaneval() -> Iterator[_Tried]:
    with gzip.open(DATA / "humaneval/codegen16b_samples_part.jsonl.gz", "rt", encoding="utf-8") as lines:
        samples = {_sentence(row["prompt"]): row for row in map(json.loads, lines)}
    for row, problem in _problems("humaneval"):
        tail = f"\n{row['test']}\ncheck({row['entry_point']})\n"
        right = row["canonical_solution"]
        for what, body in [
            ("humaneval canonical", right),
            *(("humaneval planted", b) for b in _planted(right)),
        ]:
            yield _Tried(what, problem, body, row["prompt"] + body + tail)
        sampled = samples.get(_sentence(row["prompt"]))
        for body in sampled["samples"][:_EACH] if sampled else ():
            # Cut as their harness does, so that both judge one text.
            cut = body[: min((i for stop in _STOPS if (i := body.find(stop)) >= 0), default=len(body))]
            posed = problem.model_copy(update={"text": sampled["prompt"]})
            yield _Tried("humaneval sampled", posed, cut, sampled["prompt"] + cut + tail)


def _sentence(prompt: str) -> str:
    """The head and the first words of a prompt's last function: the samples' prompts lack the examples."""
    return "".join(prompt[prompt.rfind("def ") :].split())[:80]


def _mbpp() -> Iterator[_Tried]:
    for row, problem in _problems("mbpp"):
        tail = "\n".join(("", row["test_setup_code"], *row["test_list"]))
        right = row["code"].replace("\r", "")
        planted = _planted(right)[: 1 if problem.source.row % 4 == 0 else 0]
        for what, code in [("mbpp canonical", right), *(("mbpp planted", code) for code in planted)]:
            yield _Tried(what, problem, f"```python\n{code}\n```", code + tail)


def _planted(code: str) -> list[str]:
    found = (re.sub(mistake, instead, code, count=1) for mistake, instead in _MISTAKES)
    return [text for text in dict.fromkeys(found) if text != code][:_EACH]
