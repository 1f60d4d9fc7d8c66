"""Chances and counts that need no model: probabilities out of range, choices, and what dice and cards have.

A count of dice, coins or cards is compared only where the problem speaks of no other ones.
"""

import math
import re
from collections.abc import Iterator

from verifiers.calculation.checked import Checked
from verifiers.claims.parsed import LONGEST_STEP
from verifiers.expressions.parser import parse
from verifiers.expressions.tree import Name, Number, Refused, names, walk
from verifiers.expressions.values import exact, show
from verifiers.rules.spoken import NUMBERS, Judged, Texts, fails, holds, is_hedged, is_readable, nothing

# `the probability that both are red is 3/36 = 1/12`, `P(A and B) = 5/4`. What stands for a value is read to
# a sign, a stop or the line's end. No bare numbers above 1: "the probability is 40" may mean 40%.
_CHANCE = re.compile(
    r"(?:\b(?:probability|chance)\b(?P<of>[^.;:=\d\n]{0,120}?)\s*(?:is|equals|=)\s*"
    r"|\bP\([A-Z][^()=\n]{0,40}\)\s*=\s*)"
    r"(?:\$|\\\(|\\\[)?\s*(?P<value>[^=≈<>\n,;:?A-Z]{1,120}?)\s*(?:\$|\\\)|\\\])?"
    r"(?=\s*(?:=|≈|[,;:]|\.(?:\s|$)|\n|$))"
)
# Words by which something else than a probability is stated: "the probability density is 2".
_OTHER = re.compile(
    r"\b(?:density|ratio|odds|times|more|less|expect\w*|sum|product|reciprocal|inverse|not|n't|cannot|greater"
    r"|"
    r"number|log\w*|difference|percent\w*|twice|per|form|simplif\w*|answer|numerator|denominator)\b",
    re.I,
)
_REACH = 40
"""Characters before a probability in which words may make something else of it: "the ratio of the"."""
_COUNT = rf"(\d{{1,3}}|{'|'.join(NUMBERS)})"
_CHOICES = re.compile(
    rf"number of ways (?:to|of) (?:choos(?:e|ing)|select(?:ing)?|pick(?:ing)?) {_COUNT}(?: [a-z]+)? "
    rf"(?:from|of|out of|from among) (?:the )?{_COUNT}(?: [a-z]+)? (?:is|=|equals) "
    r"(?P<value>[^,;\n]{1,80}?)"
    r"(?=\s*(?:[,;\n]|\.(?:\s|$)|$))",
    re.I,
)
_SHOWN = r"(?:has|have|gives?|there are)"
# `a fair six-sided die has 6 outcomes`, `two dice have 36 possible outcomes`, `three coins have 8 outcomes`.
_THROWS = re.compile(
    rf"\b(?:an? |{_COUNT} )(?:fair |standard |normal |ordinary |regular )*(?:six-sided |6-sided )?"
    rf"(?P<what>dic?e|coins?)(?: flips?| tosses)? {_SHOWN} (?:a total of )?{_COUNT} "
    r"(?:possible |equally likely |"
    r"total )*(?:outcomes|results|faces|sides)\b",
    re.I,
)
_CARDS = re.compile(
    rf"\b(?:a|the) (?:standard |full |ordinary |regular )*deck(?: of cards)? (?:has|have|contains) {_COUNT} "
    r"(?P<what>cards|suits|aces|kings|queens|jacks|face cards|red cards|black cards|hearts|spades|diamonds"
    r"|clubs)\b",
    re.I,
)
_DECK = {"cards": 52, "suits": 4, "face cards": 12, "red cards": 26, "black cards": 26}
_RANKS, _SUITS = {"aces", "kings", "queens", "jacks"}, {"hearts", "spades", "diamonds", "clubs"}
# Dice and decks of another kind: "an eight-sided die", "a deck of 40 cards", "biased".
_SPECIAL = re.compile(
    r"\b(?!six|6)\w+[- ]sided|\bjokers?\b|\bdecks\b|\bremov\w+|\bshort\b|\bspecial\b|\bmodified\b"
    r"|\bpinochle\b"
    r"|\bdeck of (?!52\b|cards)\w+|\b(?!52\b)\d+[- ]card|\b(?!52\b)\d+ cards\b|\bfaces\b"
    r"|\blabel|\bnumbered\b",
    re.I,
)


