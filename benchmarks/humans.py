"""How verifiers, small models as judges, rollouts and fusion agree with people, each alone and together.

The rows are the samples of ProcessBench and PRM800K in `STEPMINT_DATA`. Nothing is tuned on them; still, all
figures are of one half of the problems, chosen by a hash of their text, so that whoever tries something out
has the other half.
"""

import random
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from benchmarks.corpora import DATA, rows
from benchmarks.parts import is_kept
from pipeline.annotators.judge import votes_of as votes_of_judge
from pipeline.annotators.verdicts import Reading
from pipeline.labelling.direct import Labelled, fuse_rows, label
from pipeline.outputs.fidelity import fidelity
from pipeline.policies.opening import model_path
from schemas.config import FusionConfig
from schemas.records import (
    GoldLabels,
    LabelledSolution,
    PolicyIdentity,
    Problem,
    Solution,
    Step,
    Vote,
    content_id,
)
from schemas.sources import Source, Sources
from verifiers.answers.grade import extract_answer

Figures = dict[str, Any]
VERIFIERS = ("arithmetic", "algebra", "constraints")
JUDGES = {"smollm2-135m-instruct": True, "gemma-3-270m": False}
"""Models that come as packages, and whether they are asked through a chat template. They are far too weak to
judge; what is seen is that whatever they say is read or abstains, and that fusion is not misled by it."""
JUDGED, ROLLED = 2, 1
"""Solutions of each dataset that models judge, and of GSM8K that are rolled out: what a laptop does in
minutes."""
PLANTED = 0.8
"""How often a planted judge names the first error that people name."""
WORTHS = (0.5, 0.65, 0.8, 0.95)
"""The same of judges that vote alone, without even verifiers."""
SEED = 17
_PLANTED = Source(kind="judge", asks="valid")


class Given(NamedTuple):
    """A solution that people have labelled."""

    problem: Problem
    solution: Solution
    gold: GoldLabels


def processbench() -> Iterator[Given]:
    """Four datasets, labelled up to the first error; GSM8K's with the gold answers of its own files."""
    golds = {row["question"]: row["answer"] for row in rows("gsm8k/test_part.jsonl")}
    golds |= {question: "\n".join(lines) for question, lines in _train()}
    for path in sorted(DATA.glob("processbench/*.jsonl*")):
        for row in rows(f"processbench/{path.name}"):
            known = golds.get(row["problem"])
            first, n = row["label"], len(row["steps"])
            labels = [1 if first == -1 or i < first else 0 if i == first else None for i in range(n)]
            outcome = "correct" if row["final_answer_correct"] else "incorrect"
            answer = extract_answer(known) if known else None
            name = f"processbench {path.name.partition('_part')[0]}"
            yield _given(name, row["problem"], row["steps"], labels, answer=answer, outcome=outcome)


def _train() -> Iterator[tuple[str, list[str]]]:
    for row in rows("gsm8k/train.jsonl.gz"):
        yield row["question"], row["answer"].split("\n")


def prm800k() -> Iterator[Given]:
    """Of each problem one solution that was carried to its end, and one that ends with its first wrong step:
    PRM800K asks for ratings of next steps, and goes on from a right one."""
    rated: dict[tuple[str, tuple[str, ...]], float | None] = {}
    ends: dict[tuple[str, bool], tuple[str, ...]] = {}
    for row in rows("prm800k/phase1_train_stepwise.jsonl.gz"):
        steps = (*map(str, row["responses"]), str(row["next_response"] or ""))
        rated[row["instruction"], steps] = row["rating"]
        is_wrong = row["rating"] == -1
        if all(map(str.strip, steps)) and (is_wrong or (row["is_solution"] and row["rating"] == 1)):
            # The one with the smallest hash: which of many is taken must depend on nothing else.
            key = row["instruction"], is_wrong
            ends[key] = min(ends.get(key, steps), steps, key=lambda one: content_id(*one))
    for (text, is_wrong), steps in ends.items():
        ratings = [rated.get((text, steps[: i + 1])) for i in range(len(steps))]
        # 0 is neither good nor bad, and people's own steps have no rating.
        labels = [{1.0: 1, -1.0: 0}.get(rating) if rating is not None else None for rating in ratings]
        if is_wrong == (0 in labels):
            yield _given("prm800k", text, steps, labels)


