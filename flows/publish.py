"""Publishes a run or a checkpoint as a Prefect flow, so that a schedule can do it too."""

from pathlib import Path

from flows.engine import NO_CACHE, HereTaskRunner, flow, task
from pipeline.outputs.publish import publish_checkpoint, publish_run
from pipeline.runs.run_store import RunStore
from pipeline.storage.recorded import read_config
from schemas.errors import UserError


@task(cache_policy=NO_CACHE)
def upload(folder: str, repo_id: str, private: bool) -> str:
    """Upload a sealed run or a checkpoint; returns its address."""
    path = Path(folder)
    # A checkpoint may lie in a folder of any name; its prm.json tells it from a run, which has a run.toml.
    if (path / "prm.json").is_file():
        return publish_checkpoint(path, repo_id, private=private)
    if not (path / "run.toml").is_file():
        raise UserError(f"{path}: neither a run (run.toml) nor a checkpoint (prm.json)")
    return publish_run(RunStore(path, read_config(path)), repo_id, private=private)


@flow(name="publish", task_runner=HereTaskRunner())
def publish(folder: str, repo_id: str, private: bool = True) -> str:
    """Put a run's dataset or a PRM on the Hub."""
    address: str = upload(folder, repo_id, private)
    return address
