"""The answer that a whole solution states: which one it is, and that looking for it takes no time."""

import pytest

from verifiers.answers.grade import extract_answer, grade

# A whole solution, its gold answer and kind; None where no answer is stated.
STATED = [
    ("Therefore, she makes #### 18 dollars every day at the market.", "18", "number", True),
    ("So #### 60% of the entire students dance.", "60", "number", True),
    ("8 * 1 = 8.\n\nSo, Tracy obtained 8 pieces of wire that are 6 inches long each.", "8", "number", True),
    ("So, Tracy obtained 8 pieces of wire that are 6 inches long each.", "8", "number", None),
    ("Profit = $96\n\nSo choose jewelry, with a profit of $125 compared to $96.", "125", "number", True),
    ("4 * 2 = 8.\n\nTherefore, the 8 boxes are 6 inches long.", "8", "number", None),
    ("So the total number of cookies that she ate in 3 days is 15.", "15", "number", True),
    ("So, there are 36 teachers at Dr. Wertz's school.", "36", "number", True),
    ("So, the average guess is 80.", "80", "number", True),
    ("So my guess is 80.", "80", "number", None),
    (r"\boxed{1} papers and \boxed{2} bins", "1,2", "expression", True),
    (r"\boxed{(3, 3)} \text{ for part (a) and } \boxed{(1, 1)}", "(3,3),(1,1)", "expression", True),
    (r"\boxed{k = 45} \quad \text{and} \quad \boxed{n = 2}", "k = 45, n = 2", "expression", True),
    (r"$y_1 = \boxed{2x} \) and \( y_2 = \boxed{3x}$", "y_1 = 2x, y_2 = 3x", "expression", True),
    ("Final Answer: The volume of $ABCD$ is 120. I hope it is correct.", "120", "number", True),
    ("Thus $x <= 2$ is our answer.", r"x \le 2", "expression", True),
    ("Thus, Freda used 12 tomatoes to make 32 ounces of tomato sauce.", "12", "number", None),
    ("So 4 * 3 = 12.\n\nThus, Freda used 12 tomatoes to make 32 ounces of sauce.", "12", "number", True),
    ("Therefore, 10 cars drove through in the first 15 minutes.", "10", "number", None),
    (r"Thus, the perimeter of \(\triangle ABC\) is", "12", "number", None),
    ("Therefore, the cost after the 30% discount is $70.", "70", "number", True),
    ("One might think that 5 + 3 = 9.", "9", "number", None),
    (r"So \boxed{\frac{1}{2}}.", r"\frac12", "expression", True),
    (r"\boxed{\text{(B)}}", "B", "choice", True),
    (r"Thus \fbox{17}.", "17", "number", True),
    (r"so \boxed 4.", "4", "number", True),
    (r"We get $\boxed{x=\boxed{3}}$", "3", "expression", True),
    ("#### 3 boxes\nWe have 3 boxes of 4, so 12.\n\n#### Answer\nThe answer is 12.", "12", "number", True),
    ("Step\n#### 18", "18", "number", True),
    ("#### 18\n", "18", "number", True),
    ("### Step 3: 5 + 6\nThe final answer is **11**.", "11", "number", True),
    ("blah\nThe answer is: 14 apples.", "14", "number", True),
    ("Final answer: 3.5 kg", "3.5", "number", True),
    ("**Answer:** D", "D", "choice", True),
    (r"**Final Answer**: $\frac{3}{4}$", r"\frac34", "expression", True),
    ("所以答案是 12。", "12", "number", True),
    ("答案：B", "B", "choice", True),
    ("答案是：$\\frac{1}{2}$。", r"\frac12", "expression", True),
    (r"First \boxed{5}. But wait, I made a mistake. The answer is 7.", "7", "number", True),
    (r"The answer is 7. Hmm, check: \boxed{8}", "8", "number", True),
    ("She has 5 + 6 = 11 apples.\nTherefore, she has 11 apples in total.", "11", "number", True),
    ("He pays $3 * 4 = $12.\n\nSo he pays a total of $12.", "12", "number", True),
    ("Therefore, Janet makes **$18** every day at the farmers' market.", "18", "number", True),
    ("Thus the total is:\n\\[\n2+3 = 5\n\\]", "5", "number", True),
    ("Total = 4+5 = 9 \n\nTherefore, the total distance is \\(\\boxed{9}\\) miles.", "9", "number", True),
    ("Therefore, it takes 3 bolts in total.", "3", "number", True),
    (r"The roots are $\boxed{2}$, $\boxed{3}$ and $\boxed{5}$.", "2,3,5", "expression", True),
    (
        r"First part: \boxed{2}. Then a long text follows with other work. Finally \boxed{3}",
        "3",
        "number",
        True,
    ),
    ("A: 12", "12", "number", True),
    ("ANSWER: 12", "12", "number", True),
    ("Answer - 12", "12", "number", True),
    ("I cannot solve this.", "3", "number", None),
    ("The answer is unknown.", "3", "number", None),
    ("We could try 3 or 4.", "4", "number", None),
    ("", "3", "number", None),
    ("<answer>42</answer>", "42", "number", True),
    ("The correct option is (C).", "C", "choice", True),
    ("Therefore, the correct answer is B.", "B", "choice", True),
    ("Hence, option D is correct.", "D", "choice", True),
    (r"The final answer is: $\boxed{90^\circ}$. I hope it is correct.", "90", "expression", True),
    ("So the answer is $x=3$ or $x=4$.", "3,4", "expression", True),
    ("Thus, the answer is $10,000.", "10000", "number", True),
    ("The answer is 5. The answer is 6.", "6", "number", True),
    ("Answer:\n\n42", "42", "number", True),
    ("**Answer**\n\n42", "42", "number", True),
    ("### Final Answer\n\\[ 42 \\]", "42", "number", True),
    ("\\boxed{12}\n\nThis means that each of the 3 friends pays a share.", "12", "number", True),
    (r"So \boxed{\$1{,}250}", "1250", "number", True),
    (r"so n = \boxed{\dfrac{7}{3}}$", "7/3", "expression", True),
    (
        r"Therefore the value is $\boxed{\begin{pmatrix}1\\2\end{pmatrix}}$",
        r"\begin{pmatrix}1\\2\end{pmatrix}",
        "expression",
        True,
    ),
    (r"The sum is \boxed{4", "4", "number", None),
    ("Hence x = 5.", "5", "number", True),
    ("Therefore $a+b = 7$.", "7", "number", True),
]


@pytest.mark.parametrize(("solution", "gold", "kind", "verdict"), STATED)
def test_the_answer_stated_last_is_read(solution, gold, kind, verdict):
    assert grade(gold, extract_answer(solution), kind).verdict is verdict


@pytest.mark.parametrize(
    "piece", ["answer is ", "\\boxed{", "答案是", "Therefore $", "1 = ", "**1**", " answer\n", "<answer>"]
)
def test_a_hostile_solution_takes_no_time(piece, own_seconds):
    extract_answer(piece * (10**6 // len(piece)))
    extract_answer("Thus " + piece * 60_000 + ".")
    assert own_seconds() < 3
