"""A sealed run to damage."""

import shutil
from pathlib import Path

import pytest

from pipeline.labelling.sealing import seal
from pipeline.outputs.report import rows_of
from pipeline.runs.run_store import RunStore
from pipeline.storage.recorded import read_config


@pytest.fixture
def sealed(labelled: Path, tmp_path: Path) -> RunStore:
    shutil.copytree(labelled, tmp_path / "r", symlinks=True)
    store = RunStore(tmp_path / "r", read_config(tmp_path / "r"))
    store.config = store.config.model_copy(update={"root": str(tmp_path)})
    seal(store)
    return store


def rows(store: RunStore) -> list[str]:
    return [row.model_dump_json() for row in rows_of(store)]
