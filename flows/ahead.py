"""Draws the solutions that an evaluation chooses from while the run is still being labelled.

They depend on the policy alone, not on labels or the PRM. The embedded model is so small that with a second
thread it draws only a quarter faster, and most of that core stays idle. A process of the lowest priority uses
it. It is a help and no more: what it has not drawn when it is needed, the evaluation draws itself. Nobody
waits for the process, which on a busy machine would hardly go on, and cannot be given its priority back.
"""

import logging
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from pathlib import Path

from flows.train import measured_before
from pipeline.outputs.report import draw_into
from pipeline.runs.run_store import RunStore
from pipeline.storage.atomic import fresh_folder
from schemas.config import RunConfig, TransformersConfig
from verifiers.isolation.lifeline import hold, lifeline
from verifiers.isolation.workers import cores

log = logging.getLogger(__name__)
NICENESS = 19
"""The lowest priority: what it takes, no other program wants."""


class Drawing:
    """A process that draws, and the file to which it adds what it has drawn."""

    def __init__(self, process: subprocess.Popen[bytes], file: Path) -> None:
        self._process, self._file = process, file

    def file(self) -> str:
        """The file's name, or nothing where there is none. The process has ended, or is ended now."""
        if self._process.poll():
            log.warning("drawing ahead ended with %d: the rest is drawn later", self._process.returncode)
        self.end()
        return str(self._file) if self._file.is_file() else ""

    def end(self) -> None:
        """End the process."""
        self._process.kill()
        self._process.wait()


@contextmanager
def drawing(config: RunConfig, checkpoint: Path) -> Iterator[Drawing | None]:
    """Begin to draw for the evaluation of a run; None where that is no use. The process and its file are gone
    when the block ends."""
    if not _is_of_use(config, checkpoint):
        yield None
        return
    RunStore.open(config)  # the process finds there the prompts that the run began with
    with fresh_folder() as folder:
        file = folder / "samples.jsonl"
        drawn = Drawing(_start(config, file), file)
        try:
            yield drawn
        finally:
            drawn.end()


def _is_of_use(config: RunConfig, checkpoint: Path) -> bool:
    """Whether there will be an evaluation, by a model that leaves a core idle. A larger one would take memory
    and cores from the labelling."""
    return (
        config.evaluate is not None
        and isinstance(config.policy, TransformersConfig)
        and config.policy.model == "embedded"
        and cores() > 1
        and measured_before(config, checkpoint) is None
    )


def _start(config: RunConfig, file: Path) -> subprocess.Popen[bytes]:
    line = lifeline().fileno()
    process = subprocess.Popen(
        [sys.executable, "-P", "-m", "flows.ahead", str(line), str(NICENESS), str(file)],
        pass_fds=[line],
        # Two threads hardly draw faster than one, and would wait for each other where a core is busy.
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path)), "OMP_NUM_THREADS": "1"},
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,  # Ctrl-C would reach it while it is importing
    )
    assert process.stdin is not None
    try:
        process.stdin.write(config.model_dump_json().encode())
        process.stdin.close()
    except BrokenPipeError:  # it could not start; `Drawing.file` says so
        pass
    return process


def draw(line: int, niceness: int, file: Path) -> None:
    """Draw into the file for the configuration on stdin; end when the starter ends."""
    starter = Connection(line, writable=False)  # it closes the line when it is collected
    hold(starter)
    os.nice(niceness)
    config = RunConfig.model_validate_json(sys.stdin.buffer.read())
    draw_into(file, config, RunStore.reopen(config).templates())


if __name__ == "__main__":
    draw(int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3]))
