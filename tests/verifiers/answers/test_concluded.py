"""What is read where a solution marks no answer, and why nothing is read."""

import pytest

from verifiers.answers.extract import extract_answer, read_answer
from verifiers.answers.grade import grade_solution

PROFITS = "Gadgets: 8096 - 8000 = 96.\nJewelry: 5125 - 5000 = 125.\nThe difference is 125 - 96 = 29.\n\n"


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        (
            PROFITS + "### Conclusion\n\nThe merchant should buy jewelry, as it yields $125 compared to $96.",
            "$125",
        ),
        (PROFITS + "**Conclusion**\n\nBuy the jewelry, with a profit of $125.", "$125"),
        (PROFITS + "### Comparison\n\nBuy the jewelry. The maximum profit would be $125.", "$125"),
        (PROFITS + "### Conclusion\n\nThe jewelry.\n\n### Note\n\nIt was bought for $5000.", None),
        ("5 + 40 = 45\n\nSo, the total number of glasses in a week is:\n45 + 4 = 49 glasses.", "49"),
        ("Now we look for the total number in a week:\n45 + 4 = 49 and so on", None),
        ("Together, Amir and Cody eat:\n\n\\[5 + 15 = 20\\] cookies.", "5 + 15 = 20"),
        ("So the digit is the last one.\n\nThe \\(291^{st}\\) digit of \\(\\frac{1}{37}\\) is **7**.", "7"),
        ("\\[h = \\sqrt{72} = 6\\sqrt{2}\\]\n\nThe length of \\(AB\\) is \\(6\\sqrt{2}\\).", "6\\sqrt{2}"),
        (
            "\\[P = \\frac{264}{720}\\] Thus, the probability for 6 people is \\(\\frac{11}{30}\\).",
            "\\frac{11}{30}",
        ),
        ("19 fish and 13 fish. Therefore, they caught a total of 19 + 13 = 32 fish.", "32"),
        ("Therefore, Jim spends 3 * 4 = 12 hours on TV and reading in 4 weeks.", "12"),
        ("6. [Final solution] Thus, the trader sold 13 bags.", "13"),
        ("Step 6: Therefore, 25 - 20 = 5 cars drove through it.", "5"),
        ("Each sprint is 60 meters, so he runs 9 * 60 = <<9*60=540>>540 meters a week.", "540"),
        ("She gave the cashier $22 and got $8 back, so it was $22 + $8 = $30.", "$30"),
        ("The bees: 90 / 3 = 30.\nTherefore, she sees 30 bees return in the last 6 hours.", "30"),
        ("70 * 4 / 7 = 40 daps.\n\nTherefore, 40 daps equal 42 baps.", None),
        ("Therefore, the simplified expression is: x^3 - x^2 + 3x - 6", None),
        ("Therefore, there is no integer $n$ for which $\\frac{n+1}{13-n}$ is a prime.", None),
        ("The arc is $\\frac{1}{4}$ of it. So it is $\\frac{1}{4} \\cdot 72\\pi = 18\\pi$ inches.", "18\\pi"),
    ],
)
def test_final_sentences(text: str, answer: str | None) -> None:
    found = extract_answer(text)
    assert found == answer or (found or "").rpartition("= ")[2] == (answer or "").rpartition("= ")[2]


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "the text is empty"),
        ("<think>It is 5", "the reasoning block is not closed"),
        ("<think>It is 5</think>\n", "the text is empty"),
        ("So it is \\boxed{5", "a box is not closed"),
        ("So it is \\boxed{}.", "the answer is left empty"),
        ("3 + 4 = 7\n####", "the answer is left empty"),
        ("3 + 4 = 7.\nWhat is asked for?", "it ends in a question"),
        ("We add 3 and 4, so that the to", "cut off before an answer"),
        ("We cannot determine the number of apples.", "it says that it cannot be solved"),
        ("Let us try 5.", "the last sentence only plans or tries"),
        ("So it is.", "the last sentence names no value"),
        ("Thus Tom has 5 and Ann 7 apples.", "the last sentence names several values"),
        ("Tom bought 5 apples.", "the last sentence draws no conclusion"),
        ("We look at\n\\[x + 1\\]", "the last formula is not said to be the answer"),
    ],
)
def test_why_nothing_is_read(text: str, why: str) -> None:
    found = read_answer(text)
    assert (found.answer, found.why) == (None, why)
    assert len(found.read) <= 200
    assert grade_solution(["5"], text, "number").reason == f"no answer found: {why}"


def test_what_was_read() -> None:
    found = read_answer("We add.\nThe answer is 7. Check it.")
    assert (found.answer, found.why) == ("7", None)
    assert found.read.startswith("answer is 7")
    assert read_answer("Let us try.\nTom bought 5 apples.").read == "Tom bought 5 apples."


def test_a_solution_is_graded_by_each_accepted_answer() -> None:
    assert grade_solution(["5", "7"], "Thus, it is 7.", "number").verdict is True
    assert grade_solution(["5", "6"], "Thus, it is 7.", "number").verdict is False
