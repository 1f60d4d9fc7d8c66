"""Replies to a judge's prompt as chat models write them: formats here, wording in `reply_phrases`.

A style writes what it is told to say about the paragraphs of a solution, for each of the forms that prompts
ask for. Beside the styles with a verdict there are replies without one, which must abstain.
"""

import json
import random
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from benchmarks.reply_phrases import PARTS, Phrases

EQUATION = re.compile(r"(\d+) ([-+*]) (\d+) = (\d+)")
NO_ERROR = -1


class Written(NamedTuple):
    """A reply: its text, what the server's parser took for thinking, and the reason why it ended."""

    text: str
    thought: str = ""
    stopped: str = "stop"


@dataclass(frozen=True)
class Verdict:
    """What a reply is to say about a solution."""

    steps: tuple[str, ...]
    first: int
    """The first wrong step that it names, -1 for none."""
    wrong: tuple[int, ...]
    """All wrong steps that it names, where it is asked for all."""
    score: float


class Writer:
    """Chooses phrases of one part, and fills them in for one reply."""

    def __init__(self, part: str, verdict: Verdict, rng: random.Random) -> None:
        self.phrases: Phrases = PARTS[part]
        self.verdict, self.rng = verdict, rng
        self.said = dict[str, str]()

    def __call__(self, name: str, **values: object) -> str:
        """A phrase, one and the same in the whole reply: a model keeps to its headings."""
        if name not in self.said:
            self.said[name] = self.rng.choice(self.phrases[name])
        return _filled(self.said[name], values)

    def any(self, name: str, **values: object) -> str:
        """A phrase, another one each time."""
        return _filled(self.rng.choice(self.phrases[name]), values)

    def comment(self, step: int, *, wrong: bool, latex: bool = False) -> str:
        """What is said of a step, with its calculation where it has one."""
        found = EQUATION.search(self.verdict.steps[step])
        name = "wrong" if wrong else "right"
        if not found:
            return self.any(f"{name}_plain")
        calc = found[0].replace("*", r"\times") if latex else found[0]
        return self.any(name, calc=f"\\[ {calc} \\]" if latex else calc, true=int(found[4]) + 1)

    @property
    def answer(self) -> int:
        """The last number of the solution."""
        return int(re.findall(r"\d+", self.verdict.steps[-1])[-1])

    def words(self, *, wrong: bool) -> str:
        """This reply's words for a right or a wrong step."""
        return self("words").split("/")[wrong]


def _filled(phrase: str, values: Mapping[str, object]) -> str:
    for name, value in values.items():
        phrase = phrase.replace(f"{{{name}}}", str(value))
    return phrase


Style = Callable[[Writer], str | Written]
Layout = Callable[[Writer, int, str], str]
"""Writes a step's number before what is said of it."""


# The paragraphs, one by one


def headed(w: Writer, step: int, said: str) -> str:
    """A step under a heading with its number."""
    return f"{w('heading', k=step)}{said}\n"


def _item(w: Writer, step: int, said: str) -> str:
    return f"{w('item', k=step)}{said}"


def _numbered(_: Writer, step: int, said: str) -> str:
    # A list of one's own counts from 1 while the paragraphs count from 0: only the name in it is a number of
    # the solution.
    return f"{step + 1}. **Paragraph {step}**: {said}"


def _of_llama(w: Writer, step: int, said: str) -> str:
    return f"{w('step_heading', j=step + 1, k=step)}{said}\n"


def _prose(_: Writer, step: int, said: str) -> str:
    return f"In paragraph {step}: {said}"


def gone_through(
    w: Writer, layout: Layout, *, latex: bool = False, verdict: bool = False, whole: bool = False
) -> str:
    """What a reply says of each paragraph up to the first wrong one, or of the whole solution."""
    n, wrong = len(w.verdict.steps), {w.verdict.first} | (set(w.verdict.wrong) if whole else set())
    last = n - 1 if whole or w.verdict.first < 0 else w.verdict.first
    parts = []
    for step in range(last + 1):
        said = w.comment(step, wrong=step in wrong, latex=latex)
        if verdict:
            said += f"\n\n{w('verdict', k=step, v=w.words(wrong=step in wrong))}"
        parts.append(layout(w, step, said))
    return "\n".join(parts)


LAYOUTS: Mapping[str, Layout] = {
    "headings": headed,
    "items": _item,
    "numbered": _numbered,
    "steps": _of_llama,
    "prose": _prose,
}


# The first wrong paragraph


def _told(w: Writer) -> str:
    first = w.verdict.first
    return w.any("none") if first < 0 else w.any("some", k=first)


