"""Commands struck by signals at random points, then given again: nothing may differ, and nothing be left.

Every command is a process of its own, in a folder, a TMPDIR and a process group of its own. What it should
give is what the same command gave undisturbed. `STEPMINT_KILLS` is how many are struck, 100 by default;
`STEPMINT_KILLS_SEED` draws other points.
"""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from itertools import cycle
from pathlib import Path
from typing import Any

from benchmarks.bases import byte_model
from benchmarks.hub import Hub, serving
from flows.interrupt import LINE

Figures = dict[str, Any]
COMMAND = "import sys; from flows.cli import main; sys.exit(main())"
SIGNALS = ("KILL", "TERM", "INT", "STOP")
"""INT goes to the whole group, as from a terminal. STOP is for a second; then every other process goes on,
and the rest are killed."""
WITHIN_S = 5.0
_MARK = "STEPMINT_STRUCK"
_HANGS_S = 600.0
"""No command of this bench takes so long."""


@dataclass(frozen=True)
class Command:
    """A command line in a trial's folder, what it needs there, and the files that are its result."""

    arguments: tuple[str, ...]
    needs: tuple[str, ...]
    results: tuple[str, ...]
    strikes: int = 1
    """How many times in a row before it may end; only a run keeps what it has done between them."""


ROWS = ("runs/demo/shards/*.parquet", "runs/demo/rollouts/*.parquet")
COMMANDS = {
    "run": Command(("run", "run.toml"), (), ROWS, 3),
    "fuse": Command(("fuse", "runs/demo", "--set", "fusion.accept=0.9"), ("runs",), ROWS),
    "export": Command(
        ("export", "runs/demo", "--format", "trl", "--out", "o.jsonl"), ("runs",), ("o.jsonl",)
    ),
    "derive": Command(("derive", "runs/demo", "quality"), ("runs",), ("runs/demo/derived/*.parquet", *ROWS)),
    "train": Command(
        ("train", "runs/demo", "--out", "ck", "--set", "train.model=base", "--set", "train.epochs=1"),
        ("runs", "base"),
        ("ck/*.safetensors", "ck/prm.json", *ROWS),
    ),
    "evaluate": Command(("evaluate", "ck", "gold.jsonl"), ("ck",), ("ck/*.safetensors",)),
    "publish": Command(("publish", "runs/demo", "me/demo"), ("runs",), ROWS),
}


@dataclass
class Ended:
    """A command that has ended."""

    code: int
    said: str
    out: str
    seconds: float = 0.0
    """From the signal, or for an undisturbed command from its start, to the end."""
    first_line_s: float = 0.0
    struck: bool = False


@dataclass
class Reference:
    """What an undisturbed command did."""

    ended: Ended
    results: dict[str, bytes]
    files: set[str]


@dataclass
class Tally:
    """What was seen of one command under one signal."""

    kills: int = 0
    unheeded: int = 0
    slowest_s: float = 0.0
    tracebacks: int = 0
    orphans: int = 0
    without_line: list[str] = field(default_factory=list)
    """Exit code and last words of those that ended in another way than they should."""
    not_repeated: list[str] = field(default_factory=list)
    different: list[str] = field(default_factory=list)
    left_over: list[str] = field(default_factory=list)

    def bad(self) -> bool:
        """Whether anything went wrong."""
        return any(value for name, value in vars(self).items() if name not in ("kills", "slowest_s"))


class World:
    """A folder with the problems, a sealed run and a checkpoint, and what every command gives undisturbed."""

    def __init__(self, root: Path, names: Sequence[str], problems: int, sealed: Path | None = None) -> None:
        self.root, self.start = root, root / "start"
        self.start.mkdir()
        self._write(problems)
        if {"train", "evaluate"} & set(names):
            byte_model(self.start / "base")
        self._trials = 0
        self.references: dict[str, Reference] = {}
        if sealed is None:
            self._prepare("run", "runs")
        else:
            shutil.copytree(sealed, self.start / "runs" / "demo")
        if "evaluate" in names:
            self._prepare("train", "ck")
        for name in names:
            with self.trial(name) as (folder, environment):
                ended = undisturbed(name, folder, environment)
                if ended.code:
                    raise RuntimeError(f"{name}: {ended.said}")
                found = results(name, folder, ended, environment)
                self.references[name] = Reference(ended, found, files(folder))

    def _write(self, problems: int) -> None:
        rows = [{"text": f"Problem {i}", "answer": "right", "kind": "text"} for i in range(problems)]
        gold = [
            {"problem": f"P {i}", "steps": ["1 + 1 = 2", "2 + 2 = 5"], "label": 1} for i in range(problems)
        ]
        for name, lines in (("problems.jsonl", rows), ("gold.jsonl", gold)):
            (self.start / name).write_text("".join(f"{json.dumps(line)}\n" for line in lines))
        (self.start / "run.toml").write_text(_RUN)

    def _prepare(self, name: str, made: str) -> None:
        with self.trial(name) as (folder, environment):
            ended = undisturbed(name, folder, environment)
            if ended.code:
                raise RuntimeError(f"{name}: {ended.said}")
            shutil.copytree(folder / made, self.start / made)

    @contextmanager
    def trial(self, name: str) -> Iterator[tuple[Path, dict[str, str]]]:
        """A fresh folder for one command, its environment, and a Hub where it needs one."""
        self._trials += 1
        place = self.root / f"trial-{self._trials}"
        folder, scratch = place / "here", place / "tmp"
        folder.mkdir(parents=True)
        scratch.mkdir()
        for item in ("problems.jsonl", "gold.jsonl", "run.toml"):
            shutil.copy(self.start / item, folder)
        for item in COMMANDS[name].needs:
            shutil.copytree(self.start / item, folder / item)
        mine = {
            "TMPDIR": str(scratch),
            "HOME": str(self.root / "home"),
            "PREFECT_HOME": str(self.root / "prefect"),
            "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
            "OMP_NUM_THREADS": "1",
            _MARK: str(place),
        }
        kept = {key: value for key, value in os.environ.items() if not key.startswith(("PREFECT_", "HF_"))}
        with _hub() if name == "publish" else nullcontext({"HF_HUB_OFFLINE": "1"}) as address:
            yield folder, {**kept, **mine, **address}
        shutil.rmtree(place)


