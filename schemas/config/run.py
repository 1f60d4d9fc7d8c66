"""The run file as a whole: it is read and validated here, and its digest says which settings make the run."""

import tomllib
from collections import Counter
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from pydantic import Field, ValidationError, field_validator, model_validator

from schemas.complaints import Complaint, complaints
from schemas.config.annotators import KINDS, AnnotatorConfig, AnyAnnotator, PrmConfig, SampleConfig
from schemas.config.earlier import RESOLVED, as_it_was
from schemas.config.effects import AddedAs, Effect, vote_settings
from schemas.config.paths import beside
from schemas.config.policies import PolicyConfig, PromptConfig, TransformersConfig
from schemas.config.problems import EmbeddedProblems, ProblemsConfig
from schemas.config.proposers import AnyProposer, GivenConfig, Propose
from schemas.config.training import EvaluateConfig, SelfTrainConfig, TrainConfig
from schemas.errors import UserError
from schemas.notation import SECTIONS, listed
from schemas.overrides import set_key
from schemas.records import Seed, content_id
from schemas.sections import Section

T = TypeVar("T", bound=AnnotatorConfig)
P = TypeVar("P", bound=AnyProposer)


class FilterConfig(Section):
    """Difficulty filter: keep a problem that the policy sometimes solves."""

    rollouts: int = Field(8, ge=1)
    """Most solutions that are drawn of each problem to find its pass rate. The search uses them again."""
    stop: Annotated[Literal["sure", "never"], AddedAs("never")] = "sure"
    """`sure`: stop as soon as further rollouts cannot change whether the problem is kept, and a search has as
    many as it begins with. `never`: always draw all of them."""
    least: float = Field(0.0, ge=0, le=1)
    """A problem is kept if its pass rate is above this."""
    most: float = Field(1.0, ge=0, le=1)
    """A problem is kept if its pass rate is below this."""

    @model_validator(mode="after")
    def _keeps_something(self) -> "FilterConfig":
        if self.least >= self.most:
            raise ValueError(f"least={self.least} must be below most={self.most}: no problem would be kept")
        return self


class FusionConfig(Section):
    """From votes to labels. Has a digest of its own: labels can change without sampling again."""

    accept: float = Field(0.8, ge=0.5, le=1)
    """Label 1 from this probability on that the step and all before it are right."""
    reject: float = Field(0.2, ge=0, le=0.5)
    """Label 0 up to this probability. Between the two a step gets no label."""
    consensus: bool | tuple[str, str] = True
    """Mark rows whose rollouts and judges name different first errors as dropped (arXiv 2501.07301). Two
    names say who must agree instead: sources of the run, or `rollouts`, `judge`, `check` for all of a kind,
    e.g. `["omegaprm", "judge:judge_processbench"]`."""
    threshold: float = Field(0.0, ge=0, le=1)
    """Monte Carlo calls a step wrong when its success rate is at most this."""

    @field_validator("consensus", mode="before")
    @classmethod
    def _is_a_switch_or_two_names(cls, given: Any) -> Any:
        if isinstance(given, (list, tuple)):
            if len(given) != 2 or not all(isinstance(name, str) for name in given) or given[0] == given[1]:
                raise ValueError('expected true, false, or two different names, e.g. ["omegaprm", "judge"]')
            # The usual pair has one notation, and so one digest.
            return True if set(given) == {"rollouts", "judge"} else tuple(given)
        return given


class BudgetConfig(Section):
    """How many tokens may be generated. What a budget cuts off abstains; it never counts against a step.

    [budget]
    per_problem = 20000
    run = 5000000
    """

    per_problem: int | None = Field(None, ge=1)
    """Most tokens for one problem, all purposes together. It can change votes, so it belongs to the run's
    identity."""
    run: Annotated[int | None, Effect.SPEED] = Field(None, ge=1)
    """Most tokens for the whole run, spent on whole problems in their order; raise it to go on. With
    `per_problem` it is never exceeded, without it by a few problems at most."""