def _boxed(w: Writer) -> str:
    return w.any("box", v=w.verdict.first)


def _reviewed(layout: Layout, *, latex: bool = False) -> Style:
    def style(w: Writer) -> str:
        return f"{w('open')}\n\n{gone_through(w, layout, latex=latex)}\n\n{_told(w)}\n\n{_boxed(w)}"

    return style


def _other(w: Writer) -> int:
    """A step that a reply names before it changes its mind."""
    return w.rng.choice([i for i in range(len(w.verdict.steps)) if i != w.verdict.first])


def _text_box(w: Writer) -> str:
    first = w.verdict.first
    box = w("none_box") if first < 0 else w("text_box", v=first)
    return f"{gone_through(w, _item)}\n\n{_told(w)}\n\n{box}"


def _twice(w: Writer) -> str:
    drafted = _other(w)
    return (
        f"{w('open')}\n\n{w.any('some', k=drafted)}\n\n{w.any('box', v=drafted)}\n\n{w('again')}\n\n"
        f"{gone_through(w, headed)}\n\n{_told(w)}\n\n{_boxed(w)}"
    )


def _json_fence(w: Writer) -> str:
    said = {"review": gone_through(w, _prose), w("json"): w.verdict.first}
    return f"```json\n{json.dumps(said, indent=2)}\n```"


def _table(w: Writer) -> str:
    last = w.verdict.first if w.verdict.first >= 0 else len(w.verdict.steps) - 1
    rows = (f"| {step} | {w.comment(step, wrong=step == w.verdict.first)} |" for step in range(last + 1))
    return "| Paragraph | Check |\n| --- | --- |\n" + "\n".join(rows) + f"\n\n{_told(w)}\n\n{_boxed(w)}"


def _marks(w: Writer) -> str:
    shown = gone_through(w, lambda _, step, said: f"\u25b8 Paragraph\u00a0{step} \u2192 {said}")
    box = _boxed(w).replace("-1", "\u22121")
    return f"\u2728 {shown}\n\n\u27a1\ufe0f {_told(w)}\n\n\u2705 {box}"


def _foreign(w: Writer) -> str:
    return f"{_calc(w, 'foreign')}\n\n{_boxed(w)}"


def _calc(w: Writer, name: str) -> str:
    found = [match[0] for step in w.verdict.steps if (match := EQUATION.search(step))]
    return w(name, calc=found[0] if found else "1 + 1 = 2")


def _last_line(w: Writer) -> str:
    first = w.verdict.first
    said = w("last_none") if first < 0 else w("last", v=first)
    return f"{gone_through(w, headed)}\n\n{_told(w)}\n\n{said}"


FIRST_ERROR: dict[str, Style] = {
    **{f"box after {name}": _reviewed(layout) for name, layout in LAYOUTS.items()},
    "LaTeX": _reviewed(headed, latex=True),
    "free text": lambda w: f"{gone_through(w, _prose)} {_told(w)} {_boxed(w)}",
    "text in the box": _text_box,
    "only a sentence": lambda w: f"{gone_through(w, _prose)}\n\n{_told(w)}",
    "several verdicts": _twice,
    "JSON in a fence": _json_fence,
    "table": _table,
    "non-ASCII marks": _marks,
    "another language": _foreign,
    "last line": _last_line,
    "quotes the answer": lambda w: (
        f"{w('quote', true=w.answer)}\n\n{gone_through(w, headed)}\n\n{_told(w)}\n\n{_boxed(w)}"
    ),
    "goes on": lambda w: (
        f"{gone_through(w, headed)}\n\n{_told(w)}\n\n{_boxed(w)}\n\n"
        f"{w('after') if w.rng.random() < 0.5 or w.verdict.first < 0 else w('corrected', true=w.answer + 1)}"
    ),
}


# A verdict a paragraph


def _verdicts(layout: Layout, *, latex: bool = False, whole: bool = False) -> Style:
    def style(w: Writer) -> str:
        return f"{w('open')}\n\n{gone_through(w, layout, latex=latex, verdict=True, whole=whole)}"

    return style


def _per_step_twice(w: Writer) -> str:
    step = w.rng.randrange(len(w.verdict.steps) if w.verdict.first < 0 else w.verdict.first + 1)
    line = f"Paragraph {step}: {w.words(wrong=step != w.verdict.first)}"
    right = f"Paragraph {step}: {w.words(wrong=step == w.verdict.first)}"
    lines = []
    for i in range(len(w.verdict.steps) if w.verdict.first < 0 else w.verdict.first + 1):
        said = f"Paragraph {i}: {w.words(wrong=i == w.verdict.first)}"
        lines.append(f"{line}\n\n{w('again')}\n\n{right}" if i == step else said)
    return f"{w('open')}\n\n" + "\n\n".join(lines)


