"""Tasks with a rule: tables of steps and verdicts, and what is left alone."""

import time

import pytest

from schemas.records import Problem
from verifiers.base import contexts_of
from verifiers.calculation.checked import combine
from verifiers.review import review
from verifiers.rules.rules import Rules, rule_claims

BRACKETS = "( [ { } < >"
WORDS = "cohn colza amoeba she'll sheath"
SWAPS = """Alice, Bob, and Claire are playing a game. At the start of the game, they are each holding \
a ball: Alice has a green ball, Bob has a blue ball, and Claire has a red ball.
As the game progresses, pairs of players trade balls. First, Bob and Claire swap balls. Finally, \
Alice and Bob swap balls. At the end of the game, Claire has the
Options:
(A) green ball.
(B) blue ball.
(C) red ball."""
ROW = """The statements are logically consistent.
- A fruit stand sells four fruits: pears, plums, kiwis, and apples.
- The pears are less expensive than the plums.
- The kiwis are the cheapest.
- The apples are the most expensive.
Options:
(A) The plums are the second-most expensive.
(B) The pears are the second-most expensive."""
CALCULATION = "((5 + 2 * 1 - 6) + (5 + 3 - -2 * 2)) ="


def verdicts(problem: str, *steps: str) -> list[str]:
    return [combine(rule_claims(context)).verdict for context in contexts_of(Problem(text=problem), steps)]


def last(problem: str, *steps: str) -> str:
    return verdicts(problem, *steps)[-1]


def test_a_stack_is_followed_symbol_by_symbol() -> None:
    steps = ["stack: empty", "( ; stack: (", "[ ; stack: ( [", "{ ; stack: ( [ {", "} ; stack: ( ["]
    assert verdicts(BRACKETS, *steps) == ["holds"] * 5
    assert verdicts(BRACKETS, *steps[:4], "} ; stack: (")[-1] == "fails"
    assert verdicts(BRACKETS, *steps[:3], "} ; stack: (")[-1] == "fails"  # a symbol is left out


@pytest.mark.parametrize(
    ("step", "verdict"),
    [
        ("`(` - push, stack is now `(`", "holds"),
        ('1. "(": push. Stack: ["("]', "holds"),
        ("( ; stack: [", "fails"),
        ("( ; stack: empty", "fails"),
        ('Now, we have reached the end. The final stack is "( [".', "holds"),
        ('The final stack is "[ (".', "fails"),
        ('We will need to pop out "[", "(" one by one in that order.', "holds"),
        ('We will need to pop out "(", "[" one by one in that order.', "fails"),
        ('So, we need "]", ")". So the answer is ] )', "holds"),
        ("So the answer is ) ]", "fails"),
        ("So the answer is ", "abstains"),
        ("If the stack were ( ; stack: [", "abstains"),
        ("( ; stack: something", "abstains"),
        ("We process each input one by one.", "abstains"),
    ],
)
def test_brackets(step: str, verdict: str) -> None:
    assert last(BRACKETS, step) == verdict


def test_after_a_line_that_is_not_understood_no_stack_is_refuted() -> None:
    assert verdicts(BRACKETS, "( and [ ; the stack has ( [", "{ ; stack: ( ( {") == ["abstains", "abstains"]
    # A sequence that closes what was not opened is no such problem.
    assert last("( ] )", "( ; stack: [") == "abstains"
    assert last(f"Complete the sequence.\nInput: {BRACKETS}", "( ; stack: [") == "fails"


