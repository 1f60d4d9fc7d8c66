"""Judges on the users' path: the shipped prompts, our policy for servers, and a scripted judge behind HTTP."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from benchmarks.judging import JUDGES, JudgeServer, Seen, Told, solutions
from benchmarks.reply_forms import NO_VERDICT, STYLES
from pipeline.fusion.first_error import first_error_of
from pipeline.labelling.direct import label
from pipeline.prompts.templates import load_judge
from schemas.records import LabelledSolution, Problem, Solution, Vote

Figures = dict[str, Any]
Pair = tuple[Problem, Solution]
SOLUTIONS = 40
ACCURACY = 0.8


def judge_at(url: str, model: str, prompt: str, name: str = "judge", **more: Any) -> Figures:
    """The section of a judge on a chat server; a prompt that reviews critiques gets one to review."""
    policy = {"kind": "server", "base_url": url, "model": model, "chat": True, "timeout_s": 30.0}
    asks = {"prompts": [prompt]}
    if load_judge(prompt).reviews_a_critique:
        asks = {"prompts": ["judge_steps"], "meta": prompt}
    return {"kind": "judge", "name": name, "votes": 1, "policy": policy, "max_tokens": 4096, **asks, **more}


def scripted(n: int = SOLUTIONS, part: str = "kept", prompts: Sequence[str] = JUDGES) -> Figures:
    """The share of a scripted judge's replies that is read, over all shipped prompts and all styles, through a
    server; baseline: 99.5%. `misread` must be 0. Replies without a verdict are counted apart: all abstain.
    """
    found = {prompt: _prompt(prompt, part, solutions(n)) for prompt in prompts}
    counts = sum((Counter(one) for styles in found.values() for one in styles.values()), Counter[str]())
    lost = [f"{prompt}, {style}: {why}" for prompt, styles in found.items() for style, one in styles.items() for why in one.pop("lost")]
    return {
        "value": counts["read"] / counts["asked"],
        "unit": "share of replies read",
        "baseline": 0.995,
        "n": counts["asked"],
        "details": {
            "misread": counts["misread"],
            "without_verdict": counts["silent"],
            "of_them_read": counts["spoke"],
            "by_prompt": {prompt: _shares(styles.values()) for prompt, styles in found.items()},
            "by_style": _by_style(found),
            "lost": lost,
        },
    }


def _prompt(prompt: str, part: str, pairs: Sequence[Pair]) -> dict[str, Figures]:
    """What became of each style's replies to one prompt: asked, read, misread; silent (a reply without a
    verdict), spoke (one of them that was read all the same)."""
    reads = load_judge(prompt).reads
    styles = {f"s{i}": style for i, style in enumerate([*STYLES[reads], *NO_VERDICT])}
    with JudgeServer(accuracy=ACCURACY) as server:
        judges = [judge_at(server.url, f"{part}/{style}", prompt, name) for name, style in styles.items()]
        rows = label(pairs, {"annotate": judges, "seed": 1}, None)
        assert not server.broken, server.broken[:3]
    found: dict[str, Figures] = {style: {"lost": []} | Counter() for style in styles.values()}
    for row in rows:
        for name, style in styles.items():
            votes = [vote for vote in row.votes if vote.source.partition(":")[0] == name]
            told = server.told.get((f"{part}/{style}", Seen(prompt, tuple(row.solution.step_texts()))))
            _count(found[style], votes, told, reads, silent=style in NO_VERDICT)
    return found


def _count(found: Figures, votes: Sequence[Vote], told: Told | None, reads: str, *, silent: bool) -> None:
    said = said_by(votes, reads)
    if silent:
        found["silent"] = found.get("silent", 0) + 1
        found["spoke"] = found.get("spoke", 0) + (said is not None)
        return
    assert told is not None, "the server was not asked"
    misread = said not in (None, planted(told, reads))
    for name, one in (("asked", True), ("read", said is not None), ("misread", misread)):
        found[name] = found.get(name, 0) + one
    if said is None or misread:
        found["lost"].append({"why": votes[0].why, "said": said, "planted": planted(told, reads), "reply": told.reply.text})


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
