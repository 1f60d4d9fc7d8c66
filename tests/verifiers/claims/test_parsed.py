"""A solution's steps are read once for all its contexts and verifiers, and not once a context."""

import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import pytest

from schemas.records import Problem
from verifiers.base import StepContext, contexts_of
from verifiers.calculation.algebra import Algebra
from verifiers.calculation.arithmetic import Arithmetic
from verifiers.calculation.number_provenance import orphans
from verifiers.claims import find, parsed
from verifiers.claims.find import claims_of
from verifiers.claims.parsed import LONGEST_STEP, ParsedText, parsed_text
from verifiers.constraints.constraints import Constraints
from verifiers.review import review

PROBLEM = Problem(text="Ana has 5 boxes of 12 pens.", premises=("x = 5",))
STEPS = [f"Step {n}: 2x = {2 * n}, so x = {n} and {n} + {n} = {2 * n}." for n in range(1, 21)]


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """How often each text is tokenized and searched for relations, from an empty cache on."""
    counts = Counter[str]()
    tokenize, in_text = parsed.tokenize, find._in_text

    def counted(text: str) -> object:
        counts[f"tokens {text}"] += 1
        return tokenize(text)

    def searched(source: parsed.Plain, tokens: parsed.Tokens) -> object:
        counts[f"claims {source.text}"] += 1
        return in_text(source, tokens)

    parsed._parsed.cache_clear()
    monkeypatch.setattr(parsed, "tokenize", counted)
    monkeypatch.setattr(find, "_in_text", searched)
    return counts


def verify(context: StepContext) -> list[object]:
    verifiers = [Arithmetic(), Algebra(), Constraints()]
    return [*(verifier.check(context) for verifier in verifiers), orphans(context), review(context)]


def test_a_step_is_read_once_for_all_verifiers_and_contexts(read: Counter[str]) -> None:
    for context in contexts_of(PROBLEM, STEPS):
        verify(context)
    assert len(read) >= 2 * len(STEPS)
    assert set(read.values()) == {1}


def test_a_solution_longer_than_the_cache_is_read_once_too(
    read: Counter[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parsed, "_parsed", ParsedText)  # nothing is kept between texts
    for context in contexts_of(PROBLEM, STEPS):
        verify(context)
    assert set(read.values()) == {1}


def test_contexts_made_one_by_one_share_what_was_read_of_late(read: Counter[str]) -> None:
    for count in range(1, len(STEPS) + 1):
        verify(StepContext(PROBLEM, tuple(STEPS[:count])))
    assert set(read.values()) == {1}


def test_findings_do_not_depend_on_who_made_the_context() -> None:
    for count, shared in enumerate(contexts_of(PROBLEM, STEPS), 1):
        parsed._parsed.cache_clear()
        alone = StepContext(PROBLEM, tuple(STEPS[:count]))
        assert alone == shared
        assert hash(alone.steps) == hash(shared.steps)
        assert verify(alone) == verify(shared)


def test_what_was_found_is_kept_and_asked_for_once() -> None:
    asked = []
    text = ParsedText("1 + 1 = 2")

    def count(of: ParsedText) -> int:
        asked.append(of)
        return len(of.text)

    assert [text.once(count), text.once(count)] == [9, 9]
    assert asked == [text]


def test_what_is_found_to_be_nothing_is_not_sought_again() -> None:
    asked = []
    text = ParsedText("No sum.")
    for _ in range(2):
        assert text.once(asked.append) is None
    assert len(asked) == 1


def test_threads_that_share_a_text_find_the_same() -> None:
    text, together = ParsedText("14 + 5 = 19, and 3 * 4 = 12."), threading.Barrier(8)

    def slowly(of: ParsedText) -> tuple[object, ...]:
        time.sleep(0.01)
        return tuple(of.once(claims_of))

    def ask(_: int) -> tuple[object, ...]:
        together.wait()
        return text.once(slowly)

    with ThreadPoolExecutor(8) as threads:
        found = list(threads.map(ask, range(8)))
    assert len(found[0]) == 2
    assert all(one == found[0] for one in found)


def test_long_texts_are_not_kept() -> None:
    assert parsed_text("a" * LONGEST_STEP) is parsed_text("a" * LONGEST_STEP)
    assert parsed_text("a" * (LONGEST_STEP + 1)) is not parsed_text("a" * (LONGEST_STEP + 1))
    assert parsed._parsed.cache_info().maxsize is not None
