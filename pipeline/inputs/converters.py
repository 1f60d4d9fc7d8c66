"""Rows of data sets whose columns are not ours: code problems with tests, and questions about tables.

Each function makes one row of a data set into one with our own columns (`text`, `answer`, `tests`, `table`).
"""

import ast
import builtins
import csv
import io
import re
import sys
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from pipeline.inputs.rows import Unreadable

Converted = dict[str, Any]
_MOST_CODE = 200_000
"""Characters of a row's code; tests of more are no tests."""


def converted(mapping: str, row: Any) -> Any:
    """A row as `mapping` reads it; as it is where the mapping needs no conversion."""
    convert = _CONVERTERS.get(mapping)
    if convert is None or not isinstance(row, dict):
        return row
    try:
        return convert(row)
    except KeyError as missing:
        there = ", ".join(sorted(map(str, row)))[:200]
        return Unreadable(f'no column {missing}, which mapping = "{mapping}" reads; the row has {there}')
    # Data sets are files from outside: what their code or tables hold is not to end a run.
    except (
        SyntaxError,
        ValueError,
        TypeError,
        AttributeError,
        RecursionError,
        MemoryError,
        csv.Error,
    ) as error:
        return Unreadable(f'mapping = "{mapping}": {type(error).__name__}: {error}'[:300])


# Code


def _humaneval(row: Mapping[str, Any]) -> Converted:
    """HumanEval (openai/human-eval): the prompt is a function without its body, and `check(candidate)` is its
    test. Each assertion of it becomes a test where it holds nothing else, so that the share passed says more;
    a test with loops is one test as a whole."""
    prompt, entry = row["prompt"], row["entry_point"]
    solved = prompt + row["canonical_solution"]
    tree, checked = _parsed(row["test"]), _parsed(solved)
    check = next((n for n in tree.body if isinstance(n, ast.FunctionDef) and n.name == "check"), None)
    if check is None or not check.args.args:
        raise ValueError("no test: `test` has no function `check(candidate)`")
    candidate = check.args.args[0].arg
    # Tests use functions of the prompt (`poly` in HumanEval/32), which the problem gives and nobody writes.
    helpers = [n for n in checked.body if getattr(n, "name", None) != entry]
    body = [n for n in check.body if not (isinstance(n, ast.Expr) and isinstance(n.value, ast.Constant))]
    if all(isinstance(node, ast.Assert) for node in body):
        said = [node for node in map(_Renamed(candidate, entry).visit, body) if entry in _names(node)]
        tests = [_test_of(node, helpers) for node in said]
    else:
        whole = [*helpers, *tree.body, *_parsed(f"check({entry})").body]
        tests = [{"assertion": _unparsed(whole)}]
    return _code_row(row, prompt, solved, tests)


def _mbpp(row: Mapping[str, Any]) -> Converted:
    """MBPP (google-research): a task in words, three assertions. The text does not name the function and is
    often not enough to tell what it should return, so its head and the first assertion are added, as the
    paper's own prompt does."""
    code, setup = row["code"].replace("\r\n", "\n"), row.get("test_setup_code") or ""
    asserts = [node for text in row["test_list"] for node in _parsed(text).body]
    head = _head_of(code, asserts)
    tests = [_test_of(node, [], setup) for node in asserts]
    shown = f"{row['text'].strip()}\n\nWrite `{head}`. For example: `{row['test_list'][0].strip()}`"
    return _code_row(row, shown, code, tests)


def _code_row(row: Mapping[str, Any], text: str, reference: str, tests: list[Converted]) -> Converted:
    if not tests:
        raise ValueError("no test")
    kept = {name: row[name] for name in ("licence",) if name in row}
    return {"text": text, "tests": tests, "reference": reference, "domain": "code", **kept}


def _head_of(code: str, asserts: list[ast.stmt]) -> str:
    """The line that defines the function under test."""
    called = {name for node in asserts for name in _names(node)}
    heads = [n for n in _parsed(code).body if isinstance(n, ast.FunctionDef) and n.name in called]
    if not heads:
        raise ValueError("the tests call no function that `code` defines")
    return f"def {heads[0].name}({ast.unparse(heads[0].args)})"


