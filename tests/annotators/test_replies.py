"""Every shipped judge, asked through `annotate` and answered as chat models answer it: at least 99.5% of the
replies are read, and none is misread."""

import asyncio
import json
import random
from collections.abc import Callable, Sequence
from typing import Self

import pytest

from pipeline.annotators.base import Context
from pipeline.annotators.judge import Judge
from pipeline.fusion.first_error import first_error_of
from pipeline.inputs.segment import segment
from pipeline.policies.base import Completion, Prompt, Sampling
from pipeline.prompts.templates import PROMPTS, JudgePrompt, load_judge
from pipeline.sampling.roller import Roller
from schemas.config import JudgeConfig, PromptConfig
from schemas.records import PolicyIdentity, Problem, Solution, Vote

PROBLEM = Problem(
    text="Natalia sold 48 clips in April and half as many in May. How many did she sell?",
    answer="72",
    reference="48 + 24 = 72",
)
STEPS = (
    "In April she sold 48 clips.",
    "In May she sold 48 / 2 = 24 clips.",
    "Together that is 48 + 24 = 72 clips.",
    "She sold them to 72 friends.",
    "So she sold 72 clips.\n#### 72",
)
SHIPPED = sorted(p.stem for p in PROMPTS.glob("*.txt") if p.read_text().startswith("---\n"))


class Scripted:
    """A judge that says what it is told to; it keeps what it was asked."""

    kind, model, revision = "scripted", "m", ""

    def __init__(self, *calls: Sequence[str]) -> None:
        self.calls, self.asked, self.how = list(calls), list[Prompt](), list[Sampling]()

    async def sample(self, prompt: Prompt, n: int, sampling: Sampling) -> list[Completion]:
        replies = self.calls[min(len(self.asked), len(self.calls) - 1)]
        self.asked.append(prompt)
        self.how.append(sampling)
        return [Completion(reply, "stop", 1) for reply in replies[:n]]

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc: object) -> None:
        return None


def solution(steps: Sequence[str] = STEPS) -> Solution:
    text = "\n".join(steps)
    who = PolicyIdentity(kind="k", model="m")
    return Solution(problem_id=PROBLEM.id, text=text, steps=segment(text), outcome="correct", policy=who)


def votes_by(judge: Judge, policy: Scripted, problem: Problem = PROBLEM) -> list[Vote]:
    roller = Roller(policy, PromptConfig(), problem, seed=1)
    return asyncio.run(judge.annotate(Context(roller), solution()))


def judge_of(name: str, votes: int = 1) -> Judge:
    """The judge of a shipped prompt; one that reviews critiques is asked after another."""
    found = load_judge(name)
    config = JudgeConfig(votes=votes)
    reviews = found.reviews_a_critique
    return Judge(config, load_judge("judge_steps"), found) if reviews else Judge(config, found)


def judged(name: str, *replies: str) -> list[Vote]:
    judge = judge_of(name, len(replies))
    calls = [["My critique."] * len(replies), replies] if judge.meta else [replies]
    return votes_by(judge, Scripted(*calls))


def none_or(number: int, none: str, some: str) -> str:
    return none if number < 0 else some.replace("KK", str(number))


ALOUD = (
    "Let me check each paragraph in turn.\n\nParagraph 0 restates the problem: 48 clips, which is right. ",
    "The student's final answer is \\boxed{72}, which I compare with my own: $48 + 24 = \\boxed{3}$... ",
    "I'll put the number in \\boxed{}. First, paragraph 1 is not wrong: 48 / 2 = 24.\n",
    "## Review\n\n* **Paragraph 0**: correct.\n* **Paragraph 1**: no mistakes so far.\n",
    "If the first error were in paragraph 4, the answer would still be right. ",
    "Comprobemos cada p\u00e1rrafo: 48 / 2 = 24 es correcto.\n",
    "\u6211\u4eec\u9010\u6bb5\u68c0\u67e5\u3002\u7b2c\u4e00\u6bb5\u6ca1\u6709\u9519\u8bef\u3002\n",
    "",
)


def dull(n: int) -> str:
    return none_or(n, "I find no errors anywhere.", "Paragraph KK contains the first error.")


