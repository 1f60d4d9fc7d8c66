"""Prompts become ids with BOS and the prefix verbatim; ids become text as it reads after the prompt."""

from collections.abc import Sequence

import pytest

from pipeline.policies.base import Prompt
from pipeline.policies.tokens import completion_text, cut_at_stop, folder_revision, prompt_ids


class Letters:
    """A tokenizer of single characters, with the habits of real ones switched on one by one."""

    bos_token_id: int | None = 1
    eos_token_id = 2

    def __init__(self, *, adds: Sequence[int] = (), ends: Sequence[int] = ()) -> None:
        self.adds, self.ends = adds, ends

    def encode(self, text: str, *, add_special_tokens: bool) -> list[int]:
        ids = [ord(letter) for letter in text]
        return [*self.adds, *ids, *self.ends] if add_special_tokens else ids

    def decode(self, ids: Sequence[int], *, skip_special_tokens: bool) -> str:
        text = "".join(chr(i) for i in ids if i > 2 or not skip_special_tokens)
        return text.removeprefix(" ")


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
