"""What libraries are told before they are imported: no telemetry, no chatter, patience with a slow start.

A variable that the person has set is left alone.
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
    # Waiting threads spin a little, then sleep. Spinning on, two of them on a busy two-core machine sampled
    # fourteen times slower; sleeping at once costs a quarter of the speed where there is no other work.
    "GOMP_SPINCOUNT": "2000",
    "TOKENIZERS_PARALLELISM": "false",
    # Semaphores that an interrupted command leaves are removed by multiprocessing; it need not say so.
    "PYTHONWARNINGS": "ignore:resource_tracker:UserWarning",
    "TRANSFORMERS_VERBOSITY": "error",
    "VLLM_LOGGING_LEVEL": "ERROR",
}


def set_defaults() -> None:
    """Put the defaults into the environment. Call before Prefect, transformers or vLLM are imported."""
    for name, value in DEFAULTS.items():
        os.environ.setdefault(name, value)
