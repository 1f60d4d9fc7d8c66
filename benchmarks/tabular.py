"""`verifiers.tables.lookups`: free English about tables, against people's labels."""

from collections import Counter
from typing import Any

from benchmarks.corpora import rows
from schemas.records import Table
from verifiers.tables.lookups import check_sentence, sentences


def tables() -> dict[str, Any]:
    """Verdicts on TabFact's statements that agree with its labels, in per cent; most statements get none.

    The statements come with their verbs' forms cut off, so `be` and `have` are written `is` and `has`.
    `details` counts them, and the sentences of TabMWP's own solutions, of which none should fail.
    """
    found: Counter[str] = Counter()
    for row in rows("tabfact/val_sample.jsonl"):
        # TabFact parts cells by `#`.
        lines = [line.split("#") for line in row["table"].split("\r\n") if line]
        table = Table(columns=tuple(lines[0]), rows=tuple(map(tuple, lines[1:])))
        for statement, label in zip(row["statements"], row["labels"], strict=True):
            checked = check_sentence(statement.replace(" be ", " is ").replace(" have ", " has "), table)
            found[f"{'true' if label else 'untrue'}, {checked.verdict if checked else 'not read'}"] += 1
    solutions: Counter[str] = Counter()
    for row in rows("tabmwp/problems_dev1k.jsonl.gz"):
        columns = row["table_for_pd"]
        table = Table(columns=tuple(columns), rows=tuple(zip(*columns.values(), strict=True)))
        for sentence in sentences(row["solution"]):
            checked = check_sentence(sentence, table, f"{row['question']}\n{row['solution']}")
            solutions[checked.verdict if checked else "not read"] += 1
    right, wrong = (
        found[f"true, {one}"] + found[f"untrue, {other}"]
        for one, other in (("holds", "fails"), ("fails", "holds"))
    )
    return {"value": 100 * right / max(1, right + wrong), "unit": "% of verdicts", "baseline": 100.0,
            "n": right + wrong, "details": {"tabfact": dict(found), "tabmwp": dict(solutions)}}  # fmt: skip
