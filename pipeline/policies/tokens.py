"""Turns prompts into token ids and ids back into text, in the same way for every backend in this process.

Two backends that tokenised differently would give different completions for the same seed.
"""

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pipeline.policies.base import Prompt
from schemas.errors import UserError

# Prompt tokens that are decoded together with a completion. Many tokenizers drop the space before the first
# word of what they decode: alone, " apples" would come back as "apples" and stick to the word before it.
_TAIL = 6
# Read of both ends of each weights file, for its digest: the head holds the tensors' names and shapes.
_EDGE_BYTES = 1 << 20


def prompt_ids(tokenizer: Any, prompt: Prompt, *, chat: bool) -> list[int]:
    """Ids of the prompt with its prefix, beginning with the tokenizer's BOS where it has one."""
    if chat:
        ids = list(tokenizer.encode(chat_text(tokenizer, prompt), add_special_tokens=False))
    else:
        ids = list(tokenizer.encode(prompt.text + prompt.prefix, add_special_tokens=True))
        if ids and ids[-1] == tokenizer.eos_token_id:
            ids.pop()  # an encoder's habit; after an end there is nothing to continue
    bos = tokenizer.bos_token_id
    if bos is not None and ids[:1] != [bos] and not chat:
        ids.insert(0, bos)  # Gemma writes nonsense without it, and not every tokenizer file adds it
    while bos is not None and ids[:2] == [bos, bos]:
        del ids[0]  # the template begins with it too
    return ids


def text_start(tokenizer: Any, prompt: Prompt, text: str, *, chat: bool) -> tuple[list[int], int] | None:
    """Ids of prompt and text, and the index of the text's first; None when a token spans the border.

    The prompt's ids must be the first ids of the whole. Example: a prompt ending in "1" and the text "2" may
    become one token "12"; then no token belongs to the text alone, and its log-probability cannot be told.
    """
    before = prompt_ids(tokenizer, prompt, chat=chat)
    whole = prompt_ids(tokenizer, Prompt(prompt.text, prompt.prefix + text), chat=chat)
    return (whole, len(before)) if whole[: len(before)] == before else None


def chat_text(tokenizer: Any, prompt: Prompt) -> str:
    """The prompt in the model's chat template, left open after the prefix."""
    messages = [{"role": "user", "content": prompt.text}]
    if not prompt.prefix:
        return str(tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True))
    # `continue_final_message` leaves out the end-of-turn token, so that the model goes on with the prefix.
    messages.append({"role": "assistant", "content": prompt.prefix})
    text = str(tokenizer.apply_chat_template(messages, tokenize=False, continue_final_message=True))
    if text.endswith(prompt.prefix):
        return text
    bare = prompt.prefix.rstrip()
    if text.endswith(bare):  # templates trim; the newline after a step must come back
        return text + prompt.prefix[len(bare) :]
    raise UserError("the model's chat template rewrites a half-written answer: use chat = false")


def completion_text(tokenizer: Any, prompt: Sequence[int], ids: Sequence[int]) -> str:
    """Text of `ids` as it reads after the prompt, special tokens left out."""
    tail = list(prompt[-_TAIL:])
    before = tokenizer.decode(tail, skip_special_tokens=True)
    both = tokenizer.decode([*tail, *ids], skip_special_tokens=True)
    if both.startswith(before):
        return str(both[len(before) :])
    # The tail began or ended inside a letter of several bytes, which decodes otherwise with the rest of it.
    return str(tokenizer.decode(list(ids), skip_special_tokens=True))


def cut_at_stop(text: str, stops: Sequence[str]) -> str | None:
    """The text before the earliest stop text; None when there is no stop in it."""
    ends = [at for stop in stops if (at := text.find(stop)) >= 0]
    return text[: min(ends)] if ends else None


def folder_revision(model: str) -> str:
    """Digest of a checkpoint's folder, which tells two checkpoints apart; empty when `model` is no folder.

    Of each file only the size and both ends are read: to hash 100 GB at every start would take minutes.
    """
    folder = Path(model)
    if not folder.is_dir():
        return ""
    digest = hashlib.sha256()
    for path in sorted(p for p in folder.iterdir() if p.suffix in (".json", ".safetensors", ".bin")):
        size = path.stat().st_size
        digest.update(f"{path.name}:{size}:".encode())
        with path.open("rb") as file:
            digest.update(file.read(_EDGE_BYTES))
            file.seek(max(0, size - _EDGE_BYTES))
            digest.update(file.read())
    return digest.hexdigest()[:16]
