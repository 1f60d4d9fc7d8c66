"""Whether clauses can be true together: Davis-Putnam-Logemann-Loveland search with two watched literals.

The clause sets of a reasoning step are small; a solver of our own decides them in less time than it takes to
hand them to Z3, and Horn rules by propagation alone. A clause is a tuple of literals, a literal a positive or
negative number; 0 is no literal.
"""

from collections.abc import Sequence
from dataclasses import dataclass

Clause = tuple[int, ...]
# Rules and facts lead to few conflicts. A set that meets more is left to Z3, which learns from them.
MOST_CONFLICTS = 2_000


class GaveUp(Exception):
    """The search met too many conflicts; nothing is known."""


@dataclass(frozen=True)
class Model:
    """The variables that an assignment makes true; all others may be false."""

    true: frozenset[int]


@dataclass(frozen=True)
class Core:
    """The clauses, by 0-based index, that cannot be true together. Not always the fewest."""

    clauses: frozenset[int]


def satisfy(clauses: Sequence[Clause], most_conflicts: int = MOST_CONFLICTS) -> Model | Core:
    """A model, or clauses that refute each other. Raises GaveUp beyond `most_conflicts`."""
    return _Search(clauses, most_conflicts).run()


class _Search:
    def __init__(self, clauses: Sequence[Clause], most_conflicts: int) -> None:
        self._clauses = [list(dict.fromkeys(clause)) for clause in clauses]
        self._value: dict[int, bool] = {}  # by literal: both signs are kept
        self._reason: dict[int, int] = {}  # by variable: the clause that forced it
        self._trail: list[int] = []
        self._done = 0
        self._watchers: dict[int, list[int]] = {}
        self._used: set[int] = set()
        self._left = most_conflicts

    def run(self) -> Model | Core:
        for index, clause in enumerate(self._clauses):
            if not clause:
                return Core(frozenset({index}))
            for literal in clause[:2]:
                self._watchers.setdefault(literal, []).append(index)
            if len(clause) == 1 and not self._assign(clause[0], index):
                return self._core(index)
        order = list(dict.fromkeys(abs(literal) for clause in self._clauses for literal in clause))
        decisions: list[int] = []  # positions in the trail of choices that were not yet turned round
        at = 0
        while True:
            conflict = self._propagate()
            if conflict is None:
                while at < len(order) and order[at] in self._value:
                    at += 1
                if at == len(order):
                    return Model(frozenset(literal for literal in self._trail if literal > 0))
                decisions.append(len(self._trail))
                self._assign(-order[at], None)  # false first, so that models say little
                continue
            self._blame(conflict)
            self._left -= 1
            if not decisions:
                return Core(frozenset(self._used))
            if self._left < 0:
                raise GaveUp
            choice = self._undo(decisions.pop())
            # After a step back, earlier variables may be without a value again.
            at = 0
            self._assign(-choice, None)

    def _assign(self, literal: int, reason: int | None) -> bool:
        """Make a literal true; False when it is false already."""
        known = self._value.get(literal)
        if known is not None:
            return known
        self._value[literal], self._value[-literal] = True, False
        if reason is not None:
            self._reason[abs(literal)] = reason
        self._trail.append(literal)
        return True

    def _propagate(self) -> int | None:
        """Draw every forced conclusion; the index of a clause that became false, if one did."""
        value = self._value
        while self._done < len(self._trail):
            false = -self._trail[self._done]
            self._done += 1
            kept: list[int] = []
            watching = self._watchers.pop(false, [])
            for position, index in enumerate(watching):
                clause = self._clauses[index]
                if clause[0] == false and len(clause) > 1:
                    clause[0], clause[1] = clause[1], false
                if value.get(clause[0]) or not self._watch_another(clause, index):
                    kept.append(index)
                    if not self._assign(clause[0], index):
                        self._watchers[false] = kept + watching[position + 1 :]
                        return index
            if kept:
                self._watchers[false] = kept
        return None

    def _watch_another(self, clause: list[int], index: int) -> bool:
        for at in range(2, len(clause)):
            if self._value.get(clause[at]) is not False:
                clause[1], clause[at] = clause[at], clause[1]
                self._watchers.setdefault(clause[1], []).append(index)
                return True
        return False

    def _blame(self, conflict: int) -> None:
        """Note the clauses that led here: the false one, and those that forced its literals."""
        waiting, seen = [conflict], set()
        while waiting:
            index = waiting.pop()
            if index in seen:
                continue
            seen.add(index)
            waiting += (
                self._reason[abs(literal)] for literal in self._clauses[index] if abs(literal) in self._reason
            )
        self._used |= seen

    def _core(self, conflict: int) -> Core:
        self._blame(conflict)
        return Core(frozenset(self._used))

    def _undo(self, length: int) -> int:
        """Take back a choice and all that followed from it; the choice."""
        choice = self._trail[length]
        for literal in self._trail[length:]:
            del self._value[literal], self._value[-literal]
            self._reason.pop(abs(literal), None)
        del self._trail[length:]
        self._done = length
        return choice