class SeriesConfig(Section):
    """Runs on one growing source of problems: each labels what no earlier one has (docs/deploy.md).

    [series]
    name = "nightly"
    dataset = "me/nightly-steps"
    retrain_rows = 10000
    """

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", max_length=150)
    """The runs of a deployment are called by it and by the day that they were planned for, `NAME-2026-11-27`.
    With the time, `NAME-2026-11-27T020000`, where there may be several a day."""
    dataset: str | None = Field(None, pattern=r"^[A-Za-z0-9._-]+/[A-Za-z0-9._-]+$", max_length=200)
    """Dataset on the Hugging Face Hub, `OWNER/NAME`, to which each fire adds its run when that is sealed."""
    retrain_rows: int | None = Field(None, ge=1)
    """A PRM is trained on all runs of the series, by `[train]`, each time that they have so many rows more
    than at the last training. Without it `[train]` trains one PRM per run, on that run alone."""


class RayConfig(Section):
    """The shards of a run on an object store, spread over a Ray cluster, one task for each (docs/ray.md).

    [ray]
    address = "auto"
    num_gpus = 1
    """

    address: str = Field("auto", pattern=r"^(auto|[A-Za-z0-9._-]+:[0-9]{1,5})$")
    """The head of the cluster, `HOST:PORT`; `auto` for the cluster that this machine is a node of."""
    num_cpus: float = Field(1.0, gt=0)
    """Processors that Ray reserves for a shard. Verifiers run in processes of their own: reserve for them,
    too."""
    num_gpus: float = Field(0.0, ge=0)
    """GPUs that a shard gets, and that no other shard sees meanwhile. 0 where models are behind a server.
    With `engines`, those of each engine; shards then get none."""
    engines: int = Field(0, ge=0, le=1024)
    """Engines that all shards share: each is a process of its own on the cluster that loads the models once.
    0: each process that works on shards loads them for itself."""
    room_s: float = Field(600.0, gt=0)
    """Seconds that the cluster may have no room for an engine: for a first one, and for one whose machine has
    died. Then a command, or a shard, goes on without it, or gives up where it was the last. How long an
    engine takes to load or to answer does not count."""


