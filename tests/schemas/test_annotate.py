"""`[[annotate]]`: what stands in it, the notation before it, and what of it is the identity of a run."""

from pathlib import Path
from typing import Any

import pytest

from schemas.config import JudgeConfig, MonteCarloConfig, RunConfig, load_config, parse_config
from schemas.errors import UserError

OLD = """
name = "r"
[monte_carlo]
rollouts = 4
[judge]
votes = 2
[verify]
"""
NEW = """
name = "r"
[[annotate]]
kind = "judge"
votes = 2
[[annotate]]
kind = "verify"
[[annotate]]
kind = "monte_carlo"
rollouts = 4
"""


@pytest.fixture(params=[OLD, NEW], ids=["sections", "list"])
def file(tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    path = tmp_path / "run.toml"
    path.write_text(request.param)
    return path


def parsed(*annotate: dict[str, Any], **sections: Any) -> RunConfig:
    return parse_config({"name": "r", "annotate": list(annotate), **sections}, "mine.toml")


def test_both_notations_and_any_order_are_the_same_run(tmp_path: Path) -> None:
    found = []
    for text in (OLD, NEW):
        (tmp_path / "run.toml").write_text(text)
        found.append(load_config(tmp_path / "run.toml"))
    assert found[0] == found[1]
    assert [one.name for one in found[0].annotate] == ["monte_carlo", "judge", "verify"]


@pytest.mark.parametrize("place", ["monte_carlo", "annotate.monte_carlo"])
def test_a_setting_of_an_annotator_is_addressed_by_its_kind_or_name(file: Path, place: str) -> None:
    config = load_config(file, (f"{place}.rollouts=16",))
    assert [one.rollouts for one in config.annotators(MonteCarloConfig)] == [16]
    assert len(config.annotate) == 3


def test_one_of_several_is_addressed_by_its_name(tmp_path: Path) -> None:
    path = tmp_path / "run.toml"
    path.write_text(NEW + '[[annotate]]\nkind = "judge"\nname = "strict"\n')
    judges = load_config(path, ("annotate.strict.votes=9",)).annotators(JudgeConfig)
    assert {judge.name: judge.votes for judge in judges} == {"judge": 2, "strict": 9}
    with pytest.raises(UserError, match="not one annotator is called 'lenient'; the run has judge, verify"):
        load_config(path, ("annotate.lenient.votes=9",))
    (added,) = load_config(path, ("scan.rollouts=3",)).annotate[1:2] or [None]
    assert added == load_config(path, ("annotate.scan.rollouts=3",)).annotate[1]


@pytest.mark.parametrize(
    ("data", "said"),
    [
        ({"annotate": [{"kind": "judge"}], "judge": {}}, "the file has both; keep one of them"),
        ({"annotate": [{"kind": "scan"}, {"kind": "scan"}]}, "2 annotators are called 'scan'"),
        ({"annotate": [{"kind": "scan", "name": "judge"}]}, "means something else"),
        ({"annotate": [{"kind": "monte_carlo", "name": "propose"}]}, "means something else"),
        ({"annotate": [{"kind": "scam"}]}, '"scan"'),
        ({"annotate": [{"rollouts": 3}]}, "annotate #1.kind: is missing: write kind = "),
        ({"annotate": [{"kind": "python", "factory": "mine"}]}, "annotate.python.factory"),
        ({"annotate": [{"kind": "verify", "verifiers": ["algebr"]}]}, "or package.module:function"),
    ],
)
def test_what_cannot_be_meant_is_refused(data: dict[str, Any], said: str) -> None:
    with pytest.raises(UserError, match=said):
        parse_config({"name": "r", **data}, "mine.toml")


PROVER = {"kind": "prover", "policy": {"kind": "server", "model": "m", "base_url": "http://a:1/v1"}}


@pytest.mark.parametrize("kind", ["prover", "judge", "python"])
@pytest.mark.parametrize("name", [None, "other"])
@pytest.mark.parametrize(
    ("setting", "value", "is_same"),
    [
        ("base_url", "http://b:2/v1", True),
        ("timeout_s", 9.0, True),
        ("in_flight", 3, True),
        ("chat", True, False),
    ],
)
def test_an_own_policys_address_is_no_part_of_a_runs_identity(
    kind: str, name: str | None, setting: str, value: object, is_same: bool
) -> None:
    more = ({"name": name} if name else {}) | ({"factory": "a:b"} if kind == "python" else {})
    one, other = (
        parsed({**PROVER, "kind": kind, **more, "policy": {**PROVER["policy"], **change}})  # type: ignore[dict-item]
        for change in ({}, {setting: value})
    )
    assert (one.digest() == other.digest()) is is_same


def test_what_changes_votes_is_part_of_a_runs_identity() -> None:
    found = [
        parsed(),
        parsed({"kind": "scan"}),
        parsed({"kind": "scan", "name": "second"}),
        parsed({"kind": "scan", "rollouts": 3}),
        parsed({"kind": "python", "factory": "a:b"}),
        parsed({"kind": "python", "factory": "a:b", "options": {"k": 3}}),
    ]
    assert len({config.digest() for config in found}) == len(found)


def test_a_kind_that_several_are_of_is_no_address(tmp_path: Path) -> None:
    path = tmp_path / "run.toml"
    judges = "".join(f'[[annotate]]\nkind = "judge"\nname = "{name}"\n' for name in ("one", "two"))
    path.write_text(f'name = "r"\n{judges}')
    with pytest.raises(UserError, match=r"2 annotators are of kind 'judge': name one of one, two"):
        load_config(path, ("annotate.judge.votes=2",))
