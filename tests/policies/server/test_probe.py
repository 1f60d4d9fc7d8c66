"""The conversation before a run: what is missing is worked round or refused, above all new beginnings."""

import asyncio
import json
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from pipeline.policies.base import Prompt, Sampling
from pipeline.policies.server.policy import ServerPolicy
from pipeline.policies.server.probe import Probe, examine, prepare
from pipeline.policies.simulated import SimulatedPolicy
from schemas.errors import BackendError, UserError

Body = dict[str, Any]
SAMPLING = Sampling(max_tokens=200)


class Model:
    """A server whose model can count and say sentences; what it does with a begun answer is to be chosen."""

    def __init__(self, counts: str = "0, 11, 12", chat: bool = False, **faults: Any) -> None:
        self.counts, self.chat, self.faults = counts, chat, faults
        self.asked: list[Body] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        if request.method == "GET":
            return httpx.Response(404)
        asked = json.loads(request.content)
        self.asked.append(asked)
        refused = self.faults.get("refuses")
        if refused and refused(asked):
            return httpx.Response(400, json={"error": {"message": self.faults["words"]}})
        messages = asked.get("messages", [])
        if self.faults.get("drops_system"):
            messages = [message for message in messages if message["role"] != "system"]
        if "default_system" in self.faults and not has_system(asked):
            messages = [{"role": "system", "content": self.faults["default_system"]}, *messages]
        text = asked["prompt"] if "prompt" in asked else "".join(m["content"] for m in messages)
        n = 1 if self.faults.get("ignores_n") else asked.get("n", 1)
        said = [self.answer(text, 0 if self.faults.get("one_seed") else i) for i in range(n)]
        read = self.faults.get("reads", lambda text: text)(text)
        usage = {} if self.faults.get("counts_nothing") else {"usage": {"prompt_tokens": len(read.split())}}
        return httpx.Response(200, json={"choices": [self._choice(t, asked) for t in said], **usage})

    def answer(self, text: str, index: int) -> str:
        if "Count" not in text:
            return f"a sentence of its own, number {index}"
        whole = "1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15"
        return whole if text.endswith("\n\n") else self.counts

    def _choice(self, text: str, asked: Body) -> Body:
        ids = {"token_ids": [1, 2, 3]} if asked.get("return_token_ids") and self.faults.get("ids") else {}
        place = {"message": {"content": text}} if "messages" in asked else {"text": text}
        return {**place, "finish_reason": "stop", **ids}


def probe(
    model: Model, *, prefixes: bool = True, sampling: Sampling = SAMPLING
) -> tuple[Probe, ServerPolicy]:
    async def run() -> tuple[Probe, ServerPolicy]:
        transport = httpx.MockTransport(model)
        async with ServerPolicy(
            "http://there/v1", "m", transport=transport, chat=model.chat, backoff_s=0.001
        ) as policy:
            return await examine(policy, sampling, prefixes=prefixes), policy

    return asyncio.run(run())


def holds(found: Probe) -> dict[str, bool | None]:
    return {finding.what: finding.holds for finding in found.findings}


@pytest.mark.parametrize("chat", [False, True])
def test_a_good_server(chat: bool) -> None:
    model = Model(chat=chat, ids=True)
    found, policy = probe(model)
    assert found.refused == ""
    assert holds(found)["continues a begun answer"] is True
    assert holds(found)["tokens of each completion"] is True
    assert policy.dialect.many
    assert policy.dialect.token_ids
    assert len(model.asked) == 3 + 2 * chat
    assert 200 in [asked["max_tokens"] for asked in model.asked]


@pytest.mark.parametrize(
    "counts",
    [
        "1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11",
        "Sure, here is the full solution: 1, 2, 3, 4, 5",
        "10, 11, 12, 13",
    ],
)
def test_a_chat_server_that_begins_anew_is_refused(counts: str) -> None:
    found, _ = probe(Model(counts, chat=True))
    assert holds(found)["continues a begun answer"] is False
    assert "does not continue a begun answer" in found.refused
    assert probe(Model(counts, chat=True), prefixes=False)[0].refused == ""


def servers(*models: Model, gone: int = 0) -> Probe:
    """The conversation with several servers, of which the last `gone` cannot be reached."""
    hosts = {f"s{i}": model for i, model in enumerate(models)}

    def handler(request: httpx.Request) -> httpx.Response:
        if request.url.host not in hosts:
            raise httpx.ConnectError("nobody is there")
        return hosts[request.url.host](request)

    async def run() -> Probe:
        urls = [f"http://s{i}/v1" for i in range(len(models) + gone)]
        transport = httpx.MockTransport(handler)
        async with ServerPolicy(urls, "m", transport=transport, chat=True, backoff_s=0.001) as policy:
            return await examine(policy, SAMPLING)

    return asyncio.run(run())


