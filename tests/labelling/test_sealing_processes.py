"""Shards that are sealed by processes of their own are those that one process writes."""

import shutil
from pathlib import Path

import pytest

from pipeline.labelling import sealing
from pipeline.runs.run_store import RunStore
from pipeline.storage.journal import path_of
from pipeline.storage.recorded import config_here
from schemas.errors import UserError


def sealed(run: Path) -> tuple[dict[str, bytes], object]:
    manifest = sealing.seal(RunStore(run, config_here(run)))
    files = {shard.file: (run / shard.file).read_bytes() for shard in manifest.shards}
    return files, manifest.model_copy(update={"sealed_at": ""})


def test_the_bytes_and_the_counts_are_the_same(
    labelled: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("one", "many"):
        shutil.copytree(labelled, tmp_path / name / "r")
    alone = sealed(tmp_path / "one" / "r")
    monkeypatch.setattr(sealing, "_WORTH_PROCESSES", 1)
    monkeypatch.setattr(sealing, "cores", lambda: 2)
    asked: list[int] = []
    elsewhere = sealing._elsewhere

    def told(*args: object) -> object:
        result = elsewhere(*args)  # type: ignore[arg-type]
        asked.append(result is not None)
        return result

    monkeypatch.setattr(sealing, "_elsewhere", told)
    assert sealed(tmp_path / "many" / "r") == alone
    assert asked == [True, True], "both shards came from processes of their own"


def test_a_shard_that_no_process_could_seal_is_sealed_here(
    labelled: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("one", "many"):
        shutil.copytree(labelled, tmp_path / name / "r")
    alone = sealed(tmp_path / "one" / "r")
    monkeypatch.setattr(sealing, "_WORTH_PROCESSES", 1)
    monkeypatch.setattr(sealing, "cores", lambda: 2)
    monkeypatch.setattr(sealing, "_elsewhere", lambda *_: None)
    assert sealed(tmp_path / "many" / "r") == alone


def test_an_error_that_names_a_file_is_raised_by_the_command(
    labelled: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A line that is no finished problem, though its checksum fits."""
    run = tmp_path / "r"
    shutil.copytree(labelled, run)
    spoil(path_of(run, 1))
    monkeypatch.setattr(sealing, "_WORTH_PROCESSES", 1)
    monkeypatch.setattr(sealing, "cores", lambda: 2)
    with pytest.raises(UserError, match=r"00001\.jsonl: the line at byte 0 is no finished problem"):
        sealing.seal(RunStore(run, config_here(run)))
    assert not (run / "manifest.json").exists()


def spoil(journal: Path) -> None:
    from pipeline.storage.journal import body_of, signed

    first, *others = journal.read_bytes().splitlines(keepends=True)
    body = body_of(first).replace(b'"asks":"solvable"', b'"asks":"whether"')
    journal.write_bytes(b"".join([signed(body), *others]))