@pytest.mark.parametrize(
    ("step", "verdict"),
    [
        ('The second letter: "cohn": "o" (15). "colza": "o" (15).', "abstains"),  # not all words
        ('The first letter: "cohn": "c" (3). "colza": "d" (4).', "fails"),
        ('The first letter: "cohn": "c" (4).', "fails"),
        (
            'The first letter: "cohn": "c" (3). "colza": "c" (3). "amoeba": "a" (1). "she\'ll": "s" (19). '
            '"sheath": "s" (19).',
            "holds",
        ),
        ('We now have: (1) "amoeba" < (3) ["colza" ? "cohn"] < (19) ["she\'ll" ? "sheath"].', "holds"),
        ('We now have: (1) "amoeba" < (3) "colza" < (3) "cohn" < (19) ["she\'ll" ? "sheath"].', "fails"),
        ('We now have: (3) ["colza" ? "cohn"] < (19) ["she\'ll" ? "sheath"].', "fails"),  # a word is lost
        ('We now have: (3) ["colza" ? "cohn"] < (19) "sheath" for the subpart.', "holds"),
        ('We now have: (8) "cohn" < (12) "colza" for the subpart.', "holds"),
        ('We now have: (8) "colza" < (12) "cohn" for the subpart.', "fails"),
        ('We now have: (9) "cohn" < (12) "colza" for the subpart.', "abstains"),  # a slip in a note
        ("The answer is amoeba cohn collza sheath she'll", "abstains"),  # a slip of the pen
        ("The answer is amoeba cohn zebra sheath she'll", "fails"),
        # The apostrophe counts, or does not.
        ('"she\'ll" comes before "sheath".', "abstains"),
        ('"colza" comes before "cohn".', "fails"),
        ('"colza" comes after "cohn".', "holds"),
        ('"b" < "c"', "holds"),
        ('"c" < "b"', "fails"),
        ("The answer is amoeba cohn colza sheath she'll", "abstains"),
        ("The answer is amoeba colza cohn sheath she'll", "fails"),
        ("The sorted list is: amoeba, colza, cohn, sheath", "fails"),
        ('If "colza" comes before "cohn", we swap them.', "abstains"),
        ('Is "colza" < "cohn"?', "abstains"),
    ],
)
def test_words(step: str, verdict: str) -> None:
    assert last(WORDS, step) == verdict


def test_words_are_sorted_by_their_letters_only_where_that_is_asked() -> None:
    assert last("Sort the following words alphabetically: List: b a c", "The answer is a c b") == "fails"
    assert last("Sort these words in reverse alphabetical order: b a c", "The answer is c b a") == "abstains"
    assert last("if maybe said", "The answer is maybe if said") == "fails"


def test_a_group_that_was_passed_over_leaves_the_next_one_open() -> None:
    have = 'We now have: "amoeba" < ["colza" ? "cohn"] < ["she\'ll" ? "sheath"].'
    sort = (
        'Now let\'s sort this subpart ["{}" ? "{}"] by looking at their third letters. The third letter: {}'
    )
    first = sort.format("colza", "cohn", '"colza": "l" (12). "cohn": "h" (8).')
    second = sort.format("she'll", "sheath", '"she\'ll": "e" (5). "sheath": "e" (5).')
    assert verdicts(WORDS, have, first) == ["holds", "holds"]
    assert verdicts(WORDS, have, second) == ["holds", "abstains"]


@pytest.mark.parametrize(
    ("steps", "expected"),
    [
        (["At the start: Alice: green, Bob: blue, Claire: red."], "holds"),
        (["At the start: Alice: green, Bob: red, Claire: blue."], "fails"),
        (["Bob and Claire swap balls: Alice: green, Bob: red, Claire: blue."], "holds"),
        (["Bob and Claire swap balls: Bob: red, Claire: red."], "fails"),
        (["A: green, B: blue, C: red", "B: red, C: blue", "A: red, B: green"], "holds"),
        (["A: green, B: blue, C: red", "B: red, C: blue", "A: red, B: blue"], "fails"),
        (["After the second swap: Alice: red, Bob: green, Claire: blue."], "holds"),
        (["1. Bob and Claire swap balls: Bob has the red ball and Claire has the blue ball."], "holds"),
        (["At the end of the game, Claire has the blue ball. So the answer is (B)"], "holds"),
        (["At the end of the game, Claire has the red ball. So the answer is (C)"], "fails"),
        (["So the answer is (A)"], "fails"),
        (["Initially:\n- Alice: green\n- Bob: blue\n- Claire: red"], "holds"),
        (["**After swap 1 (Bob and Claire):**\n- Alice: green\n- Bob: blue"], "fails"),
        (
            [
                "Let's track it: Alice has the green ball, Bob has the blue ball, Claire has the red ball.",
                "First, Bob and Claire swap balls. Now Bob has the red ball and Claire has the blue ball.",
            ],
            "holds",
        ),
        # Another pair than the problem's, an unknown object, a supposition, a state without its place.
        (["Alice and Claire swap balls: Alice: red, Claire: green."], "abstains"),
        (["At the start: Alice: pink, Bob: blue, Claire: red."], "abstains"),
        (["If Bob and Claire swap balls: Bob: blue."], "abstains"),
        (["B: blue, C: blue"], "abstains"),
        (["Alice and Claire swap balls: Alice: red.", "Bob: blue, Claire: blue"], "abstains"),
    ],
)
def test_swaps(steps: list[str], expected: str) -> None:
    assert last(SWAPS, *steps) == expected


