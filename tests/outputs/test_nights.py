"""A series' dataset on a stand-in Hub: each night lands once, whatever fails and whoever else publishes."""

import base64
import json
import os
import re
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pyarrow.parquet as pq
import pytest

from benchmarks.hub import LARGE, Hub, serving
from pipeline.labelling.sealing import seal
from pipeline.outputs import nights as module
from pipeline.outputs.nights import publish_nights
from pipeline.outputs.publish import publish_run
from pipeline.runs.run_store import RunStore
from pipeline.runs.series import sealed_night
from pipeline.storage.generations import sealed_manifest
from pipeline.storage.recorded import config_here
from schemas.config import FusionConfig
from schemas.errors import BackendError, UserError
from schemas.series import NightList

# The Hub's client uploads a large file by a call that its own library calls outdated.
pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")
FIRST, SECOND = "2026-11-27", "2026-11-28"
Nights = list[RunStore]


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    with serving(Hub(ends=LARGE)) as found:
        use(found, monkeypatch)
        yield found


def use(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    """Publish to this Hub."""
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "ENDPOINT", hub.url)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
    monkeypatch.setenv("HF_TOKEN", "hf_x")


def publish(runs: Nights) -> list[str]:
    return publish_nights(lambda: [sealed_night(run) for run in runs], "nightly", "me/demo").nights


def content(hub: Hub) -> Any:
    """All that a reader of the dataset can see."""
    seen = {tag: hub.at(commit)[1] for tag, commit in hub.tags.items()}
    return hub.files, seen, [commit["title"] for commit in hub.commits]


def files_of(run: RunStore, night: str) -> dict[str, bytes]:
    """The Parquet files that a run's night must have."""
    manifest = sealed_manifest(run.path)
    names = {"steps": [shard.file for shard in manifest.shards], "rollouts": list(manifest.packed)}
    return {
        f"data/{subset}/{night}-{Path(name).name}": (run.path / name).read_bytes()
        for subset, files in names.items()
        for name in files
    }


LOAD = """
import json, sys
from datasets import load_dataset
ways = {
    "all": {},
    "first": {"revision": "2026-11-27"},
    "second alone": {"data_files": "data/steps/2026-11-28-*.parquet"},
    "rollouts": {"name": "rollouts"},
}
found = {name: load_dataset("me/demo", split="train", **way) for name, way in ways.items()}
print(json.dumps({name: list(rows["problem"]) for name, rows in found.items() if name != "rollouts"}
    | {"rollouts": len(found["rollouts"])}))
"""


def test_each_night_is_one_commit_that_deletes_nothing(nights: Nights, hub: Hub, tmp_path: Path) -> None:
    assert publish(nights[:1]) == [FIRST]
    before = dict(hub.files)
    # The first one is there already, so only the second is sent; and then nothing.
    assert publish(nights) == [SECOND]
    after = content(hub)
    assert publish(nights) == []
    assert content(hub) == after
    assert hub.created["type"] == "dataset"
    assert len(hub.commits) == 2
    assert {tag: hub.at(commit)[0] for tag, commit in hub.tags.items()} == {
        FIRST: f"{1:040x}",
        SECOND: f"{2:040x}",
    }
    kept = {name: data for name, data in before.items() if name not in ("README.md", "manifest.json")}
    assert kept.items() <= hub.files.items()
    for run, night in zip(nights, (FIRST, SECOND), strict=True):
        assert files_of(run, night).items() <= hub.files.items()
        # The manifest holds the trust by which the night's labels can be made again of its votes.
        sealed = json.loads(hub.files[f"nights/{night}.json"])
        assert sealed == json.loads((run.path / "manifest.json").read_text())
        assert sealed["trust"]["tables"]
    listed = NightList.model_validate_json(hub.files["manifest.json"])
    assert {name: night.problems for name, night in listed.nights.items()} == {FIRST: 3, SECOND: 1}
    assert listed.rows == sum(pq.read_metadata(run.path / "shards" / f"0000{i}.parquet").num_rows
                              for run in nights for i in range(2))  # fmt: skip


