"""Every mistake that a newcomer makes in a part of their own is told in one line that helps."""

import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import stepmint
from pipeline.inputs.problems import load_problems
from pipeline.outputs.export import format_named
from schemas.config.problems import problems_config
from schemas.errors import UserError

WRONG = """
import math

from stepmint import Completion, Finding, Vote, check_source, judge_source, rollout_source


class Policy:
    kind, model, revision = "mine", "mine", "1"

    async def __aenter__(self):
        return self

    async def __aexit__(self, *exc):
        return None

    async def sample(self, prompt, n, sampling):
        return [Completion("The answer is 5.", "stop", 4)] * n


class Judge:
    needs_gold = False
    sources = judge_source("good")
    votes = ()

    async def annotate(self, context, solution):
        return [Vote(**{"step": 0, "source": "good", "asks": "valid", "p": 1.0} | one) for one in self.votes]


def judge(*votes, **more):
    return type("Mine", (Judge,), {"votes": votes} | more)()


def missing_sources():
    class Bare:
        needs_gold = False

        async def annotate(self, context, solution):
            return []

    return Bare()


def text_for_sources():
    return judge(sources="good")


def wrong_asks():
    return judge({"asks": "solvable"})


def undeclared():
    return judge({"source": "goood"})


def step_too_far():
    return judge({"step": 99})


def step_before():
    return judge({"step": -1})


def not_a_number():
    return judge({"p": float("nan")})


def contradicts():
    return judge({"p": 1.0, "correct": 0, "n": 1})


def no_counts():
    return judge({"source": "r", "asks": "solvable", "p": 0.5}, sources=rollout_source("r"))


def returns_nothing():
    judge()


def returns_a_class():
    return Judge


def deep(depth):
    return judge()


def raises():
    async def annotate(self, context, solution):
        return {}["lost"]

    return judge(annotate=annotate)


def not_async():
    return judge(annotate=lambda self, context, solution: [])


def yields():
    async def annotate(self, context, solution):
        yield Vote(step=0, source="good", asks="valid", p=1)

    return judge(annotate=annotate)


def numbers():
    async def annotate(self, context, solution):
        return [1.0]

    return judge(annotate=annotate)


class Check:
    name = "mine"
    sources = check_source("mine")


def check(body, **more):
    return type("Mine", (Check,), {"check": body} | more)()


def check_async():
    async def body(self, context):
        return Finding("abstains", "")

    return check(body)


def check_says_wrong():
    return check(lambda self, context: Finding("wrong", "so it is"))


def check_raises():
    return check(lambda self, context: 1 / 0)


def check_of_another_name():
    return check(lambda self, context: Finding("abstains", ""), name="other")


def policy(body):
    return type("Mine", (Policy,), {"sample": body})()


def policy_not_async():
    return policy(lambda self, prompt, n, sampling: [])


def policy_of_texts():
    async def sample(self, prompt, n, sampling):
        return ["The answer is 5."] * n

    return policy(sample)


def policy_of_one():
    async def sample(self, prompt, n, sampling):
        return [Completion("The answer is 5.", "stop")]

    return policy(sample)


def policy_of_another_end():
    async def sample(self, prompt, n, sampling):
        return [Completion("The answer is 5.", "eos")] * n

    return policy(sample)


def policy_raises():
    async def sample(self, prompt, n, sampling):
        raise RuntimeError("no card")

    return policy(sample)


def policy_cannot_open():
    async def enter(self):
        raise OSError("no weights")

    return type("Mine", (Policy,), {"__aenter__": enter})()


def rows_none():
    pass


def rows_torn():
    yield {"problem": "1 + 1", "answer": 2}
    raise ValueError("torn")


async def rows_async():
    return []


def rows_of_one():
    return {"problem": "1 + 1", "answer": 2}


def format_nan(row):
    return {"p": math.nan}


async def format_async(row):
    return {}


def format_raises(row):
    return {"label": row.labels[99]}


def format_of_two(row, other):
    return {}
"""


SIMULATED = {"kind": "simulated", "n_steps": 2}


