"""What the reader is taught is true, and it begins as the policy it is made of."""

import random

import torch
from transformers import LlamaForCausalLM

from pipeline.embedded import misread
from pipeline.embedded.language import PIECES, build_tokenizer
from pipeline.embedded.lessons import case
from pipeline.embedded.mistakes import Case, reference
from pipeline.embedded.reading import LAYERS, Marked, Reader, Readings, deepened
from pipeline.embedded.recipe import Recipe, build_model

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
