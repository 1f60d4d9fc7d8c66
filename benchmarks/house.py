"""`house.table`: how large the code is, how long its functions, how much of it is explained and tested."""

import ast
import io
import os
import subprocess
import tarfile
import tempfile
import tokenize
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
PACKAGES = ("schemas", "verifiers", "pipeline", "flows", "stepmint")
"""The last is the facade; revisions from before it do not have it."""
# Limits of the house: a function fits on a screen, a file can be read in one go.
LONGEST_FUNCTION, LONGEST_FILE = 50, 400
BEFORE = "STEPMINT_BEFORE"
"""Environment variable: the git revision that the working tree is compared with."""
_SILENT = (
    tokenize.NL,
    tokenize.NEWLINE,
    tokenize.INDENT,
    tokenize.DEDENT,
    tokenize.ENDMARKER,
    tokenize.ENCODING,
)
_DIRECTIVES = ("# noqa", "# type:", "# fmt:", "#!")
"""Comments for tools, which explain nothing to a reader."""


@dataclass(frozen=True)
class Module:
    """What was counted in one file. A line with code and a comment counts as both."""

    path: str
    lines: int
    code: int
    comments: int
    docstrings: int
    functions: dict[str, int]
    """Lines of each function, its decorators and docstring left out."""


def table() -> dict[str, Any]:
    """Functions of the packages longer than 50 lines, against those of the revision in $STEPMINT_BEFORE.

    `details` holds the whole table: modules, lines, code lines, functions and files over their limits,
    comment and docstring lines per 100 code lines, test lines per code line; by package and by room.
    """
    after = measured(ROOT)
    details: dict[str, Any] = {"after": after}
    before = None
    if revision := os.environ.get(BEFORE):
        with tempfile.TemporaryDirectory(prefix="stepmint-house-") as scratch:
            unpack(revision, Path(scratch))
            before = details["before"] = {"revision": revision, **measured(Path(scratch))}
    return {
        "value": after["all"]["functions_over_50"],
        "unit": "functions over 50 lines",
        "baseline": before["all"]["functions_over_50"] if before else 0,
        "n": after["all"]["functions"],
        "details": details,
    }


def unpack(revision: str, folder: Path) -> None:
    """The Python files of a git revision. Raises SystemExit where git does not know it."""
    command = ["git", "-C", str(ROOT), "archive", "--format=tar", revision]
    found = subprocess.run(command, capture_output=True, check=False)
    if found.returncode:
        raise SystemExit(f"{BEFORE}={revision}: {found.stderr.decode(errors='replace').strip()}")
    with tarfile.open(fileobj=io.BytesIO(found.stdout)) as archive:
        # Python files only: nothing else is counted, and data of old revisions may be large.
        archive.extractall(folder, [one for one in archive if one.name.endswith((".py", "/"))], filter="data")


def measured(root: Path) -> dict[str, Any]:
    """The figures of a tree: of everything, by package and by room, and what is over its limit."""
    by_package = {name: list(modules(root, name)) for name in PACKAGES if (root / name).is_dir()}
    everything = [module for found in by_package.values() for module in found]
    tests = list(modules(root, "tests"))
    rooms: dict[str, list[Module]] = {}
    for module in everything:
        parts = module.path.split("/")
        rooms.setdefault("/".join(parts[:2]) if len(parts) > 2 else parts[0], []).append(module)
    over = [
        f"{module.path}:{name} ({length})"
        for module in everything
        for name, length in module.functions.items()
        if length > LONGEST_FUNCTION
    ]
    return {
        "all": {**totals(everything), **_tests(tests, everything)},
        "packages": {name: totals(found) for name, found in by_package.items()},
        "rooms": {
            name: {**totals(found), **_tests(_tests_of(name, tests), found)}
            for name, found in sorted(rooms.items())
        },
        "functions_over": over,
        "files_over": [f"{m.path} ({m.lines})" for m in everything if m.lines > LONGEST_FILE],
    }


def modules(root: Path, package: str) -> Iterator[Module]:
    """Every Python file of a package, in the order of their names."""
    for path in sorted((root / package).rglob("*.py")):
        yield count(path.read_text(encoding="utf-8"), path.relative_to(root).as_posix())


def tree_of(source: str) -> ast.Module:
    """The syntax tree of a file. CPython 3.11 sometimes fails where another thread makes one at the same time
    (SystemError, "AST constructor recursion depth mismatch"), so it is asked again."""
    for _ in range(9):
        with suppress(SystemError):
            return ast.parse(source)
    return ast.parse(source)


def count(source: str, path: str) -> Module:
    """Lines of one file by what stands on them.

    A docstring is any string that is a statement of its own, so those below fields and constants count too.
    """
    tree = tree_of(source)
    documented = {
        line
        for node in ast.walk(tree)
        if _is_docstring(node)
        for line in range(node.lineno, (node.end_lineno or 0) + 1)
    }
    # By tokens and not by `#` at a line's start: a `#` inside a string is no comment.
    code, comments = set[int](), set[int]()
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            if not token.string.startswith(_DIRECTIVES):
                comments.add(token.start[0])
        elif token.type not in _SILENT:
            # A string over several lines counts with all of them.
            code.update(range(token.start[0], token.end[0] + 1))
    functions = {
        f"{node.name}:{node.lineno}": _length(node)
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    }
    return Module(
        path, len(source.splitlines()), len(code - documented), len(comments), len(documented), functions
    )


def _is_docstring(node: ast.AST) -> bool:
    return (
        isinstance(node, ast.Expr)
        and isinstance(node.value, ast.Constant)
        and isinstance(node.value.value, str)
    )


def _length(node: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    # The docstring is left out: explaining a function must not push it over the limit.
    first = node.body[0]
    documented = (first.end_lineno or 0) - first.lineno + 1 if _is_docstring(first) else 0
    return (node.end_lineno or node.lineno) - node.lineno + 1 - documented


def totals(found: list[Module]) -> dict[str, Any]:
    """The figures of several files together."""
    code = sum(module.code for module in found)
    lengths = sorted(length for module in found for length in module.functions.values())
    return {
        "modules": len(found),
        "lines": sum(module.lines for module in found),
        "code": code,
        "functions": len(lengths),
        "functions_over_50": sum(length > LONGEST_FUNCTION for length in lengths),
        "longest_function": max(lengths, default=0),
        "files_over_400": sum(module.lines > LONGEST_FILE for module in found),
        "comments_per_100": _share(sum(module.comments for module in found), code),
        "docstrings_per_100": _share(sum(module.docstrings for module in found), code),
    }


def _share(part: int, code: int) -> float:
    return round(100 * part / max(1, code), 1)


def _tests(tests: list[Module], of: list[Module]) -> dict[str, Any]:
    lines = sum(module.code for module in tests)
    return {"tests": lines, "tests_per_code_line": round(lines / max(1, sum(m.code for m in of)), 2)}


def _tests_of(room: str, tests: list[Module]) -> list[Module]:
    """The tests that mirror a room: `tests/annotators` of `pipeline/annotators`, `tests/verifiers/answers` of
    `verifiers/answers`. Those right under `tests/` belong to no room."""
    inside = room.removeprefix("pipeline/")
    folders = {module.path: module.path.removeprefix("tests/").rpartition("/")[0] for module in tests}
    return [
        module
        for module in tests
        if folders[module.path] == inside or ("/" in room and folders[module.path].startswith(f"{inside}/"))
    ]
