"""A policy that thinks aloud, from its first draw to the rows: no thought is a step, graded, or judged."""

import asyncio
import random
import re
from dataclasses import replace
from typing import Any

import pytest

import stepmint
from pipeline.labelling.shard import label_problem
from pipeline.labelling.tools import annotators_of
from pipeline.methods.probing import states
from pipeline.methods.stored import Stored
from pipeline.policies.base import Completion, Prompt, Sampling
from pipeline.policies.simulated import RIGHT, SimulatedPolicy, read_states
from pipeline.sampling.roller import Roller
from schemas.config import RunConfig
from schemas.errors import UserError
from schemas.reasoning import UNCLOSED, answer_part, in_block, is_thinking
from schemas.records import Candidate, Finished, Problem, Rollout

PROBLEM = Problem(text="a problem", answer=RIGHT, answer_kind="text")
# A draft with an answer of its own, in every form that is read: what is graded must be the answer below.
DRAFT = "\nstep 0: bad\n\nMaybe \\boxed{right} or \\boxed{wrong}.\n#### wrong\nThe answer is wrong.\n"
TAGS = {
    "think": ("<think>", "</think>"),
    "thought": ("[THOUGHT]", "[/THOUGHT]"),
    "template": ("", "</think>"),
}


class Thinker(SimulatedPolicy):
    """A simulated policy that thinks before it answers; a fifth of its texts never stop thinking.

    Continued inside a block, it thinks on and then writes the steps that stood there and the rest.
    """

    def __init__(self, tags: tuple[str, str] = TAGS["think"], loses: bool = True) -> None:
        super().__init__(slip=0.2, n_steps=5)
        self.tags, self.loses, self.prefixes = tags, loses, set[str]()

    async def sample(self, prompt: Prompt, n: int, sampling: Sampling) -> list[Completion]:
        """Completions with a block where one is due."""
        if prompt.text.startswith("Judge"):
            return [Completion("\\boxed{-1}", "stop", 1)] * n
        self.prefixes.add(prompt.prefix)
        known = answer_part(prompt.prefix)
        begun = known if known is not None else in_block(prompt.prefix).lstrip("\n")
        found = await super().sample(replace(prompt, prefix=begun), n, sampling)
        if begun and known is not None:  # the answer is under way
            return found
        opening, closing = self.tags
        opening = "" if is_thinking(prompt.prefix) else opening
        thinks = [f"{opening}{DRAFT}{closing}\n\n{begun}{one.text}" for one in found]
        if self.loses:
            thinks = [
                f"{opening}{DRAFT}" if opening and random.Random(sampling.seed + i).random() < 0.2 else text
                for i, text in enumerate(thinks)
            ]
        return [Completion(text, "stop", 20) for text in thinks]


def run(policy: Thinker, **sections: Any) -> tuple[Finished, list[Rollout], RunConfig]:
    plain = {"name": "r", "policy": {"kind": "simulated"}, "propose": {"kind": "sample", "n": 12}}
    prompt = {"max_tokens": 300, **sections.pop("prompt", {})}
    config = RunConfig.model_validate({**plain, "prompt": prompt, **sections})
    found, rollouts = asyncio.run(label_problem(PROBLEM, annotators_of(config, policy)))
    return found, rollouts, config


METHODS: dict[str, dict[str, Any]] = {
    "monte_carlo": {"annotate": [{"kind": "monte_carlo", "rollouts": 6}]},
    "bisection": {"annotate": [{"kind": "bisection", "budget": 32}]},
    "scan": {"annotate": [{"kind": "scan", "confidence": 0.01}]},
    "omegaprm": {"propose": {"kind": "omegaprm", "rollouts": 12, "searches": 6, "budget": 200}},
}
SOUND = re.compile(r"step \d: (good|bad)(\n+#### (right|wrong))?")


def _is_right(candidate: Candidate) -> None:
    """Steps and outcome are those of the answer, and the block is kept as evidence."""
    solution = candidate.solution
    answer = answer_part(solution.text)
    assert answer is not None
    assert solution.text != answer
    assert DRAFT in solution.text
    assert all(SOUND.fullmatch(step.text) for step in solution.steps)
    assert [solution.text[step.start : step.end] for step in solution.steps] == solution.step_texts()
    assert len(solution.steps) == 5
    right = read_states(answer)[-1]
    assert solution.answer == ("right" if right else "wrong")
    assert solution.outcome == ("correct" if right else "incorrect")


