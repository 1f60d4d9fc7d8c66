"""Prompts become ids with BOS and the prefix verbatim; ids become text as it reads after the prompt."""

from collections.abc import Sequence
from typing import Any

import pytest

from pipeline.policies.base import Prompt
from pipeline.policies.tokens import chat_text, completion_text, cut_at_stop, folder_revision, prompt_ids
from schemas.errors import UserError


class Letters:
    """A tokenizer of single characters, with the habits of real ones switched on one by one."""

    bos_token_id: int | None = 1
    eos_token_id = 2

    def __init__(
        self, *, adds: Sequence[int] = (), ends: Sequence[int] = (), template: str = "plain"
    ) -> None:
        self.adds, self.ends, self.template = adds, ends, template

    def encode(self, text: str, *, add_special_tokens: bool) -> list[int]:
        ids = [ord(letter) for letter in text]
        return [*self.adds, *ids, *self.ends] if add_special_tokens else ids

    def decode(self, ids: Sequence[int], *, skip_special_tokens: bool) -> str:
        text = "".join(chr(i) for i in ids if i > 2 or not skip_special_tokens)
        return text.removeprefix(" ")

    def apply_chat_template(self, messages: list[dict[str, str]], **options: Any) -> str:
        texts = [message["content"] for message in messages]
        if self.template == "trims":
            texts = [text.strip() for text in texts]
        if self.template == "rewrites":
            texts = [text.upper() for text in texts]
        return (
            "<user>"
            + "<assistant>".join(texts)
            + ("<assistant>" if options.get("add_generation_prompt") else "")
        )


@pytest.mark.parametrize("tokenizer", [Letters(adds=[1]), Letters(), Letters(adds=[1], ends=[2])])
def test_one_bos_first_and_no_end(tokenizer: Letters) -> None:
    assert prompt_ids(tokenizer, Prompt("ab", "c\n"), chat=False) == [1, *map(ord, "abc\n")]


@pytest.mark.parametrize("tokenizer", [Letters(adds=[1]), Letters()])
def test_a_template_that_begins_with_bos_gives_one(tokenizer: Letters) -> None:
    assert prompt_ids(tokenizer, Prompt("\x01ab", "c\n"), chat=False) == [1, *map(ord, "abc\n")]


def test_no_bos_where_there_is_none() -> None:
    tokenizer = Letters()
    tokenizer.bos_token_id = None
    assert prompt_ids(tokenizer, Prompt("ab"), chat=False) == [*map(ord, "ab")]


@pytest.mark.parametrize("template", ["plain", "trims"])
def test_a_chat_prefix_stays_verbatim(template: str) -> None:
    text = chat_text(Letters(template=template), Prompt("question", "step 1\n"))
    assert text == "<user>question<assistant>step 1\n"
    assert chat_text(Letters(template=template), Prompt("question")) == "<user>question<assistant>"


def test_a_template_that_rewrites_the_prefix_is_refused() -> None:
    with pytest.raises(UserError, match="chat = false"):
        prompt_ids(Letters(template="rewrites"), Prompt("question", "step 1\n"), chat=True)


def test_a_first_space_survives_decoding() -> None:
    tokenizer = Letters()
    assert tokenizer.decode([*map(ord, " b")], skip_special_tokens=True) == "b"
    assert completion_text(tokenizer, [*map(ord, "a")], [*map(ord, " b")]) == " b"


def test_the_earliest_stop_counts() -> None:
    assert cut_at_stop("one two three", ("three", "two")) == "one "
    assert cut_at_stop("one", ("two",)) is None
    assert cut_at_stop("one", ()) is None


def test_a_hub_name_has_no_folder_revision() -> None:
    assert folder_revision("someone/some-model") == ""