def any_of(rng: random.Random) -> int:
    return rng.randint(-1, len(STEPS) - 1)


Style = Callable[[int, random.Random], str]
FIRST_ERROR: dict[str, Style] = {
    "box": lambda n, rng: f"{rng.choice(ALOUD)}\n\n\\boxed{{{n}}}",
    "box of text": lambda n, rng: f"{rng.choice(ALOUD)}\n\n$\\boxed{{\\text{{{n}}}}}$",
    "unit": lambda n, _: none_or(n, r"\boxed{\text{no error}}", r"\boxed{\text{paragraph }KK}"),
    "tag": lambda n, _: none_or(n, r"\[\boxed{-1}\]", r"The earliest error: \boxed{<paragraph_KK>}."),
    "bold box": lambda n, rng: f"{rng.choice(ALOUD)}\n\n**Final answer:** $\\boxed{{{n}}}$",
    "box in a sentence": lambda n, rng: f"{rng.choice(ALOUD)}{dull(n)} So the answer is \\boxed{{{n}}}.",
    "box and more": lambda n, _: f"\\boxed{{{n}}}\n\nLet me know if you would like me to explain any step!",
    "thinking": lambda n, rng: f"<think>\\boxed{{{any_of(rng)}}}? No.</think>\n{dull(n)}\n\\boxed{{{n}}}",
    "twice": lambda n, rng: f"\\boxed{{{any_of(rng)}}}\n\nWait, that is not right.\n\n\\boxed{{{n}}}",
    "JSON": lambda n, _: f'```json\n{{"review": "48 / 2 = 24", "first_error": {n}}}\n```',
    "null": lambda n, _: f'{{"first_error_step": {"null" if n < 0 else n}, "reason": "a sum"}}',
    "sentence": lambda n, _: none_or(
        n, "I checked every step and found nothing wrong.", "The first error is in paragraph KK."
    ),
    "step": lambda n, _: none_or(n, "There is nothing wrong.", "The first mistake is made in step KK."),
    "bold sentence": lambda n, _: none_or(
        n, "**All paragraphs are correct.**", "The **earliest error** occurs in **Paragraph KK**: 4 + 4 = 9."
    ),
    "tagged sentence": lambda n, _: none_or(
        n, "There are no errors in it.", "Paragraph_KK contains the first error because 3 is not 4."
    ),
    "last line": lambda n, rng: f"{rng.choice(ALOUD)}\n\n**{n}**",
    "label": lambda n, _: none_or(n, "Verdict: none", "The sum is off.\n\n### Verdict: paragraph KK"),
    "minus sign": lambda n, _: f"Done.\n\\boxed{{{str(n).replace('-', chr(0x2212))}}}",
    "lost backslash": lambda n, _: f"Done.\nboxed{{{n}}}",
    "gloss": lambda n, _: none_or(n, r"\boxed{-1 \text{ (no error)}}", r"\boxed{KK: \text{wrong sum}}"),
}


def redone(number: int, rng: random.Random) -> str:
    """The solution again, another number from a step on: the reply of a judge that works by redoing."""
    steps = [*STEPS]
    if number >= 0:
        steps[number] = steps[number].replace("48", "49").replace("72", "73")
    match rng.randrange(5):
        case 0:
            return "\n".join(steps)
        case 1:
            return "\n".join(f"{i}. {step}" for i, step in enumerate(steps, 1))
        case 2:
            return "\n".join(f"**Step {i}:** {step}" for i, step in enumerate(steps, 1)).replace(
                "72", "**72**"
            )
        case 3:
            return "<think>\n#### 5\n</think>\n\n" + "\n".join(steps)
        case _:
            return "\n".join(steps) + "\n\nAll of this follows from the problem."


WHY = ("It restates the problem.", "48 / 2 = 24, as it says.", "This follows: $48 + 24 = \\boxed{72}$.", "")


def gone_through(form: str, *, all_of_them: bool = False) -> Style:
    """A reply that says of each step, up to the first wrong one, what `form` says of it: NN is its number,
    VV its verdict, WW an analysis."""

    def style(first: int, rng: random.Random) -> str:
        last = first if first >= 0 and not all_of_them else len(STEPS) - 1
        parts = []
        for step in range(last + 1):
            verdict = "incorrect" if step == first else "correct"
            said = form.replace("NN", str(step)).replace("WW", rng.choice(WHY))
            parts.append(said.replace("Vv", verdict.capitalize()).replace("VV", verdict))
        return "\n".join(parts)

    return style


