"""docs/extending.md is followed to the letter in an empty folder, and what it promises comes out."""

import asyncio
import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import stepmint
from pipeline.labelling.problems import read_problems
from pipeline.labelling.shard import run_shard
from pipeline.runs import records
from pipeline.runs.run_store import RunStore
from schemas.config import parse_config
from schemas.records import LabelledSolution, Vote

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "extending.md").read_text(encoding="utf-8")
PIECE = re.compile(
    r"^`(?P<file>[\w.]+)`:\n```\w+\n(?P<text>.*?)^```$"
    r"|^    (?P<command>(?:stepmint|python) [^\n]*)$"
    r"|^```output\n(?P<said>.*?)^```$",
    re.MULTILINE | re.DOTALL,
)
ADDING = {"kind": "python", "factory": "my_policy:make"}
MODULES = ("my_check", "my_judge", "my_policy", "my_problems", "my_rollouts", "my_format")


class Followed:
    """The folder of somebody who did everything on the page, from top to bottom."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.said = folder, ""
        """`said`: what the last command printed."""
        self.files: dict[str, str] = {}
        self.promised: list[tuple[str, str]] = []
        """Each line that the page promises, and what was there then: output or file."""
        for piece in PIECE.finditer(PAGE):
            if name := piece["file"]:
                self.files[name] = "\n".join(filter(None, [self.files.get(name, ""), piece["text"]]))
                (folder / name).write_text(self.files[name])
            elif piece["command"]:
                self.said = self.run(*shlex.split(piece["command"]))
            else:
                exported = folder / "rows.jsonl"
                there = self.said + (exported.read_text() if exported.exists() else "")
                self.promised += [(line, there) for line in piece["said"].splitlines()]

    def run(self, program: str, *arguments: str) -> str:
        """What a command prints. It knows the packages as if they were installed."""
        command = [sys.executable, *(("-m", "flows.cli") if program == "stepmint" else ()), *arguments]
        kept = {name: os.environ[name] for name in ("HOME", "PATH", "LANG", "TMPDIR") if name in os.environ}
        done = subprocess.run(
            command,
            cwd=self.folder,
            env=kept | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "COLUMNS": "200"},
            capture_output=True,
            text=True,
            check=False,
            timeout=180,
        )
        assert done.returncode == 0, f"{shlex.join(command)}: {done.stderr}"
        return done.stdout


@pytest.fixture(scope="module")
def followed(tmp_path_factory: pytest.TempPathFactory) -> Followed:
    return Followed(tmp_path_factory.mktemp("newcomer"))


@pytest.fixture(scope="module")
def rows(followed: Followed) -> list[LabelledSolution]:
    return list(stepmint.open_run(followed.folder / "runs" / "mine"))


@pytest.fixture
def inside(followed: Followed, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The newcomer's folder as the working directory of this process."""
    monkeypatch.chdir(followed.folder)
    monkeypatch.setattr(sys, "path", [*sys.path])
    yield followed.folder
    for name in MODULES:
        sys.modules.pop(name, None)


def test_each_part_is_one_short_file(followed: Followed) -> None:
    parts = {name for name in followed.files if name.startswith("my_")}
    assert parts == {f"{name}.py" for name in MODULES}
    assert {name: text.count("\n") for name, text in followed.files.items() if text.count("\n") > 60} == {}
    assert len([piece for piece in PIECE.finditer(PAGE) if piece["command"]]) == 4


def test_what_the_page_promises_comes_out(followed: Followed) -> None:
    missing = []
    for line, there in followed.promised:
        found = [" ".join(one.split()) for one in there.splitlines()]
        if not any(" ".join(line.split()) in one for one in found):
            missing.append(line)
    assert len(followed.promised) > 10
    assert not missing


def _additions(row: LabelledSolution) -> list[tuple[int, int, int]]:
    found = (re.search(r"(\d+) \+ (\d+) = (\d+)", step.text) for step in row.solution.steps)
    return [(int(one[1]), int(one[2]), int(one[3])) for one in found if one]


def _of(row: LabelledSolution, source: str) -> list[Vote]:
    return [vote for vote in row.votes if vote.source == source]


