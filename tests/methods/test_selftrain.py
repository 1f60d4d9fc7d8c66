"""What a round of self-training learns: right solutions once each, and quality values of all graded ones."""

from typing import Any

import pytest

from pipeline.inputs.segment import segment
from pipeline.methods.counts import Count
from pipeline.methods.selftrain import lessons, pass_rate, value_rows
from pipeline.methods.stored import Run
from pipeline.prompts.filling import fill
from pipeline.prompts.templates import load_template


class Doubting:
    """A value model that likes long steps: its scores are a step's length."""

    def score_steps(self, problem: str, steps: list[str]) -> list[float]:
        return [float(len(step)) for step in steps]


def test_lessons_are_right_solutions_each_once(run: Run) -> None:
    found = list(lessons(run, 3))
    template = load_template(run.config.prompt.template)
    assert found
    assert len(set(found)) == len(found)
    for lesson in found:
        assert lesson.text.endswith("#### right")
        assert lesson.prompt.startswith(fill(template, problem="Problem ")[:8])
    by_prompt = [lesson.prompt for lesson in found]
    assert max(map(by_prompt.count, by_prompt)) <= 3


def test_a_value_model_chooses(make_run: Any) -> None:
    # Steps that recover: the right solutions of a problem differ.
    run = make_run(2, policy={"kind": "simulated", "slip": 0.4, "recover": 0.4, "n_steps": 3})
    everything = [lesson.text for lesson in lessons(run, 99)]
    assert len(set(everything)) > 2
    for value_model in (None, Doubting()):
        chosen = list(lessons(run, 1, value_model))  # type: ignore[arg-type]
        assert len(chosen) == 2
    best = {lesson.prompt: lesson.text for lesson in lessons(run, 1, Doubting())}  # type: ignore[arg-type]
    for lesson in lessons(run, 99):
        weakest = [min(len(s.text) for s in segment(text)) for text in (best[lesson.prompt], lesson.text)]
        assert weakest[0] >= weakest[1]


def test_values_are_soft_labels_of_every_graded_solution(run: Run) -> None:
    rows = list(value_rows(run))
    assert {row.solution.outcome for row in rows} == {"correct", "incorrect"}
    for row in rows:
        p = [label.p for label in row.labels]
        assert len(p) == len(row.solution.steps) == 5
        if row.solution.outcome == "correct":
            assert p == pytest.approx([0.2, 0.4, 0.6, 0.8, 1.0])
        else:
            assert p[-1] is not None
            assert p[-1] < 0.8
        assert all(label.label is None for label in row.labels)


def test_an_answer_drawn_alone_belongs_to_the_step_before(make_run: Any) -> None:
    from pipeline.methods.stored import Stored

    run = make_run(1)
    stored = next(iter(run))
    drawn = stored.rollouts[0].model_copy(
        update={"prefix": "a\nb\n", "text": "#### right", "outcome": "correct", "stopped": "stop"}
    )

    class One(Run):
        def __iter__(self):  # type: ignore[no-untyped-def]
            yield Stored(stored.finished, (drawn,))

    (row,) = value_rows(One(run._store))
    assert [step.text for step in row.solution.steps] == ["a", "b\n#### right"]
    assert [label.p for label in row.labels] == pytest.approx([1 / 3, 1.0])
    assert [lesson.text for lesson in lessons(One(run._store), 4)] == ["a\nb\n#### right"]


def test_pass_rate(run: Run) -> None:
    rate = pass_rate(run)
    assert rate == Count(rate.correct, 6 * 16 + rate.n - 96, 0)
    assert 0 < rate.correct < rate.n
