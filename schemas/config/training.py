"""What is made of a dataset."""

from typing import Literal

from pydantic import Field

from schemas.records import Record, Seed


class TrainConfig(Record):
    """How a PRM is trained."""

    model: str = "embedded"
    targets: Literal["hard", "soft"] = "hard"
    rows: Literal["all", "consensus"] = "all"
    """Train on every labelled row, or on those the consensus filter keeps."""
    epochs: float = Field(3.0, gt=0)
    learning_rate: float = Field(1e-4, gt=0)
    batch_size: int = Field(16, ge=1)
    """Solutions per optimiser step."""
    max_length: int | None = Field(None, ge=16)
    """Tokens of the longest solution to learn from; by default what the base reads, and 4096 at most."""
    holdout: float = Field(0.1, ge=0, lt=1)
    """Share of problems kept apart to fit the calibration on."""
    seed: Seed = 0


class SelfTrainConfig(Record):
    """Rounds of ReST-MCTS* (arXiv 2406.03816): the policy learns from its right solutions, the value model
    from the quality values of its trees."""

    rounds: int = Field(2, ge=1)
    per_problem: int = Field(4, ge=1)
    """Most right solutions of a problem the policy learns from; a value model chooses them where there is
    one."""
    epochs: float = Field(2.0, gt=0)
    learning_rate: float = Field(1e-5, gt=0)
    batch_size: int = Field(16, ge=1)
    max_length: int = Field(1024, ge=16)
    """Of the policy's training; the value model's is set by `[train]`."""


class EvaluateConfig(Record):
    """Held-out measurements of a PRM."""

    problems: int = Field(150, ge=1)
    samples: int = Field(8, ge=1)
    """Solutions per problem for best-of-n."""
