"""`[problems]`: each source has its own settings, others are refused, and earlier spellings are read."""

from pathlib import Path
from typing import Any

import pytest

from schemas.config import (
    EmbeddedProblems,
    FileProblems,
    HubProblems,
    PythonProblems,
    RunConfig,
    load_config,
    parse_config,
    problems_config,
)
from schemas.errors import UserError

STORED = {"path": "", "subset": "", "split": "train", "mapping": "plain", "fields": {}, "steps": [3, 8]}
"""What earlier versions wrote into every run.toml."""


@pytest.mark.parametrize(
    ("section", "expected"),
    [
        ({}, EmbeddedProblems()),
        ({"limit": 3, "steps": [2, 3]}, EmbeddedProblems(limit=3, steps=(2, 3))),
        ({"path": "mine.jsonl"}, FileProblems(path="mine.jsonl")),
        ({"source": "file", "path": ["a.csv", "b.csv"]}, FileProblems(path=("a.csv", "b.csv"))),
        ({"source": "jsonl", "path": "a"}, FileProblems(path="a")),
        ({"source": "csv", "path": "a"}, FileProblems(path="a", format="csv")),
        ({"source": "parquet", "path": "a"}, FileProblems(path="a", format="parquet")),
        ({"source": "huggingface", "path": "o/n", "subset": "s"}, HubProblems(path="o/n", subset="s")),
        ({"factory": "mine:rows"}, PythonProblems(factory="mine:rows")),
        (
            {"source": "python", "factory": "a.b:c", "options": {"n": 3}},
            PythonProblems(factory="a.b:c", options={"n": 3}),
        ),
        ({**STORED, "source": "embedded", "limit": 3}, EmbeddedProblems(limit=3)),
        ({**STORED, "source": "embedded", "revision": ""}, EmbeddedProblems()),
        ({**STORED, "source": "jsonl", "path": "a", "revision": ""}, FileProblems(path="a")),
        ({**STORED, "source": "jsonl", "path": "a", "split": "x"}, FileProblems(path="a", split="x")),
        ({**STORED, "source": "huggingface", "path": "o/n"}, HubProblems(path="o/n")),
    ],
)
def test_a_section_is_of_the_source_it_names_or_implies(section: dict[str, Any], expected: object) -> None:
    found = problems_config(**section)
    assert found == expected
    assert problems_config(**found.model_dump(mode="json")) == found
    run = RunConfig.model_validate({"name": "r", "problems": section})
    assert RunConfig.model_validate(run.model_dump(mode="json")).problems == expected


@pytest.mark.parametrize(
    ("section", "said"),
    [
        ({"source": "file", "path": "x", "subset": "s"}, '`subset` belongs to source = "huggingface", and'),
        (
            {"source": "file", "path": "x", "steps": [3, 8]},
            '`steps` belongs to source = "embedded", and',
        ),
        ({"source": "huggingface", "path": "x", "factory": "a:b"}, '`factory` belongs to source = "python"'),
        ({"source": "embedded", "path": "x"}, '`path` belongs to source = "file" or source = "huggingface"'),
        ({"fields": {"text": "q"}}, "problems that are generated: `source` is missing"),
        ({**STORED, "source": "jsonl", "path": "x", "subset": "s"}, '`subset` belongs to source = "hugg'),
        ({"source": "sql"}, "source = 'sql' does not exist; choose embedded, file, huggingface, python"),
        ({"source": "python"}, "factory: Field required"),
        ({"factory": "mine.rows"}, "factory: String should match"),
        ({"path": "x", "limit": 0}, "limit: Input should be greater than or equal to 1"),
        ({"path": "x", "filed": {}}, "filed: Extra inputs"),
    ],
)
def test_a_setting_that_would_do_nothing_is_refused(section: dict[str, Any], said: str) -> None:
    with pytest.raises(UserError) as error:
        problems_config(**section)
    assert said in str(error.value)
    with pytest.raises(UserError, match="mine.toml: problems"):
        parse_config({"name": "r", "problems": section}, "mine.toml")


def test_paths_are_relative_to_the_run_file_where_they_are_found_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, here = tmp_path / "experiments", tmp_path / "here"
    for place in (folder, here):
        (place / "data").mkdir(parents=True)
    for file in (folder / "a.jsonl", here / "a.jsonl", here / "b.jsonl", folder / "data/c.csv"):
        file.write_text("")
    (folder / "ask.txt").write_text("{problem}")
    (folder / "openai").mkdir()
    monkeypatch.chdir(here)

    def path_of(path: str, source: str = "") -> object:
        run = folder / "mine.toml"
        run.write_text(f'name = "r"\n[problems]\npath = {path}\n{source}\n[prompt]\ntemplate = "ask.txt"\n')
        config = load_config(run)
        assert config.prompt.template == str(folder / "ask.txt")
        assert not isinstance(config.problems, EmbeddedProblems | PythonProblems)
        return config.problems.path

    assert path_of('"a.jsonl"') == str(folder / "a.jsonl")  # in both: the run file's comes first
    assert path_of('"b.jsonl"') == "b.jsonl"
    assert path_of('"data/*.csv"') == str(folder / "data/*.csv")
    assert path_of('["a.jsonl", "b.jsonl"]') == (str(folder / "a.jsonl"), "b.jsonl")
    assert path_of('"none.jsonl"') == "none.jsonl"
    assert path_of('"$STEPMINT_DATA/x"') == "$STEPMINT_DATA/x"
    assert path_of('"~/x"') == "~/x"
    assert path_of('"openai"', 'source = "huggingface"') == "openai"
    config = load_config(folder / "mine.toml", ("problems.source='file'", "problems.path='a.jsonl'"))
    assert config.problems == FileProblems(path="a.jsonl")  # of the command line: of the working folder


def test_the_run_toml_of_a_run_keeps_its_paths_as_they_were_found(tmp_path: Path) -> None:
    (tmp_path / "problems").mkdir()
    recorded = (
        '# The resolved configuration of this run; digest 0\nname = "r"\n[problems]\npath = "problems"\n'
    )
    (tmp_path / "run.toml").write_text(recorded)
    assert load_config(tmp_path / "run.toml").problems == FileProblems(path="problems")
