"""`house.mutations`: faults planted in the code one at a time, and the test that notices each.

Each fault is one that a person could make and that changes labels, figures or what others read. It is written
as a change of the source text that fails loudly where the text is no longer there. All is done in a copy.
"""

import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
COPIED = (
    "schemas",
    "verifiers",
    "pipeline",
    "flows",
    "stepmint",
    "benchmarks",
    "tests",
    "configs",
    "docs",
    "data",
)
LONGEST_S = 600
Change = Callable[[str], str]


@dataclass(frozen=True)
class Mutation:
    """One fault: what it is, where it stands, and the tests that stand nearest to it."""

    says: str
    file: str
    change: Change
    tests: tuple[str, ...]


class AnchorGone(Exception):
    """The text that a mutation changes is not, or no longer only once, in its file."""


def swap(old: str, new: str) -> Change:
    """Put `new` in the place of `old`, which must stand exactly once in the file."""

    def change(source: str) -> str:
        # A fault that changes nothing would count as one that no test notices.
        if source.count(old) != 1:
            raise AnchorGone(f"{source.count(old)} times instead of once: {old!r}")
        return source.replace(old, new)

    return change


def drop_line(pattern: str) -> Change:
    """Leave out the one line that the pattern matches from its beginning."""

    def change(source: str) -> str:
        changed, times = re.subn(rf"^{pattern}.*\n", "", source, flags=re.MULTILINE)
        if times != 1:
            raise AnchorGone(f"{times} lines instead of one: {pattern!r}")
        return changed

    return change


FIRST_ERROR, LABELS, IDENTITY = (
    "tests/fusion/test_first_error.py",
    "tests/fusion/test_labels.py",
    "tests/schemas",
)
MAPPINGS, CONFIG = "tests/inputs/test_mappings.py", "tests/schemas/config/test_run.py"
FIDELITY, PUBLISH = "tests/outputs/test_fidelity.py", "tests/outputs/test_publish.py"
INPUTS, ROLLER = "tests/inputs/test_problems.py", "tests/sampling/test_roller.py"

OF_THE_ISSUE = {
    "scan_apart": Mutation(
        "SCAN's rollouts no longer count among the policy's",
        "pipeline/annotators/scan.py",
        swap("rollout_source(self.config.name)", 'rollout_source(self.config.name, by="scan")'),
        ("tests/annotators/test_opening.py",),
    ),
    "interval_pools_all": Mutation(
        "the interval of the success rate counts judges and verifiers with the rollouts",
        "pipeline/fusion/first_error.py",
        swap(
            "mine = ballots.heard & ballots.of(lambda one: one.by == POLICY) & (ballots.n > 0)",
            "mine = ballots.heard & (ballots.n > 0)",
        ),
        (LABELS,),
    ),
    "address_in_digest": Mutation(
        "the address of a prover or judge takes part in the identity of a run",
        "schemas/config/policies.py",
        swap("base_url: Annotated[Addresses, Effect.SPEED]", "base_url: Addresses"),
        (CONFIG,),
    ),
    "parquet_one_row": Mutation(
        "one row a batch is read of a Parquet file",
        "pipeline/inputs/rows.py",
        swap("in batch.to_pylist():", "in batch.to_pylist()[:1]:"),
        (MAPPINGS,),
    ),
    "math_swapped": Mutation(
        "problem and solution of MATH are swapped",
        "pipeline/inputs/columns.py",
        swap('"math": ("problem", "solution", _BOX)', '"math": ("solution", "problem", _BOX)'),
        (MAPPINGS,),
    ),
}

