r"""What a step says in words about whole numbers: "the GCD of 116 and 174 is 2", "21 is not a multiple of 3".

Such a sentence is true or false whatever the solution is about, if all of its numbers are written out. It is
read only where its whole clause has one of a few forms; what stands around it may neither compute with the
numbers ("7 + 14 is a multiple of 3") nor ask or reject ("if 21 is prime").
"""

import re
from collections.abc import Callable
from math import gcd, isqrt, lcm, prod

from verifiers.base import Verdict
from verifiers.claims.parsed import LONGEST_STEP, ParsedText

Fact = tuple[tuple[int, int], Verdict, str]
"""Where it stands in the text, its verdict, and what is to be said."""
_LARGEST = 10**10
"""Larger numbers are not factored: at this size trial division takes some milliseconds."""
_MOST = 40
"""Facts that are read of one text."""

# In the plain text formulas have lost their signs: "the GCD of  116  and  174  is  2".
_N = r"\d{1,3}(?:,\d{3}){1,4}(?![\d,]{0,9}\d)|\d{1,11}(?![\d,]{0,9}\d)"
_A, _B, _VALUE = (rf"(?P<{name}>{_N})" for name in ("a", "b", "value"))
_LIST = rf"(?P<list>(?:{_N})(?:\s*,\s*(?:{_N})){{0,24}}\s*(?:,\s*)?(?:and|&)\s*(?:{_N}))"
# A phrase ends: "is 2." and "is 2, so", not "is 2^3", "is 2 times", "is 3 or 5".
_END = (
    r"(?!\s*[-+*/^=!%°_(\[{<>≤≥≠≈≡|§]|\s*[.,]\d|\s*[A-Za-z](?![A-Za-z])|\s*,?\s*(?:or|nor|and)\s+[\d-]"
    r"|\s+(?:times|squared|cubed|plus|minus|more|less|greater|away|over|mod\w*|of|to|divided|multiplied|in"
    r"|digits?|for|with|factors?)\b)"
)
# "is prime." and "is prime, so", not "is prime to 10".
_STOP = r"(?=\s*(?:[.,;:)]|$|so\b|but\b|because\b|since\b))"
_IS = r"\s*(?:is|=|equals|would be|will be)\s*:?\s*"
# "21, which is not", "27 isn't also"
_ISNT = (
    r"\s*,?\s*(?:which\s+|that\s+)?(?:is|are)(?P<neg>\s+not|n't|n’t)?\s+"
    r"(?:also\s+|still\s+|actually\s+|indeed\s+|both\s+|all\s+)?"
)
_POWER = rf"(?:{_N})(?:\s*\^\s*\(?\d{{1,2}}\)?)?"
_OF_LIST = rf"(?:\s*\(\w{{3}}\))? (?:of|between|for)\s+(?:the numbers\s+)?{_LIST}{_IS}{_VALUE}{_END}"
_FORMS: tuple[tuple[str, str], ...] = (
    ("gcd", rf"\b(?:(?:greatest|highest) common (?:divisor|factor)|GCD|gcd|GCF|gcf|HCF){_OF_LIST}"),
    ("lcm", rf"\b(?:(?:least|lowest) common (?:multiple|denominator)|LCM|lcm|LCD){_OF_LIST}"),
    (
        "divides",
        rf"{_A}{_ISNT}(?:evenly\s+)?"
        rf"(?P<way>divisible by|an? (?:integer )?multiple of|an? (?:factor|divisor) of)\s+{_B}{_END}",
    ),
    ("prime", rf"{_A}{_ISNT}(?:an?\s+)?(?P<way>prime|composite)(?: numbers?)?{_STOP}"),
    ("square", rf"{_A}{_ISNT}an?\s+perfect\s+(?P<way>square|cube){_STOP}"),
    ("parity", rf"{_A}{_ISNT}(?:an?\s+)?(?P<way>even|odd)(?: (?:number|integer))?{_STOP}"),
    (
        "coprime",
        rf"{_LIST}\s+(?:are(?P<neg>\s+not)?\s+(?:relatively prime|coprime|co-prime)"
        r"|(?:do not|don't)\s+(?:share|have)\s+any\s+(?:other\s+)?common\s+(?:factors|divisors)"
        r"|(?:share|have)\s+no\s+(?:other\s+)?common\s+(?:factors|divisors))"
        r"(?=\s*(?:[.,;:)]|$|so\b|but\b|other\b|besides\b|except\b|greater\b|and\b))",
    ),
    ("remainder", rf"\bremainder when\s+{_A}\s+is divided by\s+{_B}{_IS}{_VALUE}{_END}"),
    (
        "remainder",
        rf"{_A}\s+(?:leaves|has|gives)\s+a remainder of\s+{_VALUE}\s+when divided by\s+{_B}{_END}",
    ),
    (
        "division",
        rf"{_A}\s+divided by\s+{_B}\s+(?:is|gives|equals)\s+(?P<q>{_N})\s*,?\s+"
        rf"with\s+(?:a\s+)?remainder\s+(?:of\s+)?{_VALUE}{_END}",
    ),
    (
        "divisors",
        rf"\b(?P<way>(?:prime |proper )?(?:factors|divisors)) of\s+{_A}\s+are\s*:?\s*"
        rf"{_LIST}(?=\s*(?:[.;)\n]|$))",
    ),
    (
        "count",
        rf"{_A}\s+has\s+(?:exactly\s+)?{_VALUE}\s+(?P<way>(?:distinct )?(?:positive |prime )?(?:integer )?)"
        r"(?:factors|divisors)(?=\s*(?:[.,;)]|$))",
    ),
    ("digits", rf"\bsum of (?:the |its )?digits (?:of|in)\s+{_A}{_IS}{_VALUE}{_END}"),
    (
        "factored",
        rf"\bprime factori[sz]ation of\s+{_A}{_IS}(?:(?P=a)\s*=\s*)?"
        rf"(?P<product>{_POWER}(?:\s*[*x]\s*{_POWER}){{0,15}}){_END}",
    ),
    (
        "extreme",
        r"\b(?P<way>smallest|least|largest|greatest)\s+(?P<size>two|three|four|2|3|4)[- ]digit "
        rf"(?:positive )?(?:integer )?multiple of\s+{_B}\s+is\s*:?\s*(?:[\d *]{{1,30}}=\s*)?{_VALUE}{_END}",
    ),
    (
        "ending",
        rf"\b(?P<way>units|ones|last|last two|last three) digits?\s+of\s+{_A}\s*\^\s*\(?{_B}\)?\s+"
        rf"(?:is|are)\s+(?P<value>\d{{1,3}}){_END}",
    ),
)
_NEEDED = {
    "gcd": ("common", "GCD", "gcd", "GCF", "gcf", "HCF"),
    "lcm": ("common", "LCM", "lcm", "LCD"),
    "divides": ("divisible", "multiple", "factor", "divisor"),
    "prime": ("prime", "composite"),
    "square": ("perfect",),
    "parity": ("even", "odd"),
    "coprime": ("prime", "common"),
    "remainder": ("remainder",),
    "division": ("remainder",),
    "divisors": ("factors", "divisors"),
    "count": ("factors", "divisors"),
    "digits": ("digits",),
    "factored": ("factori",),
    "extreme": ("multiple",),
    "ending": ("digit",),
}
"""Words of which a text with a fact of a form has one."""
_PATTERNS = tuple((name, re.compile(rf"(?<![\w.,^*/_{{-]){pattern}")) for name, pattern in _FORMS)
# Words without which no fact is looked for.
_MAY_STATE = re.compile(
    r"common|GC[DF]|gcd|LCM|lcm|divisible|multiple|factor|divisor|prime|composite|perfect|even|odd|remainder|digit"
)
# What stands straight before a number may compute with it or not claim it: "7 + 14 is", "if 21 is".
_BEFORE = re.compile(
    r"(?:[-+*/^<>≤≥≠≈|]|\b(?:of|by|than|times|plus|minus|between|from|if|whether|suppose|assume|unless|until"
    r"|when|neither|either|both|no|not|none|nor|or|every|each|any|all|some|only|digits?|sum|difference|product"
    r"|check|first|nearest))\s*$"
)
# The same anywhere in the clause before it: "the sum of 7 and 14 is", "no number between 24 and 28 is".
_CLAUSE_DOUBTS = re.compile(
    r"\b(?:if|whether|suppose\w*|assum\w*|unless|until|sum|product|difference|digits?|between|neither|no|none"
    r"|wants?|need\w*|must|should|check\w*|such|where|let|say|both|either|or)\b",
    re.I,
)
# A step with one of them may state what is rejected, or in other numerals.
_STEP_DOUBTS = re.compile(
    r"\b(?:wrong\w*|incorrect\w*|mistak\w*|errors?|contradict\w*|false\w*|base|binary|octal|modulo|impossible|assum\w*"
    r"|suppose\w*|pretend|counterfactual|hypothe\w*|guess\w*|ignor\w*)\b|\?",
    re.I,
)