def test_every_part_did_its_work(rows: list[LabelledSolution]) -> None:
    """Votes by their rules on every step; the labels are the truth, which the additions tell."""
    assert {row.solution.policy.kind for row in rows} == {"adder"}
    assert {row.problem.source.dataset for row in rows} == {"my_problems:rows"}
    for row in rows:
        off = [a + b - c for a, b, c in _additions(row)]
        assert [vote.p for vote in _of(row, "nines")] == [0.0 if one % 9 else None for one in off]
        assert [vote.p for vote in _of(row, "last_digits")] == [0.05 if one % 10 else 0.9 for one in off]
        assert [vote.n for vote in _of(row, "my_rollouts")] == [8] * (len(off) - 1)
        wrong = next((step for step, one in enumerate(off) if one), -1)
        assert row.first_error == wrong
        assert [label.label for label in row.labels[: wrong if wrong >= 0 else None]] == [1] * (
            wrong if wrong >= 0 else len(off)
        )
    assert any(row.first_error == -1 for row in rows)
    assert any(row.first_error == 1 for row in rows)


def test_the_export_counts_steps_from_one(followed: Followed, rows: list[LabelledSolution]) -> None:
    lines = [json.loads(line) for line in (followed.folder / "rows.jsonl").read_text().splitlines()]
    assert [line["question"] for line in lines] == [row.problem.text for row in rows]
    found = [(line["first_wrong_step"] or 0) - 1 for line in lines]
    assert found == [row.first_error for row in rows]


@pytest.mark.usefixtures("inside")
def test_the_copy_of_monte_carlo_votes_and_labels_as_the_original() -> None:
    policy = {"kind": "python", "factory": "my_policy:make"}
    options = {"rollouts": 4, "purpose": "monte_carlo"}
    problems = [{"problem": f"{i} + {i + 20} + 7", "answer": 2 * i + 27} for i in range(12)]
    ours, theirs = (
        stepmint.label(problems, policy=policy, annotate=[one])
        for one in (
            {"kind": "monte_carlo", "rollouts": 4},
            {"kind": "python", "factory": "my_rollouts:make", "options": options},
        )
    )
    assert len(ours) >= 12
    assert [row.model_dump_json().replace("my_rollouts", "monte_carlo") for row in theirs] == [
        row.model_dump_json() for row in ours
    ]
    assert {label.label for row in ours for label in row.labels} == {0, 1, None}


FLAKY = """
from my_judge import LastDigits

seen = []


class Flaky(LastDigits):
    async def annotate(self, context, solution):
        if not seen and context.problem.text.startswith("3 "):
            seen.append(solution.id)
            raise TimeoutError("nobody answers")
        return await super().annotate(context, solution)


def make():
    return Flaky()
"""


def test_an_exception_in_the_middle_makes_one_problem_owed(inside: Path, tmp_path: Path) -> None:
    """The others are labelled. Run again, the run ends in the rows of one in which nothing failed, and draws
    nothing twice."""
    (inside / "flaky.py").write_text(FLAKY)
    problems = tmp_path / "p.jsonl"
    problems.write_text("".join(f'{{"problem": "{i} + 7 + 8", "answer": {i + 15}}}\n' for i in range(6)))

    def store_of(name: str, factory: str) -> RunStore:
        settings = {
            "name": name,
            "root": str(tmp_path),
            "problems": {"path": str(problems)},
            "policy": ADDING,
            "annotate": [{"kind": "python", "factory": factory}],
        }
        store = RunStore.open(parse_config(settings, "mine.toml"))
        read_problems(store)
        return store

    calm, store = store_of("calm", "my_judge:make"), store_of("flaky", "flaky:make")
    asyncio.run(run_shard(calm, 0))
    assert asyncio.run(run_shard(store, 0)) == {"done": 5, "failed": 1}
    (owed,) = store.owed(0)
    assert owed.problem.text == "3 + 7 + 8"
    (failure,) = records.failures(store.path)
    said = r"annotator 'flaky:make': TimeoutError: nobody answers \(.*flaky\.py, line 11\)"
    assert re.fullmatch(said, failure.reason)
    assert asyncio.run(run_shard(store, 0)) == {"done": 1, "failed": 0}
    found, expected = (sorted(map(str, one.journal(0))) for one in (store, calm))
    assert found == expected
    assert len(list(store.rollouts(0))) == len(list(calm.rollouts(0)))
    sys.modules.pop("flaky")
