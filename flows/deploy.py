"""`stepmint deploy`: gives a run file to a Prefect server, which runs it when it is due.

Nothing of the run is sent but the path of its file: a worker on this machine, or on one that sees the same
folders, reads the file when a run begins. `flows.deployed` is what it runs.
"""

import argparse
import re
from pathlib import Path
from typing import Any

from flows.checks import check_stages
from flows.work import is_url
from schemas.config import RunConfig, load_config
from schemas.errors import UserError

_START = "start one: `prefect server start`, then `prefect worker start --pool {pool}`"
# A cron that names one minute of one hour fires once a day or less: "0 2 * * *", not "*/5 * * * *".
_DAILY = re.compile(r"\s*\d+\s+\d+\s")
_DAY_S = 24 * 60 * 60


def add_arguments(deploy: argparse.ArgumentParser) -> None:
    """The arguments of the command."""
    deploy.add_argument("config", help="run file (TOML)")
    deploy.add_argument(
        "--pool", default="stepmint", help="process work pool; made if there is none (default %(default)s)"
    )
    when = deploy.add_mutually_exclusive_group()
    when.add_argument("--cron", default="", metavar="TIMES", help='when, as in cron and in UTC: "0 2 * * *"')
    when.add_argument("--every", type=int, metavar="SECONDS", help="how often, in seconds")
    deploy.add_argument(
        "--name", default="", help="of the deployment (default: of the file's [series], or of its run)"
    )


def deploy(args: argparse.Namespace) -> dict[str, Any]:
    """Make the deployment, or replace the one of its name."""
    config = load_config(Path(args.config), tuple(args.set))
    check_stages(config)
    _check(args, config)
    _check_server(args.pool)
    pool_made = _ensure_pool(args.pool)
    name = args.name or (config.series.name if config.series else config.name)
    daily = bool(_DAILY.match(args.cron)) if args.cron else (args.every or _DAY_S) >= _DAY_S
    run = {
        "run_file": str(Path(args.config).resolve()),
        "changes": list(args.set),
        "named_by": "day" if daily else "second",
    }
    identity = _apply(args, name, run, [config.name])
    return {
        "deployment": f"stepmint-scheduled/{name}",
        "id": identity,
        "pool": args.pool,
        "pool_made": pool_made,
        "schedule": args.cron or (f"every {args.every} s" if args.every else ""),
        "parameters": {"run": run},
    }


def _check(args: argparse.Namespace, config: RunConfig) -> None:
    """UserError for what no server could run."""
    if args.every is not None and args.every < 1:
        raise UserError(f"--every {args.every}: expected at least 1 second")
    if is_url(config.root):
        raise UserError(f"{args.config}: root = {config.root!r}: a scheduled run needs a folder for its runs")
    if args.cron:
        from prefect.client.schemas.schedules import CronSchedule

        try:
            CronSchedule(cron=args.cron)
        except ValueError:
            raise UserError(
                f'--cron {args.cron!r}: is no cron, such as "0 2 * * *" (every day at 2)'
            ) from None


def _check_server(pool: str) -> None:
    from prefect import get_client
    from prefect.settings import PREFECT_API_URL

    url = PREFECT_API_URL.value()
    if not url:
        raise UserError(
            f"PREFECT_API_URL is not set, and only a Prefect server fires schedules: "
            f"{_START.format(pool=pool)}, and set it to the address that the server prints"
        )
    # Without it the client would try several times, for most of a minute.
    with get_client(sync_client=True, httpx_settings={"timeout": 10}) as client:
        if client.api_healthcheck() is not None:
            raise UserError(
                f"the Prefect server {url} (PREFECT_API_URL) does not answer: {_START.format(pool=pool)}"
            )


def _ensure_pool(name: str) -> bool:
    """Make the work pool if there is none; returns whether it was made."""
    from prefect import get_client
    from prefect.client.schemas.actions import WorkPoolCreate
    from prefect.exceptions import ObjectNotFound
    from prefect.workers.process import ProcessWorker

    with get_client(sync_client=True) as client:
        try:
            kind = client.read_work_pool(name).type
        except ObjectNotFound:
            template = ProcessWorker.get_default_base_job_template()
            client.create_work_pool(WorkPoolCreate(name=name, type="process", base_job_template=template))
            return True
    if kind != "process":
        raise UserError(f"--pool {name}: its type is {kind!r}; only process pools can run a deployment yet")
    return False


def _apply(args: argparse.Namespace, name: str, run: dict[str, Any], tags: list[str]) -> str:
    from prefect.client.schemas.objects import ConcurrencyLimitConfig, ConcurrencyLimitStrategy
    from prefect.deployments.runner import DeploymentApplyError
    from prefect.exceptions import PrefectHTTPStatusError
    from prefect.types.entrypoint import EntrypointType

    from flows.deployed import scheduled

    deployment = scheduled.to_deployment(
        name,
        cron=args.cron or None,
        interval=args.every,
        # A worker that was away would start all the fires that it missed at once, and runs of one series must
        # follow one another: each needs to know what the earlier ones have labelled.
        concurrency_limit=ConcurrencyLimitConfig(
            limit=1, collision_strategy=ConcurrencyLimitStrategy.CANCEL_NEW
        ),
        parameters={"run": run},
        tags=["stepmint", *tags],
        work_pool_name=args.pool,
        # Relative paths, `root = "runs"` above all, mean the same as in a command that is given here.
        job_variables={"working_dir": str(Path.cwd())},
        entrypoint_type=EntrypointType.MODULE_PATH,
    )
    try:
        return str(deployment.apply())
    except (DeploymentApplyError, PrefectHTTPStatusError) as error:
        raise UserError(f"the Prefect server refused the deployment {name!r}: {error}") from None