def _test_of(node: ast.stmt, helpers: list[ast.stmt], setup: str = "") -> Converted:
    """A test of an assertion: a call and its value where it says no more, which is compared outside of the
    sandbox, or else the assertion itself."""
    names = {*_names(node)}
    # A program that brings its own `decode` would pass `decode(encode(x)) == x` whatever it encodes.
    needed = helpers if any(names & _defines(one) for one in helpers) else []
    compared = node.test if isinstance(node, ast.Assert) else None
    if isinstance(compared, ast.Compare) and len(compared.ops) == 1 and isinstance(compared.ops[0], ast.Eq):
        left, right = compared.left, compared.comparators[0]
        if _is_call(left) and _is_literal(right) and not needed:
            call = ast.unparse(left)
            # MBPP's set-up makes objects of the program's own classes, so it runs where the program does.
            return {"call": f"{setup}\n{call}" if setup else call, "expected": ast.unparse(right)}
    if setup and compared is not None:
        return {"call": f"{setup}\nbool({ast.unparse(compared)})", "expected": "True"}
    # MBPP's programs import what their tests use, such as `sys`; here tests have to do so themselves. Only
    # `sys.maxsize` means the module: a program may have a function of its own called `copy`.
    attributes = (one.value for one in ast.walk(node) if isinstance(one, ast.Attribute))
    bases = {one.id for one in attributes if isinstance(one, ast.Name)}
    imports = [ast.Import([ast.alias(name)]) for name in sorted(bases & sys.stdlib_module_names)]
    return {"assertion": _unparsed([*imports, *needed, node])}


def _is_call(node: ast.expr) -> bool:
    """A call of the program. Its arguments may be objects of the program, such as `Pair(5, 24)`."""
    if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Name):
        return False
    return not hasattr(builtins, node.func.id)  # `len(f(2))`: the program could have a `len` of its own


def _is_literal(node: ast.expr) -> bool:
    try:
        ast.literal_eval(node)
    except (ValueError, TypeError):
        return False
    return True


def _names(node: ast.AST) -> Iterator[str]:
    return (one.id for one in ast.walk(node) if isinstance(one, ast.Name))


def _defines(node: ast.stmt) -> set[str]:
    if isinstance(node, ast.Import | ast.ImportFrom):
        return {(alias.asname or alias.name).partition(".")[0] for alias in node.names}
    return {getattr(node, "name", "")}


class _Renamed(ast.NodeTransformer):
    def __init__(self, old: str, new: str) -> None:
        self.old, self.new = old, new

    def visit_Name(self, node: ast.Name) -> ast.Name:  # noqa: N802 - the name ast calls
        return ast.copy_location(ast.Name(self.new, node.ctx), node) if node.id == self.old else node


def _parsed(code: str) -> ast.Module:
    if len(code) > _MOST_CODE:
        raise ValueError(f"code of {len(code):,} characters")
    return ast.parse(code)


def _unparsed(nodes: list[ast.stmt]) -> str:
    return ast.unparse(ast.fix_missing_locations(ast.Module(nodes, [])))


# Tables


def _tabmwp(row: Mapping[str, Any]) -> Converted:
    """TabMWP (lupantech/PromptPG): a question about a small table, with options for some."""
    columns = row["table_for_pd"]
    parts = [row.get("table_title") and f"Table: {row['table_title']}", row["question"]]
    parts.append(row.get("unit") and f"Give the answer in {row['unit']}.")
    parts.append(row.get("choices") and f"Choose one: {'; '.join(row['choices'])}.")
    cells = list(map(list, zip(*columns.values(), strict=True)))
    return {
        "text": "\n".join(filter(None, parts)),
        "answer": row["answer"],
        "reference": row.get("solution"),
        "table": {"columns": list(columns), "rows": cells},
        "domain": "table",
    } | ({"answer_kind": "text"} if row.get("choices") else {})


def _wikitablequestions(row: Mapping[str, Any]) -> Converted:
    """WikiTableQuestions (ppasupat): a question about a table in CSV; several values are joined by `|`."""
    # Quotes inside cells have a backslash, as the data set's own reader expects.
    reader = csv.reader(io.StringIO(row["table_csv"]), escapechar="\\", doublequote=False)
    lines = [[_SPACE.sub(" ", cell).strip() for cell in line] for line in reader if line]
    if not lines:
        raise ValueError("the table is empty")
    return {
        "text": row["utterance"],
        "answer": ", ".join(row["targetValue"].split("|")),
        "table": {"columns": lines[0], "rows": lines[1:]},
        "domain": "table",
    }


_SPACE = re.compile(r"\s+")
_CONVERTERS: dict[str, Callable[[Mapping[str, Any]], Converted]] = {
    "humaneval": _humaneval,
    "mbpp": _mbpp,
    "tabmwp": _tabmwp,
    "wikitablequestions": _wikitablequestions,
}
