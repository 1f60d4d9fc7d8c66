"""What the annotators of a run declare, and that fusion counts their rollouts as declared."""

import pytest

from pipeline.annotators.opening import annotators
from pipeline.fusion.first_error import pooled
from schemas.config import RunConfig, parse_config
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
        ({"kind": "scan"}, {0: (9, 16)}),
        ({"kind": "monte_carlo", "name": "again"}, {0: (9, 16)}),
        ({"kind": "prover", "policy": SIMULATED}, {0: (4, 8)}),
    ],
)
def test_rollouts_of_the_runs_own_policy_are_added_up(
    other: dict[str, object], counts: dict[int, tuple[int, int]]
) -> None:
    parts = annotators(config({"kind": "monte_carlo"}, other))
    sources = gathered((part.called, part.annotator.sources) for part in parts)
    (name,) = sources.keys() - {"monte_carlo", "answer"}
    votes = [
        Vote(step=0, source="monte_carlo", asks="solvable", p=0.5, correct=4, n=8),
        Vote(step=0, source=name, asks="solvable", p=0.625, correct=5, n=8),
    ]
    assert pooled(votes, sources) == counts
