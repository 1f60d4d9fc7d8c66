"""Publishing against a stand-in Hub: what is committed in which order, and what a refusal reads like."""

import base64
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from pipeline.labelling.problems import read_problems
from pipeline.outputs import publish
from pipeline.outputs.publish import dataset_card, model_card, publish_checkpoint, publish_run, subsets_of
from pipeline.runs.run_store import RunStore
from pipeline.storage.generations import change_over, read_manifest, sealing, write_shard
from schemas.arrow import SCHEMA_VERSION
from schemas.config import EmbeddedProblems, RunConfig, TransformersConfig
from schemas.errors import BackendError, UserError
from schemas.manifest import Manifest, SourceCount
from schemas.records import Problem, Source


class Hub(ThreadingHTTPServer):
    """One repository in memory: its files, its commits, its tags."""

    daemon_threads = True

    def __init__(self, *, refuse: int = 0, moved: bool = False) -> None:
        super().__init__(("127.0.0.1", 0), Answers)
        self.files: dict[str, bytes] = {}
        self.commits: list[dict[str, Any]] = []
        self.tags: dict[str, str] = {}
        self.created: dict[str, Any] = {}
        self.refuse, self.moved = refuse, moved
        self.url = f"http://127.0.0.1:{self.server_port}"

    def head(self) -> str:
        return f"{len(self.commits):040x}"

    def commit(self, lines: list[dict[str, Any]]) -> bool:
        """Apply a commit; False when it builds on another head."""
        header = lines[0]["value"]
        if header.get("parentCommit") and (header["parentCommit"] != self.head() or self.moved):
            return False
        for line in lines[1:]:
            value = line["value"]
            if line["key"] == "deletedFile":
                del self.files[value["path"]]
            else:
                self.files[value["path"]] = base64.b64decode(value["content"])
        self.commits.append({"title": header["summary"], "files": [x["value"]["path"] for x in lines[1:]]})
        return True


class Answers(BaseHTTPRequestHandler):
    """The routes that the Hub's client asks for. Every file is a regular one, so LFS is not needed."""

    server: Hub
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: Any) -> None:
        pass

    def reply(self, body: Any, status: int = 200) -> None:
        data = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def do_GET(self) -> None:
        hub = self.server
        if "/tree/" in self.path:
            self.reply(
                [{"type": "file", "path": p, "size": len(d), "oid": "0"} for p, d in hub.files.items()]
            )
        elif "/revision/" in self.path or self.path.startswith(("/api/datasets/", "/api/models/")):
            siblings = [{"rfilename": path} for path in hub.files]
            self.reply(
                {"id": "me/demo", "sha": hub.head(), "siblings": siblings, "private": True, "tags": []}
            )
        else:
            self.reply({"error": f"no route {self.path}"}, 404)

    def do_POST(self) -> None:
        hub, body = self.server, self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if hub.refuse:
            self.reply({"error": "no"}, hub.refuse)
        elif self.path.endswith("/validate-yaml"):
            self.reply({"errors": [], "warnings": []})
        elif self.path.endswith("/repos/create"):
            hub.created = json.loads(body)
            kind = "datasets/" if hub.created.get("type") == "dataset" else ""
            self.reply({"url": f"{hub.url}/{kind}me/demo", "id": "1", "name": "me/demo"})
        elif "/preupload/" in self.path:
            files = json.loads(body)["files"]
            modes = [{"path": f["path"], "uploadMode": "regular", "shouldIgnore": False} for f in files]
            self.reply({"files": modes})
        elif "/commit/" in self.path:
            done = hub.commit([json.loads(line) for line in body.splitlines()])
            url = f"{hub.url}/datasets/me/demo/commit/{hub.head()}"
            found = {"success": True, "commitOid": hub.head(), "commitUrl": url, "hookOutput": ""}
            self.reply(found if done else {"error": "stale"}, 200 if done else 412)
        elif "/tag/" in self.path:
            hub.tags[json.loads(body)["tag"]] = self.path.rsplit("/", 1)[-1]
            self.reply({})
        else:
            self.reply({"error": f"no route {self.path}"}, 404)


