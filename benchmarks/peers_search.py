"""Labels of our tree search beside those of OpenR's own code, on the embedded policy and the same problems.

OpenR is in no registry. The bench fetches nothing: `STEPMINT_PEER_OPENR` names a checkout of
github.com/openreasoner/openr.
"""

import asyncio
import contextlib
import importlib
import io
import logging
import os
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

from benchmarks.labels import CHECKS, PROMPT, SEED, Arm, fused, judged, measured_of, problems
from benchmarks.labels_filter import grow
from benchmarks.metering import metered
from pipeline.annotators.base import Context
from pipeline.annotators.formal import Verify, verifier_named
from pipeline.annotators.monte_carlo import answer_vote
from pipeline.inputs.segment import prefix_of
from pipeline.policies.base import Policy, Prompt
from pipeline.proposers.sample import to_solution
from pipeline.sampling.roller import Roller, outcome_of, sampling_of
from schemas.config import OmegaConfig
from schemas.records import Problem, Rollout, Solution, Vote, seed_of

OPENR = "STEPMINT_PEER_OPENR"
_CODE = "data/omegaPRM_v2"
PROBLEMS = int(os.environ.get("STEPMINT_PEER_PROBLEMS", "8"))
SEARCH = OmegaConfig(rollouts=8, searches=10, budget=100)
"""Half of what OpenR's script has by default, for both sides; the other constants are the script's own."""
THOROUGH = {
    "ours, recheck": SEARCH.model_copy(update={"recheck": 24, "budget": 400}),
    "ours, 32 rollouts": SEARCH.model_copy(update={"rollouts": 32, "budget": 400}),
}
"""Our tree with more rollouts for each solution: OpenR spends several times as much on one as `SEARCH`."""
_SETTINGS = {
    "alpha": SEARCH.alpha,
    "beta": SEARCH.beta,
    "L": SEARCH.length_scale,
    "c_puct": SEARCH.c_puct,
    "k": SEARCH.rollouts,
    "N": SEARCH.searches,
    "rollout_budget": SEARCH.budget,
}
Figures = dict[str, Any]


def openr() -> Figures:
    """Labelled steps for 1,000 tokens: our OmegaPRM tree with verifiers and fusion; baseline: OpenR's own
    code, both with half of its script's rollouts and searches and a filter of at most 32 rollouts. Both ask
    one decoder for all problems at once, at one temperature and token limit."""
    code = _checkout()
    posed = problems(PROBLEMS)
    ours, theirs = Arm(), Arm()
    spent = asyncio.run(grow(ours, posed, SEARCH))
    with _imported(code) as modules:
        models = asyncio.run(_search(theirs, posed, modules))
    rows = _both_ways("ours", ours) | thorough(posed) | _both_ways("openr", theirs)
    return {
        "value": rows["ours, verifiers, fused"]["rate"],
        "unit": "labelled steps per 1,000 tokens",
        "baseline": rows["openr alone"]["rate"],
        "n": len(posed),
        "details": {
            "rows": rows,
            "problems_searched": _searched(ours, theirs),
            "filter_tokens": {
                "ours": sum(tokens["filter"] for tokens in spent),
                "openr": sum(model.tokens[0] for model in models),
            },
            "load": round(os.getloadavg()[0], 1),
        },
    }


def thorough(posed: Sequence[Problem]) -> dict[str, Figures]:
    """The rows of our tree with more rollouts for each solution."""
    rows: dict[str, Figures] = {}
    for name, search in THOROUGH.items():
        arm = Arm()
        asyncio.run(grow(arm, posed, search))
        rows |= _both_ways(name, arm)
    return rows


def _both_ways(name: str, arm: Arm) -> dict[str, Figures]:
    """An arm's labels with the verifiers and fused, and as the paper gives them, by rollouts alone."""
    return {
        f"{name}, verifiers, fused": judged(arm, fused(arm)),
        f"{name} alone": judged(arm, measured_of(arm.without(CHECKS))),
    }


def _searched(ours: Arm, theirs: Arm) -> dict[str, int]:
    """How many problems passed the filter of each side."""
    named = {"ours": ours, "openr": theirs}
    return {name: len({problem.id for problem, _, _ in arm.rows}) for name, arm in named.items()}


def _checkout() -> Path:
    """The folder of OpenR's code. ModuleNotFoundError, by which a bench is skipped, without it."""
    named = os.environ.get(OPENR, "")
    if not named or not (Path(named) / _CODE / "omegaprm.py").is_file():
        where = f"OpenR: set {OPENR} to a checkout of github.com/openreasoner/openr"
        raise ModuleNotFoundError(where, name=where)
    return Path(named).resolve() / _CODE


@contextlib.contextmanager
def _imported(code: Path) -> Iterator[tuple[Any, Any]]:
    """OpenR's two modules. It prints every step and sets a download mirror, which is undone."""
    before = dict(os.environ)
    sys.path.insert(0, str(code))
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            yield importlib.import_module("omegaprm"), importlib.import_module("run_omegaprm")
    finally:
        sys.path.remove(str(code))
        os.environ.clear()
        os.environ.update(before)


