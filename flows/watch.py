"""`stepmint status --watch`: looks at a run again and again, and shows what has changed."""

import argparse
import json
import sys
import time
from collections.abc import Callable
from contextlib import nullcontext
from datetime import datetime
from typing import Any

from schemas.errors import UserError
from schemas.text import shown

Result = dict[str, Any]
EVERY_S = 5.0


def add_arguments(status: argparse.ArgumentParser) -> None:
    """The option of `stepmint status`."""
    status.add_argument(
        "--watch",
        nargs="?",
        type=float,
        const=EVERY_S,
        metavar="SECONDS",
        help="look again every so often (default 5 s) until the run is sealed: a table in a terminal, else a "
        "line for each change; with --json an object for each change",
    )


def watch(args: argparse.Namespace, look: Callable[[], Result]) -> int:
    """Show the state of a run until it is sealed; returns the exit code of `stepmint status`."""
    if not 0.1 <= args.watch <= 3600:
        raise UserError(f"--watch {args.watch:g}: expected 0.1 to 3600 seconds")
    before: Result | None = None
    with _live() if sys.stdout.isatty() and not args.json else nullcontext() as live:
        while True:
            found = look()
            if found != before:
                _show(found, live, as_json=args.json)
                before = found
            if found["sealed"] and not found["owed"]:
                return 1 if found.get("damaged") else 0
            time.sleep(args.watch)


def _live() -> Any:
    from rich.live import Live

    return Live(auto_refresh=False)


def _show(found: Result, live: Any, *, as_json: bool) -> None:
    if as_json:
        print(json.dumps(found, ensure_ascii=False), flush=True)
    elif live:
        live.update(_table(found), refresh=True)
    else:
        print(f"{datetime.now():%H:%M:%S} {summary(found)}", flush=True)


def summary(found: Result) -> str:
    """The state of a run in one line."""
    if not found["shards"]:
        return f"{shown(found['run'])}: the problems have not been read yet"
    done, failed = (sum(shard[key] for shard in found["shards"]) for key in ("done", "failed"))
    whole = sum(not shard["owed"] for shard in found["shards"])
    said = f"{done:,} of {found['problems']:,} problems done, {whole} of {len(found['shards'])} shards"
    said += f", {failed:,} failed" if failed else ""
    said += f", {len(found['damaged'])} files damaged" if found["damaged"] else ""
    return f"{said}, {sum(found['tokens'].values()):,} tokens{', sealed' if found['sealed'] else ''}"


def _table(found: Result) -> Any:
    from rich.console import Group
    from rich.text import Text

    from flows.printing import add_row, new_table

    # Hundreds of shards would not fit on a screen: those at work say most.
    open_shards = [shard for shard in found["shards"] if shard["owed"]]
    table = new_table("shard", "done", "owed", "failed", right=3)
    for shard in open_shards[:30]:
        add_row(table, *(str(shard[key]) for key in ("shard", "done", "owed", "failed")))
    return Group(*([table] if open_shards else []), Text(f"{shown(found['run'])}: {summary(found)}"))
