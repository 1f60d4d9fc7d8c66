"""Every shipped judge, asked through `annotate` and answered as chat models answer it: at least 99.5% of the
replies are read, and none is misread."""

import asyncio
import random
from collections.abc import Sequence
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
from tests.annotators.reply_styles import SCORES, STEPS, STYLES, any_of

PROBLEM = Problem(
    text="Natalia sold 48 clips in April and half as many in May. How many did she sell?",
    answer="72",
    reference="48 + 24 = 72",
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
