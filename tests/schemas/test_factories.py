"""Factories of outsiders are found, and what is wrong with one is said in a line."""

import sys
from pathlib import Path

import pytest

from schemas.errors import UserError
from schemas.factories import factory_file, load_factory


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> str:
    """A module in the working directory, with a name of its own."""
    name = f"outside_{abs(hash(request.node.name))}"
    (tmp_path / f"{name}.py").write_text("def make():\n    return 3\nnumber = 4\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [entry for entry in sys.path if entry])
    return name


def test_a_module_beside_the_run_file_is_found(module: str, tmp_path: Path) -> None:
    assert load_factory(f"{module}:make")() == 3
    assert factory_file(f"{module}:make") == tmp_path / f"{module}.py"


@pytest.mark.parametrize(
    ("text", "spec", "said"),
    [
        ("", "NAME:gone", "has no function 'gone'"),
        ("import nowhere_at_all", "NAME:make", "failed: No module named 'nowhere_at_all'"),
        ("1 / 0", "NAME:make", "ZeroDivisionError: division by zero"),
        ("raise SystemExit(2)", "NAME:make", "SystemExit"),
        ("number = 4", "NAME:number", "has no function 'number'"),
        ("", "no_such_package.sub:make", "no module no_such_package: it is neither installed nor in"),
    ],
)
def test_what_is_wrong_is_said(module: str, text: str, spec: str, said: str, tmp_path: Path) -> None:
    (tmp_path / f"{module}.py").write_text(text)
    with pytest.raises(UserError, match=f"factory '{spec.replace('NAME', module)}': .*{said}"):
        load_factory(spec.replace("NAME", module))
