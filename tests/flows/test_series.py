"""What follows the labelling of a series' runs: publishing what is missing, and training on all of them."""

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import pytest

from benchmarks.hub import Hub
from flows import deployed
from flows.engine import without_prefect
from flows.series import publish_series, rows_of_nights
from pipeline.annotators.opening import annotators
from pipeline.runs.run_store import RunStore
from pipeline.runs.series import SealedNight, sealed_night
from pipeline.storage.generations import sealed_manifest
from pipeline.storage.recorded import config_here, read_config
from schemas.config import PrmConfig, load_config
from schemas.errors import BackendError, UserError
from schemas.records import content_id
from tests.flows.conftest import write_run_file

DATASET = '[series]\nname = "nightly"\ndataset = "me/demo"\n'


def fire(run_file: Path, day: int) -> list[str]:
    """What came of the fire of a day, a line each."""
    with without_prefect():
        run = deployed.ScheduledRun(run_file=str(run_file))
        return deployed.fire(run, datetime(2026, 11, day, 2, tzinfo=UTC)).split("; ")


def pose(folder: Path, *texts: str) -> None:
    """Add problems to the source."""
    lines = [json.dumps({"text": text, "answer": "right", "kind": "text"}) for text in texts]
    with (folder / "problems.jsonl").open("a") as file:
        file.write("\n".join(lines) + "\n")