def number_facts(parsed: ParsedText) -> tuple[Fact, ...]:
    """What a text says about whole numbers in words, with verdicts."""
    if len(parsed.text) > LONGEST_STEP or not _MAY_STATE.search(parsed.text):
        return ()
    text = parsed.source.text
    if _STEP_DOUBTS.search(text):
        return ()
    found: list[Fact] = []
    for name, pattern in _PATTERNS:
        if not any(word in text for word in _NEEDED[name]):
            continue
        for match in pattern.finditer(text):
            if len(found) == _MOST:
                return tuple(found)
            judged = None if _is_doubtful(text, match) else _JUDGES[name](match)
            if judged is not None:
                right, really = judged
                said = " ".join(match[0].split())
                reason = said if right else f"{said}: {really}"
                found.append((parsed.source.source(*match.span()), "holds" if right else "fails", reason))
    return tuple(found)


_REACH = 160
"""Characters before a fact in which its clause may begin."""
_SENTENCES = (". ", "; ", ": ", "\n")
_CLAUSES = (*_SENTENCES, ", ", "=", "(")
# "If the GCD of", "the product of the GCD and LCM of"
_CONDITION = re.compile(
    r"\b(?:if|whether|when|such|where|or|each|every|not|product|sum|difference|ratio|times)\b[^,]*$"
    r"|\b(?:and|of|by|from|than|minus|plus)\s+(?:the\s+)?$",
    re.I,
)
_LISTED = re.compile(r"\d\s*(?:,\s*)?and\s*$")


