"""The other forms of a judge's reply: scores, solutions done again, thinking, and no verdict at all."""

import json
import re
from collections.abc import Mapping

from benchmarks.reply_styles import (
    ALL_ERRORS,
    FIRST_ERROR,
    PER_STEP,
    Style,
    Writer,
    Written,
    gone_through,
    headed,
)

# Scores


CRITERIA = ("Derivation", "Generality", "Accuracy", "Conditions", "Assumptions", "Coincidence")


def _criteria(w: Writer, form: str) -> str:
    others = [round(min(1.0, w.verdict.score + 0.05 * i), 2) for i in range(len(CRITERIA))]
    return "\n".join(
        form.replace("NN", str(i)).replace("CC", name).replace("SS", f"{score:g}")
        for i, (name, score) in enumerate(zip(CRITERIA, others, strict=True), 1)
    )


def _scored(form: str) -> Style:
    return lambda w: f"{w('open')}\n\n{_criteria(w, form)}\n\n{w('total', v=w.verdict.score)}"


RUBRIC: dict[str, Style] = {
    "numbered": _scored("NN. **CC**: It is mostly sound. Score: SS"),
    "headings": _scored("### NN. CC\n\nEach result is derived. **Score: SS**\n"),
    "items": _scored("- CC: SS (see paragraph 1)"),
    "table": _scored("| CC | SS |"),
    "LaTeX": _scored("\\textbf{CC}: $SS$"),
    "only the total": lambda w: w("total", v=w.verdict.score),
    "several verdicts": lambda w: f"{w('total', v=0.15)}\n\n{w('again')}\n\n{_scored('NN. CC: SS')(w)}",
    "JSON in a fence": lambda w: (
        f"```json\n{json.dumps({'review': w('open'), 'score': w.verdict.score}, indent=2)}\n```"
    ),
    "box": lambda w: f"{_criteria(w, '- CC: SS')}\n\nTotal score: $\\boxed{{{w.verdict.score}}}$",
    "goes on": lambda w: f"{_scored('- **CC**: SS')(w)}\n\n{w('after')}",
    "quotes the answer": lambda w: f"{w('quote', true=w.answer)}\n\n{_scored('NN. CC - SS')(w)}",
}


# The solution done again


def _redone(w: Writer) -> list[str]:
    """The steps, with another number in the first one that the reply finds wrong."""
    steps = list(w.verdict.steps)
    if (first := w.verdict.first) >= 0:
        steps[first] = re.sub(r"\d+", lambda number: str(int(number[0]) + 1), steps[first], count=1)
    return steps


REDO: dict[str, Style] = {
    "as asked": lambda w: "\n".join(_redone(w)),
    "numbered": lambda w: "\n".join(f"{i}. {step}" for i, step in enumerate(_redone(w), 1)),
    "headings": lambda w: "\n".join(f"**Step {i}:** {step}" for i, step in enumerate(_redone(w), 1)),
    "items": lambda w: "\n".join(f"- {step}" for step in _redone(w)),
    "blank lines": lambda w: "\n\n".join(_redone(w)),
    "fence": lambda w: "```\n" + "\n".join(_redone(w)) + "\n```",
    "opening": lambda w: w("redo_open") + "\n".join(_redone(w)),
    "goes on": lambda w: "\n".join(_redone(w)) + f"\n\n{w('after')}",
}


# Thinking


def _aloud(style: Style) -> Style:
    """The reply with its thoughts in front, as a model without a reasoning parser writes them."""

    def thinking(w: Writer) -> Written:
        said = style(w)
        text = said if isinstance(said, str) else said.text
        return Written(f"<think>\n{_thought(w)}\n</think>\n\n{text}")

    return thinking


def _apart(style: Style) -> Style:
    """The reply with its thoughts beside it, as servers with a reasoning parser send them."""

    def thinking(w: Writer) -> Written:
        said = style(w)
        return Written(said if isinstance(said, str) else said.text, thought=_thought(w))

    return thinking


def _thought(w: Writer) -> str:
    drafts = [w.any("think", k=w.rng.randrange(len(w.verdict.steps))) for _ in range(3)]
    return "\n\n".join(drafts)


def _with_thinking(styles: Mapping[str, Style], plain: str) -> Mapping[str, Style]:
    return {**styles, "inline thinking": _aloud(styles[plain]), "thinking apart": _apart(styles[plain])}


STYLES: Mapping[str, Mapping[str, Style]] = {
    "first_error": _with_thinking(FIRST_ERROR, "box after headings"),
    "per_step": _with_thinking(PER_STEP, "verdicts by headings"),
    "all_errors": _with_thinking(ALL_ERRORS, "box after headings"),
    "rubric": _with_thinking(RUBRIC, "numbered"),
    "redo": _with_thinking(REDO, "as asked"),
}


# No verdict


def _solves(w: Writer) -> str:
    return f"Let me solve the problem.\n\n1 + 1 = 2.\n\nThe answer is \\boxed{{{w.answer}}}."


NO_VERDICT: Mapping[str, Style] = {
    "refusal": lambda w: w("refusal"),
    "cut off": lambda w: Written(f"{w('open')}\n\n{gone_through(w, headed)}", stopped="length"),
    "cut off while thinking": lambda w: Written(f"<think>\n{_thought(w)}", stopped="length"),
    "only thoughts": lambda w: Written("", thought=_thought(w)),
    "solves the problem": _solves,
}
