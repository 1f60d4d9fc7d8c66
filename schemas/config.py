"""What a run is: one frozen model per section of the TOML run file. Validation touches no disk, network or
GPU."""

import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError, model_validator

from schemas.addresses import Addresses, VariableName, check_parameters
from schemas.complaints import complaint
from schemas.errors import UserError
from schemas.overrides import set_key
from schemas.records import Record, Seed, content_id

VerifierName = Literal["arithmetic", "algebra", "constraints", "logic", "code", "tables"]


class ProblemsConfig(Record):
    """Where problems come from."""

    source: Literal["embedded", "jsonl", "csv", "parquet", "huggingface"] = "embedded"
    path: str | tuple[str, ...] = ""
    """A file, glob or folder, or a list of them, for `jsonl`, `csv` and `parquet`; files are read as their
    names say (.jsonl, .json, .csv, .tsv, .parquet, text also .gz) and else as `source`. A dataset name, or a
    folder of `save_to_disk`, for `huggingface`. `~` and `$STEPMINT_DATA` are expanded."""
    subset: str = ""
    split: str = "train"
    revision: str = ""
    """For `huggingface`: a branch, tag or commit. A run that grows reads the commit it began with."""
    mapping: Literal["plain", "gsm8k", "math"] = "plain"
    """How rows become problems: `plain` reads `fields`; `gsm8k` takes the answer after `####`; `math` the
    last box."""
    fields: dict[str, str] = {}
    """For `plain`: our field name -> the dataset's column, e.g. `{text = "question"}`."""
    limit: int | None = Field(None, ge=1)
    """Use only the first so many good problems. It may be raised later: the run goes on with more."""
    steps: tuple[int, int] = (3, 8)
    """For `embedded`: fewest and most steps of the reference solution."""

    @model_validator(mode="after")
    def _generated_problems_are_in_no_file(self) -> "ProblemsConfig":
        unread = [name for name in ("path", "subset", "fields", "revision") if getattr(self, name)]
        if self.source == "embedded" and (unread or self.mapping != "plain"):
            name = unread[0] if unread else "mapping"
            raise ValueError(
                f'`{name}` belongs to problems that are read: set source = "jsonl", "csv", "parquet" or '
                '"huggingface"; without it they are generated'
            )
        return self


class PolicyConfig(Record):
    """A language model and the backend it runs on."""

    kind: Literal["transformers", "vllm", "server", "simulated"] = "transformers"
    model: str = "embedded"
    """A folder, a Hub name, the name a server serves, or `embedded` / `gemma-3-270m` for the models we
    prepare."""
    dtype: Literal["auto", "float32", "bfloat16"] = "auto"
    max_model_len: int | None = Field(None, ge=16)
    in_flight: int = Field(256, ge=1)
    """Completions an engine writes at once: the batch of each engine or server. A quarter more are asked for,
    and fewer where the engine's cache is smaller than their tokens."""
    base_url: Addresses = "http://127.0.0.1:8000/v1"
    """For `server`: one, or several that serve the same model. A run may go on with others."""
    api_key_env: VariableName = "OPENAI_API_KEY"
    """Name of the environment variable that holds the server's key; the key itself is never stored."""
    chat: bool = False
    timeout_s: float = Field(120.0, gt=0)
    patience_s: float = Field(600.0, ge=0)
    """For `server`: while it says that it is busy the run waits, until nothing was answered for so long."""
    drop: tuple[str, ...] = ()
    """For `server`: parameters that it refuses and that are not sent, of `n`, `top_p`, `temperature`, `seed`,
    `stop`. Without `seed` a run cannot be repeated; without the others the server's own value counts."""
    extra_body: dict[str, Any] = {}
    """For `server`: further parameters of every request, e.g. `{top_k = 50}`."""
    slip: float = Field(0.15, ge=0, le=1)
    """For `simulated`: chance that a good step turns bad."""
    recover: float = Field(0.0, ge=0, le=1)
    """For `simulated`: chance that a bad step is repaired."""
    n_steps: int = Field(8, ge=1)
    """For `simulated`: steps per solution."""

    @model_validator(mode="after")
    def _asks_for_what_it_can(self) -> "PolicyConfig":
        check_parameters(self.drop, self.extra_body)
        return self


class PromptConfig(Record):
    """How the policy is asked to solve."""

    template: str = "embedded_solve"
    """A name under `pipeline/prompts`, or a path to a text file with `{problem}` in it."""
    separator: str = Field("\n", min_length=1)
    """What stands between two steps."""
    temperature: float = Field(1.0, ge=0)
    top_p: float = Field(1.0, gt=0, le=1)
    max_tokens: int = Field(256, ge=1, lt=2**31)
    stop: tuple[str, ...] = ()


class FilterConfig(Record):
    """Difficulty filter: keep a problem that the policy sometimes solves."""

    rollouts: int = Field(8, ge=1)
    least: float = Field(0.0, ge=0, le=1)
    most: float = Field(1.0, ge=0, le=1)
    """Keep where least < pass rate < most. The rollouts are used again by the search."""


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

    prompts: tuple[str, ...] = ("judge_processbench",)
    """One source of votes each; names under `pipeline/prompts`, or paths."""
    votes: int = Field(4, ge=1)
    temperature: float = Field(1.0, ge=0)
    max_tokens: int = Field(1024, ge=1, lt=2**31)
    policy: PolicyConfig | None = None
    """The judge; the solving policy itself when left out."""


