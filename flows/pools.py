"""Prefect's work pools: where a deployment runs, and what its runs need there.

In a process pool a worker starts runs on its own machine. In a docker or kubernetes pool every run has a
container of its own. The settings of the two are in `flows/templates`. Prefect's own template for Kubernetes
has fields in the pod that Kubernetes does not know.
"""

import json
import os
from pathlib import Path
from typing import Any, Literal, get_args

from schemas.errors import UserError

Kind = Literal["process", "docker", "kubernetes"]
KINDS: tuple[str, ...] = get_args(Kind)


def template(kind: str) -> dict[str, Any]:
    """The settings of a new pool, as Prefect calls it: its base job template."""
    if kind == "process":
        from prefect.workers.process import ProcessWorker

        return ProcessWorker.get_default_base_job_template()
    file = Path(__file__).parent / "templates" / f"{kind}.json"
    made: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    return made


def ensure_pool(client: Any, name: str, wanted: str) -> tuple[str, bool]:
    """Make the work pool if there is none; returns its kind, and whether it was made. An empty `wanted` takes
    the pool as it is. UserError where it is of another kind."""
    from prefect.client.schemas.actions import WorkPoolCreate
    from prefect.exceptions import ObjectAlreadyExists, ObjectNotFound

    try:
        kind: str = client.read_work_pool(name).type
    except ObjectNotFound:
        kind = wanted or "process"
        try:
            client.create_work_pool(WorkPoolCreate(name=name, type=kind, base_job_template=template(kind)))
        except ObjectAlreadyExists:  # a worker that has just been started made it
            kind = client.read_work_pool(name).type
        else:
            return kind, True
    if kind not in KINDS:
        raise UserError(f"--pool {name}: its type is {kind!r}: expected one of {', '.join(KINDS)}")
    if wanted and kind != wanted:
        raise UserError(f"--pool {name}: its type is {kind!r}, not {wanted!r}: choose another name")
    return kind, False


def job_variables(kind: str, image: str, run_file: Path) -> dict[str, Any]:
    """What a run of the deployment needs beside the settings of its pool."""
    if kind == "process":
        return {}
    if kind == "kubernetes":
        return {"image": image}
    seen = sorted({str(Path.cwd()), str(run_file.resolve().parent)})
    return {
        "image": image,
        # The same folders at the same paths, so relative paths mean the same here, too.
        "volumes": [f"{folder}:{folder}" for folder in seen],
        # What it writes there belongs to whoever gave the command.
        "container_create_kwargs": {"user": f"{os.getuid()}:{os.getgid()}"},
    }
