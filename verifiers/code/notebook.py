"""Runs code blocks as a notebook does. Only ever read as text and run inside the sandbox.

`job.json` in the working folder says what to do. The output of the last block goes to standard output, and
after it a mark. A program that ends early writes no mark, so its output is not used as evidence.
"""

import ast
import contextlib
import io
import json
import os
import re
import sys
from typing import Any

END = "\x04"


# A number inside a text: "42 apples", "$42", "42kg".
_DIGITS = re.compile(r"\d+(?:\.\d+)?")
# The same, but not the 2 of `%.2f` or `{:>8}`, which says how something is printed.
_PRINTED = re.compile(r"(?<![.%:<>^=\d])\d+(?:\.\d+)?")

_OTHER = str.maketrans("0123456789", "1234567891")


class _Change(ast.NodeTransformer):
    """Adds to literals, in numbers and inside texts alike: `print("42")` repeats a value as `print(42)` does.

    `numbers` holds pairs of a value and what is added to it, `texts` pairs of a text and what takes its
    place; with `digits`, every number inside another text is changed too.
    """

    def __init__(self, change: dict[str, Any]) -> None:
        self.numbers: dict[float, int] = dict(change.get("numbers", ()))
        self.texts: dict[str, str] = dict(change.get("texts", ()))
        self.digits = change.get("digits", False)

    def visit_FormattedValue(self, node: ast.FormattedValue) -> ast.AST:  # noqa: N802 - the name ast calls
        node.value = self.visit(node.value)  # the format after it prints a value and is none
        return node

    def visit_Constant(self, node: ast.Constant) -> ast.Constant:  # noqa: N802
        value = node.value
        # True == 1 in Python, but nobody means the answer 1 by writing True.
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            value += self._added(value)
        elif isinstance(value, str):
            value = self._text(value)
        elif isinstance(value, bytes):
            value = self._text(value.decode("latin-1")).encode("latin-1")
        return ast.copy_location(ast.Constant(value, node.kind), node)

    def _added(self, value: float) -> int:
        try:
            return self.numbers.get(float(value), 0)
        except OverflowError:
            return 0

    def _text(self, text: str) -> str:
        if text in self.texts:
            return self.texts[text]
        text = _DIGITS.sub(self._shifted, text)
        return _PRINTED.sub(lambda m: m[0].translate(_OTHER), text) if self.digits else text

    def _shifted(self, match: "re.Match[str]") -> str:
        added = self._added(float(match[0]))
        if not added:
            return match[0]
        return str((float if "." in match[0] else int)(match[0]) + added)


def _literals(trees: list[ast.Module]) -> dict[str, list[Any]]:
    """The numbers and texts that the blocks write out."""
    values = [node.value for tree in trees for node in ast.walk(tree) if isinstance(node, ast.Constant)]
    numbers = {repr(v) for v in values if isinstance(v, (int, float)) and not isinstance(v, bool)}
    texts = {v if isinstance(v, str) else v.decode("latin-1") for v in values if isinstance(v, (str, bytes))}
    return {"numbers": sorted(numbers), "texts": sorted(texts)}


def _show(tree: ast.Module, names: dict[str, Any], file: str) -> str:
    """Run a block; what it prints, or else the value of the expression it ends in."""
    last = tree.body[-1] if tree.body else None
    final = ast.Expression(last.value) if isinstance(last, ast.Expr) else None
    if final is not None:
        tree.body.pop()
    shown = io.TextIOWrapper(io.BytesIO(), "utf-8", "surrogateescape", write_through=True)
    with contextlib.redirect_stdout(shown):
        # These lines run in the sandbox alone, with the blocks' names shared between blocks, as in a
        # notebook.
        exec(compile(tree, file, "exec"), names)
        value = eval(compile(final, file, "eval"), names) if final is not None else None
        if value is not None and not shown.tell():
            print(repr(value))
    shown.seek(0)
    return shown.read()


def main() -> None:
    """Do the job."""
    with open("job.json", encoding="utf-8") as file:
        job = json.load(file)
    # The job holds the claimed value: the blocks must not find it in their folder.
    os.unlink("job.json")
    names: dict[str, Any] = {"__name__": "__main__"}
    if job["table"]:
        columns, rows = job["table"]["columns"], job["table"]["rows"]
        names |= {"table": [dict(zip(columns, row, strict=True)) for row in rows], "columns": columns}
    trees = [ast.parse(block) for block in job["blocks"]]
    if job["list"]:
        sys.stdout.write(json.dumps(_literals(trees)) + END)
        return
    trees = [ast.fix_missing_locations(_Change(job["change"]).visit(tree)) for tree in trees]
    # The blocks can look into the frames above them: nothing there says that this is another run.
    del job
    shown = ""
    for number, tree in enumerate(trees):
        shown = _show(tree, names, f"block{number}.py")
    sys.stdout.write(shown + END)


if __name__ == "__main__":
    main()
