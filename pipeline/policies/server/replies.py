"""Reads the completions out of a server's reply, without trusting its types, sizes or counts.

What can be read is kept. What cannot be read counts as missing: it is asked for again, and never becomes a
completion.
"""

import itertools
import json
import logging
import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

from pipeline.policies.base import Completion, Sampling
from pipeline.policies.chat import CLOSE, OPEN
from pipeline.policies.tokens import cut_at_stop
from schemas.reasoning import is_thinking
from schemas.records import StopReason
from schemas.text import one_line

log = logging.getLogger(__name__)
_REASONS: dict[StopReason, frozenset[str]] = {
    "stop": frozenset(
        """stop eos eos_token end end_token end_turn end_of_text endoftext end_of_sequence stop_sequence
        stop_token stop_word stop_string complete completed done finished normal""".split()
    ),
    "length": frozenset(
        """length max_length max_tokens max_new_tokens max_output_tokens model_length context_length
        token_limit incomplete""".split()
    ),
    "withheld": frozenset(
        """content_filter safety recitation blocklist prohibited_content spii refusal guardrail
        guardrail_intervened tool_calls tool_use function_call""".split()
    ),
    "error": frozenset(
        """error abort aborted cancelled canceled timeout unavailable overloaded
        insufficient_system_resource""".split()
    ),
}
"""What servers write as `finish_reason`, in lower case, by what it means here. A completion that ended with
an error of the server is asked for again."""
_KNOWN = {word: stopped for stopped, words in _REASONS.items() for word in words}
# A text with more characters per token than this is not what was asked for: an error page, or a server that
# ignored the limit. Real tokens have about 4; runs of spaces have more.
_CHARS_PER_TOKEN = 32
# The usual length of a token in English, for servers that do not say how many tokens they wrote.
_GUESSED_CHARS_PER_TOKEN = 4
# Tokens that a server may count beyond the limit: some count the end token, or the tokens of a stop text.
_SLACK = 8


class Unusable(Exception):
    """A reply, or one choice of it, that cannot be read as a completion; with the reason in one sentence."""


@dataclass
class Reply:
    """Completions by their place in the request, and why the others are missing."""

    found: dict[int, Completion] = field(default_factory=dict)
    missing: dict[int, str] = field(default_factory=dict)
    prompt_tokens: int | None = None
    cached_tokens: int = 0
    """Those of the prompt that the engine had in its cache; 0 where the server does not say."""
    n_choices: int = 0
    from_thinking: bool = False
    """Whether a continuation came as thinking, because the server's parser found no end of it."""
    per_choice: bool = False
    """Whether the server told the tokens of each choice, and not only their sum."""
    notes: set[str] = field(default_factory=set)
    """What was unusual, for the user; nothing was lost by it."""
    is_sure: bool = False
    """Whether empty texts are right, because the prompt leaves no room, and need no second try."""

    def at(self, place: int) -> "Reply":
        """This reply to a request for one completion, moved to its place in a larger request."""
        return replace(
            self,
            found={place: self.found[0]} if 0 in self.found else {},
            missing={place: self.missing[0]} if 0 in self.missing else {},
        )


def read_reply(body: bytes, n: int, sampling: Sampling, *, chat: bool, prefix: str = "") -> Reply:
    """The completions of a request for `n`, which continue `prefix`. Raises Unusable when there is not one in
    it."""
    data = _parsed(body)
    choices = data.get("choices") if isinstance(data, dict) else None
    if not isinstance(data, dict) or not isinstance(choices, list):
        raise Unusable(f"not a completion: {excerpt(body)}")
    if not choices:
        raise Unusable("a reply without choices")
    usage = data.get("usage")
    usage = usage if isinstance(usage, dict) else {}
    reply = Reply(prompt_tokens=_count(usage.get("prompt_tokens"), 10**9), n_choices=len(choices))
    reply.cached_tokens = _cached(usage)
    placed = _placed(choices, n)
    read = {place: _text(choice, sampling, chat=chat, prefix=prefix) for place, choice in placed.items()}
    texts = {place: said.text for place, said in read.items()}
    reply.from_thinking = any(said.from_thinking for said in read.values())
    told = {place: _ids(choice, sampling) for place, choice in placed.items()}
    reply.per_choice = bool(told) and all(count is not None for count in told.values())
    total = _count(usage.get("completion_tokens"), len(choices) * (sampling.max_tokens + _SLACK))
    if total is None and not reply.per_choice:
        reply.notes.add("it does not say credibly how many tokens it wrote; they are estimated from the text")
    shares = dict(zip(texts, _shares(total, list(texts.values()), sampling), strict=True))
    for place, choice in placed.items():
        count = told[place]
        tokens = shares[place] if count is None else count
        certain = count if count is not None else total if total is not None and len(choices) == 1 else None
        try:
            reply.found[place] = _completion(choice, read[place], sampling, tokens, certain, reply.notes)
        except Unusable as fault:
            reply.missing[place] = str(fault)
    for place in range(n):
        if place not in reply.found:
            reply.missing.setdefault(place, f"{len(choices)} choices instead of {n}")
    if not reply.found:
        raise Unusable(next(iter(reply.missing.values())))
    return reply


