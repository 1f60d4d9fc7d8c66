"""What vLLM's engine is started with: our settings, those that a CPU needs, and the run file's own.

`[policy.engine]` is handed on as it is. Its names are checked against the installed vLLM, because vLLM's own
error about an unknown one is a traceback, and a run may have waited for hours until its engine starts.
"""

import dataclasses
import difflib
import importlib.util
import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, get_args

from schemas.errors import UserError

_QUIET = {"VLLM_NO_USAGE_STATS": "1", "DO_NOT_TRACK": "1", "VLLM_LOGGING_LEVEL": "ERROR"}


def import_vllm() -> bool:
    """Import vLLM with the environment that it needs; returns whether it runs on a CPU. UserError where it
    cannot be imported."""
    # vLLM reads these while it is imported, so they are set before; what the user has set stays.
    for name, value in _QUIET.items():
        os.environ.setdefault(name, value)
    import torch

    on_cpu = not torch.cuda.is_available()
    if on_cpu:  # by default one core is kept for the scheduler: 2.7 times slower on two cores
        os.environ.setdefault("VLLM_ENABLE_V1_MULTIPROCESSING", "0")
    try:
        import vllm.v1.engine.async_llm  # noqa: F401
    except ImportError as error:
        raise UserError(f"vLLM cannot be imported ({error}): run `make setup-vllm`") from None
    return on_cpu


def check_engine(section: str, settings: Iterable[str]) -> None:
    """UserError where `[policy.engine]` has a name that the installed vLLM does not know. Nothing is checked
    where vLLM is not installed here: the run may go on elsewhere."""
    given = sorted(settings)
    if not given or importlib.util.find_spec("vllm") is None:
        return
    import_vllm()
    from vllm.engine.arg_utils import AsyncEngineArgs

    known = [field.name for field in dataclasses.fields(AsyncEngineArgs)]
    for name in given:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            hint = f"; did you mean {near[0]}?" if near else ""
            raise UserError(f"[{section}.engine] {name}: vLLM has no such engine argument{hint}")


def engine_settings(
    own: Mapping[str, Any], settings: Mapping[str, Any], *, on_cpu: bool, cache_bytes: int, lora: str
) -> dict[str, Any]:
    """The engine's arguments. `own` are ours; what the run file says wins over what a CPU needs."""
    found = {"enable_log_requests": False, "disable_log_stats": True, **own}
    if on_cpu:
        # Prefix caching works in whole blocks: 128 tokens by default, and 32 is the least allowed here.
        found |= {"block_size": 32, "enforce_eager": True, "kv_cache_memory_bytes": cache_bytes}
        found["dtype"] = "float32" if own["dtype"] == "auto" else own["dtype"]
        # A seeded request whose prompt is split over two steps kills the engine: vLLM rewinds its
        # generator, and a CPU generator cannot be rewound.
        found["enable_chunked_prefill"] = False
    if lora:
        found |= {"enable_lora": True, "max_loras": 1, "max_lora_rank": _rank(lora)}
    return found | dict(settings)


def _rank(lora: str) -> int:
    """The least rank that vLLM allows and the adapter fits: it reserves memory for one of a few ranks."""
    from vllm.config.lora import MaxLoRARanks

    file = Path(lora) / "adapter_config.json"
    try:
        rank = json.loads(file.read_text())["r"]
        return int(min(most for most in get_args(MaxLoRARanks) if most >= rank))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(f"{file}: not an adapter that vLLM can load: {error}") from None
