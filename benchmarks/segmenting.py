"""Our rules for real text against the steps that the authors of four collections of solutions cut.

Their steps are joined with a blank line and cut again. None of the steps of ProcessBench and of the
solutions by Qwen2.5-7B holds a blank line (of 6,882 in the work part), so that is how their authors parted
them.
PRM800K's steps were lines; a blank line stands in the last step of most solutions of its first phase
(`# Answer`, and below it the answer).

The Qwen solutions to GSM8K and MATH500 come as raw text beside their authors' steps, and are cut as they are.
Those authors cut at the numbers of lists, or else at blank lines, and left out what stands before the first
number, so that no rule of ours could be exact there: they are shown apart and do not count.

Problems are parted by the hash of their text. The rules were written with the work part; the kept part was
first looked at through this bench.
"""

from collections import defaultdict
from collections.abc import Iterator
from typing import Any, NamedTuple

from benchmarks.corpora import DATA, PARTS, rows
from benchmarks.parts import is_kept
from benchmarks.shares import wilson
from pipeline.inputs.segment import Cuts, segment
from pipeline.inputs.solutions import written
from schemas.config import SplitConfig

Figures = dict[str, Any]
RAW = "raw text"


class Authored(NamedTuple):
    """A solution, and where its authors' steps begin in it."""

    source: str
    problem: str
    text: str
    starts: tuple[int, ...]


def part_of(problem: str) -> str:
    """The part that a problem's solutions are in."""
    return PARTS[is_kept(problem)]


def joined(source: str, problem: str, steps: list[str]) -> Authored:
    """Steps joined with a blank line, those without text left out."""
    texts = [text for step in steps if (text := (step or "").strip())]
    starts = [sum(len(text) + 2 for text in texts[:i]) for i in range(len(texts))]
    return Authored(source, problem, "\n\n".join(texts), tuple(starts))


def found_in(source: str, problem: str, text: str, steps: list[str]) -> Authored:
    """Steps found in their raw text. One begins where its line does: these authors' steps lack the number of
    their list item."""
    starts, at = [], 0
    for step in steps:
        # Their first step begins with the chat template and the problem, which the raw text is without.
        step = step.rpartition("\nassistant\n")[2].strip()
        at = text.find(step, at)
        if at < 0:
            return Authored(source, problem, text, ())
        starts.append(text.rfind("\n", 0, at) + 1)
        at += len(step)
    return Authored(source, problem, text, tuple(starts))


def authored() -> Iterator[Authored]:
    """Every solution with its authors' steps."""
    for row in rows("sampled_solutions/qwen25_7b_olympiadbench*"):
        for steps in row["steps"]:
            yield joined("qwen2.5-7b olympiadbench", row["question"], steps)
    for path in sorted(DATA.glob("processbench/*.jsonl*")):
        for row in rows(f"processbench/{path.name}"):
            yield joined(f"processbench {path.name.partition('_')[0]}", row["problem"], row["steps"])
    for row in rows("prm800k/phase1_test_part.jsonl"):
        solution = written(row, "prm800k", "")
        yield joined("prm800k phase 1", solution.problem, list(solution.steps))
    for row in rows("prm800k/phase1_train_stepwise.jsonl.gz"):
        if row["is_solution"]:  # the last step of a solution: the row holds all of them
            steps = [*row["responses"], row["next_response"]]
            yield joined("prm800k stepwise", row["instruction"], steps)
    for name in ("gsm8k", "math500"):
        for row in rows(f"sampled_solutions/{name}_32_per_problem_part.jsonl.gz"):
            one = row["candidates"][0]  # one of 32 a problem: the others are much like it
            text = one["raw_text"].rpartition("\nassistant\n")[2]
            found = found_in(f"{RAW} {name}", one["problem"]["question"], text, _texts(one["steps"]))
            if found.starts:
                yield found


def _texts(steps: list[dict[str, Any]]) -> list[str]:
    return [step["text"] for step in steps]


def compared(solutions: list[Authored], cuts: Cuts) -> Figures:
    """How many solutions are cut as their authors cut them, with Wilson's 95% intervals.

    `exact`: every step begins where one of theirs does, and the other way round. `same_count`: as many steps.
    `none_cut`: no step of theirs is cut in two. `precision` and `recall` are of the boundaries inside
    solutions.
    """
    counts = dict.fromkeys(("exact", "same_count", "none_cut"), 0)
    ours_n = theirs_n = both = 0
    for one in solutions:
        starts = {one.text.rfind("\n", 0, step.start) + 1 for step in segment(one.text, cuts)}
        theirs = set(one.starts)
        counts["exact"] += starts == theirs
        counts["same_count"] += len(starts) == len(theirs)
        inner, wanted = starts - {min(starts)}, theirs - {min(theirs)}
        counts["none_cut"] += inner <= theirs
        ours_n, theirs_n, both = ours_n + len(inner), theirs_n + len(wanted), both + len(inner & wanted)
    n = len(solutions)
    shares = {
        name: {"k": k, "share": round(k / n, 3), "interval": [round(x, 3) for x in wilson(k, n)]}
        for name, k in counts.items()
    }
    return {
        "n": n,
        "problems": len({one.problem for one in solutions}),
        **shares,
        "precision": round(both / max(ours_n, 1), 4),
        "recall": round(both / max(theirs_n, 1), 4),
    }


def authors() -> Figures:
    """Share of solutions whose steps begin exactly where their authors' do, on the kept part: our rules
    against cutting at blank lines alone. Answers and headings are no steps by our rules and often are by
    theirs: `none_cut` and `precision` say how often we cut where they do not."""
    groups: dict[tuple[str, str], list[Authored]] = defaultdict(list)
    for one in authored():
        groups[part_of(one.problem), one.source].append(one)
    ours = {key: compared(some, SplitConfig()) for key, some in groups.items()}
    plain = {key: compared(some, "\n\n") for key, some in groups.items()}
    kept = [key for key in groups if key[0] == "kept" and not key[1].startswith(RAW)]
    n = sum(ours[key]["n"] for key in kept)

    def share(figures: dict[tuple[str, str], Figures]) -> float:
        return float(sum(figures[key]["exact"]["k"] for key in kept)) / n

    return {
        "value": share(ours),
        "unit": "share of solutions",
        "baseline": share(plain),
        "n": n,
        "details": {
            part: {
                key[1]: {**ours[key], "blank_lines_exact": plain[key]["exact"]["k"]}
                for key in sorted(groups)
                if key[0] == part
            }
            for part in PARTS
        },
    }
