"""Problems from files as people have them: what is read, what is set aside by row, what is one line."""

import gzip
import json
from pathlib import Path

import datasets
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.inputs.golds import golds_of
from pipeline.inputs.problems import check_problems, load_problems, problem_files
from pipeline.inputs.rows import LONGEST_ROW, Unreadable
from schemas.config import problems_config
from schemas.errors import UserError
from schemas.records import Problem, Quarantined


def load(path: object, **changes: object) -> list[Problem | Quarantined]:
    data = {"source": "jsonl", "path": path if isinstance(path, list | tuple) else str(path), **changes}
    return list(load_problems(problems_config(**data)))


def write(folder: Path, name: str, content: str | bytes) -> Path:
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def answers(found: list[Problem | Quarantined]) -> list[str | None]:
    assert not [item for item in found if isinstance(item, Quarantined)]
    return [item.answer for item in found if isinstance(item, Problem)]


def bad(found: list[Problem | Quarantined]) -> list[tuple[int | None, str, str]]:
    return [(item.row, item.field, item.reason) for item in found if isinstance(item, Quarantined)]


TWO = [{"text": "What is 1 + 1?", "answer": "2"}, {"text": "What is 1 + 2?", "answer": 3}]


@pytest.mark.parametrize("source", ["jsonl", "csv", "parquet"])
@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.jsonl", "\n".join(map(json.dumps, TWO))),
        ("a.jsonl", "\ufeff" + "\r\n\r\n".join(map(json.dumps, TWO))),
        ("a.json", json.dumps(TWO)),
        ("a.json", "\ufeff\n" + json.dumps(TWO, indent=2)),
        ("a.jsonl", json.dumps(TWO)),
        ("a.csv", "text,answer\nWhat is 1 + 1?,2\nWhat is 1 + 2?,3\n"),
        ("a.csv", '\ufefftext;answer\r\n"What is 1 + 1?";2\r\nWhat is 1 + 2?;3'),
        ("a.tsv", "text\tanswer\nWhat is 1 + 1?\t2\n\nWhat is 1 + 2?\t3\n"),
        ("a.jsonl.gz", gzip.compress("\n".join(map(json.dumps, TWO)).encode(), mtime=0)),
        ("a.csv.gz", gzip.compress(b"text,answer\nWhat is 1 + 1?,2\nWhat is 1 + 2?,3\n", mtime=0)),
    ],
)
def test_files_are_read_as_their_names_say(
    tmp_path: Path, name: str, content: str | bytes, source: str
) -> None:
    assert answers(load(write(tmp_path, name, content), source=source)) == ["2", "3"]


def test_many_files(tmp_path: Path) -> None:
    for i in (1, 0):
        rows = [{"text": f"problem {i}.{j}", "answer": f"{i}{j}"} for j in range(2)]
        pq.write_table(pa.Table.from_pylist(rows), tmp_path / f"part-{i}.parquet")
    write(tmp_path, "notes.md", "nothing")
    for paths in (tmp_path, f"{tmp_path}/*.parquet", sorted(map(str, tmp_path.glob("*.parquet")))):
        found = load(paths, source="parquet")
        assert answers(found) == ["00", "01", "10", "11"]
        assert [p.source.dataset for p in found if isinstance(p, Problem)][2:] == ["part-1.parquet"] * 2


def test_a_saved_dataset(tmp_path: Path) -> None:
    data = datasets.Dataset.from_list([{"question": "What is 1 + 1?", "answer": "2"}])
    data.save_to_disk(str(tmp_path / "one"))
    datasets.DatasetDict({"train": data}).save_to_disk(str(tmp_path / "split"))
    for name in ("one", "split"):
        for source in ("huggingface", "parquet"):
            assert answers(load(tmp_path / name, source=source)) == ["2"]
    with pytest.raises(UserError, match="no split 'test'; it has train"):
        load(tmp_path / "split", source="huggingface", split="test")


@pytest.mark.parametrize(
    "value", [None, float("nan"), "nan", "NaN", "None", "null", "", "  ", "N/A", "<NA>", " null\n"]
)
def test_what_is_no_answer(tmp_path: Path, value: object) -> None:
    row = {"text": "What?", "answer": value}
    assert answers(load(write(tmp_path, "a.jsonl", json.dumps(row)))) == [None]
    pq.write_table(pa.Table.from_pylist([row]), tmp_path / "a.parquet")
    assert answers(load(tmp_path / "a.parquet")) == [None]


