"""Where an expression begins and ends in running text, and whether its neighbours may change its meaning."""

import re
from dataclasses import dataclass
from itertools import pairwise

from verifiers.expressions import FUNCTIONS, NUMBER

_UNIT_LETTERS = frozenset("mghslL")
_PIECE = re.compile(
    rf"(?P<number>{NUMBER})|(?P<word>[A-Za-z](?:[A-Za-z'’]|_(?=\w)|(?<=_)\d)*)|(?P<op>//|[-+*/^()!%#])|(?P<other>\S)"
)

_BEFORE_WORDS = """
of times plus minus by than over twice half double triple thrice percent per divided
multiplied squared to from with sum product difference quotient square cube root ratio average
mean subtract add adding subtracting third quarter fourth fifth fifths thirds quarters fourths
between dozen hundred thousand million billion fraction negative log sin cos tan max min gcd lcm
digit digits function every each
"""
_BEFORE = frozenset(_BEFORE_WORDS.split())
_AFTER_WORDS = """
million thousand hundred billion trillion dozen percent k squared cubed factorial mod modulo
remainder r with plus minus times divided multiplied over choose base of and or to
pair pairs half quarter quarters halves third thirds fourth fourths fifth fifths tenth tenths one
cent cents percentage by
"""
_AFTER = frozenset(_AFTER_WORDS.split())
_OPERATORS = frozenset({"+", "-", "*", "/", "//", "^", "!", "%"})
_COPULA = re.compile(
    r"\b(?:is|are|was|were|equals|then|so|thus|therefore|that|hence|have|has|had|hold|holds|get|gets|got|"
    r"means)\b"
)
_LIST_MARK = re.compile(r"\s*\(?\w{1,2}[).]\s*")


@dataclass(frozen=True)
class Operand:
    """Text on one side of a relation sign that looks like an expression, with what surrounds it."""

    text: str
    loose: str = ""
    unit: str = ""
    other: str = ""
    """What it may be instead: `14400 / 80` in "14, 400 / 80 = 180", where the comma may part thousands."""


@dataclass(frozen=True)
class _Piece:
    kind: str
    text: str
    start: int
    end: int


def _pieces(segment: str, *, shares: bool = True) -> list[_Piece]:
    """Tokens, each `math`, `word` or `other`; `x` between numbers and `of` after a share are products."""
    raw = [(m.lastgroup or "", m[0], m.start(), m.end()) for m in _PIECE.finditer(segment)]
    pieces: list[_Piece] = []
    for index, (group, text, start, end) in enumerate(raw):
        kind, after = "math", raw[index + 1] if index + 1 < len(raw) else None
        if group == "word":
            if text == "of" and not shares:
                kind = "word"
            else:
                kind, text = _word_kind(
                    text, pieces, after, segment[start - 1 : start] + segment[end : end + 1]
                )
        elif group == "other":
            kind = "other"
        pieces.append(_Piece(kind, text, start, end))
    return pieces


def _word_kind(
    word: str, before: list[_Piece], after: tuple[str, str, int, int] | None, around: str
) -> tuple[str, str]:
    previous = before[-1] if before and before[-1].kind == "math" else None
    number_next = after is not None and after[0] == "number"
    if word in {"x", "X"} and previous and (previous.text[-1].isdigit() or previous.text in {")", "%"}):
        spaced = around.strip() == ""
        if number_next or (spaced and after is not None and after[1] == "("):
            return "math", "*"
    if word == "of" and previous and number_next and _is_share(before):
        return "math", "*"
    if word in FUNCTIONS or word == "pi":
        return "math", word
    if (
        word in _UNIT_LETTERS
        and previous
        and previous.text[-1].isdigit()
        and around[:1] == " "
        and _ends(after)
    ):
        return "word", word
    letter = word.partition("_")[0]
    # A single letter is a symbol unless it is the article or the pronoun in running text.
    if len(letter) == 1 and (letter not in {"a", "A", "I"} or _touches_maths(before, after)):
        return "math", word
    return "word", word


def _ends(after: tuple[str, str, int, int] | None) -> bool:
    return after is None or after[0] == "word"


def _touches_maths(before: list[_Piece], after: tuple[str, str, int, int] | None) -> bool:
    return (
        (not before and after is None)
        or (after is not None and after[0] == "op")
        or bool(before and before[-1].kind == "math" and after is None)
    )


def _is_share(before: list[_Piece]) -> bool:
    texts = [piece.text for piece in before[-3:]]
    return texts[-1] == "%" or (
        len(texts) == 3 and texts[1] == "/" and texts[0].isdigit() and texts[2].isdigit()
    )


def _joined(pieces: list[_Piece]) -> str:
    """The pieces as text, with their spacing kept where it carries meaning."""
    out = ""
    for index, piece in enumerate(pieces):
        gap = index > 0 and piece.start > pieces[index - 1].end
        out += (" " if gap else "") + piece.text
    return out


def right_operand(segment: str) -> Operand | None:
    """What stands after a relation sign; None where that is no expression."""
    # "= 1/3 of 150" may claim the share or the product, so `of` ends the run on this side.
    pieces = _pieces(segment, shares=False)
    run = 0
    while run < len(pieces) and pieces[run].kind == "math":
        run += 1
    run = _balanced_prefix(pieces[:run])
    if run == 0:
        return None
    tail, trimmed = pieces[run:], ""
    while run and (
        pieces[run - 1].text in {"+", "-", "*", "/", "//", "^"} or pieces[run - 1].text in FUNCTIONS
    ):
        run -= 1
        trimmed = "the text goes on after an operator"
    if run == 0:
        return None
    text, unit = _joined(pieces[:run]), ""
    loose = trimmed or _after(tail, pieces[run - 1])
    if pieces[run - 1].text == "!" and not tail:
        loose = loose or "a factorial or an exclamation"
    if tail and tail[0].kind == "word":
        unit = tail[0].text.lower()
    return Operand(text, loose, unit)