@pytest.fixture
def sealed(tmp_path: Path) -> RunStore:
    posed = EmbeddedProblems(limit=2)
    store = RunStore.open(RunConfig(name="demo", root=str(tmp_path / "runs"), shards=2, problems=posed))
    read_problems(store)
    counts = {"problems": 2, "solutions": 3, "steps": 9, "labelled_steps": 8, "kept": 3}
    digests = {"config_digest": "c", "fusion_digest": "f", "sealed_at": "2026-01-01T00:00:00+00:00"}
    with sealing(store.path) as folder:
        entries = tuple(write_shard(folder, shard, []) for shard in range(2))
        versions = {"stepmint": "0", "schema_version": SCHEMA_VERSION}
        manifest = Manifest(name="demo", shards=entries, **versions, **counts, **digests)
        change_over(store.path, folder, manifest)
    return store


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    folder = tmp_path / "prm"
    folder.mkdir()
    (folder / "prm.json").write_text('{"dataset_digest": "abc", "base_model": "m", "targets": "hard"}')
    (folder / "model.safetensors").write_bytes(b"weights")
    return folder


@pytest.fixture
def hub() -> Iterator[Hub]:
    yield from serving(Hub())


def serving(hub: Hub) -> Iterator[Hub]:
    thread = threading.Thread(target=hub.serve_forever, daemon=True)
    thread.start()
    yield hub
    hub.shutdown()
    hub.server_close()
    thread.join()


def stepmint_publish(folder: Path, hub: Hub, *, token: str = "hf_x") -> subprocess.CompletedProcess[str]:  # noqa: S107
    """In a process of its own: the Hub's client reads its endpoint when it is imported."""
    code = (
        "import sys\nfrom pathlib import Path\n"
        "from pipeline.outputs.publish import publish_checkpoint, publish_run\n"
        "from pipeline.runs.run_store import RunStore\n"
        "from pipeline.storage.recorded import read_config\nfrom schemas.errors import *\n"
        "path = Path(sys.argv[1])\n"
        "try:\n"
        "    if (path / 'prm.json').exists():\n"
        "        print(publish_checkpoint(path, 'me/demo', private=True))\n"
        "    else:\n"
        "        print(publish_run(RunStore(path, read_config(path)), 'me/demo', private=True))\n"
        "except (UserError, BackendError) as error:\n"
        "    sys.exit(f'{type(error).__name__}: {error}')"
    )
    environment = {
        **os.environ,
        "HF_ENDPOINT": hub.url,
        "HF_HUB_DISABLE_XET": "1",
        "HF_TOKEN": token,
        "HF_HOME": str(folder.parent / "hf"),
    }
    environment.pop("HF_HUB_OFFLINE", None)
    command = [sys.executable, "-c", code, str(folder)]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=120)


def test_card_and_manifest_come_after_the_shards_and_the_tag_last(sealed: RunStore, hub: Hub) -> None:
    hub.files["data/steps/train-00002-of-00003.parquet"] = b"a shard of an earlier, larger version"
    hub.commits.append({"title": "earlier", "files": []})
    done = stepmint_publish(sealed.path, hub)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip().endswith("/datasets/me/demo")
    assert "private" in (hub.created.get("visibility"), hub.created.get("private") and "private")
    shards = [f"data/steps/train-{i:05d}-of-00002.parquet" for i in range(2)]
    assert sorted(hub.files) == sorted(["README.md", "manifest.json", *shards])
    assert sorted(hub.commits[-1]["files"]) == ["README.md", "manifest.json"]
    manifest = read_manifest(sealed.path)
    assert manifest is not None
    assert hub.tags == {f"v-{manifest.digest()}": hub.head()}
    assert hub.files["manifest.json"] == (sealed.path / "manifest.json").read_bytes()


