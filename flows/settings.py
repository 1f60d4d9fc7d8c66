"""Environment variables that libraries read while they are imported: no telemetry, no progress bars of
theirs.

A variable that the user has set is left alone.
"""

import os

DEFAULTS = {
    "DO_NOT_TRACK": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "RAY_USAGE_STATS_ENABLED": "0",
    "VLLM_NO_USAGE_STATS": "1",
    # A temporary server migrates its database first, which takes a busy two-core machine longer than 20 s.
    "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "120",
    # The terminal shows our progress; Prefect's own lines still reach the run's page, and so do ours.
    "PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL": "CRITICAL",
    "PREFECT_LOGGING_EXTRA_LOGGERS": "flows,pipeline",
    "PREFECT_LOGGING_TO_API_WHEN_MISSING_FLOW": "ignore",
    "HF_DATASETS_DISABLE_PROGRESS_BARS": "1",
    "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    # How often a waiting thread of OpenMP looks again before it sleeps. With the default, two threads on a
    # busy two-core machine sampled fourteen times slower; with 0 sampling is a quarter slower on an idle one.
    "GOMP_SPINCOUNT": "2000",
    "TOKENIZERS_PARALLELISM": "false",
    # multiprocessing removes the semaphores of an interrupted command, and warns the user about each of them.
    "PYTHONWARNINGS": "ignore:resource_tracker:UserWarning",
    "TRANSFORMERS_VERBOSITY": "error",
    "VLLM_LOGGING_LEVEL": "ERROR",
}


def set_defaults() -> None:
    """Put the defaults into the environment. Call before Prefect, transformers or vLLM are imported."""
    for name, value in DEFAULTS.items():
        os.environ.setdefault(name, value)