def listed(first: int, form: Callable[[int, str], object]) -> str:
    last = first if first >= 0 else len(STEPS) - 1
    steps = [form(step, "incorrect" if step == first else "correct") for step in range(last + 1)]
    return json.dumps({"steps": steps})


PER_STEP: dict[str, Style] = {
    "as asked": gone_through("WW\n\nParagraph NN: VV\n"),
    "bold": gone_through("WW\n\n**Paragraph NN: Vv**\n"),
    "bold number": gone_through("WW\n\n**Paragraph NN:** VV.\n"),
    "heading": gone_through("### Paragraph NN\n\nWW\n\n**Verdict:** VV\n"),
    "heading and the line": gone_through("### Paragraph NN\n\nWW\n\nParagraph NN: VV\n"),
    "box": gone_through("**Paragraph NN**\nWW The step is \\boxed{VV}.\n"),
    "box of text": gone_through("Paragraph NN: WW\n\n$\\boxed{\\text{Vv}}$\n"),
    "verdict first": gone_through("Paragraph NN: Vv. WW"),
    "list": gone_through("- Paragraph NN is VV. WW"),
    "numbers": gone_through("NN. **Vv** - WW"),
    "step": gone_through("Step NN: VV"),
    "tag": gone_through("<paragraph_NN>: VV"),
    "table": gone_through("| NN | VV |"),
    "signs": lambda n, rng: (
        gone_through("Paragraph NN: VV")(n, rng).replace("incorrect", "\u274c").replace("correct", "\u2705")
    ),
    "labelled": gone_through("WW\nVerdict for paragraph NN: VV"),
    "alone": gone_through("## Paragraph NN\nWW\nVv."),
    "this is": gone_through("Paragraph NN restates what is known. WW So this is VV."),
    "it is": gone_through("**Paragraph NN:** WW It is VV.\n"),
    "this paragraph": gone_through("Paragraph NN says that she sold some. WW This paragraph is VV."),
    "thinking": lambda n, rng: (
        f"<think>\nParagraph 0: incorrect\n</think>\n{gone_through('Paragraph NN: VV')(n, rng)}"
    ),
    "goes on": gone_through("Paragraph NN: VV", all_of_them=True),
    "twice": lambda n, rng: (
        f"{gone_through('Paragraph NN: VV')(any_of(rng), rng)}\n\nLet me go through it again.\n\n"
        f"{gone_through('Paragraph NN: VV')(n, rng)}"
    ),
    "and a summary": lambda n, rng: f"{gone_through('Paragraph NN: VV')(n, rng)}\n\n{dull(n)}",
    "JSON": lambda n, _: listed(n, lambda i, said: {"paragraph": i, "review": "", "verdict": said}),
    "JSON words": lambda n, _: f"```json\n{listed(n, lambda _, said: said)}\n```",
    "JSON numbers": lambda n, _: json.dumps({"judge_result": [1] * (n if n >= 0 else 5) + [0] * (n >= 0)}),
    "Spanish, boxed": gone_through("P\u00e1rrafo NN: \\boxed{VV}"),
}


def many(n: int, rng: random.Random) -> list[int]:
    """Wrong steps of which the first is `n`."""
    return [] if n < 0 else [n, *(step for step in range(n + 1, len(STEPS)) if rng.random() < 0.4)]


def naming(form: str, none: str, between: str = ", ") -> Style:
    def style(n: int, rng: random.Random) -> str:
        wrong = many(n, rng)
        return form.replace("KK", between.join(map(str, wrong))) if wrong else none

    return style


