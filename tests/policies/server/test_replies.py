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


ANY = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(
                ["choices", "text", "index", "finish_reason", "usage", "completion_tokens", "token_ids"]
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
