"""Metrics against known answers, and the whole evaluation against a scorer whose quality is known."""

import gzip
import json
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.prm.evaluate import (
    GoldSolution,
    Scored,
    brier,
    ece,
    ece_equal_mass,
    evaluate_prm,
    first_error_f1,
    load_gold,
    predict,
    recovered_gap,
    step_auroc,
)
from pipeline.prm.intervals import bootstrap
from schemas.errors import UserError

DATA = Path(os.environ.get("STEPMINT_DATA", Path(__file__).parents[3] / "shared" / "data"))


class Oracle:
    """Reads the truth off the step: `bad` is wrong. Solutions with `endless` in them are too long for it."""

    def readable(self, problem: str, steps: Sequence[str]) -> bool:
        return bool(steps) and "endless" not in steps and all(map(str.strip, steps))

    def score_many(self, items: Sequence[tuple[str, Sequence[str]]]) -> list[list[float]]:
        return [[0.1 if step == "bad" else 0.9 for step in steps] for _, steps in items]


def test_f1_is_the_harmonic_mean_of_both_accuracies() -> None:
    gold = [0] * 10 + [-1] * 10
    said = [0] * 6 + [1] * 3 + [None] + [-1] * 9 + [0]
    found = first_error_f1(said, gold)
    assert found["acc_err"] == pytest.approx(0.6)
    assert found["acc_cor"] == pytest.approx(0.9)
    assert found["f1"] == pytest.approx(0.72)
    assert found["within_one"] == pytest.approx(0.9)


@pytest.mark.parametrize(
    ("said", "errors", "clean"), [([-1, -1], 0, 1), ([0, 0], 1, 0), ([1, 0], 0, 0), ([None, None], 0, 0)]
)
def test_f1_is_zero_for_constant_verdicts(said: list[int | None], errors: float, clean: float) -> None:
    found = first_error_f1(said, [0, -1])
    assert (found["acc_err"], found["acc_cor"], found["f1"]) == (errors, clean, 0)


def test_a_constant_score_says_one_thing_everywhere() -> None:
    assert predict([0.7] * 4, 0.5) == -1
    assert predict([0.7] * 4, 0.8) == 0
    assert predict([]) == -1


@given(st.lists(st.floats(0, 1), min_size=1, max_size=9), st.floats(0, 1), st.floats(0, 1))
def test_a_threshold_between_two_neighbouring_scores_changes_nothing(
    scores: list[float], a: float, b: float
) -> None:
    low, high = sorted((a, b))
    if not any(low <= score < high for score in scores):
        assert predict(scores, low) == predict(scores, high)


@given(st.lists(st.tuples(st.sampled_from([0.1, 0.2, 0.5, 0.9]), st.booleans()), min_size=1, max_size=30))
def test_auroc_counts_pairs_and_halves_ties(pairs: list[tuple[float, bool]]) -> None:
    right = [score for score, is_right in pairs if is_right]
    wrong = [score for score, is_right in pairs if not is_right]
    found = step_auroc(*zip(*pairs, strict=True))
    if right and wrong:
        wins = [(r > w) + 0.5 * (r == w) for r in right for w in wrong]
        assert found == pytest.approx(np.mean(wins))
    else:
        assert np.isnan(found)


def test_calibration_errors() -> None:
    assert brier([0.8, 0.4], [1, 0]) == pytest.approx((0.04 + 0.16) / 2)
    assert ece([0.95] * 10, [1] * 9 + [0]) == pytest.approx(0.05)
    assert ece([1.0, 1.0], [1, 1]) == 0
    assert ece_equal_mass([0.2] * 10 + [0.8] * 10, [0] * 10 + [1] * 10) == pytest.approx(0.2)
    p = np.linspace(0.001, 0.999, 4000)
    assert ece_equal_mass(p, np.random.default_rng(0).random(4000) < p) < 0.03


def test_recovered_gap() -> None:
    assert recovered_gap(0.4, 0.55, 0.7) == pytest.approx(0.5)
    assert np.isnan(recovered_gap(1.0, 1.0, 1.0))


def test_the_bootstrap_covers_the_mean_and_is_seeded() -> None:
    values = np.random.default_rng(1).normal(size=400)
    found = bootstrap(400, lambda drawn: float(values[drawn].mean()), seed=0)
    assert found == bootstrap(400, lambda drawn: float(values[drawn].mean()), seed=0)
    assert found["high"] - found["low"] == pytest.approx(4 * 1.96 / 40, rel=0.25)  # 2 * 1.96 / sqrt(400)


def test_perfect_scores_give_a_perfect_evaluation() -> None:
    gold = [
        GoldSolution("a", "p", ("good", "bad", "good"), 1),
        GoldSolution("b", "q", ("good", "good"), -1),
    ]
    wrong, right = Scored("p", ("good", "bad"), "7", False), Scored("p", ("good", "good"), "8", True)
    found = evaluate_prm(Oracle(), gold, [[wrong, wrong, wrong, right], [wrong, right]])
    assert found["first_error"]["f1"]["value"] == 1
    assert found["auroc"]["value"] == 1
    assert found["calibration"]["brier"] == pytest.approx(0.01)
    assert found["calibration"]["steps"] == 4  # the step after the error has no truth
    choices = found["best_of_n"]
    assert choices["pass_at_1"]["value"] == pytest.approx((0.25 + 0.5) / 2)
    assert choices["majority"]["value"] == 0
    assert {choices[f"prm_{how}"]["value"] for how in ("min", "product", "last")} == {1}
    assert choices["weighted_vote"]["value"] == 1
    assert choices["recovered_gap"]["value"] == 1
    assert json.loads(json.dumps(found, allow_nan=False)) == found