ALL_ERRORS: dict[str, Style] = {
    "as asked": naming("Some calculations are wrong.\n\n\\boxed{KK}", "I checked it.\n\n\\boxed{none}"),
    "-1": naming("\\boxed{KK}", "\\boxed{-1}"),
    "set": naming("$\\boxed{\\{KK\\}}$", "$\\boxed{\\emptyset}$"),
    "list": naming("**Final answer:** \\boxed{[KK]}", "**Final answer:** \\boxed{[]}"),
    "and": naming("\\boxed{KK}", "\\boxed{\\text{none}}", " and "),
    "text": naming("\\boxed{\\text{Paragraphs }KK}", "\\boxed{\\text{no errors}}"),
    "boxes": naming("\\boxed{KK}", "\\boxed{none}", "}, \\boxed{"),
    "units": naming("\\boxed{paragraph KK}", "\\boxed{none}", ", paragraph "),
    "line": naming("The sums are off.\n\nWrong paragraphs: KK", "All is well.\n\nWrong paragraphs: none"),
    "bold line": naming("**Errors:** KK", "**Errors:** none"),
    "JSON": naming('{"review": "off", "errors": [KK]}', '{"review": "fine", "errors": []}'),
    "fence": naming('```json\n{"wrong_steps": [KK]}\n```', '```json\n{"wrong_steps": []}\n```'),
    "twice": naming("\\boxed{0, 4}\n\nWait, no.\n\n\\boxed{KK}", "\\boxed{0}\n\nWait, no.\n\n\\boxed{none}"),
    "thinking": naming("<think>\\boxed{0}</think>\n\\boxed{KK}", "<think>\\boxed{0}</think>\n\\boxed{none}"),
    "prose": naming("Some steps fail. Paragraphs KK contain errors.", "There are no errors.", " and "),
    "prose at the end": naming("I checked it. I found mistakes in paragraphs KK.", "No mistakes at all."),
    "one by one": naming("Paragraph KK is wrong.", "All steps are correct.", " is wrong. Paragraph "),
    "sentence": naming("Errors in: KK", "I went through it all and found no errors."),
    "French": naming("Les calculs sont faux.\n\\boxed{KK}", "Tout est juste.\n\\boxed{none}"),
}
SCORES: dict[str, Callable[[float], str]] = {
    "as asked": lambda x: f"1. Derivation: 1\n2. Accuracy: 0.25, a sum is off.\n\nTotal score: {x}",
    "bold": lambda x: f"Derivation: 1\n\n**Total score: {x}**",
    "bold label": lambda x: f"Derivation: 1/1\n\n**Total score:** {x}.",
    "of one": lambda x: f"Total Score: {x}/1",
    "of ten": lambda x: f"Total score: {10 * x:g} / 10",
    "out of": lambda x: f"Overall score: {100 * x:g} out of 100",
    "percent": lambda x: f"Final score = {100 * x:g}%",
    "box": lambda x: f"Total score: $\\boxed{{{x}}}$",
    "JSON": lambda x: json.dumps({"review": "off", "score": x}),
    "fence": lambda x: f"```json\n{json.dumps({'derivation': 1, 'total_score': x}, indent=1)}\n```",
    "the only one": lambda x: f"I would give it a score of {x}.",
    "thinking": lambda x: f"<think>Total score: 0.1</think>Total score: {x}",
    "twice": lambda x: f"Total score: 0.1\n\nOn reflection that is harsh.\n\nTotal score: {x}",
    "which": lambda x: f"The lowest is accuracy.\n\nTotal score (the lowest of the six): **{x}**",
    "sentence": lambda x: f"Derivation 1, accuracy less. The total score is {x}.",
    "heading": lambda x: f"### Total score\n\n{x}",
}
STYLES = {
    "first_error": FIRST_ERROR,
    "per_step": PER_STEP,
    "all_errors": ALL_ERRORS,
    "redo": {"redo": redone},
}


@pytest.mark.parametrize("name", SHIPPED)
def test_planted_verdicts_are_read_and_none_is_misread(name: str) -> None:
    rng, prompt = random.Random(12), load_judge(name)
    lost, n = [], 0
    for style, reply in _replies(prompt, rng):
        found, planted = said(name, reply[1]), reply[0]
        assert found in (planted, None), (style, reply)
        lost += [(style, reply)] if found is None else []
        n += 1
    assert n >= 200
    assert len(lost) <= 0.005 * n, lost[:3]


