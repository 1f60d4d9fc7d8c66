"""Every file of a run is cut, flipped, emptied, removed, duplicated, or replaced by a folder or a link; then
every command that reads the run must name it, repair it, or give exactly what it gave before."""

import asyncio
import hashlib
import json
import random
import shutil
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, contextmanager, redirect_stderr, redirect_stdout
from io import StringIO
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

from flows.cli import main
from flows.synthesize import seal_run
from pipeline.labelling.plan import Stated, plan_from_pass_rate
from pipeline.labelling.problems import read_problems
from pipeline.labelling.shard import label_all, run_shard
from pipeline.labelling.tools import open_tools
from pipeline.outputs.report import rows_of, summarise
from pipeline.runs import records
from pipeline.runs.run_store import RunStore
from pipeline.storage.recorded import read_config
from schemas.config import RunConfig
from schemas.errors import BackendError, UserError, disk_trouble
from schemas.records import Quarantined

Figures = dict[str, Any]
Spoil = Callable[[Path, random.Random], None]
_SCRATCH = "stepmint-tampered-"
WAYS = {
    "cut": 2,
    "flip": 4,
    "empty": 1,
    "remove": 1,
    "double": 1,
    "beside": 1,
    "folder": 1,
    "link": 1,
}
"""How often each file is tampered with in each way; the first two are drawn by chance."""


def tamper() -> Figures:
    """Commands on a run of which one file was tampered with (cut, flipped, emptied, removed, duplicated, made
    a folder or a link): those that name it, mend it, or give the very same rows; the baseline is all."""
    with tempfile.TemporaryDirectory(prefix="stepmint-tamper-") as folder:
        outcomes = list(tampered(Path(folder), seed=0))
    by: dict[str, Counter[str]] = {}
    for one in outcomes:
        by.setdefault(one.kind, Counter())[one.outcome] += 1
    bad = [one for one in outcomes if one.outcome in ("WRONG", "TRACEBACK", "UNNAMED")]
    return {
        "value": len(outcomes) - len(bad),
        "unit": "commands",
        "baseline": len(outcomes),
        "n": len({(one.run, one.file, one.how) for one in outcomes}),
        "details": {
            "files": {kind: dict(sorted(found.items())) for kind, found in sorted(by.items())},
            "faults": [one._asdict() for one in bad[:20]],
        },
    }


class Outcome(NamedTuple):
    """What a command did with a run of which one file was tampered with.

    `same`: it gave what it gave before; `named`: it named the file and stopped; `owed`: it said that problems
    are owed again; `repaired`: it made the dataset that was there before. The others are faults.
    """

    run: str
    kind: str
    file: str
    how: str
    command: str
    outcome: str
    said: str = ""


# Runs


def make_runs(root: Path) -> dict[str, RunConfig]:
    """A sealed run with everything a run can have, and an open one: rollouts as lines, problems owed."""
    source = root / "problems.jsonl"
    rows = [{"text": f"problem {i}", "answer": "right"} for i in range(12)]
    source.write_text("".join(json.dumps(row) + "\n" for row in rows) + "no JSON\n")
    config = RunConfig.model_validate(
        {
            "name": "sealed",
            "root": str(root),
            "shards": 2,
            "problems": {"source": "jsonl", "path": str(source)},
            "policy": {"kind": "simulated", "slip": 0.2, "n_steps": 3},
            "prompt": {"max_tokens": 1000},
            "annotate": [{"kind": "monte_carlo", "rollouts": 3}],
        }
    )
    sealed = RunStore.open(config)
    read_problems(sealed)
    stated = Stated(pass_rate=0.5, tokens_per_solution=50)
    records.write_plan(sealed.path, plan_from_pass_rate(config, 8, stated))
    again(config)
    records.write_summary(sealed.path, summarise(sealed))
    _call("derive", str(sealed.path), "fork")
    opened = RunStore.open(config.model_copy(update={"name": "open"}))
    read_problems(opened)
    for shard in range(2):
        asyncio.run(_begin(opened, shard))
        failed = Quarantined(file="f", reason="r", problem_id=opened.standing(shard).owed[0])
        records.set_aside(opened.path, shard, [failed])
    return {"sealed": config, "open": opened.config}


async def _begin(store: RunStore, shard: int) -> None:
    """Label two problems, and leave their rollouts as lines."""
    with store.writing(shard) as writer:
        async with AsyncExitStack() as stack:
            tools = await open_tools(store.config, stack)
            await label_all(islice(store.owing(shard), 2), tools, writer, store.purse(shard))


def again(config: RunConfig) -> None:
    """What `stepmint synthesize` does, without Prefect's server."""
    store = RunStore.open(config)
    read_problems(store)
    for shard in range(config.shards):
        asyncio.run(run_shard(store, shard))
    seal_run.fn(config)


# Tampering


def _cut(path: Path, rng: random.Random) -> None:
    data = path.read_bytes()
    path.write_bytes(data[: rng.randrange(len(data))])


def _flip(path: Path, rng: random.Random) -> None:
    data = bytearray(path.read_bytes())
    data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    path.write_bytes(bytes(data))


def _beside(path: Path, _: random.Random) -> None:
    """A copy under the name that a further shard would have."""
    name = path.name.replace("00001", "00002").replace("00000", "00002")
    shutil.copy(path, path.with_name(name if name != path.name else f"copy of {name}"))


def _folder(path: Path, _: random.Random) -> None:
    path.unlink()
    path.mkdir()


def _link(path: Path, _: random.Random) -> None:
    """A link to an equal file outside the run."""
    outside = next(folder for folder in path.parents if folder.name.startswith(_SCRATCH))
    path.symlink_to(path.rename(outside / path.name))


