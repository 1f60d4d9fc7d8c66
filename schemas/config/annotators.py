"""Sections of the run file for what proposes solutions (`[propose]`) and votes on steps (`[[annotate]]`)."""

import re
from difflib import get_close_matches
from typing import Annotated, Any, ClassVar, Literal, Self, get_args

from pydantic import Field, field_validator, model_validator

from schemas.config.effects import ADDED, Effect
from schemas.config.policies import PolicyConfig
from schemas.factories import FACTORY
from schemas.sections import Section

VerifierName = Literal["arithmetic", "algebra", "constraints", "logic", "code", "tables", "rules"]
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", max_length=100)]
"""Tells an annotator from others of its kind; stands in the source of its votes."""
_TAKEN = ("policy", "propose", "filter", "omegaprm", "answer", "probe", "held-out")
"""Names that are taken, because other rollouts, policies or votes of a run are stored under them."""
Factory = Annotated[str, Field(pattern=FACTORY)]
"""`package.module:function`, brought by an outsider (`schemas.factories`)."""


class SampleConfig(Section):
    """Solutions are sampled independently of each other.

    [propose]
    kind = "sample"
    n = 4
    """

    kind: Literal["sample"] = "sample"
    n: int = Field(2, ge=1)
    """Solutions of each problem. Equal texts are merged."""
    name: Annotated[Name, ADDED] = "sample"
    """Tells several sections of this kind apart, each with a policy of its own."""
    policy: Annotated[PolicyConfig | None, ADDED] = None
    """The model that writes these solutions, if it is not the run's policy. It is asked with the run's
    prompt; rollouts from the steps are still the run's policy's."""


class OmegaConfig(Section):
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


class AnnotatorConfig(Section):
    """What every element of `[[annotate]]` has."""

    kind: str
    name: Name
    """The annotator's name in this run; by default its kind. Its votes carry it as their source, a judge's
    before the name of their prompt: `NAME:PROMPT`."""
    asks: ClassVar[bool] = True
    """Whether it asks a policy: one of its own, or else the run's."""

    @model_validator(mode="after")
    def _is_not_called_like_something_else(self) -> Self:
        # Votes carry the name: those of a judge called "prover" would be `prover:PROMPT`.
        if self.name != self.kind and self.name in (*KINDS, *_TAKEN):
            raise ValueError(f"name {self.name!r} means something else in a run: choose another one")
        return self

    @property
    def section(self) -> str:
        """How messages, `--set` and the record of a run's inputs call this element."""
        return self.name if self.name == self.kind else f"annotate.{self.name}"

    @property
    def owner(self) -> str:
        """What its policy's rollouts are stored as: its kind, and its name where it has one of its own."""
        return self.kind if self.name == self.kind else f"{self.kind}:{self.name}"

    @property
    def own_policy(self) -> PolicyConfig | None:
        """The model that this annotator asks in place of the run's own policy."""
        found: PolicyConfig | None = getattr(self, "policy", None)
        return found


class MonteCarloConfig(AnnotatorConfig):
    """Roll out from every step (Math-Shepherd, arXiv 2312.08935)."""

    kind: Literal["monte_carlo"] = "monte_carlo"
    name: Name = "monte_carlo"
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


class BisectionConfig(AnnotatorConfig):
    """Search wrong solutions for their first error, most information per token first."""

    kind: Literal["bisection"] = "bisection"
    name: Name = "bisection"
    confidence: float = Field(0.95, gt=0, le=1)
    """Stop once one step is the first error with this probability."""
    worth: float = Field(0.02, ge=0)
    """Stop when the best rollout is expected to say less than this: nats per whole solution's worth of
    tokens."""
    budget: int = Field(48, ge=1)
    """Most rollouts per solution."""
    batch: int = Field(2, ge=1)
    """Rollouts per request."""
    prefixes: Annotated[int, ADDED] = Field(1, ge=1)
    """Prefixes that are probed at once. More end a search in fewer rounds, which keeps an engine fuller, and
    take some more rollouts."""
    first: Annotated[int, ADDED] = Field(0, ge=0)
    """Requests for every prefix in a first round, all at once; 0 begins with the best prefixes. It spares
    rounds, so that a search ends sooner, and takes some more rollouts."""
    grow: Annotated[float, ADDED] = Field(1.0, ge=1, le=8)
    """How many times as many requests each round sends as the round before. Above 1, a search that finds no
    end waits for a few rounds and not for many."""
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


class ScanConfig(AnnotatorConfig):
    """Roll out from step to step until none succeeds, in wrong solutions of problems that are mostly solved
    (SCAN, arXiv 2509.16548)."""

    kind: Literal["scan"] = "scan"
    name: Name = "scan"
    rollouts: int = Field(8, ge=1)
    """Rollouts from each step that is tried."""
    confidence: float = Field(0.75, ge=0, le=1)
    """Least success rate on the bare problem, by the draws of the proposer and the filter. Of n draws one is
    the wrong solution itself, so with fewer than 4 draws nothing reaches 0.75."""


