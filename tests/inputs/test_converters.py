"""Rows of data sets with columns of their own become problems with tests or tables."""

import json
from pathlib import Path

import pytest

from pipeline.inputs.problems import check_problems, load_problems
from pipeline.prompts.posed import posed_text
from schemas.config.problems import problems_config
from schemas.errors import UserError
from schemas.records import Problem, Quarantined
from verifiers.code.programs import grade_program
from verifiers.isolation.sandbox import unavailable

HUMANEVAL = {
    "task_id": "H/0",
    "prompt": "import math\n\ndef half(x):\n    return x / 2\n\n\ndef f(x):\n    ''' Twice. '''\n",
    "entry_point": "f",
    "canonical_solution": "    return 2 * x\n",
    "test": "METADATA = {}\n\n\ndef check(candidate):\n    '''Doc.'''\n    assert candidate(2) == 4, 'easy'\n"
    "    assert abs(candidate(0.5) - math.sqrt(1)) < 1e-6\n    assert half(candidate(3)) == 3\n"
    "    assert True\n",
}
LOOP = HUMANEVAL | {
    "test": "def check(candidate):\n    for i in range(9):\n        assert candidate(i) == i + i\n"
}
MBPP = {
    "text": "Write a function to add.",
    "code": "import sys\r\nclass P:\r\n\tpass\r\ndef add(a, b=1):\r\n\treturn a + b",
    "task_id": 1,
    "test_setup_code": "",
    "test_list": ["assert add(1, 2) == 3", "assert add(1) in (2, 3)", "assert add(1) == sys.maxsize"],
    "challenge_test_list": [],
}
TABMWP = {
    "question": "How many apples?",
    "choices": ["3", "4"],
    "answer": "4",
    "unit": None,
    "table_title": "Fruit",
    "table": "a | b\n1 | 4",
    "table_for_pd": {"a": ["1"], "b|c": ["4"]},
    "solution": "Look.",
}
WIKI = {
    "id": "nt-1",
    "utterance": "which two?",
    "targetValue": "A|B",
    "table_csv": '"Name","Exited\nhere"\n"A \\"x\\"","1"\n"B","2"\n',
}


def load(tmp_path: Path, mapping: str, *rows: object) -> list[Problem | Quarantined]:
    file = tmp_path / "rows.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return list(load_problems(problems_config(path=str(file), mapping=mapping)))


def one(tmp_path: Path, mapping: str, row: object) -> Problem:
    (found,) = load(tmp_path, mapping, row)
    assert isinstance(found, Problem), found
    return found


def test_humaneval(tmp_path: Path) -> None:
    """Each assertion is a test: a call and its value, or itself with what it needs of the prompt."""
    found = one(tmp_path, "humaneval", HUMANEVAL)
    assert found.text == HUMANEVAL["prompt"]
    assert [(test.call, test.expected) for test in found.tests] == [("f(2)", "4"), ("", ""), ("", "")]
    first, second = (test.assertion for test in found.tests[1:])
    assert first.startswith("import math\n")  # ours, and the prompt's
    assert first.endswith("\nassert abs(f(0.5) - math.sqrt(1)) < 1e-06")
    assert "def half(x)" in second
    assert (found.domain, found.answer, found.is_gradable) == ("code", None, True)
    (whole,) = one(tmp_path, "humaneval", LOOP).tests
    assert whole.assertion.endswith("check(f)")


def test_mbpp(tmp_path: Path) -> None:
    found = one(tmp_path, "mbpp", MBPP)
    assert found.text.endswith("Write `def add(a, b=1)`. For example: `assert add(1, 2) == 3`")
    assert (found.tests[0].call, found.tests[0].expected) == ("add(1, 2)", "3")
    assert found.tests[2].assertion == "import sys\nassert add(1) == sys.maxsize"
    setup = one(tmp_path, "mbpp", MBPP | {"test_setup_code": "p = P()", "test_list": ["assert add(p) == 3"]})
    assert setup.tests[0].call == "p = P()\nadd(p)"


