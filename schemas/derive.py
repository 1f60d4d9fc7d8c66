"""The settings of `stepmint derive`: one frozen model for each method, with defaults from its paper."""

from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError

from schemas.complaints import complaints
from schemas.config import PolicyConfig
from schemas.errors import UserError
from schemas.overrides import set_key
from schemas.sections import Section, classes_of, tag_of


class AdvantageSettings(Section):
    """Progress advantages (PAV, arXiv 2410.08146)."""

    method: Literal["advantage"] = "advantage"
    best_of: int = Field(1, ge=1)
    """K of the best-of-K prover; the paper found about 4 best in a search."""
    alpha: float = Field(0.5, ge=0)
    """Weight of the advantage in the effective reward: .2 to .5 in a search, 3 to 5 in the paper's RL."""
    high: float = Field(0.5, gt=0, le=1)
    """The success rate that a state before the first pit must have had."""
    z: float = Field(2.0, ge=0)
    """Standard errors an advantage must stand off 0 to be called one."""


class ProgressSettings(Section):
    """Relative progress (GenPRM, arXiv 2504.00891)."""

    method: Literal["progress"] = "progress"
    least: str = Field("4/5", pattern=r"^\d{1,6}(/[1-9]\d{0,5}|\.\d{1,6})?$")
    """Share of its success rate that a good step keeps, as an exact fraction or decimal."""


class ScanSettings(Section):
    """Self-denoising labels (SCAN, arXiv 2509.16548)."""

    method: Literal["scan"] = "scan"
    confidence: float = Field(0.75, ge=0, le=1)
    """Least success rate on the bare problem."""
    tolerance: int = Field(2, ge=0)
    """d: steps before the predicted error whose labels stay soft."""
    seed: int = 0
    """Of the balanced selection."""


class CompressionSettings(Section):
    """Node compression (HNC, arXiv 2503.13551)."""

    method: Literal["compression"] = "compression"
    share: float = Field(0.5, ge=0, le=1)
    """Chance of each child to be the one that moves."""
    seed: int = 0


class QualitySettings(Section):
    """Quality values (ReST-MCTS*, arXiv 2406.03816)."""

    method: Literal["quality"] = "quality"


class SimilaritySettings(Section):
    """Similarity grouping (PRM-guided GFlowNets, arXiv 2504.19981)."""

    method: Literal["similarity"] = "similarity"
    tau: float = Field(0.88, ge=0, le=1)
    """Least string similarity of two steps of a group."""
    least: int = Field(4, ge=1)
    """n_min: a group of fewer rollouts, none of them right, is unknown and not wrong."""


class ForkSettings(Section):
    """Fork-relative advantages (PORTool, arXiv 2510.26020; TreeRL; PROPA, arXiv 2511.10279)."""

    method: Literal["fork"] = "fork"
    gamma: float = Field(0.95, gt=0, le=1)
    """Discount a step."""
    w_trajectory: float = Field(1.0, ge=0)
    w_fork: float = Field(1.0, ge=0)
    least_std: float | None = Field(None, gt=0)
    """Divide differences by their standard deviation, or by this where it is smaller; not at all if unset."""


class SignalSettings(Section):
    """Log-probability signals of a model that is given the reference answer."""

    method: Literal["signals"] = "signals"
    policy: PolicyConfig | None = None
    """The scoring model; the run's own policy when left out."""
    closer: str = "\n####"
    """Text that forces an answer. Without white space at its end: there tokens would merge with the
    answer's."""
    lead: str = " "
    """What the policy writes between closer and answer."""
    negatives: int = Field(4, ge=0)
    """Most wrong answers, taken from the problem's own rollouts, to contrast with (CPMI)."""
    probes: int = Field(0, ge=0)
    """N: answers sampled after each step for the step potential (5 in the paper); 0 leaves it out."""
    probe_tokens: int = Field(10, ge=1)
    temperature: float = Field(0.6, gt=0)
    """Of these answers. The entropy behind `confidence` is unbiased at 1 only; at the paper's 0.6 it is too
    low."""
    markers: tuple[str, str] | None = None
    """Marks after a right and a wrong step, e.g. `[" (right)", " (wrong)"]`, for the first error by their
    log-probabilities (uPRM); left out if unset."""
    under_way: int = Field(16, ge=1)
    """Problems scored at once."""
    seed: int = 0


class UnitTestSettings(Section):
    """Partial rewards from unit tests (VeRPO, arXiv 2601.03525)."""

    method: Literal["unit_tests"] = "unit_tests"
    alpha: float = Field(1.0, ge=0)
    """How much more a rare pass weighs: a test's weight is exp(-alpha times its pass rate)."""
    bandwidth: float | None = Field(None, gt=0)
    """Of the Gaussian density of pass rates that the weights are divided by, so that many like tests count as
    one; not at all if unset."""


DeriveSettings = Annotated[
    AdvantageSettings
    | ProgressSettings
    | ScanSettings
    | CompressionSettings
    | QualitySettings
    | SimilaritySettings
    | ForkSettings
    | SignalSettings
    | UnitTestSettings,
    Field(discriminator="method"),
]


def parse_settings(method: str, overrides: tuple[str, ...] = ()) -> DeriveSettings:
    """Settings of a method; `overrides` are `key=value` with TOML values. UserError names the wrong one."""
    data: dict[str, Any] = {}
    for override in overrides:
        set_key(data, override)
    model = next(one for one in classes_of(DeriveSettings) if tag_of(one)[1] == method)
    try:
        found: DeriveSettings = model.model_validate(data)  # type: ignore[assignment]
    except ValidationError as error:
        lines = "; ".join(map(str, complaints(error.errors(), model)))
        raise UserError(f"derive {method}: {lines}") from None
    return found