FURTHER = {
    "row_off_by_one": Mutation(
        "a problem says that it came from the row after its own",
        "pipeline/inputs/problems.py",
        swap("split=split, row=row.number - 1)", "split=split, row=row.number)"),
        (MAPPINGS,),
    ),
    "report_ignores_filter": Mutation(
        "the figures of the consensus count the rows that it drops",
        "pipeline/outputs/fidelity.py",
        swap("named[pair[0]].first if row.consensus in AGREED else None", "named[pair[0]].first"),
        (FIDELITY,),
    ),
    "report_recall": Mutation(
        "the found share of wrong solutions leaves out those whose first error is left open",
        "pipeline/outputs/fidelity.py",
        swap(
            '"acc_err": lambda c: share(c["found"], c["wrong"])',
            '"acc_err": lambda c: share(c["found"], c["decided_wrong"])',
        ),
        (FIDELITY,),
    ),
    "publish_without_rollouts": Mutation(
        "a published dataset lacks the rollouts behind its labels",
        "pipeline/outputs/publish.py",
        swap('**({"rollouts": rollouts} if rollouts else {})', "**{}"),
        (PUBLISH,),
    ),
    "exit_code_owed": Mutation(
        "a command that leaves something owed ends with exit code 0",
        "flows/cli.py",
        swap('("owed", "refused",', '("refused",'),
        ("tests/flows/test_commands.py::test_status_of_an_open_run_is_incomplete",),
    ),
    "problem_budget_in_no_digest": Mutation(
        "the token budget of a problem, which changes votes, is no part of a run's identity",
        "schemas/config/run.py",
        swap("per_problem: int | None", "per_problem: Annotated[int | None, Effect.LATER]"),
        (CONFIG,),
    ),
    "half_is_a_yes": Mutation(
        "a judge whose replies are evenly split bears a label 1 out",
        "pipeline/fusion/labels.py",
        swap("~ballots.solvable & (ballots.share > 0.5)", "~ballots.solvable & (ballots.share >= 0.5)"),
        (LABELS,),
    ),
    "silence_is_wrong": Mutation(
        "an answer that the grader could not compare counts as wrong",
        "pipeline/sampling/roller.py",
        swap('None: "unknown"}', 'None: "incorrect"}'),
        (ROLLER,),
    ),
    "cut_off_is_graded": Mutation(
        "a rollout that was cut off is graded by the answer it happens to hold",
        "pipeline/sampling/roller.py",
        swap(
            'if stopped == "stop" else Grade(None, ENDED[stopped])',
            "if text else Grade(None, ENDED[stopped])",
        ),
        (ROLLER,),
    ),
    "purposes_share_draws": Mutation(
        "filter, proposer and annotators are given the same draws, as if they were independent",
        "pipeline/sampling/roller.py",
        swap(
            "seed_of(self._seed, self.problem.id, prefix, purpose)",
            "seed_of(self._seed, self.problem.id, prefix)",
        ),
        (ROLLER,),
    ),
}
MUTATIONS = OF_THE_ISSUE | FURTHER


def mutations() -> dict[str, Any]:
    """Planted faults that a test notices, of all that were planted, and by which test."""
    found = planted(MUTATIONS)
    return {
        "value": sum(bool(one["caught_by"]) for one in found.values()),
        "unit": "faults noticed",
        "baseline": len(found),
        "n": len(found),
        "details": {"faults": found},
    }


def planted(chosen: dict[str, Mutation]) -> dict[str, dict[str, Any]]:
    """Of each fault, what it is and the first test that fails with it (empty where none does).

    AnchorGone where a fault can no longer be planted; RuntimeError where that test fails without it too.
    """
    with tempfile.TemporaryDirectory(prefix="stepmint-mutations-") as scratch:
        tree, found = Path(scratch), dict[str, dict[str, Any]]()
        _copy(tree)
        for name, mutation in chosen.items():
            caught_by = _caught(tree, name, mutation)
            # A test that fails anyway has noticed nothing.
            if caught_by and first_failure(tree, [caught_by.partition("[")[0]]):
                raise RuntimeError(f"{name}: {caught_by} fails without this fault, too")
            found[name] = {"what": mutation.says, "caught_by": caught_by}
    return found


def _copy(tree: Path) -> None:
    for name in COPIED:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, tree / name, ignore=shutil.ignore_patterns("__pycache__"))
    for path in ROOT.iterdir():
        if path.is_file() and path.suffix in (".toml", ".md", ".txt", ""):
            shutil.copyfile(path, tree / path.name)


def _caught(tree: Path, name: str, mutation: Mutation) -> str:
    path = tree / mutation.file
    source = path.read_text(encoding="utf-8")
    try:
        path.write_text(mutation.change(source), encoding="utf-8")
    except AnchorGone as gone:
        raise AnchorGone(f"{name}: {mutation.file}: {gone}") from None
    try:
        return first_failure(tree, mutation.tests)
    finally:
        path.write_text(source, encoding="utf-8")


def first_failure(tree: Path, tests: Iterable[str]) -> str:
    """The first test of a tree that fails, by its name; empty where all pass."""
    environment = {
        **os.environ,
        "PYTHONPATH": str(tree),  # before the installed packages, which are the working tree's
        "PYTHONDONTWRITEBYTECODE": "1",  # byte code of a planted fault would outlive it within a second
        "OMP_NUM_THREADS": "1",
    }
    command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", *tests]
    done = subprocess.run(
        command, cwd=tree, env=environment, capture_output=True, text=True, check=False, timeout=LONGEST_S
    )
    if done.returncode == 0:
        return ""
    failed = re.search(r"^(?:FAILED|ERROR) (.+?)(?: - .*)?$", done.stdout, flags=re.MULTILINE)
    if failed is None:
        raise RuntimeError(f"pytest {' '.join(tests)}: {(done.stdout + done.stderr)[-500:]}")
    return failed[1]
