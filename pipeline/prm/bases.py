"""A base for PRMs: any causal language model of transformers, and its tokenizer with a token that ends steps.

`check_base` finds out in seconds, and before any label is paid for, whether a model can be one.
"""

import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from transformers import AutoConfig, AutoModel, AutoTokenizer
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING, MODEL_FOR_MASKED_LM_MAPPING

from pipeline.policies.opening import model_path
from pipeline.policies.transformers.library import quiet
from pipeline.prm.model import CARD, UNLOADABLE, Encoder, two_labels, unloadable
from pipeline.prm.score import MOST_UNREAD, classifier, special_tokens, unread
from schemas.config import TrainConfig
from schemas.errors import UserError

STEP_TOKEN = "<|step_end|>"
_SPARE = re.compile(
    r"[<\[]\W?(step(_end)?|extra_?\d+|unused_?\d+|reserved_?(special_?)?(token_?)?\d+|placeholder_?\d+)\W?[>\]]"
)
"""Names of tokens that tokenizers keep free for uses like ours."""
_LONGEST = 4096
"""Tokens of a solution where neither the configuration nor the model says less."""
SAMPLE = 500
"""Texts that a tokenizer is tried on."""


@dataclass(frozen=True)
class Base:
    """A base with everything but its weights."""

    folder: str
    config: Any
    """Of the language model alone, where the base also sees or hears."""
    tokenizer: Any
    step_end: int
    is_prm: bool
    """Whether it knows its step-end token already, having been trained as a PRM."""
    max_length: int

    def encoder(self, template: str) -> Encoder:
        """Its tokenizer behind a template."""
        return Encoder(self.tokenizer, template, self.step_end)


def open_base(settings: TrainConfig) -> Base:
    """Configuration and tokenizer of `settings.model`.

    UserError when transformers cannot open it, when it is no causal language model, or when
    `settings.max_length` is more than it reads.
    """
    folder = model_path(settings.model)
    local = Path(folder).is_dir()
    try:
        whole = AutoConfig.from_pretrained(folder, local_files_only=local)
        tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=local)
    except UNLOADABLE as error:
        raise unloadable(folder, error) from None
    config = _text_config(whole)
    if type(config) not in MODEL_FOR_CAUSAL_LM_MAPPING or getattr(config, "is_encoder_decoder", False):
        raise UserError(
            f"{folder}: a PRM needs a causal language model, not one of type {whole.model_type!r}"
        )
    # BERT stands among the causal models too; it reads ahead unless its configuration says `is_decoder`.
    if type(config) in MODEL_FOR_MASKED_LM_MAPPING and getattr(config, "is_decoder", True) is False:
        raise _reads_ahead(folder)
    # Many language models have no token for padding. Padding is masked by position, so the end's token
    # serves.
    if tokenizer.pad_token_id is None and tokenizer.eos_token is not None:
        tokenizer.pad_token = tokenizer.eos_token
    known = _step_end_of(folder)
    step_end = choose_step_end(tokenizer, known)
    return Base(
        folder, config, tokenizer, step_end, is_prm=step_end == known, max_length=length_of(config, settings)
    )


def length_of(config: Any, settings: TrainConfig) -> int:
    """Tokens of the longest text to learn from. UserError when the model reads fewer than are asked for."""
    most = getattr(config.get_text_config(), "max_position_embeddings", None) or _LONGEST
    wanted = settings.max_length or min(most, _LONGEST)
    if wanted > most:
        raise UserError(f"max_length = {wanted}: {settings.model} reads no more than {most} tokens")
    return int(wanted)


def choose_step_end(tokenizer: Any, known: int | None = None) -> int:
    """Id of the special token that closes steps: no text becomes it, so it stands at step ends alone.

    `known` if that is special; else one that the tokenizer keeps free; else `STEP_TOKEN`, added: then the
    model's embeddings must grow, `len(tokenizer)` tells.
    """
    if known is not None and tokenizer.convert_ids_to_tokens(known) in special_tokens(tokenizer):
        return known
    taken, template = set(tokenizer.special_tokens_map.values()), str(tokenizer.chat_template or "")
    spare = {
        token: number
        for token, number in tokenizer.get_vocab().items()
        if _SPARE.fullmatch(token) and token not in template and token not in taken
    }
    # One that is named after steps first, then the first of the free ones: the choice must not depend on the
    # order of a dictionary.
    name = min(spare, key=lambda token: ("step" not in token, spare[token]), default=STEP_TOKEN)
    tokenizer.add_special_tokens({"extra_special_tokens": [name]}, replace_extra_special_tokens=False)
    return int(tokenizer.convert_tokens_to_ids(name))


