"""A stand-in Hub on loopback: one repository in memory, with its history, tags and large files."""

import base64
import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

LARGE = (".parquet", ".safetensors")
"""Endings of files that the Hub keeps as large ones, apart from the commit that names them."""
Fault = tuple[int, str]
"""The request that is spoilt, counted from 0, and how: `dropped` before it is answered, `lost` after it was
done, or a status such as `500`."""


class Hub(ThreadingHTTPServer):
    """One repository in memory: its files, its commits, its tags."""

    daemon_threads = True

    def __init__(
        self, *, refuse: int = 0, moved: bool = False, fault: Fault | None = None, ends: tuple[str, ...] = ()
    ) -> None:
        """Files with one of the `ends` are large."""
        super().__init__(("127.0.0.1", 0), Answers)
        self.files: dict[str, bytes] = {}
        self.commits: list[dict[str, Any]] = []
        self.history: dict[str, dict[str, bytes]] = {}
        self.tags: dict[str, str] = {}
        self.created: dict[str, Any] = {}
        self.large: dict[str, bytes] = {}
        self.ends = ends
        self.ignored: tuple[str, ...] = ()
        self.requests: list[str] = []
        self.refuse, self.moved, self.fault = refuse, moved, fault
        self.url = f"http://127.0.0.1:{self.server_port}"
        self.changing = threading.RLock()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing of clients that were killed."""

    def head(self) -> str:
        # A commit's name has 40 hexadecimal digits, which the client checks.
        return f"{len(self.commits):040x}"

    def at(self, revision: str) -> tuple[str, dict[str, bytes]]:
        """The commit that a branch, tag or commit names, and its files. KeyError where there is none."""
        sha = self.head() if revision == "main" else self.tags.get(revision, revision)
        return sha, self.files if sha == self.head() else self.history[sha]

    def commit(self, lines: list[dict[str, Any]]) -> bool:
        """Apply a commit; False when it builds on another head."""
        header = lines[0]["value"]
        with self.changing:
            # As on the Hub: a commit that names its parent is refused once the head has moved.
            if header.get("parentCommit") and (header["parentCommit"] != self.head() or self.moved):
                return False
            self.history[self.head()] = dict(self.files)
            for line in lines[1:]:
                value = line["value"]
                if line["key"] == "deletedFile":
                    del self.files[value["path"]]
                elif line["key"] == "lfsFile":
                    self.files[value["path"]] = self.large[value["oid"]]
                else:
                    self.files[value["path"]] = base64.b64decode(value["content"])
            self.commits.append(
                {"title": header["summary"], "files": [x["value"]["path"] for x in lines[1:]]}
            )
            return True

    def spoilt(self, request: str) -> str:
        """Count a request; how it is to fail, empty where it is not."""
        with self.changing:
            self.requests.append(request)
            return self.fault[1] if self.fault and self.fault[0] == len(self.requests) - 1 else ""


class Answers(BaseHTTPRequestHandler):
    """The routes that the Hub's clients ask for."""

    server: Hub
    protocol_version = "HTTP/1.1"
    wbufsize = 1 << 16  # an answer in one packet: of two the second waits 40 ms for the first's receipt

    def log_message(self, *_: Any) -> None:
        pass

    def reply(self, body: Any, status: int = 200, **headers: str) -> None:
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        if self.fate == "lost":
            self.close_connection = True
            return
        self.send_response(status)
        for name, value in {"Content-Type": "application/json", **headers}.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

    def begin(self) -> bytes | None:
        """The body of a request; None where it is to fail before anything is done."""
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.fate = self.server.spoilt(f"{self.command} {urlsplit(self.path).path}")
        if self.fate == "dropped":
            self.close_connection = True
            return None
        if self.fate.isdigit():
            self.reply({"error": "a fault"}, int(self.fate))
            return None
        return body

    def do_GET(self) -> None:
        if self.begin() is None:
            return
        hub, path = self.server, unquote(urlsplit(self.path).path)
        try:
            with hub.changing:
                self.look(hub, path)
        except KeyError:
            self.reply({"error": "no such revision"}, 404, X_Error_Code="RevisionNotFound")

    do_HEAD = do_GET

    def look(self, hub: Hub, path: str) -> None:
        """Answer what changes nothing."""
        if "/resolve/" in path:
            revision, _, name = path.partition("/resolve/")[2].partition("/")
            self.file(*hub.at(revision), name)
        elif path.endswith("/refs"):
            tags = [{"name": n, "ref": f"refs/tags/{n}", "targetCommit": c} for n, c in hub.tags.items()]
            main = {"name": "main", "ref": "refs/heads/main", "targetCommit": hub.head()}
            self.reply({"branches": [main], "converts": [], "tags": tags})
        elif "/commits/" in path:
            made = [
                {"id": f"{n:040x}", "title": c["title"], "message": "", "authors": [], "date": _DATE}
                for n, c in enumerate(hub.commits, 1)
            ]
            self.reply(made[::-1])
        elif "/tree/" in path:
            revision, _, folder = path.partition("/tree/")[2].partition("/")
            self.reply(_tree(hub.at(revision)[1], folder, "recursive=true" in self.path.lower()))
        elif path.startswith(("/api/datasets/", "/api/models/")):
            sha, files = hub.at(path.partition("/revision/")[2] or "main")
            siblings = [{"rfilename": name} for name in files]
            self.reply({"id": "me/demo", "sha": sha, "siblings": siblings, "private": True, "tags": []})
        else:
            self.reply({"error": f"no route {path}"}, 404)

    def file(self, sha: str, files: dict[str, bytes], name: str) -> None:
        """Answer with a file, or with the range of it that is asked for."""
        if name not in files:
            self.reply({"error": "no such file"}, 404, X_Error_Code="EntryNotFound")
            return
        data, status = files[name], 200
        about = {"ETag": f'"{hashlib.sha256(data).hexdigest()}"', "X_Repo_Commit": sha}
        if (asked := self.headers.get("Range", "")).startswith("bytes="):
            first, _, last = asked[6:].partition("-")
            end = min(int(last or len(data) - 1), len(data) - 1)
            about["Content_Range"] = f"bytes {first}-{end}/{len(data)}"
            data, status = data[int(first) : end + 1], 206
        self.reply(data, status, **about)

    def do_PUT(self) -> None:
        body = self.begin()
        if body is not None:
            self.server.large[self.path.rsplit("/", 1)[-1]] = body
            self.reply({})

    def do_POST(self) -> None:
        body = self.begin()
        if body is None:
            return
        hub, path = self.server, unquote(urlsplit(self.path).path)
        if hub.refuse:
            self.reply({"error": "no"}, hub.refuse)
        elif path.endswith("/validate-yaml"):
            self.reply({"errors": [], "warnings": []})
        elif path.endswith("/repos/create"):
            hub.created = json.loads(body)
            kind = "datasets/" if hub.created.get("type") == "dataset" else ""
            self.reply({"url": f"{hub.url}/{kind}me/demo", "id": "1", "name": "me/demo"})
        elif "/preupload/" in path:
            self.reply({"files": [self.mode(file["path"]) for file in json.loads(body)["files"]]})
        elif path.endswith("/objects/batch"):
            self.reply({"transfer": "basic", "objects": [self.place(x) for x in json.loads(body)["objects"]]})
        elif "/paths-info/" in path:
            self.reply(self.info(parse_qs(body.decode())["paths"], path.rsplit("/", 1)[-1]))
        elif "/commit/" in path:
            done = hub.commit([json.loads(line) for line in body.splitlines()])
            url = f"{hub.url}/datasets/me/demo/commit/{hub.head()}"
            found = {"success": True, "commitOid": hub.head(), "commitUrl": url, "hookOutput": ""}
            self.reply(found if done else {"error": "stale"}, 200 if done else 412)
        elif "/tag/" in path:
            self.tag(json.loads(body)["tag"], path.rsplit("/", 1)[-1])
        else:
            self.reply({"error": f"no route {path}"}, 404)

    def mode(self, path: str) -> dict[str, Any]:
        kind = "lfs" if path.endswith(self.server.ends) else "regular"
        return {"path": path, "uploadMode": kind, "shouldIgnore": path.startswith(self.server.ignored)}

    def place(self, item: dict[str, Any]) -> dict[str, Any]:
        """Where a large file is to be put; nowhere when it is known already."""
        if item["oid"] in self.server.large:
            return item
        return {**item, "actions": {"upload": {"href": f"{self.server.url}/large/{item['oid']}"}}}

    def info(self, paths: list[str], revision: str) -> list[dict[str, Any]]:
        """Those of some files and folders that a revision has."""
        files = self.server.at(revision)[1]
        folders = [p for p in paths if any(name.startswith(f"{p}/") for name in files)]
        return [
            *(_about(path, files[path]) for path in paths if path in files),
            *({"type": "directory", "path": path, "oid": "0"} for path in folders),
        ]

    def tag(self, name: str, revision: str) -> None:
        with self.server.changing:
            if name in self.server.tags:
                self.reply({"error": "there is such a tag"}, 409)
                return
            self.server.tags[name] = self.server.at(revision)[0]
        self.reply({})


_DATE = "2026-11-27T02:00:00.000Z"


def _about(path: str, data: bytes) -> dict[str, Any]:
    found: dict[str, Any] = {"type": "file", "path": path, "size": len(data), "oid": "0"}
    if path.endswith(LARGE):
        found["lfs"] = {"oid": hashlib.sha256(data).hexdigest(), "size": len(data), "pointerSize": 130}
    return found


def _tree(files: dict[str, bytes], folder: str, recursive: bool) -> list[dict[str, Any]]:
    """What lies in a folder of a revision."""
    inside = f"{folder}/" if folder else ""
    found = [_about(name, data) for name, data in files.items() if name.startswith(inside)]
    if recursive:
        return found
    rests = [(one, one["path"][len(inside) :]) for one in found]
    folders = sorted({rest.partition("/")[0] for _, rest in rests if "/" in rest})
    return [
        *(one for one, rest in rests if "/" not in rest),
        *({"type": "directory", "path": inside + name, "oid": "0", "size": 0} for name in folders),
    ]


@contextmanager
def serving(hub: Hub) -> Iterator[Hub]:
    """The Hub, answering until the end of the block."""
    thread = threading.Thread(target=hub.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        hub.shutdown()
        hub.server_close()
        thread.join()
