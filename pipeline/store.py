"""The run store: the only writer of a run's folder.

A run killed anywhere and started again ends in the same rows: a problem is done when its journal line is
whole, rows are made from the journal alone, finished files appear by rename, and the manifest comes last.
"""

import fcntl
import hashlib
import json
import logging
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import tomli_w
from pydantic import ValidationError

from pipeline.problems import load_problems
from schemas.arrow import SCHEMA, to_table
from schemas.config import RunConfig, parse_config
from schemas.errors import UserError
from schemas.manifest import Manifest, ShardEntry
from schemas.records import Finished, LabelledSolution, Problem, Quarantined, Rollout

log = logging.getLogger(__name__)
_ROWS_PER_WRITE = 512
_ROLLOUTS = pa.schema(
    [
        pa.field("problem_id", pa.string(), nullable=False),
        pa.field("purpose", pa.string(), nullable=False),
        pa.field("prefix", pa.string(), nullable=False),
        pa.field("text", pa.string(), nullable=False),
        pa.field("outcome", pa.string(), nullable=False),
        pa.field("stopped", pa.string(), nullable=False),
        pa.field("tokens", pa.int32(), nullable=False),
        pa.field("seed", pa.int64(), nullable=False),
    ]
)


class RunStore:
    """A run's folder. Open it with `RunStore.open`, which refuses a configuration that would change its
    votes."""

    def __init__(self, path: Path, config: RunConfig) -> None:
        self.path, self.config = path, config

    @classmethod
    def open(cls, config: RunConfig) -> "RunStore":
        """Create or reopen `root/name`. UserError names the keys in which the recorded configuration
        differs."""
        path = Path(config.root) / config.name
        recorded = path / "run.toml"
        if recorded.exists():
            before = read_config(path)
            if before.digest() != config.digest():
                raise UserError(
                    f"run {config.name!r} in {path} was started with {_differences(before, config)}: "
                    "change it back, choose another name, or delete the folder"
                )
        for folder in ("problems", "journal", "rollouts", "shards"):
            (path / folder).mkdir(parents=True, exist_ok=True)
        head = f"# The resolved configuration of this run; digest {config.digest()}\n"
        _write_bytes(recorded, (head + tomli_w.dumps(_without_none(config.model_dump(mode="json")))).encode())
        return cls(path, config)

    # Problems

    def prepare(self) -> int:
        """Read the problems once, spread them over the shards by their ids, quarantine the bad ones.
        Returns how many."""
        done = self.path / "problems" / "done.json"
        if done.exists():
            return int(json.loads(done.read_text())["problems"])
        shards: list[list[Problem]] = [[] for _ in range(self.config.shards)]
        bad: list[Quarantined] = []
        for item in load_problems(self.config.problems, seed=self.config.seed):
            if isinstance(item, Quarantined):
                bad.append(item)
            else:
                shards[int(item.id, 16) % self.config.shards].append(item)
        total = sum(map(len, shards))
        if total == 0:
            first = f"; the first of {len(bad)} bad rows: {bad[0].reason}" if bad else ""
            raise UserError(
                f"{self.config.problems.path or self.config.problems.source}: no usable problem{first}"
            )
        for index, problems in enumerate(shards):
            _write_lines(
                self.path / "problems" / f"{index:05d}.jsonl", (p.model_dump_json() for p in problems)
            )
        _write_lines(self.path / "quarantine.jsonl", (q.model_dump_json() for q in bad))
        _write_bytes(done, json.dumps({"problems": total, "quarantined": len(bad)}).encode())
        return total

    def owed(self, shard: int) -> list[Problem]:
        """Problems of a shard without a whole journal line."""
        finished = {item.problem.id for item in self.journal(shard)}
        lines = (self.path / "problems" / f"{shard:05d}.jsonl").read_text(encoding="utf-8").splitlines()
        return [p for p in map(Problem.model_validate_json, lines) if p.id not in finished]

    def total(self) -> int:
        """Number of problems in the run."""
        return int(json.loads((self.path / "problems" / "done.json").read_text())["problems"])

    # Journal

    def journal(self, shard: int) -> Iterator[Finished]:
        """Finished problems of a shard, each once, in the order of their ids; a torn last line is owed
        again."""
        path = self.path / "journal" / f"{shard:05d}.jsonl"
        found: dict[str, Finished] = {}
        if path.exists():
            for item in _whole_lines(path):
                found.setdefault(item.problem.id, item)
        return iter(sorted(found.values(), key=lambda item: item.problem.id))

    @contextmanager
    def writing(self, shard: int) -> Iterator["ShardWriter"]:
        """Exclusive right to append to one shard. UserError when another process has it."""
        with (self.path / "journal" / f"{shard:05d}.lock").open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise UserError(f"{self.path}: shard {shard} is being written by another process") from None
            writer = ShardWriter(self.path, shard)
            try:
                yield writer
            finally:
                writer.close()

    def pack_rollouts(self, shard: int) -> int:
        """Turn a finished shard's rollouts into Parquet, without those of a problem that had to be done
        again."""
        raw = self.path / "rollouts" / f"{shard:05d}.jsonl"
        if not raw.exists():
            return 0
        by_problem: dict[str, list[Rollout]] = {}
        for line in raw.read_text(encoding="utf-8").splitlines():
            try:
                block = json.loads(line)
            except json.JSONDecodeError:
                continue  # torn by a kill; its problem was owed and has a later block
            by_problem[block["problem"]] = [Rollout.model_validate(r) for r in block["rollouts"]]
        rows = [r.model_dump() for _, taken in sorted(by_problem.items()) for r in taken]
        _write_parquet(
            self.path / "rollouts" / f"{shard:05d}.parquet",
            [pa.Table.from_pylist(rows, _ROLLOUTS)],
            _ROLLOUTS,
        )
        raw.unlink()
        return len(rows)

    # Dataset

    def write_shard(self, shard: int, items: Iterable[LabelledSolution]) -> ShardEntry:
        """Write one Parquet shard; equal rows give equal bytes within one pyarrow version."""
        path = self.path / "shards" / f"{shard:05d}.parquet"
        rows = _write_parquet(path, _tables(items), SCHEMA)
        return ShardEntry(
            file=f"shards/{path.name}", rows=rows, sha256=hashlib.sha256(path.read_bytes()).hexdigest()
        )

    def seal(self, manifest: Manifest) -> None:
        """Write the manifest: from now on this folder is a dataset."""
        _write_bytes(self.path / "manifest.json", (manifest.model_dump_json(indent=2) + "\n").encode())

    def manifest(self) -> Manifest | None:
        """The manifest, or None while the run is open."""
        path = self.path / "manifest.json"
        return Manifest.model_validate_json(path.read_bytes()) if path.exists() else None

    def write_summary(self, figures: dict[str, Any]) -> None:
        """Keep the figures of a finished run beside its manifest."""
        _write_bytes(
            self.path / "summary.json", (json.dumps(figures, indent=2, ensure_ascii=False) + "\n").encode()
        )

    def quarantined(self) -> list[Quarantined]:
        """Everything set aside: bad rows, then problems that failed and are still owed."""
        files = [self.path / "quarantine.jsonl", *sorted((self.path / "problems").glob("*.failed.jsonl"))]
        lines = [line for file in files if file.exists() for line in file.read_text("utf-8").splitlines()]
        return [Quarantined.model_validate_json(line) for line in lines]

    def set_aside(self, shard: int, failures: Iterable[Quarantined]) -> None:
        """Replace what a shard has set aside: everything it owed has just been tried.

        A file a shard, because shards may be written by several machines at once.
        """
        path = self.path / "problems" / f"{shard:05d}.failed.jsonl"
        _write_lines(path, (failure.model_dump_json() for failure in failures))