@pytest.mark.parametrize("bad", range(3))
def test_one_of_several_servers_that_begins_anew_is_found(bad: int) -> None:
    found = servers(*(Model("10, 11" if i == bad else "0, 11", chat=True) for i in range(3)))
    assert found.refused.startswith(f"http://s{bad}/v1: the server does not continue")


def test_a_server_that_cannot_be_reached_is_told_and_left_out() -> None:
    found = servers(Model(chat=True), gone=1)
    assert found.refused == ""
    assert "http://s1/v1 cannot be reached and is left out" in found.notes


def test_a_server_that_refuses_begun_answers_is_refused() -> None:
    refuses: Callable[[Body], bool] = lambda asked: "continue_final_message" in asked  # noqa: E731
    words = "Unrecognized request argument supplied: continue_final_message"
    found, _ = probe(Model(chat=True, refuses=refuses, words=words))
    assert "does not continue a begun answer: it refuses it" in found.refused
    assert any(words in note for note in found.notes)


def test_what_cannot_be_told_is_said_and_goes_on() -> None:
    found, _ = probe(Model("hm", chat=True))
    assert holds(found)["continues a begun answer"] is None
    assert found.refused == ""


def test_the_words_of_the_run_itself_tell_where_a_model_cannot_count() -> None:
    class Parrot(Model):
        def answer(self, text: str, index: int) -> str:
            return f"always the same long answer, whatever was begun {'' if 'Count' in text else index}"

    assert "does not continue a begun answer" in probe(Parrot(chat=True))[0].refused


def test_n_ignored_or_refused_or_with_one_seed_for_all_means_single_requests() -> None:
    refuses: Callable[[Body], bool] = lambda asked: asked.get("n", 1) > 1  # noqa: E731
    for model in (Model(ignores_n=True), Model(one_seed=True), Model(refuses=refuses, words="n must be 1")):
        found, policy = probe(model)
        assert not policy.dialect.many
        assert holds(found)["several completions at once"] is False
        assert found.refused == ""
        assert any("asked for alone" in note for note in found.notes)


def has_system(asked: Body) -> bool:
    return any(message["role"] == "system" for message in asked.get("messages", []))


@pytest.mark.parametrize(
    ("faults", "system"),
    [
        ({}, True),
        ({"counts_nothing": True}, None),
        ({"default_system": "You are a helpful assistant with a name, trained by somebody. " * 2}, True),
        ({"drops_system": True}, False),
        ({"refuses": has_system, "words": "System role not supported"}, False),
        ({"refuses": has_system, "words": "Only user and assistant roles are supported!"}, False),
    ],
)
def test_a_system_message_that_the_template_has_no_role_for_begins_the_users(
    faults: Body, system: bool | None
) -> None:
    model = Model(chat=True, **faults)
    found, policy = probe(model)
    assert holds(found)["system messages"] is system
    assert found.refused == ""
    assert any("takes no system message" in note for note in found.notes) == (system is False)
    body = policy.dialect.request("m", Prompt("What?", "Step", "You are brief."), 1, SAMPLING)
    first = {"role": "system", "content": "You are brief."}
    assert body["messages"] == (
        [{"role": "user", "content": "You are brief.\n\nWhat?"}, {"role": "assistant", "content": "Step"}]
        if system is False
        else [first, {"role": "user", "content": "What?"}, {"role": "assistant", "content": "Step"}]
    )


class Thinker(Model):
    """Thinks before it answers; with `forgets` its template leaves out the thinking of a begun answer."""

    def __init__(self, *, forgets: bool) -> None:
        super().__init__(chat=True, reads=(lambda text: text.rpartition("</think>")[2]) if forgets else str)

    def _choice(self, text: str, asked: Body) -> Body:
        message = {"reasoning": None, "content": text}
        if "continue_final_message" in asked:  # what a parser does that finds no tags
            message = {"reasoning": text, "content": None}
        elif "Count" not in asked["messages"][-1]["content"]:
            message = {"reasoning": "I think.", "content": text}
        return {"message": message, "finish_reason": "stop"}


