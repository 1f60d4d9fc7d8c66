"""Which arguments of vLLM's engine a run file may set in `[policy.engine]`, and which of them change nothing
but the speed."""

from collections.abc import Iterable

_SET_ELSEWHERE = {
    "model": "policy.model",
    "revision": "policy.revision",
    "dtype": "policy.dtype",
    "max_model_len": "policy.max_model_len",
    "max_num_seqs": "policy.in_flight",
    "enable_lora": "policy.lora",
    "hf_token": "the environment variable HF_TOKEN: a run file is recorded",
}
"""Arguments that other settings give, and these settings."""
_NEVER = {
    "runner": "a policy writes text",
    "skip_tokenizer_init": "a policy writes text",
    "logprobs_mode": "scores are read as log-probabilities at temperature 1",
}
FAST = frozenset(
    """tensor_parallel_size pipeline_parallel_size data_parallel_size distributed_executor_backend
    gpu_memory_utilization kv_cache_memory_bytes cpu_offload_gb max_num_batched_tokens
    max_parallel_loading_workers block_size enable_prefix_caching download_dir
    disable_log_stats enable_log_requests""".split()
)
"""Arguments that say only where and how fast the engine runs. The list is short on purpose: any other
argument may change what the model writes, so it belongs to the run's identity."""


def check_engine_names(names: Iterable[str]) -> None:
    """ValueError for an argument that has its own setting, or that would break the policy."""
    for name in sorted(names):
        if name in _SET_ELSEWHERE:
            raise ValueError(f"engine: {name!r} is set by {_SET_ELSEWHERE[name]}")
        if name in _NEVER:
            raise ValueError(f"engine: {name!r} cannot be set here: {_NEVER[name]}")
