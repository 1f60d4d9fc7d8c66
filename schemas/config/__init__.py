"""What a run is: one frozen model per section of the TOML run file. Validation touches no disk, network or
GPU."""

from schemas.config.annotators import (
    AnnotatorConfig,
    AnyAnnotator,
    BisectionConfig,
    JudgeConfig,
    MonteCarloConfig,
    OmegaConfig,
    ProverConfig,
    PythonConfig,
    SampleConfig,
    ScanConfig,
    VerifierName,
    VerifyConfig,
)
from schemas.config.policies import PolicyConfig, PromptConfig
from schemas.config.problems import ProblemsConfig
from schemas.config.run import BudgetConfig, FilterConfig, FusionConfig, RunConfig, load_config, parse_config
from schemas.config.training import EvaluateConfig, SelfTrainConfig, TrainConfig

__all__ = [
    "ProblemsConfig",
    "PolicyConfig",
    "PromptConfig",
    "SampleConfig",
    "OmegaConfig",
    "MonteCarloConfig",
    "BisectionConfig",
    "ScanConfig",
    "ProverConfig",
    "JudgeConfig",
    "PythonConfig",
    "AnnotatorConfig",
    "AnyAnnotator",
    "VerifyConfig",
    "VerifierName",
    "TrainConfig",
    "SelfTrainConfig",
    "EvaluateConfig",
    "FilterConfig",
    "FusionConfig",
    "BudgetConfig",
    "RunConfig",
    "load_config",
    "parse_config",
]
