r"""The formulas of a text: what stands between its mathematical delimiters, as chains of sides.

`find_claims` reads running text and must guess where an expression ends. Between `$...$`, `\(...\)`,
`\[...\]` and in aligned rows the writer has said so. There, letters side by side are products (`4xy`), and
the words between two formulas say how one leads to the other.
"""

import re
from typing import NamedTuple

from verifiers.claims.parsed import LONGEST_STEP, ParsedText
from verifiers.expressions.latex import to_plain
from verifiers.expressions.parser import LONGEST, parse
from verifiers.expressions.tree import FUNCTIONS, Call, Expression, Refused, is_ambiguous, names, walk

MOST = 60
"""Formulas that are read of one text; a text with more is a table or a listing."""
ARROW = "⇒"
"""Stands for `\\implies` between two equations of one formula, in `Formula.before`."""


class Side(NamedTuple):
    """One side of a relation, or a formula without one."""

    text: str
    """As it was written, without space and layout."""
    tree: Expression | None
    """None where some part of it was not understood."""


class Formula(NamedTuple):
    """A chain `a = b = c`, or a single side."""

    sides: tuple[Side, ...]
    relations: tuple[str, ...]
    span: tuple[int, int]
    before: str
    """The words between it and the formula before it, or the beginning of the text."""

    @property
    def is_equation(self) -> bool:
        """Whether it is a chain of equals signs alone."""
        return len(self.sides) > 1 and set(self.relations) == {"="}


# A row of an aligned display ends with `\\`; `\begin{aligned}` opens one. `\$` is money and no delimiter.
_DELIMITER = re.compile(
    r"\\\\(?:\[\d+[a-z]{2}\])?|\\\$|\$\$?|\\[()\[\]]"
    r"|\\(?:begin|end)\{(?:align|aligned|equation|gather|gathered|eqnarray|split)\*?\}"
)
_OPENS = {"$": "$", "$$": "$$", "\\(": "\\)", "\\[": "\\]"}


def formulas(parsed: ParsedText) -> tuple[Formula, ...]:
    """The formulas of a text in order; none where there are too many."""
    text = parsed.text
    if len(text) > LONGEST_STEP or "$" not in text and "\\" not in text:
        return ()
    found: list[Formula] = []
    end = 0
    for low, high in _ranges(text):
        words = text[end:low]
        for start, stop, lead in _statements(text, low, high):
            formula = _formula(text, start, stop, words if lead is None else lead)
            if formula is None:
                words = words if lead is None else lead
                continue
            if lead == "" and found and not formula.sides[0].text:
                # A row `&= c` goes on with the chain of the row above it.
                found[-1] = _joined(found[-1], formula)
            else:
                found.append(formula)
            words = ""
        end = high
        if len(found) > MOST:
            return ()
    return tuple(one for one in found if one.sides[0].text)


def _joined(first: Formula, rest: Formula) -> Formula:
    sides, relations = (*first.sides, *rest.sides[1:]), (*first.relations, *rest.relations)
    return Formula(sides, relations, (first.span[0], rest.span[1]), first.before)


def _ranges(text: str) -> list[tuple[int, int]]:
    """Where formulas stand, their delimiters included; an unclosed one ends the list."""
    found: list[tuple[int, int]] = []
    open_at, closer, depth = 0, "", 0
    for match in _DELIMITER.finditer(text):
        sign = match[0]
        if sign == "\\$" or sign.startswith("\\\\"):
            continue
        if sign.startswith("\\begin"):
            if not closer and not depth:
                open_at = match.start()
            depth += 1
        elif sign.startswith("\\end"):
            depth -= 1
            if not depth and not closer:
                found.append((open_at, match.end()))
            if depth < 0:
                return []
        elif depth and not closer:
            continue
        elif not closer and sign in _OPENS:
            open_at, closer = match.start(), _OPENS[sign]
        elif sign == closer:
            found.append((open_at, match.end()))
            closer = ""
        elif closer:
            return []  # an opening sign inside a formula: the delimiters do not pair
    return found


# What parts statements within one display: a row's end, `\implies`, and `\quad`.
_PARTS = re.compile(
    r"\\\\(?:\[\d+[a-z]{2}\])?|\\(?:Rightarrow|implies|iff|Leftrightarrow|Longrightarrow|Longleftrightarrow"
    r"|therefore|qquad|quad|rightarrow)(?![A-Za-z])|\\text\{ ?(?:and|or|so|thus) ?\}"
)


_TABLE = re.compile(r"matrix\}|\{(?:cases|array|tabular|rcases|dcases)\}")


