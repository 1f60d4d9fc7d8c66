"""What the reader is taught is true, and it begins as the policy it is made of."""

import random
from types import SimpleNamespace
from typing import Any

import torch
from transformers import LlamaForCausalLM

from pipeline.embedded.problems.language import PIECES, build_tokenizer
from pipeline.embedded.problems.lessons import case
from pipeline.embedded.problems.mistakes import Case, reference
from pipeline.embedded.training import misread
from pipeline.embedded.training.reading import LAYERS, Doubts, Marked, Reader, Readings, deepened
from pipeline.embedded.training.recipe import Recipe, build_model

TOKENIZER = build_tokenizer()


def written(n: int) -> list[tuple[Case, list[misread.Written]]]:
    rng = random.Random(5)
    posed = [case(rng, rng.randint(1, 8)) for _ in range(n)]
    return [(one, misread.solution(one, rng)) for one in posed]


def test_a_step_is_marked_exactly_where_exact_truth_says_it_is_wrong() -> None:
    kinds = {"step": 0, "answer": 0, "none": 0}
    for posed, steps in written(400):
        for step in steps:
            text, _, answer = step.text.partition("\n####")
            is_wrong = misread.is_true(posed, text) is False
            is_wrong |= bool(answer) and answer.strip() != posed.answer
            assert (step.mistaken_from is not None) == is_wrong, (posed.text, step)
            place = step.mistaken_from
            kinds["none" if place is None else "answer" if place > len(PIECES.findall(text)) else "step"] += 1
    assert min(kinds.values()) > 50, kinds


def test_the_marked_piece_is_there() -> None:
    for _, steps in written(400):
        for step in steps:
            assert step.mistaken_from is None or step.mistaken_from < len(PIECES.findall(step.text))


def test_a_reference_answers_with_its_last_step_alone() -> None:
    rng = random.Random(8)
    for _ in range(100):
        posed = case(rng, rng.randint(1, 8))
        asked = [misread.subject_of(posed, s) == misread.asked_for(posed) for s in reference(posed)]
        assert asked == [False] * (len(asked) - 1) + [True]


def test_marks_cover_the_solution_and_nothing_else() -> None:
    readings = Readings(TOKENIZER, 3)
    step_end = TOKENIZER.get_vocab()["\n"]
    for _ in range(100):
        text = readings.text()
        assert len(text.ids) == len(text.mistaken) == len(text.answers)
        start = next(i for i, mark in enumerate(text.mistaken) if mark >= 0)
        assert set(text.mistaken[:start]) == {-1.0}
        assert min(text.mistaken[start:]) >= 0
        assert all(text.ids[i] == step_end for i, mark in enumerate(text.answers) if mark >= 0)
        assert text.ids[-1] == step_end
        assert text.answers[-1] >= 0


def policy() -> LlamaForCausalLM:
    model = build_model(Recipe(), TOKENIZER)
    with torch.no_grad():
        for weights in model.parameters():
            weights.add_(0.02 * torch.randn_like(weights))
    return model.eval()


def test_the_new_layers_add_nothing_at_first_and_look_back() -> None:
    shallow = policy()
    deep = deepened(shallow, 1).eval()
    ids = torch.randint(5, len(TOKENIZER), (2, 50), generator=torch.Generator().manual_seed(0))
    deep.set_attn_implementation("eager")
    with torch.inference_mode():
        found = deep(input_ids=ids, output_attentions=True, use_cache=False)
        assert torch.allclose(found.logits, shallow(input_ids=ids).logits, atol=1e-4)
    assert len(found.attentions) == shallow.config.num_hidden_layers + LAYERS
    rows = torch.arange(10, 50)
    assert found.attentions[-LAYERS][0, 0, rows, rows - 1].min() > 0.9


def test_padding_and_unmarked_tokens_have_no_part_in_the_loss() -> None:
    reader = Reader(policy(), step_end=7)
    long = Marked([1, 9, 9, 7], [-1.0, 0.0, 1.0, 1.0], [-1.0, -1.0, -1.0, 1.0])
    short = Marked([1, 9, 7], [-1.0, 0.0, 0.0], [-1.0, -1.0, 0.0])
    with torch.inference_mode():
        apart = [reader.loss([one], 0).item() for one in (long, short)]
        together = reader.loss([long, short], 0).item()
    # Weights: one for each marked token, four for a step's end, on either head.
    assert abs(together - (apart[0] * 10 + apart[1] * 9) / 19) < 1e-5


def changes(before: Marked, after: Marked) -> list[int]:
    return [i for i, (a, b) in enumerate(zip(before.ids, after.ids, strict=True)) if a != b]


def test_replaced_tokens_are_marked_to_their_steps_end_and_nothing_else_is() -> None:
    readings, pieces = Readings(TOKENIZER, 4), TOKENIZER.get_vocab()
    texts = [readings.text() for _ in range(60)]
    found = Doubts(policy(), TOKENIZER, 1).replaced(texts)
    assert Doubts(policy(), TOKENIZER, 1).replaced(texts) == found
    n_replaced = 0
    for before, after in zip(texts, found, strict=True):
        at = changes(before, after)
        if 1.0 in before.mistaken:
            assert after == before
            continue
        expected = [float(mark) for mark in before.mistaken]
        for place in at:
            assert before.mistaken[place] == 0.0, "the problem is left alone"
            assert not {before.ids[place], after.ids[place]} & {
                pieces["\n"],
                pieces["#"],
                *TOKENIZER.all_special_ids,
            }
            end = before.ids.index(pieces["\n"], place) + 1
            expected[place:end] = [1.0] * (end - place)
        assert after.mistaken == expected
        assert after.answers == before.answers
        n_replaced += len(at)
    assert n_replaced > 20


def test_what_is_replaced_is_what_the_policy_doubts() -> None:
    """A policy that is sure of everything but names after "than", where it would as soon write another."""
    pieces = TOKENIZER.get_vocab()
    than, other = pieces[" than"], pieces[" Zoe"]

    class Torn:
        device = torch.device("cpu")

        def __call__(self, input_ids: torch.Tensor, **_: Any) -> SimpleNamespace:
            logits = torch.zeros(*input_ids.shape, len(pieces))
            logits[:, :-1].scatter_(2, input_ids[:, 1:, None], 40.0)
            logits[..., other] += 40.0 * (input_ids == than)
            return SimpleNamespace(logits=logits)

    readings = Readings(TOKENIZER, 6)
    texts = [text for text in (readings.text() for _ in range(200)) if 1.0 not in text.mistaken]
    open_to_doubt = taken = 0
    for before, after in zip(texts, Doubts(Torn(), TOKENIZER, 2).replaced(texts), strict=True):
        places = [
            i
            for i, mark in enumerate(before.mistaken)
            if mark == 0.0 and before.ids[i - 1] == than and before.ids[i] != other
        ]
        if places:
            open_to_doubt += 1
            taken += any(after.ids[place] == other for place in places)
    assert open_to_doubt > 20
    assert taken / open_to_doubt > 0.5  # each of the drawn places is taken with probability 0.7


def test_the_base_scores_as_the_reader_does_up_to_its_bias() -> None:
    reader = Reader(policy(), step_end=7)
    ids = torch.randint(5, len(TOKENIZER), (2, 40), generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        mistaken = (
            reader.heads(reader.model.model(input_ids=ids).last_hidden_state)[..., 0] - reader.heads.bias[0]
        )
        scores = reader.base().eval()(input_ids=ids).logits
    assert torch.allclose(scores[..., 1] - scores[..., 0], -mistaken, atol=1e-5)