def test_what_cannot_be_scored_is_counted_and_figures_say_of_how_many_they_are() -> None:
    gold = [
        GoldSolution("a", "p", ("endless",), -1),
        GoldSolution("b", "q", ("good",), -1),
        GoldSolution("c", "r", ("bad",), 0),
        GoldSolution("d", "s", ("bad", " "), 0),
    ]
    found = evaluate_prm(
        Oracle(), gold, [[Scored("p", ("endless",), "7", True), Scored("p", (), None, False)]]
    )
    first = found["first_error"]
    assert (first["solutions"], first["too_long"], first["unreadable"], first["measured_on"]) == (4, 1, 1, 2)
    assert (first["acc_cor"], first["acc_err"], first["f1"]["value"]) == (1, 1, 1)
    assert first["f1_if_unread_are_misses"] == 0.5
    assert found["best_of_n"]["unscored"] == 2
    assert evaluate_prm(Oracle(), [], []) == {}


@pytest.mark.parametrize(
    ("gold", "known"),
    [
        ([GoldSolution("a", "p", ("good", "good"), -1)], {"acc_cor"}),
        ([GoldSolution("a", "p", ("bad",), 0)], {"acc_err", "within_one"}),
        ([GoldSolution("a", "p", ("endless",), 0)], set()),
    ],
)
def test_what_one_kind_of_solution_cannot_tell_is_null(gold: list[GoldSolution], known: set[str]) -> None:
    found = json.loads(json.dumps(evaluate_prm(Oracle(), gold, []), allow_nan=False))
    first = found["first_error"]
    assert {name for name in ("acc_cor", "acc_err", "within_one") if first[name] is not None} == known
    for figure in (first["f1"], found["auroc"]):
        assert figure == {"value": None, "low": None, "high": None}


class Constant(Oracle):
    def __init__(self, score: float) -> None:
        self._score = score

    def score_many(self, items: Sequence[tuple[str, Sequence[str]]]) -> list[list[float]]:
        return [[self._score] * len(steps) for _, steps in items]


def test_a_scorer_that_never_says_wrong_is_told_so() -> None:
    gold = [GoldSolution("a", "p", ("good",), -1), GoldSolution("b", "q", ("good", "bad"), 1)]
    found = evaluate_prm(Constant(0.9), gold, [])["first_error"]
    assert (found["note"], found["f1"]["value"]) == ("never says wrong at 0.5", 0)
    assert "note" not in evaluate_prm(Constant(0.1), gold, [])["first_error"]


@pytest.mark.parametrize("score", [float("nan"), float("inf"), -0.1, 1.5])
def test_a_score_that_is_no_probability_is_an_error_with_its_row(score: float) -> None:
    with pytest.raises(UserError, match="solution of 'the problem' are not 1 probabilities"):
        evaluate_prm(Constant(score), [GoldSolution("a", "the problem", ("good",), -1)], [])


@pytest.mark.parametrize("name", ["gsm8k", "math", "olympiadbench", "omnimath"])
def test_perfect_predictions_on_the_public_files(name: str) -> None:
    files = sorted(DATA.glob(f"processbench/{name}*.jsonl*"))
    if not files:
        pytest.skip("no ProcessBench files: set STEPMINT_DATA")
    gold = load_gold(files[0])
    labels = [item.first_error for item in gold]
    assert first_error_f1(labels, labels)["f1"] == 1


def test_gold_files_are_read_plain_and_packed(tmp_path: Path) -> None:
    row = {"id": "x", "problem": "p", "steps": ["a\u2028b", "c"], "final_answer_correct": False, "label": 1}
    text = json.dumps(row, ensure_ascii=False) + "\n"
    (tmp_path / "a.jsonl").write_text(text, encoding="utf-8")
    (tmp_path / "a.jsonl.gz").write_bytes(gzip.compress(text.encode()))
    wanted = [GoldSolution("x", "p", ("a\u2028b", "c"), 1)]
    assert load_gold(tmp_path / "a.jsonl") == load_gold(tmp_path / "a.jsonl.gz") == wanted


@pytest.mark.parametrize(
    "line",
    [
        "{",
        "[]",
        '{"problem": "p", "steps": "ab", "label": 0}',
        '{"problem": "p", "steps": ["a"], "label": 1}',
    ],
)
def test_a_bad_gold_row_is_named(tmp_path: Path, line: str) -> None:
    file = tmp_path / "bad.jsonl"
    file.write_text('{"problem": "p", "steps": ["a"], "label": -1}\n' + line + "\n", encoding="utf-8")
    with pytest.raises(UserError, match=r"bad\.jsonl:2: not a ProcessBench row"):
        load_gold(file)
    with pytest.raises(UserError, match="no such file"):
        load_gold(tmp_path / "none.jsonl")
