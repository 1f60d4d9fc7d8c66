"""The flows: once for real under Prefect, the rest as plain functions."""

import json
import logging.handlers
import os
import shutil
import sqlite3
import threading
import time
from contextlib import closing
from pathlib import Path

import pytest

from flows import progress
from flows.cli import main
from flows.synthesize import _raise_owed, is_lost_worker, label_shard, seal_run, synthesize
from flows.train import checkpoint_of, train_model
from pipeline.labelling.problems import read_problems
from pipeline.prompts.templates import load_template
from pipeline.runs.run_store import RunStore
from pipeline.storage.generations import read_manifest
from pipeline.storage.journal_packing import unpack
from schemas.config import RunConfig, TrainConfig, load_config
from schemas.errors import BackendError, UserError

Capture = pytest.CaptureFixture[str]


class Counting:
    """Hears everything, keeps it."""

    def __init__(self) -> None:
        self.stages: list[tuple[str, int | None, int]] = []
        self.advanced = 0
        self.notes: list[str] = []

    def begin(self, stage: str, total: int | None, done: int) -> None:
        self.stages.append((stage, total, done))

    def advance(self) -> None:
        self.advanced += 1

    def note(self, text: str) -> None:
        self.notes.append(text)

    def end(self, *, whole: bool) -> None:
        pass


@pytest.mark.usefixtures("prefect")
def test_a_run_cut_short_goes_on_with_the_same_command(run_file: Path, capsys: Capture) -> None:
    assert main(["run", str(run_file), "--json"]) == 0
    first = json.loads(capsys.readouterr().out)
    folder = Path(first["path"])
    assert json.loads((folder / "summary.json").read_text()) == first
    assert first["problems"] == 12

    journal = folder / "journal" / "00001.jsonl"
    unpack(journal)
    journal.write_bytes(journal.read_bytes()[:-20])
    (folder / "manifest.json").unlink()
    assert main(["run", str(run_file)]) == 0
    out, err = capsys.readouterr()
    assert "11 done earlier" in err
    assert "problems" in out
    assert "Prefect" not in err
    assert json.loads((folder / "summary.json").read_text())["dataset_digest"] == first["dataset_digest"]


@pytest.mark.usefixtures("prefect")
def test_progress_reaches_the_listener_and_sealed_runs_are_left_alone(run_file: Path) -> None:
    heard = Counting()
    config = load_config(run_file)
    with progress.listening(heard):
        first = synthesize(config)
        before = (Path(first["run"]) / "manifest.json").stat().st_mtime_ns
        assert synthesize(config) == first
    assert ("labelling", 12, 0) in heard.stages
    assert heard.advanced == 12
    # What the first shard has loaded stays for the second.
    shards = ["shard 1 of 2: loading simulated simulated", "shard 2 of 2"]
    assert [note for note in heard.notes if note.startswith("shard")] == shards
    assert (Path(first["run"]) / "manifest.json").stat().st_mtime_ns == before


@pytest.mark.usefixtures("prefect")
def test_prefects_log_tells_what_the_user_can_mend_without_a_traceback(
    run_file: Path, tmp_path: Path
) -> None:
    config = load_config(run_file, ("train.model=/no/such/base",))
    heard = logging.handlers.BufferingHandler(1000)
    logger = logging.getLogger("prefect.flow_runs")
    logger.addHandler(heard)
    try:
        with pytest.raises(UserError, match="/no/such/base: not a model"):
            synthesize(config)
    finally:
        logger.removeHandler(heard)
    said = [record for record in heard.buffer if "/no/such/base" in record.getMessage()]
    assert said
    assert not any(record.exc_info for record in said)


@pytest.mark.usefixtures("prefect")
def test_a_lost_shard_does_not_stop_the_others(run_file: Path, capsys: Capture) -> None:
    config = load_config(run_file)
    store = RunStore.open(config)
    read_problems(store)
    with store.writing(0):  # as another process would
        assert main(["synthesize", str(run_file)]) == 2
    err = capsys.readouterr().err
    assert "stepmint: " in err.splitlines()[-1]
    assert "shard 0 is being written by another process" in err
    assert "Traceback" not in err
    assert not store.shard_state(1).owed
    assert main(["synthesize", str(run_file), "--json"]) == 0


@pytest.mark.usefixtures("prefect")
def test_a_backend_that_is_gone_leaves_everything_owed(run_file: Path, capsys: Capture) -> None:
    gone = ["--set", 'policy={kind="server", model="m", base_url="http://127.0.0.1:9/v1"}']
    assert (
        main(["synthesize", str(run_file), *gone, "--set", "policy.timeout_s=2", "--set", "problems.limit=2"])
        == 1
    )
    err = capsys.readouterr().err
    assert err.splitlines()[-1].startswith("stepmint: ")
    assert "Traceback" not in err
    folder = run_file.parent / "runs" / "demo"
    assert main(["status", str(folder)]) == 1


def test_a_database_that_stands_still_costs_no_rows(
    prefect: Path, run_file: Path, tmp_path: Path, capsys: Capture
) -> None:
    journal = tmp_path / "runs/demo/journal/00000.jsonl"
    held = threading.Event()

    def hold() -> None:
        while not journal.exists():
            time.sleep(0.01)
        with closing(sqlite3.connect(prefect / "server.db", isolation_level=None, timeout=30)) as database:
            database.execute("BEGIN EXCLUSIVE")
            held.set()
            time.sleep(5)

    holder = threading.Thread(target=hold)
    holder.start()
    assert main(["synthesize", str(run_file), "--json"]) == 0
    holder.join()
    assert held.is_set()
    found = json.loads(capsys.readouterr().out)
    other = ["synthesize", str(run_file), "--no-prefect", "--json", "--set", f"root={tmp_path}/other"]
    assert main(other) == 0
    assert json.loads(capsys.readouterr().out)["dataset_digest"] == found["dataset_digest"]