class RunConfig(Section):
    """A run file. Sections that are left out are stages that are left out."""

    name: Annotated[str, Effect.SPEED] = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", max_length=200)
    """The run's name, which is that of its folder: letters, digits, `.`, `_` and `-`."""
    seed: Annotated[Seed, Effect.VOTES] = 0
    """Where all random draws of the run begin. Equal settings and seeds give equal runs."""
    shards: Annotated[int, Effect.VOTES] = Field(1, ge=1, le=10_000)
    """Parts that the problems are shared out to. Each part is one task and one file of the dataset."""
    root: Annotated[str, Effect.SPEED] = Field("runs", pattern=r"^[^\x00]*$")
    """The folder that holds the run's folder."""
    problems: Annotated[ProblemsConfig, Effect.CONTENT] = EmbeddedProblems()
    """Where the problems come from."""
    policy: Annotated[PolicyConfig, Effect.VOTES] = TransformersConfig()
    """The model that solves the problems and writes the rollouts."""
    prompt: Annotated[PromptConfig, Effect.VOTES] = PromptConfig()
    """How the policy is asked."""
    filter: Annotated[FilterConfig | None, Effect.VOTES] = None
    """Leaves out problems that are too easy or too hard."""
    propose: Annotated[Propose, Effect.VOTES] = SampleConfig()
    """Where the solutions come from whose steps are labelled. Several sections `[[propose]]` propose side by
    side; equal texts are one solution."""
    annotate: Annotated[tuple[Annotated[AnyAnnotator, Field(discriminator="kind")], ...], Effect.VOTES] = ()
    """What votes on the steps, in any order: it is kept by kind and name."""
    series: Annotated[SeriesConfig | None, Effect.SPEED] = None
    """`stepmint deploy`: each fire of a schedule is a run of its own, on the problems that are new."""
    ray: Annotated[RayConfig | None, Effect.SPEED] = None
    """Spreads the shards over a Ray cluster."""
    fusion: Annotated[FusionConfig, Effect.LATER] = FusionConfig()
    """How votes become labels."""
    budget: Annotated[BudgetConfig, Effect.VOTES] = BudgetConfig()
    """How many tokens may be generated."""
    train: Annotated[TrainConfig | None, Effect.LATER] = None
    """A PRM is trained on the dataset."""
    evaluate: Annotated[EvaluateConfig | None, Effect.LATER] = None
    """The trained PRM is measured."""
    self_train: Annotated[SelfTrainConfig | None, Effect.LATER] = None
    """What `stepmint selftrain` does."""

    @model_validator(mode="before")
    @classmethod
    def _earlier_sections(cls, data: Any) -> Any:
        """`[judge]` and its like, of earlier run files, as elements of `[[annotate]]`."""
        data = listed(data) if isinstance(data, dict) else data
        for name in SECTIONS if isinstance(data, dict) else ():
            if name in data:
                raise ValueError(
                    f'[{name}] is the earlier notation of [[annotate]] kind = "{name}": '
                    "the file has both; keep one of them"
                )
        return data

    @field_validator("annotate")
    @classmethod
    def _by_kind_and_name(cls, annotate: tuple[AnyAnnotator, ...]) -> tuple[AnyAnnotator, ...]:
        for name, n in Counter(one.name for one in annotate).items():
            if n > 1:
                raise ValueError(f"{n} annotators are called {name!r}: give each its own `name`")
        # Sorted, so that the same annotators in another order are the same run, with the same digest.
        return tuple(sorted(annotate, key=lambda one: (KINDS.index(one.kind), one.name)))

    @model_validator(mode="after")
    def _evaluation_has_a_prm(self) -> "RunConfig":
        if self.evaluate is not None and self.train is None:
            raise ValueError("[evaluate] measures the trained PRM, so [train] is needed too")
        return self

    @model_validator(mode="after")
    def _retraining_has_settings(self) -> "RunConfig":
        if self.series is not None and self.series.retrain_rows is not None and self.train is None:
            raise ValueError("series.retrain_rows trains a PRM, so [train] is needed too")
        return self

    @model_validator(mode="after")
    def _newest_prm_is_made(self) -> "RunConfig":
        waiting = [one for one in self.annotators(PrmConfig) if one.checkpoint == "series"]
        if waiting and (self.series is None or self.series.retrain_rows is None):
            raise ValueError(
                f'{waiting[0].section}.checkpoint = "series" needs a [series] with retrain_rows, whose fires '
                "train the PRM: set both, or name a folder"
            )
        return self

    @model_validator(mode="after")
    def _budget_buys_something(self) -> "RunConfig":
        run, most = self.budget.run, self.budget.per_problem
        # Tokens are reserved before they are sampled, so these budgets would refuse every request of the run.
        if most is not None and most < self.prompt.max_tokens:
            raise ValueError(f"budget.per_problem={most} is less than prompt.max_tokens, one completion")
        if run is not None and run < self.shards * (most or 1):
            raise ValueError(
                f"budget.run={run} does not reach for one problem (budget.per_problem={most or 1}) in each "
                f"of {self.shards} shards: raise it, or use fewer shards"
            )
        return self

    def settings(self) -> dict[str, Any]:
        """Everything that can change a vote, by the marks of the fields, but for what a run knows by its
        content (`pipeline.runs.identity`): its prompts, problems and models."""
        return vote_settings(self)

    def digest(self) -> str:
        """Identity of the settings that can change a vote; with those of its inputs, that of the run."""
        return content_id(vote_settings(self, added=False))

    def annotators(self, kind: type[T]) -> list[T]:
        """The annotators of one kind."""
        return [one for one in self.annotate if isinstance(one, kind)]

    @property
    def proposers(self) -> tuple[AnyProposer, ...]:
        """Everything that proposes solutions, in the order of the run file."""
        return self.propose if isinstance(self.propose, tuple) else (self.propose,)

    def proposer(self, kind: type[P]) -> P | None:
        """The proposer of one kind, where there is one."""
        return next((one for one in self.proposers if isinstance(one, kind)), None)

    @property
    def writers(self) -> tuple[SampleConfig, ...]:
        """Samplers that ask a model of their own."""
        samplers = (one for one in self.proposers if isinstance(one, SampleConfig))
        return tuple(one for one in samplers if one.policy is not None)

    @property
    def asks_policy(self) -> bool:
        """Whether anybody asks the run's own policy. Nobody does where solutions are given and only verifiers
        and annotators with models of their own vote; then it need not be there."""
        votes = any(one.asks and one.own_policy is None for one in self.annotate)
        draws = any(one not in self.writers and not isinstance(one, GivenConfig) for one in self.proposers)
        return votes or draws or self.filter is not None

    def policies(self) -> dict[str, PolicyConfig]:
        """The models that a run asks, by their section."""
        found = {"policy": self.policy} if self.asks_policy else {}
        found |= {f"propose.{one.name}.policy": one.policy for one in self.writers if one.policy is not None}
        for one in self.annotate:
            if one.own_policy is not None:
                found[f"{one.section}.policy"] = one.own_policy
        return found

    def fusion_digest(self) -> str:
        """Identity of the labels, given the votes."""
        return content_id(self.fusion.model_dump(mode="json"))


