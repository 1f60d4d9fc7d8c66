"""Makes the policy that a configuration describes.

Each backend's library is imported only in the branch that uses it: torch and vLLM take seconds to import, and
need not be installed for a run on a server.
"""

import os
from collections.abc import Mapping
from pathlib import Path

from pipeline.policies.base import Policy
from pipeline.policies.outside import checked_policy
from pipeline.policies.packaged import PACKAGED, packaged_folder
from schemas.config import PolicyConfig, ServerConfig, VllmConfig
from schemas.errors import UserError, conceal
from schemas.factories import load_factory, make

_FOLDER = Path(__file__).parent.parent / "embedded"
EMBEDDED = _FOLDER / "checkpoint"
PREPARED = {"embedded": EMBEDDED, "embedded-reader": _FOLDER / "reader"}
"""Models that the repository ships, by name: a small policy, and the base model of small PRMs."""


def open_policy(config: PolicyConfig) -> Policy:
    """The policy of a configuration, not yet entered.

    Raises UserError when a prepared model is asked for that is not there, or the key is no key.
    """
    match config.kind:
        case "transformers":
            from pipeline.policies.transformers.policy import TransformersPolicy

            return TransformersPolicy(
                model_path(config.model),
                dtype=config.dtype,
                max_batch=config.in_flight,
                max_model_len=config.max_model_len,
                revision=config.revision,
                chat=config.chat,
                chat_template_kwargs=config.chat_template_kwargs,
            )
        case "vllm":
            from pipeline.policies.vllm.policy import VllmPolicy

            return VllmPolicy(
                model_path(config.model),
                dtype=config.dtype,
                max_batch=config.in_flight,
                max_model_len=config.max_model_len,
                chat=config.chat,
                chat_template_kwargs=config.chat_template_kwargs,
                revision=config.revision,
                lora=config.lora,
                engine=config.engine,
            )
        case "server":
            return _server(config)
        case "simulated":
            from pipeline.policies.simulated import SimulatedPolicy

            return SimulatedPolicy(slip=config.slip, recover=config.recover, n_steps=config.n_steps)
        case "python":
            return checked_policy(make(config.factory, config.options), f"factory {config.factory!r}")


def _server(config: ServerConfig) -> Policy:
    from pipeline.policies.server.policy import ServerPolicy

    conceal(config.api_key_env)  # from now on no message or log shows the key
    return ServerPolicy(
        config.base_url,
        config.model,
        api_key=_api_key(config.api_key_env),
        in_flight=config.in_flight,
        timeout_s=config.timeout_s,
        patience_s=config.patience_s,
        chat=config.chat,
        drop=config.drop,
        extra_body=config.extra_body,
    )


def import_library(config: PolicyConfig) -> None:
    """Import what `open_policy` would, as far as it is large: seconds that can be spent beside other
    waiting."""
    match config.kind:
        case "transformers":
            import pipeline.policies.transformers.policy
        case "vllm":
            import pipeline.policies.vllm.policy  # noqa: F401


def check_policies(policies: Mapping[str, PolicyConfig]) -> None:
    """Check what can be checked without loading or asking a model, so that a run fails before it spends.

    Raises UserError where a key is no key, a model's folder is missing, or a factory cannot be imported.
    """
    for name, policy in policies.items():
        if policy.kind == "server":
            _api_key(policy.api_key_env)
        elif policy.kind == "python":
            load_factory(policy.factory)
        elif policy.kind != "simulated" and _is_path(policy.model) and not Path(policy.model).exists():
            raise UserError(f"{name}.model: {policy.model}: no such folder")
        if policy.kind == "vllm":
            _check_vllm(name, policy)


def _check_vllm(section: str, policy: VllmConfig) -> None:
    from pipeline.policies.vllm.settings import check_engine

    if policy.lora and not (Path(policy.lora) / "adapter_config.json").is_file():
        raise UserError(
            f"{section}.lora: {policy.lora}: no folder of an adapter: it has no adapter_config.json"
        )
    check_engine(section, policy.engine)


def _is_path(model: str) -> bool:
    """Whether a model's name can only be a path: those of the Hub are OWNER/NAME, with one slash at most.

    `models/mine` may be either, so it is left to the library that loads it.
    """
    return model.startswith(("/", "./", "../", "~")) or model.count("/") > 1


def _api_key(name: str) -> str | None:
    """The key in an environment variable. UserError, without the key, when a header cannot hold it."""
    key = os.environ.get(name, "")
    # A key copied with its newline is the common case; the HTTP library's own error would print the key.
    if all("!" <= letter <= "~" for letter in key):
        return key or None
    odd = next(letter for letter in key if not "!" <= letter <= "~")
    what = {"\n": "a newline", "\r": "a newline", " ": "a space", "\t": "a tab"}.get(odd)
    what = what or ("a control character" if odd.isascii() else "a letter that is not ASCII")
    raise UserError(f"the key in the environment variable {name} holds {what}: set it again without")


def model_path(model: str) -> str:
    """What a library loads for a model's name: the prepared ones are folders."""
    if model in PACKAGED:
        return str(packaged_folder(model))
    folder = PREPARED.get(model)
    if folder is None:
        return model
    if not (folder / "config.json").is_file():
        raise UserError(
            f"{folder}: no embedded model; `python -m pipeline.embedded.training.recipe` trains it"
        )
    return str(folder)
