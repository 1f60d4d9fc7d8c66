"""A stand-in Hub on loopback: one repository in memory."""

import base64
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


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
        # A commit's name has 40 hexadecimal digits, which the client checks.
        return f"{len(self.commits):040x}"

    def commit(self, lines: list[dict[str, Any]]) -> bool:
        """Apply a commit; False when it builds on another head."""
        header = lines[0]["value"]
        # As on the Hub: a commit that names its parent is refused once the head has moved.
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
            # "regular" files come inside the commit; large ones would be uploaded apart.
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


@contextmanager
def serving(hub: Hub) -> Iterator[Hub]:
    """The Hub, answering until the end of the block."""
    thread = threading.Thread(target=hub.serve_forever, daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        hub.shutdown()
        hub.server_close()
        thread.join()
