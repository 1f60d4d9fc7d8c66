r"""Prompts: text files with `{variables}`, and a few lines in front that say how a judge's reply is read.

    ---
    reads: first_error
    shows: paragraphs
    counts_from: 0
    ---
    Problem: {problem}
    ...

A prompt without such lines asks for a solution. Only `{word}` is a variable: other braces stay, those behind
a LaTeX command (`\boxed{answer}`) too, and `{{word}}` is the text `{word}`. See docs/prompts.md.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Literal, get_args

from schemas.config import JudgeConfig, RunConfig
from schemas.errors import UserError

PROMPTS = Path(__file__).parent
Reads = Literal["first_error", "per_step", "redo"]
Shows = Literal["text", "paragraphs"]
_MOST = 1_000_000  # characters; a longer file is not a prompt, but a wrong path
_FENCE = "---"
_KEY = re.compile(r"([A-Za-z_]+)\s*[:=]\s*(.*)")  # `reads: first_error`, or TOML's `reads = "first_error"`
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
# `{{word}}`, which stands for the text `{word}`, or the variable `{word}`. `{1, 2}` and `{x+1}` are neither.
_VARIABLE = re.compile(r"\{\{([A-Za-z_]\w*)\}\}|\{([A-Za-z_]\w*)\}")
_ALMOST = re.compile(
    r"(?<![\\{])\{[A-Za-z_]\w*(?:![rsa]|\.[A-Za-z_]\w*|\[\w+\])\}|\{\{\s+[A-Za-z_]\w*\s+\}\}"
)
"""A variable as other template languages write it: `{problem!r}`, `{row.problem}`, `{{ problem }}`. Nothing
fills these, so they are refused instead of being sent to a model."""
_LATEX = re.compile(r"(?:\\[A-Za-z]+\*?|[\^_])(?:\[[^\[\]]*\]|\{[^{}]*\})*$")
"""The text before a brace that belongs to LaTeX: a command, `^` or `_`, with the arguments it already has, as
in `\\frac{a}` before `{b}`."""
_NEEDED = """begin the file with the lines
---
reads: first_error
shows: paragraphs
counts_from: 0
---
(see docs/prompts.md)"""


@dataclass(frozen=True)
class JudgePrompt:
    """How a judge is asked about a solution, and how its reply is read."""

    name: str
    """Part of the source of its votes, `judge:NAME`."""
    text: str
    reads: Reads
    """`first_error`: the reply names the first wrong step or says that there is none; `per_step`: a verdict
    on every step up to the first wrong one; `redo`: the solution done again, to be compared."""
    shows: Shows
    """`text`: the solution as written; `paragraphs`: each step in a numbered tag."""
    counts_from: int
    """The number of the first step, 0 or 1, in the tags and in the reply."""


def load_template(name: str) -> str:
    """The text of a solving prompt, by its name under `pipeline/prompts` or by path.

    Raises UserError where there is none, where it is a judge's, or where a variable is missing or unknown.
    """
    return solving_text(name, prompt_text(name))


def load_judge(name: str) -> JudgePrompt:
    """A judge's prompt, by its name or by path. UserError as for `load_template`, and where the file does not
    say how replies are read."""
    return judge_prompt(name, prompt_text(name))


def prompt_text(name: str) -> str:
    """The whole file of a prompt, with the lines in front. A run's identity has its digest."""
    path = prompt_file(name)
    try:
        with path.open(encoding="utf-8-sig") as file:  # editors on Windows write a byte-order mark
            text = file.read(_MOST + 1)
    except UnicodeDecodeError as error:
        raise UserError(f"prompt {path}: not UTF-8 text: {error}") from None
    if len(text) > _MOST:
        raise UserError(f"prompt {path}: longer than {_MOST:,} characters: not a prompt")
    return text


# Cached, because every problem of a run asks for the same few prompts.
@lru_cache(maxsize=64)
def solving_text(name: str, whole: str) -> str:
    """The text of a solving prompt, from its whole file."""
    head, text = _parts(name, whole)
    if "reads" in head:
        raise UserError(f"prompt {name}: is a judge's (it says `reads`), and asks for no solution")
    _complain_of_keys(name, head, ())
    _complain_of_variables(name, text, known=("problem",), needed="problem")
    # A tokenizer's words begin with their space, so a prompt must not end in one (see `segment.prefix_of`).
    return text.rstrip(" \t")


@lru_cache(maxsize=64)
def judge_prompt(name: str, whole: str) -> JudgePrompt:
    """A judge's prompt, from its whole file."""
    head, text = _parts(name, whole)
    if "reads" not in head:
        raise UserError(f"prompt {name}: does not say how a judge's reply is read; {_NEEDED}")
    _complain_of_keys(name, head, ("name", "reads", "shows", "counts_from"))
    _complain_of_value(name, head, "reads", get_args(Reads))
    _complain_of_value(name, head, "shows", get_args(Shows))
    _complain_of_value(name, head, "counts_from", ("0", "1"))
    _complain_of_variables(name, text, known=("problem", "solution"), needed="solution")
    called = head.get("name", Path(name).stem)
    if not _NAME.fullmatch(called):
        raise UserError(f"prompt {name}: name {called[:100]!r}: expected letters, digits, `.`, `_`, `-` only")
    shows: Shows = "paragraphs" if head.get("shows") == "paragraphs" else "text"
    reads: Reads = next(kind for kind in get_args(Reads) if kind == head["reads"])
    return JudgePrompt(called, text.rstrip(" \t"), reads, shows, int(head.get("counts_from", "0")))


