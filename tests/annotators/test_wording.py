"""Replies whose box, or whose number, is the answer of the problem or a count, and not a verdict."""

import pytest

from pipeline.annotators.verdicts import read_first_error, read_redone

N_STEPS = 5


@pytest.mark.parametrize(
    ("reply", "verdicts"),
    [
        (r"The solution is correct, with the final answer \boxed{4}.", {None, -1}),
        (r"The solution reviewed is correct: \boxed{3}", {None, -1}),
        (r"I agree with \boxed{3}.", {None, -1}),
        (r"I also get \boxed{3}, so all is right.", {None, -1}),
        (r"My own calculation also gives \boxed{3}.", {None, -1}),
        (r"The solution correctly finds \boxed{3}.", {None}),
        ("Everything is correct.\n\n\\boxed{3}", {None, -1}),
        (r"The answer \boxed{3} follows. All correct.", {None, -1}),
        ("All steps correct. Answer: 4", {None, -1}),
        ("#### 3", {None}),
        ("Ivy has 3 eggs.\n\n\\boxed{3}", {None}),
        (r"The total is 3 eggs, so the answer is \boxed{3}.", {None}),
        (r"Final answer: \boxed{3} eggs", {None}),
        (r"Let's review. We compute 2*2 = 4. Hence \boxed{4}", {None}),
        (r"Step 1: 3*1 = 3. Step 2: 3+1 = 4. The answer is \boxed{4}", {None}),
        (r"Number of errors: \boxed{1}", {None}),
        (r"Paragraph 2 should be \boxed{3} rather than \boxed{1}.", {None, 2}),
        (r"The value in paragraph 2, \boxed{4}, is wrong.", {None, 2}),
        ("\\boxed{2}\nConfidence: \\boxed{4}", {2}),
        ("\\boxed{2}\n\nFixing this, the final answer becomes \\boxed{3}.", {2}),
        ("\\boxed{2}.\n\nThe right way: 1+2 = 3, giving \\boxed{3}.", {None, 2}),
    ],
)
def test_an_answer_of_the_problem_is_no_verdict(reply: str, verdicts: set[int | None]) -> None:
    assert read_first_error(reply, N_STEPS).first in verdicts


@pytest.mark.parametrize(
    "reply",
    [
        r"\boxed{2}\boxed{3}",
        r"\boxed{-1} or \boxed{2}",
        "\\boxed{1}\n\nActually on re-checking paragraph 1 is right, and there is no error at all.",
        "\\boxed{-1}\n\nHmm, actually paragraph 3 contains an error: 2+2=5.",
        "The error in paragraph 2 carries over to paragraph 3, but the first error is in paragraph 1.",
        "One cannot say that there are no errors.",
        "I doubt that there are no errors.",
        "The solution is far from error-free.",
        "The first error: 3 should be 4.",
        "The first mistake is 4 instead of 5.",
        "The first wrong value is 3.",
    ],
)
def test_a_doubtful_reply_says_nothing(reply: str) -> None:
    assert read_first_error(reply, N_STEPS).first is None


@pytest.mark.parametrize(
    ("reply", "verdict"),
    [
        ("After careful review, I conclude the solution contains no errors whatsoever.", -1),
        ("Upon checking each calculation, there are no errors.", -1),
        ("Error found at paragraph 2. Correct answer: 3. \\boxed{2}", 2),
        ("Error paragraph = 2.\n\n\\boxed{2}", 2),
        ("The correct value in paragraph 2 would be 3, therefore paragraph 2 errs.\n\nAnswer: \\boxed{2}", 2),
        (r"\boxed{2}", 2),
        (r"The answer is \boxed{2} because 2+2 is not 5.", 2),
    ],
)
def test_a_plain_reply_is_read(reply: str, verdict: int) -> None:
    assert read_first_error(reply, N_STEPS).first == verdict


def test_a_solution_done_again_in_a_fence_or_without_words_names_no_step() -> None:
    steps = ["She sold 48 clips in April.", "So she sold 72 clips.\n#### 72"]
    again = "\n".join(steps)
    assert read_redone(f"```text\n{again}\n```", steps).first == -1
    assert read_redone("#### 72", steps).first is None
