"""A policy without a model, whose true success rates are known, for tests, benchmarks and first tries.

A step after a good step is bad with probability `slip`; a step after a bad one is good again with probability
`recover`. So the success rate of every prefix has a closed form, which estimates are compared with. Each line
of the text says whether its step is good, so the prefix alone decides what can follow it.
"""

import hashlib
import math
import random
import re
from collections.abc import Sequence
from dataclasses import replace
from typing import Self

from pipeline.policies.base import Completion, Policy, Prompt, Sampling, TokenLogprobs
from schemas.records import content_id

_STEP = re.compile(r"^step (\d+): (good|bad)$", re.MULTILINE)
RIGHT, WRONG = "right", "wrong"
"""The final answers, written after `#### `."""


class SimulatedPolicy:
    """A two-state Markov chain over steps, good or bad, written out as text.

    With `bad_step` (0-based) nothing is random: a completion is right exactly when its prefix ends before
    that step. `planted` gives the solution with this mistake, for a search to find.
    """

    kind = "simulated"

    def __init__(
        self, *, slip: float = 0.15, recover: float = 0.0, n_steps: int = 8, bad_step: int | None = None
    ) -> None:
        self.slip, self.recover, self.n_steps, self.bad_step = slip, recover, n_steps, bad_step
        self.model = f"slip={slip},recover={recover},n_steps={n_steps}"
        self.model += f",bad_step={bad_step}" if bad_step is not None else ""
        self.revision = "1"
        self.calls = self.completions = 0
        """What was asked so far."""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc: object) -> None:
        return None

    async def sample(self, prompt: Prompt, n: int, sampling: Sampling) -> list[Completion]:
        """Exactly `n` completions, each fixed by the prompt, the prefix and its seed."""
        self.calls += 1
        self.completions += n
        if "####" in prompt.prefix:
            return [Completion("", "stop")] * n
        written = [line for line in prompt.prefix.splitlines() if line.strip()]
        good = not written or not written[-1].endswith(": bad")
        if self.bad_step is not None:
            good = len(written) <= self.bad_step
        # A prefix may end in the middle of a line, as a model's does; the next step starts a line of its own.
        begins = "" if not prompt.prefix or prompt.prefix.endswith("\n") else "\n"
        seeds = range(sampling.seed, sampling.seed + n)
        keys = (content_id("simulated", prompt.instruction, prompt.prefix, seed) for seed in seeds)
        return [_limited(begins + self._solved(key, len(written), good), sampling) for key in keys]

    async def logprob(self, prompt: Prompt, texts: Sequence[str]) -> list[TokenLogprobs | None]:
        """One token for each text that names an answer: the log of that answer's probability from here.

        `#### right` after a prefix has the log of the prefix's success rate. Any other text gives None.
        """
        right = self.value(read_states(prompt.prefix))
        chances = {RIGHT: right, WRONG: 1 - right}
        found: list[TokenLogprobs | None] = []
        for text in texts:
            p = chances.get(text.removeprefix("####").strip())
            # log(0) does not exist. 1e-300 stands for it: no real probability of a token is so small.
            found.append(() if not text else None if p is None else (math.log(max(p, 1e-300)),))
        return found

    def value(self, states: Sequence[bool]) -> float:
        """Probability of the right answer after steps that were good (True) or bad.

        With pi = r/(e+r), l = 1-e-r and m steps left: g = pi + (1-pi) l^m, b = pi (1 - l^m).
        """
        if self.bad_step is not None:
            return float(len(states) <= self.bad_step)
        left, good = self.n_steps - len(states), not states or states[-1]
        if self.slip + self.recover == 0:
            return float(good)  # the state never changes, and pi would be 0 / 0
        pi = self.recover / (self.slip + self.recover)
        decay = (1 - self.slip - self.recover) ** left
        return pi + (1 - pi) * decay if good else pi * (1 - decay)

    def planted(self) -> str:
        """With `bad_step`: the solution that makes that mistake."""
        return solution_text([self.bad_step is None or step < self.bad_step for step in range(self.n_steps)])

    def _solved(self, seed: str, done: int, good: bool) -> str:
        """The rest of a solution after so many steps, the last of which was good or not."""
        rng, lines = random.Random(seed), []
        for step in range(done, self.n_steps):
            if self.bad_step is None:
                chance = rng.random()
                good = chance >= self.slip if good else chance < self.recover
            lines.append(_line(step, good))
        return "".join(lines) + _answer(good)


def solution_text(states: Sequence[bool]) -> str:
    """A solution whose steps are good or bad as `states` says, one line each; the last one decides the
    answer."""
    return "".join(_line(step, good) for step, good in enumerate(states)) + _answer(not states or states[-1])


def read_states(text: str) -> list[bool]:
    """Whether each step of a text is good."""
    return [match[2] == "good" for match in _STEP.finditer(text)]


def _line(step: int, good: bool) -> str:
    return f"step {step}: {'good' if good else 'bad'}\n"


def _answer(good: bool) -> str:
    return f"#### {RIGHT if good else WRONG}"


def _limited(text: str, sampling: Sampling) -> Completion:
    """The text, cut at the request's stop texts and token limit; a word counts as one token."""
    ends = [at for stop in sampling.stop if (at := text.find(stop)) >= 0]
    if ends:
        text = text[: min(ends)]
    n = len(text.split()) + text[-1:].isspace()  # what stands before a word is a part of it
    if n > sampling.max_tokens:
        words = re.findall(r"\s*\S+|\s+", text)
        return Completion("".join(words[: sampling.max_tokens]), "length", sampling.max_tokens)
    return Completion(text, "stop", n)


class FaultyPolicy:
    """Another policy, a share of whose completions is spoilt: failed, cut in half, empty, or a megabyte long.

    The request alone decides which completion is spoilt, so a run with faults can be repeated and resumed.
    """

    kind = "faulty"

    def __init__(self, inner: Policy, share: float, seed: int = 0) -> None:
        self._inner, self._share, self._seed = inner, share, seed
        self.model, self.revision = inner.model, f"{inner.revision}+faults={share}/{seed}"

    async def __aenter__(self) -> Self:
        await self._inner.__aenter__()
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self._inner.__aexit__(*exc)

    async def sample(self, prompt: Prompt, n: int, sampling: Sampling) -> list[Completion]:
        """The inner policy's completions, some of them spoilt."""
        found = await self._inner.sample(prompt, n, sampling)
        return [self._spoil(c, prompt, sampling.seed + index) for index, c in enumerate(found)]

    def _spoil(self, completion: Completion, prompt: Prompt, seed: int) -> Completion:
        asked = f"{self._seed}\0{prompt.instruction}\0{prompt.prefix}\0{seed}".encode(
            "utf-8", "surrogatepass"
        )
        digest = hashlib.sha256(asked).digest()
        # The digest's first six bytes are a uniform number below 2**48; its seventh byte chooses the fault.
        if int.from_bytes(digest[:6]) >= self._share * 2**48:
            return completion
        match digest[6] % 4:
            case 0:
                return Completion("", "error")
            case 1:
                half = completion.text[: len(completion.text) // 2]
                return replace(completion, text=half, stopped="length")
            case 2:
                return replace(completion, text="")
            case _:
                return replace(completion, text="9" * 1_000_000)
