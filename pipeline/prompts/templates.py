r"""Prompts: text files with `{variables}`, parts for the roles of a chat, and lines in front that say how a
judge's reply is read.

    ---
    reads: first_error
    shows: paragraphs
    counts_from: 0
    ---
    === system ===
    You review solutions.
    === user ===
    Problem: {problem}
    ...
    === assistant ===
    Let me check each paragraph.

A prompt without a line `reads` asks for a solution; one without lines of roles is the user's message as a
whole. See docs/prompts.md, and `pipeline.prompts.filling` for variables.
"""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Literal, NamedTuple, TypeVar, get_args

from pipeline.prompts.filling import almost_variables, fill, tagged, untagged, variables
from pipeline.prompts.posed import posed_text
from schemas.config import JudgeConfig, RunConfig
from schemas.errors import UserError
from schemas.records import Problem
from schemas.sources import NO_GOLD

PROMPTS = Path(__file__).parent
T = TypeVar("T", bound=str)
Reads = Literal["first_error", "per_step", "all_errors", "rubric", "redo"]
Shows = Literal["text", "paragraphs"]
Replies = Literal["text", "json"]
_MOST = 1_000_000  # characters; a longer file is not a prompt, but a wrong path
_FENCE = "---"
_KEY = re.compile(r"([A-Za-z_]+)\s*[:=]\s*(.*)")  # `reads: first_error`, or TOML's `reads = "first_error"`
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
_ROLES = ("system", "user", "assistant")
_ROLE = re.compile(r"^=== ([a-z]+) ===[ \t]*\n", re.MULTILINE)
"""A line that begins the part of a role. No text that people write has such lines, nor has any markup."""
_ALMOST_ROLE = re.compile(rf"^[ \t]*=+[ \t]*(?:{'|'.join(_ROLES)})[ \t]*:?[ \t]*=+[ \t]*$", re.M | re.I)
_LACKS: Mapping[str, str] = {
    "answer": NO_GOLD,
    "reference": "the problem has no reference solution",
    "critique": "there is no critique to review",
}
"""Why a judge abstains where a variable of its prompt has no value."""
_KNOWN = ("problem", "solution", *_LACKS)
_NEEDED = """begin the file with the lines
---
reads: first_error
shows: paragraphs
counts_from: 0
---
(see docs/prompts.md)"""


class Asked(NamedTuple):
    """What a model is asked: the user's message, the system's, and the beginning of the answer."""

    text: str
    system: str = ""
    begins: str = ""

    @property
    def whole(self) -> str:
        """System and user as one text, as a model without a chat template reads them."""
        return f"{self.system}\n\n{self.text}" if self.system else self.text


@dataclass(frozen=True)
class SolvingPrompt:
    """How a policy is asked for a solution."""

    text: str
    system: str = ""
    begins: str = ""
    """The beginning of the assistant's answer. It is part of the solution that is kept."""

    def ask(self, problem: Problem) -> Asked:
        """What the policy reads before a solution."""
        shown = posed_text(problem)
        return Asked(fill(self.text, problem=shown), fill(self.system, problem=shown), self.begins)

    @property
    def whole(self) -> str:
        """System and user as one text, which a PRM reads, with `{problem}` in it."""
        return Asked(self.text, self.system).whole