@pytest.mark.parametrize(
    ("steps", "expected"),
    [
        (["The kiwis are the cheapest."], "holds"),
        (["The kiwis are the second-cheapest."], "fails"),
        (["The kiwis are the cheapest. So from cheapest to most expensive: first is the kiwis."], "holds"),
        (["The kiwis are the cheapest. So from most to least expensive: first is the kiwis."], "fails"),
        (["So from cheapest to most expensive: fifth is the apples."], "fails"),
        (["So from most to least expensive: second can be any fruit, then third is the plums."], "fails"),
        # True, but nothing that was cited leads to it.
        (["So from most to least expensive: second is the plums."], "abstains"),
        (
            [
                "The kiwis are the cheapest. The apples are the most expensive.",
                "The pears are less expensive than the plums, so the plums are the second-most expensive.",
            ],
            "holds",
        ),
        (["The plums cannot be the second-most expensive."], "fails"),
        (["So from most to least expensive: second or third is the kiwis."], "fails"),
        (["So from most to least expensive: second can be the plums or the pears."], "abstains"),
        (["So the answer is (B)"], "fails"),
        (["The peaches are the cheapest."], "abstains"),
        (["The plums look the cheapest."], "abstains"),
    ],
)
def test_rows_of_objects(steps: list[str], expected: str) -> None:
    assert last(ROW, *steps) == expected


@pytest.mark.parametrize(
    ("step", "verdict"),
    [
        (
            'This equation can be written as "A + B", where A = (5 + 2 * 1 - 6) and B = (5 + 3 - -2 * 2).',
            "holds",
        ),
        (
            'This equation can be written as "A - B", where A = (5 + 2 * 1 - 6) and B = (5 + 3 - -2 * 2).',
            "fails",
        ),
        ('This equation can be written as "A + B", where A = (5 + 2 * 1) and B = (5 + 3 - -2 * 2).', "fails"),
        # The same value, and another form.
        ('This equation can be written as "A + B", where A = (5 + 2 * 1 - 6) and B = 12.', "abstains"),
        ('This equation can be written as "A + B", where A = x and B = 12.', "abstains"),
        ("Then, A + B = 1 + 12 = 13. So the answer is 13", "holds"),
        ("Then, A + B = 1 + 4 = 5. So the answer is 5.", "fails"),
    ],
)
def test_splits(step: str, verdict: str) -> None:
    assert last(CALCULATION, step) == verdict


@pytest.mark.parametrize(
    ("step", "verdict"),
    [
        ("Let's calculate A = (5 + 2 * 1 - 6) = (7 - 6) = 1.", "holds"),
        ("Let's calculate A = (5 + 2 * 1 + 6) = 13.", "fails"),
        ("Then, the final equation is A + B = 1 + 12 = 13.", "holds"),
        ("Then, the final equation is A + B = 1 - 12 = -11.", "fails"),
        ("Then, the final equation is A + B = 1 + 12 = 14.", "abstains"),  # arithmetic's
        ("Then, the final equation is A + C = 1 + 12 = 13.", "abstains"),
        ("If A + B = 1 - 12.", "abstains"),
    ],
)
def test_the_parts_of_a_split_keep_their_values(step: str, verdict: str) -> None:
    split = 'This equation can be written as "A + B", where A = (5 + 2 * 1 - 6) and B = (5 + 3 - -2 * 2).'
    assert last(CALCULATION, split, step) == verdict


