"""A run grows: more rows, a higher limit, corrected answers. It loses nothing, and ends as if begun so."""

import asyncio
import json
import os
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.labelling.problems import read_problems
from pipeline.labelling.sealing import seal
from pipeline.labelling.shard import run_shard
from pipeline.runs import problem_files, records
from pipeline.runs.posing import prepare
from pipeline.runs.run_store import RunStore
from pipeline.storage.journal import Reader, path_of
from schemas.config import RunConfig
from schemas.errors import UserError
from schemas.records import Finished, Problem, Quarantined

Row = dict[str, Any]


def rows(n: int, first: int = 0) -> list[Row]:
    return [{"text": f"problem {i}", "answer": "right", "answer_kind": "text"} for i in range(first, n)]


def write(path: Path, given_rows: list[Row]) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in given_rows))


def config(folder: Path, **changes: Any) -> RunConfig:
    asked = changes.pop("problems", {})
    problems = asked if "source" in asked else {"path": str(folder / "p.jsonl"), **asked}
    data = {
        "name": "r",
        "root": str(folder / "runs"),
        "shards": 2,
        "policy": {"kind": "simulated", "n_steps": 3, "slip": 0.3},
        "prompt": {"max_tokens": 1000},
        "annotate": [{"kind": "monte_carlo", "rollouts": 2}],
        **changes,
    }
    return RunConfig.model_validate({**data, "problems": problems})


def run(asked: RunConfig, *, most: int | None = None) -> RunStore:
    store = RunStore.open(asked)
    read_problems(store)
    for shard in range(asked.shards):
        asyncio.run(run_shard(store, shard, most=most))
    if most is None:
        seal(store)
    return store


def lines_of(store: RunStore) -> dict[str, bytes]:
    """The lines of all journals by the ids of their problems."""
    found = {}
    for shard in range(store.config.shards):
        with closing(Reader(path_of(store.path, shard))) as reader:
            found |= {name: reader.line(entry).data for name, entry in store.entries(shard).items()}
    return found


def parquet(store: RunStore) -> dict[str, bytes]:
    return {f"{p.parent.name}/{p.name}": p.read_bytes() for p in sorted(store.path.glob("*/*.parquet"))}


@settings(max_examples=8, deadline=None)
@given(
    steps=st.lists(st.integers(1, 12), min_size=2, max_size=3, unique=True).map(sorted),
    by_limit=st.booleans(),
    pilot=st.sampled_from([None, 1]),
)
def test_a_run_that_grew_equals_one_begun_at_its_size(
    tmp_path_factory: pytest.TempPathFactory, steps: list[int], by_limit: bool, pilot: int | None
) -> None:
    folder = tmp_path_factory.mktemp("grown")
    write(folder / "p.jsonl", rows(12))
    for n in steps:
        if not by_limit:
            write(folder / "p.jsonl", rows(n))
        last = n == steps[-1]
        grown = run(config(folder, problems={"limit": n} if by_limit else {}), most=None if last else pilot)
    whole = run(config(folder, name="whole", problems={"limit": n}))
    assert parquet(grown) == parquet(whole)
    assert problem_files.total(grown.path) == n


def test_what_a_run_has_is_not_drawn_again(tmp_path: Path) -> None:
    write(tmp_path / "p.jsonl", rows(6))
    store = run(config(tmp_path))
    before = lines_of(store)
    assert len(before) == 6
    write(tmp_path / "p.jsonl", rows(20))
    grown = run(config(tmp_path))
    assert sum(len(grown.shard_state(shard).done) for shard in range(2)) == 20
    assert before.items() <= lines_of(grown).items()
    assert "limit" not in (store.path / "run.toml").read_text()


def test_a_budget_is_shared_anew_when_a_run_grows(tmp_path: Path) -> None:
    budget = {"budget": {"run": 600, "per_problem": 120}, "prompt": {"max_tokens": 60}}
    write(tmp_path / "p.jsonl", rows(12))
    run(config(tmp_path, problems={"limit": 5}, **budget))
    grown = run(config(tmp_path, **budget))
    whole = run(config(tmp_path, name="whole", **budget))
    shards = [{k: v for k, v in parquet(s).items() if k.startswith("shards/")} for s in (grown, whole)]
    assert shards[0] == shards[1]


