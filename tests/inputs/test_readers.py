"""Every reader with its siblings: BOM, CRLF, gzip, quoted newlines, empty files, wrong names, many batches,
and functions of outsiders."""

import gzip
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import datasets
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.inputs.problems import check_problems, load_problems
from pipeline.inputs.source import ProblemSource
from pipeline.runs.identity import files_input
from schemas.config import problems_config
from schemas.errors import UserError
from schemas.records import Problem, Quarantined

ROWS = [{"question": f"What is {i} + 1?\nSay it.", "answer": str(i + 1)} for i in range(3)]
LINES = "".join(json.dumps(row) + "\n" for row in ROWS)
CSV = "question,answer\n" + "".join(f'"{row["question"]}",{row["answer"]}\n' for row in ROWS)
TSV = CSV.replace("question,", "question\t").replace('",', '"\t')


def load(path: object, **changes: Any) -> list[Problem | Quarantined]:
    return list(load_problems(problems_config(path=path, **changes)))


def pairs(found: list[Problem | Quarantined]) -> list[dict[str, str | None]]:
    assert not [item for item in found if isinstance(item, Quarantined)]
    return [{"question": p.text, "answer": p.answer} for p in found if isinstance(p, Problem)]


def bom(text: str) -> bytes:
    return b"\xef\xbb\xbf" + text.encode()


def crlf(text: str) -> bytes:
    return text.replace("\n", "\r\n").encode()


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.jsonl", LINES.encode()),
        ("a.jsonl", bom(LINES)),
        ("a.jsonl", crlf(LINES)),
        ("a.ndjson", LINES.encode()),
        ("A.JSONL", LINES.encode()),
        ("a.jsonl.gz", gzip.compress(bom(LINES), mtime=0)),
        ("a.jsonl", gzip.compress(LINES.encode(), mtime=0)),  # its name does not say that it is compressed
        ("a.json", json.dumps(ROWS).encode()),
        ("a.json", json.dumps(ROWS, indent=1).encode()),
        ("a.json.gz", gzip.compress(crlf(json.dumps(ROWS, indent=1)), mtime=0)),
        ("a.json", LINES.encode()),  # lines, and the name of a list
        ("a.csv", CSV.encode()),
        ("a.csv", bom(CSV)),
        ("a.csv.gz", gzip.compress(CSV.encode(), mtime=0)),
        ("a.csv", CSV.replace("question,", "question;").replace('",', '";').encode()),
        ("a.tsv", TSV.encode()),
        ("a.tsv.gz", gzip.compress(bom(TSV), mtime=0)),
        ("a.txt", LINES.encode()),
        ("a", json.dumps(ROWS).encode()),
    ],
)
def test_a_file_of_any_spelling_gives_the_same_problems(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)
    assert pairs(load(str(tmp_path / name))) == ROWS


def test_a_format_is_for_names_that_say_nothing(tmp_path: Path) -> None:
    for name, text, kind in [("a.txt", CSV, "csv"), ("b", TSV, "tsv"), ("c.csv", CSV, "jsonl")]:
        (tmp_path / name).write_text(text)
        assert pairs(load(str(tmp_path / name), format=kind)) == ROWS
    pq.write_table(pa.Table.from_pylist(ROWS), tmp_path / "d.jsonl")  # Parquet says itself what it is
    assert pairs(load(str(tmp_path / "d.jsonl"))) == ROWS


def test_every_row_of_every_batch_of_parquet_is_read(tmp_path: Path) -> None:
    many = [{"question": f"Q{i}", "answer": str(i)} for i in range(2500)]  # more than two batches
    pq.write_table(pa.Table.from_pylist(many), tmp_path / "a.parquet", row_group_size=700)
    found = load(str(tmp_path / "a.parquet"))
    assert pairs(found) == many
    assert [item.source.row for item in found if isinstance(item, Problem)] == list(range(2500))


