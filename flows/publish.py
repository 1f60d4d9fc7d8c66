"""Publishes a run or a checkpoint as a flow, so that a schedule can do it too."""

from pathlib import Path

from flows.checks import check_publishable
from flows.engine import flow, task
from pipeline.outputs.publish import publish_checkpoint, publish_run
from pipeline.runs.run_store import RunStore
from pipeline.storage.recorded import read_config


@task()
def upload(folder: str, repo_id: str, private: bool) -> str:
    """Upload a sealed run or a checkpoint; returns its address."""
    path = Path(folder)
    check_publishable(path)
    if (path / "prm.json").is_file():
        return publish_checkpoint(path, repo_id, private=private)
    return publish_run(RunStore(path, read_config(path)), repo_id, private=private)


@flow("publish")
def publish(folder: str, repo_id: str, private: bool = True) -> str:
    """Put a run's dataset or a PRM on the Hub."""
    address: str = upload(folder, repo_id, private)
    return address
