"""A folder on an object store: put once, fetched as it was, and doubted."""

import json
from pathlib import Path

import pytest

from pipeline.storage.far_folders import fetch_folder, local_folder, put_folder
from pipeline.storage.object_store import ObjectStore, open_objects
from schemas.errors import UserError


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture
def objects(tmp_path: Path) -> ObjectStore:
    return open_objects(f"file://{tmp_path}/objects").within("checkpoints/nightly/a")


def folder(path: Path, **files: str) -> Path:
    path.mkdir()
    for name, text in files.items():
        (path / name).write_text(text)
    return path


def content(path: Path) -> dict[str, str]:
    return {one.name: one.read_text() for one in path.iterdir()}


def test_a_folder_is_fetched_as_it_was_put(tmp_path: Path, objects: ObjectStore) -> None:
    there, here = folder(tmp_path / "there", a="1", b="2", c="2"), tmp_path / "here"
    assert not fetch_folder(objects, here)
    assert not here.exists()
    assert put_folder(objects, there)
    assert put_folder(objects, there)  # once is twice
    assert fetch_folder(objects, here)
    assert content(here) == {"a": "1", "b": "2", "c": "2"}
    # What differs here is what the store says afterwards.
    (here / "a").write_text("changed")
    (here / "d").write_text("more")
    assert fetch_folder(objects, here)
    assert content(here) == {"a": "1", "b": "2", "c": "2"}


def test_of_two_folders_in_one_place_the_first_stays(tmp_path: Path, objects: ObjectStore) -> None:
    assert put_folder(objects, folder(tmp_path / "first", a="1"))
    assert not put_folder(objects, folder(tmp_path / "second", a="2"))
    assert content(local_folder(objects.url)) == {"a": "1"}


def test_a_setting_names_a_folder_or_an_address(tmp_path: Path, objects: ObjectStore) -> None:
    assert local_folder("checkpoints/demo") == Path("checkpoints/demo")
    assert not local_folder(objects.url).exists()
    put_folder(objects, folder(tmp_path / "first", a="1"))
    assert content(local_folder(objects.url)) == {"a": "1"}


@pytest.mark.parametrize(
    ("listing", "why"),
    [
        ("{", "is no folder of ours"),
        ('["a"]', "is no folder of ours"),
        (json.dumps({"../a": "0" * 64}), "is no folder of ours"),
        (json.dumps({"..": "0" * 64}), "is no folder of ours"),
        (json.dumps({"a": "../../a"}), "is no folder of ours"),
        (json.dumps({"a": 3}), "is no folder of ours"),
        (json.dumps({"a": "0" * 64}), "a is missing or was changed"),
    ],
)
def test_what_a_store_says_of_a_folder_is_doubted(
    listing: str, why: str, tmp_path: Path, objects: ObjectStore
) -> None:
    objects.overwrite("folder.json", listing.encode())
    objects.overwrite(f"files/{'0' * 64}", b"of another content")
    with pytest.raises(UserError, match=why):
        fetch_folder(objects, tmp_path / "here")
    assert list((tmp_path / "here").glob("*")) == []


def test_large_files_go_in_parts(tmp_path: Path, bucket: str) -> None:
    objects = open_objects(f"{bucket}/runs").within("checkpoints")
    there = tmp_path / "there"
    there.mkdir()
    (there / "weights").write_bytes(bytes(range(256)) * (1 << 17))  # 32 MB, two parts
    assert put_folder(objects, there)
    assert fetch_folder(objects, tmp_path / "here")
    assert (tmp_path / "here" / "weights").read_bytes() == (there / "weights").read_bytes()
    assert open_objects(bucket, written=False).folders() == ["runs"]
    assert sorted(objects.names("")) == sorted(["folder.json", *objects.names("files/")])
