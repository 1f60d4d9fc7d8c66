"""Sampling for one problem that reuses every completion which an earlier attempt has already paid for."""

import asyncio
from collections.abc import Iterable, Mapping
from dataclasses import replace
from itertools import takewhile

from pipeline.policies.base import Completion, Policy, Prompt, Sampler, Sampling, Unfinished
from schemas.errors import BackendError
from schemas.records import content_id

Drawn = dict[str, Completion]


class Draws:
    """The completions of one problem: earlier ones are reused, and new ones are kept in `made`.

    `known` holds earlier completions by the keys of `made`. `stored` holds those of a journal by their seeds:
    a rollout does not record its whole request, but its seed follows from problem, prefix, purpose and place.
    """

    def __init__(
        self, known: Mapping[str, Completion] | None = None, stored: Mapping[int, Completion] | None = None
    ) -> None:
        self._known, self._stored = known or {}, stored or {}
        self._made: list[tuple[Policy, Prompt, Sampling, Iterable[tuple[int, Completion]]]] = []
        self._under_way, self._closed = 0, False
        self._idle = asyncio.Event()

    def of(self, policy: Policy) -> Sampler:
        """A sampler that asks the policy only for completions that are not known yet."""
        return _Remembering(policy, self)

    def made(self) -> Drawn:
        """The new completions by their keys."""
        return {
            _key(policy, prompt, sampling, place): completion
            for policy, prompt, sampling, completions in self._made
            for place, completion in completions
        }

    async def close(self) -> None:
        """Refuse new requests, and wait for those under way: they are paid for, so they are kept."""
        self._closed = True
        while self._under_way:
            self._idle.clear()
            await self._idle.wait()

    async def sample(self, policy: Policy, prompt: Prompt, n: int, sampling: Sampling) -> list[Completion]:
        """Exactly `n` completions, see `Sampler`."""
        if not self._known and not self._stored:
            return await self._draw(policy, prompt, n, sampling)
        earlier = [self._earlier(policy, prompt, sampling, place) for place in range(n)]
        found: list[Completion] = []
        while len(found) < n:
            if (known := earlier[len(found)]) is not None:
                found.append(known)
                continue
            # One request for a run of unknown completions; its seed is that of the first of them.
            gap = len(list(takewhile(lambda one: one is None, earlier[len(found) :])))
            part = replace(sampling, seed=sampling.seed + len(found))
            found += await self._draw(policy, prompt, gap, part)
        return found

    def _earlier(self, policy: Policy, prompt: Prompt, sampling: Sampling, place: int) -> Completion | None:
        known = self._known.get(_key(policy, prompt, sampling, place)) if self._known else None
        return known or self._stored.get(sampling.seed + place)

    async def _draw(self, policy: Policy, prompt: Prompt, n: int, sampling: Sampling) -> list[Completion]:
        # The problem has failed and is set aside: whoever still asks for completions of it must stop.
        if self._closed:
            raise BackendError("another call for the same problem failed")
        self._under_way += 1
        try:
            found = await policy.sample(prompt, n, sampling)
        except Unfinished as failure:
            # A part of the request came: it is kept for the next attempt, under its own places.
            self._made.append((policy, prompt, sampling, failure.drawn.items()))
            raise
        finally:
            self._under_way -= 1
            self._idle.set()
        self._made.append((policy, prompt, sampling, list(enumerate(found))))
        return found


class _Remembering:
    def __init__(self, policy: Policy, draws: Draws) -> None:
        self._policy, self._draws = policy, draws

    async def sample(self, prompt: Prompt, n: int, sampling: Sampling) -> list[Completion]:
        return await self._draws.sample(self._policy, prompt, n, sampling)


def _key(policy: Policy, prompt: Prompt, sampling: Sampling, place: int) -> str:
    """Digest of everything that a completion depends on."""
    how = (sampling.temperature, sampling.top_p, sampling.max_tokens, list(sampling.stop))
    # Left out where they are empty, so that keys from before they existed stay the same.
    later = {
        "system": prompt.system,
        "json": sampling.json_schema,
        "stop_token_ids": list(sampling.stop_token_ids),
    }
    also = [[name, value] for name, value in later.items() if value]
    return content_id(
        policy.kind, policy.model, prompt.text, prompt.prefix, *how, sampling.seed + place, *also
    )