@pytest.mark.parametrize("forgets", [False, True])
def test_a_template_that_leaves_out_the_thinking_of_a_begun_answer_is_told(forgets: bool) -> None:
    found, _ = probe(Thinker(forgets=forgets))
    assert holds(found)["continues a begun answer"] is True
    assert holds(found)["keeps the thinking of a begun answer"] is not forgets
    assert any("leaves out the thinking" in note for note in found.notes) == forgets
    assert found.refused == ""


class NewThoughts(Thinker):
    """Begins to think again where it should continue."""

    def _choice(self, text: str, asked: Body) -> Body:
        if "continue_final_message" not in asked:
            return super()._choice(text, asked)
        message = {"reasoning": "Okay, the user wants me", "content": self.faults.get("answers")}
        return {"message": message, "finish_reason": "length"}


@pytest.mark.parametrize("answers", [None, "1, 2, 3"])
def test_a_reasoning_server_that_thinks_anew_is_refused(answers: str | None) -> None:
    model = NewThoughts(forgets=True)
    model.faults["answers"] = answers
    found, _ = probe(model)
    assert holds(found)["continues a begun answer"] is False
    assert "does not continue a begun answer" in found.refused


def test_a_server_that_refuses_stop_tokens_is_named() -> None:
    words = "Unrecognized request argument supplied: stop_token_ids"
    model = Model(refuses=lambda asked: "stop_token_ids" in asked, words=words)
    with pytest.raises(
        UserError, match="m: the server refuses prompt.stop_token_ids.*use prompt.stop .*Unrec"
    ):
        probe(model, sampling=Sampling(max_tokens=200, stop_token_ids=(7,)))
    assert probe(model)[0].refused == ""


def test_a_token_limit_of_the_run_beyond_the_model_is_refused() -> None:
    words = "This model's maximum context length is 100 tokens"
    refuses: Callable[[Body], bool] = lambda asked: asked["max_tokens"] > 100  # noqa: E731
    found, _ = probe(Model(refuses=refuses, words=words))
    assert found.refused == "prompt.max_tokens = 200 leaves no room for a prompt; lower it"


def test_a_judges_limit_beyond_the_model_is_refused_by_its_own_name() -> None:
    words = "max_tokens=300 cannot be greater than max_model_len=256. Please request fewer output tokens."
    model = Model(refuses=lambda asked: asked["max_tokens"] > 256, words=words)

    async def run() -> None:
        async with ServerPolicy("http://there/v1", "m", transport=httpx.MockTransport(model)) as policy:
            await prepare(policy, SAMPLING, prefixes=False, limit=("judge.max_tokens", 300))

    with pytest.raises(UserError, match="judge.max_tokens = 300 leaves no room for a prompt; lower it"):
        asyncio.run(run())


def test_a_server_that_never_answers_is_a_backend_error_before_any_problem() -> None:
    with pytest.raises(BackendError, match="no problem was begun.*out of order"):
        probe(Model(refuses=lambda asked: True, words="out of order"))


@pytest.mark.parametrize("chat", [False, True])
def test_the_own_answer_of_a_model_that_cannot_count_is_cut_before_a_word(chat: bool) -> None:
    whole = "an incomprehensibilities-loving uncharacteristically poetical answer"

    class Words(Model):
        """Continues after whole words, and loses its way in half of one, as tokenizers make models do."""

        def answer(self, text: str, index: int) -> str:
            if "Count" not in text:
                return f"a sentence of its own, number {index}"
            begun = text.partition("\n\n")[2]
            rest = whole.removeprefix(begun)
            return rest if rest != whole and rest.startswith(" ") or not begun else "something else"

    assert holds(probe(Words(chat=chat))[0])["continues a begun answer"] is True


def test_a_run_on_a_server_that_begins_anew_does_not_begin() -> None:
    async def run() -> None:
        transport = httpx.MockTransport(Model("1, 2, 3, 4", chat=True))
        async with ServerPolicy("http://there/v1", "m", transport=transport, chat=True) as policy:
            await prepare(policy, SAMPLING, prefixes=False)
            await prepare(policy, SAMPLING, prefixes=True)

    with pytest.raises(UserError, match="m: the server does not continue a begun answer"):
        asyncio.run(run())


def test_an_engine_here_is_asked_too() -> None:
    found = asyncio.run(examine(SimulatedPolicy(), Sampling()))
    assert holds(found) == {"answers": True, "continues a begun answer": True}
    assert asyncio.run(SimulatedPolicy().sample(Prompt("p"), 1, Sampling()))