@pytest.mark.parametrize(
    ("value", "text"), [(18.0, "18.0"), (18, "18"), ("18", "18"), (0, "0"), (["4"], "4"), (-1e-3, "-0.001")]
)
def test_an_answer_is_kept_as_its_source_writes_it(value: object, text: str) -> None:
    assert golds_of(value) == (text,)


@pytest.mark.parametrize(
    "value", [[], [["4"]], {"value": 3}, True, float("inf"), [True], ["4", {"value": 3}], b"4"]
)
def test_what_cannot_be_an_answer_is_set_aside(value: object) -> None:
    assert isinstance(golds_of(value), Unreadable)


@given(st.recursive(st.none() | st.booleans() | st.floats() | st.text(), st.lists, max_leaves=4))
def test_every_value_is_an_answer_none_or_refused(value: object) -> None:
    found = golds_of(value)
    assert isinstance(found, Unreadable) or not {"", "nan", "none"} & {gold.strip().lower() for gold in found}


def test_bad_rows_are_set_aside_by_their_line(tmp_path: Path) -> None:
    rows = [
        '{"text": "a", "answer": "1"}',
        "",
        "{oops}",
        '{"text": "b", "answer": {"value": 5}}',
        '{"text": "c", "answer": 1' + "0" * 400 + "}",
        '{"text": "d", "other": ' + "1" * 5000 + "}",
        '{"text": 3}',
        '{"answer": 3}',
        '["a"]',
        '{"text": "a", "answer": "1"}',
        "[" * 100_000,
        '{"text": "\\ud800"}',
        '{"text": "e", "answer_kind": "poem"}',
        json.dumps({"text": "f" * 1_000_001}),
    ]
    path = write(tmp_path, "a.jsonl", "\n".join(rows).encode() + b'\n{"text": "\xff"}')
    found = load(path)
    assert [p.text for p in found if isinstance(p, Problem)] == ["a"]
    said = {row: (field, reason) for row, field, reason in bad(found)}
    assert sorted(said) == list(range(3, 16))  # type: ignore[type-var]
    assert said[3][1].startswith("not valid JSON: Expecting property name")
    assert said[4] == (
        "answer",
        "found dict {'value': 5}: write it as text or a number, or as a list of the answers that are "
        'accepted; or name what is inside: fields = {answer = "COLUMN.value"}',
    )
    assert said[5][1] == "not valid JSON: an integer of 401 digits"
    assert said[6][1] == "not valid JSON: an integer of 5,000 digits"
    assert said[7] == ("text", "expected the problem's text, found int '3'")
    assert said[8] == ("text", "no value, expected the problem's text; the row has answer")
    assert said[9][1] == "expected an object, found list"
    assert said[10][1] == f"same as {path} row 1"
    assert said[14][1] == "a text of 1,000,001 characters"
    assert said[15][1].startswith("not UTF-8")


def test_a_huge_row_costs_a_row_and_no_memory(tmp_path: Path) -> None:
    huge = b'{"text": "' + b"x" * (2 * LONGEST_ROW) + b'"}\n'
    found = load(write(tmp_path, "a.jsonl", b'{"text": "a"}\n' + huge + b'{"text": "b"}\n'))
    assert bad(found) == [(2, "", "longer than 10,000,000 bytes")]
    assert len(found) == 3


def test_a_list_keeps_its_good_items(tmp_path: Path) -> None:
    path = write(tmp_path, "a.json", '[{"text": "a"}, {"text": "b", "answer": 1' + "0" * 200 + "}, 5]")
    assert bad(load(path)) == [(2, "", "an integer of 201 digits"), (3, "", "expected an object, found int")]


def test_an_object_alone_in_its_file_is_a_row(tmp_path: Path) -> None:
    """Also one that holds a list of objects, and one in whose first line something is broken."""
    [one] = load(write(tmp_path, "a.json", '{"text": "a", "turns": [{"role": "user"}]}'))
    assert isinstance(one, Problem)
    found = load(write(tmp_path, "b.jsonl", '{"text": "a"\n{"text": "b"}\n'))
    assert [item.text for item in found if isinstance(item, Problem)] == ["b"]
    assert len(bad(found)) == 1