def excerpt(body: bytes, most: int = 120) -> str:
    """The beginning of a body as one printable line."""
    return one_line(body[: 4 * most].decode(errors="replace"), most)


def _parsed(body: bytes) -> Any:
    # Python's parser accepts NaN and Infinity, which are no JSON.
    def refuse(constant: str) -> float:
        raise ValueError(constant)

    try:
        return json.loads(body.decode(), parse_constant=refuse)
    except (ValueError, RecursionError):
        raise Unusable(f"not a completion: {excerpt(body) or 'an empty reply'}") from None


def _placed(choices: list[Any], n: int) -> dict[int, dict[str, Any]]:
    """Choices by their `index`; by their order where no choice has one, or all have the same (some servers
    write 0 everywhere). Of two choices with one index neither is kept: nobody knows which has this seed."""
    choices = choices[: 16 * n]  # a list of a million choices is not worth reading
    indexes = [choice.get("index") if isinstance(choice, dict) else None for choice in choices]
    known = [i for i in indexes if isinstance(i, int) and not isinstance(i, bool)]
    if not known or (len(set(known)) == 1 and len(choices) == n):
        return {place: c for place, c in enumerate(choices[:n]) if isinstance(c, dict)}
    placed: dict[int, dict[str, Any]] = {}
    twice = set[int]()
    for index, choice in zip(indexes, choices, strict=True):
        if isinstance(index, int) and not isinstance(index, bool) and 0 <= index < n:
            twice |= {index} & placed.keys()
            placed[index] = choice
    return {place: choice for place, choice in placed.items() if place not in twice}


class _Said(NamedTuple):
    """The text of a choice; None where it has none. `thinks`: it ends within its thinking; `cut`: it went on
    after a stop text; `from_thinking`: it came in the place of thinking, and is read as an answer."""

    text: str | None
    thinks: bool = False
    cut: bool = False
    from_thinking: bool = False


def _text(choice: dict[str, Any], sampling: Sampling, *, chat: bool, prefix: str) -> _Said:
    """What a choice says, with its thinking in front. Servers with a reasoning parser take the thinking out
    of the text; it is evidence, and a continued answer must have it again."""
    message = choice.get("message") if chat else choice
    if not isinstance(message, dict):
        return _Said(None)
    text, thought = message.get("content" if chat else "text"), _thought(message) if chat else ""
    text, moved = text if isinstance(text, str) else None, False
    if thought and not (text or "").strip():
        text = None
        # A parser that finds no tag takes all for thinking. Behind an answer's steps it is the answer.
        if prefix and not is_thinking(prefix):
            text, thought, moved = thought, "", True
    # Each alone: the blank line that is put between them is no stop text of the model's.
    ended = cut_at_stop(thought, sampling.stop)
    if ended is not None:
        return _Said(_joined(ended, "", prefix), thinks=True, cut=True)
    ended = cut_at_stop(text or "", sampling.stop)
    said = text if ended is None else ended
    if thought:
        return _Said(_joined(thought, said or "", prefix), thinks=text is None, cut=ended is not None)
    return _Said(said, cut=ended is not None, from_thinking=moved)


def _thought(message: dict[str, Any]) -> str:
    """The thinking as vLLM (`reasoning`), SGLang, DeepSeek and others (`reasoning_content`) send it."""
    found = (message.get(name) for name in ("reasoning", "reasoning_content"))
    return next((thought for thought in found if isinstance(thought, str) and thought.strip()), "")


