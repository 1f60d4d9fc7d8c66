"""The table of docs/runs.md names every file that a run has."""

import re
import shutil
from pathlib import Path

from flows.cli import main

PAGE = Path(__file__).parents[1] / "docs" / "runs.md"
PLACES = {"NNNNN": r"\d{5}", "DIGEST": "[0-9a-f]{16}", "METHOD": "[a-z_]+"}


def named(page: str) -> re.Pattern[str]:
    """What the table names, in its first column and, as files beside those, in its third."""
    names = set[str]()
    for row in re.findall(r"^\| `.*", page.partition("\n## ")[0], re.MULTILINE):
        first, *_, third = row.split("|")[1:-1]
        found = re.findall(r"`([^`]+)`", first)
        names |= {*found}
        names |= {f"{Path(found[0]).parent}/{one}" for one in re.findall(r"`([^`/ ]+\.sha256)`", third)}
    pattern = "|".join(re.escape(name) for name in names)
    for word, meant in PLACES.items():
        pattern = pattern.replace(word, meant)
    return re.compile(pattern)


def files(run: Path) -> set[str]:
    found = (path for path in run.rglob("*") if path.is_file() or path.is_symlink())
    return {str(path.relative_to(run)) for path in found}


def test_the_table_names_every_file_of_a_run(labelled: Path, tmp_path: Path) -> None:
    run, table = tmp_path / "r", named(PAGE.read_text())
    shutil.copytree(labelled, run)
    seen = files(run)
    text = (run / "run.toml").read_text().replace(str(labelled.parent), str(tmp_path))
    shutil.copyfile(labelled.parent / "problems.jsonl", tmp_path / "problems.jsonl")
    (tmp_path / "mine.toml").write_text(text)
    for command in (["run", "--no-prefect", str(tmp_path / "mine.toml")], ["derive", str(run), "quality"]):
        assert main(command) == 0
        seen |= files(run)
    assert {"summary.json", "manifest.json", "shards", "derived/quality.parquet"} <= seen
    assert sorted(name for name in seen if not table.fullmatch(name)) == []
