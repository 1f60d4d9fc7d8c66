"""Runs a program's tests. Only ever read as text and run inside the sandbox, in one of two parts.

A program answers calls in one sandbox, and assertions judge these answers in another. So nothing that a
program does (patch `abs`, print the expected text, end the process) reaches what judges it. `job.json` in the
working folder says what to do. Each line of the answer begins with a mark that the program has not been told.
"""

import ast
import builtins
import io
import json
import os
import random
import sys
import types
from collections.abc import Iterator
from typing import Any

# Calls of one assertion; a test that asks for more is not read to its end.
_MOST_CALLS = 2000
_TYPES = (bool, int, float, complex, str, bytes, list, tuple, set, frozenset, dict)
_NUMBERS = ("decimal", "fractions")


class _Sink(io.RawIOBase):
    """Standard output of a program whose answers are the values of calls."""

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        return len(data)


# Values as text


def canonical(value: Any) -> str:
    """A text equal where == holds between plain values, floats to nine digits: True is 1, and 2.0 is 2."""
    if isinstance(value, dict):
        return "{" + ", ".join(sorted(f"{canonical(k)}: {canonical(v)}" for k, v in value.items())) + "}"
    if isinstance(value, (set, frozenset, type({}.keys()))):
        return "set(" + ", ".join(sorted(map(canonical, value))) + ")"
    if isinstance(value, (list, tuple)):
        return f"{'list' if isinstance(value, list) else 'tuple'}(" + ", ".join(map(canonical, value)) + ")"
    if isinstance(value, str):
        return str.__repr__(value)
    # Told by the name of their module: importing `fractions` into every sandbox would cost 10 ms each.
    if isinstance(value, float) or (type(value).__module__ in _NUMBERS and _is_finite(value)):
        # Near 1e16 a float no longer tells neighbouring whole numbers apart, so it is not written as one.
        # Nine digits are what the last bits of a sum in another order leave alone.
        if abs(value) < 1e15:
            return repr(int(value)) if value == int(value) else f"{float(value):.9g}"
        return f"{float(value):.9g}" if isinstance(value, float) else repr(value)
    return repr(int(value)) if isinstance(value, int) else repr(value)


def _is_finite(value: Any) -> bool:
    return not hasattr(value, "is_finite") or bool(value.is_finite())


def encode(value: Any) -> Any:
    """A plain value as JSON that keeps its type: an iterator as its items, any other object as its type."""
    match value:
        case None | bool() | str() | int():
            return {"n": str(int(value))} if type(value) is int else value
        case float() | complex():
            return {"float": repr(float(value))} if isinstance(value, float) else {"complex": repr(value)}
        case bytes():
            return {"bytes": value.hex()}
        case list() | tuple() | set() | frozenset():
            kind = next(one for one in (list, tuple, set, frozenset) if isinstance(value, one))
            return {kind.__name__: [encode(item) for item in value]}
        case dict():
            return {"dict": [[encode(key), encode(item)] for key, item in value.items()]}
        case range():
            return {"range": [value.start, value.stop, value.step]}
        # `remove(values, int)`: types are named, and no other object of `builtins` is.
        case type() if value in _TYPES:
            return {"type": value.__name__}
        case Iterator():
            return {"iterator": [encode(item) for _, item in zip(range(100_000), value, strict=False)]}
        case _Opaque():
            raise _NotCarried("it hands on an object of the program")
    return {"object": type(value).__name__}


class _NotCarried(BaseException):
    """An assertion needs an object of the program that no text can carry: nothing is known of the program."""


class _Opaque:
    """In place of an object that cannot be carried: it equals nothing, and has no attribute that is known, as
    in `Solution().area(3)`."""

    def __getattr__(self, name: str) -> Any:
        raise _NotCarried(f"it uses `.{name}` of an object of the program")


def decode(value: Any) -> Any:
    """What `encode` wrote. An object comes back as one that equals nothing."""
    if not isinstance(value, dict):
        return value
    ((kind, held),) = value.items()
    match kind:
        case "n":
            return int(held)
        case "float" | "complex":
            return getattr(builtins, kind)(held)
        case "bytes":
            return bytes.fromhex(held)
        case "list" | "tuple" | "set" | "frozenset":
            return getattr(builtins, kind)(map(decode, held))
        case "dict":
            return {decode(key): decode(item) for key, item in held}
        case "range":
            return range(*held)
        case "type":
            return next(one for one in _TYPES if one.__name__ == held)
        case "iterator":
            return iter([decode(item) for item in held])
    return _Opaque()


