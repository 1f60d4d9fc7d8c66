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
from schemas.records import Candidate

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
    """Candidates of one problem with equal texts as one, in the order of their first: its steps are kept, and
    the first labels that came with any of them; votes of other sources and draws are added up."""
    found: dict[str, Candidate] = {}
    for one in candidates:
        known = found.get(one.solution.text)
        if known is None:
            found[one.solution.text] = one
            continue
        said = {(vote.source, vote.step) for vote in known.votes}
        same = known.solution.steps == one.solution.steps
        votes = [vote for vote in one.votes if (vote.source, vote.step) not in said] if same else []
        gold = known.gold or (one.gold if same else None)
        update = {"drawn": known.drawn + one.drawn, "votes": (*known.votes, *votes), "gold": gold}
        found[one.solution.text] = known.model_copy(update=update)
    return list(found.values())