def test_a_problem_file_may_move_and_change_its_format(tmp_path: Path) -> None:
    import gzip

    write(tmp_path / "p.jsonl", rows(4))
    store = run(config(tmp_path))
    (tmp_path / "p.jsonl").rename(tmp_path / "q.jsonl")
    assert read_problems(RunStore.open(config(tmp_path))) == 4  # the run has read it
    moved = config(tmp_path, problems={"path": str(tmp_path / "q.jsonl")})
    assert read_problems(RunStore.open(moved)) == 4
    RunStore.open(moved)
    (tmp_path / "q.jsonl").rename(tmp_path / "away.jsonl")
    assert read_problems(RunStore.open(moved)) == 4
    (tmp_path / "away.jsonl").rename(tmp_path / "q.jsonl")
    with gzip.open(tmp_path / "q.jsonl.gz", "wt") as file:
        file.write((tmp_path / "q.jsonl").read_text())
    packed = config(tmp_path, problems={"path": str(tmp_path / "q.jsonl.gz")})
    assert read_problems(RunStore.open(packed)) == 4
    assert "q.jsonl.gz" in (store.path / "run.toml").read_text()
    with pytest.raises(UserError, match="no such file"):
        read_problems(RunStore.open(config(tmp_path, problems={"path": str(tmp_path / "nowhere.jsonl")})))


def test_a_file_beside_the_others_adds_its_problems(tmp_path: Path) -> None:
    (tmp_path / "parts").mkdir()
    asked = config(tmp_path, problems={"path": str(tmp_path / "parts" / "*.jsonl")})
    write(tmp_path / "parts" / "a.jsonl", rows(3))
    assert problem_files.total(run(asked).path) == 3
    write(tmp_path / "parts" / "b.jsonl", rows(5, 3))
    grown = run(asked)
    assert problem_files.total(grown.path) == 5
    assert parquet(run(asked.model_copy(update={"name": "whole"}))) == parquet(grown)


def test_rows_that_are_gone_are_counted_and_nothing_is_touched(tmp_path: Path) -> None:
    write(tmp_path / "p.jsonl", rows(4))
    store = run(config(tmp_path))
    before = {p: p.read_bytes() for p in store.path.rglob("*") if p.suffix in (".jsonl", ".toml")}
    changed = rows(6)
    changed[1]["text"] = changed[2]["text"] = "another"
    write(tmp_path / "p.jsonl", changed)
    with pytest.raises(
        UserError, match=r"problem file .*p\.jsonl: its rows changed \(digest .*2 of its 4 pro"
    ):
        read_problems(RunStore.open(config(tmp_path)))
    assert {p: p.read_bytes() for p in before} == before
    assert not list(store.path.rglob("*.part"))
    write(tmp_path / "p.jsonl", rows(4))
    assert read_problems(RunStore.open(config(tmp_path))) == 4


@pytest.mark.parametrize("at", range(1, 10))
def test_growth_that_is_killed_is_all_or_none(
    tmp_path: Path, at: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path / "p.jsonl", rows(6))
    run(config(tmp_path))
    write(tmp_path / "p.jsonl", [{**rows(1)[0], "answer": "wrong"}, *rows(20, 1)])
    store, calls, real = RunStore.open(config(tmp_path)), list[Path](), os.replace

    def dying(source: Path, target: Path) -> None:
        calls.append(target)
        if len(calls) == at:
            raise KeyboardInterrupt
        real(source, target)

    with monkeypatch.context() as patched:
        patched.setattr(os, "replace", dying)
        with pytest.raises(KeyboardInterrupt):
            read_problems(store)
    sizes = {sum(1 for shard in range(2) for _ in RunStore.open(config(tmp_path)).posed(shard))}
    assert sizes <= {6, 20}
    grown = run(config(tmp_path))
    whole = run(config(tmp_path, name="whole", problems={"path": str(tmp_path / "p.jsonl")}))
    assert problem_files.total(grown.path) == problem_files.total(whole.path) == 20
    assert not list(grown.path.rglob("*.next")) + list(grown.path.glob("problems/*.part"))
    texts = [sorted((p.text, p.answer) for s in range(2) for p in one.posed(s)) for one in (grown, whole)]
    assert texts[0] == texts[1]


