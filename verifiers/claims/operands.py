"""Where an expression begins and ends in running text, and whether its neighbours may change its meaning.

Words between numbers and signs are read over ("15 feet * 12 inches/foot = 180 inches") unless they compute.
"""

from verifiers.claims.clause import BINARY, MATHS, WORD, Clause, Operand
from verifiers.claims.tokens import Tokens
from verifiers.claims.units import POWERS, singular
from verifiers.claims.words import (
    AFTER,
    AFTER_IF_NUMBER,
    BEFORE,
    COPULAS,
    DETERMINERS,
    GLUE,
    OPERATIVE,
    OPERATIVE_OF,
    ORDINALS,
    WEIGHED,
)
from verifiers.expressions.tree import FUNCTIONS

_OPERATORS = BINARY | {"!", "%"}
# Behind these a verb farther off computes: "add 20 to the 29 + 24".
_REACHES = frozenset({"to", "from", "by", "with"})
# Words after which an equation begins anew: "so 3 = 16 - 8y".
_LEADS = frozenset("so thus therefore hence then get gives give find obtain yields implies".split())
# What ends or begins a quotation or a remark, and computes nothing.
_CLOSERS = frozenset({")", "]", '"', "'", "”", "’"})
_OPENERS = frozenset({"(", "[", '"', "“"})


def right_operand(tokens: Tokens, low: int, high: int) -> Operand | None:
    """What stands after a relation sign; None where that is no expression."""
    # "= 1/3 of 150" may claim the share or the product, so `of` ends the run on this side.
    end = high
    while end > low and tokens.kinds[end - 1] == "word":
        end -= 1
    clause = Clause(tokens, low, min(high, end + 3), shares=False)
    chosen, at = _forward(clause)
    whole = len(chosen)
    chosen = chosen[: _balanced_prefix([clause.signs[i] for i in chosen])]
    if not chosen:
        return None
    # "-3 = 6(4kd - 30k) d": what stands in the bracket is not read.
    opened = len(chosen) < whole and clause.signs[chosen[-1] + 1] == "("
    at, trimmed = chosen[-1] + 1, "a bracket stays open" if opened else ""
    while chosen and (clause.signs[chosen[-1]] in BINARY or clause.signs[chosen[-1]] in FUNCTIONS):
        chosen.pop()
        trimmed = "the text goes on after an operator"
    if not chosen:
        return None
    words = chosen[-1] - chosen[0] >= len(chosen)
    loose = trimmed or _after(clause, at)
    if clause.signs[chosen[-1]] == "!" and at == clause.size:
        loose = loose or "a factorial or an exclamation"
    return clause.operand(chosen, loose, unit=_unit(clause, at), words=words)


def _unit(clause: Clause, at: int) -> str:
    """The unit after an operand: "feet", "square feet", "m^3"; empty where no word stands there."""
    if at >= clause.size or clause.classes[at] != WORD:
        return ""
    unit, after = clause.signs[at].lower(), clause.signs[at + 1 : at + 3]
    if unit in POWERS and after and clause.classes[at + 1] == WORD:
        return f"{unit} {after[0].lower()}"
    return f"{unit}^{after[1]}" if len(after) == 2 and after[0] == "^" and after[1].isdigit() else unit


def _forward(clause: Clause) -> tuple[list[int], int]:
    """The signs from the clause's beginning on, over phrases that an operator follows."""
    chosen: list[int] = []
    at, classes, signs = 0, clause.classes, clause.signs
    while True:
        while at < clause.size and classes[at] == MATHS:
            chosen.append(at)
            at += 1
        end = at
        while at < clause.size and classes[at] == WORD:
            at += 1
        if not chosen or end == at or at + 1 >= clause.size or classes[at] != MATHS:
            return chosen, end
        joins = signs[at] in BINARY and classes[at + 1] == MATHS and signs[chosen[-1]] not in BINARY
        if not joins or not clause.reads_over(end, at):
            return chosen, end


def _balanced_prefix(signs: list[str]) -> int:
    """Length of the longest prefix whose brackets close."""
    if "(" not in signs and ")" not in signs:
        return len(signs)
    depth, last = 0, 0
    for index, sign in enumerate(signs):
        depth += (sign == "(") - (sign == ")")
        if depth < 0:
            return last
        if depth == 0:
            last = index + 1
    return last


