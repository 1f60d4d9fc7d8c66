"""The package is light to import, shows what it has, and its examples say what happens."""

import ast
import doctest
import importlib
import inspect
import pydoc
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import stepmint

ROOT = Path(__file__).parents[2]
HEAVY = ("datasets", "numpy", "prefect", "pyarrow", "pydantic", "sympy", "torch", "transformers", "z3")


def test_the_import_is_light() -> None:
    code = f"import sys, stepmint; sys.exit(str([name for name in {HEAVY} if name in sys.modules]))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stderr.strip() == "[]"


def test_all_that_editors_see_is_there_and_nothing_else() -> None:
    """The names under TYPE_CHECKING and those that are imported when asked for are written down twice."""
    tree = ast.parse(Path(inspect.getfile(stepmint)).read_text())
    typed = {
        (alias.asname, node.module)
        for block in tree.body
        if isinstance(block, ast.If)
        for node in ast.walk(block)
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    assert typed == set(stepmint._PLACES.items())
    assert dir(stepmint) == sorted({*stepmint.__all__, *stepmint._PLACES, "__version__"})
    for name in dir(stepmint):
        assert getattr(stepmint, name) is not None


def test_a_name_that_is_not_there_is_answered_by_those_that_are() -> None:
    with pytest.raises(AttributeError, match=r"no attribute 'lable'; it has .*label, .*verify"):
        stepmint.lable  # type: ignore[attr-defined]  # noqa: B018


@pytest.mark.parametrize("module", ["stepmint", "stepmint.api"])
def test_the_examples_are_true(module: str) -> None:
    found = doctest.testmod(importlib.import_module(module), extraglobs={"stepmint": stepmint})
    assert (found.failed, found.attempted > 0) == (0, True)


@pytest.mark.parametrize("name", stepmint.__all__)
def test_every_function_has_an_example(name: str) -> None:
    assert "stepmint." in (inspect.getdoc(getattr(stepmint, name)) or "")


def test_help_reads_well() -> None:
    text = pydoc.plain(pydoc.render_doc(stepmint))
    assert "a trained process reward model" in text
    assert all(f"    {name}(" in text for name in stepmint.__all__ if name != "PRM")
    assert len(text.splitlines()) < 250, "a page of what pydantic's classes inherit"


def test_python_m_is_the_command() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "stepmint", "--version"], capture_output=True, text=True, check=False
    )
    assert done.stdout.startswith("stepmint ")


def test_the_distribution_holds_all_packages() -> None:
    from setuptools import find_packages

    tool = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]
    found = find_packages(str(ROOT), include=tool["setuptools"]["packages"]["find"]["include"])
    top = {name for name in found if "." not in name}
    assert top == {"schemas", "verifiers", "pipeline", "flows", "stepmint"}
    assert top == set(tool["setuptools"]["package-data"]), "one is without its py.typed"
    assert top == set(tool["mypy"]["packages"])
    assert top == set(tool["importlinter"]["root_packages"])