@pytest.mark.parametrize("reasoning", ["after", "inside"])
@pytest.mark.parametrize("tags", TAGS)
@pytest.mark.parametrize("method", METHODS)
def test_no_thought_is_a_step_or_an_answer(method: str, tags: str, reasoning: str) -> None:
    policy = Thinker(TAGS[tags])
    found, rollouts, config = run(policy, prompt={"reasoning": reasoning}, **METHODS[method])
    assert found.candidates
    for candidate in found.candidates:
        _is_right(candidate)
    asked = policy.prefixes - {""}
    assert asked
    opening = TAGS[tags][0] or "<think>"
    for prefix in asked:
        if reasoning == "after":
            assert DRAFT in prefix
            assert read_states(answer_part(prefix) or "")
        else:
            assert prefix.startswith(f"{opening}\nstep 0: ")
            assert DRAFT not in prefix
    if tags != "template":
        lost = [one for one in rollouts if is_thinking(one.prefix + one.text)]
        assert lost
        assert {one.outcome for one in lost} == {"unknown"}
    tree = Stored(found, tuple(rollouts), config.prompt).tree
    assert all(SOUND.fullmatch(node.step) or node.step.startswith("####") for _, node in tree.below())
    votes = [vote for candidate in found.candidates for vote in candidate.votes if vote.source == method]
    assert any(vote.n for vote in votes)


@pytest.mark.parametrize("reasoning", ["after", "inside"])
def test_rollouts_measure_the_value_of_the_steps(reasoning: str) -> None:
    """With enough rollouts each step's share is the closed form, wherever they continue."""
    many = {"annotate": [{"kind": "monte_carlo", "rollouts": 400}], "propose": {"kind": "sample", "n": 6}}
    policy = Thinker(loses=False)
    found, rollouts, config = run(policy, prompt={"reasoning": reasoning}, **many)
    stored = Stored(found, tuple(rollouts), config.prompt)
    for candidate in found.candidates:
        states_ = read_states(answer_part(candidate.solution.text) or "")
        for vote in candidate.votes:
            if vote.source == "monte_carlo":
                assert vote.p == pytest.approx(policy.value(states_[: vote.step + 1]), abs=0.09)
        # The derived methods find the same counts again.
        counts = stored.along(candidate.solution)
        assert [count.n for count in counts[1:-1]] == [400] * 4


def test_a_solution_that_never_stops_thinking_has_its_reason() -> None:
    policy = Thinker()
    found, rollouts, config = run(policy, annotate=[{"kind": "monte_carlo", "rollouts": 6}])
    roller = Roller(policy, config.prompt, PROBLEM, seed=0)
    asyncio.run(roller.roll("", 40, "propose"))
    assert set(roller.doubts.values()) == {UNCLOSED}
    assert all(not is_thinking(candidate.solution.text) for candidate in found.candidates)
    assert any(is_thinking(one.text) for one in rollouts)


def test_a_judge_and_a_probe_see_the_answer_alone(tmp_path: Any) -> None:
    prompt = tmp_path / "review.txt"
    prompt.write_text(
        "---\nreads: first_error\nshows: text\n---\nJudge {problem}:\n{solution}\nBox the first error."
    )
    judge = {"kind": "judge", "prompts": [str(prompt)], "votes": 1}
    found, rollouts, _ = run(Thinker(), annotate=[judge])
    shown = [one.prefix for one in rollouts if one.purpose == "judge"]
    assert shown
    assert not [text for text in shown if "Maybe" in text or "think" in text]
    for candidate in found.candidates:
        assert any(answer_part(candidate.solution.text) in text for text in shown)
        for prefix in states(candidate.solution, "\n####", "\n"):
            assert "Maybe" not in prefix


def test_labelling_in_memory() -> None:
    """`stepmint.label`: a policy's own solutions, and a solution that is given."""
    rows = stepmint.label([PROBLEM], policy=Thinker(), annotate=[{"kind": "monte_carlo", "rollouts": 6}])
    assert rows
    for row in rows:
        _is_right(Candidate(solution=row.solution))
    given = f"<think>{DRAFT}</think>\nstep 0: good\nstep 1: good\n#### right"
    (row,) = stepmint.label([(PROBLEM, given)], policy=Thinker(), annotate=[])
    assert row.solution.text == given
    assert row.solution.step_texts() == ["step 0: good", "step 1: good\n#### right"]
    assert row.solution.outcome == "correct"
    with pytest.raises(UserError, match=UNCLOSED):
        stepmint.label([(PROBLEM, f"<think>{DRAFT}")], policy=Thinker(), annotate=[])
    with pytest.raises(UserError, match="beside"):
        stepmint.label([PROBLEM], policy=Thinker(), annotate=[], prompt={"separator": "\n\n", "split": {}})


def test_rules_in_memory() -> None:
    text = "## Adding\n\nIt is 2 + 3.\n\nThat makes 5.\n\n**Final Answer**\n\n\\boxed{5}"
    problem = {"problem": "2 + 3?", "answer": "5", "solution": text}
    (row,) = stepmint.label([problem], prompt={"split": {}}, annotate=[{"kind": "verify"}])
    first, then = text.split("\n\nThat")
    assert row.solution.step_texts() == [first, f"That{then}"]
