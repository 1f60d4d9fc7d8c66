"""The text of a problem as a model is shown it: with its table, where it has one."""

from schemas.records import Problem, Table


def posed_text(problem: Problem) -> str:
    """What stands for `{problem}` in a prompt: the problem's text and, where that does not show the problem's
    table itself, before it the table in Markdown."""
    if problem.table is None or _is_shown(problem.table, problem.text):
        return problem.text
    return f"{markdown(problem.table)}\n\n{problem.text}"


def _is_shown(table: Table, text: str) -> bool:
    """Whether every cell stands in the text: then whoever wrote it has put the table there."""
    return all(cell.strip() in text for row in (table.columns, *table.rows) for cell in row)


def markdown(table: Table) -> str:
    """A table in Markdown, all of its rows: a solution may ask about any."""
    rows = ["| " + " | ".join(map(_cell, row)) + " |" for row in (table.columns, *table.rows)]
    return "\n".join([rows[0], "|" + " --- |" * len(table.columns), *rows[1:]])


def _cell(text: str) -> str:
    # A line end or a bar inside a cell would begin another row or cell.
    return " ".join(text.split()).replace("|", "\\|")
