"""Where the answer of a reasoning model begins."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.reasoning import answer_part, answer_start, in_block, is_thinking, opening_tag


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("no block", "no block"),
        ("  no block", "  no block"),
        ("<think>a</think>\n\n b", "b"),
        ("<Thinking>\na\n</Thinking>b", "b"),
        ("[THOUGHT]\na\n[/THOUGHT]\nb", "b"),
        ("[THINK]a[/THINK]b", "b"),
        ("\u25c1think\u25b7a\u25c1/think\u25b7b", "b"),
        ("<seed:think>a</seed:think>b", "b"),
        ("<|begin_of_thought|>\na\n<|end_of_thought|>\n\nb", "b"),
        ("<|begin_of_thought|>\na", None),
        ('"so"</think>\n"b"', '"b"'),
        ("the template opened it\n</think>\nb", "b"),
        ("<think>a</think>b\n<think>c</think>\nd", "d"),
        ("<think>a</think>", ""),
        ("<think>a", None),
        ("a\n  <think>b", None),
        ("<think>a</think>b\n<think>c", None),
        ("<think>a</think><think>c", None),
        # No tags: a program, a heading, a word of XML inside a line.
        ("scores[thought] = 1", "scores[thought] = 1"),
        ("[Reasoning]\n2 + 3 = 5", "[Reasoning]\n2 + 3 = 5"),
        ("write <think> first", "write <think> first"),
        # A closing tag that is only spoken of.
        ('a\nb = text.split("</think>")[-1]', 'a\nb = text.split("</think>")[-1]'),
        ("a\nEnd with `</think>`.", "a\nEnd with `</think>`."),
        ("<think>a</think>b '</think>' c", "b '</think>' c"),
        ("<think>\nwrite `</think>`?", None),
    ],
)
def test_the_answer_is_what_stands_after_the_last_block(text: str, answer: str | None) -> None:
    assert answer_part(text) == answer
    assert is_thinking(text) == (answer is None)
    start = answer_start(text)
    assert answer is None or text[start:] == answer


@pytest.mark.parametrize(
    ("block", "tag"),
    [
        ("<think>\na</think>", "<think>"),
        ("a</think>\n", "<think>"),
        ("[THOUGHT]a[/THOUGHT]", "[THOUGHT]"),
        ("a\u25c1/think\u25b7", "\u25c1think\u25b7"),
        ("a<|end_of_thought|>", "<|begin_of_thought|>"),
        ("say `[/THINK]` a</think>", "<think>"),
        ("\n ", ""),
    ],
)
def test_the_tag_that_opens_a_block(block: str, tag: str) -> None:
    assert opening_tag(block) == tag
    assert not tag or is_thinking(f"{tag}\n")


def test_what_stands_in_an_open_block() -> None:
    assert in_block("<think>\na\n") == "\na\n"
    assert in_block("<think>x</think>\na\n") == "<think>x</think>\na\n"


@given(st.lists(st.sampled_from(["<think>", "</think>", "\n", "a", " ", "[THINK]", "\u25c1/think\u25b7"])))
def test_an_answer_holds_no_closing_tag(parts: list[str]) -> None:
    answer = answer_part("".join(parts))
    assert answer is None or not ("/think" in answer or "\n<think>" in answer)


@pytest.mark.parametrize(
    "piece", ["<think>\n", "</think>", "\u25c1", " ", "\n", "[", "'</think>'", "<think></think>"]
)
def test_a_hostile_text_takes_no_time(piece: str) -> None:
    began = time.thread_time()
    answer_start(piece * (1_000_000 // len(piece)))
    assert time.thread_time() - began < 5
