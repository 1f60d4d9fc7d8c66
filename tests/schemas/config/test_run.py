"""What of a run file is the identity of a run: what can change a vote, and nothing else."""

import copy
import tomllib

import pytest

from schemas.config import RunConfig, parse_config
from schemas.errors import UserError
from schemas.overrides import set_key

WHOLE = tomllib.loads("""
name = "r"
[policy]
kind = "server"
model = "m"
[propose]
kind = "sample"
[filter]
[[annotate]]
kind = "monte_carlo"
[[annotate]]
kind = "bisection"
[[annotate]]
kind = "scan"
[[annotate]]
kind = "prover"
policy = {kind = "server", model = "other"}
[[annotate]]
kind = "judge"
policy = {kind = "server", model = "third"}
[[annotate]]
kind = "verify"
[train]
[evaluate]
""")


def config(*changes: str) -> RunConfig:
    data = copy.deepcopy(WHOLE)
    for change in changes:
        set_key(data, change)
    return parse_config(data, "run.toml")


CHANGES_VOTES = """
seed=1
shards=2
prompt.temperature=0.5
prompt.top_p=0.9
prompt.max_tokens=300
prompt.separator="\\n\\n"
prompt.stop=["Q:"]
policy.chat=true
policy.drop=["top_p"]
policy.extra_body={top_k=50}
filter.rollouts=4
filter.least=0.1
filter.most=0.9
propose.n=3
propose.kind="omegaprm"
annotate.monte_carlo.rollouts=4
annotate.monte_carlo.stop="hard"
annotate.bisection.budget=20
annotate.bisection.recover=0.01
annotate.scan.rollouts=4
annotate.scan.confidence=0.5
annotate.prover.rollouts=4
annotate.prover.policy.chat=true
annotate.prover.policy.drop=["seed"]
annotate.judge.votes=2
annotate.judge.temperature=0.5
annotate.judge.max_tokens=99
annotate.judge.policy.chat=true
annotate.verify.verifiers=["arithmetic", "code"]
budget.per_problem=5000
"""
CHANGES_NONE = """
name="other"
root="elsewhere"
fusion.accept=0.9
fusion.threshold=0.1
fusion.consensus=false
budget.run=100000
train.epochs=1
train.model="m"
evaluate.samples=4
policy.in_flight=8
policy.base_url="http://10.0.0.7:8000/v1"
policy.base_url=["http://10.0.0.7:8000/v1", "http://10.0.0.8:8000/v1"]
policy.timeout_s=9.0
policy.patience_s=9.0
policy.api_key_env="OTHER_KEY"
annotate.prover.policy.base_url="http://10.0.0.7:8000/v1"
annotate.prover.policy.in_flight=8
annotate.prover.policy.timeout_s=9.0
annotate.prover.policy.api_key_env="OTHER_KEY"
annotate.judge.policy.base_url="http://10.0.0.7:8000/v1"
annotate.judge.policy.in_flight=8
annotate.judge.policy.patience_s=9.0
annotate.judge.policy.api_key_env="OTHER_KEY"
"""


@pytest.mark.parametrize("change", CHANGES_VOTES.strip().splitlines())
def test_what_can_change_a_vote_makes_another_run(change: str) -> None:
    assert config(change).digest() != config().digest()


@pytest.mark.parametrize("change", CHANGES_NONE.strip().splitlines())
def test_a_run_goes_on_with_other_addresses_speed_and_later_stages(change: str) -> None:
    """A prover that moved to another port is the same prover."""
    assert config(change).digest() == config().digest()


@pytest.mark.parametrize(
    ("change", "differs"),
    [("fusion.accept=0.9", True), ("fusion.threshold=0.1", True), ("seed=1", False), ("train.seed=1", False)],
)
def test_labels_have_an_identity_of_their_own(change: str, differs: bool) -> None:
    assert (config(change).fusion_digest() != config().fusion_digest()) == differs


def test_the_models_that_are_asked_stand_under_their_sections() -> None:
    assert {name: policy.model for name, policy in config().policies().items()} == {
        "policy": "m",
        "judge.policy": "third",
        "prover.policy": "other",
    }
    alone = parse_config({"name": "r", "annotate": [{"kind": "judge"}]}, "run.toml")
    assert list(alone.policies()) == ["policy"]  # the judge is the policy itself


def test_no_address_with_a_password_is_recorded() -> None:
    with pytest.raises(UserError, match="use api_key_env") as raised:
        config('annotate.prover.policy.base_url="http://me:secret@10.0.0.7/v1"')
    assert "secret" not in str(raised.value)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (
            "monte_carlo.rollouts=0",
            "run.toml: annotate.monte_carlo.rollouts: must be at least 1, not 0",
        ),
        (
            "monte_carlo.rolouts=4",
            "run.toml: annotate.monte_carlo.rolouts: no such setting; did you mean `rollouts`?",
        ),
        ("monte_carlo.low=0.5", "low=0.5 must be below high=0.3"),
        ("bisection.batch=100", "batch=100 exceeds budget=48"),
        ("bisection.prior=[3, 2]", "prior=[3, 2] must be [right, all]"),
        ("fusion.accept=0.4", "run.toml: fusion.accept: "),
        ("budget.per_problem=10", "budget.per_problem=10 is less than prompt.max_tokens"),
        ('policy.drop=["model"]', "run.toml: policy"),
        ('name="a/b"', 'run.toml: name: "a/b": letters, digits'),
        ('verify.verifiers="code"', 'run.toml: annotate.verify.verifiers: expected a list: ["code"]'),
    ],
)
def test_a_setting_that_cannot_be_is_one_line_with_file_and_field(change: str, said: str) -> None:
    with pytest.raises(UserError) as raised:
        config(change)
    assert said in str(raised.value)
    assert "\n" not in str(raised.value)


def test_what_needs_another_section_says_so() -> None:
    with pytest.raises(UserError, match=r"\[train\] is needed too"):
        parse_config({"name": "r", "evaluate": {}}, "run.toml")
    with pytest.raises(UserError, match="does not reach for one problem"):
        parse_config({"name": "r", "shards": 4, "budget": {"run": 3}}, "run.toml")