def check_prompts(config: RunConfig, read: Callable[[str], str] = prompt_text) -> None:
    """UserError where a prompt of the run cannot be used, before the run spends anything. `read` gives the
    whole text of a prompt."""
    solving_text(config.prompt.template, read(config.prompt.template))
    for judge in config.annotators(JudgeConfig):
        names: dict[str, str] = {}
        for prompt in judge.prompts:
            name = judge_prompt(prompt, read(prompt)).name
            # Votes are told apart by these names alone: two prompts with one name would count as one source.
            if name in names:
                raise UserError(
                    f"{judge.section}.prompts: {names[name]!r} and {prompt!r} are both named {name!r}, so "
                    "their votes could not be told apart: give one of them another `name:` in its first lines"
                )
            names[name] = prompt


def fill(template: str, **values: str) -> str:
    """Put values into a template in one pass, so that braces inside a value are never taken for variables."""
    return "".join(
        text if variable is None else values.get(variable, text) for text, variable in _pieces(template)
    )


@lru_cache(maxsize=64)
def _pieces(template: str) -> tuple[tuple[str, str | None], ...]:
    """A template cut at its variables, as (text, None) and (text, name of the variable that replaces it)."""
    pieces: list[tuple[str, str | None]] = []
    end = 0
    for match in _VARIABLE.finditer(template):
        literal, variable = match.groups()
        pieces.append((template[end : match.start()], None))
        pieces.append((f"{{{literal}}}" if literal else match[0], variable))
        end = match.end()
    return (*pieces, (template[end:], None))


def prompt_file(name: str) -> Path:
    """The file of a prompt. UserError when there is none."""
    path = PROMPTS / f"{name}.txt"  # ours first, so that a name means the same in every folder
    if not path.is_file():
        path = Path(name).expanduser()
    if not path.is_file():
        known = ", ".join(sorted(p.stem for p in PROMPTS.glob("*.txt")))
        raise UserError(f"prompt {name!r}: neither a file nor one of {known}")
    return path


def _parts(name: str, whole: str) -> tuple[dict[str, str], str]:
    """The keys in front of a prompt's text, and the text.

    Lines between fences that are not all `key: value` are text: a prompt may begin with a rule of its own.
    """
    first, _, rest = whole.partition("\n")
    lines, closed, text = rest.partition(f"\n{_FENCE}\n")
    found = [_KEY.fullmatch(line.strip()) for line in lines.split("\n") if line.strip()]
    if first.strip() != _FENCE or not closed or not all(found):
        return {}, whole
    head: dict[str, str] = {}
    for match in filter(None, found):
        if match[1] in head:
            raise UserError(f"prompt {name}: `{match[1]}` is said twice")
        head[match[1]] = match[2].strip().strip("\"'")
    return head, text


def _complain_of_keys(name: str, head: dict[str, str], known: tuple[str, ...]) -> None:
    for key in head:
        if key not in known:
            wanted = f"known are {', '.join(known)}" if known else "`reads` makes it a judge's prompt"
            raise UserError(f"prompt {name}: unknown key `{key}` between the `---` lines; {wanted}")


def _complain_of_value(name: str, head: dict[str, str], key: str, known: tuple[str, ...]) -> None:
    if key in head and head[key] not in known:
        raise UserError(f"prompt {name}: {key} is {head[key][:100]!r}; expected one of {', '.join(known)}")


def _complain_of_variables(name: str, text: str, *, known: tuple[str, ...], needed: str) -> None:
    held = set()
    for match in _VARIABLE.finditer(text):
        variable = match[2]
        if variable in known:
            held.add(variable)
        # In `\boxed{answer}` the braces are LaTeX's. 200 characters before it are enough for any command, and
        # keep the search quick in a long prompt.
        elif variable and not _LATEX.search(text[max(0, match.start() - 200) : match.start()]):
            names = " and ".join(f"{{{one}}}" for one in known)
            raise UserError(
                f"prompt {name}: nothing fills {{{variable}}}; known: {names}. "
                f"To have the text {{{variable}}} itself, write {{{{{variable}}}}}"
            )
    for almost in _ALMOST.finditer(text):
        if not _LATEX.search(text[max(0, almost.start() - 200) : almost.start()]):
            raise UserError(
                f"prompt {name}: nothing fills {almost[0]}; a variable is {{word}}. "
                f"To have the text {{word}}, write {{{{word}}}}"
            )
    if needed not in held:
        raise UserError(f"prompt {name}: has no {{{needed}}} in it")
