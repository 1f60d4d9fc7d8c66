r"""Words for sets and for nothing, in the notation that forms are read from.

"all real numbers except 2" becomes `\mathbb{R} \setminus \{2\}`, "positive reals" `(0, \infty)`, "empty set"
and "no solution" `\emptyset`, `3 to 4` the ratio `3:4`.
"""

import re

REALS, NOTHING = "\\mathbb{R}", "\\emptyset"
_REAL = (
    r"(?:all\s+|the\s+|any\s+|every\s+)*(?:(?:set\s+of\s+)?(?:all\s+)?real(?:\s+number)?s?|real\s+numbers?)"
)
_R = r"(?:\\(?:mathbb|mathbf|Bbb)\s*\{?\s*R\s*\}?|ℝ)"
_NUMBERS = r"real(?:\s+number)?s?"
_PHRASES = tuple(
    (re.compile(pattern, re.IGNORECASE), sign)
    for pattern, sign in (
        # `\mathbb{R}^+`, `\mathbb R_{>0}`, "positive real numbers"
        (rf"{_R}\s*[_^]\s*\{{?\s*(?:\+|>\s*0)\s*\}}?|(?:all\s+)?positive\s+{_NUMBERS}", r"(0,\\infty)"),
        (rf"{_R}\s*[_^]\s*\{{?\s*(?:-|<\s*0)\s*\}}?|(?:all\s+)?negative\s+{_NUMBERS}", r"(-\\infty,0)"),
        (rf"(?:all\s+)?non-?\s?negative\s+{_NUMBERS}", r"[0,\\infty)"),
        (rf"{_R}|(?:the\s+)?set\s+of\s+(?:all\s+)?real\s+numbers|{_REAL}", r"\\mathbb{R}"),
    )
)  # fmt: skip
# "ℝ except 2 and 3", "ℝ other than x = 2", `ℝ - \{2\}`, `ℝ \ \{2\}`.
_EXCEPT = re.compile(
    r"(?P<all>\\mathbb\{R\})\s*(?:,?\s*(?:except|excluding|other\s+than|but)(?:\s+for|\s+when)?\s+"
    r"(?:x\s*=\s*)?(?P<list>[^a-zA-Z]*(?:(?:\band\b|\bor\b|\\[a-z]+|\bx\s*=)[^a-zA-Z]*)*)$"
    r"|(?:-|\\backslash(?![A-Za-z])|\\(?=\s*\\\{)|∖)\s*(?=\\\{))",
    re.IGNORECASE,
)
_NOTHING = re.compile(
    r"\\(?:emptyset|varnothing)|∅|\\\{\s*\\\}|(?:the\s+)?(?:empty|null)\s+set|"
    r"(?:there\s+(?:is|are)\s+|it\s+has\s+|has\s+)?no\s+(?:real\s+)?(?:solutions?|roots?|values?)(?:\s+exists?)?",
    re.IGNORECASE,
)
_RATIO = re.compile(r"(-?\d+(?:\.\d+)?)\s+to\s+(-?\d+(?:\.\d+)?)")
_TOUCHED = re.compile(
    r"\\(?:math|Bbb|emptyset|varnothing|\{\s*\\\})|[ℝ∅]|\b(?:[Rr]eals?|[Ss]et|[Nn]o|NO|to|[Tt]here|[Hh]as|[Ii]t|[Aa]ll)\b"
)
"""What the phrases begin with: most answers have none of it."""


def notated(text: str) -> str:
    """The answer with these phrases as notation; any other text as it is."""
    if not _TOUCHED.search(text):
        return text
    if _NOTHING.fullmatch(text.strip()):
        return NOTHING
    if ratio := _RATIO.fullmatch(text.strip()):
        return f"{ratio[1]}:{ratio[2]}"
    if not re.search(r"mathbb|mathbf|Bbb|ℝ|\breals?\b", text, re.IGNORECASE):
        return text
    for pattern, sign in _PHRASES:
        text = pattern.sub(sign, text)
    return _EXCEPT.sub(_excepted, text)


def _excepted(match: re.Match[str]) -> str:
    if match["list"] is None:
        return REALS + " \\setminus "
    listed = re.sub(r"\b(?:and|or)\b", ",", re.sub(r"\bx\s*=", "", match["list"]))
    return f"{REALS} \\setminus \\{{{listed.strip(' ,.')}\\}}"
