"""A run on an object store whose shards are tasks of a Ray cluster (docs/ray.md).

Ray says where a shard is worked on, and gives the shard of a dead machine to another one. What is done stands
in the logs on the object store, and neither in Ray nor in Prefect.
"""

import contextvars
import os
import signal
import socket
import sys
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import cache
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import urlsplit

from flows import progress, ray_engines, work
from flows.engine import task
from flows.settings import DEFAULTS
from flows.synthesize import is_lost_worker
from pipeline.labelling.tools import Engines
from pipeline.labelling.work import Worker
from pipeline.runs import growths, problem_files, remote
from pipeline.runs.growths import Growth
from pipeline.storage import journal, journal_index
from pipeline.storage.atomic import fresh_folder
from pipeline.storage.object_store import ObjectStore, open_objects
from pipeline.storage.shard_log import ShardLog
from schemas.config import RayConfig, RunConfig
from schemas.errors import BackendError, UserError

if TYPE_CHECKING:
    from prefect.futures import PrefectFuture

_START = "start a cluster with `ray start --head`, or leave [ray] out"
_REACH_S = 5.0
_LIVES = 5
"""How often a shard is begun again whose machine or process died. Afterwards it is owed."""
_LOOK_S = 5.0
_OPEN = ExitStack()
"""Folders of this process. Nobody closes them: Ray kills its processes. A folder whose process has died is
removed by the next process that makes one."""
_GIVE_BACK_S = 2.0
"""How long an interrupted command waits until the tasks have given their shards back."""


class Place(NamedTuple):
    """What a task needs to know: where the run is, the name that its claims are made in, and how many engines
    it finds under that name, for which it waits so long."""

    url: str
    owner: str
    engines: int = 0
    room_s: float = 0.0


@cache
def _worker(place: Place) -> Worker:
    """The worker of this process. It is kept from one task to the next, with the problems it has fetched."""
    folder = _OPEN.enter_context(fresh_folder())
    engines = Engines(ray_engines.opener(place.owner, place.engines, place.room_s))
    return Worker(open_objects(place.url), folder / "run", owner=place.owner, engines=engines)


@task("shard-{shard}", delays=(10, 60), again=is_lost_worker)
def label_claimed(place: Place, shard: int) -> int:
    """Work on a shard until it is sealed; returns how many of its problems were done here."""
    return _worker(place).finish(shard)


@contextmanager
def connected(asked: RayConfig) -> Iterator[None]:
    """Join a Ray cluster. UserError, within seconds, where there is none."""
    try:
        import prefect_ray  # noqa: F401
    except ModuleNotFoundError:
        raise UserError('[ray]: Ray is not installed: pip install "stepmint[ray]"') from None
    _check_there(asked.address)
    # Read while Ray is imported: it would try twenty times, a second apart.
    os.environ.setdefault("RAY_NUM_REDIS_GET_RETRIES", "5")
    import ray

    kept = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        with _without_lines_of_ray():
            # Of our environment only what holds no secret: Ray shows it on its pages. Keys are the nodes'.
            variables = {name: os.environ.get(name, value) for name, value in DEFAULTS.items()}
            ray.init(
                asked.address,
                namespace=ray_engines.NAMESPACE,
                log_to_driver=False,
                logging_level="ERROR",
                runtime_env={"env_vars": variables},
            )
    except (OSError, RuntimeError, ValueError, ray.exceptions.RayError) as error:
        raise UserError(f"ray.address = {asked.address!r}: {_refusal(error, asked.address)}") from None
    finally:
        # Ray sets a handler of its own, under which SIGTERM ends the command at once.
        for number, handler in kept.items():
            signal.signal(number, handler)
    try:
        yield
    finally:
        ray.shutdown()


@contextmanager
def _without_lines_of_ray() -> Iterator[None]:
    """Keep off the terminal what Ray's client in C++ writes there for each try. Its errors say the same."""
    sys.stderr.flush()
    kept = os.dup(2)
    try:
        with open(os.devnull, "wb") as nothing:
            os.dup2(nothing.fileno(), 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)


def _refusal(error: BaseException, address: str) -> str:
    """Why a cluster was not joined, and what to do. Something answers at its address."""
    # Ray says that it could not connect, and holds its reason as the text of a traceback in the cause.
    if "AuthenticationError" in f"{type(error).__name__} {error.__cause__}":
        return (
            "the cluster refuses the token of this command: set RAY_AUTH_MODE=token and RAY_AUTH_TOKEN to "
            "what its nodes were started with"
        )
    said = next(iter(str(error).strip().splitlines()), type(error).__name__)
    if address == "auto":
        return f"{said}; {_START}"
    return f"{said}, though something answers there: name the port of `ray start --head`, and use its version"


def _check_there(address: str) -> None:
    if address == "auto":
        return
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host, int(port)), timeout=_REACH_S).close()
    except OSError as error:
        why = error.strerror or error
        raise UserError(f"ray.address = {address!r}: nothing answers there ({why}); {_START}") from None