class VerifyConfig(Record):
    """Checks that need no model."""

    verifiers: tuple[VerifierName, ...] = ("arithmetic",)


class FusionConfig(Record):
    """From votes to labels. Has a digest of its own: labels can change without sampling again."""

    accept: float = Field(0.8, ge=0.5, le=1)
    """Label 1 from this probability on that the step and all before it are right."""
    reject: float = Field(0.2, ge=0, le=0.5)
    """Label 0 up to this probability. Between the two a step gets no label."""
    consensus: bool = True
    """Mark rows whose Monte Carlo and judge first errors differ as dropped (arXiv 2501.07301)."""
    threshold: float = Field(0.0, ge=0, le=1)
    """Monte Carlo calls a step wrong when its success rate is at most this."""


class BudgetConfig(Record):
    """How many tokens may be generated. What a budget cuts off abstains; it never counts against a step."""

    per_problem: int | None = Field(None, ge=1)
    """Most tokens for one problem, all purposes together. It can change votes, so it belongs to the run's
    identity."""
    run: int | None = Field(None, ge=1)
    """Most tokens for the whole run, spent on whole problems in their order; raise it to go on. With
    `per_problem` it is never exceeded, without it by a few problems at most."""


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


class RunConfig(Record):
    """A run file. Sections that are left out are stages that are left out."""

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")
    seed: Seed = 0
    shards: int = Field(1, ge=1)
    root: str = "runs"
    """Folder that holds the run's folder."""
    problems: ProblemsConfig = ProblemsConfig()
    policy: PolicyConfig = PolicyConfig()
    prompt: PromptConfig = PromptConfig()
    filter: FilterConfig | None = None
    propose: Annotated[SampleConfig | OmegaConfig, Field(discriminator="kind")] = SampleConfig()
    monte_carlo: MonteCarloConfig | None = None
    bisection: BisectionConfig | None = None
    scan: ScanConfig | None = None
    prover: ProverConfig | None = None
    judge: JudgeConfig | None = None
    verify: VerifyConfig | None = None
    fusion: FusionConfig = FusionConfig()
    budget: BudgetConfig = BudgetConfig()
    train: TrainConfig | None = None
    evaluate: EvaluateConfig | None = None
    self_train: SelfTrainConfig | None = None

    @model_validator(mode="after")
    def _evaluation_has_a_prm(self) -> "RunConfig":
        if self.evaluate is not None and self.train is None:
            raise ValueError("[evaluate] measures the trained PRM, so [train] is needed too")
        return self

    @model_validator(mode="after")
    def _budget_buys_something(self) -> "RunConfig":
        run, most = self.budget.run, self.budget.per_problem
        if most is not None and most < self.prompt.max_tokens:
            raise ValueError(f"budget.per_problem={most} is less than prompt.max_tokens, one completion")
        if run is not None and run < self.shards * (most or 1):
            raise ValueError(
                f"budget.run={run} does not reach for one problem (budget.per_problem={most or 1}) in each "
                f"of {self.shards} shards: raise it, or use fewer shards"
            )
        return self

    def settings(self) -> dict[str, Any]:
        """Everything that can change a vote, but for what a run knows by its content
        (`pipeline.runs.identity`): its prompts, problems and models. Speed and later stages are left out."""
        later = {"name", "root", "problems", "fusion", "budget", "train", "evaluate", "self_train"}
        votes = self.model_dump(mode="json", exclude=later)
        votes["budget"] = {"per_problem": self.budget.per_problem}
        del votes["prompt"]["template"]
        (votes["judge"] or {}).pop("prompts", None)
        others = ((votes[name] or {}).get("policy") for name in ("judge", "prover"))
        for policy in (votes["policy"], *others):
            for other in ("model", "in_flight", "base_url", "timeout_s", "patience_s", "api_key_env"):
                (policy or {}).pop(other, None)
            for later_added in ("drop", "extra_body"):  # runs from before they existed go on
                if policy and not policy[later_added]:
                    del policy[later_added]
        return votes

    def digest(self) -> str:
        """Identity of the settings that can change a vote; with those of its inputs, that of the run."""
        return content_id(self.settings())

    def policies(self) -> dict[str, PolicyConfig]:
        """The models that a run asks, by their section."""
        found = {"policy": self.policy}
        for name, part in (("judge.policy", self.judge), ("prover.policy", self.prover)):
            if part is not None and part.policy is not None:
                found[name] = part.policy
        return found

    def fusion_digest(self) -> str:
        """Identity of the labels, given the votes."""
        return content_id(self.fusion.model_dump(mode="json"))


def load_config(path: Path, overrides: tuple[str, ...] = ()) -> RunConfig:
    """Read a TOML run file; `overrides` are `section.key=value` with TOML values.

    Raises UserError naming the file and the field.
    """
    try:
        data = tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except FileNotFoundError:
        raise UserError(f"{path}: no such run file; `ls configs` shows the ready ones") from None
    except IsADirectoryError:
        raise UserError(f"{path}: is a folder, and not of a run: name a run file") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: not valid TOML: {error}") from None
    for override in overrides:
        set_key(data, override)
    return parse_config(data, str(path))


def parse_config(data: dict[str, Any], origin: str) -> RunConfig:
    """Validate a configuration; UserError with one line per wrong field."""
    try:
        return RunConfig.model_validate(data)
    except ValidationError as error:
        lines = [complaint(e, RunConfig) for e in error.errors()]
        raise UserError(f"{origin}: {'; '.join(lines)}") from None
