"""`stepmint verify` goes on after bad rows, ends as linters do, and says the same in every format."""

import json
import re
import time
from pathlib import Path

import pytest

import stepmint
from flows import cli
from pipeline.inputs.solutions import Written
from pipeline.labelling.verify_files import verify
from schemas.errors import UserError

Capture = pytest.CaptureFixture[str]
RIGHT = '{"id": "r", "problem": "What is 2 + 3?", "steps": ["2 + 3 = 5."]}'
WRONG = '{"id": "w: 1,\\n2", "problem": "What is 2 + 3?", "steps": ["2 + 3 = 5.", "2 + 3 = 6, so 100%."]}'
BAD = {
    '{"problem": "p", "steps": []}': "no steps",
    '{"problem": "p", "steps": null}': "no steps",
    '{"problem": "p", "steps": ["a", null]}': "step 1 (from 0) is null",
    '{"problem": "p", "steps": ["a", " "]}': "step 1 (from 0) is empty",
    '{"problem": "p", "solution": " "}': "no steps",
    '{"problem": "p", "steps": ["2 + 3 =': "not valid JSON",
    "[1, 2]": "a row is an object",
    "null": "a row is an object",
    '{"problem": "p", "steps": ["\\ud83d"]}': "step 0 (from 0) holds a lone surrogate",
    '{"problem": "\\udc00", "steps": ["a"]}': "problem holds a lone surrogate",
    '{"problem": "p", "premises": ["\\ud800"], "steps": ["a"]}': "premise 0 (from 0) holds a lone surrogate",
}


def run(capsys: Capture, path: Path, *arguments: str) -> tuple[int, str, str]:
    code = cli.main(["verify", str(path), *arguments])
    out, err = capsys.readouterr()
    return code, out, err


def written(tmp_path: Path, *rows: str) -> Path:
    path = tmp_path / "rows.jsonl"
    path.write_text("\ufeff" + "\n".join(rows) + "\n", encoding="utf-8")
    return path


@pytest.mark.parametrize(("row", "why"), BAD.items())
def test_a_bad_row_is_left_out_and_named(tmp_path: Path, capsys: Capture, row: str, why: str) -> None:
    path = written(tmp_path, RIGHT, row, WRONG)
    code, out, _ = run(capsys, path, "--workers", "1")
    flat = " ".join(out.split())
    assert code == 1
    assert "3 steps: 2 holds, 1 fails" in flat
    assert "1 rows or solutions skipped" in flat
    assert why in flat
    code, out, err = run(capsys, path, "--json")
    assert len(out.splitlines()) == 3
    assert f"skipped {path}:2: " in err
    assert run(capsys, written(tmp_path, RIGHT, row))[0] == 0


def test_one_bad_solution_of_a_row_costs_no_other(tmp_path: Path, capsys: Capture) -> None:
    row = json.dumps({"problem": "p", "responses": ["1 + 1 = 3", None, "2 + 2 = 4"]})
    code, out, err = run(capsys, written(tmp_path, row), "--json")
    assert [json.loads(line)["verdict"] for line in out.splitlines()] == ["fails", "holds"]
    assert (code, err.count("skipped")) == (1, 1)


def test_exit_codes(tmp_path: Path, capsys: Capture) -> None:
    assert run(capsys, written(tmp_path, RIGHT))[0] == 0
    assert run(capsys, written(tmp_path, RIGHT, WRONG))[0] == 1
    assert run(capsys, written(tmp_path, RIGHT, WRONG), "--only", "holds")[0] == 1
    for rows in (("null",), list(BAD), ()):
        code, out, err = run(capsys, written(tmp_path, *rows))
        assert (code, out) == (2, ""), err
    assert run(capsys, tmp_path / "missing")[0] == 2
    assert run(capsys, written(tmp_path, RIGHT), "--format", "xml")[0] == 2


def test_a_summary_by_kind(tmp_path: Path, capsys: Capture) -> None:
    row = json.dumps(
        {"problem": "p has 4", "steps": ["x^2 - 1 = (x - 1)(x + 1).", "4 + 4 = 8, 4 * 4 = 15, and 77."]}
    )
    _, out, _ = run(capsys, written(tmp_path, row))
    assert out.splitlines()[-3:] == [
        "algebra: 1 holds",
        "arithmetic: 1 holds, 1 fails",
        "provenance: 1 abstains",
    ]


