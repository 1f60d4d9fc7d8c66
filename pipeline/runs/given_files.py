"""The given solutions of a run: `problems/SHARD.given.jsonl`, a line for each in the order of their rows.

They stand beside the problems and not in their lines, so that a shard with many solutions is never in memory
as a whole: only their places are.
"""

import hashlib
import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from schemas.errors import UserError
from schemas.records import Candidate, GoldLabels, Outcome, Vote

# The problem's id at the beginning of a line, read without parsing the line.
_PROBLEM = re.compile(rb'\{"solution":\{"id":"[^"]*","problem_id":"([^"]*)"')


class Given(NamedTuple):
    """The given solutions of a problem, equal texts merged."""

    candidates: Sequence[Candidate] = ()
    key: str = ""
    """A digest of their rows; empty where there are none."""


def file_of(run: Path, shard: int) -> Path:
    """The file of a shard's given solutions."""
    return run / "problems" / f"{shard:05d}.given.jsonl"


class GivenFile:
    """A shard's given solutions, read when they are asked for."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._places: dict[str, list[int]] = defaultdict(list)
        self._sums: dict[str, int] = defaultdict(int)
        if not path.is_file():
            return
        offset = 0
        with path.open("rb") as lines:
            for line in lines:
                if (found := _PROBLEM.match(line)) is None:
                    raise UserError(f"{path}: byte {offset} begins no solution: see `stepmint check`")
                problem = found[1].decode()
                self._places[problem].append(offset)
                # A sum does not depend on the order: rows that only changed places change nothing.
                self._sums[problem] += int.from_bytes(hashlib.sha256(line).digest()[:8], "big")
                offset += len(line)

    def key(self, problem: str) -> str:
        """A digest of a problem's solutions; empty where it has none."""
        return f"{self._sums[problem] % 2**64:016x}" if problem in self._sums else ""

    @property
    def total(self) -> int:
        """A digest of all solutions, in whatever order they are."""
        return sum(self._sums.values()) % 2**64

    def of(self, problem: str) -> Given:
        """A problem's solutions, in the order of their ids."""
        if problem not in self._places:
            return Given()
        found = []
        with self._path.open("rb") as lines:
            for place in self._places[problem]:
                lines.seek(place)
                found.append(Candidate.model_validate_json(lines.readline()))
        return Given(sorted(merged(found), key=lambda one: one.solution.id), self.key(problem))


def merged(candidates: Iterable[Candidate]) -> list[Candidate]:
    """Candidates of one problem with equal texts as one, in the order of their first: its steps are kept;
    votes of other sources and draws are added up. Of labels and outcomes that came with several of them is
    kept what they agree on, so that the order of the rows does not matter."""
    groups: dict[str, list[Candidate]] = defaultdict(list)
    for one in candidates:
        groups[one.solution.text].append(one)
    return [_as_one(*group) for group in groups.values()]


def _as_one(first: Candidate, *others: Candidate) -> Candidate:
    if not others:
        return first
    same = [first, *(one for one in others if one.solution.steps == first.solution.steps)]
    votes: dict[tuple[str, int], Vote] = {}
    for one in same:
        for vote in one.votes:
            votes.setdefault((vote.source, vote.step), vote)
    update = {
        "solution": first.solution.model_copy(update={"outcome": _outcome(first, *others)}),
        "drawn": sum(one.drawn for one in (first, *others)),
        "votes": tuple(votes.values()),
        "gold": _agreed([one.gold for one in same if one.gold]),
    }
    return first.model_copy(update=update)


def _outcome(first: Candidate, *others: Candidate) -> Outcome:
    """The outcome that rows state; unknown where they contradict each other."""
    stated = {one.solution.outcome for one in (first, *others) if one.solution.policy.kind == "given"}
    known = (stated or {first.solution.outcome}) - {"unknown"}
    return known.pop() if len(known) == 1 else "unknown"


def _agreed(golds: Sequence[GoldLabels]) -> GoldLabels | None:
    """What several people say of the same steps, where all say the same."""
    if not golds:
        return None
    labels = [
        said[0] if len(set(said)) == 1 else None for said in zip(*(one.labels for one in golds), strict=True)
    ]
    first = {one.first_error for one in golds}
    return golds[0].model_copy(
        update={"labels": tuple(labels), "first_error": first.pop() if len(first) == 1 else None}
    )