def _joined(thought: str, text: str, prefix: str) -> str:
    """Thinking and text as the model wrote them. Where the prefix has opened the thinking, it goes on."""
    begun = thought if is_thinking(prefix) else f"{OPEN}\n{thought.lstrip()}"
    answer = text.lstrip("\n")
    return f"{begun.rstrip()}\n{CLOSE}\n\n{answer}" if text else begun


def _completion(
    choice: dict[str, Any],
    said: _Said,
    sampling: Sampling,
    tokens: int,
    certain: int | None,
    notes: set[str],
) -> Completion:
    stopped = _stopped(choice.get("finish_reason"), sampling, certain, notes)
    text = said.text
    if stopped == "withheld":
        return Completion("", "withheld", tokens)
    if text is None:
        raise Unusable("a choice without a text")
    if len(text) > _CHARS_PER_TOKEN * (sampling.max_tokens + _SLACK):
        raise Unusable(f"{len(text)} characters for at most {sampling.max_tokens} tokens")
    if "\0" in text or not _is_text(text):
        raise Unusable("a text with characters that no text has")
    if said.cut:
        notes.add("it writes on after `prompt.stop`; its texts are cut there")
        stopped = "stop"
    if said.thinks and stopped == "stop":
        notes.add("answers that end while they think count as cut off; is its reasoning parser the model's?")
        stopped = "length"
    return Completion(text, stopped, tokens)


def _stopped(reason: object, sampling: Sampling, tokens: int | None, notes: set[str]) -> StopReason:
    """Why a completion ended. Where the reason is unknown, its count of tokens decides: a completion that has
    reached the limit was cut off. An estimated count would not do, so then it is Unusable."""
    word = reason.strip().lower() if isinstance(reason, str) and len(reason) < 100 else None
    known = _KNOWN.get(word) if word else None
    if known == "error":
        raise Unusable(f"finish_reason {one_line(str(reason), 40)!r}")
    if known is not None:
        return known
    if reason is not None and not isinstance(reason, str):
        raise Unusable(f"a finish_reason of type {type(reason).__name__}")
    if tokens is None:
        raise Unusable(f"finish_reason {one_line(str(reason), 40)!r}, and no count of tokens")
    stopped: StopReason = "length" if tokens >= sampling.max_tokens else "stop"
    notes.add(f"finish_reason {one_line(str(reason), 40)!r} is read as {stopped!r}, by the tokens written")
    return stopped


def _ids(choice: dict[str, Any], sampling: Sampling) -> int | None:
    """How many tokens a choice holds, where the server lists them."""
    ids = choice.get("token_ids")
    if not isinstance(ids, list) or not 0 < len(ids) <= sampling.max_tokens + _SLACK:
        return None
    return min(len(ids), sampling.max_tokens)


def _count(value: object, most: int) -> int | None:
    """A number of tokens from 1 to `most`, else None; servers that do not count write 0."""
    is_number = isinstance(value, int) and not isinstance(value, bool)
    return value if is_number and isinstance(value, int) and 0 < value <= most else None


def _cached(usage: dict[str, Any]) -> int:
    """Prompt tokens that lay in the cache, as OpenAI and vLLM tell them, and as DeepSeek does."""
    details = usage.get("prompt_tokens_details")
    found = (
        details.get("cached_tokens") if isinstance(details, dict) else usage.get("prompt_cache_hit_tokens")
    )
    return _count(found, 10**9) or 0


def _shares(total: int | None, texts: Sequence[str | None], sampling: Sampling) -> list[int]:
    """Tokens of each completion, in proportion to the texts' lengths: most servers tell only the sum."""
    lengths = [len(text or "") for text in texts]
    if total is None:
        return [min(sampling.max_tokens, math.ceil(n / _GUESSED_CHARS_PER_TOKEN)) for n in lengths]
    weights = lengths if any(lengths) else [1] * len(lengths)
    # Rounded at the borders and not one by one, so that the shares add up to the total.
    ends = [0, *(round(total * part / sum(weights)) for part in itertools.accumulate(weights))]
    return [min(sampling.max_tokens, end - start) for start, end in itertools.pairwise(ends)]


def _is_text(text: str) -> bool:
    """False with lone surrogates, which no file or table can hold."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
