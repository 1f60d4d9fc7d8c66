r"""Notations that are no rows of signs: `\sum_{i=1}^{4} i = 10`, `1 + 2 + ... + 10 = 55`,
`17 \equiv 2 \pmod 5`, `\frac{d}{dx} x^2 = 2x`, `\int_0^1 x^2 \, dx = 1/3`.

Sums, remainders and derivatives are refuted where every reading of their extent is false. An integral is
computed to some digits only, so it may hold and is not refuted.
"""

import re
from collections.abc import Iterator
from fractions import Fraction
from itertools import pairwise
from math import prod

from verifiers.base import Verdict
from verifiers.claims.parsed import ParsedText
from verifiers.expressions.latex import to_plain
from verifiers.expressions.parser import NUMBER, parse
from verifiers.expressions.tree import (
    Binary,
    Convention,
    Expression,
    Number,
    Refused,
    names,
    replaced,
)
from verifiers.expressions.values import exact, show

Noted = tuple[tuple[int, int], Verdict, str]
"""Where a claim stands, its verdict, and what is to be said."""

# Nothing before may belong to it: a formula or line begins, or a word, an equals sign or a congruence ends.
_START = (
    r"(?:^|(?<=[$\n])|(?<=[$\n] )|(?<=\\[(\[])|(?<=\\[(\[] )|(?<== )|(?<=≡ )|(?<=equiv )|(?<=[a-z]{2} )"
    r"|(?<=[a-z]{2}[,:] ))"
)
_SIDE = r"(?P<body>[^=$<>\n≤≥≈]{1,120}?)\s*=\s*(?P<result>[^=$<>\n≤≥≈]{1,80}?)"
# A result ends with its formula, its sentence, or the next link of a chain.
_END = r"(?=\s*(?:=|\$|\\[\])]|\\approx|[.;]?\s*$|[.;,]\s|\n))"
_BOUND = r"(?P<NAME>\{\s*(?:-?\d{1,3}|-?\\pi|\\frac\{\\pi\}\{\d\})\s*\}|\d(?!\d)|\\pi(?![a-z]))"
_SUM = re.compile(
    _START + r"\\(?P<kind>sum|prod)(?:\\limits)?\s*_\{\s*(?P<index>[a-z])\s*=\s*(?P<low>\d{1,3})\s*\}\s*\^\s*"
    rf"(?:\{{\s*(?P<high>\d{{1,3}})\s*\}}|(?P<digit>\d)(?!\d))\s*{_SIDE}{_END}"
)
_DERIVATIVE = re.compile(rf"{_START}\\d?frac\{{d\}}\{{d(?P<symbol>[a-z])\}}\s*{_SIDE}{_END}")
_INTEGRAL = re.compile(
    rf"{_START}\\int(?:\\limits)?\s*_{_BOUND.replace('NAME', 'low')}\s*\^\s*"
    rf"{_BOUND.replace('NAME', 'high')}\s*"
    r"(?P<body>[^=$<>\n]{1,80}?)(?:\\[,;!: ])*\s*d(?P<symbol>[a-z])\s*=\s*(?P<result>[^=$<>\n≤≥≈]{1,60}?)"
    + _END
)
_CONGRUENT = re.compile(
    _START + r"(?P<left>[\d(](?:[-\d +*^(){}]|\\cdot|\\times){0,120}?) ?(?:\\equiv|≡) ?"
    r"(?P<right>(?:[-\d +*^(){}]|\\cdot|\\times){1,60}?)"
    r"\s*\\?[(,]?\s*(?:\\pmod|\\bmod|\\mod|mod)\s*\{?\s*(?P<modulus>\d{1,9})\s*\}?\)?" + _END
)
# "17 mod 5 = 2"
_REMAINDER = re.compile(
    _START
    + r"(?P<left>\d{1,9}) ?(?:\\[bp]?mod|mod) ?(?P<modulus>\d{1,9}) ?= ?(?P<right>\d{1,9})(?!\d)"
    + _END
)
_DOTS = re.compile(
    rf"{_START}(?P<terms>(?:{NUMBER})(?:\s*\+\s*(?:{NUMBER})){{1,6}})\s*\+\s*"
    rf"(?:\.\.\.|…|\\[cl]?dots[a-z]?)\s*\+\s*(?P<last>{NUMBER})\s*=\s*(?P<result>{NUMBER})(?![\d]|\s*[-+*/^(\\])"
)
# `450 \cdot 8 \equiv 1`: the word before is a command, and no word.
_GOES_ON = re.compile(r"\\(?!equiv)[A-Za-z]+\s*$")
_LONGEST = 4_000
_POINTS = (Fraction(7, 5), Fraction(11, 4), Fraction(3, 7))
_STEP, _NEAR = Fraction(1, 10**12), Fraction(1, 10**15)
"""A difference quotient over 10^-12 is right to some 20 digits for the functions that people write."""


def noted(parsed: ParsedText) -> tuple[Noted, ...]:
    """The claims of a text in these notations."""
    text = parsed.text
    if len(text) > _LONGEST or not ("=" in text or "≡" in text or "\\equiv" in text):
        return ()
    if not ("\\" in text or "mod" in text or "..." in text or "≡" in text or "…" in text or "dots" in text):
        return ()
    found: list[Noted] = []
    for sign, pattern, judge in _NOTATIONS:
        if any(one in text for one in sign):
            for match in pattern.finditer(text):
                if _GOES_ON.search(text, max(0, match.start() - 20), match.start()):
                    continue
                try:
                    judged = judge(match)
                except (Refused, ValueError, ZeroDivisionError):
                    continue
                found += [(match.span(), judged[0], judged[1])] if judged else []
    return tuple(found)