@dataclass(frozen=True)
class JudgePrompt:
    """How a judge is asked about a solution, and how its reply is read."""

    name: str
    """Part of the source of its votes, `judge:NAME`."""
    text: str
    reads: Reads
    """`first_error`: the reply names the first wrong step or says that there is none; `per_step`: a verdict
    on every step up to the first wrong one; `all_errors`: the reply names every wrong step; `rubric`: a score
    of the whole solution; `redo`: the solution done again, to be compared."""
    shows: Shows = "text"
    """`text`: the solution as written; `paragraphs`: each step in a numbered tag."""
    counts_from: int = 0
    """The number of the first step, 0 or 1, in the tags and in the reply."""
    system: str = ""
    begins: str = ""
    """The beginning of the judge's reply, part of the reply that is read."""
    replies: Replies = "text"
    """`json`: the engine is asked to let the judge write nothing but JSON of a given form."""
    maximum: float = 1.0
    """The best score of a `rubric`."""

    def _variables(self, *, needed: bool) -> set[str]:
        return {
            one.name
            for one in variables(self.text + self.system)
            if one.name in _KNOWN and not (needed and one.optional)
        }

    def lacks(self, problem: Problem) -> str:
        """Why this judge cannot be asked about a problem: a variable would have no value. Else empty."""
        values = {"answer": problem.answer, "reference": problem.reference}
        lacking = (name for name in values if name in self._variables(needed=True) and not values[name])
        return next((_LACKS[name] for name in lacking), "")

    def ask(self, problem: Problem, solution: str, steps: Sequence[str], critique: str = "") -> Asked:
        """What the judge reads about a solution. Call it only where the problem lacks nothing."""
        # What stands beside the paragraphs must not look like one, either.
        beside = untagged if self.shows == "paragraphs" else str
        values = {
            "problem": beside(posed_text(problem)),
            "solution": tagged(steps, self.counts_from) if self.shows == "paragraphs" else solution,
            "answer": beside(" or ".join(problem.golds)),
            "reference": beside(problem.reference or ""),
            "critique": beside(critique),
        }
        return Asked(fill(self.text, **values), fill(self.system, **values), self.begins)

    @property
    def reviews_a_critique(self) -> bool:
        """Whether it is a second call's, which sees what the first one said (`meta`)."""
        return "critique" in self._variables(needed=False)


def load_template(name: str) -> str:
    """The whole text of a solving prompt (`SolvingPrompt.whole`), by its name under `pipeline/prompts` or by
    path.

    Raises UserError where there is none, where it is a judge's, or where a variable is missing or unknown.
    """
    return solving_prompt(name, prompt_text(name)).whole


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
def solving_prompt(name: str, whole: str) -> SolvingPrompt:
    """A solving prompt, from its whole file."""
    head, text = _parts(name, whole)
    if "reads" in head:
        raise UserError(f"prompt {name}: is a judge's (it says `reads`), and asks for no solution")
    _complain_of_keys(name, head, ("name", "version"))
    roles = _roles(name, text)
    _complain_of_variables(name, roles, known=("problem",), needed="problem")
    return SolvingPrompt(roles["user"], roles["system"], roles["assistant"])


@lru_cache(maxsize=64)
def judge_prompt(name: str, whole: str) -> JudgePrompt:
    """A judge's prompt, from its whole file."""
    head, text = _parts(name, whole)
    if "reads" not in head:
        raise UserError(f"prompt {name}: does not say how a judge's reply is read; {_NEEDED}")
    keys = ("name", "version", "reads", "shows", "counts_from", "replies", "maximum")
    _complain_of_keys(name, head, keys)
    _complain_of_value(name, head, "counts_from", ("0", "1"))
    roles = _roles(name, text)
    _complain_of_variables(name, roles, known=_KNOWN, needed="solution")
    called = head.get("name", Path(name).stem)
    if not _NAME.fullmatch(called):
        raise UserError(f"prompt {name}: name {called[:100]!r}: expected letters, digits, `.`, `_`, `-` only")
    found = JudgePrompt(
        called,
        roles["user"],
        _one_of(name, head, "reads", get_args(Reads)),
        _one_of(name, head, "shows", get_args(Shows)),
        int(head.get("counts_from", "0")),
        roles["system"],
        roles["assistant"],
        _one_of(name, head, "replies", get_args(Replies)),
        _maximum(name, head),
    )
    if found.replies == "json" and (found.begins or found.reads == "redo"):
        what = "a reply that is begun" if found.begins else "a solution done again"
        raise UserError(f"prompt {name}: `replies: json` does not go with {what}")
    return found


