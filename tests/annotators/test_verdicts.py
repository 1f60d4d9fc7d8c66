"""Replies as chat models write them, read through `annotate`: what they say, and never anything else."""

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Self

import pytest

from pipeline.annotators.base import Context
from pipeline.annotators.judge import Judge
from pipeline.annotators.verdicts import read_first_error, read_redone
from pipeline.fusion.first_error import first_error_of
from pipeline.inputs.segment import segment
from pipeline.policies.base import Completion, Prompt, Sampling
from pipeline.prompts.templates import PROMPTS, load_judge
from pipeline.sampling.roller import Roller
from schemas.config import JudgeConfig, PromptConfig
from schemas.records import PolicyIdentity, Problem, Solution, Vote

PROBLEM = Problem(
    text="Natalia sold 48 clips in April and half as many in May. How many did she sell?", answer="72"
)
STEPS = (
    "In April she sold 48 clips.",
    "In May she sold 48 / 2 = 24 clips.",
    "Together that is 48 + 24 = 72 clips.",
    "She sold them to 72 friends.",
    "So she sold 72 clips.\n#### 72",
)
SHIPPED = sorted(p.stem for p in PROMPTS.glob("*.txt") if p.read_text().startswith("---"))


class Scripted:
    """A judge that says what it is told to; it keeps what it was asked."""

    kind, model, revision = "scripted", "m", ""

    def __init__(self, replies: Sequence[str | Completion]) -> None:
        self.replies, self.asked = replies, list[str]()

    async def sample(self, prompt: Prompt, n: int, sampling: Sampling) -> list[Completion]:
        self.asked.append(prompt.text)
        return [Completion(r, "stop", 1) if isinstance(r, str) else r for r in self.replies[:n]]

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc: object) -> None:
        return None


def solution(steps: Sequence[str] = STEPS) -> Solution:
    text = "\n".join(steps)
    who = PolicyIdentity(kind="k", model="m")
    return Solution(problem_id=PROBLEM.id, text=text, steps=segment(text), outcome="correct", policy=who)


def judged(prompt: str, replies: Sequence[str | Completion], steps: Sequence[str] = STEPS) -> list[Vote]:
    judge, asked = Scripted(replies), Judge(JudgeConfig(votes=len(replies)), load_judge(prompt))

    async def run() -> list[Vote]:
        roller = Roller(judge, PromptConfig(), PROBLEM, seed=1)
        return await asked.annotate(Context(roller), solution(steps))

    return asyncio.run(run())


def said(prompt: str, reply: str | Completion) -> int | None:
    return first_error_of(judged(prompt, [reply]), len(STEPS))


def none_or(number: int, none: str, some: str) -> str:
    return none if number < 0 else some.replace("KK", str(number))


