r"""An answer's LaTeX in the spelling that our parser reads: functions with brackets, degrees, binomials.

`\sin^2 2x` becomes `(sin(2x))^(2)`, `\log_2 8` `(ln(8)/ln(2))`, `0.1\overline{6}` `((15)/(90))`. What is not
known stays foreign, and the parser refuses it.
"""

import math
import re

from verifiers.answers.notation import SEPARATOR
from verifiers.answers.series import ANSWER_FUNCTIONS, applied
from verifiers.expressions.latex import to_plain
from verifiers.expressions.tree import Refused

_GREEK = (
    "alpha beta gamma delta epsilon varepsilon zeta eta theta vartheta kappa lambda mu nu xi rho sigma tau "
    "phi varphi chi psi omega Gamma Delta Theta Lambda Xi Sigma Phi Psi Omega ell".split()
)
_SYMBOL = re.compile(rf"\\({'|'.join(sorted(_GREEK, key=len, reverse=True))})(?![A-Za-z])")
_SUBSCRIPT = re.compile(r"([A-Za-z])_\{?([A-Za-z0-9]{1,8})\}?(?![}\w])")
_INVERSE = {
    "arcsin": "asin",
    "arccos": "acos",
    "arctan": "atan",
    "asin": "asin",
    "acos": "acos",
    "atan": "atan",
}
_BELOW_ONE = {"sec": "cos", "csc": "sin", "cot": "tan"}
_APPLIED = re.compile(
    r"(?<![A-Za-z_])\\?("
    rf"{'|'.join((*_INVERSE, *_BELOW_ONE, 'sin', 'cos', 'tan', 'log', 'ln', 'lg', 'exp'))})(?![A-Za-z])"
)
_KNOWN = ANSWER_FUNCTIONS | {"pi"}
# A repeating decimal: `0.1\overline{6}`, `0.\dot{3}`, `0.(3)`.
_REPEATING = re.compile(r"(\d*)\.(\d*)(?:\\(?:overline|bar|dot)\s*\{?(\d{1,40})\}?|\((\d{1,40})\))(?![\d.])")
_BINOMIAL = re.compile(
    r"\\[dt]?binom\s*(?:\{([^{}]*)\}|(\d))\s*(?:\{([^{}]*)\}|(\d))|\{([^{}]*)\\choose\s([^{}]*)\}"
)
# `\frac \pi4`, `\frac2\pi`, `\sqrt\pi`: a command is an argument, too.
_BARE_PI = re.compile(r"(\\(?:[dtc]?frac(?:\s*(?:\{[^{}]*\}|\d))?|sqrt))\s*\\pi(?![A-Za-z])\s*")
_BARS = re.compile(r"\\[lr]?[vV]ert(?![A-Za-z])|\\\|")
_SCIENTIFIC = re.compile(r"(?<![\w.])(\d+(?:\.\d+)?)[eE]([-+]?\d{1,3})(?![\w.])")
"""`1.5e-3`; not `2e`, which is twice the number e."""
_LEADING_ZEROS = re.compile(r"(?<![\w.])0+(?=\d)")
"""Competitions ask for three digits: 071 is 71."""
_LETTERS = re.compile(r"(?<![A-Za-z_])[A-Za-z]{2,4}(?![A-Za-z_])")
"""Up to four letters in a row are a product of symbols, `xyz`; longer ones are a word."""
_LARGEST_BINOMIAL = 5000
# One factor of a function's argument without brackets: `2`, `x`, `x_1`, `pi`; a group ends it.
_FACTOR = re.compile(r"\s*(?:\d+(?:\.\d+)?|(?P<word>[A-Za-z]+(?:_\w+)?)|(?P<group>\())")
_QUOTIENT = re.compile(r"\(\([^()]*\)/\([^()]*\)\)")
_RAISED, _BASE = re.compile(r"\s*\^\s*"), re.compile(r"\s*_\s*")
_MARK, _UNSURE = re.compile(r"\s*degrees?(?![A-Za-z])"), re.compile(r"\s*[/!]")
# `\log_28` is LaTeX for the logarithm of 8 to base 2, but `log_10 x` is what people type.
_SMALL = re.compile(r"-?\d+(?=\s|\()|-?\w")
_DEGREES = re.compile(r"(\d+(?:\.\d+)?|\)|(?<![A-Za-z])[A-Za-z])\s*degrees?(?![A-Za-z])")
_MOST_FUNCTIONS = 30


def spelled(text: str) -> str:
    """The text for `verifiers.expressions.parser.parse`. Raises Refused on a function without an argument."""
    # The separator stands where a comma parted thousands: `1,000` is one number here.
    text = text.replace(SEPARATOR, "")
    text = applied(text)
    if "." in text and ("\\" in text or "(" in text):
        text = _REPEATING.sub(_fraction, text)
    if "\\" in text:
        text = _BARS.sub("|", _SYMBOL.sub(r" g_\1 ", _BINOMIAL.sub(_binomial, text)))
        # Functions that the plain spelling of LaTeX does not know are named without their backslash.
        text = _APPLIED.sub(r" \1", text)
        text = _BARE_PI.sub(r"\1{\\pi}", text)
    if "_" in text:
        text = _SUBSCRIPT.sub(r"\1_\2", text)
    text = _between_bars(to_plain(text).replace("{", "(").replace("}", ")"))
    text = _LEADING_ZEROS.sub("", _SCIENTIFIC.sub(r"(\1*10^(\2))", text))
    if _APPLIED.search(text):
        text = _with_brackets(text)
    return _LETTERS.sub(_product, text)


