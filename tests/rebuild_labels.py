"""Makes the labels of a sealed run again from its votes, by what data/README.md says and nothing else.

    python tests/rebuild_labels.py runs/NAME

It reads `manifest.json` and the Parquet files that this names, imports nothing of Stepmint, and prints how
many steps and rows come out as they stand in the dataset. Section numbers are those of the page.
"""

import json
import math
import sys
from collections import defaultdict
from pathlib import Path
from statistics import NormalDist
from typing import Any

import pyarrow.parquet as pq

Row = dict[str, Any]
FLOOR = math.exp(-6)


def stages(row: Row, manifest: Row) -> Row:
    """`labels`, `p`, `first_error`, `consensus` and `kept` of a row."""
    n_steps, votes, declared = len(row["steps"]), row["votes"], manifest["declared"]
    settings = manifest["fusion"]
    chances = posterior(n_steps, votes, declared, manifest["trust"])
    labels, p = label(chances, votes, declared, settings)
    opened = next((step for step in range(n_steps) if labels[step] != 1), None)
    first_error = (-1 if n_steps else None) if opened is None else opened if labels[opened] == 0 else None
    kept, consensus = filtered(row, declared, settings)
    return {"labels": labels, "p": p, "first_error": first_error, "consensus": consensus, "kept": kept}


def heard(votes: list[Row], declared: Row) -> list[Row]:
    """Stage 1: votes that say something, without those whose rollouts another voting source includes."""
    said = [vote for vote in votes if vote["p"] is not None]
    included = {name for vote in said for name in declared[vote["source"]]["includes"]}
    return [vote for vote in said if vote["source"] not in included]


def counts(votes: list[Row], declared: Row) -> dict[tuple[str, str], dict[int, list[float]]]:
    """Stage 1: [c, n] by step, of each source, or of all rollouts by one policy."""
    found: dict[tuple[str, str], dict[int, list[float]]] = defaultdict(dict)
    for vote in heard(votes, declared):
        source = declared[vote["source"]]
        if source["kind"] == "search":
            continue
        key = ("rollouts", source["by"]) if source["kind"] == "rollouts" else (source["kind"], vote["source"])
        pair = found[key].setdefault(vote["step"], [0.0, 0.0])
        pair[0] += vote["correct"] if vote["n"] else vote["p"]
        pair[1] += vote["n"] or 1
    return found


def seen_at(pair: list[float] | None, levels: list[float]) -> list[float]:
    """Stage 2: the likelihood of the counts at each level."""
    if pair is None:
        return [1.0] * len(levels)
    c, n = pair
    logs = [c * math.log(y) + (n - c) * math.log(1 - y) for y in levels]
    return [max(math.exp(log - max(logs)), FLOOR) for log in logs]


def posterior(n_steps: int, votes: list[Row], declared: Row, trust: Row) -> list[float]:
    """Stages 3 and 4: P(K = 0), ..., P(K = n_steps - 1), P(no error)."""
    weights = []
    reached = 1.0
    for step in range(n_steps):
        hazard = trust["last_hazard"] if step == n_steps - 1 else trust["hazard"]
        hazard = min(max(hazard, 1e-6), 1 - 1e-6)
        weights.append(reached * hazard)
        reached *= 1 - hazard
    weights.append(reached)
    for (kind, name), by_step in counts(votes, declared).items():
        sure = kind in ("check", "grade")
        levels = [0.0001, 0.9999] if sure else trust["levels"]
        seen = [seen_at(by_step.get(step), levels) for step in range(n_steps)]
        if kind == "rollouts":
            likelihoods = [
                walk(seen, k, trust["rollouts"][name], trust["hazard"]) for k in range(n_steps + 1)
            ]
        else:
            likelihoods = [mixture(seen, k, trust["tables"][name]) for k in range(n_steps + 1)]
        weights = [weight * likelihood for weight, likelihood in zip(weights, likelihoods, strict=True)]
    searches = {name for name, source in declared.items() if source["kind"] == "search"}
    for name in sorted(searches):
        likelihoods = search(n_steps, [v for v in votes if v["source"] == name and v["p"] is not None])
        weights = [weight * likelihood for weight, likelihood in zip(weights, likelihoods, strict=True)]
    return [weight / sum(weights) for weight in weights]


def normal(row: list[float]) -> list[float]:
    return [value / sum(row) for value in row]


def mixture(seen: list[list[float]], k: int, table: list[list[float]]) -> float:
    """Stage 3: of a judge, a verifier or the grade."""
    before, at, after = map(normal, table)
    likelihood = 1.0
    for step, emission in enumerate(seen):
        row = before if step < k else at if step == k else after
        likelihood *= sum(chance * value for chance, value in zip(row, emission, strict=True))
    return likelihood


def walk(seen: list[list[float]], k: int, rows: list[list[float]], hazard: float) -> float:
    """Stage 3: of the rollouts of one policy."""
    start, right, wrong, lost = map(normal, rows)
    n = len(start)
    levels = start
    for step, emission in enumerate(seen):
        share = 0.0 if step < k else 1.0 if step == k else hazard
        five = [share * w + (1 - share) * r for r, w in zip(right, wrong, strict=True)]
        after = [0.0] * n
        for level in range(n):
            for other, chance in moves(level, n, five, lost).items():
                after[other] += levels[level] * chance
        levels = [chance * value for chance, value in zip(after, emission, strict=True)]
    return sum(levels)