def test_the_page_of_a_run_shows_progress_labels_and_where_they_are(prefect: Path, run_file: Path) -> None:
    from prefect.logging.handlers import APILogWorker
    from prefect.settings import PREFECT_LOGGING_TO_API_ENABLED, temporary_settings

    with temporary_settings({PREFECT_LOGGING_TO_API_ENABLED: True}):
        sealed = synthesize(load_config(run_file, ("name=Shown.Here",)))
        APILogWorker.drain_all(timeout=5)
    with closing(sqlite3.connect(prefect / "server.db")) as database:
        rows = database.execute(
            "select key, type, data from artifact where key like 'shown-here%'"
        ).fetchall()
    shown = {key: (kind, data) for key, kind, data in rows}
    for shard in (0, 1):
        assert shown[f"shown-here-shard-{shard}"] == ("progress", 100)
    kind, table = shown["shown-here-labels"]
    manifest = read_manifest(Path(sealed["run"]))
    assert manifest is not None
    assert kind == "table"
    assert {row["source"]: row["votes"] for row in json.loads(json.loads(table))} == {
        name: one.votes for name, one in manifest.sources.items()
    }
    assert f"stepmint report {sealed['run']}" in shown["shown-here-report"][1]


def test_a_shard_is_a_plain_function(run_file: Path) -> None:
    config = load_config(run_file)
    store = RunStore.open(config)
    total = read_problems(store)
    done = [label_shard.fn(config, shard)["done"] for shard in range(2)]
    assert sum(done) == total
    assert label_shard.fn(config, 0) == {"done": 0, "failed": 0}
    assert seal_run.fn(config)["problems"] == total


def test_sealing_says_what_is_owed(run_file: Path) -> None:
    config = load_config(run_file)
    read_problems(RunStore.open(config))
    with pytest.raises(UserError, match="12 problems are still owed"):
        seal_run.fn(config)


@pytest.mark.parametrize(
    ("error", "again"), [(UserError(), False), (BackendError(), False), (OSError(), True)]
)
def test_only_lost_workers_are_retried(error: Exception, again: bool) -> None:
    assert is_lost_worker(error) is again


def test_a_checkpoint_of_the_same_rows_is_kept(sealed: Path, tmp_path: Path) -> None:
    shutil.copytree(sealed, tmp_path / "runs" / "demo")
    config = load_config(sealed / "run.toml", (f"root={str(tmp_path / 'runs')!r}", "train.epochs=3"))
    manifest = read_manifest(RunStore(sealed, config).path)
    assert manifest is not None
    folder = checkpoint_of(config)
    folder.mkdir(parents=True)
    wanted = {
        "dataset_digest": manifest.digest(),
        "template": load_template(config.prompt.template),
        "train": TrainConfig().model_dump(mode="json"),
    }
    (folder / "training.json").write_text(json.dumps(wanted))
    (folder / "prm.json").write_text("{}")
    (folder / "metrics.json").write_text('{"loss": 0.5}')
    assert train_model.fn(config, str(folder)) == {"loss": 0.5, "kept": True}


def test_checkpoints_lie_beside_the_runs() -> None:
    assert checkpoint_of(RunConfig(name="a")) == Path("checkpoints/a")
    assert checkpoint_of(RunConfig(name="a", root="/data/runs")) == Path("/data/checkpoints/a")


def test_evaluation_of_other_problems_is_refused_before_any_work(run_file: Path) -> None:
    from flows.main import main as whole

    config = load_config(run_file, ("train.epochs=1", "evaluate.samples=2"))
    with pytest.raises(UserError, match="needs embedded problems"):
        whole.fn(config)
    assert not (run_file.parent / "runs").exists()


def test_a_variable_the_person_set_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    from flows.settings import DEFAULTS, set_defaults

    name = "PREFECT_SERVER_ANALYTICS_ENABLED"
    monkeypatch.setenv(name, "true")
    set_defaults()
    assert os.environ[name] == "true"
    assert DEFAULTS[name] == "false"


@pytest.mark.parametrize(
    ("found", "raised"),
    [
        ([BackendError("gone"), UserError("mend it")], UserError),
        ([BackendError("gone"), KeyError("a bug")], KeyError),
        ([{"done": 1, "failed": 0}, BackendError("gone")], BackendError),
        ([{"done": 1, "failed": 1}], BackendError),
    ],
)
def test_what_the_person_can_mend_is_said_first_and_a_bug_before_a_backend(
    run_file: Path, found: list[object], raised: type[Exception]
) -> None:
    store = RunStore.open(load_config(run_file))
    total = read_problems(store)
    with pytest.raises(raised):
        _raise_owed(store, total, found)
    summary = json.loads((store.path / "summary.json").read_text())
    assert (summary["problems"], summary["owed"], summary["sealed"]) == (12, 12, False)


def test_nothing_is_raised_where_nothing_failed(run_file: Path) -> None:
    store = RunStore.open(load_config(run_file))
    _raise_owed(store, read_problems(store), [{"done": 6, "failed": 0}])
