"""`stepmint work URL`, and what lets other commands use a run on an object store as they use a folder."""

import argparse
import re
from collections.abc import Callable
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flows import progress
from pipeline.storage.copies import copy_of
from pipeline.storage.copies import mirrored as mirrored
from schemas.errors import BackendError, UserError, redacted
from schemas.logged import about
from schemas.places import is_url

if TYPE_CHECKING:
    from pipeline.runs.growths import Growth
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


def work(args: argparse.Namespace) -> Result:
    """Join a run: label its shards until none is left, and seal it where no other worker has."""
    if not is_url(args.url):
        raise UserError(f"{args.url}: is no address: expected s3://BUCKET/RUNS/NAME, or file:///FOLDER/NAME")
    if not 1 <= args.lease <= 3600:
        raise UserError(f"--lease {args.lease:g}: expected 1 to 3600 seconds")
    with progress.listening(progress.listener(quiet=args.json)):
        return work_on(_opened(args.url, written=True), args.lease)


def submit(args: argparse.Namespace, config: "RunConfig", flow: Callable[..., Any]) -> Result:
    """Begin the run on the object store that its `root` names, or go on with it, and work on it: here, or
    with `[ray]` on a cluster. With --begin the work is left to `stepmint work`. `flow` runs a flow of a
    module. Only `run`, and only where it was given, trains and evaluates what is sealed."""
    with progress.listening(progress.listener(quiet=args.json)):
        if vars(args).get("begin"):
            return _begun(config)
        if config.ray is None:
            from flows.server import stop_ahead

            stop_ahead()  # no flow runs here
            result = work_on(begin(config))
        else:
            _check_ray(args, config)
            result = on_cluster(config, lambda: flow(args, "on_ray", lambda flows: flows.spread(config)))
        if args.command == "run":
            result |= _trained(config, result["run"])
    return result


def _begun(config: "RunConfig") -> Result:
    """Begin the run, or let it grow, and say which it was, and what is left to do."""
    from pipeline.runs import growths, remote
    from pipeline.storage.object_store import open_objects

    before = growths.latest(open_objects(_url_of(config), written=False))
    objects = begin(config)
    now, (manifest, made_for) = growths.known(objects), remote.last_dataset(objects)
    trains = "the same command without --begin trains"
    if manifest and not manifest.owed and made_for >= now.changed:
        said = f"sealed already, and nothing is new{f'; {trains}' if config.train else ''}"
    else:
        how = "begun already" if before else "begun"
        if before and now.number > before.number:
            how = "grown" if now.changed > before.changed else "begun already, and asks models otherwise now"
        then = f"; when it is sealed, {trains}" if config.train else ""
        said = f"{how}; work on it: stepmint work {objects.url}{then}"
    return {"run": objects.url, "said": said}


def on_cluster(config: "RunConfig", spread: "Callable[[], tuple[ObjectStore, Growth, int]]") -> Result:
    """Let a Ray cluster work on a run by `spread`, and seal it; again, where it has grown meanwhile."""
    from flows.on_ray import connected
    from pipeline.runs.growths import Grown

    assert config.ray is not None
    done = 0
    while True:
        with connected(config.ray):
            objects, growth, here = spread()
        done += here
        with suppress(Grown):  # then there is more to label
            return {**sealed(objects, growth), "labelled_here": done}


def _check_ray(args: argparse.Namespace, config: "RunConfig") -> None:
    if not is_url(config.root):
        raise UserError(
            f"[ray]: root = {config.root!r} is a folder of this machine: a run on a cluster needs a place "
            "that all nodes reach, such as s3://BUCKET/RUNS or file:///SHARED/RUNS"
        )
    if args.no_prefect:
        raise UserError(
            "--no-prefect: with [ray] the shards are tasks of a Prefect flow; leave one of them out"
        )


def _url_of(config: "RunConfig") -> str:
    """The place of a run. UserError where its `root` is a folder."""
    if not is_url(config.root):
        raise UserError(
            f"root = {config.root!r} is a folder of this machine, where no other can join: name a place that "
            "all reach, such as s3://BUCKET/RUNS or file:///SHARED/RUNS"
        )
    return f"{config.root.rstrip('/')}/{config.name}"


def begin(config: "RunConfig") -> "ObjectStore":
    """Begin the run on the object store that its `root` names, or let it grow; returns its place.

    As in a folder, the base of `[train]` is tried before anything is sampled. A night of a series has the
    problems that it was begun with, whoever began it; NothingNew where there would be none.
    """
    from flows.checks import check_base, read_by
    from pipeline.labelling.problems import read_problems
    from pipeline.runs import remote
    from pipeline.runs.far_series import done_earlier
    from pipeline.runs.run_store import RunStore
    from pipeline.runs.series import is_night
    from pipeline.storage.atomic import fresh_folder
    from pipeline.storage.object_store import open_objects

    objects = open_objects(_url_of(config))
    night = is_night(config)
    if night and _joins(objects, config):
        return objects
    with fresh_folder() as folder:
        with progress.stage("reading the problems"):
            store = RunStore.open(config.model_copy(update={"root": str(folder)}))
            if not night:
                remote.follow(objects, store)
            read_problems(store, done_earlier(config) if night else frozenset())
        if config.train and remote.last_manifest(objects) is None:
            with progress.stage("trying out the base of the PRM"):
                check_base(config, read_by(store))
        if not night:
            remote.begin(objects, store)
        elif not remote.create(objects, store):
            # Another fire of this night was first, and may have found other problems in its source.
            _joins(objects, config)
    return objects


