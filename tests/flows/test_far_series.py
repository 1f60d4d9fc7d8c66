"""A series on an object store: it is published and trained on as one in a folder is, whoever is killed."""

import hashlib
import json
import re
import shutil
import threading
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest

from benchmarks.hub import Hub, serving
from flows import deployed
from flows.engine import without_prefect
from flows.work import work_on
from pipeline.runs import remote
from pipeline.runs.far_series import sealed_nights
from pipeline.runs.series_prms import keep_prm, newest_prm
from pipeline.storage.object_store import ObjectStore, open_objects
from pipeline.storage.shard_log import LogEntry, ShardLog
from schemas.config import PrmConfig, load_config
from schemas.errors import BackendError, UserError
from tests.flows.conftest import rows, write_run_file

DATASET = '[series]\nname = "nightly"\ndataset = "me/demo"\n'


Published = tuple[dict[str, object], list[str]]


class Killed(Exception):  # noqa: N818 - what has happened, not a fault
    """The machine of a fire is gone: it neither says that it ends nor writes anything more."""


@pytest.fixture(autouse=True)
def fresh(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Go on to a machine that has nothing on its disk."""
    machines = iter(range(1000))

    def go() -> None:
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / f"machine-{next(machines)}"))

    go()
    return go


def series_file(folder: Path, root: str, extra: str = DATASET, *, problems: int = 3) -> Path:
    folder.mkdir(exist_ok=True)
    run_file = write_run_file(folder, extra, problems=problems)
    run_file.write_text(run_file.read_text().replace(repr(str(folder / "runs")), repr(root)))
    return run_file


def fire(run_file: Path, day: int) -> list[str]:
    """What came of the fire of a day, a line each."""
    with without_prefect():
        run = deployed.ScheduledRun(run_file=str(run_file))
        return deployed.fire(run, datetime(2026, 11, day, 2, tzinfo=UTC)).split("; ")


def pose(run_file: Path, *texts: str) -> None:
    """Add problems to the source."""
    lines = [json.dumps({"text": text, "answer": "right", "kind": "text"}) for text in texts]
    with run_file.with_name("problems.jsonl").open("a") as file:
        file.write("\n".join(lines) + "\n")


def rows_of(hub: Hub) -> dict[str, object]:
    """The Parquet files of a dataset: rollouts as they are, and labelled solutions as rows."""
    found = {name: data for name, data in hub.files.items() if name.startswith("data/")}
    return {name: data if "/rollouts/" in name else rows([BytesIO(data)]) for name, data in found.items()}


def titles(hub: Hub) -> list[str]:
    """The commits of a dataset: each names its night and the digest of its rows."""
    return [commit["title"] for commit in hub.commits]


def three_days(run_file: Path, between: Callable[[], None]) -> list[list[str]]:
    """A series of two nights: what came of each fire, one of which finds nothing and one is given twice."""
    said = [fire(run_file, 27)]
    between()
    said.append(fire(run_file, 28))
    pose(run_file, "A new problem", "Another one")
    between()
    said.append(fire(run_file, 29))
    between()
    pose(run_file, "Too late for that night")
    said.append(fire(run_file, 29))
    return said


@pytest.mark.parametrize("kind", ["file", "s3"])
def test_rows_and_commits_are_those_of_a_series_in_a_folder(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fresh: Callable[[], None], request: Any
) -> None:
    from huggingface_hub import constants

    bucket = request.getfixturevalue("bucket") if kind == "s3" else f"file://{tmp_path}/objects"
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
    monkeypatch.setenv("HF_TOKEN", "hf_x")
    told, kept = [], []
    for root in (str(tmp_path / "runs"), f"{bucket}/runs"):
        with serving(Hub()) as hub:
            monkeypatch.setattr(constants, "ENDPOINT", hub.url)
            run_file = series_file(tmp_path / "source", root)
            said = three_days(run_file, fresh)
        told.append([[line.replace(root, "ROOT").replace(hub.url, "HUB") for line in one] for one in said])
        kept.append((rows_of(hub), titles(hub), hub.tags))
    assert told[0] == told[1]
    assert told[1][0][0] == "new problems labelled: 3, in ROOT/nightly-2026-11-27"
    assert told[1][1][0].startswith("nothing new: earlier runs of the series have labelled every problem")
    assert told[1][2] == [
        "new problems labelled: 2, in ROOT/nightly-2026-11-29",
        "published: 2026-11-29, at HUB/datasets/me/demo",
    ]
    assert told[1][3][0].endswith("is sealed, and takes no more problems: the next run has what is new")
    assert kept[0] == kept[1]
    assert len(kept[1][1]) == 2


def dying(monkeypatch: pytest.MonkeyPatch, at: str, *, after: bool) -> None:
    """Kill this machine at its first write to a place, before or after it is done."""
    dead = list[str]()

    def broken(write: Callable[..., None]) -> Callable[..., None]:
        def instead(self: ObjectStore, name: str, *given: Any, **how: Any) -> None:
            hit = not dead and re.search(at, f"{self.url}/{name}")
            if hit and after:
                write(self, name, *given, **how)
            if hit:
                dead.append(name)
            if dead:
                raise Killed(name)
            write(self, name, *given, **how)

        return instead

    for name in ("_put", "upload"):
        monkeypatch.setattr(ObjectStore, name, broken(getattr(ObjectStore, name)))


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Published:
    """What a series of two nights publishes that nobody is killed in."""
    folder = tmp_path_factory.mktemp("undisturbed")
    with pytest.MonkeyPatch.context() as patch, serving(Hub()) as hub:
        from huggingface_hub import constants

        patch.setattr(constants, "ENDPOINT", hub.url)
        patch.setattr(constants, "HF_HUB_OFFLINE", False)
        patch.setattr(constants, "HF_HUB_DISABLE_XET", True)
        patch.setenv("HF_TOKEN", "hf_x")
        run_file = series_file(folder, str(folder / "runs"))
        fire(run_file, 27)
        pose(run_file, "A new problem")
        fire(run_file, 28)
    return rows_of(hub), titles(hub)


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("at", ["run.json", "log/0000./00000001", "log/sealed/", "-28/night/"])
def test_a_fire_that_is_killed_is_made_up_for_on_another_machine(
    at: str,
    after: bool,
    tmp_path: Path,
    hub: Hub,
    fresh: Callable[[], None],
    undisturbed: Published,
) -> None:
    run_file = series_file(tmp_path, f"file://{tmp_path}/objects")
    fire(run_file, 27)
    pose(run_file, "A new problem")
    fresh()
    with pytest.MonkeyPatch.context() as patch:
        dying(patch, at, after=after)
        with pytest.raises(Killed):
            fire(run_file, 28)
    fresh()
    with pytest.MonkeyPatch.context() as patch:
        # Else the shard of a worker that is gone is waited for as long as it may be silent.
        patch.setattr(deployed, "work_on", partial(work_on, lease_s=1.0))
        fire(run_file, 28)
    assert (rows_of(hub), titles(hub)) == undisturbed


@pytest.mark.parametrize("how", ["lost", "dropped"])
def test_a_fire_that_is_killed_while_it_publishes_is_made_up_for_by_the_next(
    how: str,
    tmp_path: Path,
    hub: Hub,
    fresh: Callable[[], None],
    undisturbed: Published,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    run_file = series_file(tmp_path, f"file://{tmp_path}/objects")
    fire(run_file, 27)
    pose(run_file, "A new problem")
    began = len(hub.requests)
    commit = next(n for n, asked in enumerate(hub.requests) if "/commit/" in asked)
    hub.fault = (began + commit, how)
    monkeypatch.setattr(deployed.follow_up.__globals__["publish_series"], "delays", ())
    with pytest.raises(deployed.BackendError):
        fire(run_file, 28)
    fresh()
    assert fire(run_file, 29)[0].startswith("nothing new")
    assert (rows_of(hub), titles(hub)) == undisturbed


def test_two_fires_at_once_publish_every_problem_once(tmp_path: Path, hub: Hub) -> None:
    """Two of one day share its run. One of the next day, which saw that not sealed, may have labelled the
    same: then one of the two nights is refused."""
    run_file = series_file(tmp_path, f"file://{tmp_path}/objects", problems=6)
    start, said = threading.Barrier(3), list[str]()

    def race(day: int) -> None:
        start.wait()
        try:
            said.append(fire(run_file, day)[0])
        except UserError as error:
            said.append(str(error))

    racing = [threading.Thread(target=race, args=(day,)) for day in (27, 27, 28)]
    for one in racing:
        one.start()
    for one in racing:
        one.join()
    nights = sealed_nights(f"file://{tmp_path}/objects", "nightly")
    published = [night for night in nights if night.name in hub.tags]
    found = [name for night in published for name in night.finished()]
    assert len(found) == len(set(found)) == 6, said
    assert len(hub.commits) == len(published), said


def test_a_fire_that_is_overtaken_goes_on_with_the_run_of_its_day(
    tmp_path: Path, hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The other one began the run, sealed and published it, and had found a problem more in the source."""
    run_file = series_file(tmp_path, f"file://{tmp_path}/objects")
    create, said = remote.create, list[str]()

    def overtaken(*given: Any) -> bool:
        if not said:
            said.append("")
            pose(run_file, "A new problem")
            said.append(fire(run_file, 27)[0])
        return create(*given)

    monkeypatch.setattr(remote, "create", overtaken)
    assert fire(run_file, 27)[0].startswith("nothing to do: ")
    assert said[1].startswith("new problems labelled: 4,")
    assert len(hub.commits) == 1
    assert fire(run_file, 28)[0].startswith("nothing new")


def test_a_night_goes_on_with_what_it_began_with(tmp_path: Path, fresh: Callable[[], None]) -> None:
    run_file = series_file(tmp_path, f"file://{tmp_path}/objects", '[series]\nname = "nightly"\n')
    fire(run_file, 27)
    run_file.write_text(run_file.read_text().replace("rollouts = 8", "rollouts = 4"))
    fresh()
    with pytest.raises(UserError, match=r"nightly-2026-11-27: was begun with .*rollouts=8, not 4"):
        fire(run_file, 27)
    pose(run_file, "A new problem")
    assert fire(run_file, 28)[0].startswith("new problems labelled: 1,")
    # Other runs there are no nights, however they are called.
    run_file.write_text(run_file.read_text().replace('name = "nightly"', 'name = "nightly-2026"'))
    assert fire(run_file, 28)[0].startswith("new problems labelled: 4,")
    assert [night.name for night in sealed_nights(f"file://{tmp_path}/objects", "nightly")] == [
        "2026-11-27",
        "2026-11-28",
    ]


def trained(base: str) -> str:
    votes = '[[annotate]]\nkind = "prm"\ncheckpoint = "series"\n'
    train = f"retrain_rows = 5\n[train]\nmodel = {base!r}\nepochs = 1\nholdout = 0\n"
    return f'[series]\nname = "nightly"\n{train}{votes}'


def test_the_prm_of_a_series_outlives_the_machines_that_trained_it(
    tmp_path: Path, byte_base: str, fresh: Callable[[], None]
) -> None:
    """It is that of the same series in a folder. A fire that is killed leaves the old one or the new one."""
    far = f"file://{tmp_path}/objects"
    said = []
    for root in (str(tmp_path / "runs"), far):
        run_file = series_file(tmp_path, root, trained(byte_base), problems=4)
        said.append([fire(run_file, 27)[1]])
        for at in ("files/", "folder.json", "log/trained") if root == far else ():
            shutil.rmtree(tmp_path / "objects" / "checkpoints")
            for after in (False, True):
                fresh()
                with pytest.MonkeyPatch.context() as patch:
                    dying(patch, at, after=after)
                    with pytest.raises(Killed):
                        fire(run_file, 27)
                assert bool(newest_prm(load_config(run_file))) is (after and at == "log/trained")
            fresh()
            assert fire(run_file, 27)[1] in (said[-1][0], "no PRM trained, rows missing: 5")
        pose(run_file, "A new problem", "Another one")
        fresh()
        said[-1].append(fire(run_file, 28)[1])
    place = f"{far}/checkpoints/nightly"
    assert said[1][0].endswith(f", in {place}/2026-11-27")
    assert [line.replace(str(tmp_path), "").replace("file:///objects", "") for line in said[1]] == [
        line.replace(str(tmp_path), "") for line in said[0]
    ]
    about, there = (
        json.loads((tmp_path / "checkpoints/nightly/latest.json").read_text()),
        newest_prm(load_config(run_file)),
    )
    assert there == {name: about[name] for name in there}
    listing = json.loads((tmp_path / f"objects/checkpoints/nightly/{there['tag']}/folder.json").read_text())
    weights = tmp_path / f"objects/checkpoints/nightly/{there['tag']}/files" / listing["model.safetensors"]
    local = tmp_path / "checkpoints/nightly" / there["tag"] / "model.safetensors"
    assert weights.read_bytes() == local.read_bytes()
    # It voted in the second night, on a machine that had never seen it.
    began = remote.recorded(open_objects(f"{far}/nightly-2026-11-28", written=False))
    assert began is not None
    assert began.annotators(PrmConfig)[0].checkpoint == f"{place}/2026-11-27"
    nights = [remote.last_manifest(open_objects(f"{far}/nightly-2026-11-{day}")) for day in (27, 28)]
    assert [night is not None and "prm" in night.sources for night in nights] == [False, True]


def test_of_two_trained_at_once_the_one_with_more_rows_is_the_newest(tmp_path: Path, byte_base: str) -> None:
    config = load_config(series_file(tmp_path, f"file://{tmp_path}/objects", trained(byte_base)))
    for tag, n in (("b", 20), ("a", 10), ("c", 20)):
        folder = tmp_path / "made" / tag
        folder.mkdir(parents=True)
        (folder / "prm.json").write_text(tag)
        keep_prm(config, folder, {"tag": tag, "rows": n, "digest": tag})
    assert newest_prm(config) == {"tag": "b", "rows": 20, "digest": "b"}
    # Under one name the first one stays, and whoever came later goes on with that.
    (folder / "prm.json").write_text("another")
    keep_prm(config, folder, {"tag": "c", "rows": 30, "digest": "c"})
    assert (folder / "prm.json").read_text() == "c"
    assert newest_prm(config)["rows"] == 30


@pytest.mark.parametrize("tag", ["../../../etc", "2026\n", "", ["2026"], "a" * 300])
def test_a_tag_that_a_store_says_is_a_name_or_refused(tmp_path: Path, tag: object, byte_base: str) -> None:
    """Paths and addresses are made of it."""
    objects = open_objects(f"file://{tmp_path}/objects/checkpoints/nightly")
    said = {"trained": json.dumps({"tag": tag, "rows": 5}).encode()}
    ShardLog(objects, "trained").append(LogEntry("done", "n", parts=said))
    run_file = series_file(tmp_path, f"file://{tmp_path}/objects", trained(byte_base), problems=4)
    with pytest.raises(UserError, match="the log of trained PRMs ends in no PRM"):
        fire(run_file, 27)


def test_what_a_store_says_of_nights_is_doubted(tmp_path: Path) -> None:
    run_file = series_file(tmp_path, f"file://{tmp_path}/objects", '[series]\nname = "nightly"\n')
    fire(run_file, 27)
    night = tmp_path / "objects" / "nightly-2026-11-27"
    for name in ("nightly-2026 11", "nightly-é", f"nightly-{'2' * 201}"):
        shutil.copytree(night, night.with_name(name))
    assert [one.name for one in sealed_nights(f"file://{tmp_path}/objects", "nightly")] == ["2026-11-27"]
    (listed,) = (night / "night").iterdir()
    for parts in ({}, {"finished": b"\xff"}, {"finished": b"a b"}):
        listed.write_bytes(LogEntry("done", "", "nightly", parts).encoded())
        with pytest.raises(BackendError, match="lists no problems: remove it, and it is made anew"):
            fire(run_file, 28)
    listed.unlink()
    assert fire(run_file, 28)[0].startswith("nothing new")
    # Its settings may be any bytes.
    record = json.loads((night / "run.json").read_text())
    record["files"]["run.toml"] = hashlib.sha256(b"\xff").hexdigest()
    (night / "inputs" / record["files"]["run.toml"]).write_bytes(b"\xff")
    (night / "run.json").write_text(json.dumps(record))
    with pytest.raises(UserError, match="not valid TOML"):
        fire(run_file, 27)
