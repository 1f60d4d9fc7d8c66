"""What each command does: a function takes its arguments and returns a result that can be written as JSON.

`flows.display` prints it. Heavy modules are imported in the functions, so a command loads only what it uses.
"""

import argparse
import importlib
import os
from collections import Counter
from collections.abc import Callable
from contextlib import nullcontext
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from flows import progress
from flows.checks import (
    check_publishable,
    check_sealed,
    check_stages,
    check_tunable,
    outline,
    preview,
    ready,
)
from flows.deploy import deploy as deploy
from flows.doctor import examine, examine_policies
from flows.init import init as init
from flows.submitted import hand_over
from flows.verify import verify as verify
from flows.work import submit
from flows.work import work as work
from pipeline.prm.ranks import rank
from schemas.config import RunConfig, load_config
from schemas.errors import UserError
from schemas.places import is_url

if TYPE_CHECKING:
    from pipeline.runs.run_store import RunStore

Result = dict[str, Any]
T = TypeVar("T")


def run(args: argparse.Namespace) -> Result:
    """Do every stage of a run file; with --dry-run, only say what they would be."""
    config = _given(args)
    if args.submit:
        return hand_over(args, config)
    ready(config)
    if args.dry_run:
        return outline(config)
    check_stages(config)
    if is_url(config.root) or config.ray or args.begin:
        return submit(args, config, _flow)
    return _flow(args, "main", lambda flows: flows.main(config), config)


def label(args: argparse.Namespace) -> Result:
    """Label the solutions of a file in a run of its own; with --dry-run, only write its run file."""
    from flows.label import drafted

    config, text = drafted(args)
    ready(config)
    if args.dry_run:
        return {"run_file": text}
    return _flow(args, "main", lambda flows: flows.main(config), config)


def synthesize(args: argparse.Namespace) -> Result:
    """Label and seal."""
    config = _given(args)
    ready(config)
    if is_url(config.root) or config.ray:
        return submit(args, config, _flow)
    return _flow(args, "synthesize", lambda flows: flows.synthesize(config), config)


def plan(args: argparse.Namespace) -> Result:
    """Predict what a run will take. The pilot's problems are the first ones of the run, and stay done."""
    config = _given(args)

    from pipeline.labelling.plan import Stated, count_problems, plan_from_pass_rate, plan_from_pilot
    from pipeline.runs import records

    stated = Stated(
        pass_rate=args.pass_rate,
        tokens_per_solution=args.tokens_per_solution,
        steps=args.steps,
        tokens_per_second=args.tokens_per_second,
        price_per_hour=args.price_per_hour,
    )
    stated.check(config, args.pilot)
    ready(config)
    with _listening(args):
        if stated.pass_rate is None:
            from pipeline.labelling.problems import read_problems
            from pipeline.runs.run_store import RunStore

            store = RunStore.open(config)
            with progress.stage("labelling the pilot", min(args.pilot, read_problems(store))):
                found = plan_from_pilot(store, args.pilot, stated, advance=progress.advance)
        else:
            with progress.stage("trying out the pass rate"):
                found = plan_from_pass_rate(config, count_problems(config), stated)
    folder = Path(config.root) / config.name
    records.write_plan(folder, found)
    return {"run": str(folder), **found.model_dump()}


def fuse(args: argparse.Namespace) -> Result:
    """Make the labels again from the journal. Nothing is sampled, so it needs no flow."""
    other = [item for item in args.set if not item.startswith("fusion.")]
    if other:
        raise UserError(
            f"--set {other[0]}: fuse changes only [fusion]; other settings need a run of another name"
        )
    config = _config_of(Path(args.run), args.set)

    from pipeline.labelling.sealing import seal
    from pipeline.outputs.report import summarise
    from pipeline.runs.run_store import RunStore

    store = RunStore.reopen(config)
    with _listening(args), progress.stage("fusing the votes"):
        manifest = seal(store, partial=args.partial)
        store.record_config()  # after the sealing: a fusion that fails leaves the old settings in place
    about = {"path": str(store.path), "dataset_digest": manifest.digest(), "owed": manifest.owed}
    return {**summarise(store), **about}


def report(args: argparse.Namespace) -> Result:
    """The figures of a sealed run, as they were printed at its end."""
    from pipeline.outputs.report import summarise

    with _listening(args), progress.stage("reading the labels"):
        return summarise(_open(Path(args.run)))