def _given(
    name: str,
    text: str,
    steps: Sequence[str],
    labels: Sequence[int | None],
    *,
    answer: str | None = None,
    outcome: str = "unknown",
) -> Given:
    posed = {"text": text, "answer": answer, "answer_kind": "number", "source": {"dataset": name}}
    problem = Problem.model_validate(posed)
    starts = [sum(len(one) + 2 for one in steps[:i]) for i in range(len(steps))]
    spans = [Step(text=one, start=at, end=at + len(one)) for one, at in zip(steps, starts, strict=True)]
    solution = Solution.model_validate(
        {
            "problem_id": problem.id,
            "text": "\n\n".join(steps),
            "steps": spans,
            "outcome": outcome,
            "policy": PolicyIdentity(kind="given", model=""),
        }
    )
    first = labels.index(0) if 0 in labels else -1
    gold = {"labels": labels, "first_error": first, "by": name.partition(" ")[0]}
    return Given(problem, solution, GoldLabels.model_validate(gold))


def kept() -> list[Given]:
    """The rows that figures are quoted on, in an order that depends on their content only."""
    found = [one for one in (*processbench(), *prm800k()) if is_kept(one.problem.text) and one.solution.steps]
    distinct = {one.solution.id: one for one in found}
    return [distinct[name] for name in sorted(distinct)]


def sampled(given: Iterable[Given], most: int) -> list[Given]:
    """The first so many of each dataset."""
    by_dataset: dict[str, list[Given]] = {}
    for one in given:
        by_dataset.setdefault(one.problem.source.dataset, []).append(one)
    return [one for several in by_dataset.values() for one in several[:most]]


def _judges() -> dict[str, Mapping[str, Any]]:
    """The models that are installed, as policies."""
    return {
        name: {"kind": "transformers", "model": name, "chat": chat, "max_model_len": 2048, "in_flight": 4}
        for name, chat in JUDGES.items()
        if model_path(name) != name
    }


def _voted(given: Sequence[Given], annotate: Any, policy: Any = None, **settings: Any) -> Labelled:
    pairs = [(one.problem, one.solution) for one in given]
    return label(pairs, {"annotate": annotate, "seed": SEED, **settings}, policy)


def votes_of(given: Sequence[Given], judged: int, rolled: int) -> tuple[list[Labelled], set[str]]:
    """The votes of every source on the rows that it can afford, and the solutions that models judged."""
    chosen = sampled(given, judged)
    found = [_voted(given, [{"kind": "verify", "verifiers": VERIFIERS}])]
    for name, model in _judges().items():
        judge = {"kind": "judge", "name": name, "votes": 1, "max_tokens": 320, "policy": model}
        found.append(_voted(chosen, [judge]))
    # Only GSM8K's solutions have a gold answer here, and only its problems are solved now and then.
    graded = [one for one in chosen if one.problem.answer is not None][:rolled]
    if graded and (solver := next(iter(_judges().values()), None)):
        prompt = {"template": "solve", "max_tokens": 160, "separator": "\n\n"}
        found.append(_voted(graded, [{"kind": "monte_carlo", "rollouts": 4}], solver, prompt=prompt))
    return found, {one.solution.id for one in chosen}


