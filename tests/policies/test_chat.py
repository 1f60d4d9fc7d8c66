"""Begun answers and system messages in chat templates that change or refuse them, as real ones do."""

import logging
from typing import Any

import pytest

from pipeline.policies.base import Prompt
from pipeline.policies.chat import chat_text, opening, with_options
from pipeline.policies.tokens import prompt_ids, text_start
from schemas.errors import UserError
from schemas.reasoning import is_thinking

# Written after the templates of the models they are named for, without what concerns tools.
CHATML = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
NO_BEGINNING = CHATML.partition("{% if add")[0]
LLAMA3 = (
    "{% for m in messages %}<|head|>{{ m.role }}<|end|>\n\n{{ m.content | trim }}<|eot|>{% endfor %}"
    "{% if add_generation_prompt %}<|head|>assistant<|end|>\n\n{% endif %}"
)
MISTRAL = (
    "{% for m in messages %}{% if m.role == 'user' %}[INST] {{ m.content }} [/INST]"
    "{% elif m.role == 'assistant' %} {{ m.content }}</s>"
    "{% else %}{{ raise_exception('Only user and assistant roles are supported!') }}{% endif %}{% endfor %}"
)
GEMMA2 = (
    "{% if messages[0]['role'] == 'system' %}{{ raise_exception('System role not supported') }}{% endif %}"
    "{% for m in messages %}{% set role = 'model' if m.role == 'assistant' else m.role %}"
    "<start_of_turn>{{ role }}\n{{ m.content | trim }}<end_of_turn>\n{% endfor %}"
    "{% if add_generation_prompt %}<start_of_turn>model\n{% endif %}"
)
SILENT = (
    "{% for m in messages if m.role != 'system' %}<{{ m.role }}>{{ m.content }}{% endfor %}"
    "{% if add_generation_prompt %}<assistant>{% endif %}"
)
QWEN3 = (
    "{% for m in messages %}{% if m.role == 'assistant' %}"
    "{% set content = m.content %}{% set thought = '' %}"
    "{% if '</think>' in content %}"
    "{% set thought = content.split('</think>')[0].rstrip('\n').split('<think>')[-1].lstrip('\n') %}"
    "{% set content = content.split('</think>')[-1].lstrip('\n') %}{% endif %}"
    "<|im_start|>assistant\n<think>\n{{ thought.strip('\n') }}\n</think>\n\n"
    "{{ content.lstrip('\n') }}<|im_end|>\n"
    "{% else %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n"
    "{% if enable_thinking is defined and enable_thinking is false %}<think>\n\n</think>\n\n{% endif %}"
    "{% endif %}"
)
DEEPSEEK_R1 = (
    "{% for m in messages if m.role == 'system' %}{{ m.content }}{% endfor %}"
    "{% for m in messages %}{% if m.role == 'user' %}<|User|>{{ m.content }}"
    "{% elif m.role == 'assistant' %}{% set content = m.content %}"
    "{% if '</think>' in content %}{% set content = content.split('</think>')[-1] %}{% endif %}"
    "<|Assistant|>{{ content }}<|end|>{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}<|Assistant|><think>\n{% endif %}"
)
ALL = {
    "chatml": CHATML,
    "no beginning": NO_BEGINNING,
    "llama 3": LLAMA3,
    "mistral": MISTRAL,
    "gemma 2": GEMMA2,
    "silent": SILENT,
    "qwen3": QWEN3,
    "r1": DEEPSEEK_R1,
}
THOUGHT = "<think>\nTwo and two.\n</think>\n\n  Step 1: 2 + 2 = 4\n\n"


