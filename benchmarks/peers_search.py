"""Labels of our tree search beside those of OpenR's own code, on the embedded policy and the same problems.

OpenR is in no registry. The bench fetches nothing: `STEPMINT_PEER_OPENR` names a checkout of
github.com/openreasoner/openr.
"""

import asyncio
import contextlib
import importlib
import io
import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from benchmarks.labels import PROMPT, SEED, Arm, fused, judged, measured_of, problems
from benchmarks.labels_filter import grow
from benchmarks.metering import metered
from pipeline.annotators.monte_carlo import answer_vote
from pipeline.inputs.segment import prefix_of
from pipeline.proposers.sample import to_solution
from pipeline.sampling.roller import Roller, outcome_of
from schemas.config import OmegaConfig
from schemas.records import Problem, Rollout, Solution, Vote

OPENR = "STEPMINT_PEER_OPENR"
_CODE = "data/omegaPRM_v2"
PROBLEMS = int(os.environ.get("STEPMINT_PEER_PROBLEMS", "8"))
SEARCH = OmegaConfig(rollouts=16, searches=20, budget=200)
"""The settings that OpenR's script has by default."""
Figures = dict[str, Any]


def openr() -> Figures:
    """Labelled steps for 1,000 tokens: our OmegaPRM tree with verifiers and fusion; baseline: OpenR's own
    code, both with its script's settings and a filter of 32 rollouts. Both sample the same model at the same
    temperature. OpenR asks it through transformers' pipeline, as its script does without vLLM."""
    code = _checkout()
    posed = problems(PROBLEMS)
    ours, theirs = Arm(), Arm()
    asyncio.run(grow(ours, posed, SEARCH))
    with _imported(code) as modules:
        _search(theirs, posed, modules)
    rows = {
        "ours, verifiers, fused": judged(ours, fused(ours)),
        "ours alone": judged(ours, measured_of(ours.without(("arithmetic", "logic")))),
        "openr": judged(theirs, measured_of(theirs)),
    }
    return {
        "value": rows["ours, verifiers, fused"]["rate"],
        "unit": "labelled steps per 1,000 tokens",
        "baseline": rows["openr"]["rate"],
        "n": len(posed),
        "details": {"rows": rows, "load": round(os.getloadavg()[0], 1)},
    }


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


def _search(arm: Arm, posed: Sequence[Problem], modules: tuple[Any, Any]) -> None:
    """OpenR's filter and search of every problem, as its script calls them."""
    import logging

    from transformers import set_seed

    from pipeline.policies.opening import EMBEDDED

    search, script = modules
    script.logger = logging.getLogger(__name__)

    class Model(search.LanguageModel):  # type: ignore[misc, name-defined]
        """OpenR's model, asked in the words and with the line ends that the embedded model knows."""

        tokens = 0

        def generate_rollout(self, state_prefix: str, num_copies: int) -> list[str]:
            # The model begins each step on a line of its own; OpenR joins and splits steps at empty lines.
            asked = state_prefix.replace("\n\n", "\n")
            texts = self.llm_service.generate_response(f"{asked}\n", num_copies)
            tokenizer = self.llm_service.pipe.tokenizer
            self.tokens += sum(len(tokenizer(text).input_ids) for text in texts)
            return [text.strip("\n").replace("\n", "\n\n") for text in texts]

    class Search(search.OmegaPRM):  # type: ignore[misc, name-defined]
        """OpenR's search, which also notes which rollouts it searched."""

        def expansion_phase_binary_search(self, parent_state: Any, rollout: str) -> None:
            self.searched.append((parent_state, rollout))
            super().expansion_phase_binary_search(parent_state, rollout)

    set_seed(SEED)
    model = Model(
        str(EMBEDDED), device="cpu", max_new_tokens=PROMPT.max_tokens, temperature=PROMPT.temperature,
        top_k=0, top_p=PROMPT.top_p, model_type="hf",
    )  # fmt: skip
    settings = {"alpha": SEARCH.alpha, "beta": SEARCH.beta, "L": SEARCH.length_scale, "c_puct": SEARCH.c_puct}
    settings |= {"k": SEARCH.rollouts, "N": SEARCH.searches, "rollout_budget": SEARCH.budget}
    grown = Search(model, save_data_tree=True, **settings)
    for problem in posed:
        asked = f"Problem: {problem.text}\n\nSolution:"
        grown.searched = []
        with metered(arm.took):
            if script.should_process_question({"problem": asked, "final_answer": problem.answer}, model):
                grown.run(asked, problem.answer)
                arm.rows += _rows(problem, asked, grown)
    arm.tokens = model.tokens


def _rows(problem: Problem, asked: str, grown: Any) -> list[tuple[Problem, Solution, list[Vote]]]:
    """The rollouts that were searched, once each, with the counts of the states along them."""
    counted = {
        _plain(state.solution_prefix, asked): (state.correct_rollouts, state.total_rollouts)
        for state in grown.T.nodes
        if state.total_rollouts
    }
    rows = []
    roller = Roller(_nobody(), PROMPT, problem, seed=SEED)
    texts = dict.fromkeys(_plain(f"{state.solution_prefix}\n\n{r}", asked) for state, r in grown.searched)
    for text in texts:
        drawn = Rollout(
            problem_id=problem.id, purpose="omegaprm", prefix="", text=text,
            outcome=outcome_of(problem, text), stopped="stop",
        )  # fmt: skip
        solution = to_solution(roller, drawn)
        votes = [answer_vote(solution)] if solution.steps else []
        for step in range(len(solution.steps) - 1):
            found = counted.get(prefix_of(text, solution.steps, step + 1).strip())
            if found:
                correct, n = found
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
