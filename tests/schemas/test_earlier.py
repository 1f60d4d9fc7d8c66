"""A run.toml that an earlier version wrote is read as what it says, without what it only carried along."""

from pathlib import Path
from typing import Any

import pytest
import tomli_w

from schemas.config import RunConfig, ServerConfig, SimulatedConfig, TransformersConfig, load_config
from schemas.config.earlier import RESOLVED
from schemas.errors import UserError

ALL_KINDS: dict[str, Any] = {
    "kind": "transformers", "model": "embedded", "dtype": "auto", "in_flight": 256,
    "base_url": "http://127.0.0.1:8000/v1", "api_key_env": "OPENAI_API_KEY", "chat": False,
    "timeout_s": 120.0, "patience_s": 600.0, "drop": [], "extra_body": {}, "slip": 0.15, "recover": 0.0,
    "n_steps": 8,
}  # fmt: skip
"""What a policy's section held once, whatever its kind."""


def stored(folder: Path, head: str = RESOLVED, **sections: Any) -> Path:
    file = folder / "run.toml"
    file.write_text(f"{head}; digest 0123456789abcdef\n" + tomli_w.dumps({"name": "r", **sections}))
    return file


def test_defaults_of_other_kinds_are_forgotten(tmp_path: Path) -> None:
    server = {**ALL_KINDS, "kind": "server", "model": "m"}
    file = stored(
        tmp_path,
        policy=ALL_KINDS,
        prover={"policy": {**ALL_KINDS, "kind": "simulated"}},
        judge={"policy": server, "votes": 2},
    )
    config = load_config(file)
    assert config == RunConfig.model_validate(
        {
            "name": "r",
            "prover": {"policy": {"kind": "simulated"}},
            "judge": {"policy": {"kind": "server", "model": "m"}, "votes": 2},
        }
    )
    assert isinstance(config.policy, TransformersConfig)
    assert [type(one.own_policy) for one in config.annotate] == [SimulatedConfig, ServerConfig]


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"slip": 0.3}, '`slip` belongs to kind = "simulated"'),
        ({"kind": "simulated", "model": "mine"}, "`model` belongs to kind"),
        ({"split": 3}, "no such setting"),
    ],
)
def test_what_somebody_set_is_refused(tmp_path: Path, changed: dict[str, Any], said: str) -> None:
    with pytest.raises(UserError, match=said):
        load_config(stored(tmp_path, policy={**ALL_KINDS, **changed}))


def test_only_a_file_that_a_run_wrote_is_read_so(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="`slip` belongs"):
        load_config(stored(tmp_path, "# My run", policy={"slip": 0.15}))
    with pytest.raises(UserError, match=r"--set policy\.slip=0\.15: `slip` belongs"):
        load_config(stored(tmp_path, policy=ALL_KINDS), ("policy.slip=0.15",))


@pytest.mark.parametrize(
    ("section", "stop"),
    [({"rollouts": 8}, "never"), ({"rollouts": 8, "stop": "sure"}, "sure"), ({"stop": "never"}, "never")],
)
def test_a_filter_goes_on_as_it_began(tmp_path: Path, section: dict[str, Any], stop: str) -> None:
    """Earlier versions drew all its rollouts and said nothing about it."""
    config = load_config(stored(tmp_path, filter=section))
    assert config.filter is not None
    assert config.filter.stop == stop
    assert load_config(stored(tmp_path)).filter is None
    # A user's own file says what is wanted now.
    mine = load_config(stored(tmp_path, head="# mine", filter={"rollouts": 8}))
    assert mine.filter is not None
    assert mine.filter.stop == "sure"
