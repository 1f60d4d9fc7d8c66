r"""One spelling for the many ways to write an answer: marks around it, separators inside numbers, Unicode.

`**\(12,\!345\)**.`, `12{,}345` and `12,345` all become one text with a separator of our own, so that a comma
which is left separates the items of a list.
"""

import re
import unicodedata

from verifiers.answers.chinese import english
from verifiers.expressions.latex import POWER, RAISED

SEPARATOR = "\u066c"
"""Between thousands, where that is sure. A comma between such digits may also separate two numbers."""

# Pairs that surround a whole answer and say nothing: math, bold type, code, quotation.
_MARKS = (
    ("$$", "$$"),
    ("\\(", "\\)"),
    ("\\[", "\\]"),
    ("**", "**"),
    ("__", "__"),
    ("`", "`"),
    ('\\"', '\\"'),
    ('"', '"'),
)
_MOST_MARKS = 8
r"""Marks inside marks that are taken off: `**\(12\)**.` has three. More are an attack, not an answer."""
_SPACE = r"(?:\\[,;:! ]|~)"
_WIDE_SPACES = "\u00a0\u2009\u202f"
# Separators that part thousands and nothing else: `12,\!345`, `12{,}345`, `12\,345`, `12'345`. They
# must stand before exactly three digits: `1{,}5` is a decimal.
_SURE = re.compile(
    rf"(?<=\d)(?:,\s?\\!\s?|\\!\s?,\s?|\s?\{{\s?,\s?\}}(?:\\!)?\s?|{_SPACE}\s?|[{_WIDE_SPACES}'’])(?=\d{{3}}(?!\d))"
)
# 1,234 and 1,234,567, whole: not the middle of 1,234,56 or 1,2345.
_GROUPED = re.compile(rf"(?<![\d.,{SEPARATOR}])\d{{1,3}}(?:[,{SEPARATOR}]\d{{3}})+(?!\d|[,{SEPARATOR}]\d)")
# 1 234 567 with a unit behind it; 0 123 is no number, and 1 23 two.
_SPACED = re.compile(r"([-+$€£]*)([1-9]\d{0,2}(?: \d{3})+)((?:\.\d+)?(?:\D.*)?)")
# Words inside math: `5\text{ cm}`. A box inside a box is opened like them.
_TEXT = re.compile(
    r"\\(?:text|textbf|textit|textrm|mathrm|mathbf|mathit|mbox|textnormal|textsf|texttt|mathsf|operatorname|boxed|fbox)\s*\{([^{}]*)\}"
)
# `**12**` is bold, `2**3` and `(a)**(b)` are powers.
_BOLD = re.compile(r"(?<![\w)*])\*\*(?=[^\s*])([^*]*)(?<=[^\s*])\*\*(?![\w(*])")
# What looks like a sign is one: the minus of typographers, full-width digits of Chinese texts, and letters
# that are slanted or bold by their code. Bullets stay: between numbers they may separate a list.
_MEANT: dict[str, str] = {
    **dict.fromkeys("−–‐‑﹣⁻", "-"), **dict.fromkeys("×⋅·∙✕✖⨯∗\u2062", "*"), **dict.fromkeys("÷⁄∕", "/"),
    "±": "\\pm ", "∪": "\\cup ", "°": "^\\circ ", "∞": "\\infty ", "π": "\\pi ", "∶": ":",
    **dict.fromkeys(_WIDE_SPACES, " "), **dict.fromkeys("\u00ad\u200b\u200c\u200d\u2060\ufeff", ""),
    **{chr(0xFEE0 + c): chr(c) for c in range(0x21, 0x7F)},
    **{chr(c): unicodedata.normalize("NFKC", chr(c)) for c in range(0x1D400, 0x1D800)},
}  # fmt: skip
_SIGNS = str.maketrans(_MEANT)
_VULGAR = {c: unicodedata.normalize("NFKC", c).replace("⁄", "/") for c in "½⅓⅔¼¾⅕⅖⅗⅘⅙⅚⅐⅛⅜⅝⅞⅑⅒"}
_SUPERSCRIPT = re.compile(POWER)
_TIMES_TEN = re.compile(r"(?<=\d)\s*[xX]\s*(?=10\s*\^)")
"""The letter in `1.2 x 10^3` stands for the sign ×."""
_DOUBLED = re.compile(r"\\\\(?=[A-Za-z]{2}|[{}])")
r"""A backslash that was escaped once more: `\\\\frac`. In a matrix it ends a row."""
_PLAIN = re.compile(r"[A-Za-z0-9./=%^-]*")
"""Nothing in it has two spellings."""
# `+-3` and `5 +/- 3` typed for a plus-minus; `2+-3` is a sum.
_PLUS_MINUS = re.compile(r"^\+-|\+/-")
# An answer that neither begins nor ends with one of these needs no marks taken off.
_EDGES = frozenset('$\\*_`".,;:) ]\n\t\r\u00a0')
_DEGREES_ABOVE = re.compile(r"(\\[dt]?frac\{[^{}]*?)\s*\^\s*(?:\\circ|\{\\circ\s*\})\s*(\}\{[^{}]*\})")
r"""`\frac{220^\circ}{3}` has its degrees in the top."""
# A root sign reaches over a bracket, a number or one letter: √2x is (√2)x.
_ROOT = re.compile(r"√\s*(?:\(([^()]*)\)|(\d+|[A-Za-z]))")