def _product(match: re.Match[str]) -> str:
    """Letters without a sign are factors: `xy` is `x y`."""
    return match[0] if match[0] in _KNOWN else " ".join(match[0])


def _fraction(match: re.Match[str]) -> str:
    """0.1 with the 6 repeated is (16 - 1)/90."""
    whole, first, again = match[1] or "0", match[2], match[3] or match[4]
    if len(whole) + len(first) > 40:
        return match[0]
    top = int(whole + first + again) - int(whole + first)
    return f"(({top})/({(10 ** len(again) - 1) * 10 ** len(first)}))"


def _binomial(match: re.Match[str]) -> str:
    top, bottom = (
        (match[1] or match[2] or match[5] or "").strip(),
        (match[3] or match[4] or match[6] or "").strip(),
    )
    if top.isdecimal() and bottom.isdecimal() and len(top) < 5 and int(top) <= _LARGEST_BINOMIAL:
        return f"({math.comb(int(top), int(bottom))})" if len(bottom) < 5 else "(0)"
    return f"((({top})!)/((({bottom})!)(({top})-({bottom}))!))"


def _between_bars(text: str) -> str:
    r"""`|x - 1|` as `abs(x - 1)`; more bars than two may pair in several ways and stay foreign."""
    if text.count("|") != 2:
        return text
    before, inside, after = text.split("|")
    return f"{before} abs({inside}){after}"


def _with_brackets(text: str) -> str:
    """Every function with its argument in brackets, from the right, so that the inner ones come first."""
    matches = list(_APPLIED.finditer(text))
    if len(matches) > _MOST_FUNCTIONS:
        raise Refused("parse", "too many functions")
    for match in reversed(matches):
        name, at = match[1], match.end()
        power, base = "", ""
        if sign := _RAISED.match(text, at):
            power, at = _operand(text, sign.end())
        if name == "log" and (sign := _BASE.match(text, at)):
            base, at = _operand(text, sign.end())
        argument, at = _argument(text, at)
        text = f"{text[: match.start()]} {_call(name, argument, power, base)}{text[at:]}"
    return text


def _operand(text: str, at: int) -> tuple[str, int]:
    """A power or the base of a logarithm: a group in brackets, or what stands behind the sign."""
    if text[at : at + 1] == "(":
        end = _closed(text, at)
        return text[at + 1 : end - 1], end
    match = _SMALL.match(text, at)
    if match is None:
        raise Refused("parse", "a power without a value")
    return match[0], match.end()


def _closed(text: str, at: int) -> int:
    """Where the bracket that opens at or after this place is closed."""
    depth = 0
    for end in range(at, len(text)):
        depth += (text[end] == "(") - (text[end] == ")")
        if depth == 0 and text[end] != " ":
            return end + 1
    raise Refused("parse", "a bracket is not closed")


def _argument(text: str, at: int) -> tuple[str, int]:
    """A group in brackets, or the factors that follow: `2x` in `sin 2x + 1`. Before a slash it is unsure."""
    start = at
    while factor := _FACTOR.match(text, at):
        word, group = factor["word"], factor["group"]
        # `sin x cos y` and `sin x (a + b)` are products; in `sin (1/2)x` a fraction begins the argument.
        if at > start and (group or word in ANSWER_FUNCTIONS):
            break
        at = factor.end()
        if group or word in ANSWER_FUNCTIONS:
            at = _closed(text, at - 1 if group else at)
        if group and not (_QUOTIENT.fullmatch(text[start:at].strip()) and text[at : at + 1].isalpha()):
            return text[start:at].strip()[1:-1], at
        if power := _RAISED.match(text, at):
            _, at = _operand(text, power.end())
        if mark := _MARK.match(text, at):
            at = mark.end()
            break
    if at == start or _UNSURE.match(text, at):
        raise Refused("parse", "where a function's argument ends is unsure")
    return text[start:at], at


def _call(name: str, argument: str, power: str, base: str) -> str:
    argument = _DEGREES.sub(r"\1*pi/180", argument)
    if "degree" in argument:
        raise Refused("parse", "degrees of what?")
    if power.replace(" ", "") == "-1":
        if name not in {"sin", "cos", "tan"}:
            raise Refused("parse", f"the inverse of {name}")
        name, power = f"a{name}", ""
    if name == "exp":
        call = f"(e^({argument}))"
    elif name == "lg":
        call = f"(ln({argument})/ln(10))"
    elif base:
        call = f"(ln({argument})/ln({base}))"
    elif name in _BELOW_ONE:
        call = f"(1/{_BELOW_ONE[name]}({argument}))"
    else:
        call = f"{_INVERSE.get(name, name)}({argument})"
    return f"(({call})^({power}))" if power else call


_GROUP = r"\((?:[^()]|\([^()]*\))*\)"
# A slash, one factor, and another factor straight behind it: `3/4 x`, `1/2(a+b)`, but not `3/4 and x`.
_BARE_DIVISION = re.compile(
    rf"/\s*(?:\d[\d.]*|[A-Za-z]*{_GROUP}|(?!sqrt|root|sin|cos|tan|ln|log|abs|pi)[A-Za-z])(?:\s*\^\s*(?:\w+|{_GROUP}))?\s*(?!(?:and|or)\b)[A-Za-z(]"
)


def divides_in_two_ways(text: str) -> bool:
    """Whether a slash stands before a product without a sign, as in `3/4 x`, or `1/3 %`."""
    if "%" in text and ("/" in text or "frac" in text):
        return True
    return "/" in text and bool(_BARE_DIVISION.search(to_plain(text.replace("\\\\", ",").replace("&", ","))))