_RUN = """
name = "demo"
root = "runs"
shards = 2
[problems]
source = "jsonl"
path = "problems.jsonl"
fields = {answer_kind = "kind"}
[policy]
kind = "simulated"
n_steps = 6
slip = 0.2
[filter]
rollouts = 4
[propose]
kind = "omegaprm"
searches = 6
rollouts = 8
[[annotate]]
kind = "monte_carlo"
rollouts = 8
[[annotate]]
kind = "verify"
verifiers = ["arithmetic"]
"""


@contextmanager
def _hub() -> Iterator[dict[str, str]]:
    """A stand-in Hub on loopback, by whose address its state is found again."""
    with serving(Hub()) as hub:
        HUBS[hub.url] = hub
        try:
            yield {"HF_ENDPOINT": hub.url, "HF_TOKEN": "hf_stand_in", "HF_HUB_DISABLE_XET": "1"}
        finally:
            del HUBS[hub.url]


HUBS: dict[str, Hub] = {}


def start(name: str, folder: Path, environment: dict[str, str]) -> "subprocess.Popen[bytes]":
    command = [sys.executable, "-c", COMMAND, *COMMANDS[name].arguments, "--json"]
    if name in ("run", "train", "fuse", "derive", "evaluate"):
        command.pop()  # the lines that tell of its stages are wanted, too
    with (folder.parent / "out").open("wb") as out, (folder.parent / "err").open("wb") as err:
        return subprocess.Popen(
            command, cwd=folder, env=environment, stdout=out, stderr=err, start_new_session=True
        )


def undisturbed(name: str, folder: Path, environment: dict[str, str]) -> Ended:
    """Let a command end by itself."""
    begun = time.monotonic()
    process = start(name, folder, environment)
    first = 0.0
    while process.poll() is None and time.monotonic() < begun + _HANGS_S:
        if not first and (folder.parent / "err").stat().st_size:
            first = time.monotonic() - begun
        time.sleep(0.02)
    return _ended(process, folder, begun, first)


def struck(
    name: str, sign: str, folder: Path, environment: dict[str, str], reference: Reference, rng: random.Random
) -> Ended:
    """Strike a command at a random point: of all its time, or of the time after its first line."""
    whole, first = reference.ended.seconds, reference.ended.first_line_s
    # Half of them after the first line: starting takes most of a short command's time, and does the least.
    late = rng.random() < 0.5 and 0 < first < whole
    delay = rng.uniform(0, whole - first if late else whole)
    goes_on = rng.random() < 0.5
    begun = time.monotonic()
    process = start(name, folder, environment)
    said = folder.parent / "err"
    while process.poll() is None and not (said.stat().st_size if late else heeds(process.pid)):
        time.sleep(0.002)
    time.sleep(delay)
    if process.poll() is not None:
        return _ended(process, folder, begun)
    at = time.monotonic()
    if sign == "STOP":
        os.killpg(process.pid, signal.SIGSTOP)
        time.sleep(1)
        os.killpg(process.pid, signal.SIGCONT if goes_on else signal.SIGKILL)
    else:
        (os.killpg if sign == "INT" else os.kill)(process.pid, getattr(signal, f"SIG{sign}"))
    ended = _ended(process, folder, at)
    ended.struck = True
    return ended


