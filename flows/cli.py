"""The `stepmint` command: it takes arguments and returns an exit code. `flows.commands` does the work.

Nothing heavy is imported here, so that `stepmint --help` answers at once. Exit codes: 0 done; 1 not finished
(the same command goes on), or sealed although nothing of one source could be read (0 from
`work`), or `verify` has found something false; 2 an error that the user can mend; 130 interrupted.
"""

import argparse
import io
import json
import logging
import os
import sys
import tempfile
import warnings
from collections.abc import Sequence
from contextlib import nullcontext, redirect_stdout
from types import TracebackType
from typing import Any

from flows import interrupt, logs, progress
from flows.arguments import parser
from flows.importing import collect_seldom, uncollected
from flows.metrics import measured
from flows.settings import set_defaults
from flows.watch import watch
from flows.work import in_folder
from pipeline.prm.ranks import rank, world
from schemas.errors import BackendError, UserError, disk_trouble, redacted
from schemas.places import is_url
from schemas.text import one_line


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command; returns its exit code and prints errors as one line.

    Without `argv` it takes the arguments of the command line, and signals end the process. With `argv`, as in
    tests, the process belongs to the caller, and signals are left alone.
    """
    own = argv is None
    try:
        if own:
            sys.excepthook = _show_bug
            interrupt.heed()
            collect_seldom()
        code = _run(argv)
        # A failure after a signal is its consequence: the user reads "interrupted", not an error of a
        # library.
        if code and interrupt.heard():
            interrupt.end()
        if own:
            interrupt.finish(code)
    except BaseException as error:
        if interrupt.heard():  # libraries turn an interruption into errors of their own
            interrupt.end()
        if isinstance(error, KeyboardInterrupt):
            return _complain(interrupt.line(), 130)
        raise
    return code


def _run(argv: Sequence[str] | None) -> int:
    set_defaults()
    for stream in (sys.stdout, sys.stderr):
        # A lone surrogate in a model's text, or a terminal without UTF-8, must not end a command.
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    args = argparse.Namespace()
    try:
        logs.set_form()
        args = parser().parse_args(argv)
        logs.set_form(as_json=args.log_json)
        _set_logging(verbose=args.verbose or logs.is_json())
        with measured(args):
            return _dispatch(args)
    except SystemExit as stop:  # --help and --version
        return stop.code if isinstance(stop.code, int) else 0
    except UserError as error:
        return _complain(error, 2)
    except BackendError as error:
        return _complain(error, 1)
    except BrokenPipeError:
        # The reader of our output (`head`, say) has closed it, which is no error. Python would still complain
        # when it flushes stdout at its end, so stdout leads nowhere from here on.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except Exception as error:
        if trouble := disk_trouble(error, _place(args)):
            return _complain(f"{trouble}; mend that and run the same command again", 2)
        raise  # a bug


def _place(args: argparse.Namespace) -> str:
    """Where a command writes, as far as its arguments say: errors of a full disk often name no file."""
    given = vars(args)
    if given.get("command") == "work":
        return tempfile.gettempdir()
    changed = given.get("run") if given.get("command") in ("fuse", "derive", "train") else None
    return str(given.get("out") or given.get("config") or changed or "standard output")


def _show_bug(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """Print the traceback of a bug, without secrets."""
    import traceback

    said = redacted("".join(traceback.format_exception(kind, error, trace))).rstrip()
    logs.line(said, "critical")


def _set_logging(*, verbose: bool) -> None:
    """Show our own log lines with `--verbose`, and no library's: those would break up the progress bars.

    Warnings become one line, like our errors; Python would add the line of code that gave them.
    """
    warnings.formatwarning = _warning
    # Without any handler Python prints what libraries log as a warning or worse.
    logging.getLogger().addHandler(logging.NullHandler())
    logs.show_own(on=verbose)
    if verbose:
        return
    # What policies warn of explains a run that is slow, or stops.
    policies = logging.getLogger("pipeline.policies")
    if not any(isinstance(handler, progress.Warned) for handler in policies.handlers):
        policies.addHandler(progress.Warned())


def _warning(message: Warning | str, *_: object, **__: object) -> str:
    said = one_line(redacted(str(message)))
    return f"{logs.encoded(said, 'warning') if logs.is_json() else f'stepmint: warning: {said}'}\n"


def _complain(what: object, code: int) -> int:
    if interrupt.heard():
        interrupt.end()
    said = one_line(redacted(str(what)))
    logs.line(said if logs.is_json() else f"stepmint: {said}", "error" if code else "warning")
    return code


def _dispatch(args: argparse.Namespace) -> int:
    if world() > 1 and args.command != "train":
        raise UserError(
            f"{args.command} is for one process, and torchrun started {world()}: only `stepmint train` shares"
        )
    given = vars(args)
    helps = world() > 1 and rank() > 0  # of torchrun's processes only the first runs the flow
    if given.get("no_prefect") is not False or helps or any(map(given.get, ("dry_run", "submit", "begin"))):
        return _done(args)
    from flows.server import ahead

    with ahead():  # a flow will run here
        return _done(args)


def _done(args: argparse.Namespace) -> int:
    with uncollected():
        from flows import commands, display

    command = getattr(commands, args.command)
    far = is_url(str(vars(args).get("run", "")))
    if vars(args).get("watch") is not None:
        return watch(args, lambda: in_folder(args, command) if far else command(args))
    # An outsider's annotator may print: among the JSON its lines would make the output unreadable.
    with redirect_stdout(sys.stderr) if args.json else nullcontext():
        result: dict[str, Any] = in_folder(args, command) if far else command(args)
    for line in result.get("remarks", ()):
        _complain(line, 0)
    if "printed" in result:  # lines that are printed while they are found
        for line in result["printed"]:
            print(line)
        for why in result["skipped"] if args.json or args.format == "json" else ():
            _complain(f"skipped {why}", 0)
    elif args.json:
        print(json.dumps(result, indent=2, ensure_ascii=False))
    else:
        getattr(display, args.command)(result)
    sys.stdout.flush()  # now, so that `_run` can report a full disk or a closed pipe in its own words
    # Keys under which a result says that something is left to do: the exit code tells scripts. A worker whose
    # run is sealed has nothing left to do: a cluster would start others in its place, again and again.
    names = ("owed", "refused", "damaged", "failing", *(() if args.command == "work" else ("unread",)))
    return 1 if any(result.get(name) for name in names) else 0


if __name__ == "__main__":
    sys.exit(main())
