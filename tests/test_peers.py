"""Benches beside peers' code: skipped with a reason where the peer is absent; how a peer's words are read."""

import asyncio
from pathlib import Path

import pytest

from benchmarks import __main__ as benches
from benchmarks import peers_distilabel, peers_fover, peers_search
from pipeline.policies.base import Completion, Prompt, Sampling

# As distilabel 1.5.3 asks: its completer's template, a problem, and the first two steps of a solution.
MESSAGE = """Generate 2 example solutions to the same problem, separated by a single `---` and nothing else.
Response format:
```
Step i: step i explanation.
Step i+1: step i+1 explanation.
The answer is: X

---

Step i: step i explanation.
Step i+1: step i+1 explanation.
The answer is: Y
```

This is the problem:
Tom has 2 pens. Mia has 3. How many have they? Step 1: Tom has 2.
Step 2: Mia has 3."""


@pytest.mark.parametrize(
    ("bench", "variable"),
    [
        ("peers.distilabel", peers_distilabel.VARIABLE),
        ("peers.fover", peers_fover.VARIABLE),
        ("peers.openr", peers_search.OPENR),
    ],
)
def test_a_bench_without_its_peer_is_skipped_and_says_what_to_set(
    bench: str, variable: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable, str(tmp_path))
    found = benches.figures_of(benches.BENCHES[bench])
    assert found["value"] is None
    assert variable in found["details"]["needs"]


class Scripted:
    """A policy that writes two completions and remembers what it was asked."""

    def __init__(self) -> None:
        self.asked: list[tuple[Prompt, int, Sampling]] = []

    async def sample(self, prompt: Prompt, n: int, sampling: Sampling) -> list[Completion]:
        """The second is cut off before its answer."""
        self.asked.append((prompt, n, sampling))
        return [Completion("2 + 3 = 5.\n#### 5", "stop", 9), Completion("2 + 3 = 6.", "length", 7)]


def test_a_message_of_distilabel_is_asked_in_our_words_and_answered_in_its_form() -> None:
    policy = Scripted()
    text, tokens = asyncio.run(peers_distilabel.reply(policy, MESSAGE, 0))
    [(prompt, n, first)] = policy.asked
    assert prompt.plain == (
        "Problem: Tom has 2 pens. Mia has 3. How many have they?\nSolution:\nTom has 2.\nMia has 3.\n"
    )
    assert (n, tokens) == (2, 16)
    assert text == "Step 3: 2 + 3 = 5.\nThe answer is: 5\n---\nStep 3: 2 + 3 = 6."
    # Asked again, it is asked for other completions.
    asyncio.run(peers_distilabel.reply(policy, MESSAGE, 1))
    assert policy.asked[1][2].seed != first.seed


def test_another_form_of_message_is_no_prompt() -> None:
    with pytest.raises(ValueError, match="another form"):
        asyncio.run(peers_distilabel.reply(Scripted(), "Solve: 2 + 3", 0))


@pytest.mark.parametrize(
    ("tags", "read"),
    [
        ([" +", " +"], (-1, 2)),
        ([" +", " -", " +"], (1, 3)),
        ([" +", "", " -"], (None, 1)),
        ([" -", ""], (0, 1)),
    ],
)
def test_the_tags_of_distilabel_name_a_first_error(tags: list[str], read: tuple[int | None, int]) -> None:
    steps = [f"Step {i}: 2 + 3 = 5.{tag}" for i, tag in enumerate(tags, 1)]
    assert peers_distilabel.read(steps) == read
