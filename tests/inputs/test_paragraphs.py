"""Rules that cut the text of chat models into steps."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.inputs.segment import prefix_of, segment
from schemas.config import SplitConfig

RULES = SplitConfig()
LONG = "We look at this case closely and count what it holds, one after the other. " * 3
"""A list item as long as a step."""


def texts(text: str, rules: SplitConfig = RULES) -> list[str]:
    return [step.text for step in segment(text, rules)]


@pytest.mark.parametrize(
    "steps",
    [
        ["First we add them.", "Then we halve the sum."],
        ["We add them:\n- two and three is five\n- five and five is ten", "So we have ten."],
        # A heading and what it heads are one step, with or without a blank line.
        ["## Setting up\n\nLet x be the price.", "**Case 1**\nIt is red.", "2. **The area:**\n\nIt is 5."],
        ["### Step 1: Area\nIt is 5.", "### Step 2: Volume\n\nIt is 6.", "#### 3. The rest\n\nIt is 7."],
        ["**Step 1:** We add 2 and 3.", "**Step 2:** We halve 5."],
        ["Step 1. We add 2 and 3.", "Step 2) We halve 5.", "Step 3:\n\nWe are done here."],
        # Blank lines and list signs inside these begin no step.
        ["So we have", "\\[\nx = 1\n\n- y = 2\n\\]", "and that is all of it."],
        [
            "So we have",
            "$$\nx = 1\n\n1. y\n$$",
            "\\begin{aligned} x &= 1 \\\\[2pt]\n\n y &= 2 \\end{aligned}",
        ],
        ["\\begin{a}\n\n\\begin{b}\n\n\\end{b}\n\n\\end{a}", "and that is all of it."],
        ["```python\nx = 1\n\n# Step 2\n```", "~~~~\n```\n\n~~~\n\n~~~~", "That prints 1 and 2."],
        ["| k | v |\n|---|---|\n| **Step 1** | 5 |\n| Step 2. | 6 |", "The table says 5."],
        # What nobody closed closes nothing.
        ["We have \\[ x = 1", "and $$ y = 2", "\\begin{aligned} x", "```python", "or we do not."],
        # An answer is part of the step before it, in any of its forms.
        ["It is 2 + 3 = 5.\n\n**Final Answer**\n\nThe final answer is $\\boxed{5}$. I hope it is correct."],
        ["It is 2 + 3 = 5.\n\n\\boxed{5}", "We check that again."],
        ["It is 2 + 3 = 5.\n\n\\[\n\\boxed{\\frac{1}{2}}\n\\]"],
        ["It is 2 + 3 = 5.\n\nTherefore, the answer is:\n\\[ 5 \\]"],
        ["It is 2 + 3 = 5.\n#### 5"],
        ["It is 2 + 3 = 5.\n\n#### 57 apples"],
        ["It is 2 + 3 = 5.\n\n### Answer: 5"],
        ["The answer is 5."],
        ["It is 2 + 3 = 5.", f"The answer is found as follows. {LONG}{LONG}".strip()],
        # Too short to be a step: "So:" leads on, "x = 5." ends the step before it.
        ["It is 2 + 3 = 5.", "So:\n\nx is found to be 7.\n\nx = 7."],
        # Long items are steps, and an inner list belongs to its item.
        [f"1. {LONG}".strip(), f"2. {LONG}\n   - one\n   - {LONG}".strip(), f"3. {LONG}".strip()],
    ],
)
def test_the_steps_of_a_text(steps: list[str]) -> None:
    between = "\n" if steps[0].startswith("1.") else "\n\n"
    assert texts(between.join(steps)) == steps


def test_a_ruler_parts_steps_and_is_in_none() -> None:
    assert texts("It is red.\n\n---\n\nIt is blue.\n***\nIt is green.") == [
        "It is red.",
        "It is blue.",
        "It is green.",
    ]


def test_a_long_step_is_cut_where_a_sentence_ends_and_not_in_a_formula() -> None:
    sentence = r"We see that \(a. B\) and $c. D$ are alike. "
    found = texts(sentence * 20, SplitConfig(most=200))
    assert "".join(f"{step} " for step in found) == sentence * 20
    assert all(len(step) <= 200 and step.endswith("alike.") for step in found)
    formula = "\\[\n" + "x = 1.\n" * 100 + "\\]"
    assert texts(formula, SplitConfig(most=200)) == [formula]


def test_an_empty_line_may_hold_what_is_not_seen() -> None:
    text = f"{'a' * 60}.\n \u200b\n{'b' * 60}.\n\n\ufeff\n\n{'c' * 60}."
    assert [step.text[0] for step in segment(text, SplitConfig())] == ["a", "b", "c"]


def test_fewest_characters() -> None:
    text = "x = 1.\n\nx + x = 2.\n\nx = 3."
    assert texts(text, SplitConfig(least=0)) == ["x = 1.", "x + x = 2.", "x = 3."]
    assert texts(text, SplitConfig(least=8)) == ["x = 1.\n\nx + x = 2.\n\nx = 3."]


def test_steps_begin_after_the_reasoning_block() -> None:
    text = "<think>\nIt may be 4.\n\n\\boxed{4}\n</think>\n\nIt is 2 + 3.\n\nThat makes 5.\n\n\\boxed{5}"
    for cuts in (RULES, "\n\n"):
        steps = segment(text, cuts)
        assert [step.text.split("\n")[0] for step in steps][:2] == ["It is 2 + 3.", "That makes 5."]
        assert all(text[step.start : step.end] == step.text for step in steps)
    assert segment(text.replace("</think>", ""), RULES) == ()


PIECES = (
    "\n\n,\n, ,\t,a b c ,Thus x is five. ,So:\n\n,x = 5.\n\n,\\[,\\],$$,$,\\(,\\),```\n,```py\n,| a |\n,"
    "|---|\n,\\begin{x},\\end{x},### Step 2\n,**Step 1:** ,Step 3. ,1. ,- ,  - ,#### 5\n,\\boxed{5},"
    "The answer is 5.,**Final Answer**\n,---\n,</think>,<think>\n"
).split(",") + [LONG, "x" * 150]
TEXTS = st.lists(st.sampled_from(PIECES), max_size=30).map("".join)


@given(TEXTS, st.sampled_from([RULES, SplitConfig(least=0, most=100), SplitConfig(least=60, most=300)]))
def test_spans_reproduce_the_text_and_a_prefix_is_cut_as_the_whole_is(text: str, rules: SplitConfig) -> None:
    steps = segment(text, rules)
    assert all(text[step.start : step.end] == step.text == step.text.strip() != "" for step in steps)
    assert all(a.end <= b.start for a, b in zip(steps, steps[1:], strict=False))
    for n in range(1, len(steps)):
        assert segment(prefix_of(text, steps, n), rules) == steps[:n]


@given(TEXTS)
def test_all_but_space_rulers_and_thoughts_is_in_a_step(text: str) -> None:
    steps = segment(text, RULES)
    if steps and "think" not in text and "---" not in text:
        outside = [text[a.end : b.start] for a, b in zip(steps, steps[1:], strict=False)]
        assert not "".join([text[: steps[0].start], *outside, text[steps[-1].end :]]).strip()


@pytest.mark.parametrize(
    "piece",
    [
        "\n",
        "```\n",
        "$$ ",
        "\\begin{a}",
        "\\begin{a}\\end{a}",
        "\\(",
        "# a\n",
        "- a\n",
        "a\n\n",
        "a. A",
        " ",
        "**x** ",
        "|\n|--|\n",
        "| - ",
        "#### \\a",
        "Step 1 ",
        "\\boxed{",
    ],
)
def test_a_hostile_text_takes_time_in_proportion(piece: str) -> None:
    """A quadratic rule would take minutes."""
    began = time.thread_time()
    steps = segment("**x**" + piece * (300_000 // len(piece)) + "y", RULES)
    assert time.thread_time() - began < 10
    assert all(a.end <= b.start for a, b in zip(steps, steps[1:], strict=False))