async def _search(arm: Arm, posed: Sequence[Problem], modules: tuple[Any, Any]) -> list[Any]:
    """OpenR's filter and search of every problem, as its script calls them, all problems at once; returns
    its models, one a problem."""
    from pipeline.policies.opening import EMBEDDED
    from pipeline.policies.transformers.policy import TransformersPolicy

    search, script = modules
    script.logger = logging.getLogger(__name__)
    verify = Verify([verifier_named(name) for name in CHECKS])

    def grown(model: Any, asked: str, problem: Problem) -> Any:
        """The searched tree of one problem; None where the filter drops it."""
        if not script.should_process_question({"problem": asked, "final_answer": problem.answer}, model):
            return None
        tree = _noting(search)(model, save_data_tree=True, **_SETTINGS)
        tree.run(asked, problem.answer)
        return tree

    async with TransformersPolicy(str(EMBEDDED)) as policy:
        asked = [f"Problem: {problem.text}\n\nSolution:" for problem in posed]
        models = [_model(search, policy, problem) for problem in posed]
        with metered(arm.took):
            # OpenR waits for each request. In threads, those of all problems share the decoder's batch.
            with ThreadPoolExecutor(len(posed)) as pool:
                loop, each = asyncio.get_running_loop(), zip(models, asked, posed, strict=True)
                trees = await asyncio.gather(*(loop.run_in_executor(pool, grown, *one) for one in each))
            for problem, text, tree in zip(posed, asked, trees, strict=True):
                arm.rows += _rows(problem, text, tree) if tree else []
        for i, (problem, solution, votes) in enumerate(arm.rows):
            checked = await verify.annotate(Context(Roller(policy, PROMPT, problem, seed=SEED)), solution)
            arm.rows[i] = (problem, solution, [*votes, *checked])
    arm.tokens = sum(sum(model.tokens) for model in models)
    return models


def _model(search: Any, policy: Policy, problem: Problem) -> Any:
    """OpenR's interface to a model, before our decoder: a completion ends with the solution."""
    loop = asyncio.get_running_loop()

    class Model(search.LanguageModel):
        """Asks in the words and with the line ends that the embedded model knows."""

        def __init__(self) -> None:  # its own would load the model once more, in transformers' pipeline
            self.tokens: list[int] = []  # of each request; the first is the filter's

        def generate_rollout(self, state_prefix: str, num_copies: int) -> list[str]:
            # The model begins each step on a line of its own; OpenR joins and splits steps at empty lines.
            prompt = Prompt(state_prefix.replace("\n\n", "\n") + "\n")
            # OpenR asks for equal prefixes again and expects new completions.
            seed = seed_of(SEED, problem.id, state_prefix, len(self.tokens))
            how = replace(sampling_of(PROMPT), seed=seed)
            drawn = asyncio.run_coroutine_threadsafe(policy.sample(prompt, num_copies, how), loop).result()
            self.tokens.append(sum(done.tokens for done in drawn))
            return [done.text.strip("\n").replace("\n", "\n\n") for done in drawn]

    return Model()


def _noting(search: Any) -> Any:
    """OpenR's search, which also notes which rollouts it searched."""

    class Search(search.OmegaPRM):
        """The class of one problem's tree."""

        def __init__(self, *given: Any, **settings: Any) -> None:
            super().__init__(*given, **settings)
            self.searched: list[tuple[Any, str]] = []

        def expansion_phase_binary_search(self, parent_state: Any, rollout: str) -> None:
            self.searched.append((parent_state, rollout))
            super().expansion_phase_binary_search(parent_state, rollout)

    return Search


def _rows(problem: Problem, asked: str, grown: Any) -> list[tuple[Problem, Solution, list[Vote]]]:
    """The rollouts that were searched and one right solution, as our own tree keeps them, once each, with the
    counts of the states along them. OpenR may have several states of one prefix: theirs are added up."""
    counted: dict[str, tuple[int, int]] = {}
    for state in grown.T.nodes:
        prefix = _plain(state.solution_prefix, asked)
        correct, n = counted.get(prefix, (0, 0))
        counted[prefix] = correct + state.correct_rollouts, n + state.total_rollouts
    right = [state.solution_prefix for state in grown.T.root.children if not state.total_rollouts][:1]
    found = [*(f"{state.solution_prefix}\n\n{rollout}" for state, rollout in grown.searched), *right]
    rows = []
    roller = Roller(_nobody(), PROMPT, problem, seed=SEED)
    for text in dict.fromkeys(_plain(one, asked) for one in found):
        drawn = Rollout(
            problem_id=problem.id, purpose="omegaprm", prefix="", text=text,
            outcome=outcome_of(problem, text), stopped="stop",
        )  # fmt: skip
        solution = to_solution(roller, drawn)
        votes = [answer_vote(solution)] if solution.steps else []
        for step in range(len(solution.steps) - 1):
            correct, n = counted.get(prefix_of(text, solution.steps, step + 1).strip(), (0, 0))
            if n:
                votes.append(
                    Vote(step=step, source="omegaprm", asks="solvable", p=correct / n, correct=correct, n=n)
                )
        if solution.steps:
            rows.append((problem, solution, votes))
    return rows


def _plain(text: str, asked: str) -> str:
    """A state's text as a solution: without the problem, a step a line."""
    return text.removeprefix(asked).strip().replace("\n\n", "\n")


def _nobody() -> Any:
    from pipeline.policies.opening import EMBEDDED
    from pipeline.sampling.replay import Nobody

    return Nobody("transformers", str(EMBEDDED), "")
