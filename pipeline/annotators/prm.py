"""Votes of a trained PRM on the steps of a solution.

A PRM learns from labels up to the first error, so what it says of later steps means nothing. It votes as a
judge does: on every step up to the first that it calls wrong.
"""

import asyncio
import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.annotators.base import Context
from pipeline.storage.far_folders import local_folder
from schemas.config import PrmConfig
from schemas.errors import UserError
from schemas.records import Solution, Vote
from schemas.sources import Sources, judge_source

if TYPE_CHECKING:
    from pipeline.prm.model import PRM


@dataclass
class Prm:
    """Loads the checkpoint when the first solution comes. UserError at once where there is none."""

    config: PrmConfig
    needs_gold: bool = False
    _turn: asyncio.Lock = field(default_factory=asyncio.Lock)
    _loaded: "PRM | None" = None
    _folder: Path = field(init=False)

    def __post_init__(self) -> None:
        if self.config.checkpoint == "series":
            raise UserError(
                f'{self.config.section}.checkpoint = "series": only fires of `stepmint deploy` know the '
                "newest PRM: name a folder to run the file by hand"
            )
        self._folder = local_folder(self.config.checkpoint)
        if not (self._folder / "prm.json").is_file():
            raise UserError(
                f"{self.config.section}.checkpoint = {self.config.checkpoint!r}: no PRM is there; "
                "`stepmint train RUN` makes one"
            )

    @property
    def sources(self) -> Sources:
        """A judge: its scores are opinions, and fusion fits how far they are to be trusted."""
        return judge_source(self.config.name)

    async def annotate(self, context: Context, solution: Solution) -> list[Vote]:
        """The calibrated score of each step, up to the first that is not above one half. A solution that the
        PRM cannot read as it was trained, or gives no number for, is an abstention on every step."""
        # One at a time: the model fills the machine, and waiting threads would keep verifiers from theirs.
        async with self._turn:
            return await asyncio.to_thread(self._votes, context.problem.text, solution.step_texts())

    def _votes(self, problem: str, steps: list[str]) -> list[Vote]:
        prm = self._prm()
        if not prm.readable(problem, steps):
            why = "the PRM cannot read this solution: a step is empty, or it is too long"
            return [self._vote(step, None, why) for step in range(len(steps))]
        scores = prm.score_steps(problem, steps)
        if not all(map(math.isfinite, scores)):  # of weights that overflow
            return [self._vote(step, None, "a score of the PRM is no number") for step in range(len(steps))]
        first = next((step for step, score in enumerate(scores) if score <= 0.5), len(scores) - 1)
        return [self._vote(step, score, "") for step, score in enumerate(scores[: first + 1])]

    def _vote(self, step: int, score: float | None, why: str) -> Vote:
        return Vote(step=step, source=self.config.name, asks="valid", p=score, why=why)

    def _prm(self) -> "PRM":
        if self._loaded is None:
            from pipeline.prm.model import PRM

            self._loaded = PRM.load(self._folder)
        return self._loaded
