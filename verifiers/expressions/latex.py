r"""Light LaTeX to plain text: `\frac{1}{2}` becomes `((1)/(2))`. What it does not know stays foreign.

Every plain character knows where it came from, so that a claim can be shown in the step as it was written.
"""

import re
from bisect import bisect_right
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate

_UNREADABLE = "§"
"""Marks a command that is not known; no expression contains it, so whatever touches it abstains."""

# Commands with one plain meaning; `\quad` parts two equations. All others are unreadable.
_COMMANDS = {
    "cdot": " * ", "times": " * ", "div": " / ", "pi": " pi ", "approx": " ≈ ", "simeq": " ≈ ",
    "le": " ≤ ", "leq": " ≤ ", "ge": " ≥ ", "geq": " ≥ ", "lt": " < ", "gt": " > ", "ne": " ≠ ", "neq": " ≠ ",
    "left": "", "right": "", "big": "", "Big": "", "bigl": "", "bigr": "", "displaystyle": "",
    "quad": " ; ", "qquad": " ; ", "Rightarrow": " ⇒ ", "implies": " ⇒ ", "rightarrow": " ⇒ ", "to": " ⇒ ",
    "Longrightarrow": " ⇒ ", "therefore": " ⇒ ", "iff": " ⇒ ", "Leftrightarrow": " ⇒ ",
    "sin": " sin", "cos": " cos", "tan": " tan", "ln": " ln", "log": " log", "gcd": " gcd", "lcm": " lcm",
    "lfloor": "⌊", "rfloor": "⌋", "lceil": "⌈", "rceil": "⌉", "lvert": "⟦", "rvert": "⟧",
    **{name: f" {name}" for name in (
        "alpha", "beta", "gamma", "delta", "theta", "phi", "lambda", "mu", "omega", "varphi", "rho", "sigma",
    )},
}  # fmt: skip
_TEXT = frozenset(
    {"text", "textbf", "textit", "textrm", "mathrm", "mathbf", "mbox", "boxed", "fbox", "operatorname"}
)
# `\frac`, `\text*`, one sign as in `\%` and `\\`, the `{,}` of 12{,}345, and powers in Unicode.
POWER = r"⁻?(?!⁰(?![⁰¹²³⁴-⁹])|¹[/⁄])[⁰¹²³⁴-⁹]++(?![⁻^]|(?<=[⁴-⁹])(?:√|\\sqrt))"
"""Raised digits that are a power. Left unread: 90⁰, which are degrees to most who type it, 2¹/2, 2⁵⁻² and the
root 2⁴√5."""
_COMMAND = re.compile(
    # `30^\circ` is a degree; `x_{1}` is `x_1`; `\left|` opens what `\right|` closes.
    r"\^?\s*\{?\\circ\b\}?|_\{(?P<index>[A-Za-z0-9]{1,6})\}|\\(?P<side>left|right)\s*\|"
    r"|\\(?P<name>[A-Za-z]+)\*?|\\(?P<sign>.)|\{,\}|π"
    rf"|(?P<power>{POWER})",
    re.DOTALL,
)
_CHARACTERS = {"{,}": ",", "π": " pi "}
# Most steps of GSM8K hold none of these, and are left as they are.
_NEEDS_COMMANDS = re.compile(r"[\\{π⁰¹²³⁴-⁹]")
RAISED = str.maketrans("⁻⁰¹²³⁴⁵⁶⁷⁸⁹", "-0123456789")
_BINOMIALS = frozenset({"binom", "dbinom", "tbinom"})
# `|3 - 5|`: a sign may not stand just inside the left bar's end, nor a relation within.
_BARS = re.compile(r"(?<![\w)|])( ?)\|([^|=<>,;:\n]{1,60})\|(?!\|)")
_CHOOSE = re.compile(r"\{([^{}\\]{1,20})\\choose([^{}\\]{1,20})\}")
# Letter for letter, so that places stay; no null and no `#` of the text may pass for our own marks.
_SAME_LENGTH = str.maketrans("×·⋅∙÷−`\x00#", "****/- # ")
_DEEPEST = 20
"""Groups in groups that are opened; deeper ones are unreadable, as an attack is."""