def heeds(pid: int) -> bool:
    """Whether our first line has run; until then a signal meets the bare interpreter."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return True
    # Bit n - 1 of this mask says that the process catches signal n.
    return bool(int(status.partition("SigCgt:")[2].split()[0], 16) >> (signal.SIGTERM - 1) & 1)


def _ended(process: "subprocess.Popen[bytes]", folder: Path, since: float, first: float = 0.0) -> Ended:
    try:
        process.wait(_HANGS_S)
    except subprocess.TimeoutExpired:
        process.kill()
    code, seconds = process.wait(), time.monotonic() - since
    said, out = ((folder.parent / name).read_text(errors="replace") for name in ("err", "out"))
    return Ended(code, said, out, seconds, first)


def results(name: str, folder: Path, ended: Ended, environment: dict[str, str]) -> dict[str, bytes]:
    """What a command has made, byte for byte."""
    found = {
        str(path.relative_to(folder)): path.read_bytes()
        for pattern in COMMANDS[name].results
        for path in sorted(folder.glob(pattern))
    }
    if name == "publish":
        hub = HUBS[environment["HF_ENDPOINT"]]
        return {**found, **hub.files, "tags": json.dumps(sorted(hub.tags)).encode()}
    return {**found, "printed": ended.out.encode()} if name == "evaluate" else found


def files(folder: Path) -> set[str]:
    """The files of a trial, and what stands in its TMPDIR: torch leaves a folder of its own there."""
    mine = {str(path.relative_to(folder)) for path in folder.rglob("*") if not path.is_dir()}
    return mine | {f"TMPDIR/{name}" for name in os.listdir(folder.parent / "tmp")}


def orphans(mark: str, *, patience_s: float = WITHIN_S) -> list[str]:
    """Processes of a trial that are still there after a while: their environment names it."""
    deadline = time.monotonic() + patience_s
    while (found := list(marked(mark))) and time.monotonic() < deadline:
        time.sleep(0.05)
    return found


def marked(mark: str) -> Iterator[str]:
    for place in Path("/proc").glob("[0-9]*"):
        try:
            if f"{_MARK}={mark}\0".encode() in (place / "environ").read_bytes():
                yield (place / "cmdline").read_bytes().replace(b"\0", b" ").decode()
        except OSError:  # gone meanwhile, or another's
            continue


def strike(world: World, name: str, sign: str, rng: random.Random, tally: Tally) -> None:
    """One trial: struck, given again, compared."""
    reference = world.references[name]
    with world.trial(name) as (folder, environment):
        for _ in range(COMMANDS[name].strikes):
            ended = struck(name, sign, folder, environment, reference, rng)
            if ended.struck:
                _judge(ended, sign, tally)
                tally.orphans += len(orphans(environment[_MARK]))
        ended = undisturbed(name, folder, environment)
        if ended.code:
            tally.not_repeated.append(" ".join(ended.said.split())[-300:])
            return
        found = results(name, folder, ended, environment)
        differ = {key for key in {*found, *reference.results} if found.get(key) != reference.results.get(key)}
        tally.different += sorted(differ)
        tally.orphans += len(orphans(environment[_MARK]))
        tally.left_over += sorted(files(folder) - reference.files)


def _judge(ended: Ended, sign: str, tally: Tally) -> None:
    tally.kills += 1
    tally.tracebacks += "Traceback" in ended.said
    if sign in ("TERM", "INT"):
        code = 128 + getattr(signal, f"SIG{sign}")
        tally.unheeded += ended.seconds > WITHIN_S
        tally.slowest_s = round(max(tally.slowest_s, ended.seconds), 2)
        # A command that ended by itself, an instant before, has nothing to say. One that could not is killed.
        if ended.code and (ended.code not in (code, -signal.SIGKILL) or ended.said.count(LINE) != 1):
            tally.without_line.append(f"{ended.code}: {ended.said[-200:]!r}")


def struck_everywhere(world: World, names: Sequence[str], kills: int, seed: int) -> Figures:
    """Strike each of some commands with each signal in turn, until enough were struck."""
    rng = random.Random(seed)
    tallies: dict[tuple[str, str], Tally] = {}
    pairs = cycle([(name, sign) for sign in SIGNALS for name in names])
    while sum(tally.kills for tally in tallies.values()) < kills:
        name, sign = next(pairs)
        tally = tallies.setdefault((name, sign), Tally())
        strike(world, name, sign, rng, tally)
        print(f"{name} {sign}: {vars(tally)}", file=sys.stderr, flush=True)
    return {f"{name} {sign}": vars(tally) for (name, sign), tally in sorted(tallies.items())}


def kill() -> Figures:
    """100 kills (STEPMINT_KILLS) at random points of run, fuse, export, derive, train, evaluate and publish:
    how many pairs of both ended clean, gave equal rows and rollouts when repeated, and left nothing."""
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs ignore it
    kills = int(os.environ.get("STEPMINT_KILLS", "100"))
    seed = int(os.environ.get("STEPMINT_KILLS_SEED", "1"))
    with tempfile.TemporaryDirectory(prefix="struck-") as folder:
        world = World(Path(folder), tuple(COMMANDS), problems=300)
        found = struck_everywhere(world, tuple(COMMANDS), kills, seed)
    totals = Counter[str]()
    for tally in found.values():
        counted = {key: value for key, value in tally.items() if key != "slowest_s"}
        totals.update({k: len(v) if isinstance(v, list) else v for k, v in counted.items()})
    clean = sum(not Tally(**tally).bad() for tally in found.values())
    return {
        "value": clean,
        "unit": "pairs of command and signal",
        "baseline": len(found),
        "n": totals["kills"],
        "details": {"totals": totals, "slowest_s": max(t["slowest_s"] for t in found.values()), "by": found},
    }