# The part that runs the program


def _trees(head: str, blocks: list[str]) -> list[ast.Module]:
    """The program: code of the problem's text, and the solution's blocks, or the function body it gives."""
    try:
        above = [ast.parse(head)]
    except SyntaxError:
        above, head = [], ""  # a problem in words
    first = next((line for block in blocks for line in block.splitlines() if line.strip()), "")
    if head and first[:1] in (" ", "\t"):
        return [_continued(head, "\n".join(blocks))]
    return above + [ast.parse(block) for block in blocks]


def _continued(head: str, body: str) -> ast.Module:
    """The function that a problem begins, with its body. What follows at the margin is another text: models
    that do not know where to end go on with further code (as HumanEval's own stop texts assume)."""
    lines = body.split("\n")
    # A line at the margin inside a long string or bracket ends nothing: then the text before does not parse.
    margins = [i for i, line in enumerate(lines) if i and line.strip() and line[0] not in " \t"]
    for end in [*margins[:20], len(lines)]:
        try:
            return ast.parse(head.rstrip("\n") + "\n" + "\n".join(lines[:end]))
        except SyntaxError as error:
            last = error
    raise last


def _defines(tree: ast.Module) -> bool:
    return any(isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)) for node in tree.body)


def _is_stub(tree: ast.Module) -> bool:
    """Whether a function's body is only `pass` or `...`: a later step may fill it in."""
    for node in ast.walk(tree):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            body = node.body[1:] if ast.get_docstring(node) is not None else node.body
            if all(ast.unparse(one) in ("pass", "...") for one in body):
                return True
    return False


def answer(job: dict[str, Any], say: Any) -> None:
    """Define the program, then answer its calls one after the other, as the data sets' own tests do."""
    module = types.ModuleType("program")  # not `__main__`: examples of its use are not part of the answer
    sys.modules["program"] = module
    sys.stdout = io.TextIOWrapper(io.BufferedWriter(_Sink()), write_through=True)
    try:
        trees = _trees(job["head"], job["blocks"])
        for tree in trees:
            try:
                exec(compile(tree, "program.py", "exec", dont_inherit=True), module.__dict__)
            except Exception:
                # An example of the function's use, in the problem's text or beside the program, may fail
                # without any fault of the program; tests tell what the program does.
                if _defines(tree) or not any(map(_defines, trees)):
                    raise
    except BaseException as error:  # whatever a program raises is told, and none of its calls is answered
        say("setup", "error", _named(error))
        return
    say("setup", "stub" if trees and _is_stub(trees[-1]) else "whole", "")
    for number, call in enumerate(job["calls"]):
        try:
            value = _value(call, module.__dict__)
            text = canonical(value) if "text" in call else encode(value)
            said = ("value", json.dumps(text))
        except BaseException as error:
            said = ("error", _named(error))
        say(str(number), *said)


def _value(call: dict[str, Any], names: dict[str, Any]) -> Any:
    if "name" in call:
        arguments, named = decode(call["args"]), decode(call["named"])
        return names[call["name"]](*arguments, **named)
    tree = ast.parse(call["text"].strip())
    last, own = tree.body.pop(), dict(names)
    if not isinstance(last, ast.Expr):
        raise SyntaxError("a call must end in an expression")
    exec(compile(tree, "test.py", "exec", dont_inherit=True), own)
    return eval(compile(ast.Expression(last.value), "test.py", "eval", dont_inherit=True), own)


def _named(error: BaseException) -> str:
    """The name of an exception and its text, in one line of JSON."""
    try:
        text = str(error)[:80]
    except BaseException:
        text = ""  # its `__str__` raises
    return json.dumps([type(error).__name__, text])


# The part that judges


class _NotAnswered(BaseException):
    """An assertion calls the program in a way that has not been answered yet."""