def tokenizer(template: str | None, name: str = "somebody/chat") -> Any:
    """A tokenizer of bytes with a chat template."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    letters = pre_tokenizers.ByteLevel.alphabet()
    core = Tokenizer(models.BPE({letter: i for i, letter in enumerate(sorted(letters))}, []))
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    core.decoder = decoders.ByteLevel()
    made = PreTrainedTokenizerFast(tokenizer_object=core, clean_up_tokenization_spaces=False)
    made.chat_template, made.name_or_path = template, name
    return made


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("prefix", [" Step 1: 1 + 1 = 2\n", "Step 1\n\n", THOUGHT, "<think>\nTwo and"])
def test_a_begun_answer_stands_behind_the_template_as_it_is(name: str, prefix: str) -> None:
    text = chat_text(tokenizer(ALL[name]), Prompt("What?", prefix))
    assert text.endswith(prefix)
    assert "What?" in text
    assert prefix not in text.removesuffix(prefix)
    assert text.count("<think>") == text.removesuffix(prefix).count("</think>") + prefix.count("<think>")
    assert (text.rfind("<think>") > text.rfind("</think>")) == is_thinking(prefix)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("chatml", "<|im_start|>user\nWhat?<|im_end|>\n<|im_start|>assistant\n"),
        ("no beginning", "<|im_start|>user\nWhat?<|im_end|>\n<|im_start|>assistant\n"),
        ("mistral", "[INST] What? [/INST]"),
        ("qwen3", "<|im_start|>user\nWhat?<|im_end|>\n<|im_start|>assistant\n"),
        ("r1", "<|User|>What?<|Assistant|><think>\n"),
    ],
)
def test_an_answer_begins_where_the_template_lets_it(name: str, expected: str) -> None:
    assert chat_text(tokenizer(ALL[name]), Prompt("What?")) == expected


def test_thinking_that_the_template_begins_is_closed_before_steps_and_never_begun_twice() -> None:
    r1 = tokenizer(DEEPSEEK_R1)
    assert opening(r1) == "<think>\n"
    assert chat_text(r1, Prompt("?", "Step 1")) == "<|User|>?<|Assistant|><think>\n\n</think>\n\nStep 1"
    assert chat_text(r1, Prompt("?", THOUGHT)) == f"<|User|>?<|Assistant|>{THOUGHT}"
    assert [opening(tokenizer(ALL[name])) for name in ALL if name != "r1"] == [""] * 7


def test_options_reach_the_template() -> None:
    quiet = with_options(tokenizer(QWEN3), {"enable_thinking": False})
    begun = "<|im_start|>user\n?<|im_end|>\n<|im_start|>assistant\n<think>\n\n</think>\n\n"
    assert chat_text(quiet, Prompt("?")) == begun
    assert chat_text(quiet, Prompt("?", "Step 1\n")) == f"{begun}Step 1\n"
    assert opening(quiet) == ""


def test_only_an_open_block_is_thinking() -> None:
    assert [
        is_thinking(text) for text in ("", "<think>", "<think></think>", "a</think><think>b", "</think>")
    ] == [
        False,
        True,
        False,
        True,
        False,
    ]


SYSTEM = "You are brief."


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("chatml", "<|im_start|>system\nYou are brief.<|im_end|>\n<|im_start|>user\nWhat?<|im_end|>\n"),
        ("r1", "You are brief.<|User|>What?"),
        ("gemma 2", "<start_of_turn>user\nYou are brief.\n\nWhat?<end_of_turn>\n"),
        ("mistral", "[INST] You are brief.\n\nWhat? [/INST]"),
        ("silent", "<user>You are brief.\n\nWhat?"),
    ],
)
def test_a_system_message_has_its_role_or_stands_before_the_users(
    name: str, expected: str, caplog: pytest.LogCaptureFixture
) -> None:
    template = tokenizer(ALL[name], f"somebody/{name}")
    with caplog.at_level(logging.WARNING):
        texts = [chat_text(template, Prompt("What?", prefix, SYSTEM)) for prefix in ("", "Step", "")]
    assert all(text.startswith(expected) for text in texts)
    assert all(text.count(SYSTEM) == 1 for text in texts)
    folded = name in ("gemma 2", "mistral", "silent")
    assert [f"somebody/{name}: its chat template takes no system message" in m for m in caplog.messages] == (
        [True] if folded else []
    )


def test_without_a_chat_template_a_system_message_stands_before_the_text() -> None:
    asked = Prompt("What?\n", "Step", f"{SYSTEM}\n")
    assert asked.plain == "You are brief.\n\nWhat?\nStep"
    assert Prompt("What?\n", "Step").plain == "What?\nStep"
    plain = tokenizer(None)
    assert plain.decode(prompt_ids(plain, asked, chat=False)) == asked.plain


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("prefix", ["", "Step 1\n"])
def test_what_is_scored_is_the_text_alone(name: str, prefix: str) -> None:
    chat = tokenizer(ALL[name])
    found = text_start(chat, Prompt("What?", prefix, SYSTEM), "Step 2", chat=True)
    assert found is not None
    ids, start = found
    assert chat.decode(ids[start:]) == "Step 2"
    assert SYSTEM in chat.decode(ids[:start])


@pytest.mark.parametrize(
    ("template", "words"),
    [(None, "chat_template is not set"), ("{{ raise_exception('no more') }}", "no more"), ("{{ 1 + }}", "")],
)
def test_a_template_that_fails_is_one_line(template: str | None, words: str) -> None:
    with pytest.raises(UserError, match=f"the model's chat template fails: .*{words}.*; use chat = false"):
        chat_text(tokenizer(template), Prompt("What?"))
