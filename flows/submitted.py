"""`stepmint run CONFIG --submit DEPLOYMENT`: hands a run to a deployment, and follows it to its end."""

import argparse
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import UUID

from flows import interrupt, progress
from flows.checks import check_stages
from flows.configured import connected
from flows.work import refuse_training
from schemas.errors import BackendError, UserError
from schemas.text import one_line

if TYPE_CHECKING:
    from schemas.config import RunConfig

_EVERY_S = 2.0
# A server that is started anew is back after a minute or two.
_PATIENCE_S = 300.0
_LINES = 200  # of the log, at most so many with each request


def add_arguments(run: argparse.ArgumentParser) -> None:
    """The arguments of `stepmint run` that say what is done with the run file."""
    how = run.add_mutually_exclusive_group()
    how.add_argument(
        "--dry-run", action="store_true", help="print the resolved run file and the stages; do nothing"
    )
    how.add_argument(
        "--submit",
        default="",
        metavar="DEPLOYMENT",
        help="hand the file and its changes to a deployment (`stepmint deploy`), and follow the run there",
    )
    how.add_argument(
        "--begin",
        action="store_true",
        help="begin the run on its object store, and leave the work to `stepmint work`",
    )


def hand_over(args: argparse.Namespace, config: "RunConfig") -> dict[str, Any]:
    """Hand the run file and the changes to a deployment; returns how the run ended.

    UserError and BackendError are those of the run, so the exit code is that of a run here.
    """
    from flows.deployed import check_sent, text_of

    check_stages(config)
    check_sent("--set", " ".join(args.set))
    text_of(Path(args.config))
    refuse_training(config)
    with connected() as client, progress.listening(progress.listener(quiet=args.json)):
        begun = _begin(client, args, config.name)
        follow = (
            f"`prefect flow-run watch {begun.id}` follows it, `prefect flow-run cancel {begun.id}` ends it"
        )
        interrupt.say_instead(f"the run goes on: {follow}")
        with progress.stage(f"{begun.name} of {args.submit}"):
            ended = _follow(client, begun.id)
    state = ended.state
    message = one_line(state.message or "")
    if state.name == "Refused":
        raise UserError(f"{begun.name}: {message}")
    if not state.is_completed():
        raise BackendError(f"{begun.name}: {state.name}: {message}")
    said = f"{begun.name}: {state.name}: {message}"
    return {"flow_run": str(begun.id), "state": state.name, "said": said}


def _begin(client: Any, args: argparse.Namespace, tag: str) -> Any:
    from prefect.exceptions import ObjectNotFound, PrefectHTTPStatusError

    from flows.deployed import ScheduledRun, text_of

    name, path = args.submit, Path(args.config)
    full = name if "/" in name else f"stepmint-scheduled/{name}"
    try:
        deployment = client.read_deployment_by_name(full)
        run = ScheduledRun(
            run_file=str(path.resolve()),
            text=text_of(path),
            # Where the deployment's own runs are. This command may be on a machine without that folder.
            folder=deployment.parameters.get("run", {}).get("folder", ""),
            changes=tuple(args.set),
            named_by="file",
        ).model_dump(mode="json", exclude_defaults=True)
        return client.create_flow_run_from_deployment(deployment.id, parameters={"run": run}, tags=[tag])
    except ObjectNotFound:
        raise UserError(
            f"--submit {name}: the server has no deployment {full!r}: `prefect deployment ls` shows "
            "them, and `stepmint deploy` makes one"
        ) from None
    except PrefectHTTPStatusError as error:
        raise UserError(f"--submit {name}: the server refused the run: {error}") from None


def _follow(client: Any, run: UUID) -> Any:
    """The run as it ended. Until then the changes of its state, and the lines of its log, are shown."""
    log, last, answered = _Log(client, run), "", time.monotonic()
    while True:
        try:
            now = client.read_flow_run(run)
            state = now.state.name if now.state else last
            if state != last:
                progress.note(f"state: {state}")
                last = state
            ended = now.state is not None and now.state.is_final()
            if ended:
                time.sleep(_EVERY_S)  # the last lines come a little later than the state
            log.show()
        except Exception as error:
            if not _is_away(error):
                raise
            if time.monotonic() - answered > _PATIENCE_S:
                away = f"the Prefect server has not answered for {_PATIENCE_S:.0f} s ({error})"
                raise BackendError(f"{away}; {interrupt.line()}") from None
            time.sleep(_EVERY_S)
            continue
        answered = time.monotonic()
        if ended:
            return now
        time.sleep(_EVERY_S)


def _is_away(error: Exception) -> bool:
    """Whether the server is not there, or cannot answer now. SQLite is locked now and then."""
    import httpx

    if isinstance(error, httpx.HTTPStatusError):
        return error.response.status_code >= 500
    return isinstance(error, httpx.TransportError)


class _Log:
    """What a run has logged, and the flows within it, each line once."""

    def __init__(self, client: Any, run: UUID) -> None:
        self._client, self._run = client, run
        self._since: Any = None
        self._shown = set[UUID]()
        """Lines of the latest time: a request finds them again."""

    def show(self) -> None:
        """Show what is new."""
        from prefect.client.schemas.filters import LogFilter, LogFilterFlowRunId, LogFilterTimestamp

        ids = [self._run, *self._within()]
        while True:
            asked = LogFilter(
                flow_run_id=LogFilterFlowRunId(any_=ids), timestamp=LogFilterTimestamp(after_=self._since)
            )
            lines = self._client.read_logs(asked, limit=_LINES)
            new = [line for line in lines if line.id not in self._shown]
            for line in new:
                progress.note(line.message)
            if not new:
                return
            self._since = new[-1].timestamp
            self._shown = {line.id for line in lines if line.timestamp == self._since}

    def _within(self) -> list[UUID]:
        """`synthesize` is a flow of its own, and its lines are its own."""
        from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterParentFlowRunId

        inner = FlowRunFilter(parent_flow_run_id=FlowRunFilterParentFlowRunId(any_=[self._run]))
        return [run.id for run in self._client.read_flow_runs(flow_run_filter=inner)]