def _joins(objects: "ObjectStore", config: "RunConfig") -> bool:
    """Whether a night was begun, so that it is gone on with. UserError where it has other settings."""
    from pipeline.runs import remote
    from pipeline.runs.identity import differences

    began = remote.recorded(objects)
    if began is None:
        return False
    if found := differences(began, config, {}, {}):
        raise UserError(
            f"{objects.url}: was begun with {', '.join(found)}: change it back, finish the run as it is with "
            f"`stepmint work {objects.url}`, or remove it"
        )
    return True


def work_on(objects: "ObjectStore", lease_s: float = 90.0) -> Result:
    """Label the shards of a run until none is left, and seal it where no other worker has."""
    from pipeline.labelling.work import Pace, Worker
    from pipeline.runs.growths import Grown
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
        found: Result = {}
        while not found:
            with progress.stage("labelling"), about(run=objects.url):
                worker.run()
            with suppress(Grown):  # then there is more to label
                found = sealed(objects, worker.growth)
    return {**found, "labelled_here": worker.done, "lost_shards": worker.fenced}


def sealed(objects: "ObjectStore", growth: "Growth | None" = None) -> Result:
    """Make the dataset of a run whose shards are all sealed for a growth, or for what it has now, unless
    somebody has; returns its figures. Raises Grown where the run has got further problems, which are to be
    labelled first."""
    from pipeline.labelling.remarks import remarks, unread
    from pipeline.labelling.work import seal_remote
    from pipeline.runs import growths, remote

    growth = growth or growths.known(objects)
    with progress.stage("fusing the votes"), mirrored(objects.url) as mirror:
        # Of several workers of one machine the first makes the dataset, and the others find it.
        manifest, made_for = remote.last_dataset(objects)
        # It may be that of an earlier growth, or of what was done by then (`fuse --partial`).
        if manifest is None or manifest.owed or made_for < growth.changed:
            manifest = seal_remote(objects, mirror, growth)
    # Other settings of speed owe nothing. Two commands on Ray, each of which puts its own, would never end.
    if growths.after(objects, growth).changed > growth.changed:
        raise growths.Grown
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
    """UserError where a deployment would have to train on one run on an object store. The machine that runs
    it may be gone afterwards, and the checkpoint with it. That of a whole series is put on the store."""
    from flows.main import trains_as_series

    if is_url(config.root) and (config.train or config.evaluate) and not trains_as_series(config):
        raise UserError(
            f"root {redacted(config.root)!r} is an object store, where a deployment only labels and seals: "
            "leave [train] and [evaluate] out, then `stepmint train URL --out FOLDER`; or give a [series] "
            "retrain_rows"
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
    if args.command not in READING:
        raise UserError(
            f"{args.command} works on a folder; an address is taken by {', '.join(READING)}, work"
        )
    if args.command == "train" and not args.out and not args.dry_run:
        raise UserError("train on an address needs --out FOLDER, where the checkpoint is put")
    objects = _opened(args.run, written=args.command == "fuse")
    told = _by_address(objects.url)
    try:
        return {name: told(found) for name, found in _on_copy(args, command, objects).items()}
    except (UserError, BackendError) as error:
        error.args = tuple(map(told, error.args))
        raise


def _on_copy(
    args: argparse.Namespace, command: Callable[[argparse.Namespace], Result], objects: "ObjectStore"
) -> Result:
    from pipeline.runs import remote
    from pipeline.runs.run_store import RunStore
    from pipeline.storage.generations import sealed_manifest

    quiet = args.json or vars(args).get("watch") is not None
    with ExitStack() as held:
        folder = held.enter_context(mirrored(objects.url))
        with progress.listening(progress.listener(quiet=quiet)):
            config = _read(objects, folder)
        there = argparse.Namespace(**{**vars(args), "run": str(folder)})
        if args.command == "fuse":
            result = command(there)
            if not remote.put_dataset(objects, RunStore(folder, config).path, sealed_manifest(folder)):
                raise UserError(
                    f"{objects.url}: has grown, and was sealed, meanwhile: give the same command again"
                )
            return result
    # Without the lock: `show | less` must not keep others waiting. Where another command seals the copy
    # meanwhile, this one reads the files as they were, or says that they were sealed anew.
    return command(there)


def _opened(url: str, *, written: bool) -> "ObjectStore":
    """The place of a run. UserError where none is there, before anything is made there or on this machine."""
    from pipeline.runs import growths
    from pipeline.storage.object_store import open_objects, probe

    objects = open_objects(url, written=False)
    growths.known(objects)
    if written:
        probe(objects)
    return objects


def _by_address(url: str) -> Callable[[Any], Any]:
    """Puts the address of a run in the place of the folder of its copy, in all that a command says. Files of
    the copy keep their names: that is where they are."""
    folder = str(copy_of(url))
    whole = re.compile(re.escape(folder) + r"(?!/)")

    def told(said: Any) -> Any:
        match said:
            case str():
                said = said.replace(f"`stepmint run {folder}`", f"`stepmint work {url}`")
                anew = f"remove {Path(folder).parent}, which is a copy and is made anew"
                return whole.sub(lambda _: url, said.replace(f"see `stepmint check {folder}`", anew))
            case dict():
                return {name: told(one) for name, one in said.items()}
            case list():
                return [told(one) for one in said]
        return said

    return told


def _read(objects: "ObjectStore", folder: Path) -> "RunConfig":
    """Put what a run has by now into its folder; returns the run's configuration there."""
    from pipeline.runs import remote

    with progress.stage(f"reading {objects.url}"):
        config = remote.fetch(objects, folder)
        remote.load(objects, folder, config.shards)
    return config
