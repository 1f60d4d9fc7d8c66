"""What can be found out about a training before it, and before the labels for it are paid for."""

from collections.abc import Iterable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from schemas.config import RunConfig, TrainConfig
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
    from pipeline import bases
    from pipeline.templates import load_template

    settings = config.train or TrainConfig()
    return bases.check_base(settings, load_template(config.prompt.template), (p.text for p in problems))


def base_of(config: RunConfig) -> dict[str, Any]:
    """The same for a run that may not have begun.

    It is tried on the run's own problems, but a dataset of the Hub is not fetched for that.
    """
    from pipeline.problems import load_problems

    here = () if config.problems.source == "huggingface" else load_problems(config.problems, seed=config.seed)
    return check_base(config, (item for item in here if isinstance(item, Problem)))


def preview(config: RunConfig) -> dict[str, Any]:
    """What training on a sealed run would learn from."""
    from pipeline.report import rows_of
    from pipeline.store import RunStore
    from pipeline.train import preview as preview_rows

    store = RunStore(Path(config.root) / config.name, config)
    return preview_rows(rows_of(store), config.train or TrainConfig(), store.template())
