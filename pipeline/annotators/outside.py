"""Annotators and verifiers that outsiders bring: what they are checked for, and what their failures become.

Their mistakes in form (a wrong type, no declaration) end the run with one line. Whatever they raise at work
makes the problem owed, as a failing backend does: it never counts against a step.
"""

import inspect
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, get_args

from pydantic import ValidationError

from pipeline.annotators.base import Annotator, Context
from schemas.errors import UserError
from schemas.factories import blame, file_of, make, outsiders_code, refuse_no_object
from schemas.records import Solution, Vote
from schemas.sources import Source, Sources, check_source
from verifiers.base import Finding, StepContext, Verdict, Verifier


@dataclass(frozen=True)
class OutsideAnnotator:
    """An outsider's annotator, with its failures in our words."""

    inner: Annotator
    factory: str

    @property
    def sources(self) -> Sources:
        """What it declares."""
        return self.inner.sources

    @property
    def needs_gold(self) -> bool:
        """Whether it is asked only about problems with a gold answer."""
        return self.inner.needs_gold

    async def annotate(self, context: Context, solution: Solution) -> list[Vote]:
        """Its votes. BackendError with what it raised; UserError where it returns anything else, or makes a
        vote that none can be (`p` not a number, a step of -1)."""
        called = f"annotator {self.factory!r}"
        with outsiders_code(called, file_of(self.inner)):
            try:
                votes = await self.inner.annotate(context, solution)
            except ValidationError as error:
                # Its code is wrong, and the same command would meet the same vote again: nothing to owe.
                if error.title != Vote.__name__:
                    raise
                raise UserError(f"{called}: {blame(error, file_of(self.inner))}") from error
        if not isinstance(votes, list):
            raise UserError(
                f"annotator {self.factory!r}: annotate returned {_kind(votes)}, not a list of Vote"
            )
        if others := [vote for vote in votes if not isinstance(vote, Vote)]:
            raise UserError(
                f"annotator {self.factory!r}: annotate returned a list with {_kind(others[0])}, not Vote"
            )
        return votes


@dataclass(frozen=True)
class OutsideVerifier:
    """An outsider's verifier, with its failures in our words."""

    inner: Verifier
    factory: str

    @property
    def name(self) -> str:
        """The source that its votes carry."""
        return self.inner.name

    @property
    def sources(self) -> Sources:
        """What it declares."""
        return self.inner.sources

    @property
    def one_thread(self) -> bool:
        """Whether all its checks belong to one thread."""
        return bool(getattr(self.inner, "one_thread", False))

    def check(self, context: StepContext) -> Finding:
        """Its finding. BackendError with what it raised; UserError where it returns anything else."""
        with outsiders_code(f"verifier {self.factory!r}", file_of(self.inner)):
            found = self.inner.check(context)
        if not isinstance(found, Finding):
            raise UserError(f"verifier {self.factory!r}: check returned {_kind(found)}, not a Finding")
        if found.verdict not in get_args(Verdict):
            raise UserError(
                f"verifier {self.factory!r}: check returned a Finding with the verdict {found.verdict!r}, "
                f"not one of {', '.join(get_args(Verdict))}"
            )
        return found


def made_annotator(factory: str, options: Mapping[str, Any]) -> OutsideAnnotator:
    """What a factory makes of its options. UserError where that is no annotator."""
    return checked_annotator(make(factory, options), factory)


def checked_annotator(made: Any, factory: str) -> OutsideAnnotator:
    """An object as an annotator, called `factory` in messages. UserError where it is none."""
    _check("annotator", factory, made, ("sources", "needs_gold", "annotate"))
    if not isinstance(made.needs_gold, bool):
        raise UserError(f"annotator {factory!r}: needs_gold is {_kind(made.needs_gold)}, not True or False")
    if not inspect.iscoroutinefunction(made.annotate):
        raise UserError(
            f"annotator {factory!r}: annotate must be written `async def`, and return a list without `yield`"
        )
    return OutsideAnnotator(made, factory)


def made_verifier(factory: str) -> OutsideVerifier:
    """What a factory makes. UserError where that is no verifier."""
    return checked_verifier(make(factory, {}), factory)


def checked_verifier(made: Any, factory: str) -> OutsideVerifier:
    """An object as a verifier, called `factory` in messages. UserError where it is none."""
    _check("verifier", factory, made, ("name", "sources", "check"))
    if dict(made.sources) != check_source(made.name):
        raise UserError(
            f"verifier {factory!r}: `sources` must declare {made.name!r}, its name, and nothing else: "
            f"sources = check_source({made.name!r})"
        )
    if inspect.iscoroutinefunction(made.check):
        raise UserError(
            f"verifier {factory!r}: check must be written `def`, not `async def`: it asks no model"
        )
    return OutsideVerifier(made, factory)


def _check(what: str, factory: str, made: Any, needed: tuple[str, ...]) -> None:
    refuse_no_object(f"{what} {factory!r}", made)
    with outsiders_code(f"{what} {factory!r}", file_of(made), UserError):  # a property may raise, too
        missing = [name for name in needed if not hasattr(made, name)]
    if missing:
        raise UserError(
            f"{what} {factory!r}: returned {_kind(made)}, which has no `{missing[0]}`; "
            f"it needs {', '.join(needed)}{_HOW.get(missing[0], '')}"
        )
    sources = made.sources
    if not isinstance(sources, Mapping) or not all(
        isinstance(name, str) and isinstance(source, Source) for name, source in sources.items()
    ):
        raise UserError(f"{what} {factory!r}: `sources` must map names to schemas.sources.Source{_SO}")
    if not sources:
        raise UserError(f"{what} {factory!r}: `sources` is empty: it must declare every source it votes as")


_SO = ", e.g. sources = judge_source(NAME)"
_HOW = {"sources": f"; `sources` says what its votes are evidence of{_SO}"}


def _kind(value: object) -> str:
    return f"{type(value).__module__}.{type(value).__name__}".removeprefix("builtins.")
