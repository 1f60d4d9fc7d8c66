"""Checks that a command makes before it starts or pays for anything, and what they say about the run."""

from collections.abc import Iterable, Iterator
from importlib.util import find_spec
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flows import logs
from schemas.errors import UserError
from schemas.places import is_url

if TYPE_CHECKING:
    from pipeline.inputs.given import Item
    from pipeline.runs.run_store import RunStore
    from schemas.config import RunConfig


def check_base(config: "RunConfig", items: Iterable["Item"]) -> dict[str, Any]:
    """What is known of `[train]`'s base for problems and given solutions like these; its weights are not
    loaded.

    UserError where it cannot become a PRM, and where the packages for training are missing.
    """
    if find_spec("torch") is None or find_spec("transformers") is None:
        raise UserError(
            "training needs torch and transformers: pip install 'stepmint[train]', or leave [train] out"
        )
    from pipeline.policies.simulated import solution_text
    from pipeline.prm import bases
    from pipeline.prompts.templates import load_template
    from schemas.config import TrainConfig
    from schemas.records import Candidate, Problem

    sample = [item for item in islice(items, bases.SAMPLE) if isinstance(item, Problem | Candidate)]
    texts = [item.text for item in sample if isinstance(item, Problem)]
    solutions = [item.solution.text for item in sample if isinstance(item, Candidate)]
    if config.policy.kind == "simulated" and not solutions:  # what it will write is known
        solutions = [solution_text([True, False])] * len(texts)
    template = load_template(config.prompt.template)
    return bases.check_base(config.train or TrainConfig(), template, texts, solutions)


def read_by(store: "RunStore") -> Iterator["Item"]:
    """The problems of a run that has read them, each with its given solutions behind it."""
    for shard in range(store.config.shards):
        given = store.given(shard)
        for problem in store.posed(shard):
            yield problem
            yield from given.of(problem.id).candidates


def base_of(config: "RunConfig") -> dict[str, Any]:
    """`check_base` for a run that may not have begun.

    The base is tried on the run's own problems, unless these are a dataset of the Hub: a check should not
    download it.
    """
    from pipeline.inputs.source import source_of
    from schemas.config import HubProblems

    return check_base(config, () if isinstance(config.problems, HubProblems) else source_of(config).read(""))


def preview(config: "RunConfig") -> dict[str, Any]:
    """What training on a sealed run would learn from, with one row token by token."""
    from pipeline.outputs.report import rows_of
    from pipeline.prm.train import preview as preview_rows
    from pipeline.runs.run_store import RunStore
    from schemas.config import TrainConfig

    store = RunStore(Path(config.root) / config.name, config)
    return preview_rows(rows_of(store, votes=False), config.train or TrainConfig(), store.template())


def ready(config: "RunConfig") -> None:
    """Check a new run's models, keys, annotators, prompts and problem files, and print which columns are
    taken.

    UserError where one cannot be used. A run that has read its problems does not need the files any more, so
    it is not checked.
    """
    from pipeline.inputs.source import source_of
    from pipeline.labelling.tools import check_annotators
    from pipeline.policies.opening import check_policies

    if (Path(config.root) / config.name / "problems" / "done.json").is_file():
        return
    check_policies(config.policies())
    check_annotators(config)
    source = source_of(config)
    notes = [*source.check(), *([] if source.is_remote() else _not_simulated(config, source.read("")))]
    for line in notes:
        logs.line(f"stepmint: note: {line}")


def _not_simulated(config: "RunConfig", items: Iterable["Item"]) -> list[str]:
    """A line where the simulated policy, which only knows two answers, gets problems with another one."""
    from pipeline.policies.simulated import RIGHT, WRONG
    from schemas.config import GivenConfig
    from schemas.records import Problem

    if config.policy.kind != "simulated" or all(isinstance(one, GivenConfig) for one in config.proposers):
        return []
    for item in islice(items, 100):
        if isinstance(item, Problem) and item.golds and not {RIGHT, WRONG} & set(item.golds):
            where = f"{item.source.dataset} row {item.source.row + 1}, answer {item.golds[0][:40]!r}"
            return [
                f"{where}: the simulated policy only answers `{RIGHT}` or `{WRONG}`: nothing is graded. "
                f"Replace [policy], or write the answer `{RIGHT}` to try things out"
            ]
    return []


def check_stages(config: "RunConfig") -> None:
    """UserError for a stage of `stepmint run` that the run's problems cannot have. Not part of the
    configuration: `stepmint synthesize` may use the same file."""
    if config.evaluate and config.problems.source != "embedded":
        raise UserError(
            f"[evaluate] needs embedded problems, not {config.problems.source!r}: leave the section out, and "
            "measure the trained PRM with `stepmint evaluate CHECKPOINT FILE.jsonl`"
        )


def check_tunable(config: "RunConfig") -> None:
    """UserError where a policy cannot learn from its own solutions."""
    if config.policy.kind not in ("transformers", "vllm"):
        raise UserError(
            f"self-training needs a policy whose weights it can change, not {config.policy.kind!r}: "
            'use kind = "transformers" or "vllm"'
        )


def check_sealed(config: "RunConfig") -> None:
    """UserError where there is no sealed run to train on."""
    from pipeline.runs.run_store import RunStore
    from pipeline.storage.generations import sealed_manifest

    sealed_manifest(RunStore.reopen(config).path)


def check_publishable(folder: Path) -> None:
    """UserError for a folder that is neither a sealed run nor a checkpoint."""
    from pipeline.storage.generations import sealed_manifest

    # A checkpoint may lie in a folder of any name; its prm.json tells it from a run, which has a run.toml.
    if (folder / "prm.json").is_file():
        return
    if not (folder / "run.toml").is_file():
        raise UserError(f"{folder}: neither a run (run.toml) nor a checkpoint (prm.json)")
    sealed_manifest(folder)


def outline(config: "RunConfig") -> dict[str, Any]:
    """The stages of a run file, and what is known about them before they start (`--dry-run`)."""
    folder = Path(config.root) / config.name
    stages = ["synthesize", *(["train"] if config.train else []), *(["evaluate"] if config.evaluate else [])]
    checkpoint = None
    if config.train:
        from flows.train import checkpoint_of

        checkpoint = str(checkpoint_of(config))
    return {
        "config": config.model_dump(mode="json"),
        "digest": config.digest(),
        "fusion_digest": config.fusion_digest(),
        "stages": stages,
        "path": f"{config.root.rstrip('/')}/{config.name}" if is_url(config.root) else str(folder),
        "exists": (folder / "run.toml").is_file(),
        "checkpoint": checkpoint,
        "base": base_of(config) if config.train else None,
    }
