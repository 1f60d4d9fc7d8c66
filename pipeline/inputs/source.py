"""The problems of a run file, in the form that `pipeline.runs` asks for.

The run module imports no reader; this class gives it the problems, and what shows whether they have changed.
"""

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.inputs.given import Item, Reading, check_given, load_given, reading_of
from pipeline.inputs.problems import check_problems, load_problems, name_of, problem_files
from schemas.config import HubProblems, ProblemsConfig, PythonProblems, RunConfig
from schemas.factories import factory_file

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class ProblemSource:
    """The problems of one `[problems]` section. `seed` is the run's, on which generated problems depend."""

    config: ProblemsConfig
    seed: int = 0
    reading: Reading | None = None
    """How given solutions are read; None in a run without them."""

    @property
    def name(self) -> str:
        """The name of the source, for messages and records."""
        return name_of(self.config)

    def is_remote(self) -> bool:
        """Whether it is a dataset of the Hub, and not a saved one in a folder here."""
        return isinstance(self.config, HubProblems) and not problem_files(self.config)

    def files(self) -> list[Path]:
        """The local files that problems are read from, if any, or the code that makes them. UserError when
        one does not exist."""
        if isinstance(self.config, PythonProblems):
            return [code] if (code := factory_file(self.config.factory)) else []
        return problem_files(self.config)

    def commit(self, began: str) -> str:
        """The commit to read a dataset of the Hub at: the one that is asked for, else the one that the run
        began with, else today's."""
        asked = self.config.revision if isinstance(self.config, HubProblems) else ""
        return asked or began or hub_commit(self.name)

    def read(self, commit: str) -> Iterator[Item]:
        """The problems in the order of their rows, given solutions after their problem, and the rows that
        cannot be used."""
        config = self.config.model_copy(update={"revision": commit}) if self.is_remote() else self.config
        return load_given(config, self.reading) if self.reading else load_problems(config, seed=self.seed)

    def check(self) -> list[str]:
        """UserError where the problem files are missing or cannot be used; else what was taken, in a line.
        Reads the first rows only, and nothing from a network."""
        if self.reading and not self.is_remote():
            return check_given(self.config, self.reading)
        return check_problems(self.config)


def source_of(config: RunConfig) -> ProblemSource:
    """What a run reads its problems from, and the solutions that are given with them."""
    return ProblemSource(config.problems, config.seed, reading_of(config))


def hub_commit(name: str) -> str:
    """The commit of a dataset on the Hub; empty where the Hub does not say."""
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, OfflineModeIsEnabled

    # Its bases are OSError and the HTTP library's own error; which library that is differs between versions.
    unheard: tuple[Any, ...] = (*HfHubHTTPError.__bases__, HFValidationError, OfflineModeIsEnabled)
    try:
        # 10 s: without the commit the run still works, so the Hub is not waited for long.
        return HfApi().dataset_info(name, timeout=10).sha or ""
    except unheard as error:
        log.warning("dataset %s: its commit is not known (%s); it is told by its name alone", name, error)
        return ""
