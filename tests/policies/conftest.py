"""Tiny models with random weights: what is tested is decoding, not what a model knows."""

from pathlib import Path

import pytest

WORDS = [
    "the",
    "a",
    "cat",
    "dog",
    "sat",
    "on",
    "mat",
    ".",
    "0",
    "1",
    "2",
    "3",
    "4",
    "5",
    "6",
    "7",
    "8",
    "9",
    "+",
    "=",
    "?",
    "Q:",
    "A:",
    "apples",
    "has",
]


def save_tokenizer(folder: Path) -> int:
    """A word tokenizer that adds BOS; returns the size of its vocabulary."""
    from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    pieces = ["<pad>", "<s>", "</s>", "<unk>", "\n", *WORDS, *(f" {word}" for word in WORDS)]
    core = Tokenizer(models.WordLevel({word: i for i, word in enumerate(pieces)}, unk_token="<unk>"))
    core.pre_tokenizer = pre_tokenizers.Split(Regex(r" ?[^\s]+|\n|\s"), behavior="isolated")
    core.decoder = decoders.Fuse()
    core.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 1)])
    PreTrainedTokenizerFast(
        tokenizer_object=core,
        pad_token="<pad>",
        bos_token="<s>",
        eos_token="</s>",
        unk_token="<unk>",
        clean_up_tokenization_spaces=False,
    ).save_pretrained(folder)
    return len(pieces)


def save_model(folder: Path, kind: str) -> Path:
    """A checkpoint of one of three architectures, with a word tokenizer that adds BOS."""
    import torch
    from transformers import (
        Gemma3ForCausalLM,
        Gemma3TextConfig,
        LlamaConfig,
        LlamaForCausalLM,
        Qwen3Config,
        Qwen3ForCausalLM,
    )

    shape = {
        "vocab_size": save_tokenizer(folder),
        "hidden_size": 128,  # heads of 32, the least that vLLM attends to on a CPU
        "intermediate_size": 96,
        "num_hidden_layers": 3,
        "num_attention_heads": 4,
        "max_position_embeddings": 128,
        "initializer_range": 0.5,
        "pad_token_id": 0,
        "bos_token_id": 1,
        "eos_token_id": 2,
    }
    torch.manual_seed(1)
    match kind:
        case "llama":
            model = LlamaForCausalLM(LlamaConfig(**shape))
        case "qwen3":
            model = Qwen3ForCausalLM(Qwen3Config(**shape, num_key_value_heads=2, head_dim=16))
        case _:
            layers = ["sliding_attention", "full_attention", "sliding_attention"]
            sizes = {
                "tie_word_embeddings": False,
                "num_key_value_heads": 1,
                "head_dim": 16,
                "sliding_window": 6,
                "layer_types": layers,
            }
            model = Gemma3ForCausalLM(Gemma3TextConfig(**shape, **sizes))
    model.float().save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Folders of the tiny models by architecture."""
    root = tmp_path_factory.mktemp("models")
    return {kind: str(save_model(root / kind, kind)) for kind in ("llama", "qwen3", "gemma3")}
