"""Prompts in a model's chat template, and the thinking that reasoning models write before their answer.

The begun answer is put behind the template's own beginning of an answer, and never through the template: some
templates change an assistant's message. Qwen3's puts an empty thinking block before it, DeepSeek-R1's cuts
off its thinking, and others trim it. A rollout would then continue a text that nobody wrote.
"""

import logging
import re
from collections.abc import Mapping
from functools import cache, partial
from typing import Any

from pipeline.policies.base import Prompt
from schemas.errors import UserError

log = logging.getLogger(__name__)
OPEN, CLOSE = "<think>", "</think>"
"""What stands around the thinking of a model in every text that we keep, whichever server took it out."""
_MARK = "ANSWER"
# The templates of DeepSeek-R1 and QwQ end in `<think>\n`: the model then writes thinking at once, and its
# text has an end of the thinking but no beginning.
_OPENED = re.compile(rf"{OPEN}\s*$")


def chat_text(tokenizer: Any, prompt: Prompt) -> str:
    """The prompt in the model's chat template, left open after the prefix, which stays as it is.

    Where the template begins an answer with thinking and the prefix has none, the thinking is closed before
    it: else the steps of a solution would be read as thoughts. UserError when the template fails.
    """
    begun = _begun_chat(tokenizer, prompt)
    opened = _OPENED.search(begun)
    if opened is None or not prompt.prefix:
        return begun + prompt.prefix
    if prompt.prefix.lstrip().startswith(OPEN):
        return begun[: opened.start()] + prompt.prefix
    return f"{begun.rstrip()}\n\n{CLOSE}\n\n{prompt.prefix}"


def with_options(tokenizer: Any, options: Mapping[str, Any]) -> Any:
    """The tokenizer, which from now on gives its chat template these values, too."""
    if options:
        tokenizer.apply_chat_template = partial(tokenizer.apply_chat_template, **options)
    return tokenizer


def opening(tokenizer: Any) -> str:
    """The beginning of every answer that the chat template itself writes: `<think>` and a line end, or
    nothing. It is part of the answer's text."""
    opened = _OPENED.search(_begun_chat(tokenizer, Prompt("?")))
    return opened[0] if opened else ""


def _begun_chat(tokenizer: Any, prompt: Prompt) -> str:
    """The chat up to the beginning of the assistant's answer."""
    user = {"role": "user", "content": prompt.text}
    if not prompt.system.strip():
        return _rendered(tokenizer, [user])
    try:
        text = _rendered(tokenizer, [{"role": "system", "content": prompt.system}, user])
        if prompt.system.strip() in text:
            return text
    except UserError:  # raised again below where it was not for the system's message
        pass
    _say_once(getattr(tokenizer, "name_or_path", "") or "the model")
    return _rendered(tokenizer, [{**user, "content": prompt.instruction}])


@cache
def _say_once(model: str) -> None:
    log.warning(
        "%s: its chat template takes no system message; it stands at the beginning of the user's", model
    )


def _rendered(tokenizer: Any, messages: list[dict[str, str]]) -> str:
    """Messages in the template, with the beginning of an answer. UserError with the template's own words."""
    from jinja2 import TemplateError  # installed where chat templates are; a server renders its own

    try:
        text = str(tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True))
        if text != str(tokenizer.apply_chat_template(messages, tokenize=False)):
            return text
        # The template knows no beginning of an answer. Where one has a header, it stands before an answer's
        # first letter: `<|im_start|>assistant\n` in early ChatML templates.
        last = {"role": "assistant", "content": _MARK}
        begun = str(tokenizer.apply_chat_template([*messages, last], tokenize=False))
        header = begun.removeprefix(text).partition(_MARK)[0]
        return text + header if begun.startswith(text) and header.strip() else text
    except (TemplateError, ValueError) as error:  # ValueError: the tokenizer has no chat template
        raise UserError(f"the model's chat template fails: {error}; use chat = false") from None
