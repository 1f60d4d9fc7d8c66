"""Counters for Prometheus, in a file and on a port."""

import json
import subprocess
import sys
import time
from argparse import Namespace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
from prometheus_client import generate_latest
from prometheus_client.parser import text_string_to_metric_families

from flows import metrics
from flows.cli import main
from pipeline.labelling.measured import Meter, meter
from schemas.errors import BackendError, UserError
from schemas.records import Vote
from tests.flows.conftest import write_run_file
from tests.flows.databases import free_port

Capture = pytest.CaptureFixture[str]


def values(text: str) -> dict[tuple[str, ...], float]:
    """Each sample by its name and its labels' values, a source's name before the others."""
    families = text_string_to_metric_families(text)
    samples = [sample for family in families for sample in family.samples]
    found = dict[tuple[str, ...], float]()
    for one in samples:
        labels = sorted(one.labels.items(), key=lambda label: label[0] != "source")
        found[one.name, *(value for _, value in labels)] = one.value
    return found


def test_a_run_is_counted(run_file: Path, tmp_path: Path, capsys: Capture) -> None:
    file = tmp_path / "metrics.prom"
    asked = ["synthesize", str(run_file), "--no-prefect", "--json"]
    assert main([*asked, "--metrics-file", str(file), "--price-per-hour", "3600"]) == 0
    sealed, found = json.loads(capsys.readouterr().out), values(file.read_text())
    assert found["stepmint_problems_total", "labelled"] == sealed["problems"] == 12
    assert found["stepmint_problems_owed",] == 0
    manifest = json.loads((tmp_path / "runs/demo/manifest.json").read_text())
    tokens = {name[1]: n for name, n in found.items() if name[0] == "stepmint_tokens_total"}
    assert tokens == manifest["tokens"]
    for source, count in manifest["sources"].items():
        yes, no = (found.get(("stepmint_votes_total", source, says), 0) for says in ("yes", "no"))
        silent = [n for name, n in found.items() if name[:2] == ("stepmint_abstentions_total", source)]
        assert (no, sum(silent)) == (count["denied"], count["abstained"])
        assert yes + no + sum(silent) == count["votes"]
    assert 0 < found["stepmint_cost_dollars_total",] < 600
    # Done again, nothing is labelled; without the option, nothing is counted.
    assert main([*asked, "--metrics-file", str(file)]) == 0
    again = values(file.read_text())
    assert ("stepmint_problems_total", "labelled") not in again
    assert ("stepmint_cost_dollars_total",) not in again
    with pytest.raises(AttributeError):
        meter().registry.collect()


def test_reasons_are_bounded_and_hold_no_secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOME_API_KEY", "sk-hidden-0123")
    votes = [
        Vote(step=0, source="judge", asks="valid", why=f"cannot be read: sk-hidden-0123 {n}\n" + "x" * 999)
        for n in range(100)
    ]
    item: Any = SimpleNamespace(skipped="", tokens={}, candidates=[SimpleNamespace(votes=votes)])
    counted = Meter()
    counted.finished(item)
    text = generate_latest(counted.registry).decode()
    found = {name: n for name, n in values(text).items() if name[0] == "stepmint_abstentions_total"}
    assert len(found) == 21
    assert found["stepmint_abstentions_total", "judge", "other reasons"] == 80
    assert "sk-hidden" not in text


def test_counters_are_served_on_loopback_while_a_worker_works(tmp_path: Path, capsys: Capture) -> None:
    file = write_run_file(tmp_path, problems=120)
    file.write_text(file.read_text().replace(str(tmp_path / "runs"), f"file://{tmp_path}/far"))
    port = free_port()
    command = [sys.executable, "-m", "flows.cli", "run", str(file), "--metrics-port", str(port), "--log-json"]
    worker = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    found, listens = dict[tuple[str, ...], float](), ""
    while worker.poll() is None and not found.get(("stepmint_problems_total", "labelled")):
        try:
            found = values(httpx.get(f"http://127.0.0.1:{port}/metrics").text)
            listens = Path("/proc/net/tcp").read_text()
        except httpx.TransportError:
            time.sleep(0.05)
    # Nobody but this machine is answered.
    assert f"0100007F:{port:04X} 00000000:0000 0A" in listens
    out, err = worker.communicate(timeout=120)
    assert worker.returncode == 0, err
    assert found["stepmint_shard_claims_total", "taken"] >= 1
    assert 0 < found["stepmint_problems_owed",] < 120
    lines = [json.loads(line) for line in err.splitlines()]
    assert all({"time", "level", "logger", "message"} <= set(line) for line in lines)
    about = [line for line in lines if "problems done" in line["message"]]
    assert {(line["run"], line["shard"]) for line in about} == {
        (f"file://{tmp_path}/far/demo", n) for n in (0, 1)
    }


def test_a_file_that_cannot_be_written_for_a_while_is_written_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(metrics, "EVERY_S", 0.01)
    file = tmp_path / "metrics.prom"
    args = Namespace(metrics_port=None, metrics_file=str(file), price_per_hour=None)
    file.mkdir()  # where a folder stands, no file is written
    with metrics.measured(args):
        time.sleep(0.1)
        file.rmdir()
        until = time.monotonic() + 10
        while not file.is_file() and time.monotonic() < until:
            time.sleep(0.01)
        assert file.is_file()
    file.unlink()
    file.mkdir()
    with pytest.raises(UserError, match="is a folder"), metrics.measured(args):
        pass
    with pytest.raises(BackendError, match="gone"), metrics.measured(args):
        raise BackendError("the model is gone")
