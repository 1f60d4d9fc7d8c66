"""Runs code blocks as a notebook does. Only ever read as text and run inside the sandbox.

`job.json` in the working folder says what to do. The output of the last block goes to standard output, and
after it a mark. A program that ends early writes no mark, so its output is not used as evidence.
"""

import ast
import contextlib
import io
import json
import os
import sys
from typing import Any

END = "\x04"


class _Shift(ast.NodeTransformer):
    """Adds one to every literal that is the claimed value."""

    def __init__(self, claimed: str) -> None:
        self.claimed, self.found = claimed, False

    def visit_Constant(self, node: ast.Constant) -> ast.Constant:  # noqa: N802 - the name ast calls
        value = node.value
        # True == 1 in Python, but nobody means the answer 1 by writing True.
        if isinstance(value, bool) or not isinstance(value, (int, float, str)):
            return node
        try:
            # Texts count too: `print("42")` repeats the value as much as `print(42)` does.
            same = float(value) == float(self.claimed)
        except (ValueError, OverflowError):
            return node
        if not same:
            return node
        self.found = True
        shifted = float(value) + 1
        number = int(shifted) if shifted.is_integer() else shifted
        return ast.copy_location(ast.Constant(str(number) if isinstance(value, str) else number), node)


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
    shift = _Shift(job["shift"])
    if job["shift"]:
        trees = [ast.fix_missing_locations(shift.visit(tree)) for tree in trees]
    shown = ""
    for number, tree in enumerate(trees):
        shown = _show(tree, names, f"block{number}.py")
    sys.stdout.write(shown + END)


if __name__ == "__main__":
    main()
