"""What CONTRIBUTING says is followed to the letter, in a copy of the code, and the new part is then used."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ("schemas", "verifiers", "pipeline", "flows")


class Copy:
    """A copy of the packages, changed only in files that the section of CONTRIBUTING names."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.section = folder, ""
        for package in PACKAGES:
            ignored = shutil.ignore_patterns("__pycache__", "*.safetensors")
            shutil.copytree(ROOT / package, folder / package, ignore=ignored)

    def read(self, heading: str) -> None:
        """Go on with the section under this heading."""
        text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
        found = re.search(rf"^## {heading}\n(.*?)(?=^## |\Z)", text, re.MULTILINE | re.DOTALL)
        assert found, f"CONTRIBUTING has no section {heading!r}"
        self.section = found[1]

    def write(self, path: str, text: str) -> None:
        """A new file; CONTRIBUTING names it `FOLDER/NAME.py`."""
        folder, room = path.rpartition("/")[0], f"{path.split('/')[0]}/ROOM"
        said = any(f"`{place}/NAME.py`" in self.section for place in (folder, room))
        assert said, f"CONTRIBUTING does not say to write {folder}/NAME.py"
        assert not (self.folder / path).exists()
        (self.folder / path).write_text(text)

    def add(self, path: str, anchor: str, text: str) -> None:
        """Put a text after an anchor, which stands once in a file that CONTRIBUTING names."""
        assert f"`{path}`" in self.section, f"CONTRIBUTING does not say to change {path}"
        before = (self.folder / path).read_text()
        assert before.count(anchor) == 1, f"{before.count(anchor)} times in {path}: {anchor!r}"
        (self.folder / path).write_text(before.replace(anchor, anchor + text))

    def run(self, *arguments: str) -> str:
        """What a command prints, with the copy's code; its exit code is 0."""
        done = subprocess.run(
            [sys.executable, *arguments],
            cwd=self.folder,
            env={"PYTHONPATH": str(self.folder), "OMP_NUM_THREADS": "1", "PYTHONDONTWRITEBYTECODE": "1"},
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Copy:
    return Copy(tmp_path_factory.mktemp("copy"))


@pytest.fixture(scope="module")
def run(labelled: Path, copy: Copy) -> Path:
    """A sealed run of the copy's."""
    from pipeline.labelling.sealing import seal
    from pipeline.runs.run_store import RunStore
    from pipeline.storage.recorded import read_config

    path = copy.folder / "runs" / "r"
    shutil.copytree(labelled, path)
    seal(RunStore(path, read_config(path)))
    return path


METHOD = '''
"""How long solutions are."""

from collections.abc import Iterator
from typing import Any

from pipeline.methods.stored import Run
from schemas.derive import LengthSettings

COLUMNS = {"solution_id": "string", "length": "int32"}


def rows(run: Run, settings: LengthSettings) -> Iterator[dict[str, Any]]:
    for stored in run:
        for candidate in stored.finished.candidates:
            n = len(candidate.solution.steps)
            if n >= settings.least:
                yield {
                    "problem_id": stored.finished.problem.id,
                    "solution_id": candidate.solution.id,
                    "length": n,
                }
'''


def test_adding_a_method(copy: Copy, run: Path, tmp_path: Path) -> None:
    import pyarrow.parquet as pq

    copy.read("Adding a method that samples nothing")
    copy.write("pipeline/methods/lengths.py", METHOD)
    copy.add(
        "schemas/derive.py",
        'class QualitySettings(Section):\n    """Quality values (ReST-MCTS*, arXiv 2406.03816)."""\n\n'
        '    method: Literal["quality"] = "quality"\n',
        '\n\nclass LengthSettings(Section):\n    method: Literal["lengths"] = "lengths"\n'
        "    least: int = 0\n",
    )
    copy.add("schemas/derive.py", "    | QualitySettings\n", "    | LengthSettings\n")
    copy.add("pipeline/methods/derive.py", "from pipeline.methods import (\n", "    lengths,\n")
    copy.add("pipeline/methods/derive.py", "from schemas.derive import (\n", "    LengthSettings,\n")
    copy.add(
        "pipeline/methods/derive.py",
        "    match settings:\n",
        "        case LengthSettings():\n            return lengths.COLUMNS, lengths.rows(run, settings)\n",
    )
    copy.add("flows/arguments.py", 'methods = ("advantage ', "lengths ")
    out = tmp_path / "lengths.parquet"
    command = ("-m", "flows.cli", "derive", str(run), "lengths", "--out", str(out))
    assert "rows of lengths written to" in copy.run(*command)
    found = pq.read_table(out)
    assert found.column_names == ["problem_id", "solution_id", "length"]
    assert set(found["length"].to_pylist()) == {4}
    copy.run(*command, "--set", "least=5")
    assert pq.read_table(out).num_rows == 0


def test_adding_an_export_format(copy: Copy, run: Path, tmp_path: Path) -> None:
    copy.read("Adding an export format")
    copy.add(
        "pipeline/outputs/export.py",
        "Exported = dict[str, Any] | None\n",
        '\n\ndef to_first(row: LabelledSolution) -> Exported:\n    return {"first": row.first_error}\n',
    )
    copy.add("pipeline/outputs/export.py", '    "trl": to_trl,\n', '    "first": to_first,\n')
    copy.add("flows/arguments.py", 'help="trl, ', "first, ")
    out = tmp_path / "rows.jsonl"
    copy.run("-m", "flows.cli", "export", str(run), "--format", "first", "--out", str(out))
    lines = out.read_text().splitlines()
    assert lines
    assert all(re.fullmatch(r'\{"first": (-?\d+|null)\}', line) for line in lines)


VERIFIER = '''
"""Says whether a step is short."""

from schemas.sources import check_source
from verifiers.base import Finding, StepContext


class Brevity:
    """Holds for short steps."""

    name = "brevity"
    sources = check_source(name)

    def check(self, context: StepContext) -> Finding:
        if not context.step.strip():
            return Finding("abstains", "no step")
        return Finding("holds" if len(context.step) < 1000 else "fails", f"{len(context.step)} characters")
'''
ANNOTATOR = '''
"""Rolls out once from the beginning, and says of the first step whether that succeeded."""

from dataclasses import dataclass

from pipeline.annotators.base import Context
from pipeline.sampling.counted import counts
from schemas.config.annotators import GlanceConfig
from schemas.records import Solution, Vote
from schemas.sources import Sources, rollout_source


@dataclass(frozen=True)
class Glance:
    """Looks once."""

    config: GlanceConfig
    needs_gold: bool = True

    @property
    def sources(self) -> Sources:
        return rollout_source(self.config.name, by="glance")

    async def annotate(self, context: Context, solution: Solution) -> list[Vote]:
        drawn = await context.roller.roll("", self.config.looks, self.config.name)
        correct, n, failed = counts(drawn)
        p = correct / n if n else None
        name = self.config.name
        return [
            Vote(step=0, source=name, asks="solvable", p=p, correct=correct, n=n, n_failed=failed)
        ]
'''
RUN = """
import asyncio, json, sys
from pathlib import Path
from pipeline.labelling.problems import read_problems
from pipeline.labelling.sealing import seal
from pipeline.labelling.shard import run_shard
from pipeline.outputs.report import rows_of
from pipeline.runs.run_store import RunStore
from schemas.config import load_config

store = RunStore.open(load_config(Path(sys.argv[1])))
read_problems(store)
asyncio.run(run_shard(store, 0))
seal(store)
votes = [vote for row in rows_of(store) for vote in row.votes]
print(json.dumps([[vote.source, vote.asks, vote.step, vote.n, vote.why] for vote in votes]))
"""


def votes_of(copy: Copy, folder: Path, annotator: str) -> list[tuple[str, str, int, int, str]]:
    """The votes of a run of three simulated problems with one annotator, made by the copy's code."""
    lines = [json.dumps({"text": f"Problem {i}", "answer": "right"}) for i in range(3)]
    (folder / "problems.jsonl").write_text("\n".join(lines) + "\n")
    (folder / "run.toml").write_text(f"""
name = "new"
root = {str(folder)!r}
problems = {{source = "jsonl", path = {str(folder / "problems.jsonl")!r}}}
policy = {{kind = "simulated", n_steps = 2}}
{annotator}
""")
    (folder / "run.py").write_text(RUN)
    return [tuple(vote) for vote in json.loads(copy.run(str(folder / "run.py"), str(folder / "run.toml")))]


def test_adding_a_verifier(copy: Copy, tmp_path: Path) -> None:
    copy.read("Adding a verifier")
    copy.write("verifiers/claims/brevity.py", VERIFIER)
    copy.add("schemas/config/annotators.py", 'VerifierName = Literal["arithmetic", ', '"brevity", ')
    copy.add(
        "pipeline/annotators/formal.py",
        "VERIFIERS: dict[VerifierName, str] = {\n",
        '    "brevity": "verifiers.claims.brevity:Brevity",\n',
    )
    votes = votes_of(copy, tmp_path, '[[annotate]]\nkind = "verify"\nverifiers = ["brevity"]')
    found = [vote for vote in votes if vote[0] == "brevity"]
    assert found
    assert {(asks, n) for _, asks, _, n, _ in found} == {("valid", 1)}
    assert all(re.fullmatch(r"\d+ characters", why) for *_, why in found)


def test_adding_an_annotator(copy: Copy, tmp_path: Path) -> None:
    copy.read("Adding an annotator")
    copy.write("pipeline/annotators/glance.py", ANNOTATOR)
    copy.add(
        "schemas/config/annotators.py",
        '    """Keyword arguments of the function."""\n    policy: PolicyConfig | None = None\n'
        '    """A model of its own; the run\'s policy when left out."""\n',
        '\n\nclass GlanceConfig(AnnotatorConfig):\n    kind: Literal["glance"] = "glance"\n'
        '    name: Name = "glance"\n    looks: int = 3\n',
    )
    copy.add("schemas/config/annotators.py", "AnyAnnotator = (\n", "    GlanceConfig |\n")
    copy.add(
        "pipeline/annotators/opening.py",
        "from pipeline.annotators.formal import Verify, verifier_named\n",
        "from pipeline.annotators.glance import Glance\nfrom schemas.config.annotators import GlanceConfig\n",
    )
    copy.add(
        "pipeline/annotators/opening.py",
        "    match config:\n",
        "        case GlanceConfig():\n            yield Glance(config)\n",
    )
    votes = votes_of(copy, tmp_path, '[[annotate]]\nkind = "glance"\nlooks = 5')
    found = [vote for vote in votes if vote[0] == "glance"]
    assert {(asks, step, n) for _, asks, step, n, _ in found} == {("solvable", 0, 5)}
