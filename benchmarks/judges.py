"""Judges on the users' path: the shipped prompts, our policy for servers, a scripted judge behind HTTP."""

import json
import tempfile
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks import faults_server
from benchmarks.judging import JUDGES, JudgeServer, Seen, Told, solutions
from benchmarks.reply_forms import NO_VERDICT, STYLES
from pipeline.fusion.first_error import first_error_of
from pipeline.labelling.direct import label
from pipeline.outputs.report import rows_of
from pipeline.policies.simulated import read_states
from pipeline.prompts.templates import load_judge
from pipeline.runs.run_store import RunStore
from schemas.config import parse_config
from schemas.records import Problem, Solution, Vote

Figures = dict[str, Any]
Pair = tuple[Problem, Solution]
SOLUTIONS, ACCURACY = 40, 0.8
NEEDED = 0.995
"""The share of replies that must be read."""
_SHOWN = 3
"""Replies that were not read, or misread, in the record."""


def judge_at(url: str, model: str, prompt: str, name: str = "judge") -> Figures:
    """The section of a judge on a chat server; a prompt that reviews critiques gets one to review."""
    policy = {"kind": "server", "base_url": url, "model": model, "chat": True}
    reviews = load_judge(prompt).reviews_a_critique
    asks = {"prompts": ["judge_steps"], "meta": prompt} if reviews else {"prompts": [prompt]}
    return {"kind": "judge", "name": name, "votes": 1, "policy": policy, "max_tokens": 4096, **asks}


# Replies in many styles


@dataclass
class Counted:
    """Replies of one style to one prompt: those with a verdict (how many were read, and how many of them
    misread), or those without one (how many were read all the same)."""

    asked: int = 0
    read: int = 0
    misread: int = 0
    silent: int = 0
    spoke: int = 0
    lost: list[Figures] = field(default_factory=list)

    def add(self, votes: Sequence[Vote], told: Told | None, reads: str, *, silent: bool) -> None:
        """Count one reply."""
        said = said_by(votes, reads)
        if silent:
            self.silent, self.spoke = self.silent + 1, self.spoke + (said is not None)
            return
        assert told is not None, "the server was not asked"
        meant = planted(told, reads)
        self.asked, self.read = self.asked + 1, self.read + (said is not None)
        self.misread += said not in (None, meant)
        if said != meant:
            self.lost.append({"said": said, "planted": meant, "why": votes[0].why, "reply": told.reply.text})


def said_by(votes: Sequence[Vote], reads: str) -> object:
    """What the votes of one reply say, in the form that was asked for; None for nothing."""
    if reads == "rubric":
        return None if votes[-1].p is None else round(votes[-1].p, 4)
    if reads == "all_errors":
        return None if votes[0].p is None else tuple(vote.step for vote in votes if vote.p == 0)
    return first_error_of(votes, len(votes))


def planted(told: Told, reads: str) -> object:
    """What the reply was to say, in the same form."""
    match reads:
        case "rubric":
            return told.verdict.score
        case "all_errors":
            return told.verdict.wrong
    return told.verdict.first


def replies_to(prompt: str, part: str, pairs: Sequence[Pair]) -> dict[str, Counted]:
    """What became of the replies to one prompt, by style."""
    reads = load_judge(prompt).reads
    styles = {f"s{i}": style for i, style in enumerate([*STYLES[reads], *NO_VERDICT])}
    with JudgeServer(accuracy=ACCURACY) as server:
        judges = [judge_at(server.url, f"{part}/{style}", prompt, name) for name, style in styles.items()]
        rows = label(pairs, {"annotate": judges, "seed": 1}, None)
    assert not server.broken, server.broken[:_SHOWN]
    found = {style: Counted() for style in styles.values()}
    for row in rows:
        shown = Seen(prompt, tuple(row.solution.step_texts()))
        for name, style in styles.items():
            votes = [vote for vote in row.votes if vote.source.partition(":")[0] == name]
            told = server.told.get((f"{part}/{style}", shown))
            found[style].add(votes, told, reads, silent=style in NO_VERDICT)
    return found