class ProverConfig(AnnotatorConfig):
    """Let another policy finish the solution from every prefix (PAV, arXiv 2410.08146).

    [[annotate]]
    kind = "prover"
    rollouts = 8
    [annotate.policy]
    kind = "server"
    model = "Qwen/Qwen3-8B"
    """

    kind: Literal["prover"] = "prover"
    name: Name = "prover"
    policy: PolicyConfig
    """The prover; it need not be stronger than the policy, but must differ from it."""
    rollouts: int = Field(20, ge=1)
    """The prover's rollouts from every prefix, the bare problem included."""


class ConsistencyConfig(AnnotatorConfig):
    """Compare a solution's answer with those of other solutions (self-consistency, arXiv 2203.11171). Only
    problems without a gold answer are asked about.

    [[annotate]]
    kind = "consistency"
    rollouts = 8
    """

    kind: Literal["consistency"] = "consistency"
    name: Name = "consistency"
    rollouts: int = Field(8, ge=1)
    """Solutions that are drawn to compare with. The share with the same answer is the vote."""


class JudgeConfig(AnnotatorConfig):
    """Ask a model for the first error of a whole solution.

    [[annotate]]
    kind = "judge"
    prompts = ["judge_processbench"]
    votes = 4
    [annotate.policy]
    kind = "server"
    model = "Qwen/Qwen3-32B"
    base_url = "http://127.0.0.1:8001/v1"
    chat = true
    """

    kind: Literal["judge"] = "judge"
    name: Name = "judge"
    prompts: Annotated[tuple[str, ...], Effect.CONTENT] = Field(("judge_processbench",), min_length=1)
    """The judge's prompts: names under `pipeline/prompts`, or paths of text files. Each is a source of votes
    of its own."""
    meta: Annotated[str | None, Effect.CONTENT] = None
    """A prompt with `{critique}` in it, e.g. `judge_meta`, for a second call that reviews each reply and
    gives the verdict in its place (SPARK's meta-critique, arXiv 2512.03244). It costs one more reply each."""
    votes: int = Field(4, ge=1)
    """Replies that are asked for with each prompt. The share that calls a step right is the vote."""
    temperature: float = Field(1.0, ge=0)
    """Sampling temperature of the replies. At 0 they are all the same: then one vote is enough."""
    max_tokens: int = Field(1024, ge=1, lt=2**31)
    """Most tokens of a reply. A reply that is cut off abstains."""
    policy: PolicyConfig | None = None
    """The model that judges, if it is not the policy that solves. It may be of any kind and on another
    server. Nothing is taken over from `[policy]`: its own section says all."""


class PrmConfig(AnnotatorConfig):
    """Let a trained PRM score the steps, up to the first that it calls wrong.

    [[annotate]]
    kind = "prm"
    checkpoint = "checkpoints/demo"
    """

    asks = False
    kind: Literal["prm"] = "prm"
    name: Name = "prm"
    checkpoint: Annotated[str, Effect.CONTENT] = Field(min_length=1)
    """The folder of a PRM of `stepmint train`. `series`: the newest one that the fires of a `[series]` with
    `retrain_rows` have trained; until there is one, nobody votes in its place. Also the address of one that
    such fires have put on an object store, `s3://BUCKET/RUNS/checkpoints/SERIES/TAG`."""


class VerifyConfig(AnnotatorConfig):
    """Checks that need no model."""

    asks = False
    kind: Literal["verify"] = "verify"
    name: Name = "verify"
    verifiers: tuple[str, ...] = Field(("arithmetic",), min_length=1)
    """The checks. `arithmetic` recalculates, `algebra` solves and compares equations, `constraints` compares
    a step with the problem's own quantities, `logic` proves or refutes it from the premises, `code` executes
    it in a sandbox, `tables` looks it up in the problem's table, `rules` computes anew what has a rule:
    brackets, sorted words, swaps, rows of objects, dates, chances. `package.module:function` is a check of
    your own."""

    @field_validator("verifiers")
    @classmethod
    def _known_or_brought(cls, verifiers: tuple[str, ...]) -> tuple[str, ...]:
        known = get_args(VerifierName)
        for name in verifiers:
            if verifiers.count(name) > 1:  # its votes would count twice
                raise ValueError(f"{name[:100]!r} is listed twice")
            if name not in known and not re.fullmatch(FACTORY, name):
                near = get_close_matches(name, known, n=1)
                hint = f"; did you mean {near[0]!r}?" if near else ""
                raise ValueError(
                    f"{name[:100]!r}: expected {', '.join(known)}, or package.module:function{hint}"
                )
        return verifiers


class PythonConfig(AnnotatorConfig):
    """An outsider's annotator (`pipeline.annotators.base.Annotator`)."""

    kind: Literal["python"] = "python"
    name: Name = "python"
    factory: Annotated[Factory, Effect.CONTENT]
    """`package.module:function`; it is called with `options` and returns the annotator."""
    options: dict[str, Any] = {}
    """Keyword arguments of the function."""
    policy: PolicyConfig | None = None
    """A model of its own; the run's policy when left out."""


AnyAnnotator = (
    BisectionConfig
    | MonteCarloConfig
    | ScanConfig
    | ProverConfig
    | ConsistencyConfig
    | JudgeConfig
    | PrmConfig
    | VerifyConfig
    | PythonConfig
)
KINDS = tuple(one.model_fields["kind"].default for one in get_args(AnyAnnotator))
"""Annotators ask the policy in this order. Under `budget.per_problem` the first ones get the tokens."""
