"""`stepmint deploy`: gives a run file to a Prefect server, which runs it when it is due.

A worker that sees the same folders gets the path of the run file, and reads it when a run begins. A container
sees none, and gets its text. `flows.deployed` is what is run.
"""

import argparse
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flows.automations import block_of, ensure_automations
from flows.checks import check_stages
from flows.configured import connected
from flows.pools import KINDS, ensure_pool, job_variables
from flows.work import refuse_training
from schemas.errors import UserError
from schemas.places import is_url

if TYPE_CHECKING:
    from schemas.config import RunConfig

# A cron that names one minute of one hour fires once a day or less: "0 2 * * *", not "*/5 * * * *". A sixth
# field would be seconds.
_DAILY = re.compile(r"\s*\d+\s+\d+(\s+\S+){3}\s*")
_DAY_S = 24 * 60 * 60
_EVENT = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/-]{0,199}")
_NAME = re.compile(r"[^/%&><]+")  # as Prefect has it


def add_arguments(deploy: argparse.ArgumentParser) -> None:
    """The arguments of the command."""
    deploy.description = f"""{deploy.description}

PREFECT_API_URL names the server: `prefect server start` prints its address. A worker does the runs:
`prefect worker start --pool POOL`. Give the command again after a change: it replaces the deployment of
this name. docs/deploy.md explains series, publishing and alarms."""
    deploy.add_argument("config", help="run file (TOML)")
    deploy.add_argument(
        "--pool", default="stepmint", help="work pool; made if there is none (default %(default)s)"
    )
    deploy.add_argument(
        "--pool-type",
        choices=KINDS,
        default="",
        help="where its runs go: processes of the worker (default), or a container each",
    )
    image = "image of a docker or kubernetes pool, with Stepmint in it"
    deploy.add_argument("--image", default="", help=image)
    when = deploy.add_mutually_exclusive_group()
    when.add_argument("--cron", default="", metavar="TIMES", help='when, as in cron and in UTC: "0 2 * * *"')
    when.add_argument("--every", type=int, metavar="SECONDS", help="how often, in seconds")
    deploy.add_argument(
        "--on-event",
        default="",
        metavar="NAME",
        help="also whenever this event is sent: `prefect event emit NAME --resource-id ANY`",
    )
    deploy.add_argument(
        "--alarm",
        default="",
        metavar="TYPE/NAME",
        help="block of the server that is told of runs that fail or crash: slack-webhook/ops",
    )
    deploy.add_argument(
        "--concurrency",
        type=int,
        default=1,
        metavar="N",
        help="runs at once; one that is due beyond them is cancelled (default 1)",
    )
    deploy.add_argument(
        "--tag",
        action="append",
        default=[],
        help="tag of its runs on Prefect's page; may be given several times",
    )
    deploy.add_argument(
        "--name", default="", help="of the deployment (default: of the file's [series], or of its run)"
    )


def deploy(args: argparse.Namespace) -> dict[str, Any]:
    """Make the deployment with its automations, or replace the one of its name."""
    from schemas.config import load_config

    path = Path(args.config)
    config = load_config(path, tuple(args.set))
    check_stages(config)
    refuse_training(_as_fired(config))
    _check(args, config)
    name = args.name or (config.series.name if config.series else config.name)
    with connected(args.pool) as client:
        alarm = block_of(client, args.alarm)
        kind, made = ensure_pool(client, args.pool, args.pool_type)
        _check_kind(args, config, kind)
        run = _run(args, path, kind)
        variables = job_variables(kind, args.image, path)
        identity = _apply(args, name, run, [config.name, *args.tag], variables)
        automations = ensure_automations(client, identity, name, event=args.on_event, alarm=alarm)
    return {
        "deployment": f"stepmint-scheduled/{name}",
        "id": str(identity),
        "pool": args.pool,
        "pool_type": kind,
        "pool_made": made,
        "schedule": args.cron or (f"every {args.every} s" if args.every else ""),
        "automations": automations,
        "parameters": {"run": run},
    }


def _as_fired(config: "RunConfig") -> "RunConfig":
    """The run of some fire of a deployment."""
    from pipeline.runs.series import planned

    return planned(config, datetime.now(UTC), "day")


