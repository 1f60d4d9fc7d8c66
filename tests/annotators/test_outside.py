"""Outsiders' parts that leave the program or break when they are looked at: one line, never a silent end."""

import sys
from types import ModuleType
from typing import Any

import pytest

from pipeline.annotators.outside import checked_annotator, checked_verifier, made_annotator
from pipeline.inputs.problems import load_problems
from schemas.config import problems_config
from schemas.errors import UserError
from schemas.factories import make


def leaves(**_: Any) -> Any:
    raise SystemExit(0)


class Broken:
    """Its declaration raises when it is read."""

    needs_gold = False
    name = "broken"

    @property
    def sources(self) -> Any:
        raise RuntimeError("not yet")


def test_a_factory_that_leaves_the_program_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    module = ModuleType("leaving")
    vars(module)["leaves"] = leaves
    monkeypatch.setitem(sys.modules, "leaving", module)
    with pytest.raises(UserError, match="factory 'leaving:leaves': SystemExit"):
        made_annotator("leaving:leaves", {})
    with pytest.raises(UserError, match="factory 'leaving:leaves': SystemExit"):
        make("leaving:leaves", {})
    with pytest.raises(UserError, match="factory 'leaving:leaves': SystemExit"):
        list(load_problems(problems_config(factory="leaving:leaves")))


def test_a_declaration_that_raises_is_an_error() -> None:
    with pytest.raises(UserError, match="annotator 'mine': RuntimeError: not yet"):
        checked_annotator(Broken(), "mine")
    with pytest.raises(UserError, match="verifier 'mine': RuntimeError: not yet"):
        checked_verifier(Broken(), "mine")
