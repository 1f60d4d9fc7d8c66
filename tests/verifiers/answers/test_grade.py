"""Final answers: found, and graded True, False or None; a doubt is None."""

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from verifiers.answers.grade import extract_answer, grade, grade_any, same_answer


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("So 70 + 2 = 72.\n#### 72", "72"),
        ("#### 5\nno, wait\n#### 1,234", "1,234"),
        (r"Thus \boxed{\frac{1}{2}}.", r"\frac{1}{2}"),
        (r"\boxed{1} and then \boxed{2}", "2"),
        (r"\boxed{\text{none} of \{1\}}", r"\text{none} of \{1\}"),
        ("The answer is 5.", "5"),
        ("The answer is 3.5. Check it.", "3.5"),
        ("The final answer is: calm.", "calm"),
        ("The answer is **12**.", "12"),
        (r"\boxed{unclosed", None),
        ("No result.", None),
        ("", None),
        ("####", None),
        ("#### 7" + " " * 5, "7"),
    ],
)
def test_extract(text, answer):
    assert extract_answer(text) == answer


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("The answer is 42.", "42"),
        ("Answer: 42", "42"),
        ("**Answer:** 42", "42"),
        ("**Answer**: 42", "42"),
        ("**Final answer**: 42", "42"),
        ("**Final Answer:** 42", "42"),
        ("Final answer: 42", "42"),
        ("**Answer: 42**", "42"),
        ("ANSWER: 42", "42"),
        ("Answer: $42$.", "$42$"),
        ("Answer: **42**", "42"),
        ("answer = 42", "42"),
        ("The answer should be 42", "42"),
        ("The answer to the question is 42.", "42"),
        ("### Answer\n\n42", "42"),
        ("**Final Answer**\n42", "42"),
        ("## Final Answer:\n\n**42**", "42"),
        ("The correct answer is (C)", "(C)"),
        ("The correct answer is C. 12 apples", "C"),
        ("#### Step 1: Add\n5+5=10\n#### Step 2: Sub\n10-3=7", None),
        ("#### Step 1: Add\n20 + 22 = 42, so \\boxed{42}", "42"),
        ("#### 3 boxes\nEach holds 4, so 12.\n\\boxed{12}", "12"),
        ("#### 3 boxes\nEach holds 4, so 12.", None),
        ("#### 1\nx\n#### 2\ny", None),
        ("#### Final answer\n42", "42"),
        ("#### Answer: 42", "42"),
        ("#### The answer is 42", "42"),
        ("so\n#### 72\n", "72"),
        ("x = #### 66\nthen = #### 75\n\nSo each paid $75.", "75"),
        ("##### 5 Things\nfoo \\boxed{3}", "3"),
        (r"\boxed{1} and \boxed{2}", "1, 2"),
        (r"$\boxed{1}$, $\boxed{2}$ and $\boxed{3}$.", "1, 2, 3"),
        (r"x = \boxed{1}, y = \boxed{2}", "x = 1, y = 2"),
        (r"$x=\boxed{1}$ and $y=\boxed{2}$", "x= 1, y= 2"),
        (r"\boxed{5}. Check: \boxed{5}", "5"),
        (r"\boxed{42} \boxed{42}", "42"),
        ("first \\boxed{3}\n\nthen \\boxed{4}", "4"),
        (r"\boxed{\boxed{5}}", "5"),
        (r"\boxed{1} or \boxed{2}", "1, 2"),
        (r"\boxed{1}\text{ and }\boxed{2}", "1, 2"),
        ("\\[\\boxed{1}\\]\n\\[\\boxed{2}\\]", "1, 2"),
        ("<think>maybe \\boxed{5}</think>\nThe answer is 42.", "42"),
        ("<think>maybe 5</think>\n\\boxed{42}", "42"),
        ("<think>\\boxed{5}</think>\n#### 42", "42"),
        (r"<think>\boxed{5}</think>", None),
        (r"<think>\boxed{5}", None),
        ("[THOUGHT]\nThe answer is 5.\n[/THOUGHT]\nThe answer is 6.", "6"),
        ("\u25c1think\u25b7#### 5\u25c1/think\u25b7\n#### 6", "6"),
        ("The template opened it: \\boxed{5}</think>\n\\boxed{6}", "6"),
        (r"\boxed{5}</think>" + "so " * 10_000 + "42", None),
        ("<think>\\boxed{5}" + " and so on" * 10_000, None),
        ("<think>The answer is 5</think>\n\n**Answer:** 6", "6"),
        (r"<think>\boxed{5}</think> It is 42.", None),
        (r"<thinking>\boxed{5}</thinking> Answer: 6", "6"),
        (r"\boxed{42}. The answer is correct.", "42"),
        ("\\boxed{42}\nThe answer is in dollars.", "42"),
        ("The answer is 5. No wait, the answer is 6.", "6"),
        (r"We get \boxed{255}. The final answer is $10,455$.", "$10,455$"),
        (r"The answer is 10. So \boxed{12}", "12"),
        ("#### 5\nThe answer is 6.", "6"),
        ("The answer is 6.\n#### 5", "5"),
        ("The answer is not 5.", None),
        ("The answer is $3.50.", "$3.50"),
        ("The answer is 3.5. Next", "3.5"),
        ("The answer is 8!", "8!"),
        ("The answer is\n42", "42"),
        ("The answer is:\n\\[\n42\n\\]", "42"),
        ("### Answer\n$$\n42\n$$", "42"),
        ("The final answer is: calm.", "calm"),
        ("Answer: calm", "calm"),
        ("The answer is x = 5.", "x = 5"),
        ("Answer: C", "C"),
        ("the answer is -5", "-5"),
        (r"The answer is: \frac{1}{2}.", r"\frac{1}{2}"),
        ("The answer: 7", "7"),
        ("The answers are 1 and 2.", None),
        ("Answer: 12 apples (12 = 3*4)", "12 apples (12 = 3*4)"),
        ("> **Answer:** 42", "42"),
        ("- Answer: 42", "42"),
        ("A: 18", "18"),
        ("A: 18\nB: 19", None),
        ("Answer\uff1a42", "42"),
        ("The answer is therefore 42.", "42"),
        ("I think the answer is 5, but check: 5+1. So the answer is 6", "6"),
        ("The answer is 1,234.", "1,234"),
        ("\\boxed{42}\n\n**Answer:** forty-two dollars", "42"),
        ("The answer is **12** apples.", "**12** apples"),
    ],
)
def test_the_answer_stated_last(text, answer):
    assert extract_answer(text) == answer


