"""What the arguments of several commands have in common."""

import argparse
from typing import NoReturn

from schemas.errors import UserError


class Parser(argparse.ArgumentParser):
    """Reports a wrong argument as an error of ours."""

    def error(self, message: str) -> NoReturn:
        """Raise it."""
        raise UserError(f"{message}; see `{self.prog} --help`")


class Version(argparse.Action):
    """Looks the version up only for `--version`: reading the package's metadata would slow every command."""

    def __call__(self, *_: object, **__: object) -> None:
        """Print it and end."""
        from importlib.metadata import version

        print(f"stepmint {version('stepmint')}")
        raise SystemExit


def add_output(added: argparse.ArgumentParser) -> None:
    """Add the options of every command: how it prints."""
    added.add_argument(
        "--json", action="store_true", help="print the result as JSON on stdout, without progress"
    )
    added.add_argument("-v", "--verbose", action="store_true", help="log what happens, on stderr")
    added.add_argument(
        "--log-json",
        action="store_true",
        help="write stderr as one JSON object a line, with run, shard and problem (also: STEPMINT_LOG=json)",
    )


def add_no_prefect(*commands: argparse.ArgumentParser) -> None:
    """Add the option of commands that run a flow."""
    for added in commands:
        added.add_argument(
            "--no-prefect",
            action="store_true",
            help="run without Prefect: same results, sooner, shown on no server",
        )