@pytest.fixture(autouse=True)
def wrong(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A module `wrong` with every mistake, in the working directory."""
    (tmp_path / "wrong.py").write_text(WRONG)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    yield
    sys.modules.pop("wrong", None)


def _annotated(name: str) -> dict[str, Any]:
    return {"policy": SIMULATED, "annotate": [{"kind": "python", "factory": f"wrong:{name}"}]}


def _checked(name: str) -> dict[str, Any]:
    return {"policy": SIMULATED, "annotate": [{"kind": "verify", "verifiers": [f"wrong:{name}"]}]}


def _solved(name: str) -> dict[str, Any]:
    return {"policy": {"kind": "python", "factory": f"wrong:{name}"}, "annotate": [{"kind": "monte_carlo"}]}


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("missing_sources", "has no `sources`; it needs .* e.g. sources = judge_source(NAME)"),
        ("text_for_sources", "`sources` must map names to schemas.sources.Source, e.g. sources = judge_s"),
        ("wrong_asks", "a vote of 'good' asks 'solvable', but the source is declared with asks='valid'"),
        ("undeclared", "votes of source 'goood', which nobody declared: .*; declared are good"),
        ("step_too_far", "a vote of 'good' is on step 99 of 2 (from 0)"),
        (
            "step_before",
            "ValidationError: Vote: step: .*greater than or equal to 0 (it is -1) (.*wrong.py, li",
        ),
        (
            "not_a_number",
            "annotator 'wrong:not_a_number': ValidationError: Vote: p: .*finite number (it is nan) (.*wrong",
        ),
        (
            "contradicts",
            "says p=1, but correct=0 of n=1 is 0: make p = correct / n, or leave correct and n out",
        ),
        ("no_counts", "says p=0.5 without counts, and rollouts are weighed by their counts"),
        ("returns_nothing", "returned None: is a `return` missing?"),
        ("returns_a_class", "returned the class Judge: return an object of it, Judge()"),
        ("returns_nothin", "wrong has no function 'returns_nothin'; did you mean 'returns_nothing'?"),
        ("deep", "options: missing a required argument: 'depth'; it takes depth"),
        ("raises", "annotator 'wrong:raises': KeyError: 'lost' (.*wrong.py, line"),
        ("not_async", "annotate must be written `async def`"),
        ("yields", "annotate must be written `async def`, and return a list without `yield`"),
        ("numbers", "annotate returned a list with float, not Vote"),
        ("check_async", "check must be written `def`, not `async def`"),
        ("check_says_wrong", "a Finding with the verdict 'wrong', not one of holds, fails, abstains"),
        ("check_raises", "verifier 'wrong:check_raises': ZeroDivisionError: .*wrong.py, line"),
        ("check_of_another_name", "`sources` must declare 'other', its name, and nothing else"),
        ("policy_not_async", "a Mine is no policy: it lacks sample(); .* as `async def` sample"),
        ("policy_of_texts", "sample returned a list that holds str, not Completion"),
        ("policy_of_one", "sample returned 1 completions, not the 2 that were asked for"),
        ("policy_of_another_end", "stopped='eos', not one of stop, length, withheld, error"),
        ("policy_raises", "factory 'wrong:policy_raises': RuntimeError: no card (.*wrong.py, line"),
        ("policy_cannot_open", "cannot be opened: OSError: no weights (.*wrong.py, line"),
    ],
)
def test_a_newcomers_mistake_gets_one_line_that_helps(name: str, said: str) -> None:
    kind = name.partition("_")[0]
    settings = {"check": _checked, "policy": _solved}.get(kind, _annotated)(name)
    with pytest.raises(UserError) as refused:
        stepmint.label([{"problem": "2 + 3 + 4", "answer": "right"}], **settings)
    _is_said(said, str(refused.value))


def _is_said(pattern: str, line: str) -> None:
    """In the pattern only `.*` is special."""
    assert re.search(".*".join(map(re.escape, pattern.split(".*"))), line), line
    assert "\n" not in line


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("rows_none", "returned None: is a `return` missing?"),
        ("rows_torn", "factory 'wrong:rows_torn', after row 1: ValueError: torn (.*wrong.py, line"),
        ("rows_async", "must be written `def`, not `async def`"),
        ("rows_of_one", "returned a dict, not a list or iterator of rows"),
        ("format_nan", "returned what is not JSON: .*write None for NaN"),
        ("format_async", "must be written `def`, not `async def`"),
        ("format_raises", "solution .* of problem .*: IndexError: .*wrong.py, line"),
        ("format_of_two", "TypeError: format_of_two() missing 1 required positional argument: 'other'"),
    ],
)
def test_a_readers_or_formats_mistake_does_too(name: str, said: str) -> None:
    rows = stepmint.label(["2 + 3"], policy=SIMULATED, annotate=[{"kind": "verify"}])

    def use() -> object:
        if name.startswith("rows"):
            return list(load_problems(problems_config(factory=f"wrong:{name}")))
        return format_named(f"wrong:{name}")(rows[0])

    with pytest.raises(UserError) as refused:
        use()
    _is_said(said, str(refused.value))
