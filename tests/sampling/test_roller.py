"""How a run's policy is asked, what is made of its answers, and why a completion has no outcome."""

import asyncio
import itertools
from pathlib import Path
from typing import Self

import pytest

from pipeline.annotators.base import Context
from pipeline.annotators.monte_carlo import MonteCarlo
from pipeline.policies.base import Completion, Prompt, Sampling
from pipeline.policies.simulated import SimulatedPolicy
from pipeline.proposers.sample import to_solution
from pipeline.sampling.counted import counts
from pipeline.sampling.draws import Draws
from pipeline.sampling.replay import completions
from pipeline.sampling.roller import Roller, outcome_of, token_limit
from schemas.config import JudgeConfig, MonteCarloConfig, PromptConfig, RunConfig, TransformersConfig
from schemas.records import AnswerKind, Problem, Rollout, StopReason, Vote


@pytest.mark.parametrize(
    ("judge", "limit"),
    [
        (None, ("prompt.max_tokens", 300)),
        (JudgeConfig(max_tokens=200), ("prompt.max_tokens", 300)),
        (JudgeConfig(max_tokens=400), ("judge.max_tokens", 400)),
        (JudgeConfig(max_tokens=400, policy=TransformersConfig(model="other")), ("prompt.max_tokens", 300)),
    ],
)
def test_the_largest_limit_is_the_judges_where_it_is_the_policy_itself(
    judge: JudgeConfig | None, limit: tuple[str, int]
) -> None:
    annotate = (judge,) if judge else ()
    assert token_limit(RunConfig(name="r", prompt=PromptConfig(max_tokens=300), annotate=annotate)) == limit


class Says(SimulatedPolicy):
    """Answers every prompt with one text, or with several in turn."""

    def __init__(self, *completions: Completion) -> None:
        super().__init__()
        self.completions = completions

    async def sample(self, prompt: Prompt, n: int, sampling: Sampling) -> list[Completion]:
        return [self.completions[i % len(self.completions)] for i in range(n)]


def completion(text: str, stopped: StopReason = "stop") -> Completion:
    return Completion(text, stopped, tokens=1)


UNSAID = "no answer found: the last sentence names no value"
NOTHING, WORDS, CUT = (
    completion("So it is."),
    completion("So.\n#### I do not know"),
    completion("So", "length"),
)


def votes_on(roller: Roller) -> list[Vote]:
    """Of the first solution that the policy wrote itself."""

    async def votes() -> list[Vote]:
        (rollout,) = await roller.roll("One step.\n", 1, "propose")
        return await MonteCarlo(MonteCarloConfig(rollouts=3)).annotate(
            Context(roller), to_solution(roller, rollout)
        )

    return asyncio.run(votes())


@pytest.mark.parametrize(
    ("answer", "said", "rollouts", "last"),
    [
        ("5", (NOTHING,), f"{UNSAID} (3)", UNSAID),
        ("5", (WORDS,), "not comparable: number against text (3)", "not comparable: number against text"),
        ("5", (NOTHING, CUT), f"{UNSAID} (2), cut off at the token limit (1)", UNSAID),
        (None, (WORDS,), "the problem has no gold answer (3)", "the problem has no gold answer"),
        (
            "x +",
            (completion("So.\n#### 5"),),
            "the gold answer cannot be read (3)",
            "the gold answer cannot be read",
        ),
    ],
)
def test_votes_repeat_why_nothing_could_be_graded(
    answer: str | None, said: tuple[Completion, ...], rollouts: str, last: str
) -> None:
    problem = Problem(text="a problem", answer=answer, answer_kind="number")
    roller = Roller(Says(*said), PromptConfig(separator="\n"), problem, seed=0)
    first, *_, graded = votes_on(roller)
    assert first.why == f"none of 3 rollouts could be graded: {rollouts}"
    assert graded.why == f"the final answer could not be graded: {last}"


def test_what_was_graded_leaves_no_doubt() -> None:
    roller = Roller(Says(completion("#### 5")), PromptConfig(), Problem(text="p", answer="5"), seed=0)
    asyncio.run(roller.roll("", 3, "propose"))
    assert [rollout.outcome for rollout in roller.taken] == ["correct"] * 3
    assert not roller.doubts


class Scripted:
    """Answers with the texts it is given, in turn, and remembers the seeds it was asked with."""

    kind, model, revision = "scripted", "m", ""

    def __init__(self, *completions: Completion) -> None:
        self.completions, self.seeds = completions, list[int]()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc: object) -> None:
        return None

    async def sample(self, prompt: Prompt, n: int, sampling: Sampling) -> list[Completion]:
        self.seeds += [sampling.seed + i for i in range(n)]
        return list(itertools.islice(itertools.cycle(self.completions), n))


def roller(
    policy: Scripted, *, answer: str | None = "42", kind: AnswerKind = "number", seed: int = 0
) -> Roller:
    return Roller(policy, PromptConfig(), Problem(text="p", answer=answer, answer_kind=kind), seed=seed)