class ShardWriter:
    """Appends finished problems to one shard's journal."""

    def __init__(self, path: Path, shard: int) -> None:
        self._rollouts = _open_append(path / "rollouts" / f"{shard:05d}.jsonl")
        self._journal = _open_append(path / "journal" / f"{shard:05d}.jsonl")

    def record(self, item: Finished, rollouts: list[Rollout]) -> None:
        """Rollouts first, the journal line last: a whole journal line vouches for everything before it."""
        block = {"problem": item.problem.id, "rollouts": [r.model_dump() for r in rollouts]}
        for descriptor, line in (
            (self._rollouts, json.dumps(block)),
            (self._journal, item.model_dump_json()),
        ):
            os.write(descriptor, line.encode("utf-8", "surrogatepass") + b"\n")
            os.fsync(descriptor)

    def close(self) -> None:
        """Release the files."""
        os.close(self._rollouts)
        os.close(self._journal)


def read_config(path: Path) -> RunConfig:
    """The configuration recorded in a run's folder. UserError when the folder holds none."""
    import tomllib

    recorded = path / "run.toml"
    if not recorded.is_file():
        raise UserError(f"{path}: not a run (it has no run.toml)")
    return parse_config(tomllib.loads(recorded.read_text(encoding="utf-8")), str(recorded))


