"""Which families of language models can be the base of a PRM."""

import tempfile
import warnings
from collections import Counter
from contextlib import suppress
from pathlib import Path
from typing import Any

from huggingface_hub.errors import StrictDataclassError

Figures = dict[str, Any]
_TEXT = "Mia is neat. Everyone who is glad is quick."
# Names that families use for the same few sizes; set to small numbers that divide each other as heads and
# widths must.
_SMALL = {
    **dict.fromkeys(("vocab_size", "vocab_size_per_layer_input"), 272),
    **dict.fromkeys(("hidden_size", "n_embd", "d_model", "dim", "word_embed_proj_dim"), 64),
    **dict.fromkeys(("intermediate_size", "ffn_dim", "decoder_ffn_dim", "encoder_ffn_dim"), 64),
    **dict.fromkeys(("num_hidden_layers", "n_layer", "n_layers", "num_layers", "decoder_layers"), 2),
    **dict.fromkeys(("num_attention_heads", "n_head", "n_heads", "decoder_attention_heads"), 4),
    **dict.fromkeys(("num_experts", "num_local_experts", "n_routed_experts"), 4),
    **dict.fromkeys(("num_key_value_heads", "num_experts_per_tok"), 2),
    **dict.fromkeys(("max_position_embeddings", "n_positions"), 128),
    **dict.fromkeys(("moe_intermediate_size", "shared_expert_intermediate_size"), 32),
    **dict.fromkeys(("q_lora_rank", "kv_lora_rank", "head_dim", "v_head_dim"), 16),
    **dict.fromkeys(("qk_rope_head_dim", "qk_nope_head_dim", "rotary_dim", "state_size"), 8),
    **dict.fromkeys(("n_group", "topk_group", "first_k_dense_replace", "n_shared_experts"), 1),
    **{"num_heads": 8, "expand": 2, "time_step_rank": 4, "hidden_size_per_layer_input": 8},
    **{"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2},
}
# Weights of the largest model that is tried: it must be built and trained for a step quickly.
_LARGEST = 20_000_000
_UNBUILT = (
    *(ArithmeticError, AttributeError, AssertionError, ImportError, LookupError, NotImplementedError),
    *(OSError, RuntimeError, StrictDataclassError, TypeError, ValueError),
)
"""What a configuration raises that cannot be made small in this crude way."""


def bases() -> Figures:
    """Share of transformers' causal language model types of which a tiny random model becomes a PRM: opened,
    one gradient step, saved, and loaded again with equal scores. Baseline: the share that has a token
    classifier of its own in transformers, so that `AutoModelForTokenClassification` opens it.

    `n` is the types whose tiny model could be built at all; the others are listed with what stopped it.
    """
    from transformers.models.auto.modeling_auto import (
        MODEL_FOR_CAUSAL_LM_MAPPING_NAMES,
        MODEL_FOR_TOKEN_CLASSIFICATION_MAPPING_NAMES,
    )
    from transformers.utils import logging

    logging.set_verbosity_error()
    logging.disable_progress_bar()
    outcome = {kind: _outcome(kind) for kind in MODEL_FOR_CAUSAL_LM_MAPPING_NAMES}
    built = [kind for kind, found in outcome.items() if not found.startswith("not built")]
    fine = [kind for kind in built if outcome[kind] == "ok"]
    known = [kind for kind in built if kind in MODEL_FOR_TOKEN_CLASSIFICATION_MAPPING_NAMES]
    failed = {kind: found for kind, found in outcome.items() if found != "ok"}
    counts = Counter(found.partition(":")[0] for found in outcome.values())
    return {
        "value": len(fine) / len(built),
        "unit": "types",
        "baseline": len(known) / len(built),
        "n": len(built),
        "details": {"types": len(outcome), **counts, "failed": failed},
    }


def _outcome(kind: str) -> str:
    import torch
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING
    from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING

    from schemas.errors import UserError

    with tempfile.TemporaryDirectory() as scratch, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        folder = Path(scratch) / "base"
        try:
            config = _shrunk(CONFIG_MAPPING[kind]())
            build = MODEL_FOR_CAUSAL_LM_MAPPING[type(config)]
            # Counted without memory: some families stay huge, whatever is made small.
            with torch.device("meta"):
                size = sum(weight.numel() for weight in build(config).parameters())
            if size > _LARGEST:
                return f"not built: {size:,} weights are too many to try"
            model = build(config).float()
            model(input_ids=torch.arange(3, 15)[None], use_cache=False)
            model.save_pretrained(folder)
        except _UNBUILT as error:
            return f"not built: {type(error).__name__}: {str(error).strip().partition(chr(10))[0][:120]}"
        _tokenizer().save_pretrained(folder)
        try:
            return _trained(str(folder), Path(scratch) / "prm")
        except UserError as error:
            return f"refused: {str(error).removeprefix(f'{folder}: ')[:160]}"
        except _UNBUILT as error:
            return f"failed: {type(error).__name__}: {str(error).strip().partition(chr(10))[0][:120]}"


def _trained(base: str, out: Path) -> str:
    import torch

    from pipeline.prm.bases import check_base, open_base, open_model
    from pipeline.prm.model import PRM, PrmCard
    from schemas.config import TrainConfig

    settings = TrainConfig(model=base, max_length=120)
    check_base(settings, "{problem}\n", [_TEXT])
    opened = open_base(settings)
    model = open_model(opened).train()
    optimiser = torch.optim.SGD(model.parameters(), lr=0.01)
    ids = torch.tensor([opened.encoder("{problem}\n").encode(_TEXT, [_TEXT]).ids])
    model(input_ids=ids, use_cache=False).logits[0, -1, 0].backward()
    optimiser.step()
    prm = PRM(
        model, opened.tokenizer, PrmCard(template="{problem}\n", step_end=opened.step_end, max_length=120)
    )
    prm.save(out)
    one, two = (p.score_steps(_TEXT, [_TEXT]) for p in (prm, PRM.load(out, device="cpu")))
    # Saved and loaded again it must score the same, up to float32.
    return "ok" if abs(one[0] - two[0]) < 1e-5 else f"failed: {one} became {two}"


def _tokenizer() -> Any:
    """One that reads bytes, whatever its class makes of it: some families put pieces of their own into it."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    letters = {letter: i for i, letter in enumerate(sorted(pre_tokenizers.ByteLevel.alphabet()))}
    core = Tokenizer(models.BPE(vocab=letters, merges=[]))
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    core.decoder = decoders.ByteLevel()
    return PreTrainedTokenizerFast(tokenizer_object=core, eos_token="<end>")


def byte_model(folder: Path) -> str:
    """A tiny random language model that reads bytes, so any text; returns its folder."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    _tokenizer().save_pretrained(folder)
    torch.manual_seed(0)
    # Just large enough to be a model: what is tested with it is not what it says.
    config = LlamaConfig(
        vocab_size=272, hidden_size=16, intermediate_size=16, num_hidden_layers=1, num_attention_heads=1
    )
    LlamaForCausalLM(config).save_pretrained(folder)
    return str(folder)


def _shrunk(config: Any) -> Any:
    """The same configuration with everything in it small that has a name we know."""
    text = config.get_text_config()
    for name, value in _SMALL.items():
        # Some names are read only, or stand for one value in each layer.
        with suppress(AttributeError, NotImplementedError):
            if getattr(text, name, None) is not None:
                setattr(text, name, value)
    for name in ("layer_types", "mlp_layer_types", "layers_block_type"):
        if isinstance(vars(text).get(name), list):
            setattr(text, name, vars(text)[name][:2])
    return config