_SPOILS: dict[str, Spoil] = {
    "cut": _cut,
    "flip": _flip,
    "empty": lambda path, _: path.write_bytes(b""),
    "remove": lambda path, _: path.unlink(),
    "double": lambda path, _: path.write_bytes(path.read_bytes() * 2),
    "beside": _beside,
    "folder": _folder,
    "link": _link,
}


def tampered(
    root: Path, *, seed: int, files: Sequence[str] = (), ways: Mapping[str, int] = WAYS
) -> Iterator[Outcome]:
    """Tamper with every file of two runs (or those whose path ends in one of `files`), each in every way, and
    try every command on it."""
    rng = random.Random(seed)
    for name, config in make_runs(root).items():
        run = root / name
        commands = _COMMANDS if name == "sealed" else {k: _COMMANDS[k] for k in _OPEN}
        before = {}
        for command, call in commands.items():
            with _copy(run) as copy:
                before[command] = call(copy, config)
        for path in sorted(path for path in run.rglob("*") if path.is_file() or path.is_symlink()):
            file = str(path.relative_to(run))
            if files and not file.endswith(tuple(files)):
                continue
            for how, number in [(way, i) for way in _ways(path) for i in range(ways.get(way, 0))]:
                state = rng.getstate()
                for command, call in commands.items():
                    with _copy(run) as copy:
                        rng.setstate(state)  # every command meets the same
                        _SPOILS[how](copy / file, rng)
                        outcome, said = _judge(call, copy, config, file, before[command])
                    yield Outcome(name, _kind(file), file, f"{how} {number}", command, outcome, said)


def _ways(path: Path) -> list[str]:
    if path.is_symlink():
        return ["remove", "folder"]
    return [how for how in _SPOILS if path.stat().st_size or how in ("remove", "folder", "link", "beside")]


def _kind(file: str) -> str:
    folder, _, name = file.rpartition("/")
    return f"{folder.partition('/')[0] or '.'}/*{Path(name).suffix}" if folder else name


@contextmanager
def _copy(run: Path) -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix=_SCRATCH) as folder:
        shutil.copytree(run, Path(folder) / run.name, symlinks=True)
        yield Path(folder) / run.name


# Commands


class Result(NamedTuple):
    """A command's exit code, and what it gave: the same for the same run wherever it lies."""

    code: int
    gave: str
    said: str = ""


def _call(*argv: str) -> Result:
    out, err = StringIO(), StringIO()
    with redirect_stdout(out), redirect_stderr(err):
        code = main(argv)
    return Result(code, out.getvalue(), out.getvalue() + err.getvalue())


def _reading(*argv: str, out: bool = False) -> "Command":
    """A command that changes nothing in the run."""

    def call(run: Path, _: RunConfig) -> Result:
        file = run.parent / "out"
        more = ("--out", str(file)) if out else ()
        found = _call(argv[0], str(run), *argv[1:], *more)
        data = hashlib.sha256(file.read_bytes()).hexdigest() if file.exists() else ""
        return found._replace(gave=found.gave.replace(str(run.parent), "") + data)

    return call


def _rows(run: Path) -> str:
    """The rows of a run and its rollouts, as what another tool reads of them."""
    store = RunStore(run, read_config(run))
    rows = hashlib.sha256("".join(row.model_dump_json() for row in rows_of(store)).encode())
    for path in sorted([*run.glob("shards/*.parquet"), *run.glob("rollouts/*.parquet")]):
        rows.update(path.name.encode() + path.read_bytes())
    return rows.hexdigest()


def _making(make: "Command") -> "Command":
    """A command after which the run must hold the same rows as before."""

    def call(run: Path, config: RunConfig) -> Result:
        found = make(run, config.model_copy(update={"root": str(run.parent)}))
        return found if found.code else found._replace(gave=_rows(run))

    return call


def _again(_: Path, config: RunConfig) -> Result:
    try:
        again(config)
    except (UserError, BackendError) as error:
        return Result(2, "", str(error))
    except OSError as error:
        if trouble := disk_trouble(error):
            return Result(2, "", trouble)
        raise
    return Result(0, "")


def _repair(run: Path, config: RunConfig) -> Result:
    found = _call("check", str(run), "--repair")
    after = _again(run, config)
    return after._replace(said=found.said + after.said)


Command = Callable[[Path, RunConfig], Result]
_COMMANDS: dict[str, Command] = {
    "status": _reading("status", "--json"),
    "show": _reading("show", "-n", "1000", "--json"),
    "export": _reading("export", "--format", "prm800k", out=True),
    "derive": _reading("derive", "fork", out=True),
    "publish": _reading("publish", "me/it", "--dry-run"),
    "check": _reading("check", "--json"),
    "fuse": _making(lambda run, _: _call("fuse", str(run))),
    "run": _making(_again),
    "repair": _making(_repair),
}
_OPEN = ("status", "check", "run", "repair")


def _judge(call: Command, run: Path, config: RunConfig, file: str, before: Result) -> tuple[str, str]:
    try:
        found = call(run, config)
    except Exception as error:  # whatever a command raises is a traceback on somebody's screen
        return "TRACEBACK", f"{type(error).__name__}: {error}"[:300]
    if (found.code, found.gave) == (before.code, before.gave):
        return "repaired" if "mended" in found.said else "same", ""
    folder = str(Path(file).parent)
    copies = (f"{folder}/00002.", "copy of ")
    names = (file, file.rpartition(".")[0] + ".", *copies, *([f"/{folder}:"] if folder != "." else []))
    if found.code and any(name in found.said for name in names):
        return "named", ""
    if found.code and ("still owed" in found.said or '"owed"' in found.said or "not sealed" in found.said):
        return "owed", ""
    return ("UNNAMED" if found.code else "WRONG"), found.said[-300:]