def humans(judged: int = JUDGED, rolled: int = ROLLED) -> Figures:
    """ProcessBench's F1 of fused labels against people's where two judges of known worth and the verifiers
    vote (`planted`); baseline: the better judge alone. Beside it: the verifiers by themselves, and on a few
    solutions small real models as judges and for rollouts (`judged`), with the replies that were read.

    PRM800K's wrong solutions end with their first error, so whoever blames last steps is flattered there.
    """
    given = kept()
    found, chosen = votes_of(given, judged, rolled)
    votes: dict[str, list[Vote]] = {}
    for row in (row for part in found for row in part):
        votes.setdefault(row.solution.id, []).extend(row.votes)
    golds = {one.solution.id: one.gold for one in given}
    sources = {name: source for part in found for name, source in part.sources.items()}
    verified = [row.model_copy(update={"gold": golds[row.solution.id]}) for row in found[0]]
    merged = [row.model_copy(update={"votes": tuple(votes[row.solution.id])}) for row in verified]
    # Trust is fitted to all rows, as in a run in which a judge saw only some.
    fused = fuse_rows(merged, {}, sources)
    known = {n: planted(verified, found[0].sources, n) for n in (1, 2, 3)}
    arms = known[2]["arms"]
    return {
        "value": arms["fused"]["f1"]["value"],
        "unit": "F1 of first errors",
        "baseline": max(arms[name]["f1"]["value"] for name in arms if name.startswith("planted")),
        "n": len(given),
        "details": {
            "planted": known,
            "lone": {worth: lone(verified, worth) for worth in WORTHS},
            "verifiers": fidelity(fuse_rows(verified, {}, sources), sources, FusionConfig()),
            "judged": fidelity(_of(fused, chosen), sources, FusionConfig()),
            "replies": _replies(fused, sources),
            "left_out": dict(Counter(one.reason for part in found for one in part.left_out)),
        },
    }


def lone(rows: Iterable[LabelledSolution], worth: float) -> Figures:
    """F1, and precision and recall of "wrong", of one planted judge that nobody else votes beside: as it
    stands (`judge`), and fused."""
    arms = planted([row.model_copy(update={"votes": ()}) for row in rows], {}, 1, worth)["arms"]
    figures = ("f1", "step_precision", "step_recall")
    return {
        name: {figure: round(arms[arm][figure]["value"], 3) for figure in figures}
        for name, arm in (("judge", "planted:0"), ("fused", "fused"))
    }


def planted(rows: Iterable[LabelledSolution], sources: Sources, n: int, worth: float = PLANTED) -> Figures:
    """The same with `n` judges that err at random: each names the people's first error with chance
    `worth`, else any other. What fusion makes of judges whose worth is known, beside the same verifiers."""
    names = [f"planted:{i}" for i in range(n)]
    judged = []
    for row in rows:
        first, steps, votes = row.gold and row.gold.first_error, len(row.labels), list(row.votes)
        for name in names if first is not None else ():
            rng = random.Random(f"{SEED} {name} {row.solution.id}")
            others = [step for step in range(-1, steps) if step != first]
            said = first if rng.random() < worth else rng.choice(others)
            votes += votes_of_judge([Reading(said)], steps, name)
        judged.append(row.model_copy(update={"votes": tuple(votes)}))
    every = {**sources, **{name: _PLANTED for name in names}}
    return fidelity(fuse_rows(judged, {}, every), every, FusionConfig())


def _of(rows: Iterable[LabelledSolution], names: set[str]) -> list[LabelledSolution]:
    return [row for row in rows if row.solution.id in names]


def _replies(rows: Iterable[LabelledSolution], sources: Sources) -> Figures:
    """Of each judge how many replies were read, how many abstained, and the commonest reasons."""
    first = [v for row in rows for v in row.votes if v.step == 0 and sources[v.source].kind == "judge"]
    found: Figures = {}
    for name in sorted({vote.source for vote in first}):
        mine = [vote for vote in first if vote.source == name]
        whys = Counter(vote.why for vote in mine if vote.p is None).most_common(3)
        read, failed = sum(vote.n for vote in mine), sum(vote.n_failed for vote in mine)
        found[name] = {"read": read, "abstained": failed, "why": dict(whys)}
    return found
