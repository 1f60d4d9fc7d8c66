"""Texts made harmless: for a terminal, for one line, for Markdown and the HTML it becomes."""

import html
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.text import as_code, in_markdown, one_line, shown

HOSTILE = (
    "\x1b]0;owned\x07",
    "a\x9b31mb",
    "a\u202eb",
    "half \ud800 pair",
    "</td><script>alert(1)</script>",
    "`a` | b | c\n| d",
    "**bold** _it_ [x](javascript:1) ![i](x)",
    "<!-- -->&lt;",
    "a``b```c",
    "---\nlicense: mit",
    "# heading",
    "1. x",
    "",
)


@given(st.one_of(st.sampled_from(HOSTILE), st.text()))
def test_a_terminal_is_never_steered(text: str) -> None:
    found = shown(text)
    assert len(found) == len(text)
    assert all(c in "\n\t" or c.isprintable() for c in found)
    assert "\n" not in one_line(text)
    assert one_line(text).isprintable()


@given(st.one_of(st.sampled_from(HOSTILE), st.text(max_size=100)))
def test_markdown_keeps_the_words_and_nothing_else(text: str) -> None:
    found = in_markdown(text)
    assert html.unescape(found) == one_line(text)
    assert not re.search(r"[\\`*_\[\]|<>\"]|&(?!#\d+;)|[!#](?!\d)", found)


@given(st.one_of(st.sampled_from(HOSTILE), st.text(max_size=100)))
def test_code_stays_in_its_cell(text: str) -> None:
    found = as_code(text)
    inner = found[1:-1] if found.startswith("`") else found.removeprefix("<code>").removesuffix("</code>")
    assert html.unescape(inner) == one_line(text)
    assert not re.search(r"[`|<>\n\\]", inner)


@pytest.mark.parametrize("name", ["monte_carlo", "Qwen/Qwen2.5-Math-7B", "judge:gpt-4", "a b"])
def test_ordinary_names_stay_code_spans(name: str) -> None:
    assert as_code(name) == f"`{name}`"
