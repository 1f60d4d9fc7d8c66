r"""Light LaTeX to plain text: `\frac{1}{2}` becomes `((1)/(2))`. What it does not know stays foreign."""

import re

_UNREADABLE = "§"
"""Marks a command that is not known; no expression contains it, so whatever touches it abstains."""

_COMMANDS = {
    "cdot": " * ", "times": " * ", "ast": " * ", "div": " / ", "pi": " pi ", "approx": " ≈ ", "simeq": " ≈ ",
    "le": " ≤ ", "leq": " ≤ ", "ge": " ≥ ", "geq": " ≥ ", "lt": " < ", "gt": " > ", "ne": " ≠ ", "neq": " ≠ ",
    "left": "", "right": "", "big": "", "Big": "", "bigl": "", "bigr": "", "displaystyle": "",
    "quad": "  ", "qquad": "  ", "Rightarrow": " ⇒ ", "implies": " ⇒ ", "rightarrow": " ⇒ ", "to": " ⇒ ",
    "Longrightarrow": " ⇒ ", "therefore": " ⇒ ", "iff": " ⇒ ", "Leftrightarrow": " ⇒ ",
    "sin": " sin", "cos": " cos", "tan": " tan", "ln": " ln", "log": " log",
}  # fmt: skip
_TEXT = frozenset(
    {"text", "textbf", "textit", "textrm", "mathrm", "mathbf", "mbox", "boxed", "fbox", "operatorname"}
)
_COMMAND = re.compile(r"\\(?P<name>[A-Za-z]+)\*?|\\(?P<sign>.)", re.DOTALL)
_DEEPEST = 20


def to_plain(text: str) -> str:
    """The text with its LaTeX written as plain expressions; delimiters become spaces."""
    if "\\" in text or "{" in text:
        text = _commands(text.replace("{,}", ","), 0)
        text = re.sub(r"\^\s*\{([^{}]*)\}", r"^(\1)", text)
    return _signs(text)


def _signs(text: str) -> str:
    text = re.sub(r"(?<![\w.)\]}])\.\s+(?=\d)", ".", text)
    # Between operands ** is a power; elsewhere it is bold type.
    text = re.sub(r"(?<=[\d)])\*\*(?=[\d(])|(?<=[\d)]) \*\* (?=[\d(])", "^", text)
    text = re.sub(r"(?<=\d)#|#", " ", text.replace("**", "  ").replace("`", " ").replace("$", " "))
    for old, new in (
        ("×", "*"),
        ("·", "*"),
        ("⋅", "*"),
        ("∙", "*"),
        ("÷", "/"),
        ("−", "-"),
        ("²", "^2"),
        ("³", "^3"),
        ("π", " pi "),
    ):
        text = text.replace(old, new)
    return text.replace("\x00", "#")


def _commands(text: str, depth: int) -> str:
    if depth > _DEEPEST:
        return _UNREADABLE
    out, at = [], 0
    while match := _COMMAND.search(text, at):
        out.append(text[at : match.start()])
        at = match.end()
        name = match["name"]
        if name in {"frac", "dfrac", "tfrac", "cfrac"}:
            piece, at = _fraction(text, at, depth)
            # A whole number straight before a fraction of whole numbers: 2½, or rarely a product.
            mixed = re.search(r"(?<![\w.^)])\d+ ?$", "".join(out[-3:])) and re.fullmatch(
                r"\(\(\d+\)/\(\d+\)\)", piece
            )
            out.append("\x00" + piece if mixed else piece)
        elif name == "sqrt":
            piece, at = _root(text, at, depth)
            out.append(piece)
        elif name in _TEXT:
            argument, at = _argument(text, at)
            out.append(f" {_commands(argument, depth + 1)} ")
        else:
            out.append(_plain(name, match["sign"]))
    return "".join([*out, text[at:].replace("&", " ")])


def _plain(name: str | None, sign: str | None) -> str:
    if name is not None:
        return _COMMANDS.get(name, _UNREADABLE)
    match sign:
        case "\\" | "[" | "]":
            return "\n"  # a row or a displayed formula ends: what follows is another one
        case "%" | "$":
            return str(sign)
        case _:
            return " " if sign in set(",;:! ()") else _UNREADABLE


def _argument(text: str, at: int) -> tuple[str, int]:
    """A braced group, or one character as in `\\frac12`; and where it ends."""
    while at < len(text) and text[at] == " ":
        at += 1
    if at >= len(text):
        return _UNREADABLE, at
    if text[at] != "{":
        return (text[at], at + 1) if text[at].isalnum() else (_UNREADABLE, at)
    depth = 0
    for end in range(at, len(text)):
        depth += (text[end] == "{") - (text[end] == "}")
        if depth == 0:
            return text[at + 1 : end], end + 1
    return _UNREADABLE, at + 1


def _fraction(text: str, at: int, depth: int) -> tuple[str, int]:
    top, at = _argument(text, at)
    bottom, at = _argument(text, at)
    return f"(({_commands(top, depth + 1)})/({_commands(bottom, depth + 1)}))", at


def _root(text: str, at: int, depth: int) -> tuple[str, int]:
    degree = re.compile(r"\s*\[([^\[\]{}]{1,20})\]").match(text, at)
    at = degree.end() if degree else at
    inside, at = _argument(text, at)
    inside = _commands(inside, depth + 1)
    return (f" root({degree[1]},{inside})" if degree else f" sqrt({inside})"), at
