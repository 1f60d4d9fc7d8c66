"""`stepmint verify`: checks the steps of a file, and prints what it finds as text, JSON, or for a code host.

It ends as linters do: exit code 0 where no step shows something false, 1 where one does, 2 for a wrong
argument and for a file of which nothing can be read. A row that cannot be read is left out, named and
counted; it does not change the exit code while other rows are read.
"""

import argparse
import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

from schemas.errors import UserError
from schemas.text import one_line, shown

Result = dict[str, Any]
VERDICTS = ("holds", "fails", "abstains")
# More rows than these are counted, not named: a file of another format may hold a million.
_MOST_NAMED = 20
_SARIF = "https://json.schemastore.org/sarif-2.1.0.json"


def add_arguments(verify: argparse.ArgumentParser) -> None:
    """The arguments of the command."""
    verify.add_argument(
        "file",
        help="JSON lines, a JSON list, CSV, TSV or Parquet (text also as .gz), of solutions in a format that "
        "docs/given.md lists: `problem` with `steps` or a text, ProcessBench, GSM8K, PRM800K, FLD and others",
    )
    verify.add_argument("--only", choices=VERDICTS, help="print only steps with this verdict")
    verify.add_argument("-n", type=int, default=0, help="at most so many solutions (default: all)")
    verify.add_argument("--workers", type=int, default=1, help="processes to share the work (default 1)")
    verify.add_argument(
        "--format",
        choices=("text", *_FORMATS),
        default="text",
        help="text (default); json: an object a step, as --json; github: annotations of a workflow; sarif: "
        "one document for code hosts and editors",
    )


def verify(args: argparse.Namespace) -> Result:
    """Verify the steps of a file, while they are printed. The counts include steps that `--only` hides."""
    from pipeline.inputs.solutions import read_solutions
    from pipeline.labelling.verify_files import verify as reviewed

    if args.n < 0 or args.workers < 1:
        raise UserError("expected -n of at least 0 and --workers of at least 1")
    result: Result = {
        "file": args.file,
        "counts": dict.fromkeys(VERDICTS, 0),
        "kinds": Counter(),
        "skipped": [],
        "failing": [],
    }
    found = read_solutions(Path(args.file), result["skipped"].append)
    steps = reviewed(islice(found, args.n or None), workers=args.workers)
    result["lines"] = _counted(steps, result, args.only)
    form = "json" if args.json else args.format
    if form != "text":
        result["printed"] = _FORMATS[form](result)
    return result


def _counted(lines: Iterable[Result], result: Result, only: str | None) -> Iterator[Result]:
    """The steps to print. What they add up to stands in the result when the last of them is out."""
    for line in lines:
        result["counts"][line["verdict"]] += 1
        result["kinds"].update((found["by"], found["verdict"]) for found in line["findings"])
        # The exit code looks for something under this key.
        result["failing"] = result["failing"] or line["verdict"] == "fails"
        if only in (None, line["verdict"]):
            yield line


def summary(result: Result) -> list[str]:
    """How many findings there are of each kind, and the rows that were left out."""
    kinds = sorted({by for by, _ in result["kinds"]})
    lines = [
        f"{shown(by)}: " + ", ".join(f"{n:,} {v}" for v in VERDICTS if (n := result["kinds"][by, v]))
        for by in kinds
    ]
    left_out = result["skipped"]
    lines += [f"skipped {one_line(shown(why), 300)}" for why in left_out[:_MOST_NAMED]]
    if left_out:
        lines.append(f"{len(left_out):,} rows or solutions skipped")
    return lines


def _json(result: Result) -> Iterator[str]:
    for line in result["lines"]:
        kept = {name: line[name] for name in ("id", "step", "verdict", "findings")}
        yield json.dumps(kept, ensure_ascii=False)


def _false(line: Result) -> Iterator[Result]:
    return (found for found in line["findings"] if found["verdict"] == "fails")


def _github(result: Result) -> Iterator[str]:
    """Workflow commands: an error for each false claim, a warning for each row left out, and the counts."""
    for line in result["lines"]:
        for found in _false(line):
            title = f"step {line['step']} of {line['id']}, {found['by']}"
            yield _command("error", found["reason"], file=result["file"], line=line["row"], title=title)
    for why in result["skipped"][:_MOST_NAMED]:
        yield _command("warning", why, file=result["file"], title="skipped")
    counts = ", ".join(f"{n:,} {verdict}" for verdict, n in result["counts"].items())
    yield _command(
        "notice", "; ".join([counts, *summary({**result, "skipped": []})]), title="stepmint verify"
    )


def _command(kind: str, text: str, **properties: Any) -> str:
    def escaped(value: Any, more: str = "") -> str:
        # The characters that end a command or one of its properties.
        for sign in "%\r\n" + more:
            value = str(value).replace(sign, f"%{ord(sign):02X}")
        return shown(value)

    named = ",".join(f"{name}={escaped(value, ':,')}" for name, value in properties.items())
    return f"::{kind} {named}::{escaped(text)}"


def _sarif(result: Result) -> Iterator[str]:
    """One document in SARIF 2.1.0 (OASIS): a result for each false claim."""
    found = [
        {
            "ruleId": claim["by"],
            "level": "error",
            "message": {"text": f"step {line['step']} of {line['id']}: {claim['reason']}"},
            "locations": [_place(result["file"], line["row"])],
            "properties": {"step": line["step"], "solution": line["id"], "claim": claim["claim"]},
        }
        for line in result["lines"]
        for claim in _false(line)
    ]
    rules = [{"id": by} for by in sorted({one["ruleId"] for one in found})]
    skipped = [{"level": "warning", "message": {"text": f"skipped {why}"}} for why in result["skipped"]]
    run = {
        "tool": {"driver": {"name": "stepmint verify", "rules": rules}},
        "results": found,
        "invocations": [{"executionSuccessful": True, "toolExecutionNotifications": skipped}],
        "properties": {"steps": result["counts"], "findings": summary({**result, "skipped": []})},
    }
    yield json.dumps({"$schema": _SARIF, "version": "2.1.0", "runs": [run]}, indent=1)


def _place(file: str, row: int) -> Result:
    place = {"artifactLocation": {"uri": Path(file).as_posix()}, "region": {"startLine": max(1, row)}}
    return {"physicalLocation": place}


_FORMATS: dict[str, Callable[[Result], Iterator[str]]] = {"json": _json, "github": _github, "sarif": _sarif}