def _run(args: argparse.Namespace, path: Path, kind: str) -> dict[str, Any]:
    """The parameter of the deployment."""
    from flows.deployed import ScheduledRun, text_of

    run = ScheduledRun(
        run_file=str(path.resolve()),
        text="" if kind == "process" else text_of(path),
        # A pod has no folder of this machine.
        folder="" if kind == "kubernetes" else str(Path.cwd()),
        changes=tuple(args.set),
        named_by="day" if is_daily(args) else "second",
    )
    return run.model_dump(mode="json", exclude_defaults=True)


def is_daily(args: argparse.Namespace) -> bool:
    """Whether the deployment fires once a day or less, so that a day names a run."""
    # One without a schedule is started by hand, perhaps twice a day.
    if args.on_event or not (args.cron or args.every):
        return False
    return bool(_DAILY.fullmatch(args.cron)) if args.cron else args.every >= _DAY_S


def _check(args: argparse.Namespace, config: "RunConfig") -> None:
    """UserError for what no server could run, or should be sent."""
    from flows.deployed import check_sent

    check_sent("--set", " ".join(args.set))
    if args.every is not None and args.every < 1:
        raise UserError(f"--every {args.every}: expected at least 1 second")
    if args.concurrency < 1:
        raise UserError(f"--concurrency {args.concurrency}: expected at least 1")
    if args.on_event and not _EVENT.fullmatch(args.on_event):
        raise UserError(
            f"--on-event {args.on_event!r}: expected letters, digits and . _ - /: problems.arrived"
        )
    if config.series and args.concurrency > 1:
        raise UserError(
            f"--concurrency {args.concurrency}: runs of a [series] follow one another: each has to know what "
            "the earlier ones have labelled"
        )
    for option, name in (("--name", args.name), ("--pool", args.pool)):
        if name and not _NAME.fullmatch(name):
            raise UserError(f"{option} {name!r}: expected a name without / % & < >")
    if config.ray and not is_url(config.root):
        raise UserError(f"{args.config}: root = {config.root!r}: a run with [ray] needs an object store")
    if args.pool_type:
        _check_kind(args, config, args.pool_type)
    if args.cron:
        from prefect.client.schemas.schedules import CronSchedule

        try:
            CronSchedule(cron=args.cron)
        except ValueError:
            raise UserError(
                f'--cron {args.cron!r}: is no cron, such as "0 2 * * *" (every day at 2)'
            ) from None


def _check_kind(args: argparse.Namespace, config: "RunConfig", kind: str) -> None:
    """UserError for what runs in a pool of this kind would lack."""
    if kind == "process" and args.image:
        raise UserError(f"--image {args.image}: a process pool has no images: add --pool-type docker")
    if kind != "process" and not args.image:
        raise UserError(f"--image is needed in a {kind} pool: deploy/Dockerfile builds one")
    if kind == "kubernetes" and not is_url(config.root):
        raise UserError(
            f"{args.config}: root = {config.root!r}: a pod's folders go with it: name an object store, such "
            "as s3://bucket/runs, or file:///PATH of a volume that every pod has"
        )


def _apply(
    args: argparse.Namespace, name: str, run: dict[str, Any], tags: list[str], variables: dict[str, Any]
) -> Any:
    from prefect.client.schemas.objects import ConcurrencyLimitConfig, ConcurrencyLimitStrategy
    from prefect.deployments.runner import DeploymentApplyError
    from prefect.exceptions import PrefectHTTPStatusError
    from prefect.types.entrypoint import EntrypointType

    from flows.deployed import scheduled

    deployment = scheduled.to_deployment(
        name,
        cron=args.cron or None,
        interval=args.every,
        # A worker that was away would start all the fires that it missed at once.
        concurrency_limit=ConcurrencyLimitConfig(
            limit=args.concurrency, collision_strategy=ConcurrencyLimitStrategy.CANCEL_NEW
        ),
        parameters={"run": run},
        tags=["stepmint", *tags],
        work_pool_name=args.pool,
        job_variables=variables,
        entrypoint_type=EntrypointType.MODULE_PATH,
    )
    try:
        return deployment.apply()
    except (DeploymentApplyError, PrefectHTTPStatusError) as error:
        raise UserError(f"the Prefect server refused the deployment {name!r}: {error}") from None
