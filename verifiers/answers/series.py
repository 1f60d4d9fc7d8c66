r"""Sums, products, the largest and smallest, and combinations, as functions of the answers' parser.

`\sum_{k=1}^{10} k^2` becomes `sum(k,1,10,(k^2))`, `\max\{a, b\}` `max(a,b)`, `C_5^2` and `C(5,2)` `(10)`.
"""

import math
import re

from verifiers.expressions.tree import BINDING, FUNCTIONS, Refused

ANSWER_FUNCTIONS = FUNCTIONS | BINDING | {"max", "min", "floor", "ceil"}
"""What answers apply. Steps do not: there `max` is a name, and `sum` a word."""
_SERIES = re.compile(
    r"\\(?P<name>sum|prod)(?:\\limits)?\s*_\s*\{\s*(?P<counter>[A-Za-z])\s*=\s*(?P<low>[^{}]{1,40})\}"
    r"\s*\^\s*(?:\{(?P<high>[^{}]{1,40})\}|(?P<digit>\w))"
)
_MOST_SERIES = 4
_CHOSEN = re.compile(r"\\?(max|min|gcd|lcm)(?![A-Za-z])\s*\\?\{([^{}]*?)\\?\}")
_COMMANDS = re.compile(r"\\(max|min)(?![A-Za-z])")
_LARGEST = 5_000
# `C_5^2`, `\mathrm{C}_{5}^{2}`, `C(5,2)`, `{}_5C_2`, `^5P_2`: two numbers and the letter of what is counted.
_COUNTED = re.compile(
    r"(?<![A-Za-z\\_^{])(?:\\(?:mathrm|text)\s*\{\s*)?([CPA])(?:\s*\})?"
    r"(?:_\{?(\d{1,4})\}?\s*\^\{?(\d{1,4})\}?(?!\d)|\(\s*(\d{1,4})\s*,\s*(\d{1,4})\s*\))"
    r"|(?:\{\s*\}\s*)?[_^]\{?(\d{1,4})\}?\s*([CP])\s*_\{?(\d{1,4})\}?(?!\d)"
)


def applied(text: str) -> str:
    """The text with these written as functions. Raises Refused where a sum's end is unsure."""
    if "max" in text or "min" in text or "gcd" in text or "lcm" in text:
        text = _COMMANDS.sub(r" \1", _CHOSEN.sub(r" \1(\2)", text))
    if "C" in text or "P" in text or "A" in text:
        text = _COUNTED.sub(_counted, text)
    if "\\sum" in text or "\\prod" in text:
        matches = list(_SERIES.finditer(text))
        if len(matches) > _MOST_SERIES:
            raise Refused("parse", "too many sums")
        # From the right, so that the inner ones come first.
        for match in reversed(matches):
            text = _series(text, match)
    return text


def _counted(match: re.Match[str]) -> str:
    """Combinations of two whole numbers; A and P are arrangements. Otherwise it may be a power of C_5."""
    kind = match[1] or match[7]
    of, taken = (int(match[2] or match[4] or match[6]), int(match[3] or match[5] or match[8]))
    if not taken <= of <= _LARGEST:
        return match[0]
    return f"({math.comb(of, taken) if kind == 'C' else math.perm(of, taken)})"


def _series(text: str, match: re.Match[str]) -> str:
    """What is summed reaches to the next plus or minus, which nobody knows whether to include."""
    depth, end = 0, len(text)
    for at in range(match.end(), len(text)):
        depth += (text[at] in "([{") - (text[at] in ")]}")
        if depth < 0:
            end = at
            break
        if depth == 0 and text[at] in "+-" and text[match.end() : at].strip():
            raise Refused("parse", "where a sum ends is unsure")
    body = text[match.end() : end].strip()
    if not body:
        raise Refused("parse", "a sum of nothing")
    high = match["high"] or match["digit"]
    call = f" {match['name']}({match['counter']},({match['low']}),({high}),({body}))"
    return text[: match.start()] + call + text[end:]