def test_a_checkpoint_becomes_a_model(checkpoint: Path, hub: Hub) -> None:
    done = stepmint_publish(checkpoint, hub)
    assert done.returncode == 0, done.stderr
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
def test_refusals_are_said_in_our_words(hub_options: dict[str, Any], said: str, sealed: RunStore) -> None:
    for hub in serving(Hub(**hub_options)):
        done = stepmint_publish(sealed.path, hub)
        assert done.returncode == 1
        assert said in done.stderr
        assert not hub.tags


def test_only_sealed_runs_and_checkpoints_are_published(tmp_path: Path) -> None:
    store = RunStore.open(RunConfig(name="open", root=str(tmp_path)))
    with pytest.raises(UserError, match="not sealed"):
        publish_run(store, "me/demo", private=True)
    with pytest.raises(UserError, match="not a checkpoint"):
        publish_checkpoint(tmp_path, "me/demo", private=True)


def test_card_front_matter_is_yaml_that_names_existing_files(sealed: RunStore) -> None:
    import yaml

    manifest = read_manifest(sealed.path)
    assert manifest is not None
    front = dataset_card(sealed, manifest, subsets_of(sealed, manifest)).split("---\n")[1]
    found = yaml.safe_load(front)
    assert found["size_categories"] == ["n<1K"]
    assert [config["config_name"] for config in found["configs"]] == ["steps"]
    assert found["configs"][0]["data_files"][0]["path"] == "data/steps/train-*.parquet"
    assert yaml.safe_load(model_card({}, "me/demo").split("---\n")[1])["library_name"] == "transformers"


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
    """What publishing to an endpoint ends in; the client reads its settings when it is asked."""
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "ENDPOINT", endpoint)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setenv("HF_TOKEN", token)
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
        publish._asked(ask)


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


@pytest.mark.parametrize("content", ["", "[1]", "{", "3"])
def test_a_broken_card_is_no_checkpoint(content: str, tmp_path: Path) -> None:
    (tmp_path / "prm.json").write_text(content)
    with pytest.raises(UserError, match="not a checkpoint"):
        publish_checkpoint(tmp_path, "me/demo", private=True)


HOSTILE = "</td><script>x</script> | `a` ``b``\n---\nlicense: evil\n# [x](javascript:1) \x1b[31m\u202e *b*"


def test_hostile_names_stay_words_in_the_cards(sealed: RunStore, monkeypatch: pytest.MonkeyPatch) -> None:
    import yaml

    manifest = read_manifest(sealed.path)
    assert manifest is not None
    sources = {HOSTILE: SourceCount(votes=1)}
    hostile = manifest.model_copy(update={"name": HOSTILE, "sources": sources, "sealed_at": HOSTILE})
    problem = Problem(text="x", licence=HOSTILE, source=Source(dataset=HOSTILE))
    monkeypatch.setattr(publish, "_problems", lambda _: [problem])
    config = sealed.config.model_copy(update={"policy": TransformersConfig(model=HOSTILE)})
    monkeypatch.setattr(sealed, "config", config)
    fields = dict.fromkeys(("base_model", "targets", "label_kind", "dataset_digest"), HOSTILE)
    for card in (
        dataset_card(sealed, hostile, subsets_of(sealed, manifest)),
        model_card(fields, f"me/{HOSTILE}"),
    ):
        _, front, body = card.split("---\n", 2)
        assert "license" not in yaml.safe_load(front)
        assert all(c == "\n" or c.isprintable() for c in card)
        assert "<script" not in body
        assert "](javascript" not in body
        assert sum(line.startswith("#") for line in body.splitlines()) == 1
        rows = [line for line in body.splitlines() if line.startswith("|")]
        assert all(row.count("|") == 4 for row in rows)
