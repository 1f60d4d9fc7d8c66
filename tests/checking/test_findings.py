"""What is not as it was written is named, and what can be had again is mended."""

import asyncio
import json
import shutil
from collections.abc import Callable
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
from pydantic import ValidationError

from benchmarks.faults_tamper import again, tampered
from flows.cli import main
from pipeline.checking.findings import check
from pipeline.labelling.problems import read_problems
from pipeline.labelling.sealing import seal
from pipeline.labelling.shard import label_all
from pipeline.labelling.tools import open_tools
from pipeline.policies.base import Completion, Prompt, Sampling
from pipeline.policies.simulated import SimulatedPolicy
from pipeline.runs import problem_files
from pipeline.runs.run_store import RunStore
from pipeline.storage import journal
from pipeline.storage.generations import read_manifest
from pipeline.storage.journal_packing import unpack
from pipeline.storage.recorded import read_config, write_record
from schemas.errors import UserError
from schemas.records import Finished, PolicyIdentity, Problem, Rollout, Vote
from tests.checking.conftest import rows


def test_a_run_as_it_was_written_is_fine(
    sealed: RunStore, labelled: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert check(sealed.path)["damaged"] == []
    assert main(["check", str(sealed.path)]) == 0
    assert "everything is as it was written" in capsys.readouterr().out
    found = check(labelled)["damaged"]
    assert len(found) == 2
    assert all("is not packed" in what for what in found)
    assert main(["check", str(labelled.parent)]) == 2
    assert "not a run" in capsys.readouterr().err


def spoil_manifest(store: RunStore) -> Path:
    path = store.path / "manifest.json"
    path.write_text(path.read_text().replace('"solutions"', '"solutionz"'))
    return path


def spoil_shard(store: RunStore) -> Path:
    path = next(store.path.glob("sealed/*/00001.parquet"))
    path.unlink()
    return path


def spoil_problems(store: RunStore) -> Path:
    path = store.path / "problems" / "00000.jsonl"
    path.write_bytes(path.read_bytes()[:-3])
    return path


def spoil_done(store: RunStore) -> Path:
    path = store.path / "problems" / "done.json"
    path.write_text("{")
    return path


def spoil_link(store: RunStore) -> Path:
    (store.path / "shards").unlink()
    (store.path / "shards").symlink_to("journal")
    return store.path / "shards"


def spoil_plan(store: RunStore) -> Path:
    (store.path / "plan.json").write_text("[]")
    return store.path / "plan.json"


def spoil_failed(store: RunStore) -> Path:
    path = store.path / "problems" / "00000.failed.jsonl"
    path.write_bytes(b"\xff\n")
    return path


def spoil_config(store: RunStore) -> Path:
    path = store.path / "run.toml"
    path.write_text(path.read_text().replace("accept = 0.8", "accept = 0.81"))
    return path


def leave_behind(store: RunStore) -> Path:
    path = store.path / "rollouts" / ".stepmint-part-0123456789abcdef"
    path.write_text("half")
    return path


@pytest.mark.parametrize(
    "spoil",
    [
        spoil_manifest,
        spoil_shard,
        spoil_problems,
        spoil_done,
        spoil_link,
        spoil_plan,
        spoil_failed,
        spoil_config,
        leave_behind,
    ],
)
def test_what_can_be_had_again_is_named_and_mended(
    sealed: RunStore, spoil: Callable[[RunStore], Path], capsys: pytest.CaptureFixture[str]
) -> None:
    before = rows(sealed)
    path = spoil(sealed)
    assert main(["check", str(sealed.path)]) == 1
    said = capsys.readouterr().out
    assert str(path) in said
    assert "--repair may mend" in said
    assert main(["check", str(sealed.path), "--repair"]) == 0
    assert f"mended: {path}" in capsys.readouterr().out
    assert check(sealed.path)["damaged"] == []
    assert rows(sealed) == before


def test_a_manifest_without_its_fields_is_told_in_plain_words(
    sealed: RunStore, capsys: pytest.CaptureFixture[str]
) -> None:
    path = sealed.path / "manifest.json"
    path.write_text("{}")
    what = f"{path}: was changed after it was written (missing or not possible: `name`, `stepmint`, "
    what += "`schema_version` and 8 more): restore it"
    assert main(["status", str(sealed.path)]) == 2
    assert capsys.readouterr().err == f"stepmint: {what}, or see `stepmint check {sealed.path}`\n"
    assert main(["check", str(sealed.path)]) == 1
    mend = f"stepmint check {sealed.path} --repair may mend 1 of 1"
    assert capsys.readouterr().out.splitlines() == [f"damaged: {what}", mend]
    assert main(["check", str(sealed.path), "--repair"]) == 0
    assert capsys.readouterr().out.splitlines()[0] == f"mended: {what}"


def test_a_changed_line_is_dropped_and_its_problem_done_again(
    sealed: RunStore, capsys: pytest.CaptureFixture[str]
) -> None:
    before, path = rows(sealed), sealed.path / "journal" / "00000.jsonl"
    unpack(path)
    lines = path.read_bytes().splitlines(True)
    lines[1] = lines[1].replace(b'"answer":"right"', b'"answer":"wrong"', 1)
    path.write_bytes(b"".join(lines))
    assert main(["status", str(sealed.path)]) == 1
    assert f"{path}: line 2 (byte {len(lines[0])}) was changed" in "".join(
        capsys.readouterr().out.split("\n")
    )
    assert main(["fuse", str(sealed.path)]) == 2
    assert "journal/00000.jsonl: line 2" in capsys.readouterr().err
    assert check(sealed.path)["repairable"] == 1  # the line; what waits for its problem is not
    found = check(sealed.path, repair=True)
    assert f"{path}: line 2" in found["repaired"][0]
    assert (found["failed"], found["repairable"]) == ([], 0)
    assert [what.split(": ")[1][:26] for what in found["damaged"]] == ["holds 8 finished problems,"]
    again(sealed.config)
    assert check(sealed.path)["damaged"] == []
    assert rows(sealed) == before


def test_a_shard_that_owes_nothing_is_packed_while_another_one_waits(labelled: Path, tmp_path: Path) -> None:
    shutil.copytree(labelled, tmp_path / "r", symlinks=True)
    path = tmp_path / "r" / "journal" / "00000.jsonl"
    path.write_bytes(b"".join(path.read_bytes().splitlines(True)[1:]))
    found = check(tmp_path / "r", repair=True)
    assert [what.split(": ")[1][:13] for what in found["repaired"]] == ["is not packed"]
    assert (found["damaged"], found["failed"]) == ([], [])


def test_damaged_rollouts_of_a_line_are_drawn_again(labelled: Path, tmp_path: Path) -> None:
    for name in ("good", "bad"):
        shutil.copytree(labelled, tmp_path / name / "r", symlinks=True)
    stores = [RunStore(tmp_path / n / "r", read_config(tmp_path / n / "r")) for n in ("good", "bad")]
    for store, name in zip(stores, ("good", "bad"), strict=True):
        store.config = store.config.model_copy(update={"root": str(tmp_path / name)})
    good, bad = stores
    seal(good)
    raw = bad.path / "rollouts" / "00000.jsonl"
    raw.write_bytes(raw.read_bytes().replace(b'"tokens": ', b'"tokens": 1', 1))
    with pytest.raises(UserError, match=r"rollouts/00000\.jsonl: line 1 \(byte 0\).*are missing"):
        seal(bad)
    assert "rollouts/00000.jsonl: line 1" in str(check(bad.path, repair=True)["repaired"])
    again(bad.config)
    assert rows(bad) == rows(good)
    assert bad.packed() == good.packed()


def test_what_is_lost_for_good_stays_named(sealed: RunStore) -> None:
    packed = sealed.path / "rollouts" / "00000.parquet"
    packed.write_bytes(packed.read_bytes()[:-1])
    (extra := next(sealed.path.glob("sealed/*")) / "mine.parquet").write_bytes(b"")
    found = check(sealed.path, repair=True)
    assert str(packed) in found["damaged"][0]
    assert str(extra) in found["damaged"][1]
    assert extra.exists()
    assert not found["repaired"]
    with pytest.raises(UserError, match=r"00000\.parquet: was changed"):
        seal(sealed)
    packed.unlink()
    packed.with_suffix(".sha256").unlink()
    with pytest.raises(UserError, match=r"mine\.parquet: is not a file of ours"):
        seal(sealed)
    extra.unlink()
    seal(sealed)
    assert "the rollouts of" in check(sealed.path)["damaged"][0]


def test_settings_that_would_give_other_votes_are_not_taken_over(sealed: RunStore) -> None:
    path = sealed.path / "run.toml"
    before = path.read_text()
    path.write_text(before.replace("n_steps = 4", "n_steps = 5"))
    found = check(sealed.path, repair=True)["damaged"]
    assert found == [f"{path}: was changed by hand, in settings that would give other votes: restore it"]
    path.write_text(before)
    assert check(sealed.path)["damaged"] == []


def test_a_run_of_an_earlier_version_is_fine_until_it_is_changed(sealed: RunStore) -> None:
    """Its digests were made by other rules. They agree with each other, and with none of today's."""
    path, manifest = sealed.path / "run.toml", read_manifest(sealed.path)
    assert manifest is not None
    earlier = "0123456789abcdef"
    path.write_text(path.read_text().replace(f"identity {manifest.config_digest}", f"digest {earlier}"))
    write_record(
        sealed.path / "manifest.json", {**manifest.model_dump(mode="json"), "config_digest": earlier}
    )
    assert check(sealed.path)["damaged"] == []
    assert problem_files.total(RunStore.open(sealed.config).path) == problem_files.total(sealed.path)
    path.write_text(
        f"# Resolved; digest {earlier}; checksum {earlier}\n" + path.read_text().split("\n", 1)[1]
    )
    (said,) = check(sealed.path)["damaged"]
    assert said.startswith(f"{path}: was changed by hand, and an earlier version of Stepmint wrote it")


def test_problems_are_not_taken_from_a_source_that_has_changed(sealed: RunStore) -> None:
    path = spoil_problems(sealed)
    source = Path(sealed.config.problems.path)
    whole = source.read_text()
    source.write_text(whole.replace("p 1", "p 11"))
    try:
        found = check(sealed.path, repair=True)
    finally:
        source.write_text(whole)
    assert str(path) in found["damaged"][0]
    assert "the source of the problems gives other ones now" in found["failed"][0]


# Numbers and texts that no file can hold


@pytest.mark.parametrize(
    "make",
    [
        lambda: Rollout(
            problem_id="a", purpose="p", prefix="", text="", outcome="unknown", stopped="stop", tokens=10**11
        ),
        lambda: Rollout(
            problem_id="a", purpose="p", prefix="", text="\ud800", outcome="unknown", stopped="stop"
        ),
        lambda: Vote(step=0, source="s", asks="valid", n=2**31),
        lambda: Vote(step=0, source="s", asks="valid", tokens=2**63),
        lambda: Problem(text="t", source={"dataset": "d", "row": 2**63}),
        lambda: Problem(text="t", answer="\udfff"),
        lambda: Finished(problem=Problem(text="t"), tokens={"propose": 2**63}),
        lambda: PolicyIdentity(kind="k", model="m", seed=2**64),
    ],
)
def test_what_no_column_holds_is_no_record(make: Callable[[], object]) -> None:
    with pytest.raises(ValidationError):
        make()


class Absurd(SimulatedPolicy):
    """Says of one problem that it took more tokens than any column holds."""

    async def sample(self, prompt: Prompt, n: int, sampling: Sampling) -> list[Completion]:
        found = await super().sample(prompt, n, sampling)
        return [Completion(c.text, c.stopped, 10**11) if "p 3" in prompt.text else c for c in found]


def test_a_problem_with_an_absurd_number_is_set_aside_and_the_others_are_done(sealed: RunStore) -> None:
    config = sealed.config.model_copy(update={"name": "absurd"})
    store = RunStore.open(config)
    read_problems(store)

    async def label(shard: int) -> list[str]:
        with store.writing(shard) as writer:
            async with AsyncExitStack() as stack:
                tools = await open_tools(config, stack)
                tools.policy = Absurd(slip=0.2, n_steps=4)
                work = await label_all(store.owed(shard), tools, writer, store.shard_budget(shard))
        return [failure.reason for failure in work.failures]

    reasons = [reason for shard in range(2) for reason in asyncio.run(label(shard))]
    assert len(reasons) == 1
    assert "tokens" in reasons[0]
    assert sum(len(store.shard_state(shard).owed) for shard in range(2)) == 1


def test_a_line_of_an_earlier_version_that_cannot_be_written_is_named_and_mended(sealed: RunStore) -> None:
    before, path = rows(sealed), sealed.path / "journal" / "00001.jsonl"
    unpack(path)
    lines = path.read_bytes().splitlines(True)
    data = json.loads(journal.body_of(lines[0]))
    data["candidates"][0]["solution"]["tokens"] = 10**11
    lines[0] = json.dumps(data).encode() + b"\n"  # without a checksum
    path.write_bytes(b"".join(lines))
    with pytest.raises(
        UserError, match=r"journal/00001\.jsonl: the line at byte 0 .*tokens.*check .* --repair"
    ):
        seal(sealed)
    assert "journal/00001.jsonl" in str(check(sealed.path, repair=True)["repaired"])
    again(sealed.config)
    assert rows(sealed) == before


# Every file, every command (`python -m benchmarks faults.tamper` has all)


def test_tampering_is_named_mended_or_harmless(tmp_path: Path) -> None:
    files = ("manifest.json", "00000.parquet", "journal/00001.jsonl", "journal/00001.jsonl.zst")
    outcomes = list(tampered(tmp_path, seed=1, files=files, ways={"flip": 1, "remove": 1}))
    assert len(outcomes) > 60
    assert [one for one in outcomes if one.outcome.isupper()] == []
    assert {one.outcome for one in outcomes} == {"named", "owed", "repaired", "same"}


# What commands write for us


def test_an_export_goes_where_it_is_sent_and_replaces_nothing_but_files(
    sealed: RunStore, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def export(out: Path) -> int:
        return main(["export", str(sealed.path), "--format", "prm800k", "--out", str(out)])

    (tmp_path / "link").symlink_to("real")
    assert export(tmp_path / "link") == 0
    assert len((tmp_path / "real").read_text().splitlines()) == len(rows(sealed))
    assert export(tmp_path) == 2
    assert "is a folder" in capsys.readouterr().err
    assert export(Path("/dev/full")) == 2
    assert capsys.readouterr().err == "stepmint: /dev/full: cannot be written: No space left on device\n"
    assert export(Path("/dev/null")) == 0
    assert Path("/dev/null").is_char_device()
    assert main(["derive", str(sealed.path), "fork", "--out", str(tmp_path / "link")]) == 0
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "real").read_bytes().startswith(b"PAR1")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["link", "r", "real"]
