"""The recipe's model begins as its docstring says, and its lessons cover what they should."""

from dataclasses import replace
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM, AutoModelForTokenClassification

from pipeline.embedded.problems.language import PIECES, build_tokenizer
from pipeline.embedded.training.reading import LAYERS
from pipeline.embedded.training.recipe import Curriculum, Recipe, Text, batches, build_model, tensors, train

TOKENIZER = build_tokenizer()
RECIPE = Recipe(tokens=60_000, recall_tokens=20_000)


def test_three_heads_begin_by_looking_back() -> None:
    model = build_model(RECIPE, TOKENIZER)
    model.set_attn_implementation("eager")
    ids = torch.randint(5, len(TOKENIZER), (1, 60), generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        attention = model(input_ids=ids, output_attentions=True, use_cache=False).attentions[0][0]
    for head, offset in enumerate((1, 2, 3)):
        rows = torch.arange(10, 60)
        assert attention[head, rows, rows - offset].min() > 0.9, (head, offset)


def test_a_new_model_predicts_nothing_yet() -> None:
    model = build_model(RECIPE, TOKENIZER)
    ids = torch.arange(5, 45)[None]
    with torch.inference_mode():
        p = model(input_ids=ids, use_cache=False).logits.softmax(-1)
    assert p.max() < 0.3


def test_every_lesson_is_within_the_vocabulary_and_has_something_to_learn() -> None:
    curriculum = Curriculum(TOKENIZER, RECIPE)
    for seen in (0, 19_000, 30_000, 59_000):
        for _ in range(100):
            text = curriculum.text(seen)
            assert len(text.ids) == len(text.weights) <= 1024
            assert any(text.weights)
            assert not text.weights[0], "nothing predicts the first token"


def test_batches_end_with_the_budget_and_hold_texts_of_like_length() -> None:
    groups = list(batches(Curriculum(TOKENIZER, RECIPE).text, RECIPE, RECIPE.tokens))
    seen = sum(len(text.ids) for _, group in groups for text in group)
    width = sum(max(len(text.ids) for text in group) * len(group) for _, group in groups)
    assert RECIPE.tokens <= seen < RECIPE.tokens + 2 * RECIPE.batch_tokens
    assert seen / width > 0.9, "too much padding"
    assert groups[-1][0] == 1.0


def test_padding_has_no_weight() -> None:
    ids, weights = tensors([Text([1, 7, 2], [0.0, 1.0, 1.0]), Text([1, 2], [0.0, 3.0])], pad=0)
    assert ids.tolist() == [[1, 7, 2], [1, 2, 0]]
    assert weights.tolist() == [[0.0, 1.0, 1.0], [0.0, 3.0, 0.0]]


def test_the_tokenizer_gives_every_text_back() -> None:
    curriculum = Curriculum(TOKENIZER, RECIPE)
    for _ in range(50):
        ids = [i for i in curriculum.text(50_000).ids if i > 4]
        text = TOKENIZER.decode(ids)
        assert TOKENIZER(text, add_special_tokens=False).input_ids == ids
        assert len(PIECES.findall(text)) == len(ids)


def test_one_command_leaves_a_policy_and_a_reader_and_any_stage_can_be_done_again(tmp_path: Path) -> None:
    small = Recipe(tokens=6_000, recall_tokens=2_000, review_tokens=3_000, read_tokens=3_000, hidden=32)
    found = train(replace(small, heads=4, feed_forward=32, layers=2), tmp_path, device="cpu")
    assert list(found) == ["solve", "review", "read", "seconds"]
    policy = AutoModelForCausalLM.from_pretrained(tmp_path / "checkpoint")
    reader = AutoModelForTokenClassification.from_pretrained(tmp_path / "reader")
    assert (policy.dtype, reader.dtype) == (torch.float32, torch.bfloat16)
    assert reader.config.num_hidden_layers == policy.config.num_hidden_layers + LAYERS
    kept = (tmp_path / "checkpoint" / "model.safetensors").read_bytes()
    assert list(train(small, tmp_path, device="cpu", first="read")) == ["read", "seconds"]
    assert (tmp_path / "checkpoint" / "model.safetensors").read_bytes() == kept
