"""Answers that a server cuts off, withholds, or has no room for cost votes and never turn a label."""

import asyncio
import hashlib
import json

import httpx
import pytest

from pipeline.fusion.first_error import measured
from pipeline.fusion.labels import fuse
from pipeline.fusion.trust import fit, model_of
from pipeline.labelling.shard import label_problem
from pipeline.labelling.tools import annotators_of
from pipeline.policies.base import Prompt, Sampling
from pipeline.policies.server.policy import ServerPolicy
from pipeline.policies.simulated import SimulatedPolicy, read_states
from schemas.config import FusionConfig, RunConfig
from schemas.records import Finished, Problem
from schemas.sources import EARLIER

HONEST = SimulatedPolicy(slip=0.12, n_steps=6)


def config(**changes: object) -> RunConfig:
    data = {
        "name": "r",
        "policy": {"kind": "simulated"},
        "prompt": {"max_tokens": 300},
        "propose": {"kind": "sample", "n": 3},
        "annotate": [{"kind": "monte_carlo", "rollouts": 16}],
        **changes,
    }
    return RunConfig.model_validate(data)


class HostileServer:
    """An OpenAI-compatible server around the simulated policy that spoils a share of its calls for good."""

    def __init__(self, share: float) -> None:
        self.share, self.spoilt, self.asked = share, 0, 0

    async def __call__(self, request: httpx.Request) -> httpx.Response:
        if request.method == "GET":
            return httpx.Response(404)  # neither health nor metrics to be had
        body = json.loads(request.content)
        self.asked += 1
        prefix = body["prompt"].split("Solution:\n", 1)[1]
        sampling = Sampling(max_tokens=body["max_tokens"], seed=body["seed"])
        prompt = Prompt(body["prompt"].removesuffix(prefix), prefix)
        found = await HONEST.sample(prompt, body["n"], sampling)
        # The proposals themselves are left whole, so that both runs label the same solutions.
        digest = hashlib.sha256(f"{prefix}{body['seed']}".encode()).digest()
        if prefix and digest[0] < 256 * self.share:
            self.spoilt += 1
            return self._spoil(digest[1] % 3, [c.text for c in found])
        return self._reply([c.text for c in found], "stop")

    def _spoil(self, how: int, texts: list[str]) -> httpx.Response:
        match how:
            case 0:
                return self._reply(texts, "content_filter")
            case 1:
                said = "This model's maximum context length is 4096 tokens. However, you requested 5000."
                return httpx.Response(400, json={"error": {"message": said}})
            case _:
                return self._reply([text[: len(text) // 2] for text in texts], "max_tokens")

    @staticmethod
    def _reply(texts: list[str], reason: str) -> httpx.Response:
        choices = [{"index": i, "text": text, "finish_reason": reason} for i, text in enumerate(texts)]
        return httpx.Response(200, json={"choices": choices, "usage": {"completion_tokens": 10 * len(texts)}})


def run(share: float) -> tuple[list[Finished], HostileServer]:
    server = HostileServer(share)
    problems = [Problem(text=f"problem {i}", answer="right", answer_kind="text") for i in range(25)]

    async def label_all() -> list[Finished]:
        transport = httpx.MockTransport(server)
        async with ServerPolicy("http://test/v1", "m", transport=transport, retries=0) as policy:
            tools = annotators_of(config(), policy)
            done = await asyncio.gather(*(label_problem(problem, tools) for problem in problems))
            return [item for item, _ in done]

    return asyncio.run(label_all()), server


@pytest.fixture(scope="module")
def runs() -> tuple[list[Finished], list[Finished], HostileServer]:
    return run(0.0)[0], *run(1 / 3)


def test_faults_mean_fewer_votes(runs: tuple[list[Finished], list[Finished], HostileServer]) -> None:
    honest, hostile, server = runs
    assert server.spoilt > server.asked / 5
    lost = sum(v.n_failed for item in hostile for c in item.candidates for v in c.votes)
    assert lost > 100
    assert not any(v.n_failed for item in honest for c in item.candidates for v in c.votes)
    texts = [[c.solution.text for c in item.candidates] for item in honest]
    assert texts == [[c.solution.text for c in item.candidates] for item in hostile]


def test_no_label_turns(runs: tuple[list[Finished], list[Finished], HostileServer]) -> None:
    honest, hostile, _ = runs
    trust = fit(((len(c.solution.steps), c.votes) for item in honest for c in item.candidates), EARLIER)
    model = model_of(trust, EARLIER)
    labelled = 0
    for one, other in zip(honest, hostile, strict=True):
        for plain, spoilt in zip(one.candidates, other.candidates, strict=True):
            (before, _), (after, _) = fuse([plain, spoilt], model, FusionConfig())
            states = read_states(plain.solution.text)
            for step, (a, b) in enumerate(zip(before, after, strict=True)):
                labelled += b.label is not None
                assert a.label is None or b.label in (a.label, None), (plain.solution.text, a, b)
                # A step that more votes left open may get its label from fewer, but never a wrong one.
                assert a.label is not None or b.label in (int(all(states[: step + 1])), None), (states, a, b)
    assert labelled > 100


def test_every_vote_that_is_left_counts_only_what_was_readable(
    runs: tuple[list[Finished], list[Finished], HostileServer],
) -> None:
    for item in runs[1]:
        for candidate in item.candidates:
            states = read_states(candidate.solution.text)
            for vote in candidate.votes:
                if vote.p:
                    assert all(states[: vote.step + 1])
            error, _ = measured(len(states), candidate.votes, EARLIER)
            if error is not None and False in states:
                assert error <= states.index(False)
