"""Any causal language model becomes a PRM; what cannot be one is said before labels are paid for."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import (
    AutoConfig,
    AutoModelForTokenClassification,
    BertConfig,
    BertLMHeadModel,
    PreTrainedTokenizerFast,
    T5Config,
)
from transformers.models.auto.configuration_auto import CONFIG_MAPPING
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING

from pipeline.policies.opening import EMBEDDED, PREPARED
from pipeline.prm.bases import Base, check_base, open_base, open_model
from pipeline.prm.model import PRM, PrmCard
from pipeline.prm.score import unread
from schemas.config import TrainConfig
from schemas.errors import UserError

TEMPLATE = "Problem: {problem}\n"
TEXTS = ["Mia is neat. Tom has 4 apples.", "Everyone who is glad is quick."]
SMALL = {
    "vocab_size": 128, "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "head_dim": 8,
    "num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 64, "pad_token_id": 0,
    "bos_token_id": 1, "eos_token_id": 2,
}  # fmt: skip


def make_base(folder: Path, kind: str, **changes: Any) -> str:
    """A tiny random language model of a family, with the embedded tokenizer."""
    torch.manual_seed(0)
    config = CONFIG_MAPPING[kind](**{**SMALL, **changes})
    MODEL_FOR_CAUSAL_LM_MAPPING[type(config)](config).save_pretrained(folder)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copyfile(EMBEDDED / name, folder / name)
    return str(folder)


def opened(model: str, **changes: Any) -> Base:
    return open_base(TrainConfig(model=model, **changes))


@pytest.fixture
def llama(tmp_path: Path) -> Path:
    make_base(tmp_path / "llama", "llama")
    return tmp_path / "llama"


@pytest.mark.parametrize(
    ("kind", "changes"),
    [
        ("llama", {}),
        ("gemma3_text", {}),
        ("qwen3", {}),
        ("gpt2", {}),
        ("gpt_neox", {}),
        ("opt", {"word_embed_proj_dim": 32, "ffn_dim": 64}),
        ("mamba", {"state_size": 4}),
        ("olmoe", {"num_experts": 4, "num_experts_per_tok": 2}),
    ],
)
def test_a_family_becomes_a_prm_and_comes_back(kind: str, changes: dict[str, Any], tmp_path: Path) -> None:
    name = make_base(tmp_path / "base", kind, **changes)
    assert check_base(TrainConfig(model=name), TEMPLATE, TEXTS)["type"] == kind
    base = opened(name)
    model = open_model(base).train()
    ids = torch.tensor([[1, 20, 30, base.step_end]])
    optimiser = torch.optim.SGD(model.parameters(), lr=0.1)
    before = model.get_input_embeddings().weight.detach().clone()
    model(input_ids=ids, use_cache=False).logits[0, -1, 0].backward()
    optimiser.step()
    assert not torch.equal(before, model.get_input_embeddings().weight)
    prm = PRM(model, base.tokenizer, PrmCard(template=TEMPLATE, step_end=base.step_end, max_length=64))
    prm.save(tmp_path / "prm")
    again = PRM.load(tmp_path / "prm", device="cpu")
    assert again.score_steps(TEXTS[0], TEXTS) == pytest.approx(prm.score_steps(TEXTS[0], TEXTS), abs=1e-6)
    assert json.loads((tmp_path / "prm" / "config.json").read_text())["architectures"][0].endswith(
        "ForTokenClassification"
    )


def test_of_a_model_that_also_sees_the_language_model_is_taken(tmp_path: Path) -> None:
    text = {**SMALL, "layer_types": ["full_attention"] * 2}
    vision = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 1}
    name = make_base(
        tmp_path / "base",
        "gemma3",
        text_config=text,
        vision_config={**vision, "image_size": 28, "patch_size": 14},
    )
    base = opened(name)
    assert base.config.model_type == "gemma3_text"
    model = open_model(base)
    assert not [key for key, _ in model.named_parameters() if "vision" in key]
    prm = PRM(model, base.tokenizer, PrmCard(template=TEMPLATE, step_end=base.step_end, max_length=64))
    prm.save(tmp_path / "prm")
    again = PRM.load(tmp_path / "prm", device="cpu")
    assert again.score_steps(TEXTS[0], TEXTS) == pytest.approx(prm.score_steps(TEXTS[0], TEXTS), abs=1e-6)


def test_a_new_step_token_begins_as_the_newline(llama: Path) -> None:
    base = opened(str(llama))
    rows = open_model(base).get_input_embeddings().weight
    assert torch.equal(rows[base.step_end], rows[base.tokenizer.convert_tokens_to_ids("\n")])


def test_a_prm_that_is_trained_on_keeps_its_step_token_as_it_learnt_it(llama: Path, tmp_path: Path) -> None:
    base = opened(str(llama))
    model = open_model(base)
    with torch.no_grad():
        model.get_input_embeddings().weight[base.step_end] = 0.5
    card = PrmCard(template=TEMPLATE, step_end=base.step_end, max_length=64)
    PRM(model, base.tokenizer, card).save(tmp_path / "prm")
    again = opened(str(tmp_path / "prm"))
    assert (again.step_end, again.is_prm) == (base.step_end, True)
    assert open_model(again).get_input_embeddings().weight[base.step_end].tolist() == [0.5] * 32


def test_embeddings_grow_for_an_added_token(llama: Path) -> None:
    base = opened(str(llama))
    tokenizer = PreTrainedTokenizerFast.from_pretrained(llama)
    tokenizer.add_tokens([f"word{n}" for n in range(40)])
    tokenizer.save_pretrained(llama)
    grown = opened(str(llama))
    assert open_model(grown).get_input_embeddings().weight.shape[0] == len(tokenizer) > 128
    assert grown.step_end == base.step_end


def test_the_length_is_what_the_base_reads(llama: Path) -> None:
    assert opened(str(llama)).max_length == 64
    assert opened(str(llama), max_length=32).max_length == 32
    with pytest.raises(UserError, match="max_length = 65: .* reads no more than 64 tokens"):
        opened(str(llama), max_length=65)
    assert opened("embedded-reader").max_length == 1024


def test_a_vocabulary_that_is_not_the_datas_is_refused_with_its_share(llama: Path) -> None:
    alien = ["\u0391\u03bd \u03ba\u03ac\u03c0\u03bf\u03b9\u03bf\u03c2 \u03ad\u03c7\u03b5\u03b9"] * 3
    assert unread(opened(str(llama)).tokenizer, TEXTS[1:]) == 0
    with pytest.raises(UserError, match=r"reads 100% of the text as unknown tokens"):
        check_base(TrainConfig(model=str(llama)), TEMPLATE, alien)
    assert unread(opened(str(llama)).tokenizer, []) == 0


def test_problems_that_are_too_long_are_counted(llama: Path) -> None:
    found = check_base(TrainConfig(model=str(llama)), TEMPLATE, [*TEXTS, "Mia is neat. " * 30])
    assert (found["problems_tried"], found["problems_too_long"]) == (3, 1)


def _break(folder: Path, how: str) -> None:
    match how:
        case "no folder":
            shutil.rmtree(folder)
        case "no weights":
            (folder / "model.safetensors").unlink()
        case "pointer":
            (folder / "model.safetensors").write_text(
                "version https://git-lfs.github.com/spec/v1\noid sha256:0"
            )
        case "no config":
            (folder / "config.json").unlink()
        case "unknown type":
            (folder / "config.json").write_text('{"model_type": "hal9000"}')
        case "nonsense":
            (folder / "config.json").write_text('{"model_type": "llama", "hidden_size": "wide"}')
        case "no tokenizer":
            (folder / "tokenizer.json").unlink()
            (folder / "tokenizer_config.json").unlink()
        case "encoder-decoder":
            T5Config().save_pretrained(folder)
        case "encoder":
            BertConfig(num_hidden_layers=1).save_pretrained(folder)


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ("no folder", "not a model that transformers can load"),
        ("no weights", "holds no weights"),
        ("pointer", r"model\.safetensors: "),
        ("no config", "not a model that transformers can load"),
        ("unknown type", "hal9000"),
        ("nonsense", "hidden_size"),
        ("no tokenizer", "not a model that transformers can load"),
        ("encoder-decoder", "not one of type 't5'"),
        ("encoder", "reads ahead"),
    ],
)
def test_what_cannot_be_a_base_is_one_line_before_labelling(
    llama: Path, how: str, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    _break(llama, how)
    with pytest.raises(UserError, match=said) as caught:
        check_base(TrainConfig(model=str(llama)), TEMPLATE, TEXTS)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 500


def test_a_model_that_reads_ahead_is_noticed_whatever_it_is_called(llama: Path) -> None:
    config = BertConfig(
        vocab_size=128, hidden_size=32, num_hidden_layers=1, num_attention_heads=2, intermediate_size=32,
        is_decoder=True,
    )  # fmt: skip
    BertLMHeadModel(config).save_pretrained(llama)
    assert open_model(opened(str(llama)))
    base = opened(str(llama))
    base.config.is_decoder = False
    with pytest.raises(UserError, match="reads ahead"):
        open_model(base)


def test_missing_weights_are_no_new_weights(llama: Path) -> None:
    config = json.loads((llama / "config.json").read_text())
    (llama / "config.json").write_text(json.dumps({**config, "num_hidden_layers": 3}))
    with pytest.raises(UserError, match="9 weights are missing"):
        open_model(opened(str(llama)))


def test_the_embedded_reader_reads_its_new_step_token_as_the_newline_it_was_taught() -> None:
    base = opened("embedded-reader")
    model = open_model(base).eval()
    plain = AutoModelForTokenClassification.from_pretrained(
        PREPARED["embedded-reader"], config=AutoConfig.from_pretrained(PREPARED["embedded-reader"])
    )
    newline = base.tokenizer.convert_tokens_to_ids("\n")
    assert base.tokenizer.convert_ids_to_tokens(base.step_end) == "<step>"
    encoded = base.encoder(TEMPLATE).encode(TEXTS[0], TEXTS)
    old = [newline if token == base.step_end else token for token in encoded.ids]
    with torch.inference_mode():
        new, before = (
            m(input_ids=torch.tensor([i])).logits for m, i in ((model, encoded.ids), (plain.float(), old))
        )
    assert torch.allclose(new, before, atol=1e-5)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"num_hidden_layers": 3}, "9 weights are missing, model.layers.2"),
        (
            {"vocab_size": 300},
            r"model.embed_tokens.weight first, which is \[128, 32\] and should be \[300, 32\]",
        ),
        ({"intermediate_size": 48}, "6 weights do not fit its config.json"),
    ],
)
def test_weights_that_do_not_fit_are_noticed_without_loading_them(
    llama: Path, changes: dict[str, int], said: str
) -> None:
    config = json.loads((llama / "config.json").read_text())
    (llama / "config.json").write_text(json.dumps({**config, **changes}))
    for look in (
        lambda: check_base(TrainConfig(model=str(llama)), TEMPLATE, TEXTS),
        lambda: open_model(opened(str(llama))),
    ):
        with pytest.raises(UserError, match=said):
            look()


def test_the_tokenizer_of_another_model_is_refused(llama: Path) -> None:
    make_base(llama, "llama", vocab_size=40)
    with pytest.raises(
        UserError, match=r"\d\d% of the text becomes tokens that its model does not have, which knows 40"
    ):
        check_base(TrainConfig(model=str(llama)), TEMPLATE, TEXTS)


def test_the_head_of_a_reward_model_is_replaced(llama: Path) -> None:
    config = AutoConfig.from_pretrained(llama, num_labels=1)
    AutoModelForTokenClassification.from_config(config).save_pretrained(llama)
    assert check_base(TrainConfig(model=str(llama)), TEMPLATE, TEXTS)["type"] == "llama"
    assert list(open_model(opened(str(llama))).score.weight.shape) == [2, 32]
