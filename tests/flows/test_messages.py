"""What the command says to somebody new with own problems: one line each, with what helps, before anything is
drawn (cases/messages.md)."""

import json
from pathlib import Path

import datasets
import pytest

from flows.cli import main

GOOD = {"problem": "What is 1 + 1?", "answer": "2"}
FILES = {
    "plain.jsonl": json.dumps(GOOD),
    "odd.jsonl": json.dumps({"task": "What is 1 + 1?", "answer": "2"}),
    "table.csv": "Question,Answer\nWhat is 1 + 1?,2\n",
    "table.tsv": "question\tgold\nWhat is 1 + 1?\t2\n",
    "list.json": json.dumps([GOOD], indent=2),
    "bom.jsonl": "\ufeff" + json.dumps(GOOD),
    "broken.jsonl": '\n{"problem": "a",\n',
    "empty_text.jsonl": json.dumps({"problem": " ", "answer": "2"}),
    "dict.jsonl": json.dumps({"problem": "a", "answer": {"value": 3}}),
    "bool.jsonl": json.dumps({"problem": "a", "answer": True}),
    "two.jsonl": json.dumps({"problem": "a", "prompt": "Solve: a", "answer": "2"}),
    "several.jsonl": json.dumps({"problem": "a", "answer": ["4", "5"]}),
    "config.csv": "a;b\n1;2\n",
}
TAKEN = [
    ('path = "plain.jsonl"', "problems: text from `problem`, answer from `answer`"),
    ('path = "table.csv"', "problems: text from `Question`, answer from `Answer`"),
    ('path = "table.tsv"', "problems: text from `question`, answer from `gold`"),
    ('path = "list.json"', "problems: text from `problem`, answer from `answer`"),
    ('path = "bom.jsonl"', "problems: text from `problem`, answer from `answer`"),
    ('path = "several.jsonl"', "problems: text from `problem`, answer from `answer`"),
    ('path = "saved"', "problems: text from `question`, answer from `answer`"),
    ('source = "huggingface"\npath = "saved"', "problems: text from `question`, answer from `answer`"),
    ('source = "csv"\npath = "table.csv"', "problems: text from `Question`, answer from `Answer`"),
    ('path = "odd.jsonl"\nfields = {text = "task"}', "problems: text from `task`, answer from `answer`"),
]
REFUSED = [
    ('path = "odd.jsonl"', 'it has task, answer: write fields = {text = "task"} under [problems]'),
    ('path = "none.jsonl"', "none.jsonl: no such file; a relative path is looked for beside the run file"),
    ('path = "none/*.jsonl"', "none/*.jsonl: matches no file; a relative path is looked for beside"),
    ('path = "$STEPMINT_DATA/x.jsonl"', "set STEPMINT_DATA to the folder that holds your data"),
    ('path = "bare"', "a folder without any .jsonl, .json, .csv, .tsv, .parquet file in it"),
    ('path = "plain.jsonl"\nsubset = "main"', '`subset` belongs to source = "huggingface"'),
    ('source = "embedded"\npath = "plain.jsonl"', '`path` belongs to source = "file"'),
    ('source = "huggingface"\npath = "csv"', "'csv' is the name of a format: for files set source"),
    ('path = "broken.jsonl"', "the first of 1 bad rows: broken.jsonl, row 2: not valid JSON"),
    ('path = "empty_text.jsonl"', "row 1, column 'problem': expected the problem's text, found str ' '"),
    ('path = "dict.jsonl"', "row 1, column 'answer': found dict {'value': 3}: write it as text or a number"),
    ('path = "dict.jsonl"', 'or name what is inside: fields = {answer = "COLUMN.value"}'),
    ('path = "bool.jsonl"', "column 'answer': found the truth value True, which cannot be compared"),
    ('path = "two.jsonl"', "both 'problem' and 'prompt' could hold the problem, and they differ"),
    ('path = "plain.jsonl"\nfields = {answer = "solution"}', "no column 'solution', which [problems] fields"),
    ('path = "plain.jsonl"\nfields = {anwser = "answer"}', "unknown field 'anwser'; known: text, answer"),
    ('path = "config.csv"', "no column with the problem's text: expected one of problem, question, prompt"),
]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Files of somebody new, beside the run file and not in the working folder."""
    home = tmp_path / "mine"
    for name in ("bare", "elsewhere"):
        (home / name).mkdir(parents=True)
    for name, text in FILES.items():
        (home / name).write_text(text)
    saved = datasets.Dataset.from_list([{"question": "What is 1 + 1?", "answer": "2"}])
    saved.save_to_disk(str(home / "saved"))
    monkeypatch.setenv("STEPMINT_DATA", str(home / "bare"))
    monkeypatch.chdir(home / "elsewhere")
    return home


def dry_run(folder: Path, section: str) -> int:
    file = folder / "run.toml"
    policy = '[policy]\nkind = "simulated"\n'
    file.write_text(f'name = "r"\nroot = "{folder}/runs"\n[problems]\n{section}\n{policy}')
    return main(["run", str(file), "--dry-run"])


@pytest.mark.parametrize(("section", "said"), TAKEN)
def test_what_is_taken_is_said_in_one_line(
    folder: Path, capsys: pytest.CaptureFixture[str], section: str, said: str
) -> None:
    if "huggingface" in section:  # the name of a dataset: a folder is named in full
        section = section.replace('"saved"', f'"{folder}/saved"')
    assert dry_run(folder, section) == 0
    taken, *about_answers = capsys.readouterr().err.splitlines()
    assert taken == f"stepmint: note: {said}"
    # Numbers are no answers of the simulated policy, which these runs have.
    assert all("the simulated policy only answers" in line for line in about_answers)


@pytest.mark.parametrize(("section", "said"), REFUSED)
def test_what_cannot_be_used_is_said_with_its_place_and_remedy(
    folder: Path, capsys: pytest.CaptureFixture[str], section: str, said: str
) -> None:
    assert dry_run(folder, section) == 2
    error = capsys.readouterr().err
    assert said in error
    assert error.count("\n") == 1
    assert ("STEPMINT_DATA" in error) == ("STEPMINT_DATA" in section)
    assert not (folder / "runs").exists()
