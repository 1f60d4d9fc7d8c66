"""Outsiders' parts that leave the program or break when they are looked at: one line, never a silent end."""

import asyncio
import math
import sys
from types import ModuleType
from typing import Any

import pytest
from pydantic import BaseModel

from pipeline.annotators.outside import checked_annotator, checked_verifier, made_annotator
from pipeline.inputs.problems import load_problems
from schemas.config import problems_config
from schemas.errors import BackendError, UserError
from schemas.factories import make
from schemas.records import Vote
from schemas.sources import judge_source


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


class Hopeful:
    """It divides nothing by nothing, and asks a service whose reply is not what it expects."""

    needs_gold = False
    sources = judge_source("hopeful")

    def __init__(self, made: type[BaseModel], **values: Any) -> None:
        self.made, self.values = made, values

    async def annotate(self, context: Any, solution: Any) -> list[Any]:  # noqa: ARG002
        return [self.made(**self.values)]


class Reply(BaseModel):
    score: float


def test_a_vote_that_can_be_none_ends_the_run_and_a_torn_reply_leaves_the_problem_owed() -> None:
    """The same command would meet the same vote again, but perhaps another reply."""
    nan = checked_annotator(Hopeful(Vote, step=0, source="hopeful", asks="valid", p=math.nan), "mine")
    with pytest.raises(
        UserError, match=r"annotator 'mine': ValidationError: Vote: p: .*\(it is nan\) \(.*line"
    ):
        asyncio.run(nan.annotate(None, None))  # type: ignore[arg-type]
    torn = checked_annotator(Hopeful(Reply, score="none"), "mine")
    with pytest.raises(BackendError, match="annotator 'mine': ValidationError: Reply: score"):
        asyncio.run(torn.annotate(None, None))  # type: ignore[arg-type]
