"""A run is what it reads, whatever that is called: same content goes on, another is refused by its name."""

import asyncio
import json
import os
import shutil
import sys
from pathlib import Path

import pytest

from pipeline.inputs import source
from pipeline.inputs.source import hub_commit
from pipeline.labelling.problems import read_problems
from pipeline.labelling.shard import run_shard
from pipeline.policies.opening import PREPARED
from pipeline.runs import identity
from pipeline.runs.identity import Digests
from pipeline.runs.run_store import RunStore
from schemas.config import JudgeConfig, RunConfig, TransformersConfig
from schemas.errors import UserError
from schemas.records import Finished, content_id


def config(folder: Path, **changes: object) -> RunConfig:
    data = {"name": "r", "root": str(folder / "runs"), "problems": {"limit": 3}, **changes}
    return RunConfig.model_validate({"policy": {"kind": "simulated"}, **data})


def begin(asked: RunConfig) -> RunStore:
    """A run with one problem done."""
    store = RunStore.open(asked)
    read_problems(store)
    with store.writing(0) as writer:
        writer.record(Finished(problem=next(store.posed(0))), [])
    return store


def write(path: Path, text: str) -> str:
    path.write_text(text)
    return str(path)


def files(folder: Path) -> dict[str, tuple[bytes, int]]:
    found = (p for p in folder.rglob("*") if p.is_file())
    return {str(p): (p.read_bytes(), p.stat().st_mtime_ns) for p in found}


def test_an_edited_template_is_refused_by_its_name(tmp_path: Path) -> None:
    template = write(tmp_path / "solve.txt", "Solve: {problem}\n")
    begin(config(tmp_path, prompt={"template": template}))
    write(tmp_path / "solve.txt", "Solve it: {problem}\n")
    with pytest.raises(UserError, match=r"prompt template .*solve\.txt: its text changed \(digest .* now\)"):
        RunStore.open(config(tmp_path, prompt={"template": template}))


def test_a_template_may_move_and_the_run_keeps_its_text(tmp_path: Path) -> None:
    template = write(tmp_path / "solve.txt", "Solve: {problem}\n")
    begin(config(tmp_path, prompt={"template": template}))
    moved = shutil.move(template, tmp_path / "moved.txt")
    store = RunStore.open(config(tmp_path, prompt={"template": str(moved)}))
    assert store.template() == "Solve: {problem}\n"
    Path(moved).unlink()  # the run does not need it any more
    assert RunStore.open(config(tmp_path, prompt={"template": str(moved)})).template() == "Solve: {problem}\n"


def test_judges_are_told_by_their_text_and_keep_the_name_of_their_votes(tmp_path: Path) -> None:
    def judged(name: str) -> RunConfig:
        return config(tmp_path, annotate=[{"kind": "judge", "prompts": [name]}])

    first = write(tmp_path / "judge.txt", "{problem} {solution} First error:\n")
    begin(judged(first))
    moved = str(shutil.copy(first, tmp_path / "other.txt"))
    store = RunStore.open(judged(moved))
    assert [judge.prompts for judge in store.config.annotators(JudgeConfig)] == [(first,)]
    write(tmp_path / "other.txt", "{problem} {solution} Where is it wrong?\n")
    with pytest.raises(UserError, match=r"prompt template .*judge\.txt, not .*other\.txt \(digest"):
        RunStore.open(judged(moved))
    with pytest.raises(UserError, match=r"judge\.prompts\.1=None, not"):
        RunStore.open(config(tmp_path, annotate=[{"kind": "judge", "prompts": [first, moved]}]))


def test_the_prompt_of_a_meta_critique_is_part_of_a_run_as_its_text(tmp_path: Path) -> None:
    def judged(meta: str | None) -> RunConfig:
        return config(tmp_path, annotate=[{"kind": "judge", "meta": meta}])

    first = write(tmp_path / "meta.txt", "{solution} {critique}\n")
    begin(judged(first))
    moved = str(shutil.copy(first, tmp_path / "moved.txt"))
    store = RunStore.open(judged(moved))
    assert [judge.meta for judge in store.config.annotators(JudgeConfig)] == [first]
    assert store.templates()[first] == "{solution} {critique}\n"
    write(tmp_path / "moved.txt", "{solution} Look at this: {critique}\n")
    with pytest.raises(UserError, match=r"prompt template .*meta\.txt, not .*moved\.txt \(digest"):
        RunStore.open(judged(moved))
    with pytest.raises(UserError, match=r"judge\.meta='.*meta\.txt', not None"):
        RunStore.open(judged(None))


def model(folder: Path, middle: bytes = b"0") -> str:
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    edge = b"e" * (1 << 20)
    (folder / "model.safetensors").write_bytes(edge + middle + edge)
    return str(folder)


