"""What can be found out before anything is started or paid for."""

import sys
from collections.abc import Iterable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from schemas.config import HubProblems, RunConfig, TrainConfig
from schemas.errors import UserError
from schemas.records import Problem


def check_base(config: RunConfig, problems: Iterable[Problem]) -> dict[str, Any]:
    """Whether the base of `[train]` can become a PRM of problems like these; its weights are not loaded.

    UserError where it cannot, and where the packages for training are missing.
    """
    if find_spec("torch") is None or find_spec("transformers") is None:
        raise UserError(
            "training needs torch and transformers: pip install 'stepmint[train]', or leave [train] out"
        )
    from pipeline.prm import bases
    from pipeline.prompts.templates import load_template

    settings = config.train or TrainConfig()
    return bases.check_base(settings, load_template(config.prompt.template), (p.text for p in problems))


def base_of(config: RunConfig) -> dict[str, Any]:
    """The same for a run that may not have begun.

    It is tried on the run's own problems, but a dataset of the Hub is not fetched for that.
    """
    from pipeline.inputs.problems import load_problems

    far = isinstance(config.problems, HubProblems)
    here = () if far else load_problems(config.problems, seed=config.seed)
    return check_base(config, (item for item in here if isinstance(item, Problem)))


def preview(config: RunConfig) -> dict[str, Any]:
    """What training on a sealed run would learn from."""
    from pipeline.outputs.report import rows_of
    from pipeline.prm.train import preview as preview_rows
    from pipeline.runs.run_store import RunStore

    store = RunStore(Path(config.root) / config.name, config)
    return preview_rows(rows_of(store), config.train or TrainConfig(), store.template())


def ready(config: RunConfig) -> None:
    """UserError where a new run's models, keys, annotators, prompts or problem files cannot be used, before
    anything is started or paid for; what is taken by itself is said. A run that has read its problems no
    longer needs the files."""
    from pipeline.inputs.problems import check_problems
    from pipeline.labelling.tools import check_annotators
    from pipeline.policies.opening import check_policies

    if (Path(config.root) / config.name / "problems" / "done.json").is_file():
        return
    check_policies(config.policies())
    check_annotators(config)
    for line in check_problems(config.problems):
        print(f"stepmint: note: {line}", file=sys.stderr)


def outline(config: RunConfig) -> dict[str, Any]:
    """The stages of a run file, and what is known before any of them."""
    folder = Path(config.root) / config.name
    stages = ["synthesize", *(["train"] if config.train else []), *(["evaluate"] if config.evaluate else [])]
    checkpoint = str(Path(config.root).parent / "checkpoints" / config.name) if config.train else None
    return {
        "config": config.model_dump(mode="json"),
        "digest": config.digest(),
        "fusion_digest": config.fusion_digest(),
        "stages": stages,
        "path": str(folder),
        "exists": (folder / "run.toml").is_file(),
        "checkpoint": checkpoint,
        "base": base_of(config) if config.train else None,
    }