def _differences(before: RunConfig, after: RunConfig) -> str:
    old, new = _flat(before.model_dump(mode="json")), _flat(after.model_dump(mode="json"))
    ignored = ("fusion", "train", "evaluate", "self_train", "name", "root")
    changed = [k for k in sorted({*old, *new}) if old.get(k) != new.get(k) and not k.startswith(ignored)]
    return ", ".join(f"{k}={old.get(k)!r}, not {new.get(k)!r}" for k in changed)


def _flat(data: object, prefix: str = "") -> dict[str, object]:
    if not isinstance(data, dict):
        return {prefix: data}
    return {
        k: v for key, value in data.items() for k, v in _flat(value, f"{prefix}.{key}".strip(".")).items()
    }


def _without_none(data: object) -> "dict[str, object]":
    """TOML has no null: a key that is absent means its default."""
    assert isinstance(data, dict)
    return {k: _without_none(v) if isinstance(v, dict) else v for k, v in data.items() if v is not None}


def _whole_lines(path: Path) -> Iterator[Finished]:
    with path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            try:
                yield Finished.model_validate_json(line)
            except ValidationError:
                if line.endswith(b"\n"):
                    log.warning("%s line %d cannot be read; its problem is owed again", path, number)


def _open_append(path: Path) -> int:
    """Open for appending. A torn last line is closed off first, or the next line would be lost with it."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)
    size = os.lseek(descriptor, 0, os.SEEK_END)
    if size and os.pread(descriptor, 1, size - 1) != b"\n":
        os.write(descriptor, b"\n")
    return descriptor


def _tables(items: Iterable[LabelledSolution]) -> Iterator[pa.Table]:
    batch: list[LabelledSolution] = []
    for item in items:
        batch.append(item)
        if len(batch) == _ROWS_PER_WRITE:
            yield to_table(batch)
            batch = []
    yield to_table(batch)


def _write_parquet(path: Path, tables: Iterable[pa.Table], schema: pa.Schema) -> int:
    temporary = path.with_name(f"{path.name}.tmp-{os.getpid()}")
    rows = 0
    with pq.ParquetWriter(
        temporary, schema, compression="zstd", compression_level=3, write_page_index=True
    ) as writer:
        for table in tables:
            writer.write_table(table)
            rows += table.num_rows
    _publish(temporary, path)
    return rows


def _write_lines(path: Path, lines: Iterable[str]) -> None:
    _write_bytes(path, "".join(f"{line}\n" for line in lines).encode("utf-8", "surrogatepass"))


def _write_bytes(path: Path, data: bytes) -> None:
    temporary = path.with_name(f"{path.name}.tmp-{os.getpid()}")
    temporary.write_bytes(data)
    _publish(temporary, path)


def _publish(temporary: Path, path: Path) -> None:
    with temporary.open("rb") as file:
        os.fsync(file.fileno())
    os.replace(temporary, path)
