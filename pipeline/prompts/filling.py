"""Puts problems, solutions and critiques into prompts as data: nothing in them ends a fence or a turn.

Only `{word}` is a variable: other braces stay, those behind a LaTeX command (`\\boxed{answer}`) too, and
`{{word}}` is the text `{word}`. A paragraph of a template that holds `{word?}` is left out where that has no
value.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from typing import NamedTuple

# `{{word}}`, which stands for the text `{word}`, or the variable `{word}`, or `{word?}`. `{1, 2}` and `{x+1}`
# are neither.
_VARIABLE = re.compile(r"\{\{([A-Za-z_]\w*)\}\}|\{([A-Za-z_]\w*)(\??)\}")
_ALMOST = re.compile(
    r"(?<![\\{])\{[A-Za-z_]\w*(?:![rsa]|\.[A-Za-z_]\w*|\[\w+\])\}|\{\{\s+[A-Za-z_]\w*\s+\}\}|"
    r"(?<![\\{])\{(?:\s+(?:problem|solution)\s*|(?:problem|solution)(?:\s+|:[^{}\n]{0,20}))\}(?!\})"
)
"""A variable as other template languages write it: `{problem!r}`, `{row.problem}`, `{{ problem }}`, or
`{ problem }`. Nothing fills these, so they are refused instead of being sent to a model."""
_LATEX = re.compile(r"(?:\\[A-Za-z]+\*?|[\^_])(?:\[[^\[\]]*\]|\{[^{}]*\})*$")
"""The text before a brace that belongs to LaTeX: a command, `^` or `_`, with the arguments it already has, as
in `\\frac{a}` before `{b}`."""
_PARAGRAPHS = re.compile(r"(\n{2,})")
_FENCED = re.compile(r"^(`{3,}|~{3,})([^\n`]*)\n\{([A-Za-z_]\w*)\}\n\1[ \t]*$", re.MULTILINE)
"""A variable alone in a code fence."""


class Variable(NamedTuple):
    """A variable of a template."""

    name: str
    optional: bool
    written: str


def variables(template: str) -> Iterator[Variable]:
    """The variables of a template, in their order."""
    for match in _VARIABLE.finditer(template):
        # In `\boxed{answer}` the braces are LaTeX's. 200 characters before it are enough for any command, and
        # keep the search quick in a long prompt.
        if match[2] and not _LATEX.search(template[max(0, match.start() - 200) : match.start()]):
            yield Variable(match[2], bool(match[3]), match[0])


def almost_variables(template: str) -> Iterator[str]:
    """What is written like a variable of another template language."""
    for almost in _ALMOST.finditer(template):
        if not _LATEX.search(template[max(0, almost.start() - 200) : almost.start()]):
            yield almost[0]


def fill(template: str, **values: str) -> str:
    """Put values into a template in one pass, so that braces inside a value are never taken for variables.

    A value is data: the marks with which models end a turn lose their meaning in it (`defused`), and a code
    fence around a value is longer than any in it. An empty value is none for `{word?}`.
    """
    given = {name: defused(value) for name, value in values.items()}
    pieces = _pieces(_FENCED.sub(lambda fence: _longer(fence, given), _without_empty(template, given)))
    return "".join(text if name is None else given.get(name, text) for text, name in pieces)


@lru_cache(maxsize=64)
def _pieces(template: str) -> tuple[tuple[str, str | None], ...]:
    """A template cut at its variables, as (text, None) and (text, name of the variable that replaces it)."""
    pieces: list[tuple[str, str | None]] = []
    end = 0
    for match in _VARIABLE.finditer(template):
        literal, name, _ = match.groups()
        is_latex = name and _LATEX.search(template[max(0, match.start() - 200) : match.start()])
        pieces.append((template[end : match.start()], None))
        pieces.append((f"{{{literal}}}" if literal else match[0], None if is_latex else name))
        end = match.end()
    return (*pieces, (template[end:], None))


def _without_empty(template: str, given: Mapping[str, str]) -> str:
    if "?}" not in template:
        return template
    parts = _PARAGRAPHS.split(template)  # paragraphs, and between them their line ends
    kept = ""
    for text, end in zip(parts[::2], [*parts[1::2], ""], strict=True):
        if all(given.get(one.name) for one in variables(text) if one.optional):
            kept += text + end
    return kept


def _longer(fence: re.Match[str], given: Mapping[str, str]) -> str:
    mark, info, name = fence.groups()
    runs = re.findall(re.escape(mark[0]) + "{3,}", given.get(name, ""))
    mark = mark[0] * max(len(mark), *(len(run) + 1 for run in runs), 0)
    return f"{mark}{info}\n{{{name}}}\n{mark}"


# Marks


_MARK = re.compile(
    r"(<\|?|<\uff5c|\[|<<)"  # the bracket, after which a space goes
    r"(?=(?:"
    # `<|im_end|>` (Qwen), `<|eot_id|>` (Llama), `<|endoftext|>`, `<|user|>`; `<turn|>`, `<|turn>` (Gemma);
    # `<｜end▁of▁sentence｜>` (DeepSeek)
    r"(?<=<\|)[^\s|<>]{1,60}\|?>|(?<=<)(?!\|)[^\s|<>/]{1,60}\|>|(?<=\uff5c)[^\s<>]{1,60}\uff5c>|"
    # `<s>`, `</s>`, `<bos>`, `<start_of_turn>`, `<unused7>`, `<extra_id_0>`
    r"(?<=<)(?:/?s|bos|eos|pad|unk|mask|sep|cls|sop|eop|(?:start|end)_of_\w{1,30}|"
    r"unused\d{1,5}|extra_id_\d{1,5}|reserved_\w{1,30})>|"
    # `[INST]`, `[/INST]` and others of Mistral, `<<SYS>>` (Llama 2), `[|endofturn|]` (EXAONE), `[gMASK]`
    r"(?<=\[)/?(?:INST|SYSTEM_PROMPT|AVAILABLE_TOOLS|TOOL_CALLS|TOOL_RESULTS|TOOL_CONTENT|gMASK)\]|"
    r"(?<=\[)\|[^\s|\[\]]{1,40}\|\]|(?<=<<)/?SYS>>"
    r"))",
    re.IGNORECASE,
)
"""Texts that chat templates end or begin turns with. A tokenizer reads them as one special token wherever
they stand, so `<|im_end|>` in a step would end the user's turn, and what follows would speak as the user or
the model. `<think>` is none of them: it ends no turn, and prefixes of reasoning models hold it."""
_TAG = re.compile(r"<(?=\s*/?\s*(?:paragraph|solution|critique)[ _-]?\d*\s*/?\s*>)", re.IGNORECASE)


def defused(text: str) -> str:
    """The text with a space inside every mark of a turn: `<|im_end|>` becomes `<| im_end|>`, which no
    tokenizer takes for its token, and which a reader still recognises. All other text stays as it is."""
    return _MARK.sub(r"\1 ", text)


def untagged(text: str) -> str:
    """The text with the tags of our own fences escaped as XML does, `</paragraph_0>` as
    `&lt;/paragraph_0>`: one in a step would end the fence around it."""
    return _TAG.sub("&lt;", text)


def tagged(steps: Sequence[str], counts_from: int = 0) -> str:
    """Each step in its numbered paragraph, as in ProcessBench, which counts from 0."""
    return "\n".join(
        f"<paragraph_{i}>\n{untagged(text)}\n</paragraph_{i}>" for i, text in enumerate(steps, counts_from)
    )
