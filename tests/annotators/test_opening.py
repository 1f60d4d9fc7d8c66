"""What the annotators of a run declare, and that fusion counts their rollouts as declared."""

import asyncio
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from pipeline.annotators.opening import annotators, asked, refuse_json
from pipeline.fusion.ballots import ballots_of
from pipeline.fusion.first_error import pooled
from pipeline.labelling.tools import open_tools
from schemas.config import PromptConfig, RunConfig, parse_config
from schemas.errors import UserError
from schemas.records import Vote
from schemas.sources import gathered

SIMULATED = {"kind": "simulated"}
WHOLE = [
    {"kind": "monte_carlo"},
    {"kind": "bisection"},
    {"kind": "scan"},
    {"kind": "prover", "policy": SIMULATED},
    {"kind": "judge", "prompts": ["judge_processbench"]},
    {"kind": "verify", "verifiers": ["arithmetic", "algebra", "constraints", "logic", "code", "tables"]},
]


def config(*elements: dict[str, object]) -> RunConfig:
    return parse_config({"name": "r", "policy": SIMULATED, "annotate": list(elements)}, "run.toml")


def test_each_source_is_declared_as_what_it_is() -> None:
    """Of rollouts: whose. Those of the run's policy are added up, those of a prover stay apart."""
    parts = annotators(config(*WHOLE))
    found = gathered((part.called, part.annotator.sources) for part in parts)
    assert {name: (source.kind, source.asks, source.by) for name, source in found.items()} == {
        "answer": ("grade", "solvable", ""),
        "monte_carlo": ("rollouts", "solvable", "policy"),
        "bisection": ("search", "solvable", "policy"),
        "scan": ("rollouts", "solvable", "policy"),
        "prover": ("rollouts", "solvable", "prover"),
        "judge:judge_processbench": ("judge", "valid", ""),
        "arithmetic": ("check", "valid", ""),
        "algebra": ("check", "valid", ""),
        "constraints": ("check", "valid", ""),
        "logic": ("check", "valid", ""),
        "code": ("check", "valid", ""),
        "tables": ("check", "valid", ""),
    }


@pytest.mark.parametrize(
    ("other", "counts"),
    [
        ({"kind": "scan"}, (9, 16)),
        ({"kind": "monte_carlo", "name": "again"}, (9, 16)),
        ({"kind": "prover", "policy": SIMULATED}, (4, 8)),
    ],
)
def test_rollouts_of_the_runs_own_policy_are_added_up(
    other: dict[str, object], counts: tuple[int, int]
) -> None:
    parts = annotators(config({"kind": "monte_carlo"}, other))
    sources = gathered((part.called, part.annotator.sources) for part in parts)
    (name,) = sources.keys() - {"monte_carlo", "answer"}
    votes = [
        Vote(step=0, source="monte_carlo", asks="solvable", p=0.5, correct=4, n=8),
        Vote(step=0, source=name, asks="solvable", p=0.625, correct=5, n=8),
    ]
    correct, n = pooled(ballots_of([(1, votes)], sources))
    assert (correct.tolist(), n.tolist()) == ([counts[0]], [counts[1]])


BEGUN = "=== user ===\n{problem}{solution}\n=== assistant ===\nFirst, "


@pytest.mark.parametrize("own", [True, False])
def test_a_policy_whose_answers_are_begun_must_continue_them(tmp_path: Path, *, own: bool) -> None:
    path = tmp_path / "begun.txt"
    path.write_text(f"---\nreads: first_error\n---\n{BEGUN}")
    judge = {"kind": "judge", "prompts": [str(path)], **({"policy": SIMULATED} if own else {})}
    run = config(judge)
    found = asked(run, annotators(run))
    assert {name: one.prefixes for name, one in found.items()} == (
        {"policy": False, "judge": True} if own else {"policy": True}
    )
    plain = config({**judge, "prompts": ["judge_processbench"]})
    assert not any(one.prefixes for one in asked(plain, annotators(plain)).values())


def test_a_solving_prompt_that_begins_answers_needs_a_policy_that_continues(tmp_path: Path) -> None:
    path = tmp_path / "solve.txt"
    path.write_text(BEGUN.replace("{solution}", ""))
    run = config({"kind": "verify"}).model_copy(update={"prompt": PromptConfig(template=str(path))})
    assert asked(run, annotators(run))["policy"].prefixes


@pytest.mark.parametrize("own", [True, False])
def test_a_policy_that_cannot_be_held_to_json_is_refused_at_start(*, own: bool) -> None:
    policy = {"kind": "transformers", "model": "m"}
    data = {"name": "r", "policy": SIMULATED if own else policy}
    judge = {"kind": "judge", "prompts": ["judge_json"], **({"policy": policy} if own else {})}
    run = parse_config({**data, "annotate": [judge]}, "run.toml")
    role = asked(run, annotators(run))["judge" if own else "policy"]
    with pytest.raises(UserError, match="the prompt 'judge_json' says `replies: json`, and a transformers"):
        asyncio.run(opened(run))
    refuse_json(role, "server")
    refuse_json(asked(run, annotators(config(*WHOLE)))["policy"], "transformers")


async def opened(run: RunConfig) -> None:
    async with AsyncExitStack() as stack:
        await open_tools(run, stack)
