"""Guesses: where a text goes on as one did before, what comes next is known; and what guesses are worth."""

import numpy as np
import pytest

from pipeline.policies.transformers.drafts import _TEXTS, TAIL, Drafts, guesses_worth, luck_after


def tail(ids: list[int]) -> list[int]:
    return [*[-1] * (TAIL - len(ids)), *ids[-TAIL:]]


def test_the_longest_context_tells_which_text_goes_on() -> None:
    drafts = Drafts()
    one, other = [9, 8, 7, 6, 1, 2, 3, 40, 41, 42], [5, 5, 5, 5, 1, 2, 3, 50, 51, 52]
    for text in (one, other, [77]):
        drafts.learn(text)
    tails = [tail(one[:7]), tail(other[:7]), tail([0, 1, 2, 3])]
    found = drafts.guess(np.array(tails), 3).tolist()
    # The last one has three tokens in common with both: what was read last is likelier.
    assert found == [one[7:], other[7:], other[7:]]


def test_old_texts_make_room_for_new_ones() -> None:
    drafts, rng = Drafts(), np.random.default_rng(0)
    drafts.learn([1, 2, 3, 4, 5])
    for _ in range(3):
        drafts.learn(rng.integers(10, 99, _TEXTS // 2).tolist())
    drafts.learn(rng.integers(10, 99, 2 * _TEXTS).tolist())
    drafts.learn([6, 7, 8, 9, 5])
    assert drafts.guess(np.array([tail([6, 7, 8])]), 2).tolist() == [[9, 5]]
    assert drafts.guess(np.array([tail([1, 2, 3])]), 0).shape == (1, 0)


def test_guesses_pay_for_few_rows_of_a_small_model_that_can_be_guessed() -> None:
    small, large = 1.1, 270.0
    few, many = guesses_worth(2, 0.8, small, 9), guesses_worth(200, 0.8, small, 9)
    assert few > many >= guesses_worth(200, 0.8, large, 9) == 0
    assert guesses_worth(1, 0.9, large, 9) > 0
    assert guesses_worth(2, 0.95, small, 9) > few > guesses_worth(2, 0.3, small, 9)
    assert guesses_worth(2, 0.0, small, 9) == 0


@pytest.mark.parametrize("right", [0.0, 1.0])
def test_guesses_that_fail_end_and_are_tried_again(right: float) -> None:
    luck, widths = 1.0, []
    for _ in range(500):
        width = 1 + guesses_worth(4, luck, 50.0, 9)
        widths.append(width)
        luck = luck_after(luck, np.full(4, width if right else 1), width)
    late = widths[100:]
    assert (min(late) > 1) if right else (1 in late and max(late) == 2 and late.count(2) < 100)


def test_a_full_batch_gives_up_guesses_that_do_not_pay_after_a_few_steps() -> None:
    luck, widths, rows = 1.0, [], np.arange(125)
    for _ in range(200):
        width = 1 + guesses_worth(len(rows), luck, 1.1, 300)
        widths.append(width)
        right = rows % 5 < 2  # two of five are too few: a step with one guess takes 1.6 times as long
        luck = luck_after(luck, np.where(right, width, 1), width)
    assert 1 <= sum(width > 1 for width in widths[:20]) <= 8
    assert 1 <= sum(width > 1 for width in widths[20:]) <= 8
