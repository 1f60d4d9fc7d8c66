"""What proposes solutions, and what votes on their steps."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from schemas.config.effects import Effect
from schemas.config.policies import PolicyConfig
from schemas.records import Record

VerifierName = Literal["arithmetic", "algebra", "constraints", "logic", "code", "tables"]


class SampleConfig(Record):
    """Solutions are sampled independently of each other.

    [propose]
    kind = "sample"
    n = 4
    """

    kind: Literal["sample"] = "sample"
    n: int = Field(2, ge=1)
    """Solutions of each problem. Equal texts are merged."""


class OmegaConfig(Record):
    """Solutions are found by OmegaPRM's tree search (arXiv 2406.06592), which also votes on their steps. The
    defaults are the paper's constants.

        [propose]
        kind = "omegaprm"
        rollouts = 8
        searches = 20
        budget = 200
    """

    kind: Literal["omegaprm"] = "omegaprm"
    rollouts: int = Field(8, ge=1)
    """k in the paper: the rollouts of each state."""
    searches: int = Field(100, ge=1)
    """Most searches in the tree of one problem. Each finds the first error of one rollout."""
    alpha: float = Field(0.5, gt=0, le=1)
    """The smaller it is, the more the choice of a rollout prefers states with a high success rate."""
    beta: float = Field(0.9, gt=0, le=1)
    """The smaller it is, the more the choice of a rollout prefers short ones."""
    length_scale: int = Field(500, ge=1)
    """L in the paper, in tokens: the length that `beta` is about."""
    c_puct: float = Field(0.125, ge=0)
    """How strongly the choice of a rollout prefers states that were seldom chosen."""
    budget: int = Field(1000, ge=1)
    """Most completions of each problem."""
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
    """For `stop`: a success rate up to this counts as low. At 0 the first success ends the rollouts."""
    high: float = Field(0.3, gt=0, lt=1)
    """For `stop`: a success rate from this on counts as high."""
    error: float = Field(0.05, gt=0, lt=0.5)
    """For `stop`: most chance that a stopped test is wrong: each of its two errors, or the rate outside its
    interval."""
    width: float = Field(0.4, gt=0, le=1)
    """For `stop = "soft"`: how wide the interval of the success rate may be when the rollouts end."""

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
    """Rollouts from the bare problem, and from each step that is tried."""
    confidence: float = Field(0.75, ge=0, le=1)
    """Least success rate on the bare problem."""


class ProverConfig(Record):
    """Let another policy finish the solution from every prefix (PAV, arXiv 2410.08146).

    [prover]
    rollouts = 8
    [prover.policy]
    kind = "server"
    model = "Qwen/Qwen3-8B"
    """

    policy: PolicyConfig
    """The prover; it need not be stronger than the policy, but must differ from it."""
    rollouts: int = Field(20, ge=1)
    """The prover's rollouts from every prefix, the bare problem included."""


class JudgeConfig(Record):
    """Ask a model for the first error of a whole solution.

    [judge]
    prompts = ["judge_processbench"]
    votes = 4
    [judge.policy]
    kind = "server"
    model = "Qwen/Qwen3-32B"
    base_url = "http://127.0.0.1:8001/v1"
    chat = true
    """

    prompts: Annotated[tuple[str, ...], Effect.CONTENT] = ("judge_processbench",)
    """The judge's prompts: names under `pipeline/prompts`, or paths of text files. Each is a source of votes
    of its own."""
    votes: int = Field(4, ge=1)
    """Replies that are asked for with each prompt. The share that calls a step right is the vote."""
    temperature: float = Field(1.0, ge=0)
    """Sampling temperature of the replies. At 0 they are all the same: then one vote is enough."""
    max_tokens: int = Field(1024, ge=1, lt=2**31)
    """Most tokens of a reply. A reply that is cut off abstains."""
    policy: PolicyConfig | None = None
    """The model that judges, if it is not the policy that solves. It may be of any kind and on another
    server. Nothing is taken over from `[policy]`: its own section says all."""


class VerifyConfig(Record):
    """Checks that need no model."""

    verifiers: tuple[VerifierName, ...] = ("arithmetic",)
    """The checks. `arithmetic` recalculates, `algebra` solves and compares equations, `constraints` compares
    a step with the problem's own quantities, `logic` proves or refutes it from the premises, `code` executes
    it in a sandbox, `tables` looks it up in the problem's table."""
