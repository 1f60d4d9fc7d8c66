"""A configuration opens its backend, and a missing prepared model says what to do."""

import sys
from pathlib import Path

import pytest

from pipeline.policies import opening
from pipeline.policies.opening import check_policies, model_path, open_policy
from pipeline.policies.server.policy import ServerPolicy
from schemas.config import PythonPolicyConfig, ServerConfig, SimulatedConfig, TransformersConfig, VllmConfig
from schemas.errors import UserError


def test_every_kind_opens(models: dict[str, str]) -> None:
    model = models["llama"]
    configs = (
        TransformersConfig(model=model),
        VllmConfig(model=model),
        ServerConfig(model=model),
        SimulatedConfig(),
    )
    assert [open_policy(one).kind for one in configs] == ["transformers", "vllm", "server", "simulated"]
    assert open_policy(SimulatedConfig(slip=0.5)).model.startswith("slip=0.5")


OUTSIDE = """
class Echo:
    kind, model, revision = "python", "echo", "1"
    def __init__(self, word): self.word = word
    async def __aenter__(self): return self
    async def __aexit__(self, *exc): pass
    async def sample(self, prompt, n, sampling): return [self.word] * n

def make(word="echo"): return Echo(word)
def text(): return "no policy"
def half():
    made = Echo("x")
    made.revision, made.sample = None, lambda *_: []
    return made
def broken(): raise ValueError("no such model")
"""


@pytest.fixture
def outside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> str:
    """A module of an outsider in the working directory, with a name of its own."""
    name = f"outside_{abs(hash(request.node.name))}"
    (tmp_path / f"{name}.py").write_text(OUTSIDE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [entry for entry in sys.path if entry])
    return name


def test_an_outsiders_policy_opens(outside: str) -> None:
    policy = open_policy(PythonPolicyConfig(factory=f"{outside}:make", options={"word": "hi"}))
    assert (policy.kind, policy.model) == ("python", "echo")


@pytest.mark.parametrize(
    ("function", "options", "said"),
    [
        (
            "text",
            {},
            r"a str is no policy: it lacks kind, model, revision, sample\(\), __aenter__",
        ),
        ("half", {}, r"a Echo is no policy: it lacks revision, sample\(\);"),
        ("broken", {}, r"ValueError: no such model \(.*outside_\d+\.py, line 15\)"),
        (
            "make",
            {"letter": "x"},
            r"options: got an unexpected keyword argument 'letter'; it takes word='echo'",
        ),
        ("gone", {}, ".*has no function 'gone'"),
    ],
)
def test_what_is_no_policy_is_refused_in_one_line(
    outside: str, function: str, options: dict[str, str], said: str
) -> None:
    factory = f"{outside}:{function}"
    with pytest.raises(UserError, match=f"^factory '{factory}': {said}") as refused:
        open_policy(PythonPolicyConfig(factory=factory, options=options))
    assert "\n" not in str(refused.value)


def test_a_factory_that_cannot_be_imported_is_noticed_before_the_run() -> None:
    with pytest.raises(UserError, match="no module nowhere_at_all"):
        check_policies({"policy": PythonPolicyConfig(factory="nowhere_at_all:make")})


def test_an_adapter_that_is_none_is_noticed_before_the_run(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=f"policy.lora: {tmp_path}: no folder of an adapter"):
        check_policies({"policy": VllmConfig(model="m", lora=str(tmp_path))})


def test_the_key_comes_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOME_KEY", "secret")
    policy = open_policy(ServerConfig(model="m", api_key_env="SOME_KEY"))
    assert isinstance(policy, ServerPolicy)
    assert policy.endpoints.all[0].idle[0][1].headers["authorization"] == "Bearer secret"


def test_a_server_may_be_several() -> None:
    policy = open_policy(ServerConfig(model="m", base_url=("http://a/v1", "http://b/v1/")))
    assert isinstance(policy, ServerPolicy)
    assert [endpoint.url for endpoint in policy.endpoints.all] == ["http://a/v1", "http://b/v1"]


def test_a_missing_embedded_model_names_its_recipe(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(opening.PREPARED, "embedded", tmp_path)
    with pytest.raises(UserError, match="python -m pipeline.embedded.training.recipe"):
        model_path("embedded")
