"""A run file as a whole: read, and what of it is the identity of a run."""

import tomllib
from collections import Counter
from pathlib import Path
from typing import Annotated, Any, TypeVar

from pydantic import Field, ValidationError, field_validator, model_validator

from schemas.complaints import complaint
from schemas.config.annotators import (
    KINDS,
    AnnotatorConfig,
    AnyAnnotator,
    OmegaConfig,
    SampleConfig,
)
from schemas.config.policies import PolicyConfig, PromptConfig
from schemas.config.problems import ProblemsConfig
from schemas.config.training import EvaluateConfig, SelfTrainConfig, TrainConfig
from schemas.errors import UserError
from schemas.notation import SECTIONS, listed
from schemas.overrides import set_key
from schemas.records import Record, Seed, content_id

T = TypeVar("T", bound=AnnotatorConfig)


class FilterConfig(Record):
    """Difficulty filter: keep a problem that the policy sometimes solves."""

    rollouts: int = Field(8, ge=1)
    least: float = Field(0.0, ge=0, le=1)
    most: float = Field(1.0, ge=0, le=1)
    """Keep where least < pass rate < most. The rollouts are used again by the search."""


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
    annotate: tuple[Annotated[AnyAnnotator, Field(discriminator="kind")], ...] = ()
    """What votes on the steps, in any order: it is kept by kind and name."""
    fusion: FusionConfig = FusionConfig()
    budget: BudgetConfig = BudgetConfig()
    train: TrainConfig | None = None
    evaluate: EvaluateConfig | None = None
    self_train: SelfTrainConfig | None = None

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
        return tuple(sorted(annotate, key=lambda one: (KINDS.index(one.kind), one.name)))

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
        later = {
            "name",
            "root",
            "problems",
            "fusion",
            "budget",
            "train",
            "evaluate",
            "self_train",
            "annotate",
        }
        votes = self.model_dump(mode="json", exclude=later)
        votes["budget"] = {"per_problem": self.budget.per_problem}
        del votes["prompt"]["template"]
        policies = [votes["policy"]]
        # As in runs from before [[annotate]], which go on: a section each, null where there is none.
        votes |= dict.fromkeys(SECTIONS)
        for one in self.annotate:
            found = one.model_dump(mode="json", exclude={"prompts"})
            del found["name"]
            if one.name == one.kind:
                del found["kind"]
                votes[one.kind] = found
            else:
                votes.setdefault("annotate", {})[one.name] = found
            policies.append(found.get("policy"))
        for policy in filter(None, policies):
            for other in ("model", "in_flight", "base_url", "timeout_s", "patience_s", "api_key_env"):
                policy.pop(other, None)
            for later_added in ("drop", "extra_body"):  # runs from before they existed go on
                if not policy[later_added]:
                    del policy[later_added]
        return votes

    def digest(self) -> str:
        """Identity of the settings that can change a vote; with those of its inputs, that of the run."""
        return content_id(self.settings())

    def annotators(self, kind: type[T]) -> list[T]:
        """The annotators of one kind."""
        return [one for one in self.annotate if isinstance(one, kind)]

    def policies(self) -> dict[str, PolicyConfig]:
        """The models that a run asks, by their section."""
        found = {"policy": self.policy}
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
        data = tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except FileNotFoundError:
        raise UserError(f"{path}: no such run file; `ls configs` shows the ready ones") from None
    except IsADirectoryError:
        raise UserError(f"{path}: is a folder, and not of a run: name a run file") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: not valid TOML: {error}") from None
    data = listed(data)
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