_Piece = tuple[str, int, int]
"""Plain text and the range of the source it stands for, letter by letter where their lengths are equal."""


@dataclass(frozen=True)
class Plain:
    """Plain text with the way back to its source."""

    text: str
    _pieces: tuple[_Piece, ...] = ()

    @cached_property
    def _ends(self) -> list[int]:
        return list(accumulate(len(piece[0]) for piece in self._pieces))

    def source(self, start: int, end: int) -> tuple[int, int]:
        """The range of the source that a range of the text, not empty, stands for."""
        if not self._pieces:
            return start, end
        ends = self._ends

        def origin(at: int) -> tuple[int, int]:
            index = min(bisect_right(ends, at), len(ends) - 1)
            plain, first, last = self._pieces[index]
            inside = at - (ends[index] - len(plain))
            return (first + inside, first + inside + 1) if len(plain) == last - first else (first, last)

        return origin(start)[0], origin(end - 1)[1]


def to_plain(text: str) -> str:
    """The text with its LaTeX written as plain expressions; delimiters become spaces."""
    return plain(text).text


def plain(text: str) -> Plain:
    """The same, with the way back."""
    pieces: list[_Piece] = []
    if "\\choose" in text:
        # `{7 \choose 2}` in as many letters, so that places stay.
        text = _CHOOSE.sub(lambda m: f"\\binom{{{m[1].strip()}}}{{{m[2].strip()}}}".ljust(len(m[0])), text)
    if _NEEDS_COMMANDS.search(text):
        pieces = [piece for piece in _commands(text, 0, len(text), 0) if piece[0]]
        text = re.sub(r"\^(\s*)\{([^{}]*)\}", r"^\1(\2)", "".join(piece[0] for piece in pieces))
    return Plain(_signs(text), tuple(pieces))


def _signs(text: str) -> str:
    """Signs for signs: no length changes."""
    # `= x - 1$x^3` has a formula's end between 1 and x.
    text = _FORMULA_END.sub(_UNREADABLE, text).replace("$", " ") if "$" in text else text
    if ". " in text:
        # ". 5" is the decimal .5, written apart; "done. 5 apples" begins a sentence, so a word before the
        # point forbids it.
        text = _SPACED_POINT.sub(r"\1.", text)
    if "**" in text:
        # Between operands ** is a power; elsewhere it is bold type.
        text = _POWER.sub(_power, text).replace("**", "  ")
    if "|" in text:
        text = _BARS.sub(r"\1⟦\2⟧", text)
    if "–" in text or "‒" in text or "—" in text:
        text = text.replace("‒", "–")
        # A dash between numbers is a minus: "7 – 3", "7–3". Between words it is a dash.
        text = re.sub(r"(?<=\s)–(?=\s\$?\d)|(?<=\d)–(?=\d)", "-", text)
    if not text.isascii() or "`" in text or "#" in text or "\0" in text:
        return text.translate(_SAME_LENGTH)
    return text


# What stands before a sign is looked at behind it: a search for one character is fast.
_FORMULA_END = re.compile(r"\$(?<=[\d)}]\$)(?=[A-Za-z(\\])")
_SPACED_POINT = re.compile(r"\.(?<![\w.)\]}]\.)(\s+)(?=\d)")
# `10**-3` is a power where it is the only double asterisk; `**5**-3` may end bold type.
_POWER = re.compile(
    r"(?<=[\d)])\*\*(?=[\d(])|(?<=[\d)]) \*\* (?=[\d(])|(?<![A-Za-z][A-Za-z])(?<=[A-Za-z])\*\*(?=\d)"
    r"|^(?=[^*]*\*\*[^*]*$)(?P<head>[^*]*[\w)] ?)\*\*(?= ?-[\d(])"
)


def _power(match: re.Match[str]) -> str:
    return (match["head"] or "") + "^".ljust(len(match[0]) - len(match["head"] or ""))