def _replies(prompt: JudgePrompt, rng: random.Random) -> list[tuple[str, tuple[float, str]]]:
    """(style, (what is said, the reply)) of every style in which such a prompt is answered."""
    if prompt.reads == "rubric":
        scores = [k / 20 for k in range(21)]
        return [(style, (x, write(x))) for style, write in SCORES.items() for x in scores]
    styles = STYLES[prompt.reads]
    planted = [any_of(rng) for _ in range(24 if len(styles) > 1 else 200)]
    return [(style, (n, write(n, rng))) for style, write in styles.items() for n in planted]


def said(name: str, reply: str) -> float | None:
    votes = judged(name, reply)
    if load_judge(name).reads == "rubric":
        return None if votes[-1].p is None else round(votes[-1].p, 6)
    if load_judge(name).reads == "all_errors":
        wrong = [vote.step for vote in votes if vote.p == 0]
        return None if votes[0].p is None else min(wrong, default=-1)
    return first_error_of(votes, len(STEPS))


def test_every_way_of_reading_is_shipped_and_tested() -> None:
    assert {load_judge(name).reads for name in SHIPPED} == {*STYLES, "rubric"}


NO_VERDICT = (
    "",
    "I'm sorry, but I cannot help with that.",
    "As an AI, I am unable to review this.",
    "I cannot tell.",
    "Looks good to me!",
    "48 + 24 = 72. The answer is \\boxed{72}.",
    "The correct answer is 72.",
    "<think>\nParagraph 0: correct. \\boxed{-1}",
    "Lo siento, no puedo ayudar con eso.",
    "```python\nprint(48 + 24)\n```",
    "Paragraph 2 might be wrong.",
    "\\boxed{",
    "{}",
    "[]]",
    '{"verdict": ',
)


@pytest.mark.parametrize("name", SHIPPED)
@pytest.mark.parametrize("reply", NO_VERDICT)
def test_a_reply_without_a_verdict_abstains(name: str, reply: str) -> None:
    votes = judged(name, reply)
    assert {vote.p for vote in votes} == {None}
    assert votes[0].n_failed == 1
    assert votes[0].why.startswith("no reply could be read: ")


@pytest.mark.parametrize(
    ("reply", "verdict"),
    [
        ("Paragraph 0: correct\nParagraph 1: not correct", 1),
        ("Paragraph 0: correct\nParagraph 1: mostly correct\nParagraph 2: incorrect", None),
        ("Paragraph 0: correct, but the unit is missing\nParagraph 1: incorrect", None),
        ("Paragraph 0: correct\nParagraph 2: incorrect", None),  # one is left out
        ("Paragraph 1: correct\nParagraph 2: incorrect", None),  # it counts from 1
        ("Paragraph 0: correct\nParagraph 1: incorrect\nParagraph 1: correct\nParagraph 2: incorrect", 2),
        ("Paragraph 0: correct\nParagraph 1: incorrect\n\nThe first error is in paragraph 2.", None),
        ("Paragraph 0: correct\nParagraph 1: incorrect\n\n\\boxed{1}", 1),
        ("Paragraph 0: correct\nParagraph 1: incorrect\n\n\\boxed{2}", None),
        ("Paragraph 0: correct\nParagraph 1: incorrect\n\nI found no errors.", None),
        ("\n".join(f"Paragraph {i}: correct" for i in range(4)), None),  # silence about the last
        ("\n".join(f"Paragraph {i}: correct" for i in range(6)), None),  # there is no paragraph 5
        ("\n".join(f"Paragraph {i}: correct" for i in range(5)) + "\n\nThe solution is correct.", -1),
        ("Paragraph 0: correct\nParagraph 1: incorrectly rounded", None),
        ("Paragraph 0: Correct answers would be 48.\nParagraph 1: incorrect", None),
        ("Paragraph 0: correct\n2 is correct.\nParagraph 1: incorrect", 1),
        ("Paragraph 0: correct\n48 / 2 = 24 is right.\n24 is wrong? No.\nParagraph 1: incorrect", 1),
        ("Paragraph 0: Right triangle.\nParagraph 1: incorrect", None),
        ("Paragraph 0: Right-hand side.\nParagraph 1: incorrect", None),
        ("Paragraph 0: Correct. However, the unit is missing.\nParagraph 1: incorrect", None),
        ("Paragraph 0: correct, as given\nParagraph 1: incorrect because 48 / 2 is 24", 1),
        ("Paragraph 0: correct (it is given)\nParagraph 1: wrong \u2014 48 / 2 is 24", 1),
        ('{"steps": [{"paragraph": 1, "verdict": "incorrect"}]}', None),
        ('{"steps": [1, 1, 2]}', None),
        ("[1, 1, 0]", 2),
        ('["correct", "wrong"]', 1),
    ],
)
def test_verdicts_a_step(reply: str, verdict: int | None) -> None:
    assert said("judge_steps", reply) == verdict


