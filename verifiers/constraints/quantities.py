"""What a step says of a problem's named quantities, as relations.

"Tom has 5 more pens than Mia" is Tom = Mia + 5. Only whole statements of a few forms are read, and none from
a step that supposes, denies or asks.
"""

import re
from collections.abc import Callable, Collection, Iterator
from functools import lru_cache

LONGEST_STEP = 2_000
# Each statement costs calls of the solver.
_MOST_STATEMENTS = 20
# "$1,200.50", whole: not the 12 of 12.5.1 or of 12,34.
_NUMBER = r"\$?(?P<n>-?\d{1,12}(?:,\d{3})*(?:\.\d{1,6})?)(?![\d,.]*\d)"
_HAS, _HAVE = r"(?:has|gets|owns|is|equals)", r"(?:have|get|own|are)"
_UNIT = r"(?: [a-z]+){0,2}"
# Words with which a statement is supposed, denied, asked, rounded, or true at another time: "if Tom has 5",
# "Tom had 5 before", "Tom doesn't have 5", "about 5". The whole step is then left alone.
_DOUBT = re.compile(
    r"\b(?:if|suppose|assum\w*|would|could|should|might|not|no|never|unless|wrong|false|incorrect|instead|without|"
    r"except|before|after|until|originally|initially|first|now|about|around|roughly|nearly|almost|least|most)\b|n['’]t\b|\?",
    re.IGNORECASE,
)
_NO_MORE = (
    r"(?! ?[-+*/^%×÷(=<>]| (?:x|times|percent|of|out|per|to|or|and a)\b|(?: [a-z]+){0,3} "
    r"(?:more|fewer|less|left|remaining|each|extra|apiece|together|altogether|than|as)\b)"
)
"""Nothing that makes the number before it another one: "5 more than", "5 * 3", "5 percent", "5 each"."""

_FORMS: tuple[tuple[str, Callable[[re.Match[str]], str]], ...] = (
    (rf"@a {_HAS} {_NUMBER} (?P<how>more|fewer|less){_UNIT} than @b",
     lambda m: f"{m['a']} = {m['b']} {'+' if m['how'] == 'more' else '-'} {_plain(m)}"),
    (rf"@a {_HAS} {_NUMBER} times as (?:many|much){_UNIT} as @b(?! and @n together)",
     lambda m: f"{m['a']} = {_plain(m)} * {m['b']}"),
    (rf"@a {_HAS} (?P<how>half|twice) as (?:many|much){_UNIT} as @b(?! and @n together)",
     lambda m: f"{m['a']} = {m['b']} {'/' if m['how'] == 'half' else '*'} 2"),
    (rf"@a {_HAS} as (?:many|much){_UNIT} as @b and @c together",
     lambda m: f"{m['a']} = {m['b']} + {m['c']}"),
    (rf"@a and @b {_HAVE} {_NUMBER}{_UNIT} (?:together|altogether|in total)",
     lambda m: f"{m['a']} + {m['b']} = {_plain(m)}"),
    (rf"@a {_HAS} {_NUMBER}{_NO_MORE}", lambda m: f"{m['a']} = {_plain(m)}"),
    (r"(?<![-+*/^%×÷=(<>.\d] )(?<![-+*/^=(])(?P<e>@o(?: [-+*/] @o)* = @o(?: [-+*/] @o)*)(?![\w.]*\d)"
     r"(?! ?[-+*/^%×÷(=<>])(?! (?:x|times|percent|of|per)\b)",
     lambda m: re.sub("[,$]", "", m["e"])),
)  # fmt: skip


def _plain(match: re.Match[str]) -> str:
    return match["n"].replace(",", "")


def stated(step: str, names: Collection[str]) -> list[str]:
    """The relations between the named quantities that a step states, in order; none from a doubtful one."""
    if not names or len(step) > LONGEST_STEP or _DOUBT.search(step):
        return []
    found = sorted(_statements(step, tuple(sorted(names))))
    return list(dict.fromkeys(text for _, text in found))[:_MOST_STATEMENTS]


def _statements(step: str, names: tuple[str, ...]) -> Iterator[tuple[int, str]]:
    for (_, relation), form in zip(_FORMS, _forms(names), strict=True):
        for match in form.finditer(step):
            text = relation(match)
            if any(re.search(rf"\b{re.escape(name)}\b", text) for name in names):
                yield match.start(), text


@lru_cache(maxsize=256)
def _forms(names: tuple[str, ...]) -> tuple[re.Pattern[str], ...]:
    name = rf"(?:{'|'.join(sorted(map(re.escape, names), key=len, reverse=True))})"
    operand = rf"(?:(?<!\w){name}(?!\w)|\$?\d[\d,]{{0,15}}(?:\.\d{{1,6}})?)"

    def named(match: re.Match[str]) -> str:
        return rf"(?<!\w)(?P<{match[1]}>{name})(?!\w)"

    texts = (form.replace("@o", operand).replace("@n", name) for form, _ in _FORMS)
    return tuple(re.compile(re.sub("@([abc])", named, text)) for text in texts)
