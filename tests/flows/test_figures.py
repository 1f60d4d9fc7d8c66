"""How an evaluation looks: what could not be measured is said, and is no zero."""

import pytest

from flows import display


def test_never_saying_wrong_stands_in_place_of_the_f1(
    capsys: pytest.CaptureFixture[str],
) -> None:
    nothing = {"value": None, "low": None, "high": None}
    first = {
        "solutions": 9,
        "too_long": 2,
        "note": "never says wrong at 0.5",
        "acc_err": 0.0,
        "acc_cor": None,
    }
    found = {"first_error": {**first, "f1": {"value": 0.0, "low": 0.0, "high": 0.0}}, "auroc": nothing}
    display.evaluate({"evaluation": {"math.jsonl": found}})
    rows = [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]
    assert "first error / f1 never says wrong at 0.5" in rows
    assert "first error / too long 2" in rows
    assert "first error / acc cor none" in rows
    assert "auroc none" in rows
    assert not [row for row in rows if "note" in row]
