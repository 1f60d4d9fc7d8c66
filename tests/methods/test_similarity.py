"""Similarity grouping: the numeric gate, evidence of one's own, and bias against variance."""

import random
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.methods.counts import Count
from pipeline.methods.similarity import Group, groups, is_alike, rows, value
from pipeline.methods.stored import Run
from schemas.derive import SimilaritySettings
from schemas.records import Rollout

Drawn = Callable[..., Rollout]
DEFAULT = SimilaritySettings()


@pytest.mark.parametrize(
    ("a", "b", "tau", "alike"),
    [
        ("a = 2 + 3 = 5", "a = 2+3 = 5", 0.8, True),
        ("a = 2 + 3 = 5", "a = 2 + 3 = 6", 0.0, False),
        ("x = 1/2", "x = .5", 0.0, True),
        ("x = 0.33", "x = 1/3", 0.0, False),
        ("x = 1,000", "x = 1000", 0.0, True),
        ("x = 2 + 3", "x = 2 + 4", 0.0, False),
        ("so it is 25.", "so it is 25", 0.8, True),
        ("x = 25.", "x = 26.", 0.8, False),
        ("5-3", "5 - 3", 0.5, True),
        ("nothing here", "nothing there", 0.8, True),
        ("nothing here", "nothing 3", 0.0, False),
        ("x = 1/0", "x = 1/0 ", 0.8, True),
        ("9" * 5000, "9" * 4999, 0.0, False),
        ("the cat", "a very different step", 0.88, False),
    ],
)
def test_alike(a: str, b: str, tau: float, alike: bool) -> None:
    assert is_alike(a, b, tau) is alike


def first(found: list[Group]) -> dict[str, Count]:
    return {group.step: group.outcomes for group in found if group.position == 0}


def test_a_group_has_its_own_share(drawn: Drawn) -> None:
    outcomes = {"x = 1": (1, 1, 1), "y = 2": (0, 0), "z = 3": (1, 1, 0)}
    rollouts = [
        drawn(f"{step}\nend {i}", bool(o)) for step, row in outcomes.items() for i, o in enumerate(row)
    ]
    found = first(groups("", rollouts, DEFAULT))
    assert found == {"x = 1": Count(3, 3), "y = 2": Count(0, 2), "z = 3": Count(2, 3)}
    total = sum(found.values(), Count())
    assert total.value == 0.625
    ends = [g for g in groups("", rollouts, DEFAULT) if g.step == "y = 2"]
    assert value(ends[0], least=4) is None
    assert value(ends[0], least=2) == 0


def test_nothing_is_said_after_a_sure_zero(drawn: Drawn) -> None:
    rollouts = [drawn(f"a\nwrong 9\ntail {i}", False) for i in range(3)] + [drawn("a\nright 8\nend", True)]
    deep = {g.step for g in groups("", rollouts, SimilaritySettings(least=3)) if g.position == 2}
    assert deep == {"end"}
    unsure = groups("", rollouts, SimilaritySettings(least=4))
    assert {g.step for g in unsure if g.position == 2} > {"end"}
    assert {value(g, 4) for g in unsure if g.step == "wrong 9"} == {None}


def test_context_counts(drawn: Drawn) -> None:
    rollouts = [drawn("one way 1\nsame", True), drawn("quite another 2\nsame", False)]
    assert [g.outcomes for g in groups("", rollouts, DEFAULT) if g.step == "same"] == [
        Count(1, 1),
        Count(0, 1),
    ]


STEPS = st.lists(st.sampled_from(["x = 1", "x  = 1", "x = 2", "so 4", "so  4"]), min_size=1, max_size=4)


@given(st.lists(st.tuples(STEPS, st.sampled_from([True, False, None])), max_size=12), st.randoms())
def test_invariants(drawn: Drawn, texts: list, rng: object) -> None:  # type: ignore[type-arg]
    rollouts = [drawn("\n".join(steps), right, prefix="p\n") for steps, right in texts]
    found = groups("p\n", rollouts, DEFAULT)
    rng.shuffle(rollouts)  # type: ignore[attr-defined]
    assert groups("p\n", rollouts, DEFAULT) == found
    assert sum(first(found).values(), Count()).n <= sum(right is not None for _, right in texts)
    assert sum(g.outcomes.n for g in found if g.position == 0) == sum(r is not None for _, r in texts)
    sources = ["p\n" + "\n".join(steps) for steps, _ in texts]
    assert all(any(text.startswith(g.prefix + g.step) for text in sources) for g in found)
    assert all(g.parent < i for i, g in enumerate(found))


def test_grouping_lowers_variance_and_false_merges_bias(drawn: Drawn) -> None:
    rng = random.Random(4)
    wordings = [f"so we get {'very ' * i}x = 7" for i in range(2)]
    alone, grouped, merged = [], [], []
    for _ in range(300):
        rollouts = [drawn(f"{wordings[i % 2]}\nend {i}", rng.random() < 0.5) for i in range(10)]
        found = groups("", rollouts, SimilaritySettings(tau=0.6))
        shares = [g.outcomes.value or 0.0 for g in found if g.position == 0]
        assert len(shares) == 1
        grouped.append((shares[0] - 0.5) ** 2)
        alone += [
            (g.outcomes.value - 0.5) ** 2 for g in found if g.outcomes.n == 1 and g.outcomes.value is not None
        ]
        mixed = [
            drawn(f"step {'good' if i % 2 else 'poor'}\nend", rng.random() < (0.9 if i % 2 else 0.1))
            for i in range(10)
        ]
        merged += [
            g.outcomes.value or 0.0 for g in groups("", mixed, SimilaritySettings(tau=0.5)) if g.position == 0
        ]
        assert len(first(groups("", mixed, SimilaritySettings(tau=0.88)))) == 2
    assert sum(alone) / len(alone) == pytest.approx(0.25)
    assert sum(grouped) / len(grouped) == pytest.approx(0.025, abs=0.006)
    assert abs(sum(merged) / len(merged) - 0.9) == pytest.approx(0.4, abs=0.03)


def test_rows_of_a_run(run: Run) -> None:
    found = list(rows(run, DEFAULT))
    assert any(row["state"] for row in found)
    slips = [row for row in found if row["n"] >= 4 and row["text"].split("\n")[0].endswith("bad")]
    assert slips
    assert {row["value"] for row in slips} == {0}