def regrade(args: argparse.Namespace) -> Result:
    """Make grades, votes and labels again from the stored rollouts. Nothing is sampled: it needs no flow."""
    import asyncio

    from pipeline.labelling.problems import read_problems
    from pipeline.labelling.regrade import mark, regrade_shard
    from pipeline.labelling.sealing import seal
    from pipeline.runs.run_store import RunStore

    # `reopen` does not look at prompts and models: no policy is asked, so they may be gone.
    store = RunStore.reopen(_config_of(Path(args.run)))
    found = Counter[str]()
    mark(store).touch()
    with _listening(args):
        with progress.stage("reading the problems"):
            read_problems(store)
        finished = [len(store.entries(shard)) for shard in range(store.config.shards)]
        with progress.stage("grading the stored rollouts again", sum(finished)):
            for shard in range(store.config.shards):
                work = regrade_shard(store, shard, advance=progress.advance)
                found.update(asyncio.run(work)._asdict())
        owed = sum(len(store.shard_state(shard).owed) for shard in range(store.config.shards))
        if not owed:
            with progress.stage("fusing the votes"):
                seal(store)
            mark(store).unlink()
    return {"run": str(store.path), **found, "owed": owed}


def train(args: argparse.Namespace) -> Result:
    """Train on a sealed run."""
    path = Path(args.run)
    config = _config_of(path, args.set) if path.is_dir() else load_config(path, tuple(args.set))
    if args.dry_run:
        return {"dry_run": preview(config)}
    if rank():  # torchrun started several processes: only the first runs the flow and prints the result
        from flows.train import checkpoint_of, train_model

        train_model.fn(config, args.out or str(checkpoint_of(config)))
        raise SystemExit(0)
    check_sealed(config)
    return _flow(args, "train", lambda flows: flows.train(config, args.out))


def selftrain(args: argparse.Namespace) -> Result:
    """Rounds of labelling and fine-tuning."""
    config = _given(args)
    check_tunable(config)
    ready(config)
    return _flow(args, "selftrain", lambda flows: flows.selftrain(config))


def evaluate(args: argparse.Namespace) -> Result:
    """Measure a PRM on each file and run; without any, repeat the figures recorded at training."""
    checkpoint = Path(args.checkpoint)
    if not args.on:
        return _recorded(checkpoint)

    from pipeline.outputs.report import evaluate_run
    from pipeline.prm.evaluate import evaluate_prm, load_gold
    from pipeline.prm.model import PRM
    from pipeline.runs.run_store import RunStore
    from schemas.config import EvaluateConfig

    prm = PRM.load(checkpoint)
    found: Result = {}
    with _listening(args):
        for name in args.on:
            with progress.stage(f"evaluating on {name}"):
                if Path(name).is_dir():
                    config = _config_of(Path(name))
                    settings = config.evaluate or EvaluateConfig()
                    store = RunStore(Path(name), config.model_copy(update={"evaluate": settings}))
                    found[name] = evaluate_run(store, checkpoint)
                else:
                    found[name] = evaluate_prm(prm, load_gold(Path(name)), [])
    return {"checkpoint": str(checkpoint), "evaluation": found}


def show(args: argparse.Namespace) -> Result:
    """Some rows as they stand in the dataset."""
    from pipeline.outputs.report import rows_named
    from schemas.arrow import to_row

    if args.n < 1:
        raise UserError(f"-n {args.n}: expected at least 1")
    rows = rows_named(_open(Path(args.run)), args.id or "", first_errors=args.first_errors)
    found = [to_row(row) for row in islice(rows, args.n)]
    if args.id and not found:
        raise UserError(f"{args.run}: no solution or problem has an id that begins with {args.id!r}")
    return {"rows": found}


def status(args: argparse.Namespace) -> Result:
    """What is done and what is owed, without changing anything."""
    from flows.status import status_of

    return status_of(_open(Path(args.run)))


def check(args: argparse.Namespace) -> Result:
    """Compare a run's files with their checksums; with --repair, mend what can be mended."""
    from pipeline.checking.findings import check as examined

    with _listening(args), progress.stage("checking the run"):
        return examined(Path(args.run), repair=args.repair)


def export(args: argparse.Namespace) -> Result:
    """Write another tool's format; the file appears whole or not at all."""
    from pipeline.outputs import export as exports
    from pipeline.outputs.report import rows_of
    from pipeline.storage.atomic import is_standard_output, replacing_text
    from pipeline.storage.recorded import check_outside

    convert = exports.format_named(args.format)
    # No format of ours has votes; one of yours may.
    found = rows_of(_open(Path(args.run)), votes=args.format not in exports.FORMATS)
    rows = (row for row in found if row.kept or not args.kept)
    out = Path(args.out)
    check_outside(out)
    piped = is_standard_output(out)
    with replacing_text(out) as file:
        counts = exports.export(rows, convert, file)
    return {"out": str(out), "format": args.format, "piped": piped, **counts}