def test_a_night_that_could_not_be_published_goes_with_the_next(
    tmp_path: Path, hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_file = write_run_file(tmp_path, DATASET, problems=3)
    monkeypatch.setattr(publish_series, "delays", (0.0,))
    hub.refuse = 500
    with pytest.raises(BackendError, match="the Hub answered 500"):
        fire(run_file, 27)
    assert sum(request.endswith("/repos/create") for request in hub.requests) == 2  # it was tried again
    sealed_manifest(tmp_path / "runs" / "nightly-2026-11-27")
    hub.refuse = 0
    pose(tmp_path, "A new problem")
    runs = tmp_path / "runs"
    assert fire(run_file, 28) == [
        f"new problems labelled: 1, in {runs / 'nightly-2026-11-28'}",
        f"published: 2026-11-27, 2026-11-28, at {hub.url}/datasets/me/demo",
    ]
    assert list(hub.tags) == ["2026-11-27", "2026-11-28"]
    # A fire that finds nothing new publishes nothing, and its run is none.
    assert fire(run_file, 29)[1] == f"published: nothing new, at {hub.url}/datasets/me/demo"
    assert len(hub.commits) == 2


def test_a_night_that_is_published_takes_no_more_problems(tmp_path: Path, hub: Hub) -> None:
    """Rows that come between a fire and its second try are the next night's: a published night is fixed."""
    run_file = write_run_file(tmp_path, DATASET, problems=3)
    fire(run_file, 27)
    pose(tmp_path, "A new problem")
    again = fire(run_file, 27)
    assert again[0].endswith("is sealed, and takes no more problems: the next run has what is new")
    assert again[1].startswith("published: nothing new")
    labelled, published = fire(run_file, 28)
    assert labelled.startswith("new problems labelled: 1,")
    assert published.startswith("published: 2026-11-28, at")


def test_a_series_may_be_published_later(tmp_path: Path, hub: Hub) -> None:
    """Runs from before the dataset was named are of the same series: nothing is labelled twice."""
    run_file = write_run_file(tmp_path, '[series]\nname = "nightly"\n', problems=3)
    assert len(fire(run_file, 27)) == 1
    run_file = write_run_file(tmp_path, DATASET, problems=3)
    labelled, published = fire(run_file, 28)
    assert labelled.startswith("nothing new")
    assert published.startswith("published: 2026-11-27, at")


def test_a_prm_is_trained_on_all_nights_when_enough_rows_are_new(tmp_path: Path, byte_base: str) -> None:
    train = f"retrain_rows = 5\n[train]\nmodel = {byte_base!r}\nepochs = 1\nholdout = 0\n"
    votes = '[[annotate]]\nkind = "prm"\ncheckpoint = "series"\n'
    run_file = write_run_file(tmp_path, f'[series]\nname = "nightly"\n{train}{votes}', problems=1)
    runs, place = tmp_path / "runs", tmp_path / "checkpoints" / "nightly"

    def rows(*days: int) -> int:
        return sum(sealed_manifest(runs / f"nightly-2026-11-{day}").solutions for day in days)

    _, told = fire(run_file, 27)
    assert told == f"no PRM trained, rows missing: {5 - rows(27)}"
    assert not (tmp_path / "checkpoints").exists()
    pose(tmp_path, *(f"More {i}" for i in range(3)))
    _, told = fire(run_file, 28)
    folder = place / "2026-11-28"
    assert told == f"PRM trained on {rows(27, 28)} rows, in {folder}"
    latest = json.loads((place / "latest.json").read_text())
    digests = [sealed_manifest(runs / f"nightly-2026-11-{day}").digest() for day in (27, 28)]
    assert latest.pop("checksum")
    assert latest == {"tag": "2026-11-28", "rows": rows(27, 28), "digest": content_id(digests)}
    assert json.loads((folder / "prm.json").read_text())["dataset_digest"] == latest["digest"]
    metrics = json.loads((folder / "metrics.json").read_text())
    assert metrics["solutions"] + sum(metrics["left_out"].values()) == rows(27, 28)
    weights = (folder / "model.safetensors").read_bytes()
    # The same fire again, and a later one without new problems.
    for day in (28, 29):
        assert fire(run_file, day)[1] == "no PRM trained, rows missing: 5"
    # Killed before the last file was written: the checkpoint is kept, if it is there.
    (place / "latest.json").unlink()
    before = (folder / "model.safetensors").stat().st_mtime_ns
    assert fire(run_file, 28)[1] == told
    assert (folder / "model.safetensors").stat().st_mtime_ns == before
    # Killed while it trained: it is trained again, with the same weights.
    (place / "latest.json").unlink()
    shutil.rmtree(folder)
    assert fire(run_file, 28)[1] == told
    assert (folder / "model.safetensors").read_bytes() == weights
    assert latest.items() < json.loads((place / "latest.json").read_text()).items()
    assert sorted(path.name for path in (tmp_path / "checkpoints").iterdir()) == ["nightly"]
    # From now on it votes, and a run that began without it, or with it, goes on so.
    pose(tmp_path, *(f"Last {i}" for i in range(3)))
    for day in (30, 30, 28):
        fire(run_file, day)
    assert json.loads((place / "latest.json").read_text())["tag"] == "2026-11-30"
    with pytest.raises(UserError, match="only fires of `stepmint deploy` know the newest PRM"):
        annotators(load_config(run_file))
    sources = {day: sealed_manifest(runs / f"nightly-2026-11-{day}").sources for day in (27, 28, 30)}
    assert [day for day in sources if "prm" in sources[day]] == [30]
    assert sources[30]["prm"].votes > sources[30]["prm"].abstained
    assert read_config(runs / "nightly-2026-11-30").annotators(PrmConfig)[0].checkpoint == str(folder)


def test_a_night_that_is_finished_late_leaves_the_trained_prm_as_it_is(
    tmp_path: Path, byte_base: str
) -> None:
    train = f"retrain_rows = 1\n[train]\nmodel = {byte_base!r}\nepochs = 1\nholdout = 0\n"
    run_file = write_run_file(tmp_path, f'[series]\nname = "nightly"\n{train}', problems=2)
    place = tmp_path / "checkpoints" / "nightly"
    fire(run_file, 28)
    first = (place / "2026-11-28" / "prm.json").read_bytes()
    pose(tmp_path, *(f"More {i}" for i in range(2)))
    assert "PRM trained" in fire(run_file, 27)[1]
    assert (place / "2026-11-28" / "prm.json").read_bytes() == first
    latest = json.loads((place / "latest.json").read_text())
    assert latest["tag"] == f"2026-11-28-{latest['digest']}"
    assert json.loads((place / latest["tag"] / "prm.json").read_text())["dataset_digest"] == latest["digest"]


def test_an_edited_file_is_no_hindrance_to_measuring_what_earlier_nights_trained(
    tmp_path: Path, byte_base: str
) -> None:
    run_file = tmp_path / "run.toml"
    text = f"""
name = "demo"
root = {str(tmp_path / "runs")!r}
series = {{name = "nightly", retrain_rows = ROWS}}
problems = {{source = "embedded", limit = 3}}
prompt = {{temperature = 0.7}}
annotate = [{{kind = "monte_carlo", rollouts = 2}}]
train = {{model = {byte_base!r}, epochs = 1, holdout = 0}}
evaluate = {{problems = 3, samples = 2}}
"""
    run_file.write_text(text.replace("ROWS", "1000"))
    fire(run_file, 27)
    run_file.write_text(text.replace("ROWS", "1").replace("0.7", "0.8"))
    labelled, trained = fire(run_file, 28)
    assert labelled.startswith("nothing new")
    assert trained.startswith("PRM trained")
    assert (tmp_path / "checkpoints/nightly/2026-11-27/evaluation.json").is_file()


def test_the_newest_prm_is_meant_although_a_folder_is_called_series(tmp_path: Path) -> None:
    (tmp_path / "series").mkdir()
    train = 'retrain_rows = 8\n[train]\nmodel = "embedded"\n'
    votes = '[[annotate]]\nkind = "prm"\ncheckpoint = "series"\n'
    run_file = write_run_file(tmp_path, f'[series]\nname = "nightly"\n{train}{votes}')
    assert load_config(run_file).annotators(PrmConfig)[0].checkpoint == "series"


def test_a_base_that_cannot_read_the_solutions_costs_no_night(tmp_path: Path) -> None:
    train = 'retrain_rows = 1\n[train]\nmodel = "embedded-reader"\n'
    run_file = write_run_file(tmp_path, f'[series]\nname = "nightly"\n{train}', problems=0)
    pose(tmp_path, "Mia is neat.", "Everyone who is glad is quick.")
    with pytest.raises(UserError, match="of the text as unknown tokens"):
        fire(run_file, 27)
    assert not list(tmp_path.rglob("journal/*"))


def test_retraining_needs_settings(tmp_path: Path) -> None:
    run_file = write_run_file(tmp_path, '[series]\nname = "nightly"\nretrain_rows = 8\n')
    with pytest.raises(UserError, match=r"series.retrain_rows trains a PRM, so \[train\] is needed too"):
        load_config(run_file)


def test_a_night_is_held_only_while_its_rows_are_read(sealed: Path) -> None:
    """A training takes hours, in which others may want a night's copy on this machine."""
    held = list[str]()

    @contextmanager
    def opened(name: str, _: bool) -> Iterator[RunStore]:
        held.append(name)
        yield RunStore(sealed, config_here(sealed))
        held.remove(name)

    digest = sealed_manifest(sealed).digest()
    nights = [SealedNight(name, "", digest, 1, set, partial(opened, name)) for name in ("a", "b")]
    assert {tuple(held) for _ in rows_of_nights(nights)} == {("a",), ("b",)}
    assert held == []


def test_a_night_that_is_sealed_anew_while_it_is_listed_is_not_trained_on(sealed: Path) -> None:
    """The PRM is recorded as one of the rows that were listed, and would not be trained anew."""
    listed = sealed_night(RunStore(sealed, config_here(sealed)))._replace(digest="0123456789abcdef")
    with pytest.raises(BackendError, match="was sealed anew meanwhile"):
        list(rows_of_nights([listed]))
