"""`stepmint work URL`, and what lets other commands use a run on an object store as they use a folder."""

import argparse
import hashlib
import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flows import progress
from schemas.errors import UserError, redacted
from schemas.logged import about

if TYPE_CHECKING:
    from pipeline.storage.object_store import ObjectStore
    from schemas.config import RunConfig

Result = dict[str, Any]
READING = ("status", "show", "report", "export", "fuse", "derive", "train")
"""Commands that take the address of a run instead of its folder."""


def add_arguments(work: argparse.ArgumentParser) -> None:
    """The arguments of the command."""
    work.add_argument("url", help="address of a run: s3://BUCKET/RUNS/NAME, gs://..., az://..., file:///...")
    work.add_argument(
        "--lease",
        type=float,
        default=90.0,
        metavar="SECONDS",
        help="how long a worker may be silent before another takes its shard (default 90). It appends what "
        "is done every third of this, which is what a kill loses at most. Give all workers of a run the same",
    )


def is_url(name: str) -> bool:
    """Whether a folder's name is the address of an object store: `s3://bucket/runs`, `file:///mnt/runs`."""
    return "://" in name


def work(args: argparse.Namespace) -> Result:
    """Join a run: label its shards until none is left, and seal it where no other worker has."""
    from pipeline.storage.object_store import open_objects

    if not is_url(args.url):
        raise UserError(f"{args.url}: is no address: expected s3://BUCKET/RUNS/NAME, or file:///FOLDER/NAME")
    if not 1 <= args.lease <= 3600:
        raise UserError(f"--lease {args.lease:g}: expected 1 to 3600 seconds")
    with progress.listening(progress.listener(quiet=args.json)):
        return work_on(open_objects(args.url), args.lease)


def submit(args: argparse.Namespace, config: "RunConfig", flow: Callable[..., Any]) -> Result:
    """Begin the run on the object store that its `root` names, or go on with it, and work on it: here, or
    with `[ray]` on a cluster. With --begin the work is left to `stepmint work`. `flow` runs a flow of a
    module. Only `run`, and only where it was given, trains and evaluates what is sealed."""
    if config.ray is None:
        from flows.server import stop_ahead

        stop_ahead()  # no flow runs here
    with progress.listening(progress.listener(quiet=args.json)):
        if vars(args).get("begin"):
            url = begin(config).url
            then = "; when it is sealed, the same command without --begin trains" if config.train else ""
            return {"run": url, "said": f"begun; work on it: stepmint work {url}{then}"}
        result = work_on(begin(config)) if config.ray is None else {}
    if config.ray is not None:
        result = _on_cluster(args, config, flow)
    if args.command == "run":
        with progress.listening(progress.listener(quiet=args.json)):
            result |= _trained(config, result["run"])
    return result


def _on_cluster(args: argparse.Namespace, config: "RunConfig", flow: Callable[..., Any]) -> Result:
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

    assert config.ray is not None
    with connected(config.ray):
        objects = flow(args, "on_ray", lambda flows: flows.spread(config))
    with progress.listening(progress.listener(quiet=args.json)):
        return sealed(objects)


def begin(config: "RunConfig") -> "ObjectStore":
    """Begin the run on the object store that its `root` names, if it was not begun; returns its place.

    As in a folder, the base of `[train]` is tried before anything is sampled.
    """
    from flows.checks import check_base
    from pipeline.labelling.problems import read_problems
    from pipeline.runs import remote
    from pipeline.runs.run_store import RunStore
    from pipeline.storage.atomic import fresh_folder
    from pipeline.storage.object_store import open_objects

    if not is_url(config.root):
        raise UserError(
            f"root = {config.root!r} is a folder of this machine, where no other can join: name a place that "
            "all reach, such as s3://BUCKET/RUNS or file:///SHARED/RUNS"
        )
    objects = open_objects(f"{config.root.rstrip('/')}/{config.name}")
    with fresh_folder() as folder:
        with progress.stage("reading the problems"):
            store = RunStore.open(config.model_copy(update={"root": str(folder)}))
            read_problems(store)
        if config.train and remote.last_manifest(objects) is None:
            with progress.stage("trying out the base of the PRM"):
                check_base(config, chain.from_iterable(map(store.posed, range(config.shards))))
        remote.begin(objects, store)
    return objects