def _is_doubtful(text: str, match: re.Match[str]) -> bool:
    """Whether the words before may compute with what is stated, or not claim it."""
    # "27, 52, and 77 are prime" goes on with a list, which a whole sentence may lead in.
    start = _clause_start(text, match.start(), _SENTENCES if " are" in match[0] else _CLAUSES)
    before = text[start : match.start()]
    # "4 are odd" counts: only the last of a list is a number that is odd.
    if " are" in match[0] and "list" not in match.re.groupindex and not _LISTED.search(before):
        return True
    if match[0][0].isdigit():
        return bool(_BEFORE.search(before) or _CLAUSE_DOUBTS.search(before))
    return _CONDITION.search(before) is not None


def _clause_start(text: str, at: int, marks: tuple[str, ...]) -> int:
    """Where the clause of a place begins: behind a comma, a full stop, an equals sign or a line's end."""
    low = max(0, at - _REACH)
    ends = ((text.rfind(mark, low, at), mark) for mark in marks)
    return max([low, *(end + len(mark) for end, mark in ends if end >= 0)])


def _number(text: str) -> int:
    return int(text.replace(",", ""))


def _numbers(text: str) -> list[int]:
    return [_number(one) for one in re.findall(_N, text)]


Judged = tuple[bool, str] | None


def _gcd(match: re.Match[str]) -> Judged:
    value = gcd(*_numbers(match["list"]))
    return value == _number(match["value"]), f"it is {value}"


def _lcm(match: re.Match[str]) -> Judged:
    value = lcm(*_numbers(match["list"]))
    return value == _number(match["value"]), f"it is {value}"


def _divides(match: re.Match[str]) -> Judged:
    a, b = _number(match["a"]), _number(match["b"])
    if "factor" in match["way"] or "divisor" in match["way"]:
        a, b = b, a
    if not b:
        return None
    return (a % b == 0) != bool(match["neg"]), f"{a} = {b} * {a // b}" + (f" + {a % b}" if a % b else "")


def _prime(match: re.Match[str]) -> Judged:
    a = _number(match["a"])
    if a > _LARGEST or a < 2:
        return None
    factor = next(iter(_primes_of(a)))
    prime = factor == a
    said = prime if match["way"] == "prime" else not prime
    return said != bool(match["neg"]), "it is prime" if prime else f"{factor} divides it"


def _square(match: re.Match[str]) -> Judged:
    a = _number(match["a"])
    root = isqrt(a) if match["way"] == "square" else round(a ** (1 / 3))
    is_power = root ** (2 if match["way"] == "square" else 3) == a
    return is_power != bool(
        match["neg"]
    ), f"it is {root} to that power" if is_power else f"{root} is the nearest root"