def test_the_whole_and_one_night_can_be_loaded(nights: Nights, hub: Hub, tmp_path: Path) -> None:
    publish(nights)
    env = {**os.environ, "HF_ENDPOINT": hub.url, "HF_HOME": str(tmp_path / "hf"), "HF_HUB_OFFLINE": "0"}
    done = subprocess.run([sys.executable, "-c", LOAD], env=env, check=True, stdout=subprocess.PIPE)
    found = json.loads(done.stdout)
    first = [f"Problem {i}" for i in range(3)]
    assert {name: sorted({*found[name]}) for name in ("all", "first", "second alone")} == {
        "all": [*first, "Problem 3"],
        "first": first,
        "second alone": ["Problem 3"],
    }
    assert len(found["all"]) == len(found["first"]) + len(found["second alone"])
    assert found["rollouts"] == sum(
        pq.read_metadata(run.path / name).num_rows
        for run in nights
        for name in sealed_manifest(run.path).packed
    )


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """The Hub's client tries some requests again after a second, and we do after a conflict: here at once."""
    at_once = SimpleNamespace(**{**vars(time), "sleep": lambda _: None})
    monkeypatch.setattr("huggingface_hub.utils._http.time", at_once)
    monkeypatch.setattr(module, "time", at_once)


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("how", ["dropped", "lost", "500"])
def test_whatever_request_fails_the_same_command_ends_in_the_same_dataset(
    how: str, nights: Nights, hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish(nights[:1])
    failed = 0
    for at, request in enumerate(hub.requests):
        with serving(Hub(ends=LARGE, fault=(at, how))) as spoilt:
            use(spoilt, monkeypatch)
            try:
                publish(nights[:1])
            except BackendError:
                failed += 1
                publish(nights[:1])
            assert content(spoilt) == content(hub), request
    assert failed > len(hub.requests) // 2


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("status", ["409", "412"])
def test_a_commit_that_comes_too_late_is_made_again_on_the_newest(
    status: str, nights: Nights, hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish(nights[:1])
    at = hub.requests.index("POST /api/datasets/me/demo/commit/main")
    with serving(Hub(ends=LARGE, fault=(at, status))) as busy:
        use(busy, monkeypatch)
        assert publish(nights[:1]) == [FIRST]
        assert content(busy) == content(hub)
    with serving(Hub(ends=LARGE, moved=True)) as never:
        use(never, monkeypatch)
        with pytest.raises(BackendError, match="others kept changing it; the same command adds 2026-11-27"):
            publish(nights)
        assert (never.files, never.tags) == ({}, {})


def test_two_that_publish_at_once_both_land(nights: Nights, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each knows one night, and a third one knows both; each pair of commits is a race for the same head."""
    with serving(Hub(ends=LARGE)) as hub:
        use(hub, monkeypatch)
        start, failed = threading.Barrier(3), list[BaseException]()

        def race(runs: Nights) -> None:
            start.wait()
            try:
                publish(runs)
            except BaseException as error:
                failed.append(error)

        threads = [threading.Thread(target=race, args=(one,)) for one in (nights[:1], nights[1:], nights)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert not failed
        assert sorted(commit["title"][:14] for commit in hub.commits) == [f"Add {FIRST}", f"Add {SECOND}"]
        for run, night in zip(nights, (FIRST, SECOND), strict=True):
            assert files_of(run, night).items() <= hub.files.items()
            assert night in NightList.model_validate_json(hub.at(night)[1]["manifest.json"]).nights
        assert list(NightList.model_validate_json(hub.files["manifest.json"]).nights) == [FIRST, SECOND]


def test_a_night_that_was_sealed_with_other_labels_is_refused(nights: Nights, hub: Hub) -> None:
    publish(nights[:1])
    before = dict(hub.files)
    strict = nights[0].config.model_copy(update={"fusion": FusionConfig(accept=0.99)})
    seal(RunStore(nights[0].path, strict))
    with pytest.raises(
        UserError, match=r"a published night never changes, but .*nightly-2026-11-27 has rows"
    ):
        publish(nights)
    # The other night was added all the same.
    kept = {name: data for name, data in before.items() if name.startswith(("data/", "nights/"))}
    assert kept.items() < hub.files.items()
    assert list(hub.tags) == [FIRST, SECOND]


def test_no_problem_is_published_twice(nights: Nights, hub: Hub, tmp_path: Path) -> None:
    """A night that failed is finished after the next one has labelled its problems, too."""
    late = tmp_path / "series" / "nightly-2026-11-26"
    shutil.copytree(nights[1].path, late, symlinks=True)
    publish(nights[1:])
    twice = rf"{late} has 1 problems that {nights[1].path} has published: remove the folder of the first"
    for _ in range(2):
        with pytest.raises(UserError, match=twice):
            publish([RunStore(late, config_here(late)), *nights])
        assert sorted(hub.tags) == [FIRST, SECOND]
    shutil.rmtree(late)
    assert publish(nights) == []


def test_two_that_publish_the_same_problems_at_once_do_not_both_land(
    nights: Nights, hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The other night is sealed and published after the first one was compared, just before its commit."""
    path = tmp_path / "series" / "nightly-2026-11-26"
    shutil.copytree(nights[1].path, path, symlinks=True)
    late = RunStore(path, config_here(path))
    commit, seen = module.Dataset._commit, [late]

    def overtaken(self: module.Dataset, staged: Any, state: Any) -> Any:
        if staged.name != SECOND and SECOND not in hub.tags:
            publish(nights[1:])
            seen.append(nights[1])
        return commit(self, staged, state)

    monkeypatch.setattr(module.Dataset, "_commit", overtaken)
    with pytest.raises(UserError, match=rf"{path} has 1 problems that {nights[1].path} has published"):
        publish_nights(lambda: [sealed_night(run) for run in seen], "nightly", "me/demo")
    assert list(hub.tags) == [SECOND]
    assert len(hub.commits) == 1


def test_a_tag_of_something_else_is_refused(nights: Nights, hub: Hub) -> None:
    hub.tags[FIRST] = hub.head()
    with pytest.raises(UserError, match="the tag 2026-11-27 is there, but no such night: remove the tag"):
        publish(nights)
    assert not hub.files


def test_a_night_without_a_tag_gets_it_on_its_own_commit(nights: Nights, hub: Hub) -> None:
    publish(nights)
    before = dict(hub.tags)
    del hub.tags[FIRST]
    assert publish(nights) == [FIRST]
    assert hub.tags == before
    assert len(hub.commits) == 2


def test_a_file_that_the_dataset_ignores_is_missed(nights: Nights, hub: Hub) -> None:
    """A .gitignore makes the Hub's client leave files out without a word."""
    hub.ignored = ("data/steps",)
    for _ in range(2):
        with pytest.raises(UserError, match=r"does not have data/steps/2026-11-27-0000\d.parquet as it was"):
            publish(nights)
        assert not hub.tags
    # Somebody mends it by a commit of their own.
    hub.ignored = ()
    by_hand = [
        {"key": "file", "value": {"path": name, "content": base64.b64encode(data).decode()}}
        for name, data in files_of(nights[0], FIRST).items()
        if name.startswith("data/steps")
    ]
    hub.commit([{"key": "header", "value": {"summary": "Mend"}}, *by_hand])
    assert publish(nights) == [FIRST, SECOND]
    assert hub.tags == {FIRST: f"{2:040x}", SECOND: f"{3:040x}"}


def test_a_dataset_that_may_ignore_files_is_refused(nights: Nights, hub: Hub) -> None:
    hub.files[".gitignore"] = b"data/"
    with pytest.raises(UserError, match=r"has a .gitignore, which may keep files out: remove it there"):
        publish(nights)


@pytest.mark.parametrize(
    ("files", "said"),
    [
        ({"data/train.parquet": b"x"}, "it has files in data/, and no manifest.json"),
        ({"manifest.json": b"{"}, "its manifest.json lists no nights"),
        ({"manifest.json": b'{"name": "demo", "shards": []}'}, "its manifest.json lists no nights"),
        ({"manifest.json": b" " * ((1 << 24) + 1)}, "its manifest.json is too large"),
        ({"manifest.json": b'{"series": "mine"}'}, "it belongs to the series 'mine'"),
        ({"manifest.json": NightList(series="nightly").model_dump_json().encode()}, ""),
    ],
)
def test_only_a_dataset_of_the_series_is_added_to(
    files: dict[str, bytes], said: str, nights: Nights, hub: Hub
) -> None:
    hub.files.update(files)
    if said:
        with pytest.raises(UserError, match=re.escape(f"me/demo is no dataset of this series ({said})")):
            publish(nights)
        assert hub.files == files
    else:
        assert publish(nights) == [FIRST, SECOND]


def test_publishing_one_run_does_not_erase_a_series(nights: Nights, hub: Hub) -> None:
    publish(nights)
    before = dict(hub.files)
    with pytest.raises(UserError, match="me/demo is the dataset of a series, and publishing a run would"):
        publish_run(nights[0], "me/demo", private=True)
    assert hub.files == before


def test_rows_of_another_schema_need_another_dataset(nights: Nights, hub: Hub) -> None:
    publish(nights[:1])
    listed = NightList.model_validate_json(hub.files["manifest.json"])
    older = {name: night.model_copy(update={"schema_version": 1}) for name, night in listed.nights.items()}
    hub.files["manifest.json"] = listed.model_copy(update={"nights": older}).model_dump_json().encode()
    with pytest.raises(UserError, match="its rows have other columns than those of this version"):
        publish(nights)
    assert list(hub.tags) == [FIRST]


def test_only_sealed_runs_are_published(nights: Nights, hub: Hub) -> None:
    (nights[1].path / "manifest.json").unlink()
    with pytest.raises(UserError, match="not sealed"):
        publish(nights)