def work_on(objects: "ObjectStore", lease_s: float = 90.0) -> Result:
    """Label the shards of a run until none is left, and seal it where no other worker has."""
    from pipeline.labelling.work import Pace, Worker
    from pipeline.storage.atomic import fresh_folder

    # A folder of its own for every worker, also where several of one machine work on one run.
    with fresh_folder() as folder:
        worker = Worker(
            objects,
            folder / "run",
            pace=Pace.of_lease(lease_s),
            advance=progress.advance,
            note=progress.note,
        )
        with progress.stage("labelling"), about(run=objects.url):
            worker.run()
    return {**sealed(objects), "labelled_here": worker.done, "lost_shards": worker.fenced}


def sealed(objects: "ObjectStore") -> Result:
    """Make the dataset of a run whose shards are all sealed, unless somebody has; returns its figures."""
    from pipeline.labelling.remarks import remarks, unread
    from pipeline.labelling.work import seal_remote
    from pipeline.runs import remote

    with progress.stage("fusing the votes"), mirrored(objects.url) as mirror:
        # Of several workers of one machine the first makes the dataset, and the others find it.
        manifest = remote.last_manifest(objects)
        if manifest is None or manifest.owed:  # or it was made of what was done then (`fuse --partial`)
            manifest = seal_remote(objects, mirror)
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


def refuse_training(config: "RunConfig") -> None:
    """UserError where a deployment would have to train on a run on an object store. The machine that runs it
    may be gone afterwards, and the checkpoint with it."""
    if is_url(config.root) and (config.train or config.evaluate):
        raise UserError(
            f"root {redacted(config.root)!r} is an object store, where a deployment only labels and seals: "
            "leave [train] and [evaluate] out, then `stepmint train URL --out FOLDER`"
        )


def _trained(config: "RunConfig", url: str) -> Result:
    """Train and evaluate as the run file asks, on this machine's copy of a sealed run; returns the
    figures."""
    from flows.engine import without_prefect
    from flows.main import trained
    from flows.train import checkpoint_of
    from pipeline.storage.object_store import open_objects

    if not config.train:
        return {}
    with mirrored(url) as folder:
        _read(open_objects(url), folder)
    with without_prefect():
        return trained(config.model_copy(update={"root": str(folder.parent)}), checkpoint_of(config))


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
    objects = open_objects(args.run, written=args.command == "fuse")
    quiet = args.json or vars(args).get("watch") is not None
    with ExitStack() as held:
        folder = held.enter_context(mirrored(objects.url))
        with progress.listening(progress.listener(quiet=quiet)):
            config = _read(objects, folder)
        there = argparse.Namespace(**{**vars(args), "run": str(folder)})
        if args.command == "fuse":
            result = command(there)
            remote.put_dataset(objects, RunStore(folder, config).path, sealed_manifest(folder))
            return result
    # Without the lock: `show | less` must not keep others waiting. Where another command seals the copy
    # meanwhile, this one reads the files as they were, or says that they were sealed anew.
    return command(there)


def _read(objects: "ObjectStore", folder: Path) -> "RunConfig":
    """Put what a run has by now into its folder; returns the run's configuration there."""
    from pipeline.runs import remote

    with progress.stage(f"reading {objects.url}"):
        config = remote.fetch(objects, folder)
        remote.load(objects, folder, config.shards)
    return config


@contextmanager
def mirrored(url: str) -> Iterator[Path]:
    """The folder for a run at an address, in which no other process of this machine writes meanwhile. Equal
    addresses have equal folders."""
    from pipeline.storage.locks import alone

    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "stepmint" / "objects"
    place = cache / hashlib.sha256(url.encode()).hexdigest()[:16]
    with alone(place / "lock"):
        yield place / url.rstrip("/").rpartition("/")[2]
