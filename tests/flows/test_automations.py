"""What a Prefect server does by itself about the runs of a deployment."""

import json
import threading
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

from flows.cli import main
from flows.deployed import RERUNS
from tests.flows.conftest import write_run_file
from tests.flows.serving import Serving

# The first time it ends its process at once, as a node does that loses its power.
CRASHING = """
import os, signal
from pathlib import Path
from pipeline.policies.simulated import SimulatedPolicy

def make():
    mark = Path(__file__).with_name("crashed")
    if not mark.exists():
        mark.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return SimulatedPolicy(n_steps=5, slip=0.25)
"""


@pytest.fixture
def heard() -> Iterator[tuple[str, list[str]]]:
    """An address that alarms are sent to, and those that came."""
    came: list[str] = []

    class Listening(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            came.append(self.rfile.read(int(self.headers["Content-Length"])).decode())
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: Any) -> None: ...

    server = HTTPServer(("127.0.0.1", 0), Listening)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/", came
    server.shutdown()
    server.server_close()


def crashing_run_file(folder: Path) -> Path:
    (folder / "crashing.py").write_text(CRASHING)
    run_file = write_run_file(folder, '[series]\nname = "nightly"', problems=3)
    text = run_file.read_text()
    before, after = text.index("[policy]"), text.index("[[annotate]]")
    policy = '[policy]\nkind = "python"\nfactory = "crashing:make"\n'
    run_file.write_text(text[:before] + policy + text[after:])
    return run_file


def emit(serving: Serving, name: str) -> None:
    event = {"id": str(uuid.uuid4()), "event": name, "occurred": datetime.now(UTC).isoformat()}
    event["resource"] = {"prefect.resource.id": "problems"}  # type: ignore[assignment]
    serving.client.post(f"{serving.url}/events", json=[event]).raise_for_status()


@pytest.mark.slow
def test_a_run_that_crashes_is_run_again_and_told_of(
    serving: Serving,
    at_server: None,
    tmp_path: Path,
    heard: tuple[str, list[str]],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from prefect.blocks.notifications import CustomWebhookNotificationBlock

    monkeypatch.chdir(tmp_path)
    address, came = heard
    body = {"text": "{{body}}"}
    CustomWebhookNotificationBlock(name="ops", url=address, json_data=body).save("ops", overwrite=True)
    given = ["deploy", str(crashing_run_file(tmp_path)), "--name", "crashing", "--json"]
    assert main([*given, "--alarm", "custom-webhook/nobody"]) == 2
    assert "no such block" in capsys.readouterr().err
    given += ["--alarm", "custom-webhook/ops", "--on-event", "problems.arrived"]

    def automations() -> list[str]:
        mine = {"name": {"any_": about["automations"]}}
        return sorted(one["name"] for one in serving.post("automations/filter", automations=mine, limit=200))

    for _ in range(2):  # once is twice
        assert main(given) == 0
        about = json.loads(capsys.readouterr().out)
        assert automations() == sorted(about["automations"])
        assert len(about["automations"]) == 4

    emit(serving, "problems.arrived")
    serving.until(lambda: serving.runs(about["id"], "COMPLETED", "FAILED"), 180)
    # Where SQLite is locked the server may act twice on one event. The limit of one run cancels the second.
    found = serving.runs(about["id"], "CRASHED", "COMPLETED", "FAILED")
    first, second = (run for run in found if not run["state"]["message"].startswith("nothing new"))
    assert first["state"]["type"] == "CRASHED"
    assert second["state"]["message"].startswith("new problems labelled: 3,")
    # It went on with the run of the first, whose name is the time that the first was planned for.
    (folder,) = (tmp_path / "runs").iterdir()
    parameters = second["parameters"]["run"]
    assert parameters["tries"] == 1
    planned = datetime.fromisoformat(parameters["planned_for"])
    assert planned == datetime.fromisoformat(first["expected_start_time"])
    assert folder.name == f"nightly-{planned:%Y-%m-%dT%H%M%S}"
    serving.until(lambda: came, 30)
    begins = f"{first['name']} of crashing: Crashed: Flow run "
    assert all(json.loads(alarm)["text"].startswith(begins) for alarm in came), came
    refuses_the_last(serving, about["id"], parameters)
    serving.delete(about["id"])


def refuses_the_last(serving: Serving, deployment: str, parameters: dict[str, Any]) -> None:
    """Not for ever: the server refuses the last."""
    run = {**parameters, "tries": RERUNS + 1}
    made = serving.client.post(
        f"{serving.url}/deployments/{deployment}/create_flow_run", json={"parameters": {"run": run}}
    )
    assert made.status_code == 409
    assert "maximum" in made.text
