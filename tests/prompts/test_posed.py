"""Models see a problem's table, once."""

from pipeline.prompts.posed import posed_text
from pipeline.prompts.templates import fill, load_template
from schemas.records import Problem, Table

TABLE = Table(columns=("city", "pop | m"), rows=(("A\nB", "10"), ("C", "")))


def test_a_table_stands_before_the_text() -> None:
    assert posed_text(Problem(text="How many?", table=TABLE)) == (
        "| city | pop \\| m |\n| --- | --- |\n| A B | 10 |\n| C |  |\n\nHow many?"
    )


def test_a_table_that_the_text_shows_is_not_repeated() -> None:
    text = "city, pop | m\nA\nB, 10\nC,\nHow many?"
    assert posed_text(Problem(text=text, table=TABLE)) == text
    assert posed_text(Problem(text="no table")) == "no table"


def test_the_prompts_for_programs() -> None:
    """A completion model reads the problem's own code and nothing else; a chat model is asked for a fence."""
    code = "def f(x):\n"
    assert fill(load_template("program_completion"), problem=code) == code
    assert "```python" in fill(load_template("program"), problem=code)
