"""Parts that outsiders bring: `package.module:function` names a function that makes one."""

import importlib
import os
import sys
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from schemas.errors import UserError
from schemas.text import one_line

FACTORY = r"^[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*$"
"""`package.module:function`"""


def load_factory(name: str) -> Callable[..., Any]:
    """The function that `package.module:function` names. Modules of the working directory are found, too,
    after installed ones.

    UserError says what is missing: the module, the function in it, or what broke while it was imported.
    """
    module_name, _, attribute = name.partition(":")
    here = os.getcwd()
    if here not in sys.path and "" not in sys.path:
        sys.path.append(here)
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name and f"{module_name}.".startswith(f"{error.name}."):
            where = f"it is neither installed nor in {here}"
            raise UserError(f"factory {name!r}: no module {error.name}: {where}") from None
        raise UserError(f"factory {name!r}: importing {module_name} failed: {error}") from None
    except (Exception, SystemExit) as error:  # an outsider's module may raise anything
        raise UserError(f"factory {name!r}: importing {module_name} failed: {blame(error)}") from None
    found = getattr(module, attribute, None)
    if not callable(found):
        others = ", ".join(sorted(n for n, v in vars(module).items() if callable(v) and n[0] != "_"))
        raise UserError(f"factory {name!r}: {module_name} has no function {attribute!r}; it has {others}")
    function: Callable[..., Any] = found
    return function


def make(name: str, options: Mapping[str, Any]) -> Any:
    """What the factory `package.module:function` makes of the options, given by the names of its parameters.

    UserError says what is missing, or what broke and where.
    """
    function = load_factory(name)
    try:
        return function(**options)
    except UserError:
        raise
    except (Exception, SystemExit) as error:  # an outsider's function may raise anything
        raise UserError(f"factory {name!r}: {blame(error)}") from None


def blame(error: BaseException, file: str = "") -> str:
    """What an outsider's code raised, in one line with the place: the last line of `file` on the way to the
    error, where it passed there. Libraries that the code called raise on their own lines, which help nobody.
    """
    frames = traceback.extract_tb(error.__traceback__)
    frame = next((frame for frame in reversed(frames) if frame.filename == file), frames[-1])
    return f"{type(error).__name__}: {one_line(str(error), 300)} ({frame.filename}, line {frame.lineno})"


def factory_file(name: str) -> Path | None:
    """The file of a factory's module, whose content belongs to a run's identity; None for one without."""
    file = getattr(sys.modules[load_factory(name).__module__], "__file__", None)
    return Path(file) if file else None