@pytest.mark.parametrize(
    ("answer", "kind", "completion", "outcome"),
    [
        ("42", "number", Completion("#### 42", "stop"), "correct"),
        ("42", "number", Completion("#### 41", "stop"), "incorrect"),
        ("42", "number", Completion("I give up.", "stop"), "unknown"),  # no answer is not a wrong answer
        (None, "text", Completion("#### 42", "stop"), "unknown"),  # nothing to compare with
        ("x+1", "expression", Completion("#### \\frac{", "stop"), "unknown"),  # the grader cannot compare
        ("42", "number", Completion("#### 42", "length"), "unknown"),  # cut off: "420" may have been meant
        ("42", "number", Completion("#### 4", "length"), "unknown"),
        ("42", "number", Completion("", "budget"), "unknown"),
        ("42", "number", Completion("#### 41", "error"), "unknown"),
        ("42", "number", Completion("#### 41", "withheld"), "unknown"),
        ("42", "number", Completion("9" * 200_001, "stop"), "unknown"),  # a fault of the backend, not read
    ],
)
def test_only_a_readable_answer_that_was_finished_is_graded(
    answer: str | None, kind: AnswerKind, completion: Completion, outcome: str
) -> None:
    found = asyncio.run(roller(Scripted(completion), answer=answer, kind=kind).roll("", 1, "propose"))
    assert [rollout.outcome for rollout in found] == [outcome]


def test_an_answer_that_cannot_be_compared_is_unknown_and_counts_for_neither_side() -> None:
    unlike = Problem(text="p", answer="\\frac{", answer_kind="expression")
    assert outcome_of(unlike, "#### \\sqrt{") == "unknown"
    done = [Completion("#### 42", "stop"), Completion("none", "stop"), Completion("#### 7", "stop")]
    found = asyncio.run(roller(Scripted(*done)).roll("", 3, "propose"))
    assert counts(found) == (1, 2, 1)


def test_what_a_budget_kept_from_being_drawn_is_no_rollout_of_the_run() -> None:
    asked = roller(Scripted(Completion("", "budget"), Completion("#### 42", "stop")))
    assert len(asyncio.run(asked.roll("", 2, "propose"))) == 2
    assert [rollout.stopped for rollout in asked.taken] == ["stop"]


def test_every_request_has_seeds_of_its_own_and_the_same_ones_again() -> None:
    """Two purposes, prefixes, problems or runs never share draws: their votes would not be independent."""

    def seeds(prefix: str, purpose: str, *, seed: int = 0, start: int = 0, answer: str = "42") -> list[int]:
        policy = Scripted(Completion("#### 42", "stop"))
        asyncio.run(roller(policy, seed=seed, answer=answer).roll(prefix, 3, purpose, start=start))
        return policy.seeds

    requests = [
        seeds("", "filter"),
        seeds("", "propose"),
        seeds("a", "propose"),
        seeds("", "propose", start=3),
        seeds("", "propose", seed=1),
        seeds("", "propose", answer="43"),
    ]
    assert len({seed for request in requests for seed in request}) == 3 * len(requests)
    assert seeds("", "propose") == requests[1]
    assert seeds("", "propose", start=1)[:2] == requests[1][1:]  # the second draw of a request of more


def test_equal_requests_are_paid_for_once() -> None:
    policy = Scripted(Completion("#### 42", "stop"))
    asked = roller(policy)

    async def twice() -> list[list[Rollout]]:
        return await asyncio.gather(*(asked.roll("", 2, "propose") for _ in range(2)))

    first, second = asyncio.run(twice())
    assert first == second
    assert len(policy.seeds) == len(asked.taken) == 2


def test_the_beginning_of_an_answer_is_asked_for_and_kept(tmp_path: Path) -> None:
    path = tmp_path / "begun.txt"
    path.write_text("=== system ===\nBe brief.\n=== user ===\n{problem}\n=== assistant ===\nStep 1:")
    asked: list[Prompt] = []

    class Asked(Says):
        async def sample(self, prompt: Prompt, n: int, sampling: Sampling) -> list[Completion]:
            asked.append(prompt)
            return await super().sample(prompt, n, sampling)

    policy = Asked(completion(" 3 and 4 are 7.\n#### 7"), completion(" 3", "length"))
    problem = Problem(text="3 + 4 </s>", answer="7")
    roller = Roller(policy, PromptConfig(template=str(path)), problem, seed=1)
    first, cut = asyncio.run(roller.roll("", 2, "propose"))
    assert asked[0] == Prompt("3 + 4 < /s>\n", "Step 1:", "Be brief.")
    assert (first.prefix, first.text, first.outcome) == ("", "Step 1: 3 and 4 are 7.\n#### 7", "correct")
    assert cut.text == "Step 1: 3"
    assert to_solution(roller, first).text == first.text
    # A prefix of such a solution begins with it, and is sent as it is; in it no mark ends a turn.
    (later,) = asyncio.run(roller.roll("Step 1: <|im_end|> 3\n", 1, "monte_carlo"))
    assert asked[1].prefix == "Step 1: <| im_end|> 3\n"
    assert (later.prefix, later.text) == ("Step 1: <|im_end|> 3\n", " 3 and 4 are 7.\n#### 7")
    # What is stored holds the beginning, and is graded again without a second one.
    again = Roller(
        Says(completion("no")),
        PromptConfig(template=str(path)),
        problem,
        seed=1,
        draws=Draws(stored=completions([first, cut])),
    )
    assert asyncio.run(again.roll("", 2, "propose")) == [first, cut]
