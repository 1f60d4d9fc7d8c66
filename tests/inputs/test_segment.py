"""Steps and their spans."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.inputs.segment import prefix_of, segment, without_answer


def texts(text: str, separator: str = "\n") -> list[str]:
    return [step.text for step in segment(text, separator)]


@pytest.mark.parametrize(
    ("text", "steps"),
    [
        ("a\nb", ["a", "b"]),
        ("a\n\n  b \n", ["a", "b"]),
        ("a\nb\n#### 5", ["a", "b\n#### 5"]),
        ("a\nThe answer is 5.", ["a\nThe answer is 5."]),
        ("#### 5", ["#### 5"]),
        ("", []),
        (" \n ", []),
        ("\ufeffa\n\u200b\nb\n \u200b \u2060", ["\ufeffa", "b"]),
    ],
)
def test_lines_are_steps_and_the_answer_belongs_to_the_last(text: str, steps: list[str]) -> None:
    assert texts(text) == steps


def test_another_separator() -> None:
    assert texts("a\nb\n\nc", "\n\n") == ["a\nb", "c"]


@given(st.text(max_size=60))
def test_spans_point_at_the_steps(text: str) -> None:
    steps = segment(text)
    assert all(text[s.start : s.end] == s.text for s in steps)
    assert all(a.end <= b.start for a, b in zip(steps, steps[1:], strict=False))


def test_a_prefix_is_verbatim_up_to_the_next_step() -> None:
    text = "a\n\n  b\nc"
    steps = segment(text)
    assert [prefix_of(text, steps, n) for n in range(4)] == ["", "a\n\n", "a\n\n  b\n", text]


@pytest.mark.parametrize(
    "answer",
    [
        "#### 5",
        "The answer is 5.",
        "**Final Answer**\n\n\\boxed{5}",
        "\\[\n\\boxed{5}\n\\]",
        "$$\n\\boxed{5}\n$$",
    ],
)
def test_a_step_without_its_answer(answer: str) -> None:
    assert without_answer(f"So 2 + 3 = 5:\n\n{answer}") == "So 2 + 3 = 5:"
    assert without_answer("So\n\\[\n2 + 3 = 5\n\\]") == "So\n\\[\n2 + 3 = 5\n\\]"


def test_a_prefix_of_a_reasoning_model() -> None:
    for block, tag in (("<think>\nx\n</think>\n\n", "<think>"), ("x\n</think>\n", "<think>")):
        text = f"{block}a\n  b"
        steps = segment(text)
        assert [step.text for step in steps] == ["a", "b"]
        assert [prefix_of(text, steps, n) for n in range(3)] == [block, f"{block}a\n", text]
        inside = [prefix_of(text, steps, n, "inside") for n in range(3)]
        assert inside == [f"{tag}\n", f"{tag}\na\n", text]
    # Without a block there is nothing to be inside of.
    assert prefix_of("a\nb", segment("a\nb"), 1, "inside") == "a\n"


@given(st.text(alphabet="ab \t\n.", max_size=30), st.sampled_from(["\n", "\n\n", ". "]))
def test_a_prefix_ends_in_no_space_and_is_followed_by_its_step(text: str, separator: str) -> None:
    steps = segment(text, separator)
    for n, step in enumerate(steps):
        prefix = prefix_of(text, steps, n)
        assert text.startswith(prefix)
        assert not prefix.endswith((" ", "\t"))
        assert text[len(prefix) :].lstrip().startswith(step.text)
