"""The run store: what is done stays done, what is torn is owed again, and a changed run is refused."""

import asyncio
import json
import resource
import signal
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from pipeline.labelling.problems import read_problems
from pipeline.runs import problem_files, records
from pipeline.runs.run_store import RunStore
from pipeline.storage.journal import ShardWriter, body_of, signed
from schemas.config import MonteCarloConfig, RunConfig
from schemas.errors import UserError
from schemas.records import Finished, Quarantined, Rollout


def config(tmp_path: Path, **changes: object) -> RunConfig:
    data = {"name": "r", "root": str(tmp_path), "shards": 2, "problems": {"limit": 12}, **changes}
    return RunConfig.model_validate(data)


@pytest.fixture
def store(tmp_path: Path) -> RunStore:
    found = RunStore.open(config(tmp_path))
    assert read_problems(found) == 12
    return found


def finish(store: RunStore, shard: int, n: int) -> list[str]:
    done = [one.problem for one in store.owed(shard)][:n]
    with store.writing(shard) as writer:
        for problem in done:
            rollout = Rollout(
                problem_id=problem.id,
                purpose="propose",
                prefix="",
                text="x",
                outcome="unknown",
                stopped="stop",
            )
            writer.record(Finished(problem=problem), [rollout])
    return [p.id for p in done]


def test_problems_spread_over_shards_and_finished_ones_are_not_owed(store: RunStore) -> None:
    owed = [len(store.shard_state(shard).owed) for shard in (0, 1)]
    assert sum(owed) == 12
    assert min(owed) > 0
    done = finish(store, 0, 2)
    assert not set(done) & set(store.shard_state(0).owed)
    assert len(store.shard_state(0).owed) == owed[0] - 2


@pytest.mark.parametrize("cut", [1, 7, 200])
def test_a_torn_line_is_owed_again_and_the_next_line_survives(store: RunStore, cut: int) -> None:
    finish(store, 0, 2)
    journal = store.path / "journal" / "00000.jsonl"
    whole = journal.read_bytes()
    journal.write_bytes(whole[:-cut])
    before = len(store.shard_state(0).owed)
    finish(store, 0, 1)
    assert len(store.shard_state(0).owed) == before - 1


def test_rollouts_are_packed_once_a_problem_even_when_it_was_done_twice(store: RunStore) -> None:
    finish(store, 0, 1)
    (store.path / "journal" / "00000.jsonl").write_bytes(b"")
    finish(store, 0, 1)
    assert store.pack_rollouts(0) == 1
    assert store.pack_rollouts(0) == 0


def packed(store: RunStore) -> list[str]:
    return pq.read_table(store.path / "rollouts" / "00000.parquet")["problem_id"].to_pylist()


def test_rollouts_are_added_to_those_packed_before(store: RunStore) -> None:
    finish(store, 0, 2)
    assert store.pack_rollouts(0) == 2
    finish(store, 0, 1)
    assert store.pack_rollouts(0) == 3
    assert packed(store) == sorted(item.problem.id for item in store.journal(0))
    (store.path / "journal" / "00000.jsonl").write_bytes(b"")
    again = finish(store, 0, 1)
    assert store.pack_rollouts(0) == 3
    assert again[0] in packed(store)


def test_problems_are_done_in_the_order_of_their_ids(store: RunStore) -> None:
    """Ids are hashes, so a run that stops early has done a fair sample."""
    for shard in (0, 1):
        ids = [problem.id for problem in store.posed(shard)]
        assert ids == sorted(ids)
        assert list(store.shard_state(shard).owed) == ids


def test_what_is_owed_comes_with_the_cost_of_what_lies_before(store: RunStore) -> None:
    problems = list(store.posed(0))
    assert len(problems) >= 4
    with store.writing(0) as writer:
        for problem, tokens in ((problems[0], 5), (problems[1], 7), (problems[3], 9)):
            writer.record(Finished(problem=problem, tokens={"propose": tokens}), [])
    left = list(store.owed(0))
    assert [owed.problem.id for owed in left] == [p.id for p in problems[2:3] + problems[4:]]
    assert [owed.before for owed in left[:2]] == [[5, 7], [9]]
    assert store.finished(0) == {problems[0].id: 5, problems[1].id: 7, problems[3].id: 9}


def test_a_line_that_is_no_record_is_named(store: RunStore) -> None:
    finish(store, 0, 1)
    journal = store.path / "journal" / "00000.jsonl"
    line = body_of(journal.read_bytes()).replace(b'"candidates":[]', b'"candidates":[7]')
    journal.write_bytes(signed(line))
    with pytest.raises(UserError, match=r"byte 0 is no finished problem \(candidates\.0: .*drop that line"):
        list(store.journal(0))


def test_inside_a_loop_lines_are_on_disk_soon_and_in_the_end(store: RunStore) -> None:
    async def run() -> list[int]:
        seen = []
        with store.writing(0) as writer:
            for problem in list(store.posed(0))[:2]:
                writer.record(Finished(problem=problem), [])
            seen.append(len(store.finished(0)))
            await asyncio.sleep(0.6)
            seen.append(len(store.finished(0)))
            writer.record(Finished(problem=list(store.posed(0))[2]), [])
        return [*seen, len(store.finished(0))]

    assert asyncio.run(run()) == [0, 2, 3]
    assert store.seconds() > 0.5


def test_prompt_tokens_of_all_sessions_and_shards_are_added_up(store: RunStore) -> None:
    assert store.usage() == (0, 0)  # also of a run from before they were counted
    for shard, used in ((0, (100, 40)), (0, (30, 0)), (1, (7, 7))):
        with store.writing(shard) as writer:
            writer.used = lambda used=used: used  # type: ignore[misc]
    assert store.usage() == (137, 47)
    (store.path / "journal" / "00000.usage").write_bytes(b"00000000")  # torn: figures, and no votes
    assert store.usage() == (7, 7)


