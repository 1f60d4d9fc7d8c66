"""`verifiers.speed.workers`: what a second process, or a second killable worker, adds."""

import os
import resource
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from benchmarks.corpora import gold, rows
from pipeline.inputs.solutions import Written
from pipeline.labelling.verify_files import verify
from verifiers.calculation.identities import judge_identity
from verifiers.claims.find import Claim, parse_relation
from verifiers.isolation.workers import DEFAULT_POOL, Pool

_TURNS = 2
_PROOFS = 60
_MOST = max(2, os.cpu_count() or 2)


def workers() -> dict[str, Any]:
    """Steps/s of `stepmint verify` on GSM8K and ProcessBench with a process a core; the baseline is one.

    One and many take turns, start-up included. `details` has SymPy proofs in warm killable workers too, and
    how many cores each run was given: where that does not rise with the workers, others hold the cores.
    `on_free_cores` is then what the processor seconds alone would allow.
    """
    solutions = list(_solutions())

    def reviewed(n: int) -> int:
        return sum(1 for _ in verify(solutions, workers=n))

    file, proofs = _in_turns(lambda n: _timed(lambda: reviewed(n))), _in_turns(_proofs)
    return {
        "value": file[_MOST]["per_s"],
        "unit": "steps/s",
        "baseline": file[1]["per_s"],
        "n": len(solutions),
        "details": {
            "cores": os.cpu_count(),
            "solutions": {**file, "on_free_cores": _projected(file)},
            "proofs": {**proofs, "on_free_cores": _projected(proofs)},
        },
    }


def _projected(found: dict[int, dict[str, float]]) -> float:
    return round(_MOST * found[1]["processor_s"] / found[_MOST]["processor_s"], 2)


def _solutions() -> Iterator[Written]:
    yield from (Written(str(i), p, tuple(lines)) for i, (p, lines) in enumerate(gold()))
    for row in rows("processbench/*.jsonl*"):
        yield Written(row["id"], row["problem"], tuple(row["steps"]))


def _in_turns(work: Callable[[int], tuple[int, float]]) -> dict[int, dict[str, float]]:
    """The best pass with one worker and with many; `work` says how many items it did in how many seconds."""
    best: dict[int, dict[str, float]] = {}
    for _ in range(_TURNS):
        # One and many in turn: the load of the machine changes, and must not favour one of them.
        for n in (1, _MOST):
            load, spent, start = os.getloadavg()[0], _processor_s(), time.perf_counter()
            items, wall = work(n)
            DEFAULT_POOL.close()  # so that its workers' seconds are counted
            used = _processor_s() - spent
            given = used / (time.perf_counter() - start)
            if n not in best or items / wall > best[n]["per_s"]:
                figures = {"per_s": items / wall, "processor_s": used, "cores_used": given, "load": load}
                best[n] = {name: round(value, 2) for name, value in figures.items()}
    return best


def _timed(work: Callable[[], int]) -> tuple[int, float]:
    start = time.perf_counter()
    return work(), time.perf_counter() - start


def _processor_s() -> float:
    spent = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in spent)


def _proofs(n: int) -> tuple[int, float]:
    """Identities that SymPy proves in `n` workers, which as many threads ask."""
    pool = Pool(n)

    def proved(k: int) -> bool:
        # Each k is another identity, so SymPy's cache helps none of them.
        (claim,) = parse_relation(f"sin({k}*x)^2 + cos({k}*x)^2 = 1")
        assert isinstance(claim, Claim)
        return judge_identity(claim.left, claim.right, positive=False, pool=pool).verdict == "holds"

    with ThreadPoolExecutor(n) as threads:
        list(threads.map(proved, range(2, 2 + 4 * n)))  # SymPy takes a second to import
        done = _timed(lambda: sum(threads.map(proved, range(50, 50 + _PROOFS))))
    pool.close()
    return done
