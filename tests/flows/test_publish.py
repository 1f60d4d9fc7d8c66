"""`stepmint publish` from the command to a Hub: what is sent where, and who may see it."""

import json
from pathlib import Path

import pytest

from benchmarks.hub import Hub
from flows.cli import main
from flows.publish import upload
from schemas.errors import UserError

Capture = pytest.CaptureFixture[str]


@pytest.mark.usefixtures("prefect")
@pytest.mark.parametrize(("options", "private"), [([], True), (["--public"], False)])
def test_a_run_is_private_unless_it_is_said(
    options: list[str], private: bool, sealed: Path, hub: Hub, capsys: Capture
) -> None:
    assert main(["publish", str(sealed), "me/demo", "--json", *options]) == 0
    assert json.loads(capsys.readouterr().out) == {"address": f"{hub.url}/datasets/me/demo"}
    assert hub.created["type"] == "dataset"
    assert hub.created.get("private", hub.created.get("visibility") == "private") == private
    assert {name.split("/")[1] for name in hub.files if name.startswith("data/")} == {"steps", "rollouts"}
    assert len(hub.tags) == 1


def test_what_is_neither_a_run_nor_a_checkpoint_is_not_sent(tmp_path: Path, hub: Hub) -> None:
    with pytest.raises(UserError, match=r"neither a run \(run.toml\) nor a checkpoint \(prm.json\)"):
        upload.fn(str(tmp_path), "me/demo", True)
    assert not hub.created


def test_a_checkpoint_is_known_by_its_card(tmp_path: Path, hub: Hub) -> None:
    (tmp_path / "prm.json").write_text('{"dataset_digest": "abc"}')
    assert upload.fn(str(tmp_path), "me/demo", True) == f"{hub.url}/me/demo"
    assert list(hub.tags) == ["v-abc"]
