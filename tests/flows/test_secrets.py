"""Keys and passwords of the environment stand in nothing that a failing run writes, prints or sends."""

import asyncio
import os
import subprocess
import sys
from base64 import b64encode
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks.faulty import FaultyServer
from benchmarks.loopback import Loopback
from flows.cli import main
from tests.flows.conftest import write_run_file

Capture = pytest.CaptureFixture[str]
KEY, LOGIN, PASSWORD = "faulty-key", "userinfo-hunter2", "proxy-hunter3"
STORE_ID, STORE_KEY = "AKIA0123456789STORE", "store/secret+hunter4"
SECRETS = {
    *(KEY, LOGIN, PASSWORD, STORE_ID, STORE_KEY),
    b64encode(f"me:{PASSWORD}".encode()).decode(),
}


class Echo(Loopback):
    """Refuses everything, and repeats what it was sent, as proxies and careless servers do."""

    seen = ""

    async def _answer(self, head: str, body: bytes, writer: asyncio.StreamWriter) -> None:
        self.seen += head
        said = f"refused: {head}".encode("latin-1")
        writer.write(f"HTTP/1.1 403 Forbidden\r\ncontent-length: {len(said)}\r\n\r\n".encode() + said)
        await writer.drain()


def on_server(file: Path, url: str) -> Path:
    text = file.read_text().replace('kind = "simulated"\nn_steps = 5\nslip = 0.25', 'kind = "server"')
    policy = f'model = "m"\nbase_url = "{url}"\napi_key_env = "STEPMINT_FAULTY_KEY"\npatience_s = 1.0\n'
    file.write_text(text.replace('kind = "server"', f'kind = "server"\n{policy}'))
    return file


def leaks(*folders: Path, text: str = "") -> list[str]:
    """Where a secret stands."""
    files = [path for folder in folders for path in folder.rglob("*") if path.is_file()]
    found = [f"{path}: {one}" for path in files for one in SECRETS if one.encode() in path.read_bytes()]
    return found + [f"printed: {one}" for one in SECRETS if one in text]


@pytest.fixture
def secret_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STEPMINT_FAULTY_KEY", KEY)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", STORE_ID)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", STORE_KEY)
    monkeypatch.setenv("AWS_REGION", "us-east-1")


@pytest.fixture
def faulty() -> Iterator[FaultyServer]:
    with FaultyServer() as server:
        yield server


def test_a_run_under_prefect_whose_server_repeats_the_key(
    prefect: Path,
    tmp_path: Path,
    faulty: FaultyServer,
    secret_environment: None,
    capfd: Capture,
) -> None:
    from prefect.logging.handlers import APILogWorker
    from prefect.settings import PREFECT_LOGGING_TO_API_ENABLED, temporary_settings

    file = on_server(write_run_file(tmp_path, problems=40), faulty.url)
    faulty.set("401 midway", since=30)
    with temporary_settings({PREFECT_LOGGING_TO_API_ENABLED: True}):
        code = main(["run", str(file), "-v", "--metrics-file", str(tmp_path / "metrics.prom")])
        APILogWorker.drain_all(timeout=10)
    assert code in (1, 2)
    assert faulty.hit
    said = "".join(capfd.readouterr())
    assert "API key" in said  # the server's words are told, without the key in them
    assert "stepmint_problems_total" in (tmp_path / "metrics.prom").read_text()
    database = prefect / "server.db"
    assert b"API key" in b"".join(path.read_bytes() for path in prefect.glob("server.db*"))
    assert database.is_file()
    assert leaks(tmp_path, prefect, text=said) == []


def test_a_password_in_an_address_is_refused_and_not_repeated(tmp_path: Path, capfd: Capture) -> None:
    file = on_server(write_run_file(tmp_path, problems=2), f"http://me:{LOGIN}@127.0.0.1:1/v1")
    assert main(["run", str(file), "--no-prefect", "-v"]) == 2
    assert main(["work", f"s3://me:{LOGIN}@bucket/x"]) == 2
    said = "".join(capfd.readouterr())
    assert "would be recorded; use api_key_env" in said
    assert "keys belong into the environment" in said
    assert leaks(tmp_path / "runs", text=said) == []


def test_a_proxy_and_a_store_repeat_what_they_were_sent(tmp_path: Path, secret_environment: None) -> None:
    with Echo() as echo:
        address = echo.url.removesuffix("/v1")
        file = on_server(write_run_file(tmp_path, problems=4), "http://model.invalid/v1")
        (tmp_path / "tmp").mkdir()
        environment = {
            **os.environ,
            "TMPDIR": str(tmp_path / "tmp"),
            "AWS_ENDPOINT_URL": address,
            "HTTP_PROXY": address.replace("://", f"://me:{PASSWORD}@"),
            "NO_PROXY": "127.0.0.1",
        }
        said = ""
        for arguments in (
            ("run", str(file), "--no-prefect", "-v"),
            ("run", str(file), "--no-prefect", "--log-json"),
            ("work", "s3://bucket/mine", "-v"),
        ):
            done = subprocess.run(
                [sys.executable, "-m", "flows.cli", *arguments],
                env=environment,
                capture_output=True,
                text=True,
            )
            assert done.returncode in (1, 2), done.stderr
            said += done.stdout + done.stderr
        # Both were reached, with the secrets that they can repeat.
        assert "proxy-authorization: basic" in echo.seen.lower()
        assert STORE_ID.lower() in echo.seen.lower()
    assert leaks(tmp_path / "runs", tmp_path / "tmp", text=said) == []