class _Tolerant(ast.NodeTransformer):
    """Assertions whose failure does not matter, so that all calls after them are made, too."""

    def visit_Assert(self, node: ast.Assert) -> Any:  # noqa: N802 - the name ast calls
        ignored = ast.ExceptHandler(ast.Name("Exception", ast.Load()), None, [ast.Pass()])
        made = ast.Try([ast.Expr(node.test)], [ignored], [], [])
        return ast.fix_missing_locations(ast.copy_location(made, node))


def judge(job: dict[str, Any], say: Any) -> None:
    """Say of each assertion how it ends by the answers there are, and which calls it made."""
    for number, source in enumerate(job["assertions"]):
        calls: list[dict[str, Any]] = []
        raised: list[BaseException] = []
        try:
            tree = ast.parse(source)
            if job["collect"]:
                tree = _Tolerant().visit(tree)
            own = {name: _StandIn(name, calls, raised, job) for name in _free(tree)}
            random.seed(0)  # the calls made must be those that were answered
            exec(compile(tree, "assertion.py", "exec", dont_inherit=True), {"__name__": "assertion", **own})
            said = ("pass", json.dumps(calls))
            # `def test_area(): ...` that nothing calls passes whatever the program is.
            if not calls and not job["collect"]:
                said = ("broken", json.dumps(["", "it calls nothing of the program"]))
        except _NotAnswered:
            said = ("asks", json.dumps(calls))
        except AssertionError as error:
            said = ("wrong", _named(error))
        except BaseException as error:
            # A name or module that the assertion itself lacks is no fault of the program.
            is_own = isinstance(error, (_NotCarried, NameError, ImportError, SyntaxError))
            ended = "broken" if is_own and error not in raised else "error"
            said = (ended, _named(error)) if not job["collect"] else ("asks", json.dumps(calls))
        say(str(number), *said)


def _free(tree: ast.Module) -> set[str]:
    """The names that an assertion uses and does not make: those of the program."""
    made = set(dir(builtins))
    used = set()
    for node in ast.walk(tree):
        match node:
            case ast.Name(id=name, ctx=ast.Load()):
                used.add(name)
            case ast.Name(id=name) | ast.arg(arg=name) | ast.FunctionDef(name=name) | ast.ClassDef(name=name):
                made.add(name)
            case ast.alias(name=name, asname=other):
                made.add(other or name.partition(".")[0])
            case ast.ExceptHandler(name=str(name)):
                made.add(name)
    return used - made


class _StandIn(_Opaque):
    """In place of a function of the program: it gives the answers there are."""

    def __init__(
        self, name: str, calls: list[dict[str, Any]], raised: list[BaseException], job: dict[str, Any]
    ) -> None:
        self.called, self.calls, self.raised, self.job = name, calls, raised, job

    def __eq__(self, other: object) -> bool:
        raise _NotCarried(f"it compares {self.called} itself, and calls nothing")

    def __hash__(self) -> int:
        return hash(self.called)

    def __call__(self, *args: Any, **named: Any) -> Any:
        call = {"name": self.called, "args": encode(args), "named": encode(named)}
        key = json.dumps(call)
        if '{"object":' in key:  # inside a text its quotes would be escaped
            raise _NotCarried(f"{self.called} is given an object")
        if call not in self.calls and len(self.calls) < _MOST_CALLS:
            self.calls.append(call)
        if self.job["collect"]:
            return None
        kind, said = self.job["answers"].get(key, ("", ""))
        if not kind:
            raise _NotAnswered
        if kind == "value":
            return decode(json.loads(said))
        kind, text = json.loads(said)
        # A test may expect an error of the program; one of the program's own kinds is any error.
        known = getattr(builtins, kind, None)
        if isinstance(known, type) and issubclass(known, Exception):
            self.raised.append(known(text))
        else:
            self.raised.append(RuntimeError(f"{kind}: {text}"))
        raise self.raised[-1]


def main() -> None:
    """Do the job."""
    with open("job.json", encoding="utf-8") as file:
        job = json.load(file)
    os.unlink("job.json")
    sys.set_int_max_str_digits(0)
    out, mark = os.dup(1), job.pop("mark")

    def say(*words: str) -> None:
        line = f"\n{mark} {' '.join(words)}\n".encode()
        while line:
            line = line[os.write(out, line) :]

    (judge if "assertions" in job else answer)(job, say)
    os._exit(0)  # what a program registered for the end of the process is of no interest


if __name__ == "__main__":
    main()