@pytest.mark.parametrize(
    ("reply", "verdict"),
    [
        (r"\boxed{3.0}", None),
        (r"\boxed{paragraph_4}", 4),
        (r"\boxed{paragraph\_4}", 4),
        (r"\boxed{\mathbf{2}}", 2),
        (r"$\boxed{-1}$", -1),
        (r"\\boxed{2}", 2),
        ("\boxed{2}", 2),  # \b became a backspace on its way through JSON
        (r"first \boxed{1}, no: \boxed{2}", 2),
        (r"\boxed{5}", None),  # there is no step 5 of 5
        (r"\boxed{-2}", None),
        (r"\boxed{1, 3}", None),
        (r"\boxed{2-3}", None),
        (r"\boxed{", None),
        (r"The first error is in paragraph 2. \boxed{2", None),  # cut off
        (r"\boxed{" + "9" * 5000 + "}", None),
        (r"\boxed{" + "{" * 100_000, None),
        ("", None),
        ("I found nothing wrong", -1),
        ("No errors", -1),
        ("All steps are correct.", -1),
        ("The solution is correct.", -1),
        ("I could not find any mistakes in this solution.", -1),
        ("None of the paragraphs contains an error.", -1),
        ("First error: none", -1),
        ("First error: 3", 3),
        ("First error: paragraph 6", None),
        ("The first error is at index 2.", 2),
        ("Step 2 is wrong.", 2),
        ("Step 2 is not wrong.", None),
        ("Step 2 is wrong. Step 3 is incorrect as well.", None),  # no word of which comes first
        ("Paragraph 1 might be wrong.", None),
        ("Is paragraph 1 wrong?", None),
        ("There are no errors in paragraph 0.", None),
        ("There are no errors before paragraph 3.", None),
        ("There are no arithmetic errors.", None),
        ("No errors so far.", None),
        ("Not all steps are correct.", None),
        ("The solution is not correct.", None),
        ("The solution is correct up to paragraph 2.", None),
        ("The first error is not in paragraph 2.", None),
        ("I cannot tell whether the first error is in paragraph 2.", None),
        ("I'm sorry, but I cannot help with that.", None),
        ("I cannot verify paragraph 2.", None),
        ("As an AI, I am unable to review this. Nothing in it looks like a question.", None),
        ("The answer is 3.", None),  # of the problem, as likely as not
        (r"The correct answer is \boxed{3}.", None),
        (r"The solution's final answer is \boxed{3}.", None),
        (r"The correct answer to the problem is:" + "\n\n\\[\n\\boxed{3}\n\\]", None),
        (r"Solving it myself, 1 + 2 = \boxed{3}", None),
        (r"The first error is in paragraph 2. The correct answer is \boxed{3}.", 2),
        (r"The first error is in paragraph 2. So the answer is \boxed{3}.", None),
        (r"No errors. The solution ends with \boxed{3}.", -1),
        (r"\boxed{-1} is my verdict: there are no errors.", -1),
        ("\\boxed{2}\n\nActually, the first error is in paragraph 1.", None),
        ("\\boxed{2}\n\nThe solution wrote \\boxed{3} there.", 2),
        ("The first error is in paragraph 1. No wait, the first error is in paragraph 2.", 2),
        ("I found nothing wrong in the arithmetic. The first error is in paragraph 2.", 2),
        ("<think>The first error is in paragraph 1, so \\boxed{1}", None),
        ("so \\boxed{1}</think>I found no errors. \\boxed{-1}", -1),
        ("<think>\\boxed{1}</think>I would rather not say.", None),
        ("[THINK]\\boxed{1}[/THINK]\\boxed{2}", 2),
        ("<reasoning>The first error is in step 1.</reasoning>\nAll steps are correct.", -1),
        ('{"verdict": "no error"}', -1),
        ('{"paragraph": 2, "verdict": "incorrect"}', 2),
        ('[{"paragraph": 0, "verdict": "correct"}, {"paragraph": 1, "verdict": "correct"}]', None),
        ('{"first_error": 9}', None),
        ("La primera línea es incorrecta", None),
        ("1", 1),
        ("Let me see.\n\nParagraph 3", 3),
        ("Verdict: 2\n\nLet me know if you have questions.", 2),
        ("The sum is:\n\n3\n\nand that is what the solution has.", None),
        ("48 / 2 = 24, and 48 + 24 = 72.\n\nThe answer is \\boxed{2}.", None),  # it solved the problem
        ("48 / 2 = 24 is right.\n\nThe answer is \\boxed{2}.", 2),
        ("The answer is \\boxed{2}.", 2),
        ("The solution is correct. However, paragraph 2 contains a mistake.", None),
        ("I find no errors in this solution. Paragraph 2 is not wrong.", -1),
        ("wrong", None),
        ("right right wrong", None),
        (
            "**Paragraph 0:** Natalia sold 48. This is correct.\n\n**Paragraph 1:** There is an error "
            "here: 48/2 is 24.\n\nTherefore, the earliest paragraph where an error occurs is paragraph "
            "1.\n\n\\boxed{1}",
            1,
        ),
        ("After reviewing, the solution is correct. Hence the answer is -1.\n\n$\\boxed{-1}$", -1),
        (
            "The first error occurs in Paragraph 2.\n\nFinal Answer: The final answer is $\\boxed{2}$. "
            "I hope it is correct.",
            2,
        ),
        ("Answer: \\boxed{\\text{Paragraph 2}}", 2),
        ("The earliest error is in <paragraph_3>.", 3),
        ("There is an error in paragraph 2.", 2),
        ("I found an error in paragraph 2.", 2),
        ("Everything checks out; no mistakes.", -1),
        ("Looks good to me!", None),
        ("The solution contains no errors, so the answer is -1.", -1),
        ("The answer is -1.", None),
        ("\\boxed{2}\n\n**Explanation:** The first error is in paragraph 2, where 3 should be 4.", 2),
        ("Verdict: Step 3 is incorrect.", 3),
        ("**Conclusion:** The first incorrect paragraph is **paragraph_2**.", 2),
        ("The error first appears in paragraph 2.", 2),
        ("Paragraph 2 is the first (and only) one with an error.", 2),
        ("Paragraph 2 is the earliest paragraph with an error.", 2),
        ("No error found. Answer: -1", -1),
        ("All five paragraphs are correct", -1),
        ("All the steps in the solution are correct.", -1),
        ("There is no error in any of the paragraphs.", -1),
        ("I don't see any errors in this solution.", -1),
        ("The solution doesn't contain any mistakes.", -1),
        ("\\boxed{\\text{The first error is in paragraph }2}", 2),
        ("\\boxed{paragraph_{2}}", 2),
        ("So the earliest error is in paragraph \\boxed{1}.", 1),
        ("The solution reaches the wrong result in paragraph \\boxed{1}.", 1),
        ("Paragraph 3 says the total is 72 but it is 73, so the answer is \\boxed{3}.", 3),
        ("First, I looked for errors in paragraph 1. All is well there.", None),
        ("<answer>2</answer>", 2),
        ("Review: ...\n<verdict>-1</verdict>", -1),
        ("first_error: 2", 2),
        ("**[2]**", 2),
        ("### Paragraph 0\n- No error.\n### Paragraph 1\nThe sum is off by one.", None),
        ("Paragraph 0: 48 is given. I find no mistake.\nParagraph 1: It all goes astray.", None),
        (
            "The first error is in paragraph 1. \\boxed{1}\n\n**Corrected solution:** 48/2 = 24, so "
            "\n\n\\boxed{3}",
            1,
        ),
        ("\\boxed{2}\n\nThe correct final answer to the problem should be \\boxed{4}.", 2),
        ("\\boxed{2}\n\nWith that fixed, we get \\boxed{4}.", 2),
        ("I have checked the calculations. They are consistent.\n\n\\(\\boxed{-1}\\)", -1),
        ("The number of the earliest paragraph containing an error is: \\[ \\boxed{0} \\]", 0),
        (
            "Let me go through it.\n\n1. Paragraph 0 is right.\n2. Paragraph 1 is right.\n3. Paragraph "
            "2 is right.\n\nNo errors anywhere.\n\n-1",
            -1,
        ),
        ("There's no error in the first paragraph, but paragraph 2 has the first error.", None),
        ("paragraph 2 contains a calculation error: 48/2 is not 26", 2),
        (
            "The review finds that paragraphs 0, 1 and 2 are correct, and the first mistake is made in "
            "paragraph 3.",
            None,
        ),
        ("I think the first error is in paragraph 3.", 3),
        ("The first error may be in paragraph 3.", None),
        ("Not a single error was found.", -1),
        ("There are zero mistakes in the solution.", -1),
        ("It is not true that there are no errors.", None),
        ("I disagree that there are no errors.", None),
        ("Some would say there are no errors in the solution.", None),
        ("The claim that the solution is correct is false.", None),
        ("The author claims that all steps are correct.", None),
        ("\\boxed{\\text{Correct}}", -1),
        ("\\boxed{\\text{Incorrect}}", None),
        ("\\boxed{0}", 0),
        ("\\fbox{2}", 2),
        ("Final verdict: **Paragraph 2**", 2),
        ("My review: fine until the end.\n\nFinal answer: -1", -1),
        ('{\n  "analysis": "step 3 is fine",\n  "error_step": "paragraph_2"\n}', 2),
        ('{"correct": false, "first_error": "paragraph 2"}', 2),
        ("{'first_error': -1}", -1),
        ('{"first_error": {"paragraph": 2}}', 2),
        ("```\n2\n```", 2),
    ],
)
def test_what_a_reply_says(reply: str, verdict: int | None) -> None:
    assert said("judge_processbench", reply) == verdict