def test_cells_of_tables(tmp_path: Path) -> None:
    path = write(tmp_path, "a.csv", 'text,answer\n"a\n\nb, ""c""",1.50\nx,y,z\n"d",\n"e')
    found = load(path)
    assert [(p.text, p.answer) for p in found if isinstance(p, Problem)] == [
        ('a\n\nb, "c"', "1.50"),
        ("d", None),
        ("e", None),
    ]
    assert bad(found) == [(5, "", "3 cells for 2 columns")]


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("a.jsonl", b"\xff\xfe{", "its first line is not UTF-8"),
        ("a.jsonl.gz", b"\x1f\x8b\x08\x00", "cannot be read as text"),
        ("a.json", b'[{"text": "a"},', "neither JSON lines nor a JSON list"),
        ("a.parquet", b"PAR1", "not a readable Parquet file"),
        ("a.xlsx", b"PK\x03\x04\x14\x00", r"a spreadsheet or another ZIP archive: save the sheet as \.csv"),
        ("a.csv", b"\xd0\xcf\x11\xe0\xa1", r"a spreadsheet: save it as \.csv"),
        (
            "a.json",
            b'{"data": [{"text": "a"}, {"text": "b"}]}',
            r"""one JSON object, whose 'data' holds 2 objects: .*jq '\.\["data"\]' a\.json""",
        ),
        (
            "a.json",
            b'{"version": 1,\n "rows": [\n {"text": "a"}\n ]}',
            "one JSON object, whose 'rows' holds 1 objects",
        ),
        ("a.json", b'{"version": 1, "questions": [{"text": "a"}]}', "whose 'questions' holds 1 objects"),
        ("a.json", b'{\n "text": "a"\n}', "one JSON object over several lines"),
    ],
)
def test_files_that_cannot_be_read(tmp_path: Path, name: str, content: bytes, said: str) -> None:
    with pytest.raises(UserError, match=said):
        load(write(tmp_path, name, content))


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("", "no usable problem"),
        ("name = 1\nx", r"the first of 2 bad rows: a\.jsonl, row 1: not valid JSON.*its name ends in \.csv"),
    ],
)
def test_a_file_without_a_problem_is_seen_before_the_run(tmp_path: Path, content: str, said: str) -> None:
    path = write(tmp_path, "a.jsonl", content)
    with pytest.raises(UserError, match=said):
        check_problems(problems_config(source="jsonl", path=str(path)))


def test_paths_that_lead_nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    monkeypatch.setenv("STEPMINT_DATA", str(tmp_path))
    for path, said in [
        ("/none/x.jsonl", "/none/x.jsonl: no such file"),
        (
            "none.jsonl",
            "none.jsonl: no such file; a relative path is looked for beside the run file",
        ),
        ("$STEPMINT_DATA/x.jsonl", "set STEPMINT_DATA to the folder that holds your data"),
        (str(tmp_path), "a folder without any .jsonl"),
        (f"{tmp_path}/*.jsonl", "matches no file"),
        ("/dev/null", "neither a file nor a folder"),
        ("", "problems.path is empty"),
        ("$HF_TOKEN/x.jsonl", r"only \$STEPMINT_DATA and ~ are expanded in a path, not \$HF_TOKEN"),
        ("${HF_TOKEN}.jsonl", r"not \$HF_TOKEN"),
    ]:
        with pytest.raises(UserError, match=said) as error:
            load(path)
        assert "hf_secret" not in str(error.value)
        assert ("STEPMINT_DATA to" in str(error.value)) == path.startswith("$STEPMINT")


def test_the_data_folder_is_expanded_and_a_dollar_in_a_name_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STEPMINT_DATA", str(tmp_path))
    path = write(tmp_path, "a$b.jsonl", '{"text": "a"}')
    assert problem_files(problems_config(source="jsonl", path="$STEPMINT_DATA/*.jsonl")) == [path]
    assert problem_files(problems_config(source="jsonl", path=str(path))) == [path]


def test_a_dataset_that_cannot_be_had_is_one_line() -> None:
    for path, said in [("csv", "is the name of a format"), ("", "path is empty"), ("a//b", "dataset 'a//b'")]:
        with pytest.raises(UserError, match=said) as error:
            load(path, source="huggingface")
        assert "\n" not in str(error.value)


def test_the_columns_of_a_table_are_told_by_their_names(tmp_path: Path) -> None:
    assert answers(load(write(tmp_path, "a.csv", " text , answer ,,\nWhat is 1 + 1?,2,,\n"))) == ["2"]
    with pytest.raises(UserError, match=r"b\.csv: the column 'answer' stands twice"):
        load(write(tmp_path, "b.csv", "text,answer,answer\nWhat is 1 + 1?,2,3\n"))
