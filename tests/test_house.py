"""How the house is counted, and that its planted faults can still be planted."""

from pathlib import Path

import pytest

from benchmarks.house import count, measured
from benchmarks.mutations import MUTATIONS, OF_THE_ISSUE, AnchorGone, swap

ROOT = Path(__file__).parents[1]
SOURCE = '''"""A module.

Two lines more.
"""

# why, and
# why not
LIMIT = 3  # beside code
"""Below a constant."""


@decorated
def first(x):  # noqa: ARG001
    """Says what."""

    def inner():
        return """a text
        of two lines"""

    return inner


class Thing:
    async def second(self): ...
'''


def test_lines_are_counted_by_what_stands_on_them() -> None:
    found = count(SOURCE, "a.py")
    assert (found.lines, found.code, found.comments, found.docstrings) == (24, 9, 3, 6)
    assert found.functions == {"first:13": 7, "inner:16": 3, "second:24": 1}


def test_rooms_and_their_tests_are_told_by_their_folders(tmp_path: Path) -> None:
    for path, text in {
        "schemas/a.py": "x = 1\n",
        "pipeline/inputs/rows.py": "x = 1\ny = 2\n",
        "pipeline/inputs/deeper/more.py": "z = 3\n" + "def f():\n" + "    pass\n" * 51,
        "tests/inputs/deeper/test_more.py": "a = 1\nb = 2\nc = 3\n",
        "tests/schemas/test_a.py": "a = 1\n",
        "tests/test_all.py": "a = 1\n",
    }.items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(text)
    found = measured(tmp_path)
    assert (found["all"]["modules"], found["all"]["tests"]) == (3, 5)
    assert found["functions_over"] == ["pipeline/inputs/deeper/more.py:f:2 (52)"]
    assert {room: (r["modules"], r["tests"]) for room, r in found["rooms"].items()} == {
        "pipeline/inputs": (2, 3),
        "schemas": (1, 1),
    }


@pytest.mark.parametrize("name", MUTATIONS)
def test_a_fault_can_be_planted(name: str) -> None:
    """`python -m benchmarks house.mutations` then says which test notices it."""
    fault = MUTATIONS[name]
    source = (ROOT / fault.file).read_text(encoding="utf-8")
    changed = fault.change(source)
    assert changed != source
    compile(changed, fault.file, "exec")
    assert all((ROOT / test.partition("::")[0]).exists() for test in fault.tests)


def test_a_fault_whose_place_is_gone_is_no_fault() -> None:
    assert len(OF_THE_ISSUE) == 5
    for source in ("", "here here"):
        with pytest.raises(AnchorGone, match="instead of once"):
            swap("here", "there")(source)
