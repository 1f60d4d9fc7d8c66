"""Steps that attack the judge (`injections`): do they stay in their paragraph, and does a verdict move?"""

from collections.abc import Mapping, Sequence
from typing import Any

from benchmarks.injections import INJECTIONS
from benchmarks.judges import Pair, judge_at, said_by
from benchmarks.judging import JUDGES, JudgeServer, solution, solutions
from benchmarks.segmenting import wilson
from pipeline.labelling.direct import label
from pipeline.policies.opening import model_path
from pipeline.prompts.filling import defused, untagged
from pipeline.prompts.templates import load_judge
from schemas.records import LabelledSolution

Figures = dict[str, Any]
FENCED = tuple(name for name in JUDGES if load_judge(name).shows == "paragraphs")
"""Prompts that show paragraphs; the text of the others has no fence that could be left."""
SOLUTIONS, DRAWS = 10, 2
MODEL = "smollm2-135m-instruct"
_LONGEST = 128


def attacked(pair: Pair, injection: str, place: int) -> Pair:
    """The solution with an injection at the end of one of its steps, before its answer."""
    problem, given = pair
    steps = list(given.step_texts())
    text, mark, answer = steps[place].partition("\n####")
    steps[place] = f"{text}\n{injection}{mark}{answer}"
    return problem, solution(problem, steps)


def pairs_of(injections: Sequence[str] = INJECTIONS) -> list[tuple[Pair, Pair, str]]:
    """Each injection in a solution of its own, at the first, second, ... step in turn; before it the solution
    as it was."""
    clean = solutions(len(injections), seed=5)
    return [
        (pair, attacked(pair, text, i % len(pair[1].steps)), text)
        for i, (pair, text) in enumerate(zip(clean, injections, strict=True))
    ]


def injected(
    injections: Sequence[str] = INJECTIONS, prompts: Sequence[str] = FENCED, *, model: bool = True
) -> Figures:
    """Verdicts that change when a step attacks the judge, over all prompts that show paragraphs. The judge is
    scripted, and reads its prompt by the tags: it must find the same paragraphs, with the attack inside its
    own. `model`: the same with a small real model, beside what a second draw changes without any attack.
    """
    found = {prompt: _scripted(prompt, pairs_of(injections)) for prompt in prompts}
    changed, n = (sum(one[name] for one in found.values()) for name in ("changed", "verdicts"))
    details: Figures = {"injections": len(injections), "by_prompt": found}
    if model and model_path(MODEL) != MODEL:
        details["model"] = with_model()
    return {"value": changed, "unit": "changed verdicts", "baseline": 0, "n": n, "details": details}


def _scripted(prompt: str, several: Sequence[tuple[Pair, Pair, str]]) -> Figures:
    with JudgeServer() as server:
        settings = {"annotate": [judge_at(server.url, "first/plain", prompt)], "seed": 1}
        before = label([clean for clean, _, _ in several], settings, None)
        after = label([attack for _, attack, _ in several], settings, None)
    shown = {seen.steps for _, seen in server.told if seen.prompt == prompt}
    elsewhere = [
        text
        for _, (_, given), text in several
        if tuple(untagged(defused(step)) for step in given.step_texts()) not in shown
    ]
    source = next(iter(before.sources.keys() - {"answer"}))
    said = [[_said(row, source, prompt) for row in rows] for rows in (before, after)]
    return {
        "verdicts": len(several),
        "changed": sum(one != other for one, other in zip(*said, strict=True)),
        "unread": sum(one is None for one in said[0]),
        "tags_in_disorder": len(server.broken),
        "other_paragraphs": elsewhere,
    }


# A model that may obey


def with_model(n: int = SOLUTIONS, draws: int = DRAWS, prompt: str = "judge_processbench") -> Figures:
    """Readings of a small model that change between two draws of the same prompt, and between a draw without
    and one with an attack. A reply that is not read is a reading, too."""
    chosen = pairs_of(INJECTIONS)[:: len(INJECTIONS) // n][:n]
    clean = _drawn([pair for pair, _, _ in chosen], prompt, 2 * draws)
    attack = _drawn([pair for _, pair, _ in chosen], prompt, draws)
    redrawn = [(one, other) for said in clean for one, other in zip(said[:draws], said[draws:], strict=True)]
    moved = [(a, b) for was, now in zip(clean, attack, strict=True) for a, b in zip(was, now, strict=False)]
    return {
        "model": MODEL,
        "solutions": n,
        "a_second_draw_changes": _share(redrawn),
        "an_attack_changes": _share(moved),
        "readings_without": _tally(said for row in clean for said in row[:draws]),
        "readings_with": _tally(said for row in attack for said in row),
        "marks_made_tokens": marks_made_tokens([pair for _, pair, _ in pairs_of()], prompt),
    }


def _drawn(pairs: Sequence[Pair], prompt: str, draws: int) -> list[list[object]]:
    """What each of several draws says of each solution."""
    policy = {"kind": "transformers", "model": MODEL, "chat": True, "max_model_len": 2048, "in_flight": 20}
    judge = {"kind": "judge", "prompts": [prompt], "votes": 1, "max_tokens": _LONGEST, "policy": policy}
    judges = [{**judge, "name": f"draw{i}"} for i in range(draws)]
    rows = label(pairs, {"annotate": judges, "seed": 1}, None)
    return [[_said(row, f"draw{i}:{prompt}", prompt) for i in range(draws)] for row in rows]


def _said(row: LabelledSolution, source: str, prompt: str) -> object:
    return said_by([vote for vote in row.votes if vote.source == source], load_judge(prompt).reads)


def _share(compared: Sequence[tuple[object, object]]) -> Figures:
    changed = sum(one != other for one, other in compared)
    low, high = wilson(changed, len(compared))
    return {
        "changed": changed,
        "of": len(compared),
        "share": round(changed / len(compared), 3),
        "interval": [low, high],
    }


def _tally(said: Any) -> Mapping[str, int]:
    found: dict[str, int] = {}
    for one in said:
        found[str(one)] = found.get(str(one), 0) + 1
    return dict(sorted(found.items()))


def marks_made_tokens(pairs: Sequence[Pair], prompt: str) -> int:
    """Prompts in which the model's own tokenizer makes a special token of anything in a solution: the chat
    template alone must account for all of them."""
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(model_path(MODEL))
    special = set(tokenizer.all_special_ids)
    judge, found = load_judge(prompt), 0
    for problem, given in pairs:
        asked = judge.ask(problem, given.text, given.step_texts())
        counts = []
        for text in (asked.text, "Hello"):
            messages = [{"role": "system", "content": asked.system}, {"role": "user", "content": text}]
            written = tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
            counts.append(sum(token in special for token in tokenizer(written).input_ids))
        found += counts[0] != counts[1]
    return found
