"""The configuration of a run: one frozen model for each section of the TOML run file.

Validation touches no disk, network or GPU, so a run file can be checked on any machine.
"""

from schemas.config.annotators import (
    AnnotatorConfig,
    AnyAnnotator,
    BisectionConfig,
    ConsistencyConfig,
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
from schemas.config.policies import (
    PolicyConfig,
    PromptConfig,
    PythonPolicyConfig,
    ServerConfig,
    SimulatedConfig,
    SplitConfig,
    TransformersConfig,
    VllmConfig,
)
from schemas.config.problems import (
    EmbeddedProblems,
    FileProblems,
    HubProblems,
    ProblemsConfig,
    PythonProblems,
    RowsConfig,
    problems_config,
)
from schemas.config.proposers import AnyProposer, GivenConfig
from schemas.config.run import (
    BudgetConfig,
    FilterConfig,
    FusionConfig,
    RunConfig,
    SeriesConfig,
    load_config,
    parse_config,
)
from schemas.config.training import EvaluateConfig, SelfTrainConfig, TrainConfig

__all__ = [
    "EmbeddedProblems",
    "FileProblems",
    "HubProblems",
    "PythonProblems",
    "RowsConfig",
    "ProblemsConfig",
    "problems_config",
    "PolicyConfig",
    "TransformersConfig",
    "VllmConfig",
    "ServerConfig",
    "SimulatedConfig",
    "PythonPolicyConfig",
    "PromptConfig",
    "SplitConfig",
    "SampleConfig",
    "OmegaConfig",
    "GivenConfig",
    "AnyProposer",
    "MonteCarloConfig",
    "BisectionConfig",
    "ConsistencyConfig",
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
    "SeriesConfig",
    "RunConfig",
    "load_config",
    "parse_config",
]