def test_parquet_without_a_row_and_with_nulls(tmp_path: Path) -> None:
    schema = pa.schema([("question", pa.string()), ("answer", pa.list_(pa.string()))])
    pq.write_table(schema.empty_table(), tmp_path / "a.parquet")
    assert load(str(tmp_path / "a.parquet")) == []
    with pytest.raises(UserError, match=r"a\.parquet: no usable problem: it holds no row"):
        check_problems(problems_config(path=str(tmp_path / "a.parquet")))
    rows = [{"question": "a", "answer": ["1", "one"]}, {"question": None, "answer": ["2"]}]
    pq.write_table(pa.Table.from_pylist(rows, schema=schema), tmp_path / "b.parquet")
    good, bad = load(str(tmp_path / "b.parquet"))
    assert isinstance(good, Problem)
    assert good.golds == ("1", "one")
    assert isinstance(bad, Quarantined)
    assert (bad.row, bad.field) == (2, "question")


@pytest.mark.parametrize("name", ["a.jsonl", "a.json", "a.csv", "a.tsv", "a.jsonl.gz", "a.txt"])
@pytest.mark.parametrize("content", [b"", b"\n\n", b"\xef\xbb\xbf"])
def test_an_empty_file_is_one_line(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UserError, match="no usable problem: it holds no row"):
        check_problems(problems_config(path=str(tmp_path / name)))


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("a.csv", LINES.encode(), "its first line is JSON, not column names: name the file .jsonl"),
        ("a.jsonl", b'{"text": "one"\n', r"row 1: not valid JSON: Expecting ',' delimiter at column 15;"),
        ("a.jsonl", CSV.encode(), r"row 1: not valid JSON.*its name ends in \.csv or \.tsv, or with format"),
        ("a.parquet", LINES.encode(), "not a readable Parquet file"),
        ("a.csv", LINES.encode("utf-16"), "not UTF-8 .*: save it as UTF-8 text"),
        ("a.csv", b"a;b,c\n1,2\n", "expected one of problem, question, prompt, text, query; it has a;b, c"),
        ("a.csv", b"question,answer\n", "no usable problem: it holds no row"),
    ],
)
def test_a_file_that_is_not_what_its_name_says(tmp_path: Path, name: str, content: bytes, said: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UserError, match=said) as error:
        check_problems(problems_config(path=str(tmp_path / name)))
    assert name in str(error.value)
    assert "\n" not in str(error.value)


def test_a_bad_row_is_told_by_the_line_where_it_begins(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes(crlf('question,answer\n"a\nb",1\n"",2\nc,3,4\n'))
    (tmp_path / "b.jsonl").write_bytes(bom('\n{"question": "a"}\n\n{"question": 5}\n{\n'))
    for name, lines in (("a.csv", [4, 5]), ("b.jsonl", [4, 5])):
        bad = [item for item in load(str(tmp_path / name)) if isinstance(item, Quarantined)]
        assert [item.row for item in bad] == lines


def test_folders_globs_and_lists(tmp_path: Path) -> None:
    for i, row in enumerate(ROWS):
        (tmp_path / f"deep/{i}").mkdir(parents=True)
        (tmp_path / f"deep/{i}/x.jsonl").write_text(json.dumps(row))
    assert pairs(load(f"{tmp_path}/deep/**/*.jsonl")) == ROWS
    assert pairs(load([f"{tmp_path}/deep/2", f"{tmp_path}/deep/0/x.jsonl"])) == [ROWS[2], ROWS[0]]
    with pytest.raises(UserError, match=r'for files deeper inside write "[^"]+/\*\*/\*\.jsonl"'):
        load(str(tmp_path / "deep"))


def test_a_saved_dataset_with_lists_and_structs(tmp_path: Path) -> None:
    rows = [
        {"prompt": [{"role": "user", "content": "P"}], "reward": {"gold": "34"}, "answer": ["34", "34.0"]}
    ]
    datasets.Dataset.from_list(rows).save_to_disk(str(tmp_path / "one"))
    for source in ("file", "huggingface"):
        (item,) = load(str(tmp_path / "one"), source=source)
        assert isinstance(item, Problem)
        assert (item.text, item.golds) == ("P", ("34", "34.0"))


@pytest.mark.parametrize("name", ["csv", "json", "parquet", "text", "arrow", "xml", "pandas"])
def test_a_hub_name_that_is_a_format_reads_no_file_of_this_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / f"a.{name}").write_text(CSV)
    with pytest.raises(UserError, match=f"'{name}' is the name of a format: for files set source = \"file\""):
        load(name, source="huggingface")