@pytest.mark.skipif(bool(unavailable()), reason=f"no sandbox here: {unavailable()}")
@pytest.mark.parametrize(("mapping", "row"), [("humaneval", HUMANEVAL), ("humaneval", LOOP)])
def test_the_reference_passes_its_tests(tmp_path: Path, mapping: str, row: dict[str, str]) -> None:
    found = one(tmp_path, mapping, row)
    assert grade_program(found.text, row["canonical_solution"], found.tests).verdict is True
    assert grade_program(found.text, "    return x * x\n", found.tests).verdict is False


def test_tabmwp(tmp_path: Path) -> None:
    found = one(tmp_path, "tabmwp", TABMWP)
    assert found.text == "Table: Fruit\nHow many apples?\nChoose one: 3; 4."
    assert (found.answer, found.answer_kind, found.reference) == ("4", "text", "Look.")
    assert posed_text(found).startswith("| a | b\\|c |\n| --- | --- |\n| 1 | 4 |\n\nTable: Fruit")


def test_wikitablequestions(tmp_path: Path) -> None:
    found = one(tmp_path, "wikitablequestions", WIKI)
    assert found.answer == "A, B"
    assert found.table is not None
    assert found.table.columns == ("Name", "Exited here")
    assert found.table.rows == (('A "x"', "1"), ("B", "2"))


@pytest.mark.parametrize(
    ("mapping", "row", "reason"),
    [
        ("humaneval", {"prompt": "p"}, "no column 'entry_point'"),
        ("humaneval", HUMANEVAL | {"test": "def check(:"}, "SyntaxError"),
        ("humaneval", HUMANEVAL | {"test": "x = 1"}, "no test"),
        ("humaneval", HUMANEVAL | {"test": "def check(c):\n    assert True"}, "no test"),
        ("humaneval", HUMANEVAL | {"test": "#" * 300_000}, "characters"),
        ("mbpp", MBPP | {"test_list": ["assert other(1) == 2"]}, "call no function"),
        ("mbpp", MBPP | {"test_list": []}, "call no function"),
        ("mbpp", MBPP | {"code": None}, "AttributeError"),
        ("tabmwp", TABMWP | {"table_for_pd": {"a": ["1"], "b": []}}, "ValueError"),
        ("tabmwp", TABMWP | {"table_for_pd": "x"}, "AttributeError"),
        ("wikitablequestions", WIKI | {"table_csv": ""}, "the table is empty"),
        ("wikitablequestions", WIKI | {"table_csv": "a,b\n1\n"}, "row 0 has 1 cells"),
    ],
)
def test_a_bad_row_is_set_aside_with_its_reason(
    tmp_path: Path, mapping: str, row: object, reason: str
) -> None:
    good = {"humaneval": HUMANEVAL, "mbpp": MBPP, "tabmwp": TABMWP, "wikitablequestions": WIKI}[mapping]
    first, second = load(tmp_path, mapping, good, row)
    assert isinstance(first, Problem)
    assert isinstance(second, Quarantined)
    assert reason in second.reason


def test_the_wrong_mapping_is_one_line(tmp_path: Path) -> None:
    file = tmp_path / "rows.jsonl"
    file.write_text(json.dumps({"question": "q", "answer": "1"}) + "\n", encoding="utf-8")
    with pytest.raises(UserError, match="no column 'prompt', which mapping = \"humaneval\" reads"):
        check_problems(problems_config(path=str(file), mapping="humaneval"))


def test_what_is_taken_is_said(tmp_path: Path) -> None:
    load(tmp_path, "mbpp", MBPP)
    first, *more = check_problems(problems_config(path=str(tmp_path / "rows.jsonl"), mapping="mbpp"))
    assert first == "problems: text from `text`, graded by the unit tests in `tests`"
    assert bool(more) == bool(unavailable())