def _balanced_prefix(pieces: list[_Piece]) -> int:
    """Length of the longest prefix whose brackets close."""
    depth, last = 0, 0
    for index, piece in enumerate(pieces):
        depth += (piece.text == "(") - (piece.text == ")")
        if depth < 0:
            return last
        if depth == 0:
            last = index + 1
    return last


def _after(tail: list[_Piece], end: _Piece) -> str:
    if not tail:
        return ""
    words = [piece.text.lower() for piece in tail[:3] if piece.kind == "word"]
    first = tail[0]
    if first.kind == "word":
        # 5AD^2 and "5 AD + 2" are products of a symbol that is spelt with several letters.
        symbol = first.start == end.end and not first.text.islower()
        symbol = symbol or (len(tail) > 1 and tail[1].kind == "math" and tail[1].text in _OPERATORS)
        # "11 more eggs than Tom" is a value; "2 more than 5" is the beginning of another sum.
        symbol = symbol or any(a.text == "than" and b.kind == "math" for a, b in pairwise(tail))
        return f"{words[0]!r} follows" if words[0] in _AFTER or symbol or "-" in words[0] else ""
    if first.text == "(":
        return "'mod' follows" if words and words[0] in _AFTER else ""
    if first.text in {")", "]", "}", '"', "'", "”", "’"}:
        return "" if first.text != "}" else "a brace follows"
    return (
        f"{first.text!r} follows" if first.start == end.end or first.text not in {",", ";", "—", "–"} else ""
    )


def left_operand(segment: str, *, first: bool) -> Operand | None:
    """What stands before a relation sign; `first` where no other sign stands before it in the clause."""
    pieces = _pieces(segment)
    start = len(pieces)
    while start and pieces[start - 1].kind == "math":
        start -= 1
    opened = start
    start = _balanced_suffix(pieces, start)
    if start == len(pieces):
        return _with_unit(pieces, segment, first=first)
    head, run = pieces[:start], pieces[start:]
    loose = _before(segment[: run[0].start], head, run, first=first) if head else ""
    if start > opened and pieces[start - 1].text == "(":
        before = pieces[start - 2] if start > 1 else None
        loose = loose or ("a bracket stays open" if before and before.kind == "math" else "")
    if head and run[0].text in _OPERATORS and not _is_negative(head[-1], run):
        # "5 apples - 3 = 2": the operand before the sign is out of reach, so the rest is made unreadable.
        return Operand(f"… {_joined(run)}")
    if not head and run[0].text == "-" and len(run) > 1 and run[1].start > run[0].end and first:
        return Operand(_joined(run), "a dash that may be a bullet")
    if not head and run[0].text == "*":
        run = run[1:]
    return Operand(_joined(run), loose, other=_spaced_thousands(head, run)) if run else None


def _spaced_thousands(head: list[_Piece], run: list[_Piece]) -> str:
    """The run with the digits before a comma joined to it: "Mia has 140, 140 + 5 = 145" has none of it."""
    if len(head) < 2 or head[-1].text != "," or not run[0].text.isdigit() or len(run[0].text) != 3:
        return ""
    return head[-2].text + _joined(run) if re.fullmatch(r"\d{1,3}(?:,\d{3})*", head[-2].text) else ""


def _is_negative(before: _Piece, run: list[_Piece]) -> bool:
    """The sign in "Ruth has -6 - 9 = -15": straight after a verb and close to its number."""
    close = len(run) > 1 and run[0].text == "-" and run[1].start == run[0].end > before.end
    return close and _COPULA.fullmatch(before.text) is not None


def _balanced_suffix(pieces: list[_Piece], start: int) -> int:
    depth = 0
    for index in range(len(pieces) - 1, start - 1, -1):
        depth += (pieces[index].text == ")") - (pieces[index].text == "(")
        if depth < 0:
            return index + 1
    while depth > 0 and start < len(pieces):
        depth -= pieces[start].text == ")"
        start += 1
    return start


def _with_unit(pieces: list[_Piece], segment: str, *, first: bool) -> Operand | None:
    """`5 m`, `60 minutes`: an expression followed by one word, standing alone or in the middle of a chain."""
    if not pieces or pieces[-1].kind != "word" or len(pieces) < 2:
        return None
    inner = left_operand(segment[: pieces[-1].start], first=first)
    if inner is None or inner.unit:
        return None
    whole = len(_pieces(inner.text)) == len(pieces) - 1
    loose = inner.loose or ("" if whole else "words around a quantity")
    return Operand(inner.text, loose, pieces[-1].text.lower())


def _before(text: str, head: list[_Piece], run: list[_Piece], *, first: bool) -> str:
    """Why the words before an expression may belong to it."""
    if _LIST_MARK.fullmatch(text):
        return ""
    last = head[-1]
    if last.kind != "word":
        if last.text in {",", ";", "("} and last.end < run[0].start or last.text in {"(", "[", '"', "“"}:
            return ""
        return f"{last.text!r} precedes"
    if last.text.lower() == "and" and not first:
        return ""  # "… = 7 and 5 + 6 = 11": a second relation of the same sentence
    if last.text.lower() in {"and", "or"}:
        return f"{last.text!r} precedes"
    copulas = list(_COPULA.finditer(text))
    words = text[copulas[-1].end() :] if copulas else text
    for word in re.findall(r"[a-z]+", words.lower()):
        if word in _BEFORE:
            return f"{word!r} precedes"
    operators = [piece for piece in run if piece.text in {"+", "-", "*", "/", "//", "^"}]
    return "" if operators else "a lone number after words"
