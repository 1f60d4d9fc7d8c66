"""Publishing against a stand-in Hub: what is committed in which order, and what a refusal reads like."""

import threading
from collections.abc import Iterator
from fnmatch import fnmatch
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from benchmarks.hub import Hub, serving
from pipeline.outputs import publish
from pipeline.outputs.hub import asked
from pipeline.outputs.publish import publish_checkpoint, publish_run
from pipeline.runs.run_store import RunStore
from pipeline.storage.generations import read_manifest
from schemas.config import RunConfig
from schemas.errors import BackendError, UserError


@pytest.fixture
def hub() -> Iterator[Hub]:
    with serving(Hub()) as found:
        yield found


def to(endpoint: str, monkeypatch: pytest.MonkeyPatch, *, token: str = "hf_x") -> None:  # noqa: S107
    """Publish to this endpoint; the Hub's client reads its settings when it is asked."""
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "ENDPOINT", endpoint)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
    monkeypatch.setenv("HF_TOKEN", token)


def test_card_and_manifest_come_after_the_shards_and_the_tag_last(
    sealed: RunStore, hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub.files["data/steps/train-00002-of-00003.parquet"] = b"a shard of an earlier, larger version"
    hub.commits.append({"title": "earlier", "files": []})
    to(hub.url, monkeypatch)
    assert publish_run(sealed, "me/demo", private=True) == f"{hub.url}/datasets/me/demo"
    assert "private" in (hub.created.get("visibility"), hub.created.get("private") and "private")
    shards = [f"data/steps/train-{i:05d}-of-00002.parquet" for i in range(2)]
    assert sorted(hub.files) == sorted(["README.md", "manifest.json", *shards])
    assert sorted(hub.commits[-1]["files"]) == ["README.md", "manifest.json"]
    manifest = read_manifest(sealed.path)
    assert manifest is not None
    assert hub.tags == {f"v-{manifest.digest()}": hub.head()}
    assert hub.files["manifest.json"] == (sealed.path / "manifest.json").read_bytes()


def test_a_checkpoint_becomes_a_model(checkpoint: Path, hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    to(hub.url, monkeypatch)
    assert publish_checkpoint(checkpoint, "me/demo", private=False) == f"{hub.url}/me/demo"
    assert "private" not in (hub.created.get("visibility"), hub.created.get("private") and "private")
    assert sorted(hub.files) == ["README.md", "model.safetensors", "prm.json"]
    assert list(hub.tags) == ["v-abc"]


@pytest.mark.parametrize(
    ("hub_options", "said"),
    [
        ({"refuse": 403}, "UserError: the Hub refused the token (403)"),
        ({"refuse": 500}, "BackendError: the Hub answered 500"),
        ({"moved": True}, "UserError: the repository changed"),
    ],
)
def test_refusals_are_said_in_our_words(
    hub_options: dict[str, Any], said: str, sealed: RunStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    with serving(Hub(**hub_options)) as hub:
        to(hub.url, monkeypatch)
        with pytest.raises((UserError, BackendError)) as raised:
            publish_run(sealed, "me/demo", private=True)
        assert f"{raised.type.__name__}: {raised.value}".startswith(said)
        assert not hub.tags


def test_only_sealed_runs_and_checkpoints_are_published(tmp_path: Path) -> None:
    store = RunStore.open(RunConfig(name="open", root=str(tmp_path)))
    with pytest.raises(UserError, match="not sealed"):
        publish_run(store, "me/demo", private=True)
    with pytest.raises(UserError, match="not a checkpoint"):
        publish_checkpoint(tmp_path, "me/demo", private=True)


def test_the_rollouts_are_published_beside_the_labels(
    rolled: RunStore, hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever has the dataset can grade it again, so every file of both subsets arrives byte for byte."""
    import yaml

    to(hub.url, monkeypatch)
    publish_run(rolled, "me/demo", private=True)
    manifest = read_manifest(rolled.path)
    assert manifest is not None
    for shard, entry in enumerate(manifest.shards):
        end = f"train-{shard:05d}-of-00002.parquet"
        assert hub.files[f"data/steps/{end}"] == (rolled.path / entry.file).read_bytes()
        drawn = rolled.path / "rollouts" / f"{shard:05d}.parquet"
        assert hub.files[f"data/rollouts/{end}"] == drawn.read_bytes()
    configs = yaml.safe_load(hub.files["README.md"].decode().split("---\n")[1])["configs"]
    assert [(one["config_name"], one.get("default", False)) for one in configs] == [
        ("steps", True),
        ("rollouts", False),
    ]
    for one in configs:
        (files,) = one["data_files"]
        matching = [name for name in hub.files if fnmatch(name, files["path"])]
        assert len(matching) == 2, (files, sorted(hub.files))


def test_a_checkpoint_of_unknown_data_is_tagged_so(
    checkpoint: Path, hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    (checkpoint / "prm.json").write_text("{}")
    to(hub.url, monkeypatch)
    publish_checkpoint(checkpoint, "me/demo", private=True)
    assert hub.tags == {"v-unknown": hub.head()}


def test_what_keeps_one_from_the_hub_is_said_before_anything_is_sent(
    checkpoint: Path, hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    from huggingface_hub import constants

    to(hub.url, monkeypatch)
    for name in ("no/such/name", "a--b/c", ""):
        with pytest.raises(UserError, match="not a name for a repository"):
            publish_checkpoint(checkpoint, name, private=True)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(UserError, match="HF_HUB_OFFLINE is set"):
        publish_checkpoint(checkpoint, "me/demo", private=True)
    assert not hub.files


def test_a_run_that_was_sealed_anew_meanwhile_is_not_sent(
    rolled: RunStore, hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The card is of the manifest that was read first; a second one would describe other files."""
    manifest = read_manifest(rolled.path)
    assert manifest is not None
    to(hub.url, monkeypatch)
    monkeypatch.setattr(publish, "read_manifest", lambda _: manifest.model_copy(update={"kept": 1}))
    with pytest.raises(UserError, match="sealed anew meanwhile"):
        publish_run(rolled, "me/demo", private=True)
    assert not hub.files


class Stranger(BaseHTTPRequestHandler):
    """A server that is no Hub."""

    protocol_version = "HTTP/1.1"

    def log_message(self, *_: Any) -> None:
        pass

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        status, body, location = self.server.reply  # type: ignore[attr-defined]
        if status:
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.send_header("Location", location)
            self.end_headers()
            self.wfile.write(body)
        self.close_connection = not status

    do_GET = do_POST


def refusal_of(folder: Path, endpoint: str, monkeypatch: pytest.MonkeyPatch, *, token: str = "hf_x") -> str:  # noqa: S107
    """What publishing to an endpoint ends in."""
    to(endpoint, monkeypatch, token=token)
    with pytest.raises((UserError, BackendError)) as raised:
        publish_checkpoint(folder, "me/demo", private=True)
    said = str(raised.value)
    assert "\n" not in said
    return f"{raised.type.__name__}: {said}"


@pytest.mark.parametrize(
    ("reply", "said"),
    [
        ((200, b"<html>welcome</html>", ""), "does not answer as the Hub does"),
        ((200, b"[1]", ""), "does not answer as the Hub does"),
        ((200, b"", ""), "does not answer as the Hub does"),
        ((302, b"", "/again"), "cannot be reached: Exceeded maximum allowed redirects"),
        ((404, b"<html>\n\x1b[31mno</html>", ""), "the Hub answered 404"),
        ((0, b"", ""), "cannot be reached"),
    ],
)
def test_a_server_that_is_no_hub_is_one_line(
    reply: tuple[int, bytes, str], said: str, checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Stranger)
    server.reply = reply  # type: ignore[attr-defined]
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    assert said in refusal_of(checkpoint, f"http://127.0.0.1:{server.server_port}", monkeypatch)
    if reply[1] == b"[1]":
        found = refusal_of(checkpoint, f"https://127.0.0.1:{server.server_port}", monkeypatch)
        assert found.startswith("BackendError: the Hub at https://")
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.mark.parametrize(
    "endpoint", ["http://127.0.0.1:9", "http://nobody.invalid", "nonsense", "http://[::bad"]
)
def test_an_unreachable_hub_is_one_line(
    endpoint: str, checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = refusal_of(checkpoint, endpoint, monkeypatch)
    assert said.startswith(f"BackendError: the Hub at {endpoint} cannot be reached: ")


def test_a_password_in_the_endpoint_stays_out_of_the_message(
    checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "secret" not in refusal_of(checkpoint, "http://me:secret@127.0.0.1:9", monkeypatch)


@pytest.mark.parametrize("token", ["hf_é", "hf_a b", "hf_a\tb", "“hf_x”"])
def test_a_token_that_no_header_can_carry_is_one_line_without_it(
    token: str, checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = refusal_of(checkpoint, "http://127.0.0.1:9", monkeypatch, token=token)
    assert said.startswith("UserError: the Hub's token holds")
    assert token not in said


def test_a_fault_of_our_own_is_no_silence_of_the_hub(monkeypatch: pytest.MonkeyPatch) -> None:
    def ask() -> None:
        raise FileNotFoundError(2, "gone", "shard.parquet")

    monkeypatch.setenv("HF_TOKEN", "hf_x")
    with pytest.raises(FileNotFoundError):
        asked(ask)


def test_a_shard_that_changed_after_sealing_is_not_sent(sealed: RunStore) -> None:
    manifest = read_manifest(sealed.path)
    assert manifest is not None
    shard = sealed.path / manifest.shards[0].file
    shard.write_bytes(shard.read_bytes()[:-1] + b"?")
    with pytest.raises(UserError, match="checksum does not fit"):
        publish_run(sealed, "me/demo", private=True)
    shard.unlink()
    with pytest.raises(UserError, match=r"00000.*is missing"):
        publish_run(sealed, "me/demo", private=True)