def test_weights_are_told_by_all_of_their_bytes(tmp_path: Path) -> None:
    def on(path: str) -> RunConfig:
        return config(tmp_path, policy={"kind": "transformers", "model": path})

    begin(on(model(tmp_path / "a")))
    moved = str(shutil.move(tmp_path / "a", tmp_path / "b"))
    assert RunStore.open(on(moved)).inputs()["policy.model"]
    model(tmp_path / "a", middle=b"1")
    with pytest.raises(UserError, match=r"model .*b, not .*a \(digest"):
        RunStore.open(on(str(tmp_path / "a")))
    shutil.rmtree(moved)
    shutil.move(tmp_path / "a", moved)
    with pytest.raises(UserError, match=r"model .*b: its files changed \(digest"):
        RunStore.open(on(moved))
    shutil.rmtree(moved)
    RunStore.open(on(moved))  # nothing there contradicts it; whoever loads the model will say so
    with pytest.raises(UserError, match=r"policy\.model='.*b', not 'someone/else'"):
        RunStore.open(on("someone/else"))


def test_an_adapter_is_told_by_its_content_and_may_be_moved(tmp_path: Path) -> None:
    def on(path: Path | str) -> RunConfig:
        return config(tmp_path, policy={"kind": "vllm", "model": "someone/model", "lora": str(path)})

    begin(on(model(tmp_path / "a")))
    moved = shutil.move(tmp_path / "a", tmp_path / "b")
    assert len(RunStore.open(on(moved)).inputs()["policy.lora"]) == 64
    other = model(tmp_path / "a", middle=b"1")
    with pytest.raises(UserError, match=r"lora .*a, not .*b \(digest|lora .*b, not .*a \(digest"):
        RunStore.open(on(other))
    with pytest.raises(UserError, match=r"policy\.lora='.*', not None"):
        RunStore.open(on(""))


def test_a_prm_that_votes_is_told_by_its_weights(tmp_path: Path) -> None:
    """Figures that are added to a checkpoint later change no vote."""
    folder = tmp_path / "prm"
    folder.mkdir()
    for name in ("prm.json", "model.safetensors"):
        (folder / name).write_text("before")
    asked = config(tmp_path, annotate=[{"kind": "prm", "checkpoint": str(folder)}])
    begin(asked)
    (folder / "evaluation.json").write_text("{}")
    moved = folder.rename(tmp_path / "elsewhere")
    asked = config(tmp_path, annotate=[{"kind": "prm", "checkpoint": str(moved)}])
    RunStore.open(asked)
    (moved / "model.safetensors").write_text("after!")
    with pytest.raises(UserError, match=r"checkpoint .*elsewhere, not .*|its files changed"):
        RunStore.open(asked)


def test_another_embedded_policy_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = config(tmp_path, policy={"kind": "transformers", "model": "embedded"})
    monkeypatch.setitem(PREPARED, "embedded", Path(model(tmp_path / "before")))
    begin(asked)
    monkeypatch.setitem(PREPARED, "embedded", Path(model(tmp_path / "after", middle=b"1")))
    with pytest.raises(UserError, match=r"model embedded: its files changed \(digest"):
        RunStore.open(asked)


def test_an_outsiders_policy_is_told_by_its_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [entry for entry in sys.path if entry])
    file = tmp_path / "outside_policy_of_this_test.py"
    write(file, "def make(): ...\ndef other(): ...\n")

    def on(function: str = "make", **options: object) -> RunConfig:
        factory = f"{file.stem}:{function}"
        return config(tmp_path, policy={"kind": "python", "factory": factory, "options": options})

    begin(on())
    RunStore.open(on())
    with pytest.raises(UserError, match=r"policy\.options\.size=None, not 3"):
        RunStore.open(on(size=3))
    with pytest.raises(UserError, match="policy.kind='python', not 'simulated'"):
        RunStore.open(config(tmp_path))
    with pytest.raises(UserError, match=r"factory .*:make, not .*:other \(digest"):
        RunStore.open(on("other"))
    write(file, "def make(): return 1\n")
    with pytest.raises(UserError, match=r"factory outside_policy_of_this_test:make: its files changed"):
        RunStore.open(on())


def test_an_edit_while_a_run_is_under_way_changes_no_prompt(tmp_path: Path) -> None:
    template = write(tmp_path / "solve.txt", "Solve: {problem}\n")
    store = RunStore.open(config(tmp_path, prompt={"template": template}))
    read_problems(store)
    write(tmp_path / "solve.txt", "Otherwise: {problem}\n")
    asyncio.run(run_shard(store, 0))
    asked = {c.solution.policy.prompt_digest for item in store.journal(0) for c in item.candidates}
    assert asked == {content_id("Solve: {problem}\n")}


def test_the_hub_may_be_silent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "http://127.0.0.1:9")
    assert hub_commit("someone/something") == ""