def _per_step_json(w: Writer) -> str:
    last = w.verdict.first if w.verdict.first >= 0 else len(w.verdict.steps) - 1
    steps = [
        {
            "paragraph": i,
            "analysis": w.comment(i, wrong=i == w.verdict.first),
            "verdict": w.words(wrong=i == w.verdict.first),
        }
        for i in range(last + 1)
    ]
    return f"```json\n{json.dumps({'steps': steps}, indent=2)}\n```"


def _per_step_table(w: Writer) -> str:
    last = w.verdict.first if w.verdict.first >= 0 else len(w.verdict.steps) - 1
    rows = (f"| {i} | {w.words(wrong=i == w.verdict.first)} |" for i in range(last + 1))
    return "| Paragraph | Verdict |\n|---|---|\n" + "\n".join(rows)


def _per_step_signs(w: Writer) -> str:
    last = w.verdict.first if w.verdict.first >= 0 else len(w.verdict.steps) - 1
    signs = ("\u274c", "\u2705") if w("words")[0].islower() else ("\u2717", "\u2713")
    return "\n".join(f"Paragraph {i}: {signs[i != w.verdict.first]}" for i in range(last + 1))


PER_STEP: dict[str, Style] = {
    **{f"verdicts by {name}": _verdicts(layout) for name, layout in LAYOUTS.items()},
    "LaTeX": _verdicts(headed, latex=True),
    "all paragraphs": _verdicts(headed, whole=True),
    "only the lines": lambda w: "\n".join(
        f"Paragraph {i}: {w.words(wrong=i == w.verdict.first)}"
        for i in range(len(w.verdict.steps) if w.verdict.first < 0 else w.verdict.first + 1)
    ),
    "and a sentence": lambda w: f"{_verdicts(headed)(w)}\n\n{_told(w)}",
    "several verdicts": _per_step_twice,
    "JSON in a fence": _per_step_json,
    "table": _per_step_table,
    "non-ASCII marks": _per_step_signs,
    "another language": lambda w: f"{_calc(w, 'foreign')}\n\n{PER_STEP['only the lines'](w)}",
    "goes on": lambda w: f"{_verdicts(headed)(w)}\n\n{w('after')}",
}


# All wrong paragraphs


def listed(w: Writer, between: str = ", ", none: str = "none") -> str:
    """The numbers of all wrong paragraphs."""
    return between.join(map(str, w.verdict.wrong)) or none


def _all_told(w: Writer) -> str:
    if not w.verdict.wrong:
        return w.any("none")
    names = [f"paragraph {i}" for i in w.verdict.wrong]
    return w.any("many", list=" and ".join([", ".join(names[:-1]), names[-1]] if names[1:] else names))


def _all_reviewed(layout: Layout, *, latex: bool = False) -> Style:
    def style(w: Writer) -> str:
        through = gone_through(w, layout, latex=latex, whole=True)
        return f"{w('open')}\n\n{through}\n\n{_all_told(w)}\n\n{w.any('box', v=listed(w))}"

    return style


ALL_ERRORS: dict[str, Style] = {
    **{f"box after {name}": _all_reviewed(layout) for name, layout in LAYOUTS.items()},
    "LaTeX": _all_reviewed(headed, latex=True),
    "text in the box": lambda w: w.any("box", v=f"\\text{{{listed(w, ' and ')}}}"),
    "set": lambda w: w.any("box", v=f"\\{{{listed(w, none='')}\\}}"),
    "several verdicts": lambda w: (
        f"{w.any('box', v=_other(w))}\n\n{w('again')}\n\n{_all_reviewed(headed)(w)}"
    ),
    "JSON in a fence": lambda w: (
        f"```json\n{json.dumps({'review': _all_told(w), 'errors': [*w.verdict.wrong]})}\n```"
    ),
    "non-ASCII marks": lambda w: f"\u2728 {_all_told(w)}\n\n\u2705 {w.any('box', v=listed(w))}",
    "another language": lambda w: f"{_calc(w, 'foreign')}\n\n{w.any('box', v=listed(w))}",
    "last line": lambda w: f"{gone_through(w, headed, whole=True)}\n\n{w('line', list=listed(w))}",
    "quotes the answer": lambda w: f"{w('quote', true=w.answer)}\n\n{_all_reviewed(headed)(w)}",
    "goes on": lambda w: f"{_all_reviewed(headed)(w)}\n\n{w('after')}",
}
