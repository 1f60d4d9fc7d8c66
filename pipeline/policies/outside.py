"""A policy that an outsider brings: what it is checked for, and what its failures become.

What it returns in a wrong form ends the run with one line. Whatever it raises makes the problem owed, as a
failing server does. It is asked for as many completions at once as it says (`in_flight`): without a gate one
problem would wait for the one before it.
"""

import inspect
from collections.abc import Sequence
from typing import Any, Self, get_args

from pipeline.policies.admission import Gate
from pipeline.policies.base import Completion, Policy, Prompt, Sampling, Scorer, TokenLogprobs
from schemas.errors import UserError
from schemas.factories import file_of, outsiders_code, refuse_no_object
from schemas.records import StopReason

IN_FLIGHT = 16
"""Completions that a policy is asked for at once which does not say how many. Few enough for a service that
limits its clients or a model on a CPU, and enough to hide that each answer takes a while."""

_STOPPED = tuple(reason for reason in get_args(StopReason) if reason != "budget")


class OutsidePolicy:
    """An outsider's policy behind a gate, with its failures in our words."""

    def __init__(self, inner: Policy, called: str) -> None:
        self.inner, self._called = inner, called
        self.kind, self.model, self.revision = inner.kind, inner.model, inner.revision
        self.in_flight = _in_flight(inner, called)
        self._gate = Gate(self.in_flight)

    async def __aenter__(self) -> Self:
        with outsiders_code(f"{self._called}: cannot be opened", file_of(self.inner)):
            await self.inner.__aenter__()
        # Which revision answers is often known only now.
        self.model, self.revision = self.inner.model, self.inner.revision
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.inner.__aexit__(*exc)

    async def sample(self, prompt: Prompt, n: int, sampling: Sampling) -> list[Completion]:
        """Its completions. BackendError with what it raised; UserError where it returns anything else."""
        async with self._gate.hold(len(prompt.plain), n, sampling.max_tokens) as request:
            with outsiders_code(self._called, file_of(self.inner)):
                found = await self.inner.sample(prompt, n, sampling)
            if complaint := _complaint(found, n):
                raise UserError(f"{self._called}: sample returned {complaint}")
            request.wrote = [completion.tokens for completion in found]
            return found


class OutsideScorer(OutsidePolicy):
    """One that can score, too (`Scorer`)."""

    async def logprob(self, prompt: Prompt, texts: Sequence[str]) -> list[TokenLogprobs | None]:
        """What it says. BackendError with what it raised."""
        scorer: Any = self.inner
        with outsiders_code(f"{self._called}: logprob", file_of(self.inner)):
            found: list[TokenLogprobs | None] = await scorer.logprob(prompt, texts)
        return found


def checked_policy(found: Any, called: str) -> Policy:
    """An object as a policy, `called` so in messages. UserError names what it lacks of the protocol
    `Policy`."""
    from pipeline.policies.server.policy import ServerPolicy

    if isinstance(found, OutsidePolicy | ServerPolicy):  # a server's has a gate, and is probed as what it is
        return found
    refuse_no_object(called, found)
    lacks = [
        name for name in ("kind", "model", "revision") if not isinstance(getattr(found, name, None), str)
    ]
    coroutines = ("sample", "__aenter__", "__aexit__")
    lacks += [
        f"{name}()" for name in coroutines if not inspect.iscoroutinefunction(getattr(found, name, None))
    ]
    if lacks:
        raise UserError(
            f"{called}: a {type(found).__name__} is no policy: it lacks "
            f"{', '.join(lacks)}; a policy has texts `kind`, `model`, `revision`, and as `async def` "
            f"{', '.join(coroutines)} (docs/extending.md)"
        )
    policy: Policy = found
    return OutsideScorer(policy, called) if isinstance(policy, Scorer) else OutsidePolicy(policy, called)


def _in_flight(inner: Policy, called: str) -> int:
    many = getattr(inner, "in_flight", IN_FLIGHT)
    if not isinstance(many, int) or many < 1:
        raise UserError(f"{called}: in_flight is {many!r}, not a whole number from 1 on")
    return many


def _complaint(found: object, n: int) -> str:
    """What is wrong with what should be n completions; empty where nothing is."""
    if not isinstance(found, list):
        return f"{type(found).__name__}, not a list of {n} Completion"
    if len(found) != n:
        return f"{len(found)} completions, not the {n} that were asked for"
    for one in found:
        if not isinstance(one, Completion):
            return f"a list that holds {type(one).__name__}, not Completion"
        fields: dict[str, Any] = vars(one)  # whose types nobody has checked
        if not isinstance(fields["text"], str):
            return f"a Completion whose text is {type(fields['text']).__name__}"
        if fields["stopped"] not in _STOPPED:
            return f"a Completion with stopped={fields['stopped']!r}, not one of {', '.join(_STOPPED)}"
        if not isinstance(fields["tokens"], int) or fields["tokens"] < 0:
            return f"a Completion with tokens={fields['tokens']!r}, not a count"
    return ""
