"""Prints how labels agree with gold labels: a line for every source alone, the consensus, and fusion."""

from collections.abc import Mapping
from typing import Any

from flows.printing import Result, add_row, new_table, say, show_item, value_of

_COLUMNS: Mapping[str, str] = {
    "decided": "decided",
    "F1 [95%]": "f1",
    "label F1": "label_f1",
    "P": "step_precision",
    "R": "step_recall",
    "ECE": "ece",
}
_LEGEND = (
    "F1: harmonic mean of the wrong solutions whose first error is named exactly and the right ones called "
    "right; label F1: of errors named at their very step; P, R: precision and recall of steps called wrong; "
    "what is left open counts against; none: there was nothing to count (docs/fidelity.md)"
)


def table(found: Result) -> None:
    """Print the table of all rows, and F1 by dataset where there are several."""
    shown = new_table("source", *_COLUMNS, right=len(_COLUMNS))
    for name, arm in found["arms"].items():
        cells = (_cell(arm[key], ranged=key == "f1") for key in _COLUMNS.values())
        add_row(shown, name, *cells)
    say(f"labels against {' + '.join(found['by'])}:")
    show_item(shown)
    without = f"; {found['without']:,} solutions without gold labels" if found["without"] else ""
    known = f"{found['solutions']:,} solutions of {found['problems']:,} problems"
    known += f", {found['wrong']:,} of them wrong"
    # PRM800K's rows that somebody gave up on: steps with labels, and no word on those that would follow.
    if unknown := found["solutions"] - found["wrong"] - found["right"]:
        known += f", {unknown:,} without a known first error"
    steps = f"{found['wrong_steps']:,} of {found['steps']:,} labelled steps wrong"
    say(f"{known}; {steps}{without}")
    say(_LEGEND)
    for part, figures in found.get("by_dataset", {}).items():
        shown = new_table(f"{part}, {figures['solutions']:,} solutions", "decided", "F1 [95%]", right=2)
        for name, arm in figures["arms"].items():
            add_row(shown, name, _cell(arm["decided"]), _cell(arm["f1"], ranged=True))
        show_item(shown)


def _cell(figure: Any, *, ranged: bool = False) -> str:
    """A count, or a figure with two digits. Only F1 has its interval here: all of them are in the JSON."""
    if not isinstance(figure, dict):
        return value_of(figure)
    if figure["value"] is None:
        return "none"
    ends = (figure["low"], figure["high"])
    known = ranged and None not in ends
    return f"{figure['value']:.2f}" + (f" [{ends[0]:.2f}, {ends[1]:.2f}]" if known else "")