@pytest.mark.parametrize(
    ("gold", "answer", "kind", "equal"),
    [
        ("5", "15", "number", False),
        ("5", None, "number", None),
        ("5", "", "number", None),
        ("5", "unknown", "number", None),
        ("1/2", "0.5", "number", True),
        ("1/2", r"\frac{1}{2}", "number", True),
        ("1234", "$1,234", "number", True),
        ("18", "18 dollars.", "number", True),
        ("-5", "5", "number", False),
        ("3", "3.00", "number", True),
        ("5", "x = 5", "number", True),
        ("5", "5 million", "number", None),
        ("28%", "28", "number", True),
        ("28%", "0.28", "number", None),
        ("28%", "29", "number", False),
        ("0", "0%", "number", None),
        ("5 cm", "5 m", "number", None),
        ("1/3", "0.333333", "number", None),
        ("3", "1/0", "number", None),
        ("B", "(B)", "choice", True),
        ("B", "b", "choice", True),
        ("B", "C", "choice", False),
        ("calm", "Calm.", "choice", True),
        ("calm", "kind", "choice", False),
        ("New York", r"\text{new york}", "text", True),
        ("(1,2)", r"\{1,2\}", "expression", None),
        ("(1,2)", "[1,2]", "expression", None),
        ("(1,2)", r"\left(1, 2\right)", "expression", True),
        ("(1,2)", "(2,1)", "expression", False),
        (r"\{1,2\}", r"\{2, 1\}", "expression", True),
        ("1,2,3", "3, 2, 1", "expression", True),
        ("1,2,3", "1,2", "expression", False),
        ("4", r"4\sqrt(2)", "expression", None),
        (r"2\sqrt{2}", r"\sqrt{8}", "expression", True),
        (r"2\sqrt{2}", r"\sqrt{7}", "expression", False),
        ("x+1", "1+x", "expression", True),
        ("x+1", "x+2", "expression", False),
        ("x+1", "y+1", "expression", None),
        (r"\pi", "3.14159265", "expression", None),
        (r"\frac{\pi}{2}", r"90^\circ", "expression", True),
        ("1/2^{99}", "1/2^{98}", "expression", False),
        ("10^{-30}", "10^{-31}", "expression", False),
        ("1/2004!", "1/2006!", "expression", False),
        ("1/20040!", "1/20060!", "expression", None),
        (r"2\frac13", "7/3", "expression", True),
        (r"1 - 1/\mathrm{e}", r"1 + 1/\mathrm{e}", "expression", False),
        ("1,2,...,n", "1,3,5,...,2n-1", "expression", None),
        (r"120^\circ", "120", "expression", True),
        (r"120^{\circ}", "120 degrees", "expression", True),
        (r"75^\circ", "105", "expression", False),
        (r"2^\circ", "2", "expression", None),
        ("12", r"12 \, \text{cm}", "expression", True),
        (r"5 \text{ cm}", r"5 \text{ m}", "expression", None),
        (r"3 \pm 2\sqrt{2}", r"3 + 2\sqrt{2}, 3 - 2\sqrt{2}", "expression", True),
        (r"3 \pm 2\sqrt{2}", r"3 + 2\sqrt{2}, 3 + 2\sqrt{2}", "expression", False),
        (r"(-\infty, 0]", r"(-\infty, 0)", "expression", False),
        (r"(-\infty, 0]", r"( -\infty,0 ]", "expression", True),
        (r"(-\infty, 0]", r"(-\infty, 1]", "expression", False),
        (r"(-\infty, 0)", r"(1, 0)", "expression", False),
        (r"(-\infty, 1) \cup (3, \infty)", r"(3, \infty) \cup (-\infty, 1)", "expression", True),
        (r"(-\infty, 1) \cup (3, \infty)", r"(-\infty, 2) \cup (3, \infty)", "expression", False),
        (
            r"\begin{pmatrix} 1/5 \\ -18/5 \end{pmatrix}",
            r"\begin{pmatrix} \frac15 \\ -\frac{18}{5} \end{pmatrix}",
            "expression",
            True,
        ),
        (
            r"\begin{pmatrix} 1 & 2 \\ 3 & 4 \end{pmatrix}",
            r"\begin{pmatrix} 1 & 2 \\ 3 & 5 \end{pmatrix}",
            "expression",
            False,
        ),
        (r"\begin{pmatrix} 1 \\ 2 \end{pmatrix}", "(1, 2)", "expression", None),
        ("12", r"\text{no real solutions}", "expression", False),
    ],
)
def test_grade(gold, answer, kind, equal):
    assert same_answer(gold, answer, kind) is equal
    if kind != "expression" and answer:
        assert same_answer(answer, gold, kind) is equal


