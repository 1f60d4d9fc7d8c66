"""The examples of docs/python.md run as they stand there, one after the other."""

import re
import shutil
from pathlib import Path

import pytest

from pipeline.labelling.sealing import seal
from pipeline.runs.run_store import RunStore
from pipeline.storage.recorded import config_here

PAGE = Path(__file__).parents[2] / "docs" / "python.md"
BLOCK = re.compile(r"(?P<skipped><!-- not run: [^\n]*-->\n)?```python\n(?P<code>.*?)```", re.DOTALL)


@pytest.fixture
def here(labelled: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with the run and the checkpoint that the page speaks of."""
    run = tmp_path / "runs" / "mine"
    shutil.copytree(labelled, run)
    seal(RunStore(run, config_here(run)))
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def checkpoint(here: Path) -> Path:
    """A PRM that has learnt nothing, on the embedded base."""
    from pipeline.prm.bases import open_base, open_model
    from pipeline.prm.model import PRM, PrmCard
    from schemas.config import TrainConfig

    base = open_base(TrainConfig(model="embedded"))
    card = PrmCard(template="Problem: {problem}\nSolution:\n", step_end=base.step_end, max_length=256)
    folder = here / "checkpoints" / "mine"
    PRM(open_model(base), base.tokenizer, card).save(folder)
    return folder


@pytest.mark.usefixtures("checkpoint")
@pytest.mark.filterwarnings("ignore:the tokenizer of this PRM")
def test_the_page_runs_from_top_to_bottom(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = sorted(here.rglob("*"))
    names: dict[str, object] = {"__name__": "page"}
    ran = 0
    text = PAGE.read_text()
    for block in BLOCK.finditer(text):
        line = text[: block.start("code")].count("\n")
        code = compile("\n" * line + block["code"], str(PAGE), "exec")
        if not block["skipped"]:
            exec(code, names)
            ran += 1
    assert ran > 8
    said = capsys.readouterr().out
    assert "0 fails ['3 + 4 is 7, not 8'" in said
    assert "1 holds" in said
    assert "\n[0, None]\n" in said
    scores = names["scores"]
    assert isinstance(scores, list)
    assert len(scores) == 2
    assert sorted(here.rglob("*")) == before, "the page leaves files behind"