def tidied(text: str) -> str:
    """The answer without what only surrounds it, in the spelling described above. Dollars left are money."""
    text = _bare(text)
    if "10" in text:
        text = _TIMES_TEN.sub("*", text)
    if text.isascii() and _PLAIN.fullmatch(text):
        return text
    if "\\\\" in text and "begin" not in text:
        text = _DOUBLED.sub(r"\\", text)
    text = _SURE.sub(SEPARATOR, text)
    if "\\!" in text:
        text = text.replace("\\!", "")  # it draws signs together, as in `8\!:\!34`
    if not text.isascii():
        text = english(_from_unicode(text))
    if "$" in text or "\\" in text or "{" in text:
        text = _without_math(text)
    if "**" in text:
        text = _BOLD.sub(r"\1", text).strip("*").replace("**", "^")
    if "+" in text:
        text = _PLUS_MINUS.sub(r"\\pm ", text)
    text = " ".join(text.split())
    if spaced := _SPACED.fullmatch(text):
        text = spaced[1] + spaced[2].replace(" ", SEPARATOR) + spaced[3]
    return _bare(text)


def _bare(text: str) -> str:
    """Without the marks around the whole of it, nor a stop or a comma behind it."""
    for _ in range(_MOST_MARKS):
        if text[:1] not in _EDGES and text[-1:] not in _EDGES:
            break
        before = text
        text = text.strip()
        if text[-1:] in {".", ",", ";", ":"} and text[-2:-1] not in {".", "\\"}:
            text = text[:-1].rstrip()
        for start, end in _MARKS:
            inner = text[len(start) : -len(end)]
            if text.startswith(start) and text.endswith(end) and inner.strip() and start not in inner:
                text = inner
        if text[:1] == text[-1:] == "$" and "$" not in text[1:-1].replace("\\$", "") and len(text) > 2:
            text = text[1:-1]
        if text == before:
            break
    return text


def _from_unicode(text: str) -> str:
    for sign in _VULGAR.keys() & set(text):
        written = _VULGAR[sign]
        text = text.replace(f"^{sign}", f"^{{{written}}}")  # x^⅔ is no third of a square
        text = re.sub(rf"(?<=\d)\s?{sign}", f" {written}", text).replace(sign, written)
    text = _ROOT.sub(lambda match: f"\\sqrt{{{match[1] or match[2]}}}", text)
    return _SUPERSCRIPT.sub(_power, text).translate(_SIGNS)


def _power(match: re.Match[str]) -> str:
    digits = match[0].translate(RAISED)
    return f"^{digits}" if len(digits) == 1 else f"^{{{digits}}}"


def _without_math(text: str) -> str:
    """Marks of inline math become spaces: an even number of dollars, which an odd one is not."""
    if text.replace("\\$", "").count("$") % 2 == 0:
        text = re.sub(r"(?<!\\)\$", " ", text)
    text = text.replace("\\$", "$").replace("\\(", " ").replace("\\)", " ").replace("\\%", "%")
    text = _DEGREES_ABOVE.sub(r"\1\2^\\circ", text)
    return re.sub(r"\\(?:left|right)(?![A-Za-z])", "", text).replace("{,}", ",")


def worded(text: str) -> str:
    r"""The answer with `\text{...}` opened, spacing commands as spaces, and degrees as a word."""
    if "\\" not in text and "~" not in text:
        return text
    text = _TEXT.sub(r" \1 ", text)
    text = re.sub(r"\s*\^\s*(?:\{\s*\\circ\s*\}|\\circ)(?![A-Za-z])", " degrees ", text)
    # No other command begins like `\quad`, so that `\quadx` is a slip for `\quad x`.
    return re.sub(rf"{_SPACE}|\\q?quad", " ", text).strip()


def grouped(text: str) -> str:
    """Commas before three digits read as thousands; not where they alone stand in brackets, as in (1,234)."""
    return _GROUPED.sub(lambda match: _group(text, match), text) if "," in text else text


def _group(text: str, match: re.Match[str]) -> str:
    before, after = text[: match.start()].rstrip(), text[match.end() :].lstrip()
    alone = before.endswith(("(", "[", "\\{")) and after.startswith((")", "]", "\\}"))
    return match[0] if alone else match[0].replace(",", SEPARATOR)


# A space with a letter or digit on both sides separates: `1 2` is not `12`, but `x + 1` is `x+1`.
_LOOSE = re.compile(r"(?<!\w)\s+|\s+(?!\w)")


def squeezed(text: str) -> str:
    """Without the spaces that separate nothing."""
    return _LOOSE.sub("", text) if " " in text else text