def open_model(base: Base) -> Any:
    """The base as a model of two labels in float32, with the head that it holds or else a new one.

    Where the step-end token is new to it, that begins as the newline's embedding: for a language model a
    newline is what ends a step. UserError when transformers cannot load it, when weights are missing, or when
    a token's reading depends on later ones.
    """
    try:
        with quiet():  # that a head is new is no news here
            model, found = _load(base)
    except UNLOADABLE as error:
        raise unloadable(base.folder, error) from None
    _refuse_misfits(base, found)
    size = len(base.tokenizer)
    if size > model.get_input_embeddings().weight.shape[0]:
        model.resize_token_embeddings(size, mean_resizing=False)
    if not base.is_prm:
        rows = model.get_input_embeddings().weight.data
        newline = base.tokenizer.encode("\n", add_special_tokens=False)
        known = [token for token in newline if token != base.tokenizer.unk_token_id]
        rows[base.step_end] = rows[known].mean(0) if known else rows[: base.step_end].mean(0)
    for module in model.modules():
        if isinstance(module, torch.nn.Dropout):
            # Thousands of solutions, few epochs: noise on the scores costs more than it regularises.
            module.p = 0.0
    if not _is_causal(model):
        raise _reads_ahead(base.folder)
    return model


def check_base(
    settings: TrainConfig, template: str, texts: Iterable[str], solutions: Sequence[str] = ()
) -> dict[str, Any]:
    """Whether `settings.model` can become a PRM of problems like `texts`, without loading its weights; of
    `solutions`, too, where some are known before they are sampled.

    Returns what will be used. UserError as in `open_base`, and when the tokenizer cannot read the texts, or
    when no model can be built, or its weights are not there or do not fit it.
    """
    base, sample = open_base(settings), list(islice(texts, SAMPLE))
    unknown = refuse_unread(base, [*sample, *solutions])
    try:
        _look_at_weights(Path(base.folder))
        with quiet():
            found = _outlined(base)
    except UNLOADABLE as error:
        raise unloadable(base.folder, error) from None
    _refuse_misfits(base, found)
    encoder = base.encoder(template)
    too_long = sum(len(encoder.encode(text, ()).ids) >= base.max_length for text in sample)
    return {
        "model": settings.model,
        "type": base.config.model_type,
        "step_token": base.tokenizer.convert_ids_to_tokens(base.step_end),
        "max_length": base.max_length,
        "problems_tried": len(sample),
        "problems_too_long": too_long,
        "unknown": round(unknown, 4),
    }


def _refuse_misfits(base: Base, found: dict[str, Any]) -> None:
    """UserError for weights that the files lack, or have in another shape than `config.json` says. Not for
    those of the head: a language model has none, and a reward model one of another width."""

    def of_the_body(names: Iterable[Any]) -> list[Any]:
        return sorted(name for name in names if not str(name).startswith(("score.", "classifier.")))

    if lost := of_the_body(found["missing_keys"]):
        raise UserError(f"{base.folder}: {len(lost)} weights are missing, {lost[0]} first")
    shapes = {name: (list(held), list(wanted)) for name, held, wanted in found["mismatched_keys"]}
    if misfits := of_the_body(shapes):
        held, wanted = shapes[misfits[0]]
        raise UserError(
            f"{base.folder}: {len(misfits)} weights do not fit its config.json, {misfits[0]} first, which is "
            f"{held} and should be {wanted}: take both files from the same model"
        )