def _commands(text: str, at: int, end: int, depth: int) -> list[_Piece]:
    if depth > _DEEPEST:
        return [(_UNREADABLE, at, end)]
    out: list[_Piece] = []
    while match := _COMMAND.search(text, at, end):
        out.append((text[at : match.start()].replace("&", " "), at, match.start()))
        start, at = match.span()
        name = match["name"]
        if name in {"frac", "dfrac", "tfrac", "cfrac"}:
            pieces, at = _fraction(text, match, end, depth)
            if _is_mixed(out, pieces):
                out.append(("\x00", start, at))
            out += pieces
        elif name in _BINOMIALS:
            pieces, at = _binomial(text, match, end, depth)
            out += pieces
        elif name == "sqrt":
            pieces, at = _root(text, match, end, depth)
            out += pieces
        elif name in _TEXT:
            (first, last), at = _argument(text, at, end)
            out += [(" ", start, first), *_commands(text, first, last, depth + 1), (" ", last, at)]
        else:
            out.append((_plain(match), start, at))
    return [*out, (text[at:end].replace("&", " "), at, end)]


def _is_mixed(before: list[_Piece], fraction: list[_Piece]) -> bool:
    """A whole number straight before a fraction of whole numbers: 2½, or rarely a product."""
    last = "".join(piece[0] for piece in before[-3:])
    written = "".join(piece[0] for piece in fraction)
    return bool(
        re.search(r"(?<![\w.^)])\d+ ?$", last[-40:]) and re.fullmatch(r"\(\(\d+\)/\(\d+\)\)", written)
    )


def _plain(match: re.Match[str]) -> str:
    name, sign = match["name"], match["sign"]
    if power := match["power"]:  # 10²³ is 10^23, and no tower of a 2 and a 3
        digits = power.translate(RAISED)
        return f"^({digits})" if digits.startswith("-") else f"^{digits}"
    if match["index"]:
        return f"_{match['index']}"
    if match["side"]:
        return "⟦" if match["side"] == "left" else "⟧"
    if name is not None:
        return _COMMANDS.get(name, _UNREADABLE)
    if "circ" in match[0]:
        return "°"
    match sign:
        case None:
            return _CHARACTERS[match[0]]
        case "\\" | "[" | "]":
            return "\n"  # a row or a displayed formula ends: what follows is another one
        case "%" | "$":
            return str(sign)
        case _:
            return " " if sign in set(",;:! ()") else _UNREADABLE


def _argument(text: str, at: int, end: int) -> tuple[tuple[int, int], int]:
    """The range inside a braced group, or of one character as in `\\frac12`; and where it ends.

    The range is empty where there is none.
    """
    while at < end and text[at] == " ":
        at += 1
    if at >= end or (text[at] != "{" and not text[at].isalnum()):
        return (at, at), at
    if text[at] != "{":
        return (at, at + 1), at + 1
    depth = 0
    for close in range(at, end):
        depth += (text[close] == "{") - (text[close] == "}")
        if depth == 0:
            return (at + 1, close), close + 1
    return (at, at), at + 1


def _inside(text: str, inner: tuple[int, int], depth: int) -> list[_Piece]:
    return _commands(text, *inner, depth + 1) if inner[0] < inner[1] else [(_UNREADABLE, *inner)]


def _fraction(text: str, command: re.Match[str], end: int, depth: int) -> tuple[list[_Piece], int]:
    start, at = command.span()
    top, at = _argument(text, at, end)
    bottom, at = _argument(text, at, end)
    pieces = [("((", start, top[0]), *_inside(text, top, depth), (")/(", top[1], bottom[0])]
    return [*pieces, *_inside(text, bottom, depth), ("))", bottom[1], at)], at


def _binomial(text: str, command: re.Match[str], end: int, depth: int) -> tuple[list[_Piece], int]:
    start, at = command.span()
    top, at = _argument(text, at, end)
    bottom, at = _argument(text, at, end)
    pieces = [(" binom(", start, top[0]), *_inside(text, top, depth), (", ", top[1], bottom[0])]
    return [*pieces, *_inside(text, bottom, depth), (")", bottom[1], at)], at


def _root(text: str, command: re.Match[str], end: int, depth: int) -> tuple[list[_Piece], int]:
    start, at = command.span()
    degree = re.compile(r"\s*\[([^\[\]{}]{1,20})\]").match(text, at, end)
    at = degree.end() if degree else at
    inner, at = _argument(text, at, end)
    head = f" root({degree[1]}, " if degree else " sqrt("
    return [(head, start, inner[0]), *_inside(text, inner, depth), (")", inner[1], at)], at