def _read(text: str) -> Expression:
    return parse(to_plain(text))


def _said(match: re.Match[str], right: bool, really: str) -> tuple[Verdict, str]:
    text = " ".join(match[0].split())
    return ("holds", text) if right else ("fails", f"{text}: it is {really}")


def _sum(match: re.Match[str]) -> tuple[Verdict, str] | None:
    low, high = int(match["low"]), int(match["high"] or match["digit"])
    body, result = _read(match["body"]), _read(match["result"])
    if names(body) - {match["index"]} or names(result) or high < low:
        return None
    combine = sum if match["kind"] == "sum" else prod
    values = []
    # `\sum i + 1`: the sum may end before the sign or go on behind it.
    for term, rest in _extents(body):
        terms = [exact(term, {match["index"]: Fraction(at)}) for at in range(low, high + 1)]
        values.append(Fraction(combine(terms)) + (exact(rest, {}) if rest and not names(rest) else 0))
    return _said(match, exact(result, {}) in values, show(values[0]))


def _extents(body: Expression) -> Iterator[tuple[Expression, Expression | None]]:
    yield body, None
    if isinstance(body, Binary) and body.op == "+":
        yield body.left, body.right


def _derivative(match: re.Match[str]) -> tuple[Verdict, str] | None:
    from verifiers.expressions.decimals import approximate

    symbol = match["symbol"]
    body, result = _read(match["body"]), _read(match["result"])
    if (names(body) | names(result)) != {symbol}:
        return None
    for point in _POINTS:
        around = [approximate(body, {symbol: point + side}, Convention()) for side in (_STEP, -_STEP)]
        slope = (around[0] - around[1]) / (2 * _STEP)
        said = approximate(result, {symbol: point}, Convention())
        if abs(slope - said) > _NEAR * max(Fraction(1), abs(slope)):
            return _said(match, False, f"{float(slope):.6g} at {symbol} = {show(point)}")
    return _said(match, True, "")


def _integral(match: re.Match[str]) -> tuple[Verdict, str] | None:
    import mpmath  # type: ignore[import-untyped]

    from verifiers.expressions.decimals import approximate

    symbol = match["symbol"]
    body, result = _read(match["body"]), _read(match["result"])
    if names(body) - {symbol} or names(result):
        return None
    low, high, said = (
        float(approximate(tree, {}, Convention()))
        for tree in (*(_read(_inner(match[bound])) for bound in ("low", "high")), result)
    )

    def at(x: float) -> float:
        put = replaced(body, {symbol: Number(Fraction(float(x)), "")})
        return float(approximate(put, {}, Convention()))

    area = float(mpmath.quad(at, [low, high], maxdegree=4))
    return _said(match, True, "") if abs(area - said) <= 1e-9 * max(1, abs(area)) else None


def _inner(bound: str) -> str:
    return bound[1:-1] if bound.startswith("{") else bound


def _congruent(match: re.Match[str]) -> tuple[Verdict, str] | None:
    left, right = (exact(_read(match[side]), {}) for side in ("left", "right"))
    modulus = int(match["modulus"])
    if left.denominator != 1 or right.denominator != 1 or modulus < 2:
        return None
    return _said(match, (left - right) % modulus == 0, f"{left % modulus}")


def _dots(match: re.Match[str]) -> tuple[Verdict, str] | None:
    terms = [Fraction(one.replace(",", "")) for one in re.findall(NUMBER, match["terms"])]
    last, said = (Fraction(match[name].replace(",", "")) for name in ("last", "result"))
    step, ratio = terms[1] - terms[0], terms[1] / terms[0]
    sums = []
    if step and all(b - a == step for a, b in pairwise(terms)) and (last - terms[0]) / step > len(terms) - 1:
        count = (last - terms[0]) / step + 1
        sums += [count * (terms[0] + last) / 2] if count.denominator == 1 else []
    if ratio > 1 and all(b / a == ratio for a, b in pairwise(terms)) and _is_power(last / terms[0], ratio):
        sums.append((last * ratio - terms[0]) / (ratio - 1))
    # Two terms do not say how a row goes on: 1 + 2 + ... may add one or double.
    if said in sums or (len(terms) > 2 and sums):
        return _said(match, said in sums, " or ".join(map(show, sums)))
    return None


def _is_power(value: Fraction, base: Fraction) -> bool:
    for _ in range(200):
        if value <= 1:
            break
        value /= base
    return value == 1


_NOTATIONS = (
    (("\\sum", "\\prod"), _SUM, _sum),
    (("frac{d}",), _DERIVATIVE, _derivative),
    (("\\int",), _INTEGRAL, _integral),
    (("\\equiv", "≡"), _CONGRUENT, _congruent),
    (("mod",), _REMAINDER, _congruent),
    (("...", "…", "dots"), _DOTS, _dots),
)
"""Signs without which a notation is not looked for, its pattern, and its judge."""