def test_a_full_disk_is_heard_of(store: RunStore) -> None:
    problem = next(store.posed(0))
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    writer = ShardWriter(store.path, 0)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10, limits[1]))
    try:
        with pytest.raises(OSError, match="File too large"):
            writer.record(Finished(problem=problem), [])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, handler)
    with pytest.raises(OSError, match="File too large"):
        writer.close()
    assert not store.finished(0)


def draw_something(store: RunStore) -> None:
    """From then on it is a run of its configuration."""
    with store.writing(0) as writer:
        writer.record(Finished(problem=next(store.posed(0))), [])


def test_another_configuration_is_refused_by_the_names_of_its_keys(tmp_path: Path, store: RunStore) -> None:
    draw_something(store)
    with pytest.raises(UserError, match=r"monte_carlo\.rollouts=None, not 4|seed=0, not 5"):
        RunStore.open(config(tmp_path, seed=5, annotate=[MonteCarloConfig(rollouts=4)]))


def test_speed_servers_and_fusion_may_change(tmp_path: Path, store: RunStore) -> None:
    RunStore.open(config(tmp_path, fusion={"accept": 0.7}, policy={"in_flight": 3}))
    RunStore.open(config(tmp_path, budget={"run": 99}))
    draw_something(store)
    RunStore.open(config(tmp_path, fusion={"accept": 0.7}, policy={"in_flight": 4}))
    with pytest.raises(UserError, match=r"budget\.per_problem=None, not 999"):
        RunStore.open(config(tmp_path, budget={"per_problem": 999}))


def test_a_run_may_go_on_at_other_addresses(tmp_path: Path) -> None:
    def at(address: str, **more: object) -> RunConfig:
        server = {"kind": "server", "model": "m", "base_url": address}
        judge = {"policy": {**server, "timeout_s": more.get("timeout_s", 1.0)}}
        return config(tmp_path, policy={**server, **more}, judge=judge, prover={"policy": server})

    store = RunStore.open(at("http://a/v1"))
    assert read_problems(store) == 12
    draw_something(store)
    RunStore.open(at("http://b/v1", timeout_s=5.0, patience_s=3.0, in_flight=4))
    with pytest.raises(UserError, match=r"policy\.chat=False, not True"):
        RunStore.open(at("http://b/v1", chat=True))


def test_a_run_that_drew_nothing_begins_anew_with_another_configuration(
    tmp_path: Path, store: RunStore
) -> None:
    other = RunStore.open(config(tmp_path, seed=5, policy={"model": "embeded"}))
    assert not problem_files.is_prepared(other.path)
    assert read_problems(other) == problem_files.total(store.path)
    draw_something(other)
    with pytest.raises(UserError, match="seed=5, not 0"):
        RunStore.open(config(tmp_path))


def test_two_writers_of_one_shard_are_refused(store: RunStore) -> None:
    with store.writing(0), pytest.raises(UserError, match="another process"), store.writing(0):
        pass


def test_what_a_shard_has_tried_again_replaces_what_it_set_aside(store: RunStore) -> None:
    failed = [Quarantined(file="f", reason=reason, problem_id=reason) for reason in ("a", "b")]
    records.set_aside(store.path, 0, failed)
    records.set_aside(store.path, 1, [Quarantined(file="f", reason="c", problem_id="c")])
    records.set_aside(store.path, 0, [Quarantined(file="f", reason="b again", problem_id="b")])
    assert [q.reason for q in records.quarantined(store.path)] == ["b again", "c"]


def test_bad_rows_are_set_aside_with_file_row_field_and_reason(tmp_path: Path) -> None:
    path = tmp_path / "p.jsonl"
    rows = [
        '{"text": "1+1?", "answer": 2}',
        '{"text": ""}',
        "not json",
        '{"text": "1+1?", "answer": 2}',
        "[1]",
    ]
    path.write_text("\n".join(rows))
    store = RunStore.open(config(tmp_path, problems={"source": "jsonl", "path": str(path)}))
    assert read_problems(store) == 1
    found = [(q.row, q.field, q.reason.split(":")[0]) for q in records.quarantined(store.path)]
    assert found == [
        (2, "text", "expected the problem's text, found str ''"),
        (3, "", "not valid JSON"),
        (4, "text", f"same as {path} row 1"),
        (5, "", "expected an object, found list"),
    ]
    assert json.loads((store.path / "problems" / "done.json").read_text())["quarantined"] == 4


def test_a_missing_file_is_one_clear_error(tmp_path: Path) -> None:
    store = RunStore.open(config(tmp_path, problems={"source": "jsonl", "path": "$STEPMINT_DATA/none.jsonl"}))
    with pytest.raises(UserError, match="no such file"):
        read_problems(store)


def test_a_glance_says_what_the_journal_says(store: RunStore) -> None:
    """With an index, without one, and when the journal has grown since it was written."""

    def said() -> list[object]:
        return [store.glance(shard) for shard in (0, 1)]

    for shard in (0, 1):
        finish(store, shard, 2)
    read = said()
    assert [glance.state for glance in map(store.glance, (0, 1))] == [store.shard_state(s) for s in (0, 1)]
    assert [glance.done for glance in map(store.glance, (0, 1))] == [store.done(s) for s in (0, 1)]
    store.survey(0)
    assert sorted(path.name for path in (store.path / "journal").glob("*.index")) == [
        "00000.index",
        "00001.index",
    ]
    assert said() == read
    finish(store, 0, 1)
    assert len(store.glance(0).done) == 3