def load_config(path: Path, overrides: tuple[str, ...] = ()) -> RunConfig:
    """Read a TOML run file; `overrides` are `section.key=value` with TOML values.

    Raises UserError naming the file and the field.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise UserError(f"{path}: no such run file; `ls configs` shows the ready ones") from None
    except IsADirectoryError:
        raise UserError(f"{path}: is a folder, and not of a run: name a run file") from None
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: not valid TOML: {error}") from None
    return config_of(text, path, overrides)


def config_of(text: str, path: Path, overrides: tuple[str, ...] = ()) -> RunConfig:
    """The configuration that the text of a run file says. The file need not be there: its `path` is what
    errors name, and where relative paths begin."""
    try:
        data = tomllib.loads(text)
    except (ValueError, RecursionError) as error:  # also a number of 5,000 digits, or 1,000 brackets
        raise UserError(f"{path}: not valid TOML: {error}") from None
    data = listed(data)
    # A user's relative paths are looked for beside the run file. A run's own file holds them as they were
    # found, and may hold settings of other kinds, which earlier versions wrote.
    is_own = text.startswith(RESOLVED)
    data = as_it_was(data, [RunConfig]) if is_own else beside(data, path.parent)
    for override in overrides:
        set_key(data, override)
    return parse_config(data, str(path), overrides)


def parse_config(data: dict[str, Any], origin: str, overrides: tuple[str, ...] = ()) -> RunConfig:
    """Validate a configuration; UserError with a sentence for each wrong field, which names the file or the
    `--set` that it came from."""
    try:
        return RunConfig.model_validate(data)
    except ValidationError as error:
        found = complaints(error.errors(), RunConfig)
    file = [str(one) for one in found if not _override_of(one, overrides)]
    lines = [f"--set {override}: {one.what}" for one in found if (override := _override_of(one, overrides))]
    raise UserError("; ".join([*([f"{origin}: {'; '.join(file)}"] if file else []), *lines]))


def _override_of(one: Complaint, overrides: tuple[str, ...]) -> str:
    """The override that set what a complaint is about; empty where the file did."""
    keys = {override: override.partition("=")[0].strip() for override in overrides}
    return next(
        (override for override, key in keys.items() if one.place and f"{key}.".startswith(f"{one.place}.")),
        "",
    )