def test_rows_of_a_hub_dataset(monkeypatch: pytest.MonkeyPatch) -> None:
    """The Hub itself is not asked: what stands in for it gives rows as it streams them, and breaks."""
    asked: list[tuple[Any, ...]] = []

    def stream(name: str, subset: str | None, **how: Any) -> Iterator[dict[str, str]]:
        asked.append((name, subset, how["split"], how["revision"], how["streaming"]))
        yield from ROWS
        if subset == "torn":
            raise ConnectionError("the line\nwas cut")

    monkeypatch.setattr(datasets, "load_dataset", stream)
    config = {"source": "huggingface", "path": "o/n", "split": "test", "revision": "abc"}
    found = list(load_problems(problems_config(**config)))
    assert pairs(found) == ROWS
    assert asked == [("o/n", None, "test", "abc", True)]
    assert {item.source.split for item in found if isinstance(item, Problem)} == {"test"}
    with pytest.raises(
        UserError, match="dataset 'o/n', split 'test', after row 3: ConnectionError: the line"
    ):
        list(load_problems(problems_config(**config, subset="torn")))


MODULE = """
from schemas.records import Problem

def rows(n, broken=False):
    for i in range(n):
        yield {"question": f"Q{i}", "answer": i}
    yield {"question": "", "answer": 1}
    yield 5
    if broken:
        raise RuntimeError("no more")

def problems():
    return [Problem(text="P", answer="1", alternatives=("one",), domain="own"), Problem(text="P2")]

def nothing():
    return None
"""


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A module of an outsider, in the working folder."""
    path = tmp_path / "outsider_rows.py"
    path.write_text(MODULE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    yield path
    sys.modules.pop("outsider_rows", None)


def test_rows_of_a_function_are_validated_like_any_others(module: Path) -> None:
    config = problems_config(factory="outsider_rows:rows", options={"n": 2})
    found = list(load_problems(config))
    assert [(p.text, p.answer) for p in found if isinstance(p, Problem)] == [("Q0", "0"), ("Q1", "1")]
    bad = [(q.file, q.row, q.field, q.reason) for q in found if isinstance(q, Quarantined)]
    assert bad == [
        ("outsider_rows:rows", 3, "question", "expected the problem's text, found str ''"),
        ("outsider_rows:rows", 4, "", "expected an object, found int"),
    ]
    assert check_problems(config) == ["problems: text from `question`, answer from `answer`"]


def test_problems_of_a_function_are_taken_as_they_are(module: Path) -> None:
    config = problems_config(source="python", factory="outsider_rows:problems")
    one, two = list(load_problems(config))
    assert isinstance(one, Problem)
    assert (one.golds, one.domain, one.source.dataset) == (("1", "one"), "own", "outsider_rows:problems")
    assert isinstance(two, Problem)
    assert two.golds == ()
    assert one.id == Problem(text="P", answer="1", alternatives=("one",)).id


@pytest.mark.parametrize(
    ("factory", "options", "said"),
    [
        ("outsider_rows:rows", {"n": 1, "broken": True}, "after row 3: RuntimeError: no more"),
        ("outsider_rows:rows", {}, "options: missing a required argument: 'n'; it takes n"),
        ("outsider_rows:nothing", {}, "returned None: is a `return` missing"),
        ("outsider_rows:absent", {}, "has no function 'absent'"),
    ],
)
def test_a_function_that_breaks_is_one_line(
    module: Path, factory: str, options: dict[str, Any], said: str
) -> None:
    with pytest.raises(UserError, match=said) as error:
        check_problems(problems_config(factory=factory, options=options))
    assert "\n" not in str(error.value)


def test_a_function_is_told_by_its_code(module: Path, tmp_path: Path) -> None:
    config = problems_config(factory="outsider_rows:problems")
    before = files_input(ProblemSource(config).name, ProblemSource(config).files(), tmp_path)
    assert before.name == "outsider_rows:problems"
    module.write_text(MODULE + "\n# changed\n")
    assert not before.is_same(
        files_input(ProblemSource(config).name, ProblemSource(config).files(), tmp_path)
    )