def judged(texts: Texts) -> Judged:
    """The verdicts on the chances and counts that each step states."""
    if not is_readable(texts):
        return nothing(texts)
    special = _SPECIAL.search(texts[0].text) is not None
    problem = texts[0].text.lower()
    posed = "probab" in problem or "chance" in problem
    return tuple(tuple(_claims(text.text, special=special, posed=posed)) for text in texts[1:])


def _claims(step: str, *, special: bool, posed: bool) -> Iterator[Checked]:
    lower = step.lower()
    if len(step) > LONGEST_STEP or not any(
        word in lower for word in ("probab", "chance", "ways", "p(", "di", "coin", "deck")
    ):
        return
    for line in step.split("\n"):
        for sentence in re.split(r"(?<=[a-z)\]$])\.\s+", line):
            if is_hedged(sentence):
                continue
            yield from _chances(sentence, posed=posed or "probab" in lower)
            yield from _choices(sentence)
            if not special:
                yield from _throws(sentence)


def _chances(sentence: str, *, posed: bool) -> Iterator[Checked]:
    if not posed or "function" in sentence or "polynomial" in sentence:
        return
    plain = _plain(sentence)
    for match in _CHANCE.finditer(plain):
        said = match["value"].strip()
        before = plain[max(0, match.start() - _REACH) : match.start()]
        if any(_OTHER.search(text) for text in (before, match["of"] or "", said)):
            continue
        try:
            tree = parse(said)
            value = exact(tree, {})
        except Refused:
            continue
        plain_number = isinstance(tree, Number) and value > 1
        # 1.5 and 40 may be told in per cent; a fraction of two numbers, or a per cent sign, may not.
        if plain_number or names(tree) or any(isinstance(node, Name) for node in walk(tree)):
            continue
        if not 0 <= value <= 1:
            yield fails(match[0].strip(), f"a probability is between 0 and 1, and this is {show(value)}")


def _plain(text: str) -> str:
    """Fractions and products of LaTeX in plain signs, so that a value ends where it is seen to end."""
    text = re.sub(r"\\[dt]?frac\{([^{}]{1,40})\}\{([^{}]{1,40})\}", r"(\1)/(\2)", text)
    return (
        text.replace("\\cdot", "*")
        .replace("\\times", "*")
        .replace("×", "*")
        .replace("−", "-")
        .replace("\\%", "%")
    )


def _number(word: str) -> int:
    return int(word) if word.isdigit() else NUMBERS.index(word.lower()) + 1


def _choices(sentence: str) -> Iterator[Checked]:
    for match in _CHOICES.finditer(sentence):
        chosen, among = _number(match[1]), _number(match[2])
        try:
            value = exact(parse(match["value"].partition("=")[0].strip()), {})
        except Refused:
            continue
        if value == math.comb(among, chosen):
            yield holds(match[0])
        # In a row, or with repeats, other numbers are meant; a problem may mean one without saying so here.
        elif chosen <= among and value not in {
            math.perm(among, chosen),
            among**chosen,
            math.comb(among + chosen - 1, chosen),
            chosen**among,
        }:
            yield fails(match[0], f"there are {math.comb(among, chosen)}")


def _throws(sentence: str) -> Iterator[Checked]:
    for match in _THROWS.finditer(sentence):
        count = _number(match[1]) if match[1] else 1
        faces = 6 if match["what"].lower().startswith("di") else 2
        if count > 12 or (count > 1 and re.search(r"(?:faces|sides)$", match[0])):
            continue
        yield _compared(match[0], _number(match[3]), {faces**count})
    for match in _CARDS.finditer(sentence):
        what = match["what"].lower()
        right = 4 if what in _RANKS else 13 if what in _SUITS else _DECK[what]
        yield _compared(match[0], _number(match[1]), {right})


def _compared(text: str, said: int, right: set[int]) -> Checked:
    return holds(text) if said in right else fails(text, f"there are {min(right)}")
