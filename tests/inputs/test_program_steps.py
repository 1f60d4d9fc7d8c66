"""Programs are split at their statements, and the text before a step is one to go on with."""

import ast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.inputs.program_steps import program_steps, steps_of
from pipeline.inputs.segment import prefix_of
from schemas.records import Problem, UnitTest

FENCED = '''Here it is:

```python
import math

def f(x,
      y):
    """Doc.

    More."""
    # first
    a = [
        1,
    ]
    if x:
        return 1
    elif y:
        return 2
    else:
        z = """
text
"""
    def inner(q):
        w = q
        return w
    "a".join(z)
    return a

print(f(1, 2))
```
It works.'''


@pytest.mark.parametrize(
    ("text", "steps"),
    [
        (
            FENCED,
            [
                "Here it is:",
                '```python\nimport math\n\ndef f(x,\n      y):\n    """Doc.\n\n    More."""\n    # first\n'
                "    a = [\n        1,\n    ]",
                "    if x:\n        return 1\n    elif y:\n        return 2\n    else:\n"
                '        z = """\ntext\n"""',
                "    def inner(q):\n        w = q\n        return w",
                '    "a".join(z)',
                "    return a",
                "print(f(1, 2))\n```",
                "It works.",
            ],
        ),
        (
            "    x = 1\n    if x:\n        x = 2\n\n    return x\n",
            ["    x = 1", "    if x:\n        x = 2", "    return x"],
        ),
        ("    return 1\n\ndef g():\n    return 2\n", ["    return 1", "def g():\n    return 2"]),
        (
            "class A:\n    def m(self):\n        a = 1\n        return a\n\n    def n(self): return 2\n"
            "b = A()\n# end",
            [
                "class A:\n    def m(self):\n        a = 1",
                "        return a",
                "    def n(self): return 2",
                "b = A()\n# end",
            ],
        ),
        ("def f(x): return x", ["def f(x): return x"]),
        ("@cache\ndef f(x):\n    # why\n    return x", ["@cache\ndef f(x):\n    # why\n    return x"]),
        ("```bash\nls\nls\n```\nSo.", ["```bash\nls\nls\n```", "So."]),
        ("First.\nSecond.", ["First.", "Second."]),
        ("# only a comment", ["# only a comment"]),
        ("    x = (1 +", ["    x = (1 +"]),
        ("", []),
    ],
)
def test_steps(text: str, steps: list[str]) -> None:
    found = program_steps(text)
    assert [step.text for step in found] == steps
    assert all(text[step.start : step.end] == step.text for step in found)


def test_every_prefix_of_a_program_is_whole_statements() -> None:
    """Its text parses, so that a completion may begin with a new statement."""
    body = FENCED.partition("```python\n")[2].partition("```")[0]
    for index in range(1, len(steps := program_steps(body))):
        ast.parse(prefix_of(body, steps, index))


def test_code_problems_are_split_so_unless_another_separator_is_chosen() -> None:
    tested = Problem(text="p", tests=(UnitTest(call="f()", expected="1"),))
    text = "    if x:\n        y = 1\n    return y"
    assert len(steps_of(tested, text)) == 2
    assert len(steps_of(tested, text, "\n\n")) == 1
    assert len(steps_of(Problem(text="p", answer="1"), text)) == 3


LINES = st.sampled_from(
    ["def f(x):", "    x = 1", "        y = [", "]", "    '''", "```python", "```", "", "  ", "# c", "else:",
     "class A:", "import re", "@d", "    return '", "So it is.", "\tz = 2", "a = {", "}"]
)  # fmt: skip


@given(st.lists(LINES, max_size=25))
def test_spans_reproduce_any_text(lines: list[str]) -> None:
    text, end = "\n".join(lines), 0
    for step in program_steps(text):
        assert text[step.start : step.end] == step.text
        assert step.text.strip()
        assert not text[end : step.start].strip()  # nothing but blank lines is left out
        end = step.end
    assert not text[end:].strip()