def check_prompts(config: RunConfig, read: Callable[[str], str] = prompt_text) -> None:
    """UserError where a prompt of the run cannot be used, before the run spends anything. `read` gives the
    whole text of a prompt."""
    solving_prompt(config.prompt.template, read(config.prompt.template))
    for judge in config.annotators(JudgeConfig):
        names: dict[str, str] = {}
        for prompt in judge.prompts:
            found = judge_prompt(prompt, read(prompt))
            if found.reviews_a_critique:
                raise UserError(
                    f"{judge.section}.prompts: {prompt!r} has {{critique}} in it: only `meta` has one to show"
                )
            # Votes are told apart by these names alone: two prompts with one name would count as one source.
            if found.name in names:
                raise UserError(
                    f"{judge.section}.prompts: {names[found.name]!r} and {prompt!r} are both named "
                    f"{found.name!r}, so their votes could not be told apart: give one of them another "
                    "`name:` in its first lines"
                )
            names[found.name] = prompt
        if judge.meta is not None and not judge_prompt(judge.meta, read(judge.meta)).reviews_a_critique:
            raise UserError(
                f"{judge.section}.meta: {judge.meta!r} has no {{critique}} in it: it would review none"
            )


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


def _roles(name: str, text: str) -> dict[str, str]:
    """What each role says; a text without lines of roles is the user's. The others may say nothing."""
    for almost in _ALMOST_ROLE.findall(text):
        if not _ROLE.match(f"{almost}\n"):
            raise UserError(f"prompt {name}: line {almost.strip()!r} begins no role: write `=== user ===` so")
    parts = _ROLE.split(text)
    if not {"system", "user", "assistant"} & set(parts[1::2]):
        parts = ["", "user", text]
    if parts[0].strip():
        raise UserError(f"prompt {name}: text before the line `=== {parts[1]} ===` belongs to no role")
    found = dict.fromkeys(_ROLES, "")
    for role, said in zip(parts[1::2], parts[2::2], strict=True):
        if role not in found:
            raise UserError(f"prompt {name}: role {role!r}; expected one of {', '.join(_ROLES)}")
        if parts[1::2].count(role) > 1:
            raise UserError(f"prompt {name}: two parts `=== {role} ===`; expected one")
        # A tokenizer's words begin with their space, so a prompt must not end in one (see
        # `segment.prefix_of`). A line end after the user's words is kept: without a chat template the answer
        # begins right after it.
        found[role] = said.rstrip(" \t") if role == "user" else said.strip("\n").rstrip(" \t")
    return found


def _maximum(name: str, head: Mapping[str, str]) -> float:
    said = head.get("maximum", "1")
    if not re.fullmatch(r"[1-9]\d{0,5}", said):
        raise UserError(f"prompt {name}: maximum is {said[:100]!r}; expected a whole number from 1 on")
    return float(said)


def _one_of(name: str, head: Mapping[str, str], key: str, known: tuple[T, ...]) -> T:
    """The value of a key; the first known one where the file does not say it."""
    _complain_of_value(name, head, key, known)
    return next((one for one in known if one == head.get(key)), known[0])


def _complain_of_keys(name: str, head: Mapping[str, str], known: tuple[str, ...]) -> None:
    for key in head:
        if key not in known:
            more = "" if "reads" in known else "; `reads` makes it a judge's prompt"
            raise UserError(
                f"prompt {name}: unknown key `{key}` between the `---` lines; known are "
                f"{', '.join(known)}{more}"
            )


def _complain_of_value(name: str, head: Mapping[str, str], key: str, known: Iterable[str]) -> None:
    if key in head and head[key] not in known:
        raise UserError(f"prompt {name}: {key} is {head[key][:100]!r}; expected one of {', '.join(known)}")


def _complain_of_variables(
    name: str, roles: Mapping[str, str], *, known: tuple[str, ...], needed: str
) -> None:
    held = set()
    for role, text in roles.items():
        # The beginning of an answer is the same for every problem.
        allowed = () if role == "assistant" else known
        for one in variables(text):
            if one.name not in allowed:
                names = " and ".join(f"{{{other}}}" for other in allowed) or "none in an answer's beginning"
                raise UserError(
                    f"prompt {name}: nothing fills {one.written}; known: {names}. "
                    f"To have the text {{{one.name}}} itself, write {{{{{one.name}}}}}"
                )
            if one.optional and one.name not in ("answer", "reference"):
                raise UserError(f"prompt {name}: {one.written}: every problem has one; write {{{one.name}}}")
            held.add(one.name)
        for almost in almost_variables(text):
            raise UserError(
                f"prompt {name}: nothing fills {almost}; a variable is {{word}}. "
                f"To have the text {{word}}, write {{{{word}}}}"
            )
    if needed not in held:
        raise UserError(f"prompt {name}: has no {{{needed}}} in it")