@pytest.mark.parametrize(
    ("gold", "answer"),
    [
        (r"\begin{pmatrix} 1 \\ 2 \end{pmatrix}", r"\begin{pmatrix}1\\3\end{pmatrix}"),
        (r"x \in [1,2]", "(1,2)"),
        ("f(x) = 0", "for all x>0, f(x) = 0"),
        (r"\infty", r"-\infty"),
        ("__import__('os').system('x')", "1"),
        ("9^9^9^9", "9^9^9"),
        ("(" * 400, ")" * 400),
    ],
)
def test_a_doubtful_pair_is_never_equal(gold, answer):
    assert same_answer(gold, answer, "expression") is not True


def test_numbers_and_choices_cost_microseconds(own_seconds):
    for _ in range(500):
        assert same_answer("1234", "1,235", "number") is False
        assert same_answer("5", "I do not know", "number") is None
        assert same_answer("calm", "kind", "choice") is False
    assert own_seconds() / 1500 < 0.0005


@pytest.mark.parametrize(
    ("gold", "answer", "kind", "reason"),
    [
        ("5", "5.0", "number", "equal"),
        ("5", "6", "number", "different"),
        ("5", None, "number", "no answer found"),
        ("5", " ", "number", "no answer found"),
        ("5", "$$", "expression", "no answer found"),
        (" ", "5", "number", "the gold answer cannot be read"),
        ("x +", "5", "number", "the gold answer cannot be read"),
        ("5", "5 + )", "number", "the answer cannot be read"),
        ("5", "5" * 2000, "number", "too long"),
        ("5", "I do not know", "number", "not comparable: number against text"),
        ("nobody can tell", "5", "number", "not comparable: text against number"),
        ("3.5", "3,5", "number", "equal"),
        ("1.5", "1,500", "number", "not comparable: equal if a comma or a point is meant otherwise"),
        (
            "28%",
            "0.28",
            "number",
            "not comparable: units, unknowns, percent or rounding may be the difference",
        ),
        ("B", "who knows", "choice", "not comparable: the answer names no one choice"),
        ("London", "London, Paris", "text", "not comparable: the words may mean the same"),
        ("x + 1", "y + 1", "expression", "not comparable: different symbols"),
        ("2^{50000}", "7^{5000}", "expression", "different"),
        (
            "2^{50000}+1",
            "2^{50000}",
            "expression",
            "not comparable: a value that is not known, or that is read in two ways",
        ),
        ("9^9^9^9", "2", "expression", "limit reached: size"),
        (
            r"\begin{pmatrix} 1 \\ 2 \end{pmatrix}",
            "(1, 2)",
            "expression",
            "not comparable: answers of another form",
        ),
        (r"\begin{pmatrix} 1 \\ 2 \end{pmatrix}", "5", "expression", "different"),
        (r"\frac{3\pi}{4}", r"3/4 \pi", "expression", "not comparable: 3/4 x is read in two ways"),
    ],
)
def test_the_reason(gold, answer, kind, reason):
    assert grade(gold, answer, kind).reason == reason