def test_a_dataset_of_the_hub_is_read_at_the_commit_that_a_run_began_with(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[str | None] = []

    def load(*_: object, revision: str | None, **__: object) -> list[dict[str, str]]:
        read.append(revision)
        return [{"text": f"{i} + 1?", "answer": str(i + 1)} for i in range(9)]

    commits = iter(["c1", "c2"])
    monkeypatch.setattr("datasets.load_dataset", load)
    monkeypatch.setattr(source, "hub_commit", lambda _: next(commits))
    hub = {"source": "huggingface", "path": "someone/something"}
    store = begin(config(tmp_path, problems={**hub, "limit": 2}))
    assert store.inputs()["problems.path"] == "c1"
    assert read_problems(RunStore.open(config(tmp_path, problems={**hub, "limit": 2}))) == 2
    assert read_problems(RunStore.open(config(tmp_path, problems={**hub, "limit": 4}))) == 4
    assert read == ["c1", "c1"]


def test_files_are_hashed_once_until_they_change(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "weights.bin"
    file.write_bytes(b"one")
    os.utime(file, (1, 1))

    def digest() -> str:
        digests = Digests(tmp_path)
        found = digests.of(file)
        digests.save()
        return found

    first = digest()
    monkeypatch.setattr(identity.hashlib, "file_digest", lambda *_: pytest.fail("read again"))
    assert digest() == first
    monkeypatch.undo()
    file.write_bytes(b"two")
    assert digest() != first
    (tmp_path / "digests.json").write_text("{torn")
    assert digest() != first


def test_a_file_that_changed_just_now_is_not_remembered(tmp_path: Path) -> None:
    file = tmp_path / "problems.jsonl"
    file.write_bytes(b"one")
    digests = Digests(tmp_path)
    digests.of(file)
    digests.save()
    assert not (tmp_path / "digests.json").exists()


def test_no_configuration_reads_the_disk() -> None:
    gone = TransformersConfig(model="/nowhere")
    asked = RunConfig(name="r", policy=gone, prompt={"template": "/no/such.txt"})  # type: ignore[arg-type]
    assert asked.digest() == asked.model_copy(update={"prompt": asked.prompt}).digest()


def test_a_run_of_an_earlier_version_goes_on_with_a_note(tmp_path: Path) -> None:
    template = write(tmp_path / "solve.txt", "Solve: {problem}\n")
    asked = config(tmp_path, prompt={"template": template})
    store = begin(asked)
    (store.path / "identity.json").unlink()
    assert "earlier version" in (RunStore.open(asked) and identity.recorded(store.path)).note  # type: ignore[union-attr]
    write(tmp_path / "solve.txt", "Otherwise: {problem}\n")
    with pytest.raises(UserError, match="its text changed"):
        RunStore.open(asked)


def test_a_damaged_record_is_one_clear_error(tmp_path: Path) -> None:
    store = begin(config(tmp_path))
    (store.path / "identity.json").write_text("{")
    with pytest.raises(UserError, match=r"identity\.json: was changed after it was written"):
        RunStore.open(config(tmp_path))


@pytest.mark.parametrize(
    ("broken", "match"),
    [
        ({"problems": {"source": "jsonl", "path": "nowhere.jsonl"}}, "no such file"),
        ({"problems": {"source": "jsonl", "path": "BAD"}}, "no column with the problem's text"),
        ({"problems": {"source": "jsonl", "path": "EMPTY"}}, "no usable problem"),
        ({"prompt": {"template": "nowhere.txt"}}, "neither a file nor one of"),
        ({"policy": {"kind": "python", "factory": "nowhere_at_all:make"}}, "no module nowhere_at_all"),
    ],
)
def test_a_first_run_that_read_no_problem_does_not_lock_its_name(
    tmp_path: Path, broken: dict[str, dict[str, str]], match: str
) -> None:
    made = {
        "BAD": write(tmp_path / "bad.jsonl", '{"sentence": "1 + 1?"}\n'),
        "EMPTY": write(tmp_path / "empty.jsonl", '{"text": ""}\n'),
    }
    broken = {k: {n: made.get(v, v) for n, v in part.items()} for k, part in broken.items()}
    with pytest.raises(UserError, match=match):
        read_problems(RunStore.open(config(tmp_path, shards=4, seed=1, **broken)))
    store = RunStore.open(config(tmp_path))
    assert read_problems(store) == 3
    assert sum(1 for _ in store.posed(0)) == 3


def test_who_reopens_a_run_writes_nothing(tmp_path: Path) -> None:
    asked = config(tmp_path)
    begin(asked)
    before = files(tmp_path)
    other = asked.model_copy(update={"fusion": asked.fusion.model_copy(update={"accept": 0.9})})
    assert RunStore.reopen(other).config.fusion.accept == 0.9
    with pytest.raises(UserError, match="seed=0, not 7"):
        RunStore.reopen(config(tmp_path, seed=7))
    with pytest.raises(UserError, match="not a run"):
        RunStore.reopen(config(tmp_path, name="other"))
    assert files(tmp_path) == before


def test_what_a_run_reads_is_told_by_role(tmp_path: Path) -> None:
    problems = write(tmp_path / "p.jsonl", json.dumps({"text": "1 + 1?", "answer": 2}))
    asked = config(
        tmp_path,
        problems={"source": "jsonl", "path": problems},
        policy={"kind": "server", "model": "served"},
        annotate=[{"kind": "judge"}],
    )
    inputs = begin(asked).inputs()
    assert set(inputs) == {"judge.prompts.0", "policy.model", "problems.path", "prompt.template"}
    assert inputs["policy.model"] == "served"
    assert all(len(inputs[role]) == 64 for role in inputs if role != "policy.model")