def _statements(text: str, low: int, high: int) -> list[tuple[int, int, str | None]]:
    """The ranges of a display's statements, each with what leads to it; None for its first."""
    found: list[tuple[int, int, str | None]] = []
    if _TABLE.search(text, low, high):
        return [(low, high, None)]
    start, lead = low, None
    for match in _PARTS.finditer(text, low, high):
        found.append((start, match.start(), lead))
        sign = match[0]
        row = sign.startswith("\\\\")
        new = "" if row else " and " if "quad" in sign or "text" in sign else ARROW
        # `\quad \Rightarrow \quad`: the arrow decides.
        blank = not text[start : match.start()].strip("& \n")
        lead = ARROW if blank and lead == ARROW and "quad" in sign else new
        start = match.end()
    return [*found, (start, high, lead)]


_RELATION = re.compile(
    r"\\(?:leq?|geq?|neq?|approx|equiv|sim|cong|in|mid|lt|gt|to|propto|simeq|subset|perp|parallel)(?![A-Za-z])|[=<>≈≤≥≠≡:]"
)
_LAYOUT = re.compile(
    r"\\(?:left|right|displaystyle|big|Big|bigg|bigl|bigr|Bigl|Bigr)(?![A-Za-z])|\\[,;:! ]|&"
    r"|\\(?:begin|end)\{(?:align|aligned|equation|gather|gathered|eqnarray|split)\*?\}|\$|\\[()\[\]]|~"
)
_BOXED = re.compile(r"\\boxed\{((?:[^{}]|\{(?:[^{}]|\{[^{}]*\})*\})*)\}")


def _formula(text: str, low: int, high: int, before: str) -> Formula | None:
    written = text[low:high]
    if not 0 < len(written) <= 2 * LONGEST:
        return None
    plain = _LAYOUT.sub(" ", _BOXED.sub(r"\1", written)).strip().rstrip(".,; ")
    if not plain:
        return None
    relations = tuple(match[0] for match in _RELATION.finditer(plain))
    parts = _RELATION.split(plain)
    if len(parts) > 12 or any(not part.strip() for part in parts[1:]):
        return None
    return Formula(tuple(map(_side, parts)), relations, (low, high), before)


# A command, an index, or letters side by side.
_LETTERS = re.compile(r"\\[A-Za-z]+|_\{[^{}]*\}|_[A-Za-z0-9]|[A-Za-z]{2,}")
# Words in a formula are units, names or prose; vectors are no numbers; `x'` and `x \mod 3` are not known.
_FOREIGN = re.compile(
    r"\\(?:text|mbox|mathrm|operatorname|mathbf|vec|overline|hat|angle|mathbb|mathcal|bmod|pmod|mod|pm|mp|circ)"
    r"|'|\\%|%|#|[A-Z]{2}|[A-Za-z]{5}(?<!\\.{5})|(?<![_\d])\d+[_ ]\d|\d\s+[a-z]{2}"
)
_PROSE = frozenset(
    """
is of to or and if the for mod cm ft in kg mm km so we by at an as be it are div min max hr lb oz has
""".split()
)
# `f(x)`, `P(A)`, `S(3)`, `a(n)`: an application, which a product would misread.
_APPLIED = re.compile(r"[fghpqA-Z]\s*\(|[a-z]\s*\(\s*(?:[A-Za-z]|-?\d+)\s*\)(?!\s*\()")


def _side(text: str) -> Side:
    bare = re.sub(r"\s+", "", text)
    return Side(bare, _tree(text))


def _tree(text: str) -> Expression | None:
    if len(text) > LONGEST or _APPLIED.search(text):
        return None
    words = [word for word in _LETTERS.findall(text) if word[0].isalpha()]
    if any(word in _PROSE or len(word) > 4 and word not in FUNCTIONS for word in words):
        return None
    if _FOREIGN.search(re.sub(r"\\[A-Za-z]+", _kept_commands, text)):
        return None
    try:
        tree = parse(to_plain(_LETTERS.sub(_spaced, text)))
    except Refused:
        return None
    # Of whole numbers only, `floor(n/2) = n/2` may hold.
    steps = any(isinstance(node, Call) and node.function in {"floor", "ceil"} for node in walk(tree))
    unread = steps or is_ambiguous(tree)
    # `i` and `e` may be no symbols.
    return None if unread or names(tree) & {"i", "e"} else tree


def _kept_commands(match: re.Match[str]) -> str:
    # `\sqrt` is no run of five letters; `\text` is what is looked for.
    return match[0] if match[0].startswith(_FOREIGN_COMMANDS) else " "


_FOREIGN_COMMANDS = tuple(
    f"\\{name}"
    for name in (
        "text mbox mathrm operatorname mathbf vec overline hat angle mathbb mathcal bmod pmod mod pm mp circ"
    ).split()
)


def _spaced(match: re.Match[str]) -> str:
    run = match[0]
    if run[0] == "_":
        return f"{run} "  # `\\log_{11}5`: the base ends where its bracket does
    return " ".join(run) if run[0].isalpha() and run not in FUNCTIONS else run