def _after(clause: Clause, at: int) -> str:
    """Why what follows an expression may belong to it."""
    if at >= clause.size:
        return ""
    first, classes, size = clause.signs[at], clause.classes, clause.size
    glued = clause.tokens.glued(clause.low + at)
    words = [clause.signs[i].lower() for i in range(at, min(at + 3, size)) if classes[i] == WORD]
    if classes[at] == WORD:
        # 5AD^2 and "5 AD + 2" are products of a symbol that is spelt with several letters.
        symbol = glued and first.isalpha() and not first.islower()
        symbol = symbol or (at + 1 < size and clause.signs[at + 1] in _OPERATORS and not first.islower())
        # "11 more eggs than Tom" is a value; "2 more than 5" is the beginning of another sum.
        symbol = symbol or any(
            clause.signs[i] == "than" and classes[i + 1] == MATHS for i in range(at, size - 1)
        )
        bound = words[0] in AFTER_IF_NUMBER and at + 1 < size and classes[at + 1] == MATHS
        share = words[0] == "of" and (clause.signs[at - 1] == "%" or "/" in clause.signs[:at])
        share = share and MATHS in classes[at:]
        return f"{words[0]!r} follows" if words[0] in AFTER or symbol or bound or share else ""
    if first == "(":
        return "'mod' follows" if words and words[0] in AFTER else ""
    if first in _CLOSERS:
        return ""
    return f"{first!r} follows" if glued or first not in {",", ";", "—", "–"} else ""


def left_operand(tokens: Tokens, low: int, high: int, *, first: bool) -> Operand | None:
    """What stands before a relation sign; `first` where no other sign stands before it in the clause."""
    start = low
    while start < high and tokens.kinds[start] == "word" and len(tokens.texts[start]) > 2:
        start += 1
    clause = Clause(tokens, max(low, start - 1), high, shares=True)
    end = clause.size
    while end and clause.classes[end - 1] == WORD:
        end -= 1
    if not end or clause.classes[end - 1] != MATHS or not clause.reads_over(end, clause.size):
        return None
    chosen, opened = _backward(clause, end)
    if not chosen:
        return None
    if clause.signs[chosen[0]] == "*" and chosen[0] == 0:
        chosen = chosen[1:]
        if not chosen:
            return None
    head, loose, signs = chosen[0], "", clause.signs
    if head and signs[head] in _OPERATORS and not _is_negative(clause, chosen):
        return None  # "the profit - 3 = 2": a quantity that words name is a symbol to us
    weighed = _before(clause, chosen, low, first=first) if head else ""
    if not WEIGHED.search(weighed):
        weighed, loose = "", weighed
    if opened and not (head > 1 and clause.classes[head - 2] != MATHS):
        loose = loose or ("a bracket stays open" if head > 1 else "")
    if all(signs[at] in _OPERATORS for at in chosen):
        return None
    if (
        not head
        and signs[0] == "-"
        and len(chosen) > 1
        and first
        and not tokens.glued(clause.low + chosen[1])
    ):
        return clause.operand(chosen, "a dash that may be a bullet")
    unit = _unit(clause, end)
    loose = loose or _beside(clause, chosen, unit)
    words = chosen[-1] - chosen[0] >= len(chosen) or clause.size - end > 1
    other = _spaced_thousands(clause, chosen)
    return clause.operand(chosen, loose or weighed, unit=unit, words=words, other=other)


def _beside(clause: Clause, chosen: list[int], unit: str) -> str:
    """Why what stands beside an expression may belong to it."""
    head = chosen[0]
    before = clause.low + head - 1
    if head and clause.tokens.glued(before + 1) and clause.tokens.kinds[before] == "word":
        return f"{clause.signs[head - 1]!r} touches it"  # f'(-1) = 3
    if _shares_sum(clause, chosen):
        return "'of' may share the whole sum"
    if _is_remark(clause, chosen):
        return "a bracket after words may be a remark"
    if unit and head and not _computes(clause, chosen):
        return "words around a quantity"
    return f"{unit!r} follows" if unit in {"of", "each", "apiece"} else ""


def _is_remark(clause: Clause, chosen: list[int]) -> bool:
    """The bracket of "the water (9 liters of one + 15 liters of the other) = 6 + 9" names its terms."""
    if not chosen[0] or clause.classes[chosen[0] - 1] != WORD:
        return False
    signs = [clause.signs[at] for at in chosen]
    if signs[0] != "(" or signs[-1] != ")" or clause.signs[chosen[0] - 1].lower() in COPULAS:
        return False
    return len(signs) < chosen[-1] - chosen[0] + 1 and _balanced_prefix(signs[1:-1]) == len(signs) - 2


def _shares_sum(clause: Clause, chosen: list[int]) -> bool:
    """`1/3 of 9 + 6`: a third of 9, or of 15?"""
    shared = [at for at in chosen if clause.tokens.texts[clause.low + at] == "of"]
    return bool(shared) and any(clause.signs[at] in {"+", "-"} for at in chosen if at > shared[0])


def _computes(clause: Clause, chosen: list[int]) -> bool:
    return any(clause.signs[at] in BINARY for at in chosen)


def _backward(clause: Clause, end: int) -> tuple[list[int], bool]:
    """The signs up to `end`, over phrases beside an operator; and whether a bracket before stays open."""
    chosen: list[int] = []
    at, classes, signs = end, clause.classes, clause.signs
    while True:
        while at and classes[at - 1] == MATHS:
            at -= 1
            chosen.append(at)
        start = at
        while at and classes[at - 1] == WORD:
            at -= 1
        if start == at or not at or classes[at - 1] != MATHS:
            break
        after, before = signs[chosen[-1]], signs[at - 1]
        joins = (after in BINARY or after == ")") != (before in BINARY or before == "(")
        if not joins or not clause.reads_over(at, start):
            break
    chosen.reverse()
    size = len(chosen)
    chosen = _balanced_suffix(chosen, signs)
    return chosen, bool(chosen and len(chosen) < size and signs[chosen[0] - 1] == "(")