def moves(level: int, n: int, five: list[float], lost: list[float]) -> dict[int, float]:
    """Stage 3: where a step takes a level, with what chance."""
    found: dict[int, float] = defaultdict(float)
    if level == 0:
        found[0] = lost[0]
        for other in range(1, n):
            found[other] += lost[1] / (n - 1)
        return found
    found[0] += five[0]
    lower = list(range(1, level - 1)) or [level - 1]
    for other in lower:
        found[other] += five[1] / len(lower)
    found[level - 1] += five[2]
    found[level] += five[3]
    higher = list(range(level + 1, n)) or [level]
    weights = normal([2.0 ** -(j + 1) for j in range(len(higher))])
    for other, weight in zip(higher, weights, strict=True):
        found[other] += five[4] * weight
    return found


def search(n_steps: int, votes: list[Row]) -> list[float]:
    """Stage 3: of a search."""
    p = {vote["step"]: vote["p"] for vote in votes}
    if set(p) != set(range(n_steps - 1)):
        return [1.0] * (n_steps + 1)
    line = [1.0, *(p[step] for step in range(n_steps - 1)), 0.0]
    chances = [max(a - b, 1e-9) for a, b in zip(line, line[1:], strict=False)]
    chances.append(chances[-1])
    return [max(chance / max(chances), FLOOR) for chance in chances]


def share(vote: Row) -> float:
    return float(vote["correct"] / vote["n"] if vote["n"] else vote["p"])


def label(
    chances: list[float], votes: list[Row], declared: Row, settings: Row
) -> tuple[list[int | None], list[float | None]]:
    """Stage 5: the labels, and the p that are stored."""
    said = [vote for vote in votes if vote["p"] is not None]
    labels: list[int | None] = []
    stored: list[float | None] = []
    for step in range(len(chances) - 1):
        p = sum(chances[step + 1 :])
        mine = [v for v in said if v["step"] == step and speaks(v, declared)]
        reached = any(in_reach(v, declared) for v in said if v["step"] >= step)
        stored.append(min(p, 1.0) if mine or reached else None)
        labels.append(decide(p, mine, reached, labels, declared, settings))
    return labels, stored


def decide(
    p: float, mine: list[Row], reached: bool, earlier: list[int | None], declared: Row, settings: Row
) -> int | None:
    """Stage 5, of one step."""
    if any(value != 1 for value in earlier) or not (mine or reached):
        return None
    if p >= settings["accept"]:
        valid = any(vote["asks"] == "valid" and share(vote) > 0.5 for vote in mine)
        return 1 if valid or reached else None
    if p <= settings["reject"]:
        return 0 if says_no(mine, declared, settings["reject"]) else None
    return None


def speaks(vote: Row, declared: Row) -> bool:
    return bool(declared[vote["source"]]["kind"] != "search" or vote["n"])


def in_reach(vote: Row, declared: Row) -> bool:
    if vote["asks"] != "solvable":
        return False
    kind = declared[vote["source"]]["kind"]
    if kind in ("judge", "check"):
        return share(vote) > 0.5
    return bool(vote["correct"] > 0 if vote["n"] or kind == "search" else vote["p"] > 0)


def says_no(mine: list[Row], declared: Row, reject: float) -> bool:
    rolled: dict[str, list[int]] = defaultdict(lambda: [0, 0])
    for vote in mine:
        source = declared[vote["source"]]
        if source["kind"] != "rollouts":
            if source["kind"] != "score" and share(vote) <= 0.5:
                return True
            continue
        rolled[source["by"]][0] += vote["correct"]
        rolled[source["by"]][1] += vote["n"]
    return any(n and NormalDist(n / 2, math.sqrt(n) / 2).cdf(c + 0.5) <= reject for c, n in rolled.values())


def filtered(row: Row, declared: Row, settings: Row) -> tuple[bool, str]:
    """The consensus filter."""
    if not settings["consensus"]:
        return True, ""
    names = ["rollouts", "judge"] if settings["consensus"] is True else settings["consensus"]
    sides = [side(name, row, declared, settings["threshold"]) for name in names]
    kinds = [kind for kind, _, _ in sides]
    one, other = (first for _, first, _ in sides)
    judged = [voted for kind, _, voted in sides if kind != "rollouts"]
    if judged and not any(judged):
        return True, ""
    if row["gold_answer"] is None and "rollouts" in kinds:
        return True, "no_gold"
    silent = [kind for kind, _, voted in sides if not voted]
    if silent and (one is None or one != other):
        return True, "judge_only" if silent == ["rollouts"] and "judge" in kinds else "one_sided"
    for kind, first, _ in sides:
        if first is None:
            return False, "mc_incomplete" if kind == "rollouts" else "judge_unparsed"
    if one == other:
        return True, "agree_clean" if one == -1 else "agree_error"
    return False, "disagree_existence" if -1 in (one, other) else "disagree_position"


