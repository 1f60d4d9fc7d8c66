"""Loads the parts that users write themselves: `package.module:function` names a function that makes one."""

import importlib
import inspect
import os
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from schemas.errors import BackendError, UserError
from schemas.text import one_line

FACTORY = r"^[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*$"
"""`package.module:function`"""
_NAMED = 20
"""Names of a module that a message lists."""


def load_factory(name: str) -> Callable[..., Any]:
    """The function that `package.module:function` names. Modules of the working directory are found, too,
    after installed ones.

    UserError says what is missing: the module, the function in it, or what broke while it was imported.
    """
    module_name, _, attribute = name.partition(":")
    # The `stepmint` command has no working directory in its path, as `python -m` has. It goes last, so that a
    # file called `random.py` there does not replace a library's module.
    here = os.getcwd()
    if here not in sys.path and "" not in sys.path:
        sys.path.append(here)
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        # Only if this module or a package around it is missing; else the module itself imports something
        # missing.
        if error.name and f"{module_name}.".startswith(f"{error.name}."):
            where = f"it is neither installed nor in {here}"
            raise UserError(f"factory {name!r}: no module {error.name}: {where}") from None
        raise UserError(f"factory {name!r}: importing {module_name} failed: {error}") from None
    except (Exception, SystemExit) as error:  # an outsider's module may raise anything
        raise UserError(f"factory {name!r}: importing {module_name} failed: {blame(error)}") from None
    found = getattr(module, attribute, None)
    if not callable(found):
        others = sorted(n for n, v in vars(module).items() if callable(v) and n[0] != "_")
        own = [n for n in others if getattr(vars(module)[n], "__module__", "") == module_name]
        near = get_close_matches(attribute, own, n=1)
        has = f"did you mean {near[0]!r}?" if near else f"it has {', '.join((own or others)[:_NAMED])}"
        raise UserError(f"factory {name!r}: {module_name} has no function {attribute!r}; {has}")
    function: Callable[..., Any] = found
    return function


def make(name: str, options: Mapping[str, Any]) -> Any:
    """What the factory `package.module:function` makes of the options, given by the names of its parameters.

    UserError says what is missing, or what broke and where.
    """
    function = load_factory(name)
    _check_options(name, function, options)
    with outsiders_code(f"factory {name!r}", code_file(function), UserError):
        return function(**options)


def _check_options(name: str, function: Callable[..., Any], options: Mapping[str, Any]) -> None:
    """UserError where a function cannot be called with these options: its own mistakes look different."""
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):  # some that are written in C tell none
        return
    try:
        signature.bind(**options)
    except TypeError as error:
        takes = ", ".join(map(str, signature.parameters.values())) or "none"
        raise UserError(f"factory {name!r}: options: {error}; it takes {takes}") from None


def refuse_no_object(called: str, made: object) -> None:
    """UserError for the two slips by which a factory makes nothing: no `return`, and a class returned as it
    is, whose methods would be called without an object."""
    if made is None:
        raise UserError(f"{called}: returned None: is a `return` missing?")
    if isinstance(made, type):
        name = made.__name__
        raise UserError(f"{called}: returned the class {name}: return an object of it, {name}()")


def file_of(made: object) -> str:
    """The file that an object's class stands in; empty for one without."""
    return getattr(sys.modules.get(type(made).__module__), "__file__", None) or ""


def code_file(function: Callable[..., Any]) -> str:
    """The file that a function's code stands in; empty for one without."""
    file: str = getattr(getattr(function, "__code__", None), "co_filename", "")
    return file


@contextmanager
def outsiders_code(
    called: str, file: str, as_error: type[UserError | BackendError] = BackendError
) -> Iterator[None]:
    """Turns whatever an outsider's code raises in the block into one line of `as_error`, which begins with
    `called` and ends with the place in `file`. A UserError passes, and so does an `as_error`."""
    try:
        yield
    except (UserError, as_error):
        raise
    except (Exception, SystemExit) as error:  # an outsider's code may raise anything
        raise as_error(f"{called}: {blame(error, file)}") from error


def blame(error: BaseException, file: str = "") -> str:
    """What a user's code raised, in one line with its place.

    The place is the last line of `file` in the traceback: the lines of libraries that the code called do not
    help its author, nor do ours where a function cannot be called at all. Without a `file` it is the line
    that raised.
    """
    frames = traceback.extract_tb(error.__traceback__)
    passed = [frame for frame in frames if not file or frame.filename == file]
    said = f"{type(error).__name__}: {one_line(_said(error), 300)}"
    return f"{said} ({passed[-1].filename}, line {passed[-1].lineno})" if passed else said


def _said(error: BaseException) -> str:
    """Pydantic takes four lines and an address; `Vote: p: Input should be less than or equal to 1 (it is 2)`
    says it, too."""
    if not isinstance(error, ValidationError):
        return str(error)
    first = error.errors()[0]
    where = ".".join(map(str, first["loc"]))
    return f"{error.title}: {where}: {first['msg']} (it is {one_line(repr(first['input']), 100)})"


def factory_file(name: str) -> Path | None:
    """The file of a factory's module, whose content belongs to a run's identity; None for one without."""
    file = getattr(sys.modules[load_factory(name).__module__], "__file__", None)
    # Built-in modules have no file; the digest of a run then holds the factory's name only.
    return Path(file) if file else None
