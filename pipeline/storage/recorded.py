"""The files in which a run records its settings and state, each with its own checksum.

A change by hand or a fault of the disk is noticed when the file is read, and the error names the file.
"""

import hashlib
import json
import os
import re
from pathlib import Path
from typing import Any

import tomli_w
from pydantic import ValidationError

from pipeline.storage.atomic import write_bytes, write_json
from schemas.config import RunConfig, load_config
from schemas.config.earlier import RESOLVED
from schemas.errors import UserError
from schemas.records import content_id

_HEAD = re.compile(
    rb"# [^\n]*; (?P<word>digest|identity) (?P<digest>[0-9a-f]{16})"
    rb"(; checksum (?P<checksum>[0-9a-f]{16}))?\n"
)
"""The first line of a run.toml: `# ...; identity 0123456789abcdef; checksum 0123456789abcdef`. Earlier
versions wrote `digest` for `identity`, and took the digest of other settings."""
CHECKSUM = "checksum"


def write_config(path: Path, config: RunConfig) -> None:
    """Write a run's resolved configuration, with its digest and a checksum of the lines in its first line."""
    body = tomli_w.dumps(without_none(config.model_dump(mode="json"))).encode()
    head = f"{RESOLVED}; identity {config.digest()}; {CHECKSUM} {_short(body)}\n"
    file, data = path / "run.toml", head.encode() + body
    # Every opening of the run comes here, so an equal file is left alone.
    if not file.is_file() or file.read_bytes() != data:
        write_bytes(file, data)


def is_begun(path: Path) -> bool:
    """Whether a run has begun: its folder holds problems, or a line of a journal. A run that failed before
    that may begin again with another configuration."""
    return (path / "run.toml").is_file() and (
        (path / "problems" / "done.json").is_file() or has_finished(path)
    )


def has_drawn(path: Path) -> bool:
    """Whether a run's folder holds any completion that was paid for."""
    files = (*(path / "journal").glob("*.unfinished"), *(path / "rollouts").glob("*"))
    return has_finished(path) or any(file.stat().st_size for file in files)


def has_finished(path: Path) -> bool:
    """Whether a run's folder holds the votes of any problem."""
    journal = path / "journal"
    return any(file.stat().st_size for file in (*journal.glob("*.jsonl"), *journal.glob("*.jsonl.zst")))


def read_config(path: Path, overrides: tuple[str, ...] = ()) -> RunConfig:
    """The configuration recorded in a run's folder, with some settings changed as by `--set`.

    UserError when the folder holds none, or one that was changed after it was written.
    """
    recorded = path / "run.toml"
    if not recorded.is_file():
        raise UserError(f"{path}: not a run (it has no run.toml)")
    if not is_as_written(recorded):
        raise UserError(
            f"{recorded}: was changed by hand: restore it and give changes with --set, or keep the change "
            f"with `stepmint check {path} --repair`"
        )
    return load_config(recorded, overrides)


def config_here(folder: Path, overrides: tuple[str, ...] = ()) -> RunConfig:
    """A run's recorded configuration, with the folder it lies in now: it may have been moved or renamed."""
    here = folder if folder.name else folder.resolve()
    config = read_config(folder, overrides)
    return config.model_copy(update={"root": str(here.parent), "name": here.name})


def is_as_written(recorded: Path) -> bool:
    """Whether the lines of a run.toml fit the checksum in its first line; true where an earlier version wrote
    it without one."""
    data = recorded.read_bytes()
    head = _HEAD.match(data)
    if head is None:
        return False
    return head["checksum"] is None or head["checksum"].decode() == _short(data[head.end() :])


def digest_of(recorded: Path) -> str:
    """The digest in the first line of a run.toml; empty where it cannot be read."""
    head = _HEAD.match(recorded.read_bytes())
    return head["digest"].decode() if head else ""


def is_comparable(recorded: Path) -> bool:
    """Whether that digest was made by today's rules, so that it can be compared with one made now."""
    head = _HEAD.match(recorded.read_bytes())
    return head is not None and head["word"] == b"identity"


def write_record(path: Path, data: dict[str, Any]) -> None:
    """Write a JSON object whose last key is the checksum of the others."""
    write_json(path, {**data, CHECKSUM: content_id(data)})


def read_record(path: Path, run: Path) -> dict[str, Any]:
    """What `write_record` wrote, without the checksum; files of earlier versions have none.

    UserError when the file is torn or was changed.
    """
    try:
        data = json.loads(path.read_bytes())
    except (ValueError, RecursionError):
        raise UserError(changed(path, run, "is not JSON any more")) from None
    except OSError as error:
        raise UserError(changed(path, run, f"{error.strerror}")) from None
    if not isinstance(data, dict):
        raise UserError(changed(path, run, "holds no object"))
    checksum = data.pop(CHECKSUM, None)
    if checksum is not None and checksum != content_id(data):
        raise UserError(changed(path, run, "its checksum does not fit"))
    return data


def changed(path: Path, run: Path, how: str) -> str:
    """The one line about a file of a run that is not as it was written."""
    return f"{path}: was changed after it was written ({how}): restore it, or see `stepmint check {run}`"


def wrong_fields(error: ValidationError) -> str:
    """What is wrong with a record, in a few words: pydantic's own are for programmers."""
    errors = error.errors()
    names = list(dict.fromkeys(f"`{one['loc'][0]}`" for one in errors if one["loc"]))
    if not names:
        return str(errors[0]["msg"]).removeprefix("Value error, ")
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return f"missing or not possible: {', '.join(names[:3])}{more}"


def _short(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()[:16]


def without_none(data: Any) -> Any:
    """The data without keys whose value is None: TOML has no null, and an absent key means its default."""
    if isinstance(data, list):
        return [without_none(item) for item in data]
    if not isinstance(data, dict):
        return data
    return {key: without_none(value) for key, value in data.items() if value is not None}


_OF_A_RUN = frozenset(
    "run.toml manifest.json identity.json plan.json digests.json summary.json quarantine.jsonl "
    "problems journal rollouts sealed shards".split()
)


def check_outside(out: Path) -> None:
    """UserError where a command's result would replace a file of a run, or lie among its files."""
    target = Path(os.path.realpath(out))
    for folder in target.parents:
        if target.relative_to(folder).parts[0] in _OF_A_RUN and (folder / "run.toml").is_file():
            raise UserError(f"{out}: stands among the files of the run {folder}: choose another place")