def test_github_names_the_line_and_ends_no_command_early(tmp_path: Path, capsys: Capture) -> None:
    path = written(tmp_path, RIGHT, "{", WRONG)
    code, out, _ = run(capsys, path, "--format", "github")
    error, warning, notice = out.splitlines()
    assert code == 1
    title = "step 1 of w%3A 1%2C%0A2%2C arithmetic"
    assert error == f"::error file={path},line=3,title={title}::2 + 3 is 5, not 6"
    assert warning.startswith(f"::warning file={path},title=skipped::{path}:2: not valid JSON")
    assert (
        notice == "::notice title=stepmint verify::2 holds, 1 fails, 0 abstains; arithmetic: 2 holds, 1 fails"
    )


def test_sarif_is_one_document(tmp_path: Path, capsys: Capture) -> None:
    path = written(tmp_path, RIGHT, "{", WRONG)
    code, out, _ = run(capsys, path, "--format", "sarif")
    document = json.loads(out)
    (found,) = document["runs"]
    (result,) = found["results"]
    place = result["locations"][0]["physicalLocation"]
    assert (code, document["version"], found["tool"]["driver"]["rules"]) == (
        1,
        "2.1.0",
        [{"id": "arithmetic"}],
    )
    assert (result["ruleId"], result["level"]) == ("arithmetic", "error")
    assert (place["artifactLocation"]["uri"], place["region"]["startLine"]) == (path.as_posix(), 3)
    assert "not 6" in result["message"]["text"]
    (skipped,) = found["invocations"][0]["toolExecutionNotifications"]
    assert "rows.jsonl:2: not valid JSON" in skipped["message"]["text"]


def test_nothing_false_is_an_empty_document(tmp_path: Path, capsys: Capture) -> None:
    code, out, _ = run(capsys, written(tmp_path, RIGHT), "--format", "sarif")
    assert (code, json.loads(out)["runs"][0]["results"]) == (0, [])


def test_the_python_call_gives_the_same(tmp_path: Path, capsys: Capture) -> None:
    _, out, _ = run(capsys, written(tmp_path, RIGHT, next(iter(BAD)), WRONG), "--json")
    items = [json.loads(RIGHT), {"problem": "p", "steps": []}, json.loads(WRONG)]
    found = stepmint.verify(items)
    lines = [{k: v for k, v in line.items() if k not in ("text", "row")} for line in found]
    assert lines == [json.loads(line) for line in out.splitlines()]
    assert [line["row"] for line in found] == [1, 3, 3]
    assert found.summary == {"arithmetic": {"holds": 2, "fails": 1, "abstains": 0}}
    (why,) = found.skipped
    assert why.startswith("solutions[1]: no steps")
    with pytest.raises(UserError, match=r"solutions\[0\]: no steps"):
        stepmint.verify([{"problem": "p", "steps": []}])


def test_a_long_proof_takes_no_square_of_its_lines() -> None:
    """A line among 3,000 others once asked all of them."""
    facts = "sent1: the pip is red sent2: if the pip is red, the pip is warm hypothesis: the pip is warm"
    lines = tuple(f"sent1 & sent2 -> int{n}: the pip is warm" for n in range(3000))
    start = time.process_time()
    found = [line["verdict"] for line in verify([Written("a", facts, lines)])]
    assert time.process_time() - start < 20
    assert (found[0], found[100], found[-1]) == ("holds", "holds", "abstains")


TOM = {
    "id": "tom",
    "problem": "Tom has 14 apples and gets 5 more.",
    "steps": ["14 + 5 = 19", "19 * 2 = 39", "So 77 it is. \x1b[31m"],
}


def test_verify_prints_one_object_a_step(tmp_path: Path, capsys: Capture) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text(json.dumps(TOM), encoding="utf-8")
    code, out, err = run(capsys, path, "--json")
    lines = [json.loads(line) for line in out.splitlines()]
    assert (code, err) == (1, "")
    assert [(line["id"], line["step"], line["verdict"]) for line in lines] == [
        ("tom", 0, "holds"),
        ("tom", 1, "fails"),
        ("tom", 2, "abstains"),
    ]
    assert all(set(line) == {"id", "step", "verdict", "findings"} for line in lines)
    names = {"span", "claim", "verdict", "reason", "by"}
    assert all(set(finding) == names for line in lines for finding in line["findings"])
    assert [finding["by"] for finding in lines[2]["findings"]] == ["provenance"]
    assert run(capsys, path, "--json", "--only", "fails")[1].count("\n") == 1


def test_verify_shows_reasons_and_a_rate(tmp_path: Path, capsys: Capture) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text(json.dumps(TOM), encoding="utf-8")
    code, out, _ = run(capsys, path)
    assert code == 1
    assert "arithmetic: 19 * 2 is 38, not 39" in out
    assert "77 stands neither in the problem nor in an earlier step" in out
    assert re.search(r"3 steps: 1 holds, 1 fails, 1 abstains; [\d,]+ steps/s", out)
    assert "\x1b[31m" not in out
