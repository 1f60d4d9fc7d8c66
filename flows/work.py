"""`stepmint work URL`, and what the other commands need to use a run on an object store like a folder."""

import argparse
import hashlib
import os
import tempfile
from pathlib import Path
from typing import Any

from flows import progress
from pipeline.labelling.problems import read_problems
from pipeline.labelling.work import Worker, seal_remote
from pipeline.runs import remote
from pipeline.runs.run_store import RunStore
from pipeline.storage.object_store import ObjectStore, open_objects
from schemas.config import RunConfig
from schemas.errors import redacted


def work(args: argparse.Namespace) -> dict[str, Any]:
    """Join a run: label its shards until none is left, then seal it."""
    with progress.listening(progress.listener(quiet=args.json)):
        return _work(open_objects(args.url))


def submit(config: RunConfig) -> dict[str, Any]:
    """Begin the run on the object store that its `root` names, or go on with it, and work on it."""
    url = f"{config.root.rstrip('/')}/{config.name}"
    objects = open_objects(url)
    with tempfile.TemporaryDirectory(prefix="stepmint-") as folder:
        with progress.stage("reading the problems"):
            store = RunStore.open(config.model_copy(update={"root": folder}))
            read_problems(store)
        remote.begin(objects, store)
    return _work(objects)


def _work(objects: ObjectStore) -> dict[str, Any]:
    # A folder of its own for every worker, also where several of one machine work on one run.
    with tempfile.TemporaryDirectory(prefix="stepmint-") as folder:
        worker = Worker(objects, Path(folder) / "run", advance=progress.advance, note=progress.note)
        with progress.stage("labelling"):
            worker.run()
    said = {"run": objects.url, "done": worker.done, "lost_shards": worker.fenced}
    with progress.stage("fusing the votes"):
        manifest = remote.last_manifest(objects) or seal_remote(objects, mirror_of(objects.url))
    return {
        **said,
        "dataset_digest": manifest.digest(),
        "solutions": manifest.solutions,
        "steps": manifest.steps,
    }


def mirrored(url: str) -> Path:
    """A folder that holds what a run on an object store has by now, for commands that read a run."""
    objects = open_objects(url)
    folder = mirror_of(objects.url)
    with progress.stage(f"reading {redacted(url)}"):
        config = remote.fetch(objects, folder)
        remote.load(objects, folder, config.shards)
    return folder


def mirror_of(url: str) -> Path:
    """Where the folder of a run at an address lies: equal addresses, equal folders."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "stepmint" / "objects"
    name = url.rstrip("/").rpartition("/")[2]
    return cache / hashlib.sha256(url.encode()).hexdigest()[:16] / name