@pytest.mark.parametrize(
    ("step", "verdict"),
    [
        ("March 3, 2024 was a Sunday.", "holds"),
        ("3 March 2024 was a Monday.", "fails"),
        ("01/02/2024 is a Tuesday.", "abstains"),  # of January it is; of February, a Thursday
        ("01/02/2024 is a Sunday.", "fails"),
        ("2100 is a leap year.", "fails"),
        ("1900 was not a leap year.", "holds"),
        ("February has 29 days.", "abstains"),
        ("February 2023 has 29 days.", "fails"),
        ("April has 31 days.", "fails"),
        ("10 days after Monday is Thursday.", "holds"),
        ("10 days after Monday is Friday.", "fails"),
        ("Ten days before March 3, 2024 is February 22, 2024.", "holds"),
        ("10 days before March 3, 2024 is February 21, 2024.", "fails"),
        ("December 25, 2023 + 1 week = January 1, 2024", "holds"),
        ("There are 31 days from January 1, 2024 to February 1, 2024.", "holds"),
        ("There are 32 days from January 1, 2024 to February 1, 2024.", "abstains"),  # both ends counted
        ("There are 41 days from January 1, 2024 to February 1, 2024.", "fails"),
        ("If April has 31 days, it is May.", "abstains"),
        ("It is not true that April has 31 days.", "abstains"),
        ("February 30, 2024 is a Friday.", "abstains"),
        ("January 1, 1500 was a Monday.", "abstains"),
        ("Is 2100 a leap year?", "abstains"),
    ],
)
def test_dates(step: str, verdict: str) -> None:
    assert last("A question.", step) == verdict


@pytest.mark.parametrize(
    ("step", "verdict"),
    [
        ("The probability that both are red is 7/4.", "fails"),
        ("The probability is $\\frac{7}{4}$.", "fails"),
        ("The probability of rain is -1/2.", "fails"),
        ("$P(A) = 5/4$, so it is likely.", "fails"),
        ("The probability is 3/36 = 1/12.", "abstains"),  # arithmetic's
        ("The probability is 150%.", "fails"),
        ("The probability is 40.", "abstains"),  # per cent, perhaps
        ("The probability density is 7/4.", "abstains"),
        ("The ratio of the probability is 7/4.", "abstains"),
        ("The probability cannot be 7/4.", "abstains"),
        ("The probability is 7/4 times that of heads.", "abstains"),
        ("If the probability is 7/4, something is off.", "abstains"),
        ("The number of ways to choose 2 from 5 is 10.", "holds"),
        ("The number of ways to choose 2 books from the 5 books is 11.", "fails"),
        ("The number of ways to choose 2 from 5 is 20.", "abstains"),  # in order
        ("A fair die has 6 outcomes.", "holds"),
        ("Two dice have 12 outcomes.", "fails"),
        ("Three coins have 8 possible outcomes.", "holds"),
        ("A standard deck has 52 cards.", "holds"),
        ("A deck of cards has 14 hearts.", "fails"),
    ],
)
def test_chances(step: str, verdict: str) -> None:
    assert last("What is the probability?", step) == verdict


def test_dice_and_decks_of_another_kind_are_left_alone() -> None:
    assert last("Two eight-sided dice are thrown.", "Two dice have 64 outcomes.") == "abstains"
    assert last("A deck of 40 cards is cut.", "The deck has 40 cards.") == "abstains"


def test_the_verifier_and_the_review_say_the_same() -> None:
    [context] = contexts_of(Problem(text=BRACKETS), ["( ; stack: ["])
    assert Rules().check(context).verdict == review(context).verdict == "fails"
    assert [remark.by for remark in review(context).remarks] == ["rules"]


def test_a_step_is_judged_from_what_stands_before_it() -> None:
    """A later step changes no verdict, whether a solution is read whole or up to the step."""
    steps = ["stack: empty", "( ; stack: (", "[ ; stack: ( [", "{ ; stack: ( {"]
    whole = verdicts(BRACKETS, *steps)
    assert whole == [last(BRACKETS, *steps[: end + 1]) for end in range(len(steps))]


@pytest.mark.parametrize("problem", [BRACKETS, WORDS, SWAPS, ROW, CALCULATION, "probability chance deck"])
@pytest.mark.parametrize(
    "piece",
    ["( ; stack: ", '"a" < [', "(1) [", "Alice: green, ", "then first is the pears, ", "the probability of ",
     "A = (1 + ", "sqrt(", "March 3, 2024 is ", "so ", "\n", "The first letter: ",
     "**", '"cohn": "c" (3). ', "1 ", ", and "],
)  # fmt: skip
def test_hostile_texts_are_quick(problem: str, piece: str) -> None:
    start = time.process_time()
    text = (piece * 8_000)[:8_000]
    verdicts(problem, text, text + " x", "The answer is " + text[:7_000])
    verdicts(text, "The answer is 1.")
    assert time.process_time() - start < 2