def test_a_grade_is_no_yes():
    with pytest.raises(TypeError, match="verdict"):
        assert grade("5", "6", "number")


def test_a_megabyte_is_no_burden(own_seconds):
    assert extract_answer("x" * 10**6 + "#### 5") == "5"
    assert extract_answer(r"\boxed{" * 150_000) is None
    assert same_answer("5", "5" * 10**6, "number") is None
    assert own_seconds() < 2


@given(st.fractions(max_denominator=50), st.fractions(max_denominator=50))
def test_numbers_are_graded_by_value_both_ways(a, b):
    assert same_answer(str(a), str(b), "number") is (a == b)
    assert same_answer(str(b), str(a), "number") is (a == b)


@given(st.text(max_size=40), st.text(max_size=40))
def test_no_text_raises(gold, answer):
    assert same_answer(gold, answer, "number") in {True, False, None}


NUMBERS = st.one_of(
    st.integers(-(10**9), 10**9), st.fractions(max_denominator=60).filter(lambda x: x != 0)
).map(str)
EXPRESSIONS = st.sampled_from(
    (
        "x+1", "2xy", r"2\sqrt{3}", r"\frac{3\pi}{4}", "(1,2)", "(2,1)", "[0,1)", "x = 1, y = 2", "y = -2",
        "1, 2", "101_2", "101", "2i", r"\pm 3", "3*4", "12", "8!", "2**3", "3,5", "50 cents", "$0.50",
        "5 1/2", r"\{1,2\}", "Yes", "No, it is not", "x^2", "1.500", "42!", r"3/4 \pi", r"12\text{ cm}^2",
        "1,234", "(1,234)", "even", "C",
    )
)  # fmt: skip
ANSWERS = st.one_of(NUMBERS, EXPRESSIONS)
KINDS = st.sampled_from(("number", "expression", "choice", "text"))


@given(st.one_of(ANSWERS, st.text(max_size=30)), KINDS)
def test_an_answer_is_never_another_than_itself(answer, kind):
    assert same_answer(answer, answer, kind) is not False


@given(ANSWERS, ANSWERS, KINDS)
def test_both_ways_never_contradict(gold, answer, kind):
    assert {same_answer(gold, answer, kind), same_answer(answer, gold, kind)} != {True, False}


@given(ANSWERS, ANSWERS, st.sampled_from(("${}$", "\\({}\\)", "**{}**", "{}.", "  {} ", "**${}$**.")))
def test_marks_around_an_answer_change_nothing(gold, answer, marks):
    assume("$" not in answer and not answer.endswith("!"))
    assert same_answer(gold, marks.format(answer), "expression") is same_answer(gold, answer, "expression")


@given(NUMBERS.filter(str.isdigit), ANSWERS, st.sampled_from((",", "{,}", ",\\!", "\\,", "\u202f", " ")))
def test_separators_between_thousands_change_nothing(number, other, separator):
    written = f"{int(number):,}".replace(",", separator)
    assert same_answer(other, written, "number") is same_answer(other, number, "number")
    assert same_answer(number, written, "expression") is True


@pytest.mark.parametrize(
    ("golds", "answer", "expected"),
    [
        (("4", "5"), "5", True),
        (("4", "5"), "6", False),
        (("4", "x + ("), "6", None),  # one of them cannot be compared
        (("4", "x + ("), "4", True),
        (("4",), None, None),
        ((), "4", None),
    ],
)
def test_any_of_several_golds_is_right_and_only_all_refute(
    golds: tuple[str, ...], answer: str | None, expected: bool | None
) -> None:
    assert grade_any(golds, answer, "expression").verdict is expected