def derive(args: argparse.Namespace) -> Result:
    """Derive a method's values from a run, and write them into the run's folder or to `--out`."""
    from schemas.derive import parse_settings

    settings = parse_settings(args.method, tuple(args.set))

    from pipeline.methods.derive import derive as write
    from pipeline.methods.stored import Run
    from pipeline.storage.recorded import check_outside

    store = _open(Path(args.run))
    out = Path(args.out) if args.out else store.path / "derived" / f"{args.method}.parquet"
    check_outside(out)
    with _listening(args), progress.stage(f"deriving {args.method}"):
        return write(Run(store), settings, out)


def publish(args: argparse.Namespace) -> Result:
    """Upload a run or a checkpoint, or with --dry-run only write its card."""
    folder = Path(args.run)
    if not args.dry_run:
        check_publishable(folder)
        private = not args.public
        address = _flow(args, "publish", lambda flows: flows.publish(str(folder), args.repo, private=private))
        return {"address": address}

    from pipeline.outputs.publish import dataset_card, model_card, read_card, subsets_of
    from pipeline.storage.generations import sealed_manifest

    if (folder / "prm.json").is_file():
        return {"card": model_card(read_card(folder), args.repo)}
    store = _open(folder)
    manifest = sealed_manifest(store.path)
    return {"card": dataset_card(store, manifest, subsets_of(store, manifest))}


def doctor(args: argparse.Namespace) -> Result:
    """Describe the environment without using the network; with --policy, try a run file's policies."""
    if not args.policy:
        return examine()
    return examine_policies(load_config(Path(args.policy), tuple(args.set)))


def _flow(
    args: argparse.Namespace, module: str, call: Callable[[Any], T], labelled: RunConfig | None = None
) -> T:
    """Run a flow of a module, with progress. UserError when a configured Prefect server does not answer.

    The problems of the run that is labelled, if one is, are read here, and the libraries of its policies are
    imported: Prefect's server takes seconds to start, so it starts beside.
    """
    if args.no_prefect:
        from flows.engine import without_prefect

        with without_prefect(), _listening(args):
            return call(importlib.import_module(f"flows.{module}"))
    from flows.server import starting

    with starting() as server, _listening(args):
        flows = importlib.import_module(f"flows.{module}")
        if labelled is not None:
            from flows.synthesize import read_ahead

            read_ahead(labelled)
        with server.ready() if server else nullcontext():
            try:
                return call(flows)
            except RuntimeError as error:
                if "reach API" not in str(error):
                    raise
                url = os.environ.get("PREFECT_API_URL", "of the active profile")
                raise UserError(
                    f"the Prefect server {url} does not answer: start it, or unset PREFECT_API_URL"
                ) from None


def _listening(args: argparse.Namespace) -> Any:
    return progress.listening(progress.listener(quiet=args.json))


def _config_of(folder: Path, overrides: list[str] | None = None) -> RunConfig:
    from pipeline.storage.recorded import config_here

    return config_here(folder, tuple(overrides or ()))


def _given(args: argparse.Namespace) -> RunConfig:
    """The configuration of a command: of a run file, or of the run in a folder, which may have been moved. A
    run is named by its folder or by the `run.toml` in it."""
    from pipeline.storage.recorded import is_begun

    path = Path(args.config)
    folder = path if path.is_dir() else path.parent
    if path in (folder, folder / "run.toml") and is_begun(folder):
        return _config_of(folder, args.set)
    return load_config(path, tuple(args.set))


def _open(folder: Path) -> "RunStore":
    """A run for reading: unlike `RunStore.open` this writes nothing."""
    from pipeline.runs.run_store import RunStore

    return RunStore(folder, _config_of(folder))


def _recorded(checkpoint: Path) -> Result:
    import json

    if not checkpoint.is_dir():
        raise UserError(f"{checkpoint}: no such folder; `stepmint train RUN` makes a checkpoint")
    found = {}
    for name in ("metrics", "evaluation"):
        path = checkpoint / f"{name}.json"
        if path.is_file():
            found[name] = json.loads(path.read_text(encoding="utf-8"))
    if not found:
        raise UserError(f"{checkpoint}: no recorded figures; name a FILE.jsonl or a RUN to measure on")
    evaluation = found.get("evaluation", {}).get("figures")
    return {
        "checkpoint": str(checkpoint),
        "training": found.get("metrics", {}),
        **({"evaluation": {"held-out problems": evaluation}} if evaluation else {}),
    }