@dataclass
class Brought:
    """Problems of a dataset elsewhere, which grows by a row a commit."""

    newest: int
    name: str = "brought along"

    def is_remote(self) -> bool:
        return True

    def files(self) -> list[Path]:
        return []

    def commit(self, began: str) -> str:
        return began or str(self.newest)

    def read(self, commit: str) -> Iterator[Problem | Quarantined]:
        yield from (Problem(text=f"problem {i}", answer="right") for i in range(int(commit)))
        yield Quarantined(file=self.name, row=int(commit), reason="empty")


def test_a_run_takes_problems_from_whatever_gives_them(tmp_path: Path) -> None:
    asked = config(tmp_path, problems={"source": "huggingface", "path": "someone/something"})
    store = RunStore.open(asked)
    assert prepare(store, Brought(3)) == 3
    assert sorted(p.text for shard in range(2) for p in store.posed(shard)) == [
        f"problem {i}" for i in range(3)
    ]
    assert store.inputs()["problems.path"] == "3"
    assert [one.reason for one in records.quarantined(store.path)] == ["empty"]
    more = config(tmp_path, problems={"source": "huggingface", "path": "someone/something", "limit": 9})
    assert prepare(RunStore.open(more), Brought(5)) == 3  # at the commit that it began with


def test_problems_are_recorded_when_the_run_has_them(tmp_path: Path) -> None:
    write(tmp_path / "p.jsonl", rows(4))
    run(config(tmp_path))
    more = config(tmp_path, problems={"limit": 9}, fusion={"accept": 0.9})
    store = RunStore.open(more)
    said = (store.path / "run.toml").read_text()
    assert "limit" not in said
    assert "accept = 0.9" in said
    read_problems(store)
    assert "limit = 9" in (store.path / "run.toml").read_text()


def test_another_set_of_problems_is_refused_by_its_settings(tmp_path: Path) -> None:
    embedded = {"source": "embedded", "limit": 3}
    run(config(tmp_path, problems=embedded))
    with pytest.raises(UserError, match=r"problems\.split='train', not 'held-out': 3 of its 3 problems"):
        read_problems(RunStore.open(config(tmp_path, problems={**embedded, "split": "held-out"})))
    assert read_problems(RunStore.open(config(tmp_path, problems={**embedded, "limit": 5}))) == 5


def test_a_run_does_not_shrink(tmp_path: Path) -> None:
    write(tmp_path / "p.jsonl", rows(6))
    store = run(config(tmp_path))
    with pytest.raises(UserError, match=r"problems\.limit=2 is less than the 6 problems .* set 6 or more"):
        read_problems(RunStore.open(config(tmp_path, problems={"limit": 2})))
    assert "limit" not in (store.path / "run.toml").read_text()
    assert read_problems(RunStore.open(config(tmp_path, problems={"limit": 6}))) == 6


def test_equal_texts_with_different_answers_stay_apart(tmp_path: Path) -> None:
    twins = [{"text": "x?", "answer": answer} for answer in ("1", "2", "3")]
    write(tmp_path / "p.jsonl", twins)
    store = RunStore.open(config(tmp_path))
    assert read_problems(store) == 3
    before = {p.id: p.answer for shard in range(2) for p in store.posed(shard)}
    shard = next(shard for shard in range(2) if any(store.posed(shard)))
    with store.writing(shard) as writer:
        writer.record(Finished(problem=next(store.posed(shard))), [])
    write(tmp_path / "p.jsonl", [*twins[:2], {"text": "x?", "answer": "4"}])
    store = RunStore.open(config(tmp_path))
    assert read_problems(store) == 3
    after = {p.id: p.answer for shard in range(2) for p in store.posed(shard)}
    assert after.keys() == before.keys()
    assert sorted(str(a) for a in after.values()) == ["1", "2", "4"]
    write(tmp_path / "p.jsonl", [*twins[:2], {"text": "x?", "answer": "4"}, twins[2]])
    assert read_problems(RunStore.open(config(tmp_path))) == 3  # its id is taken by the corrected one
    assert "before it was corrected" in records.quarantined(store.path)[0].reason