def _parity(match: re.Match[str]) -> Judged:
    even = _number(match["a"]) % 2 == 0
    return (even == (match["way"] == "even")) != bool(match["neg"]), "it is even" if even else "it is odd"


def _coprime(match: re.Match[str]) -> Judged:
    numbers = _numbers(match["list"])
    if len(numbers) != 2:
        return None  # pairwise, or all of them together?
    value = gcd(*numbers)
    return (value == 1) != bool(match["neg"]), f"{value} divides both"


def _remainder(match: re.Match[str]) -> Judged:
    a, b, value = (_number(match[name]) for name in ("a", "b", "value"))
    return (value == a % b, f"it is {a % b}") if b else None


def _division(match: re.Match[str]) -> Judged:
    a, b, q, value = (_number(match[name]) for name in ("a", "b", "q", "value"))
    return (q * b + value == a and value < b, f"it is {a // b} and {a % b}") if b else None


def _divisors(match: re.Match[str]) -> Judged:
    a, said = _number(match["a"]), set(_numbers(match["list"]))
    if not 1 < a <= 10**6:
        return None
    every = {d for low in range(1, isqrt(a) + 1) if a % low == 0 for d in (low, a // low)}
    true = {"prime": set(_primes_of(a)), "proper": every - {a}}.get(match["way"].split()[0], every)
    # Some leave out 1 and the number itself, or say "factors" of the prime ones.
    right = said == true or ("prime" not in match["way"] and said >= every - {1, a} and said <= every)
    if not right and said <= set(_primes_of(a)):
        return None
    return right, f"they are {', '.join(map(str, sorted(true)[:12]))}"


def _count(match: re.Match[str]) -> Judged:
    a, value = _number(match["a"]), _number(match["value"])
    if not 1 < a <= _LARGEST:
        return None
    primes = _primes_of(a)
    if "prime" in (match["way"] or ""):
        return value in {len(primes), sum(primes.values())}, f"it has {len(primes)}"
    number = prod(power + 1 for power in primes.values())
    return value in {number, 2 * number}, f"it has {number}"


def _digits(match: re.Match[str]) -> Judged:
    value = sum(map(int, match["a"].replace(",", "")))
    return value == _number(match["value"]), f"it is {value}"


def _factored(match: re.Match[str]) -> Judged:
    a, value = _number(match["a"]), 1
    for base, power in re.findall(rf"({_N})(?:\s*\^\s*\(?(\d{{1,2}}))?", match["product"]):
        value *= _number(base) ** int(power or 1)
    return value == a, f"the product is {value}" if value < 10**20 else "the product is larger"


_SIZES = {"two": 2, "three": 3, "four": 4}


def _extreme(match: re.Match[str]) -> Judged:
    size, b = _SIZES.get(match["size"]) or int(match["size"]), _number(match["b"])
    low, high = 10 ** (size - 1), 10**size - 1
    if not 0 < b <= high:
        return None
    value = -(-low // b) * b if match["way"] in {"smallest", "least"} else high // b * b
    return value == _number(match["value"]), f"it is {value}"


def _ending(match: re.Match[str]) -> Judged:
    digits = {"last two": 2, "last three": 3}.get(match["way"], 1)
    a, b = _number(match["a"]), _number(match["b"])
    value = pow(a, b, 10**digits)
    if digits == 1 and len(match["value"]) > 1:
        return None
    return value == int(match["value"]), f"{value:0{digits}d}"


def _primes_of(number: int) -> dict[int, int]:
    """The primes that divide a number, in order, with their powers."""
    found: dict[int, int] = {}
    at = 2
    while at * at <= number:
        while number % at == 0:
            found[at] = found.get(at, 0) + 1
            number //= at
        at += 1 if at == 2 else 2
    if number > 1:
        found[number] = found.get(number, 0) + 1
    return found


_JUDGES: dict[str, Callable[[re.Match[str]], Judged]] = {
    "gcd": _gcd,
    "lcm": _lcm,
    "divides": _divides,
    "prime": _prime,
    "square": _square,
    "parity": _parity,
    "coprime": _coprime,
    "remainder": _remainder,
    "division": _division,
    "divisors": _divisors,
    "count": _count,
    "digits": _digits,
    "factored": _factored,
    "extreme": _extreme,
    "ending": _ending,
}
