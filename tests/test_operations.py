"""Every fault that docs/operations.md promises an outcome for is injected by tests that exist."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
TEXT = (ROOT / "docs/operations.md").read_text(encoding="utf-8")
FAULTS = [
    [cell.strip() for cell in line.strip("|").split("|")]
    for line in TEXT.partition("| what breaks")[2].partition("\n\n")[0].splitlines()[2:]
]


def test_the_table_has_every_fault_that_was_asked_for() -> None:
    said = " ".join(row[0] for row in FAULTS)
    for fault in ("killed", "SIGTERM", "hangs", "429", "500, garbage", "database", "disk", "store", "clock"):
        assert fault in said


@pytest.mark.parametrize("row", FAULTS, ids=lambda row: row[0])
def test_every_fault_has_a_test(row: list[str]) -> None:
    what, outcome, tests = row
    named = re.findall(r"`(tests/[\w/]+\.py)::(test_\w+)`", tests)
    assert outcome
    assert named, f"{what}: no test is named"
    assert re.sub(r"`[^`]+`|[,\s]", "", tests) == ""
    for file, test in named:
        defined = re.search(rf"^(async )?def {test}\(", (ROOT / file).read_text(encoding="utf-8"), re.M)
        assert defined, f"{file} has no {test}"