@pytest.mark.parametrize(
    ("reply", "wrong"),
    [
        ("\\boxed{1, 3}", {1, 3}),
        ("\\boxed{3}", {3}),
        ("\\boxed{3, 4}", {3, 4}),
        ("\\boxed{none}", set()),
        ("\\boxed{1, 7}", None),  # there is no paragraph 7
        ("\\boxed{1-3}", None),
        ("The answer is 3.", None),
        ("Checked: 24 / 8 = 3.\n\n\\boxed{3}", None),
        ("Paragraphs 1 and 3 might be wrong.", None),
        ("Paragraphs 1 and 3 are not wrong.", None),
        ("Paragraph 1 is wrong. Wait, no. Paragraph 3 is wrong.", None),
        ("Paragraph 2 is wrong. The first error is in paragraph 1.", {1, 2}),
        ("Paragraphs 1 and 3 are wrong. The first error is in paragraph 3.", None),
        ("Paragraphs 1, 2 and 4 are incorrect.", {1, 2, 4}),
        ("\\boxed{none}\n\nHowever, paragraph 2 is wrong.", None),
        ("\\boxed{1, 3}\n\nActually, wait.", None),
        ("\\boxed{1, 3}\n\nParagraph 1 is wrong because 48 / 2 is 24.", {1, 3}),
        ("The correct answer is \\boxed{72}.\n\nWrong paragraphs: 2", {2}),
        ("[0, 2]", {0, 2}),
        ("[]", set()),
        ('{"errors": ["paragraph 1", "paragraph 3"]}', {1, 3}),
        ('{"errors": [-1]}', None),
        ('{"errors": [true]}', None),
    ],
)
def test_all_wrong_steps(reply: str, wrong: set[int] | None) -> None:
    votes = judged("judge_all_errors", reply)
    assert [vote.p for vote in votes] == (
        [None] * 5 if wrong is None else [float(step not in wrong) for step in range(5)]
    )


@pytest.mark.parametrize(
    ("reply", "score"),
    [
        ("Total Score: 7/10", 0.7),
        ("Total Score: 0", 0.0),
        ("Total Score: 0.7.", 0.7),
        ("Total score: 0.4. The answer of the problem is \\boxed{1}.", 0.4),
        ("I checked it all.\n\n\\boxed{0.4}", 0.4),
        ("Total Score: -3", None),
        ("Total Score: nan", None),
        ("Total Score: inf", None),
        ("Total Score: -inf", None),
        ("Total Score: 11", None),
        ("Total Score: 11/10", None),
        ("Total Score: 1/0", None),
        ("Total Score: 0.7-0.9", None),
        ("Total Score: 0,7", None),
        ("Total Score: 1e3", None),
        ("Total Score: high", None),
        ("Total Score:", None),
        ("Score: 0.5\nScore: 0.7", None),
        ("7/10", None),
        ('{"score": "0.7"}', 0.7),
        ('{"score": NaN}', None),
        ('{"score": Infinity}', None),
        ('{"score": true}', None),
        ('{"score": null}', None),
    ],
)
def test_scores_of_a_rubric(reply: str, score: float | None) -> None:
    (vote,) = judged("judge_rubric", reply)
    assert (vote.step, vote.p) == (4, score)
    assert vote.n_failed == (score is None)


def test_a_rubric_votes_once_with_the_mean_of_its_scores() -> None:
    (vote,) = judged("judge_rubric", "Total score: 0.2", "Total score: 0.6", "I cannot.")
    assert (vote.p, vote.n, vote.n_failed) == (pytest.approx(0.4), 0, 1)
    assert vote.evidence == "Total score: 0.2"
    assert judge_of("judge_rubric").sources["judge:judge_rubric"].kind == "score"