@pytest.mark.parametrize(
    "piece",
    [
        *("\n", "(", "\\", " ", "\\boxed{", "paragraph 1 is ", "<think>", "first error ", "-"),
        *(
            "[",
            '{"',
            "\n[1,",
            "total score ",
            "score: (",
            "paragraphs 1, ",
            "1 and ",
            "verdict: ",
            "|",
            "so this is ",
        ),
    ],
)
def test_a_hostile_reply_takes_no_time(piece: str) -> None:
    for prompt in SHIPPED:
        votes = judged(prompt, [piece * (30_000 // len(piece))])
        assert {vote.p for vote in votes} == {None}, prompt


def test_what_was_cut_off_or_failed_is_no_verdict() -> None:
    cut = [Completion("\\boxed{1}", "length", 9), Completion("\\boxed{1}", "error")]
    votes = judged("judge_processbench", cut)
    assert [(vote.p, vote.n_failed) for vote in votes] == [(None, 2)] * len(STEPS)
    assert votes[0].why == "no reply could be read: it was cut off by judge.max_tokens"


def test_a_reply_of_a_megabyte_is_no_verdict() -> None:
    votes = judged("judge_processbench", ["so " * 400_000 + "\\boxed{1}"])
    assert [vote.p for vote in votes] == [None] * len(STEPS)


def test_an_unread_reply_leaves_its_reason_and_its_beginning() -> None:
    votes = judged("judge_processbench", ["I cannot help with that. " * 90, "\\boxed{", "Sorry, I cannot."])
    assert {vote.why for vote in votes} == {
        "no reply could be read: it names no step, and does not say that there is no error"
    }
    assert votes[0].evidence.startswith("I cannot help")
    assert len(votes[0].evidence) == 300


@pytest.mark.parametrize(
    ("reply", "verdict"),
    [
        ("All steps are correct.\n#### 72", None),
        ("The second step is wrong: half of 48 is 24, so we get more.\n#### 72", None),
        ("\n".join(STEPS[:2]), None),
        ("\n".join([*STEPS, "#### 73"]), None),
    ],
)
def test_what_is_no_solution_done_again(reply: str, verdict: int | None) -> None:
    assert said("embedded_review", reply) == verdict


def test_a_step_of_several_lines_is_done_again_line_by_line() -> None:
    steps = ["We add:\n2 + 3 = 5 we add", "We halve:\n\nHalve 5: 2.5\n#### 2.5"]
    again = "We add:\n2 + 3 = 5 we add\nWe halve:\nHalve 5: 2.5\n#### 2.5"
    assert read_redone(again, steps).first == -1
    assert read_redone(again.replace("2.5", "3"), steps).first == 1
    assert read_redone(again.replace("2 + 3 = 5", "2 + 3 = 6"), steps).first == 0


FROM_1 = "---\nreads: KIND\nshows: paragraphs\ncounts_from: 1\n---\n{solution}\n{problem}\nVerdict:"


@pytest.mark.parametrize(
    ("reply", "verdict"),
    [
        ("right right wrong", 2),
        ("right right right right right", -1),
        ("right right", None),  # silence about the rest is not assent
        ("wrongly righteous", None),
        ("I found nothing wrong", None),
        ("Step 1: correct\nStep 2: incorrect\nStep 3: correct", 1),
        ("1. **Correct**\n2. Correct\n3. Correct\n4. Correct\n5. Correct", -1),
        ("0. Correct\n1. Wrong", None),  # it counts from 0, though asked to count from 1
        ("2. Wrong\n1. Correct", None),
        ("<think>wrong</think>right right right right right", -1),
        ("The third step is wrong, everything else about this solution is right as far as I can tell", None),
    ],
)
def test_verdicts_a_step(tmp_path: Path, reply: str, verdict: int | None) -> None:
    path = tmp_path / "marks.txt"
    path.write_text(FROM_1.replace("KIND", "per_step"))
    assert said(str(path), reply) == verdict


@pytest.mark.parametrize(
    ("reply", "verdict"),
    [
        (r"\boxed{3}", 2),
        (r"\boxed{0}", None),
        (r"\boxed{-1}", -1),
        ("The first error is in step 5.", 4),
        ("First error: 6", None),
    ],
)
def test_a_prompt_may_count_from_1(tmp_path: Path, reply: str, verdict: int | None) -> None:
    path = tmp_path / "from1.txt"
    path.write_text(FROM_1.replace("KIND", "first_error"))
    votes = judged(str(path), [reply])
    assert first_error_of(votes, len(STEPS)) == verdict
    assert {vote.source for vote in votes} == {"judge:from1"}


def test_steps_are_shown_in_tags_counted_as_declared(tmp_path: Path) -> None:
    path = tmp_path / "j.txt"
    path.write_text(FROM_1.replace("KIND", "first_error"))
    judge = Scripted(["1"])
    roller = Roller(judge, PromptConfig(), PROBLEM, seed=1)
    asked = Judge(JudgeConfig(votes=1), load_judge(str(path)))
    asyncio.run(asked.annotate(Context(roller), solution()))
    assert judge.asked[0].startswith(f"<paragraph_1>\n{STEPS[0]}\n</paragraph_1>\n<paragraph_2>")


@pytest.mark.parametrize(
    "reply",
    [
        "He has 3 eggs.\n3",
        "I checked and it all works; it is 3 eggs.\n3",
        "Tom has 2 * 4 = 8 eggs.\nSo he has 8 - 5 = 3 eggs.\n#### 3",
        "#### 1",
        "= 2",
        "Everything adds up to 8 - 5 = 3.\n\n**3**",
    ],
)
def test_a_number_that_may_be_the_answer_of_the_problem_is_no_verdict(reply: str) -> None:
    assert read_first_error(reply, 6, 1).first is None


@pytest.mark.parametrize(
    "reply",
    ["2", "**2**", "I went through it.\n\n2", "Step 2 is wrong, as 2 * 4 = 8.\n2", "So 12.5 it is.\n2"],
)
def test_a_number_alone_is_a_verdict_otherwise(reply: str) -> None:
    assert read_first_error(reply, 6, 1).first == 1
