"""`stepmint work URL`, and what lets other commands use a run on an object store as they use a folder."""

import argparse
import hashlib
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flows import progress
from schemas.config import RunConfig
from schemas.errors import UserError, redacted

if TYPE_CHECKING:
    from pipeline.storage.object_store import ObjectStore

Result = dict[str, Any]
READING = ("status", "show", "report", "export", "fuse", "derive", "train")
"""Commands that take the address of a run instead of its folder."""


def add_arguments(work: argparse.ArgumentParser) -> None:
    """The arguments of the command."""
    work.add_argument("url", help="address of a run: s3://BUCKET/RUNS/NAME, gs://..., az://..., file:///...")


def is_url(name: str) -> bool:
    """Whether a folder's name is the address of an object store: `s3://bucket/runs`, `file:///mnt/runs`."""
    return "://" in name


def work(args: argparse.Namespace) -> Result:
    """Join a run: label its shards until none is left, and seal it where no other worker has."""
    from pipeline.storage.object_store import open_objects

    if not is_url(args.url):
        raise UserError(f"{args.url}: is no address: expected s3://BUCKET/RUNS/NAME, or file:///FOLDER/NAME")
    with progress.listening(progress.listener(quiet=args.json)):
        return work_on(open_objects(args.url))


def submit(args: argparse.Namespace, config: RunConfig, flow: Callable[..., Any]) -> Result:
    """Begin the run on the object store that its `root` names, or go on with it, and work on it: here, or
    with `[ray]` on a cluster. With --begin the work is left to `stepmint work`. `flow` runs a flow of a
    module."""
    if config.ray is None or vars(args).get("begin"):
        with progress.listening(progress.listener(quiet=args.json)):
            objects = begin(config)
            if not vars(args).get("begin"):
                return work_on(objects)
        return {"run": objects.url, "said": f"begun; work on it: stepmint work {objects.url}"}
    if not is_url(config.root):
        raise UserError(
            f"[ray]: root = {config.root!r} is a folder of this machine: a run on a cluster needs a place "
            "that all nodes reach, such as s3://BUCKET/RUNS or file:///SHARED/RUNS"
        )
    if args.no_prefect:
        raise UserError(
            "--no-prefect: with [ray] the shards are tasks of a Prefect flow; leave one of them out"
        )
    from flows.on_ray import connected

    with connected(config.ray):
        objects = flow(args, "on_ray", lambda flows: flows.spread(config))
    with progress.listening(progress.listener(quiet=args.json)):
        return sealed(objects)


def begin(config: RunConfig) -> "ObjectStore":
    """Begin the run on the object store that its `root` names, if it was not begun; returns its place."""
    from pipeline.labelling.problems import read_problems
    from pipeline.runs import remote
    from pipeline.runs.run_store import RunStore
    from pipeline.storage.object_store import open_objects

    if not is_url(config.root):
        raise UserError(
            f"root = {config.root!r} is a folder of this machine, where no other can join: name a place that "
            "all reach, such as s3://BUCKET/RUNS or file:///SHARED/RUNS"
        )
    if config.train or config.evaluate:
        raise UserError(
            f"root {redacted(config.root)!r} is an object store, where a run is only labelled and sealed: "
            "leave [train] and [evaluate] out, then `stepmint train URL --out FOLDER`"
        )
    objects = open_objects(f"{config.root.rstrip('/')}/{config.name}")
    with tempfile.TemporaryDirectory(prefix="stepmint-") as folder:
        with progress.stage("reading the problems"):
            store = RunStore.open(config.model_copy(update={"root": folder}))
            read_problems(store)
        remote.begin(objects, store)
    return objects


def work_on(objects: "ObjectStore") -> Result:
    """Label the shards of a run until none is left, and seal it where no other worker has."""
    from pipeline.labelling.work import Worker

    # A folder of its own for every worker, also where several of one machine work on one run.
    with tempfile.TemporaryDirectory(prefix="stepmint-") as folder:
        worker = Worker(objects, Path(folder) / "run", advance=progress.advance, note=progress.note)
        with progress.stage("labelling"):
            worker.run()
    return {**sealed(objects), "labelled_here": worker.done, "lost_shards": worker.fenced}


def sealed(objects: "ObjectStore") -> Result:
    """Make the dataset of a run whose shards are all sealed, unless somebody has; returns its figures."""
    from pipeline.labelling.remarks import remarks, unread
    from pipeline.labelling.work import seal_remote
    from pipeline.runs import remote

    with progress.stage("fusing the votes"):
        manifest = remote.last_manifest(objects) or seal_remote(objects, mirror_of(objects.url))
    return {
        "run": objects.url,
        "dataset_digest": manifest.digest(),
        "problems": manifest.problems,
        "solutions": manifest.solutions,
        "steps": manifest.steps,
        "labelled_steps": manifest.labelled_steps,
        "remarks": remarks(manifest),
        "unread": unread(manifest),
    }


def in_folder(args: argparse.Namespace, command: Callable[[argparse.Namespace], Result]) -> Result:
    """Run a command on a folder that holds what a run on an object store has by now. UserError for a command
    that would change the folder and not the run."""
    from pipeline.runs import remote
    from pipeline.runs.run_store import RunStore
    from pipeline.storage.generations import sealed_manifest
    from pipeline.storage.object_store import open_objects

    if args.command not in READING:
        raise UserError(
            f"{args.command} works on a folder; an address is taken by {', '.join(READING)}, work"
        )
    if args.command == "train" and not args.out and not args.dry_run:
        raise UserError("train on an address needs --out FOLDER, where the checkpoint is put")
    objects = open_objects(args.run)
    folder = mirror_of(objects.url)
    with progress.listening(progress.listener(quiet=args.json)), progress.stage(f"reading {objects.url}"):
        config = remote.fetch(objects, folder)
        remote.load(objects, folder, config.shards)
    result = command(argparse.Namespace(**{**vars(args), "run": str(folder)}))
    if args.command == "fuse":
        remote.put_dataset(objects, RunStore(folder, config).path, sealed_manifest(folder))
    return result


def mirror_of(url: str) -> Path:
    """The folder for a run at an address: equal addresses, equal folders."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "stepmint" / "objects"
    return cache / hashlib.sha256(url.encode()).hexdigest()[:16] / url.rstrip("/").rpartition("/")[2]