def _balanced_suffix(chosen: list[int], signs: list[str]) -> list[int]:
    depth, start = 0, 0
    for index in range(len(chosen) - 1, -1, -1):
        depth += (signs[chosen[index]] == ")") - (signs[chosen[index]] == "(")
        if depth < 0:
            return chosen[index + 1 :]
    while depth > 0 and start < len(chosen):
        depth -= signs[chosen[start]] == ")"
        start += 1
    return chosen[start:]


def _spaced_thousands(clause: Clause, chosen: list[int]) -> tuple[str, ...]:
    """The signs with the digits before a comma joined to them: `14400 / 80` in "14, 400 / 80 = 180"."""
    head, first = chosen[0], clause.signs[chosen[0]]
    if head < 2 or clause.signs[head - 1] != "," or len(first) != 3 or not first.isdigit():
        return ()
    before = clause.signs[head - 2].replace(",", "")
    return (before + first, *(clause.signs[at] for at in chosen[1:])) if before.isdigit() else ()


def _is_negative(clause: Clause, chosen: list[int]) -> bool:
    """The sign in "Ruth has -6 - 9 = -15": straight after a verb and close to its number."""
    head, tokens = chosen[0], clause.tokens
    if len(chosen) < 2 or clause.signs[head] != "-" or not tokens.glued(clause.low + chosen[1]):
        return False
    return not tokens.glued(clause.low + head) and clause.signs[head - 1].lower() in COPULAS


def _before(clause: Clause, chosen: list[int], low: int, *, first: bool) -> str:
    """Why the words before an expression, from token `low` on, may belong to it."""
    head, signs = chosen[0], clause.signs
    last = signs[head - 1]
    if head <= 3 and last == ")" and len(signs[head - 2]) <= 2 and signs[0] in {"(", signs[head - 2]}:
        return ""  # a list mark: "a) 3 + 4 = 7"
    if clause.classes[head - 1] != WORD:
        spaced = not clause.tokens.glued(clause.low + head)
        titled = last == ":" and head > 1 and (clause.classes[head - 2] == WORD or _is_numbered(clause, head))
        return "" if (last in {",", ";"} and spaced) or last in _OPENERS or titled else f"{last!r} precedes"
    before = clause.tokens.texts[low : clause.low + head]
    if _computes(clause, chosen):
        return _bound(before, chosen, clause, first=first)
    if last.lower() in {"and", "or"}:
        return "" if last.lower() == "and" and not first else f"{last!r} precedes"
    if last.lower() in _LEADS or (any(signs[at].isalpha() for at in chosen) and last.lower() in COPULAS):
        return ""  # "which gives 2x = 6", "so 3 = 16 - 8y"
    for word in reversed(before):
        if word.lower() in COPULAS:
            break
        if word.lower() in BEFORE:
            return f"{word.lower()!r} precedes"
    return "a lone number after words"


def _is_numbered(clause: Clause, head: int) -> bool:
    """The label of "Week 1: 600 / 2 = 300"."""
    at = head - 3 + clause.low
    names = at >= 0 and singular(clause.tokens.texts[at].lower()) in ORDINALS
    return names and clause.signs[head - 2].isdigit()


_PACK = 4
"""Words back to the number of "5 large boxes of"."""


def _bound(before: list[str], chosen: list[int], clause: Clause, *, first: bool) -> str:
    """Why a calculation may be part of a longer one: "half of the 10 + 2", "add 5 to 3 + 4"."""
    glue: list[str] = []
    determined = len(before) > 1 and before[-2].lower() in DETERMINERS
    if singular(before[-1].lower()) in ORDINALS and not determined:
        return f"{before[-1]!r} precedes"  # "on day 1 * 2"
    if before[-1] in {"On", "on"} and len(chosen) == 3 and clause.signs[chosen[1]] == "/":
        return "a date"  # "On 3/4 = 5 people came"
    for word in reversed(before):
        lowered = word.lower()
        if lowered in GLUE:
            glue.append(lowered)
        elif "of" in glue and any(said[0].isdigit() for said in before[-_PACK:]):
            return "'of' precedes"  # "5 boxes of 12 - 3"
        elif word[0].isdigit():
            bound = bool(glue) and (glue != ["and"] or first)
            return f"{glue[-1]!r} precedes" if bound else ""
        else:
            # "add 20 decorations to the 29 + 24": the verb may stand anywhere before.
            reach = before if not _REACHES.isdisjoint(glue) else [word]
            bound_by = (OPERATIVE_OF if "of" in glue else OPERATIVE).intersection(map(str.lower, reach))
            return f"{min(bound_by)!r} precedes" if bound_by else ""
    return ""
