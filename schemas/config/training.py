"""Sections of the run file for what is made of a dataset: a PRM, its measurements, and self-training."""

from typing import Literal

from pydantic import Field

from schemas.records import Seed
from schemas.sections import Section


class TrainConfig(Section):
    """How a PRM is trained."""

    model: str = "embedded"
    """The base that becomes a PRM: a folder, a name on the Hugging Face Hub, or one of `embedded` and
    `embedded-reader`."""
    targets: Literal["hard", "soft"] = "hard"
    """What is learnt: `hard` labels 0 and 1, or `soft`, the probability that a step and all before it are
    right."""
    rows: Literal["all", "consensus"] = "all"
    """Train on every labelled row, or on those the consensus filter keeps."""
    epochs: float = Field(3.0, gt=0)
    """How often the dataset is gone through."""
    learning_rate: float = Field(1e-4, gt=0)
    """Highest learning rate of the schedule."""
    batch_size: int = Field(16, ge=1)
    """Solutions per optimiser step."""
    max_length: int | None = Field(None, ge=16)
    """Tokens of the longest solution to learn from; by default what the base reads, and 4096 at most."""
    holdout: float = Field(0.1, ge=0, lt=1)
    """Share of problems kept apart to fit the calibration on."""
    seed: Seed = 0
    """Of the new weights and of the order of the solutions."""


class SelfTrainConfig(Section):
    """Rounds of ReST-MCTS* (arXiv 2406.03816): the policy learns from its right solutions, the value model
    from the quality values of its trees."""

    rounds: int = Field(2, ge=1)
    """Rounds of labelling and training."""
    per_problem: int = Field(4, ge=1)
    """Most right solutions of a problem the policy learns from; a value model chooses them where there is
    one."""
    epochs: float = Field(2.0, gt=0)
    """How often the policy's training goes through its solutions."""
    learning_rate: float = Field(1e-5, gt=0)
    """Highest learning rate of the policy's training."""
    batch_size: int = Field(16, ge=1)
    """Solutions per optimiser step of the policy's training."""
    max_length: int = Field(1024, ge=16)
    """Most tokens of a solution in the policy's training. The value model's training is set by `[train]`."""


class EvaluateConfig(Section):
    """Held-out measurements of a PRM. In `stepmint run`, with the embedded policy and more than one core, a
    second process draws the solutions while the run is labelled."""

    problems: int = Field(150, ge=1)
    """Held-out problems."""
    samples: int = Field(8, ge=1)
    """Solutions per problem for best-of-n."""