def scripted(n: int = SOLUTIONS, part: str = "kept", prompts: Sequence[str] = JUDGES) -> Figures:
    """The share of a scripted judge's replies that is read, over all shipped prompts and all styles,
    through a server; baseline: what is needed. `misread` must be 0. Replies without a verdict are
    counted apart, and none of them may be read.
    """
    found = {prompt: replies_to(prompt, part, solutions(n)) for prompt in prompts}
    styles = sorted({style for one in found.values() for style in one})
    everything = [counted for one in found.values() for counted in one.values()]
    asked = sum(one.asked for one in everything)
    return {
        "value": sum(one.read for one in everything) / asked,
        "unit": "share of replies read",
        "baseline": NEEDED,
        "n": asked,
        "details": {
            "part": part,
            "misread": sum(one.misread for one in everything),
            "without_verdict": sum(one.silent for one in everything),
            "of_them_read": sum(one.spoke for one in everything),
            "by_prompt": {prompt: _summed(one.values()) for prompt, one in found.items()},
            "by_style": {
                style: _summed(one[style] for one in found.values() if style in one) for style in styles
            },
            "lost": [lost for one in everything for lost in one.lost][:_SHOWN],
        },
    }


def _summed(several: Iterable[Counted]) -> str:
    """In a few characters, because the record has a line for each prompt and style."""
    several = list(several)
    asked, read, misread = (
        sum(getattr(one, name) for one in several) for name in ("asked", "read", "misread")
    )
    silent, spoke = sum(one.silent for one in several), sum(one.spoke for one in several)
    return f"{read} of {asked} read, {misread} misread" if asked else f"{silent - spoke} of {silent} abstain"


# A perfect judge


SAMPLED = {"kind": "sample", "n": 3}
RUNS: dict[str, tuple[list[Figures], Figures]] = {
    "monte_carlo": ([{"kind": "monte_carlo"}], SAMPLED),
    "bisection": ([{"kind": "bisection"}], SAMPLED),
    "scan": ([{"kind": "scan", "confidence": 0.0}], SAMPLED),
    "omegaprm": ([], {"kind": "omegaprm", "searches": 6, "budget": 150}),
}
"""Ways to measure a step by rollouts, as sections of a run file."""
PROBLEMS = 12


def consensus(
    problems: int = PROBLEMS, prompts: Sequence[str] = ("judge_processbench", "judge_steps")
) -> Figures:
    """The share of solutions that the consensus filter keeps where the judge, behind a server and in any
    style, is perfect, in whole runs of each kind of rollouts on the simulated policy; baseline: 1, all of
    them. `dropped` has the reasons of the others, `wrong` the kept ones whose judge missed the first error.
    """
    found: dict[str, Figures] = {}
    with tempfile.TemporaryDirectory() as folder, JudgeServer() as server:
        for prompt in prompts:
            for kind in RUNS:
                root = Path(folder) / f"{prompt}-{kind}"
                root.mkdir()
                found[f"{kind}, {prompt}"] = _kept(
                    kind, judge_at(server.url, "kept/any", prompt), problems, root
                )
    assert not server.broken, server.broken[:_SHOWN]
    kept, n = (sum(one[name] for one in found.values()) for name in ("kept", "solutions"))
    return {"value": kept / n, "unit": "share kept", "baseline": 1.0, "n": n, "details": {"runs": found}}


def _kept(kind: str, judge: Figures, problems: int, root: Path) -> Figures:
    posed = root / "problems.jsonl"
    texts = (json.dumps({"text": f"problem {i}", "answer": "right"}) for i in range(problems))
    posed.write_text("\n".join(texts) + "\n")
    annotate, propose = RUNS[kind]
    data = {
        "name": "r",
        "root": str(root),
        "problems": {"source": "jsonl", "path": str(posed)},
        "policy": {"kind": "simulated", "slip": 0.05, "n_steps": 9},
        "prompt": {"max_tokens": 1000},
        "filter": {"rollouts": 8},
        "propose": propose,
        "annotate": [*annotate, judge],
    }
    session = faults_server.label(data)
    assert not session["owed"], session
    rows = list(rows_of(RunStore.open(parse_config(data, "r.toml"))))
    truths = [_first(read_states(row.solution.text)) for row in rows]
    votes = [[vote for vote in row.votes if vote.source.startswith("judge:")] for row in rows]
    said = [first_error_of(each, len(each)) for each in votes]
    return {
        "solutions": len(rows),
        "kept": sum(row.kept for row in rows),
        "dropped": dict(Counter(row.consensus for row in rows if not row.kept)),
        "kept_as": dict(Counter(row.consensus for row in rows if row.kept)),
        "with_an_error": sum(truth >= 0 for truth in truths),
        "wrong": sum(one != truth for one, truth in zip(said, truths, strict=True)),
    }


def _first(states: Sequence[bool]) -> int:
    return states.index(False) if False in states else -1
