"""docs/configuration.md says what the classes say."""

import re
import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal

import pytest
from pydantic import Field

from schemas import documented
from schemas.addresses import Addresses
from schemas.config import RunConfig, parse_config
from schemas.config.effects import Effect, every_setting
from schemas.records import Record
from schemas.sections import classes_of, is_list, tag_of

BLOCK = re.compile(r"^```toml\n(.*?)^```$", re.M | re.S)


def test_the_page_is_up_to_date() -> None:
    assert documented.PAGE.read_text(encoding="utf-8") == documented.page(), (
        "run python -m schemas.documented"
    )


def test_every_setting_has_a_docstring() -> None:
    """But for kinds: each has a heading of its own."""
    missing = [
        ".".join(one.place)
        for one in every_setting(RunConfig)
        if one.name != tag_of(one.section)[0]
        and one.section.__name__ != "ProblemsConfig"  # to be replaced by a class for each source
        and not documented.docstrings(one.section).get(one.name)
    ]
    assert missing == []
    assert RunConfig.model_fields.keys() <= documented.docstrings(RunConfig).keys()


def test_every_kind_has_a_heading_and_an_example_that_is_a_run_file() -> None:
    page = documented.page()
    for name, field in RunConfig.model_fields.items():
        header = f"[[{name}]]" if is_list(field) else f"[{name}]"
        classes = classes_of(field.annotation)
        for one in classes if len(classes) > 1 else ():
            tag, kind = tag_of(one)
            _, heading, rest = page.partition(f'### {header} {tag} = "{kind}"\n')
            assert heading, f"{header} {kind} has no heading"
            assert f'{tag} = "{kind}"' in rest.partition("\n### ")[0], f"{header} {kind} has no example"


@pytest.mark.parametrize("block", BLOCK.findall(documented.page()))
def test_every_example_is_a_run_file(block: str) -> None:
    data: dict[str, Any] = tomllib.loads(block)
    needed: dict[str, Any] = {"name": "r"} | ({"train": {}} if {"evaluate", "series"} & {*data} else {})
    parse_config({**needed, **data}, "an example of docs/configuration.md")


class _Below(Record):
    """A part."""

    inherited: int = 1
    """From below."""


class _Part(_Below):
    """A part.

    [part]
    size = 3
    """

    size: Annotated[int, Effect.SPEED] = Field(2, ge=1, lt=2**31)
    """Its size,
    in metres."""
    undocumented: str = ""


def test_docstrings_are_those_under_the_fields() -> None:
    assert documented.docstrings(_Part) == {"inherited": "From below.", "size": "Its size,\nin metres."}


def test_a_block_of_a_docstring_is_its_example() -> None:
    assert list(documented._about(_Part, "[part]")) == ["A part.\n", "```toml\n[part]\nsize = 3\n```\n"]
    made_up = ["A part.\n", "```toml\n[below]\ninherited = 1\n```\n"]
    assert list(documented._about(_Below, "[below]")) == made_up


@pytest.mark.parametrize(
    ("annotation", "words"),
    [
        (int, "a whole number"),
        (float | None, "a number"),
        (bool, "true or false"),
        (tuple[str, ...], "a list of texts"),
        (tuple[int, int], "a list of 2 whole numbers"),
        (dict[str, str], "a table of texts"),
        (dict[str, Any], "a table"),
        (str | tuple[str, ...], "a text, or a list of texts"),
        (Addresses, "a text, or a list of texts"),
        (Literal["a", "b"], 'one of `"a"`, `"b"`'),
        (tuple[Literal["a", "b"], ...], 'a list of any of `"a"`, `"b"`'),
        (RunConfig.model_fields["policy"].annotation, "a section with the settings of [policy](#policy)"),
    ],
)
def test_types_in_words(annotation: Any, words: str) -> None:
    assert documented.in_words(annotation) == words


def test_bounds_and_effects_in_words() -> None:
    size = _Part.model_fields["size"]
    assert documented._setting(_Part, "size", size, Effect.VOTES) == (
        "- **`size`** (a whole number, at least 1; default `2`; effect: speed): Its size, in metres."
    )


def test_what_a_newcomer_asked_for_stands_on_the_page() -> None:
    """`fields`, a chat server and a judge's own policy once stood in no document."""
    page = documented.PAGE.read_text(encoding="utf-8")
    for word in ("**`fields`**", "/chat/completions", "[annotate.policy]", "parquet", "huggingface", "--set"):
        assert word in page
    assert Path(documented.PAGE).name == "configuration.md"