def side(name: str, row: Row, declared: Row, threshold: float) -> tuple[str, int | None, bool]:
    """Its kind, its first error, and whether it voted."""
    n_steps, votes = len(row["steps"]), row["votes"]
    if name in ("judge", "check"):
        mine = [v for v in votes if declared[v["source"]]["kind"] == name and v["asks"] == "valid"]
    elif name == "rollouts":
        mine = [v for v in votes if declared[v["source"]]["by"] == "policy"]
    else:
        mine = [v for v in votes if v["source"] == name]
    if name in declared:
        kind = "rollouts" if declared[name]["by"] else declared[name]["kind"]
        declared = {**declared, name: {**declared[name], "by": "policy" if declared[name]["by"] else ""}}
    else:
        kind = name
    if kind == "judge":
        return kind, by_judges(n_steps, mine, declared), bool(mine)
    if kind == "check":
        refuted = [vote["step"] for vote in mine if vote["p"] is not None and vote["p"] < 0.5]
        return kind, min(refuted, default=None), bool(refuted)
    grades = [vote for vote in votes if declared[vote["source"]]["kind"] == "grade"]
    return kind, by_rollouts(n_steps, [*mine, *grades], declared, threshold), bool(mine)


def replies(vote: Row) -> tuple[int, int]:
    """Replies that say yes, and all."""
    counted = vote["n"] or vote["p"] is None
    return (vote["correct"], vote["n"]) if counted else (int(vote["p"] > 0.5), 1)


def by_judges(n_steps: int, judged: list[Row], declared: Row) -> int | None:
    yes: dict[int, int] = defaultdict(int)
    no: dict[int, int] = defaultdict(int)
    every: dict[str, dict[int, tuple[int, int]]] = defaultdict(dict)
    for vote in judged:
        c, n = replies(vote)
        if declared[vote["source"]].get("every_step"):
            every[vote["source"]][vote["step"]] = c, n
        else:
            yes[vote["step"]] += c
            no[vote["step"]] += n - c
    for by_step in every.values():
        wrong = [step for step, (c, n) in by_step.items() if n and n - c >= max(n / 2, 1)]
        first, most = min(wrong, default=n_steps), max(n for _, n in by_step.values())
        for step, (_, n) in by_step.items():
            if n and step < first:
                yes[step] += most
            elif n and step == first:
                no[step] += most
    named = [(no[step], step) for step in range(n_steps)] + [(yes[n_steps - 1], -1)]
    most = max(count for count, _ in named)
    return next((step for count, step in named if count == most), None) if most else None


def by_rollouts(n_steps: int, votes: list[Row], declared: Row, threshold: float) -> int | None:
    grade = next(
        (v["p"] for v in votes if declared[v["source"]]["kind"] == "grade" and v["p"] is not None), None
    )
    if grade == 1:
        return -1
    sound: dict[int, bool] = {}
    rolled: dict[int, list[int]] = defaultdict(lambda: [0, 0])
    others: set[int] = set()
    for vote in heard(votes, declared):
        source = declared[vote["source"]]
        if source["by"] != "policy":
            continue
        if source["kind"] == "search":
            sound[vote["step"]] = vote["p"] >= 0.5
        elif vote["n"]:
            others.add(vote["step"])
        rolled[vote["step"]][0] += vote["correct"]
        rolled[vote["step"]][1] += vote["n"]
    for step in others:
        sound[step] = rolled[step][0] / rolled[step][1] > threshold
    if grade is not None:
        sound[n_steps - 1] = False
    for step in sorted(sound):
        if not sound[step] and (step == 0 or sound.get(step - 1)):
            return step
    return -1 if sound.get(n_steps - 1) else None


def differences(folder: Path) -> tuple[int, int, list[str]]:
    """Steps and rows of a run, and what of them comes out otherwise than it stands in the dataset."""
    manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    rows = [row for one in manifest["shards"] for row in pq.read_table(folder / one["file"]).to_pylist()]
    wrong = []
    for row in rows:
        made = stages(row, manifest)
        wrong += [
            f"{row['solution_id']} {name}: {made[name]!r}, not {row[name]!r}"
            for name in ("first_error", "consensus", "kept")
            if made[name] != row[name]
        ]
        for step in range(len(row["steps"])):
            pair = made["p"][step], row["p"][step]
            same = pair[0] == pair[1] if None in pair else abs(pair[0] - pair[1]) <= 1e-6
            if not same or made["labels"][step] != row["labels"][step]:
                here = f"{made['labels'][step]} (p {pair[0]})", f"{row['labels'][step]} (p {pair[1]})"
                wrong.append(f"{row['solution_id']} step {step}: {here[0]}, not {here[1]}")
    return sum(len(row["steps"]) for row in rows), len(rows), wrong


if __name__ == "__main__":
    n_steps, n_rows, wrong = differences(Path(sys.argv[1]))
    print("\n".join([*wrong[:20], f"{n_steps} steps of {n_rows} rows made again, {len(wrong)} differences"]))
    sys.exit(bool(wrong))