def spread(config: RunConfig) -> tuple[ObjectStore, Growth, int]:
    """Begin the run, or go on with it, and let the cluster work on all its shards until they are sealed.
    Returns its place, what they are sealed for, and how many problems were labelled.

    A shard that fails does not stop the others. Raises the error of the first failed one.
    """
    assert config.ray is not None
    _check_prefect()
    objects = work.begin(config)
    growth = growths.known(objects)
    shards = [n for n in range(config.shards) if not _is_sealed(growth.log(objects, n))]
    if not shards:
        return objects, growth, 0
    place = Place(objects.url, f"ray-{uuid.uuid4().hex}", config.ray.engines, config.ray.room_s)
    with _followed(objects), ray_engines.started(place.owner, config.ray):
        found = _mapped(config.name, place, config.ray, shards)
    errors = [_told(one) for one in found if isinstance(one, BaseException)]
    errors.sort(key=lambda error: (not isinstance(error, UserError), isinstance(error, BackendError)))
    if errors:
        raise errors[0]
    return objects, growth, sum(found)


def _is_sealed(log: ShardLog) -> bool:
    log.catch_up()
    return log.is_sealed


def _check_prefect() -> None:
    """UserError where nodes of the cluster could not reach the Prefect server that this command uses."""
    import ray
    from prefect.settings import PREFECT_API_URL

    here = {ray.util.get_node_ip_address()}
    nodes = {node["NodeManagerAddress"] for node in ray.nodes() if node["Alive"]}
    far = sorted(one for one in nodes - here if not one.startswith("127."))
    host = urlsplit(PREFECT_API_URL.value() or "").hostname or ""
    if far and (host == "localhost" or host.startswith("127.")):
        raise UserError(
            f"the Prefect server of this command is on {host}, which the Ray node {far[0]} cannot reach: "
            "start `prefect server start --host 0.0.0.0`, and set PREFECT_API_URL to its address"
        )


def _mapped(name: str, place: Place, asked: RayConfig, shards: list[int]) -> list[Any]:
    """A Prefect flow with one Ray task for each shard; what each returned, or the error that it ended in."""
    import prefect
    from prefect_ray import RayTaskRunner

    flow = prefect.flow(name="stepmint-ray", flow_run_name=name, task_runner=RayTaskRunner())
    found: list[Any] = flow(_label)(place, asked, shards)
    return found


def _label(place: Place, asked: RayConfig, shards: list[int]) -> list[Any]:
    import prefect
    from prefect_ray.context import remote_options

    from flows.orchestration import task_of

    with remote_options(
        num_cpus=asked.num_cpus,
        num_gpus=0 if asked.engines else asked.num_gpus,  # the engines have them
        max_retries=_LIVES,
        scheduling_strategy="SPREAD",
        max_calls=0,  # by default a process with a GPU ends after one task, and its engine with it
    ):
        futures = list(task_of(label_claimed).map(prefect.unmapped(place), shards))
    try:
        for future in futures:
            future.wait()
    except BaseException:
        _give_back(futures)
        raise
    return [future.result(raise_on_failure=False) for future in futures]


def _give_back(futures: "list[PrefectFuture[Any]]") -> None:
    """End the tasks, so that others can take their shards at once."""
    import ray

    refs = [future.wrapped_future for future in futures]  # type: ignore[attr-defined, unused-ignore]
    for ref in refs:
        ray.cancel(ref)
    ray.wait(refs, num_returns=len(refs), timeout=_GIVE_BACK_S)


def _told(error: BaseException) -> BaseException:
    """What became of a task that Ray has given up, as an error of ours; other errors as they are."""
    import ray
    from prefect.exceptions import CrashedRun

    if isinstance(error, ray.exceptions.RayTaskError):  # what an engine raised, and no loss
        return error.cause if isinstance(error.cause, BaseException) else error
    if not isinstance(error, ray.exceptions.RayError | CrashedRun):
        return error
    said = str(error).strip().splitlines()
    why = said[0] if said else type(error).__name__
    return BackendError(f"Ray has lost a shard {_LIVES + 1} times ({why}); the same command goes on with it")


@contextmanager
def _followed(objects: ObjectStore) -> Iterator[None]:
    """Show how far the logs are, while the cluster works.

    What is read for it lies where the dataset is made afterwards, so it is read once.
    """
    with work.mirrored(objects.url) as folder:
        config = remote.fetch(objects, folder)
    over = threading.Event()

    def count() -> int:
        with work.mirrored(objects.url) as folder:
            remote.load(objects, folder, config.shards)
        journals = (journal.path_of(folder, shard) for shard in range(config.shards))
        return sum(len(journal_index.glance(path)[0]) for path in journals)

    def look(done: int) -> None:
        pause = _LOOK_S
        while not over.wait(pause):
            begun = time.monotonic()
            try:
                now = count()
            # The tasks have the store to do with, too, and say what is wrong.
            except (BackendError, UserError) as error:
                progress.note(f"progress cannot be read: {error}")
                now = done
            for _ in range(now - done):
                progress.advance()
            done = max(done, now)
            pause = max(_LOOK_S, 20 * (time.monotonic() - begun))

    done = count()
    with progress.stage("labelling on Ray", problem_files.total(folder), done):
        here = contextvars.copy_context()
        looking = threading.Thread(target=here.run, args=(look, done), name="followed", daemon=True)
        looking.start()
        try:
            yield
        finally:
            over.set()
            looking.join()
