"""A new beginning is suspected where a text begins like the answer that it should continue."""

import pytest

from pipeline.policies.server.restarts import looks_restarted

BEGUN = "Step 1: Ann has 3 + 4 = 7 apples.\nStep 2: She eats 2.\n"


@pytest.mark.parametrize(
    "text",
    [
        BEGUN + "Step 3: 5 are left.",
        "Step 1: Ann has 3 + 4 = 7 apples.\nStep 2: 7 - 2 = 5.",
        "Step 1: Ann begins with three apples.",
        "\n\nStep 1: We add.",
        "Sure, here is the full solution:\n1. Add.",
        "Of course! Let me solve this step by step.",
        "<think>\nOkay, the user wants",
    ],
)
def test_new_beginnings(text: str) -> None:
    assert looks_restarted(BEGUN, text)


@pytest.mark.parametrize(
    "text",
    [
        "Step 3: 5 are left.",
        "So 7 - 2 = 5 apples are left.",
        "#### 5",
        "",
        "Step 12: done",
        "Surely 5.",
    ],
)
def test_continuations(text: str) -> None:
    assert not looks_restarted(BEGUN, text)


def test_short_beginnings_say_nothing() -> None:
    assert not looks_restarted("x = y", "x = y")
