"""What proposes solutions, and what votes on their steps."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from schemas.config.effects import Effect
from schemas.config.policies import PolicyConfig
from schemas.records import Record

VerifierName = Literal["arithmetic", "algebra", "constraints", "logic", "code", "tables"]


class SampleConfig(Record):
    """Propose by plain sampling."""

    kind: Literal["sample"] = "sample"
    n: int = Field(2, ge=1)
    """Solutions per problem; equal texts are merged."""


class OmegaConfig(Record):
    """Propose by OmegaPRM tree search (arXiv 2406.06592); the defaults are the paper's constants."""

    kind: Literal["omegaprm"] = "omegaprm"
    rollouts: int = Field(8, ge=1)
    """k, rollouts per state."""
    searches: int = Field(100, ge=1)
    alpha: float = Field(0.5, gt=0, le=1)
    beta: float = Field(0.9, gt=0, le=1)
    length_scale: int = Field(500, ge=1)
    """L, in tokens."""
    c_puct: float = Field(0.125, ge=0)
    budget: int = Field(1000, ge=1)
    """Most completions per problem."""
    recheck: int = Field(0, ge=0)
    """Further rollouts of a prefix before it is taken for the first error. The paper, 0, takes its k failures
    for proof."""
    refute: bool = False
    """Let steps that the run's verifiers prove wrong bound a search from above, without rollouts."""


class MonteCarloConfig(Record):
    """Roll out from every step (Math-Shepherd, arXiv 2312.08935)."""

    rollouts: int = Field(8, ge=1)
    """A step's rollouts; the most it may have where `stop` ends them early."""
    stop: Literal["never", "hard", "soft"] = "never"
    """`hard`: once it is known whether the success rate is above `low` or below `high`; `soft`: once the rate
    is known to within `width`."""
    low: float = Field(0.0, ge=0, lt=1)
    """At 0 the first success ends it."""
    high: float = Field(0.3, gt=0, lt=1)
    error: float = Field(0.05, gt=0, lt=0.5)
    """Most chance that a stopped test is wrong: each of its two errors, or the rate outside its interval."""
    width: float = Field(0.4, gt=0, le=1)

    @model_validator(mode="after")
    def _the_zone_is_not_empty(self) -> "MonteCarloConfig":
        if self.low >= self.high:
            raise ValueError(
                f"low={self.low} must be below high={self.high}: between them the test may stay open"
            )
        return self


class BisectionConfig(Record):
    """Search wrong solutions for their first error, most information per token first."""

    confidence: float = Field(0.95, gt=0, le=1)
    """Stop once one step is the first error with this probability."""
    worth: float = Field(0.02, ge=0)
    """Stop when the best rollout is expected to say less than this: nats per whole solution's worth of
    tokens."""
    budget: int = Field(48, ge=1)
    """Most rollouts per solution."""
    batch: int = Field(2, ge=1)
    """Rollouts per request."""
    recover: float = Field(0.003, gt=0, lt=1)
    """Success rate of prefixes with an error in them. A policy that repairs more hides its errors."""
    prior: tuple[int, int] = (0, 0)
    """Right rollouts, and all, of like problems from earlier: counted as this problem's own."""

    @model_validator(mode="after")
    def _the_first_request_fits(self) -> "BisectionConfig":
        if self.batch > self.budget:
            raise ValueError(f"batch={self.batch} exceeds budget={self.budget}: nothing would be drawn")
        if not 0 <= self.prior[0] <= self.prior[1]:
            raise ValueError(f"prior={list(self.prior)} must be [right, all] with 0 <= right <= all")
        return self


class ScanConfig(Record):
    """Roll out from step to step until none succeeds, in wrong solutions of problems that are mostly solved
    (SCAN, arXiv 2509.16548)."""

    rollouts: int = Field(8, ge=1)
    confidence: float = Field(0.75, ge=0, le=1)
    """Least success rate on the bare problem."""


class ProverConfig(Record):
    """Let another policy finish the solution from every prefix (PAV, arXiv 2410.08146)."""

    policy: PolicyConfig
    """The prover; it need not be stronger than the policy, but must differ from it."""
    rollouts: int = Field(20, ge=1)


class JudgeConfig(Record):
    """Ask a model for the first error of a whole solution."""

    prompts: Annotated[tuple[str, ...], Effect.CONTENT] = ("judge_processbench",)
    """One source of votes each; names under `pipeline/prompts`, or paths."""
    votes: int = Field(4, ge=1)
    temperature: float = Field(1.0, ge=0)
    max_tokens: int = Field(1024, ge=1, lt=2**31)
    policy: PolicyConfig | None = None
    """The judge; the solving policy itself when left out."""


class VerifyConfig(Record):
    """Checks that need no model."""

    verifiers: tuple[VerifierName, ...] = ("arithmetic",)
