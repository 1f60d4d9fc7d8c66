"""Reading replies: every number, text and list from a server is bounded where it enters."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.policies.base import Completion, Sampling
from pipeline.policies.server.replies import Reply, Unusable, one_line, read_reply

SAMPLING = Sampling(max_tokens=64, stop=("\n\n",))
REASONS = {
    "stop": "stop eos_token EOS end_turn stop_sequence",
    "length": "length max_tokens model_length MAX_TOKENS",
    "withheld": "content_filter SAFETY tool_calls",
}


def read(*texts: Any, n: int = 1, reason: Any = "stop", usage: Any = None, **extra: Any) -> Reply:
    choices = [{"index": i, "text": t, "finish_reason": reason, **extra} for i, t in enumerate(texts)]
    body = {"choices": choices, "usage": {"completion_tokens": 7} if usage is None else usage}
    return read_reply(json.dumps(body).encode(), n, SAMPLING, chat=False)


@pytest.mark.parametrize(("stopped", "reason"), [(k, w) for k, v in REASONS.items() for w in v.split()])
def test_finish_reasons_are_read_as_what_they_are(stopped: str, reason: str) -> None:
    assert read("a", reason=reason).found[0].stopped == stopped


@pytest.mark.parametrize(("tokens", "stopped"), [(63, "stop"), (64, "length")])
@pytest.mark.parametrize("reason", [None, "whatever"])
def test_an_unknown_finish_reason_is_judged_by_the_tokens(
    reason: str | None, tokens: int, stopped: str
) -> None:
    reply = read("a", reason=reason, usage={"completion_tokens": tokens})
    assert reply.found[0].stopped == stopped
    assert any("finish_reason" in note for note in reply.notes)


@pytest.mark.parametrize("reason", [None, "whatever", "abort", ["stop"], {}, 5])
def test_a_reason_without_evidence_is_no_completion(reason: object) -> None:
    with pytest.raises(Unusable, match="finish_reason"):
        read("a", reason=reason, usage={})


@pytest.mark.parametrize("tokens", [-1, True, "7", 1.5, 2**60, 10**11, 0, None, [7], {}])
def test_a_count_that_cannot_be_is_estimated_from_the_text(tokens: object) -> None:
    reply = read("abcdefgh", usage={"completion_tokens": tokens})
    assert reply.found[0] == Completion("abcdefgh", "stop", 2)
    assert any("how many tokens" in note for note in reply.notes)


def test_a_sum_is_shared_out_by_length_and_listed_tokens_are_counted() -> None:
    assert [c.tokens for c in read("abcd", "ab", n=2, usage={"completion_tokens": 9}).found.values()] == [
        6,
        3,
    ]
    reply = read("abcd", "ab", n=2, token_ids=[1] * 5)
    assert [c.tokens for c in reply.found.values()] == [5, 5]
    assert reply.per_choice


@pytest.mark.parametrize("ids", [[], "12345", [1] * 10_000, {"0": 1}, None])
def test_lists_of_tokens_are_not_believed_blindly(ids: object) -> None:
    assert read("abcd", token_ids=ids).found[0].tokens == 7


def test_a_text_that_goes_on_after_its_stop_is_cut_there() -> None:
    assert read("a\n\nb", reason="length").found[0] == Completion("a", "stop", 7)


def test_one_bad_choice_is_missing_and_the_others_are_found() -> None:
    reply = read("a", 5, "b\ud800", "c", n=5)
    assert sorted(reply.found) == [0, 3]
    assert sorted(reply.missing) == [1, 2, 4]


def test_a_reply_of_one_has_its_place_in_a_larger_request() -> None:
    assert read("a").at(3).found == {3: Completion("a", "stop", 7)}


def chat(prefix: str = "", reason: str = "stop", stop: tuple[str, ...] = ("\n\n",), **message: Any) -> Reply:
    body = {"choices": [{"message": message, "finish_reason": reason}], "usage": {"completion_tokens": 7}}
    sampling = Sampling(max_tokens=64, stop=stop)
    return read_reply(json.dumps(body).encode(), 1, sampling, chat=True, prefix=prefix)


THOUGHT = "<think>\nTwo and two.\n</think>\n\n4"


@pytest.mark.parametrize("name", ["reasoning", "reasoning_content"])
def test_thinking_that_a_server_took_out_stands_before_the_text_again(name: str) -> None:
    # The blank line between them is ours, and no stop text.
    found = chat(**{name: "\nTwo and two.\n", "content": "\n\n4"}, stop=("\n\n\n", "</think>")).found[0]
    assert found == Completion(THOUGHT, "stop", 7)
    assert chat(**{name: "  ", "content": "4"}).found[0] == Completion("4", "stop", 7)
    assert chat(**{name: ["no", "text"], "content": "4"}).found[0] == Completion("4", "stop", 7)


@pytest.mark.parametrize("reason", ["length", "stop"])
@pytest.mark.parametrize("content", [None, "", "\n"])
def test_a_budget_that_ends_in_thinking_is_a_cut_off_answer(reason: str, content: str | None) -> None:
    reply = chat(reasoning="Two and", content=content, reason=reason)
    assert reply.found[0] == Completion("<think>\nTwo and", "length", 7)
    assert any("while they think" in note for note in reply.notes) == (reason == "stop")


def test_an_answer_that_a_parser_took_for_thinking_goes_on_as_an_answer() -> None:
    """Parsers that find no end of the thinking take all for thinking; behind steps it is the answer."""
    for prefix in ("Step 1\n", f"{THOUGHT}\n"):
        assert chat(prefix, reasoning=" + 2 = 4", content=None).found[0] == Completion(" + 2 = 4", "stop", 7)


def test_thinking_that_the_prefix_has_opened_goes_on_without_a_second_tag() -> None:
    prefix = "<think>\nTwo"
    found = chat(prefix, reasoning=" and two.\n", content="\n\n4", stop=()).found[0]
    assert prefix + found.text == THOUGHT
    assert chat(prefix, reasoning=" and", content=None, reason="length").found[0].text == " and"


def test_a_stop_text_within_thinking_ends_it_there() -> None:
    found = chat(reasoning="One.\n\nTwo.", content="4").found[0]
    assert found == Completion("<think>\nOne.", "length", 7)
    assert chat(reasoning="One.", content="4\n\n5").found[0].text == "<think>\nOne.\n</think>\n\n4"


def test_prompt_tokens_and_those_in_the_cache_are_counted_where_they_are_told() -> None:
    def counted(**usage: Any) -> tuple[int | None, int]:
        reply = read("a", usage={"completion_tokens": 7, **usage})
        return reply.prompt_tokens, reply.cached_tokens

    assert counted(prompt_tokens=9, prompt_tokens_details={"cached_tokens": 5}) == (9, 5)
    assert counted(prompt_tokens=9, prompt_cache_hit_tokens=5) == (9, 5)
    assert counted(prompt_tokens=9) == (9, 0)
    for spoilt in (None, "5", -5, 1e3, True, 2**80, [5]):
        assert counted(prompt_tokens=9, prompt_tokens_details={"cached_tokens": spoilt}) == (9, 0)
    assert counted(prompt_tokens_details="5") == (None, 0)


ANY = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(
                """choices text index finish_reason usage completion_tokens token_ids message content
                reasoning prompt_tokens_details cached_tokens""".split()
            ),
            inner,
            max_size=5,
        )
    ),
    max_leaves=20,
)


@given(ANY, st.integers(1, 3), st.booleans())
def test_no_reply_raises_anything_else_or_leaves_the_bounds(data: object, n: int, chat: bool) -> None:
    try:
        reply = read_reply(json.dumps(data).encode(), n, SAMPLING, chat=chat)
    except Unusable:
        return
    assert {*reply.found} | {*reply.missing} == set(range(n))
    assert all(0 <= completion.tokens <= SAMPLING.max_tokens + 8 for completion in reply.found.values())


@given(st.text(), st.integers(4, 40))
def test_words_from_outside_are_one_short_line(text: str, most: int) -> None:
    line = one_line(text, most)
    assert len(line) <= most
    assert line.isprintable()