def refuse_unread(base: Base, texts: Sequence[str]) -> float:
    """The share of the texts that is unknown to the tokenizer. UserError when that is much."""
    size = base.config.get_text_config().vocab_size
    ids = [i for text in texts for i in base.tokenizer.encode(text, add_special_tokens=False)]
    # A few tokens that were added later get embeddings of their own; those of another model cannot.
    strange = sum(i >= size for i in ids) / max(1, len(ids))
    if strange > MOST_UNREAD:
        raise UserError(
            f"{base.folder}: {strange:.0%} of the text becomes tokens that its model does not have, which "
            f"knows {size:,}: the tokenizer is another model's; put its own into the folder"
        )
    share = unread(base.tokenizer, texts)
    if share > MOST_UNREAD:
        raise UserError(
            f"{base.folder}: its tokenizer reads {share:.0%} of the text as unknown tokens: choose a base "
            "whose vocabulary is that of the problems and solutions"
        )
    return share


def _text_config(config: Any) -> Any:
    """The configuration of the part that reads text, where that is a language model of its own."""
    part = config.get_text_config()
    return part if type(part) in MODEL_FOR_CAUSAL_LM_MAPPING else config


def _outlined(base: Base) -> dict[str, Any]:
    """Which weights of a local folder are missing or misfits, found without reading their numbers. Of a model
    on the Hub only that it can be built is tried: a check should not download it."""
    if Path(base.folder).is_dir():
        return _load(base, device_map="meta")[1]
    with torch.device("meta"):
        classifier(base.config)(two_labels(base.config))
    return {"missing_keys": (), "mismatched_keys": ()}


def _load(base: Base, **how: Any) -> tuple[Any, dict[str, Any]]:
    """The model, and what transformers says of its files: `missing_keys` and `mismatched_keys`."""
    config, local = two_labels(base.config), Path(base.folder).is_dir()
    whole = AutoConfig.from_pretrained(base.folder, local_files_only=local)
    how |= {"dtype": torch.float32, "local_files_only": local, "output_loading_info": True}
    how |= {"ignore_mismatched_sizes": True}  # its own error names none of them
    if type(whole) is type(config):
        model, found = classifier(config).from_pretrained(base.folder, config=config, **how)
        return model, found
    # It also sees or hears: its language model is taken out.
    seeing, found = AutoModel.from_pretrained(base.folder, **how)
    with torch.device("meta"):
        model = classifier(config)(config)
    setattr(model, model.base_model_prefix, seeing.get_decoder())
    model.score = torch.nn.Linear(config.hidden_size, 2, bias=False)
    torch.nn.init.normal_(model.score.weight, std=getattr(config, "initializer_range", 0.02))
    return model, found


@torch.inference_mode()
def _is_causal(model: Any) -> bool:
    """Whether tokens are read the same whatever comes after them."""
    last = model.get_input_embeddings().weight.shape[0] - 1
    ids = torch.arange(12).remainder(last + 1)[None].to(model.device)
    other = ids.clone()
    # Only the last token differs; so if an earlier logit differs, it depends on a later token.
    other[0, -1] = last if int(ids[0, -1]) != last else 0
    was_training = model.training
    model.eval()
    one, two = (model(input_ids=each, use_cache=False).logits[:, :-1] for each in (ids, other))
    model.train(was_training)
    # Other batch shapes change the last digits of a float32; reading ahead changes the first ones.
    return float((one - two).abs().max()) <= 1e-4 * float(one.abs().max())


def _look_at_weights(folder: Path) -> None:
    """OSError when a local folder holds no weights, or what is no weights file."""
    if not folder.is_dir():
        return
    files = sorted(folder.glob("*.safetensors"))
    if not files and not any(folder.glob("*.bin")):
        raise OSError("it holds no weights (*.safetensors)")
    for file in files:
        try:
            with safe_open(file, "pt"):
                pass
        except SafetensorError as error:
            raise OSError(f"{file.name}: {error}") from None


def _step_end_of(folder: str) -> int | None:
    """The step-end token of a base that is a PRM already."""
    try:
        found = json.loads((Path(folder) / CARD).read_text(encoding="utf-8"))["step_end"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return found if isinstance(found, int) else None


def _reads_ahead(folder: str) -> UserError:
    return UserError(
        f"{folder}: reads ahead (it is an encoder, not a causal language model): a step's score would depend "
        "on the steps after it"
    )
