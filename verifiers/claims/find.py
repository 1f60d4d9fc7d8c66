"""Finds the relations a step states: `14 + 5 = 19` in "Tom has 14 + 5 = 19 apples."

Precision comes first: a relation torn out of its sentence must never make a right step look wrong. Words
around an expression that may belong to it ("half of 10 = 5") make the claim loose; a loose claim cannot fail.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal, NamedTuple

from verifiers.claims.clause import BINARY, Operand
from verifiers.claims.operands import left_operand, right_operand
from verifiers.claims.parsed import LONGEST_STEP, ParsedText
from verifiers.claims.tokens import Tokens, sentences
from verifiers.claims.words import CONTRACTIONS, HEDGES, NEAR_HEDGES, REFUTES, ROUNDED, WEIGHED
from verifiers.expressions.latex import Plain, to_plain
from verifiers.expressions.parser import LONGEST, parse, parse_tokens
from verifiers.expressions.tree import Binary, Expression, Name, Number, Refused, is_ambiguous, names

Relation = Literal["=", "≈", "≠", "<", ">", "≤", "≥"]
_MOST_CLAIMS = 60
"""More are a table or a listing, where a claim may be anything."""


class Claim(NamedTuple):
    """One relation between two expressions."""

    left: Expression
    relation: Relation
    right: Expression
    text: str
    right_text: str
    annotated: bool = False
    """Whether it stood in a calculator annotation, where nothing around it can change its meaning."""
    loose: str = ""
    """Why the words around it may change its meaning; a loose claim can hold but not fail."""
    rounded: bool = False
    """Whether the sentence says that values are rounded."""
    left_unit: str = ""
    right_unit: str = ""
    other_left: Expression | None = None
    """A second reading of the left side; the claim fails only if it fails under both."""
    words: bool = False
    """Whether words beside or between its signs were read over."""
    units: tuple[str, ...] = ()
    """Units of the terms on the left, where they were read over."""
    span: tuple[int, int] = (0, 0)
    """Where it stands in the step."""
    exact: bool = False
    """Whether its decimals are known to be no rounded values."""


@dataclass(frozen=True)
class Unread:
    """Something around a relation sign that could not be read."""

    text: str
    reason: str
    span: tuple[int, int] = (0, 0)


# A calculator annotation of GSM8K: `<<14+5=19>>`.
_ANNOTATION = re.compile(r"<<([^<>=]{1,200}(?:=[^<>=]{1,200})+)>>")
# Longer signs first: `<=` is no `<`.
_RELATION = re.compile(r"<=|>=|!=|≠|≤|≥|≈|~=|==|=|<|>")
_CANONICAL: dict[str, Relation] = {"<=": "≤", ">=": "≥", "!=": "≠", "~=": "≈", "==": "="}
# Words with which a step shows a relation to reject it: "2 = 3 is a contradiction", "x = 2 does not satisfy",
# "this is not possible". Not "not" alone: "he did not eat, so 3 + 4 = 7".
_REFUTES = re.compile(
    r"≠|\b(?:false|contradict\w*|extraneous|satisf\w*|original equation|"
    r"incorrect\w*|wrong|impossible|invalid|errors?|mistakes?|"
    r"not (?:true|valid|a solution|equal|hold|possible|work))\b",
    re.IGNORECASE,
)
# A bracket spaced from the number before it: `5 (3 + 2)` may be 5, remarked on, or a product.
_REMARK = re.compile(r"\d\s+\(")
_SPOKEN = frozenset({"is", "equals"})
# A quick look before the text is read in full: a sign, or a word between a value and what follows.
_MAY_RELATE = re.compile(r"[=<>≠≈≤≥]|[0-9)] (?:is|equals) ")
_ORDERS = frozenset({"<", ">", "≤", "≥"})


def find_claims(step: str) -> tuple[Claim | Unread, ...]:
    """Every relation in the step: annotations first, then what the text says without them."""
    return claims_of(ParsedText(step))


def claims_of(parsed: ParsedText) -> tuple[Claim | Unread, ...]:
    """The same for a text that verifiers share: `parsed.once(claims_of)` finds them once for all."""
    step = parsed.text
    if len(step) > LONGEST_STEP:
        return (Unread(step[:40], "the step is too long", (0, len(step))),)
    found: list[Claim | Unread] = []
    if "<<" in step:
        for match in _ANNOTATION.finditer(step):
            found += _links(match[1], match.start(1), annotated=True)
        # Blanks of the same length, so that places in the rest of the step stay right.
        parsed = ParsedText(_ANNOTATION.sub(_blank, step))
    if _MAY_RELATE.search(parsed.source.text):
        found += _in_text(parsed.source, parsed.tokens)
    if len(found) > _MOST_CLAIMS:
        return (Unread(step[:40], "more relations than one step states", (0, len(step))),)
    return tuple(found)


def _blank(match: re.Match[str]) -> str:
    return " " * len(match[0])


def parse_relation(text: str) -> list[Claim | Unread]:
    """The links of a chain that is nothing but a relation, read strictly: no words, nothing around it."""
    return _links(to_plain(text), 0, annotated=False)


def _links(text: str, offset: int, *, annotated: bool) -> list[Claim | Unread]:
    signs = list(_RELATION.finditer(text))
    bounds = [0, *(bound for sign in signs for bound in sign.span()), len(text)]
    sides = [(bounds[i], bounds[i + 1]) for i in range(0, len(bounds), 2)]
    found: list[Claim | Unread] = []
    for ((start, middle), (after, end)), sign in zip(pairwise(sides), signs, strict=True):
        left, right, relation = text[start:middle].strip(), text[after:end].strip(), _relation(sign[0])
        whole, span = f"{left} {relation} {right}", (offset + start, offset + end)
        try:
            claim = Claim(parse(left), relation, parse(right), whole, right, annotated, span=span)
            found.append(claim)
        except Refused as refusal:
            found.append(Unread(whole[:LONGEST], f"cannot be read: {refusal}", span))
    return found


def _relation(sign: str) -> Relation:
    return _CANONICAL.get(sign) or sign  # type: ignore[return-value]  # _RELATION admits nothing else


def _in_text(source: Plain, tokens: Tokens) -> list[Claim | Unread]:
    lowered = list(map(str.lower, tokens.texts))
    doubt = ""
    if not REFUTES.isdisjoint(lowered) and (refutes := _REFUTES.search(source.text)):
        doubt = f"the step says {refutes[0]!r}"
    found: list[Claim | Unread] = []
    for clauses in sentences(tokens):
        related = [(clause, signs) for clause in clauses if (signs := list(_signs(tokens, *clause)))]
        if not related:
            continue
        said = lowered[clauses[0][0] : clauses[-1][1]]
        loose = doubt or _hedged(said, lowered[clauses[-1][1] : clauses[-1][1] + 1])
        # A sign speaks for what follows it: `sqrt(7056) = sqrt(6336) ≈ 79.6`.
        rounded = not ROUNDED.isdisjoint(said) and _rounds(said)
        for clause, signs in related:
            near = loose or _denied(lowered[clause[0] : signs[0][0]])
            found += _in_clause(source, tokens, clause, signs, near, rounded=rounded)
    return found


def _hedged(said: list[str], mark: list[str]) -> str:
    """Why a sentence may not claim what it states."""
    if not HEDGES.isdisjoint(said):
        return f"the sentence says {next(word for word in said if word in HEDGES)!r}"
    if "base" in said and any(word == "base" and _is_radix(after) for word, after in pairwise(said)):
        return "the sentence says 'base'"
    return "a question" if mark == ["?"] else ""


def _is_radix(word: str) -> bool:
    return word.isdigit() or word in {"-", "two", "three", "eight", "ten", "sixteen", "b"}


def _denied(before: list[str]) -> str:
    """Why the words before a clause's first sign may not claim what follows."""
    if NEAR_HEDGES.isdisjoint(before) and CONTRACTIONS.isdisjoint(before):
        return ""
    at = next(i for i, word in enumerate(before) if word in NEAR_HEDGES or word in CONTRACTIONS)
    return "" if _describes(before, at) else f"the clause says {before[at]!r}"


def _describes(before: list[str], at: int) -> bool:
    """Whether a "not" describes what is counted: "the number of pies that are not eaten is 5 - 3 = 2"."""
    relative = not _RELATIVES.isdisjoint(before[max(0, at - 2) : at])
    value = next(
        (i for i in range(at + 1, len(before)) if before[i][0].isdigit() or before[i] in {"$", "("}), 0
    )
    # No other "not" may follow, and the value must be what the count is.
    return relative and value > at + 2 and before[value - 1] in _EQUATES and _denied(before[at + 1 :]) == ""


_RELATIVES = frozenset({"that", "who", "which"})
_EQUATES = frozenset({"is", "are", "was", "were"})


def _rounds(said: list[str]) -> bool:
    """Whether one of the words of rounding rounds: not in "5 rounds", "round tables", "around the park"."""
    for word, after in pairwise([*said, ""]):
        if word == "around" and (after[:1].isdigit() or after == "$"):
            return True
        if word in {"round", "rounds"} and (after[:1].isdigit() or after in _ROUNDED_HOW):
            return True
        if word in ROUNDED and word not in {"round", "rounds", "around", "≈"}:
            return True
    return False


_ROUNDED_HOW = frozenset("up down off to it this that them these the our each both all".split())


def _signs(tokens: Tokens, low: int, high: int) -> Iterator[tuple[int, Relation]]:
    """The relation signs of a clause; "is" between a sum and a number is one."""
    texts, kinds = tokens.texts, tokens.kinds
    for at in range(low + 1, high - 1):
        if kinds[at] == "relation":
            yield at, _relation(texts[at])
        elif texts[at] in _SPOKEN and _states_result(tokens, low, at, high):
            yield at, "="


def _states_result(tokens: Tokens, low: int, at: int, high: int) -> bool:
    """Whether "is" stands between a sum and a lone number."""
    texts, kinds = tokens.texts, tokens.kinds
    if at - low < 3 or kinds[at - 1] != "number" or kinds[at + 1] != "number":
        return False
    if texts[at - 2] == "/" and tokens.glued(at - 1):
        return False  # "the inverse of 1/5 is 9"
    lone = at + 2 >= high or kinds[at + 2] in {"word", "other"}
    shares = texts[at - 2] == "of" and texts[at - 3] in {"%", "percent"}  # "20% of 50 is 10"
    return lone and (
        shares or kinds[at - 2] == "operator" or texts[at - 2] in {"plus", "minus", "times", "x", "by"}
    )


def _in_clause(
    source: Plain,
    tokens: Tokens,
    clause: tuple[int, int],
    signs: list[tuple[int, Relation]],
    loose: str,
    *,
    rounded: bool,
) -> list[Claim | Unread]:
    found: list[Claim | Unread] = []
    bounds = [clause[0] - 1, *(at for at, _ in signs), clause[1]]
    mixed = "an equation inside an inequality" if len(signs) > 1 and _ORDERS & {s for _, s in signs} else ""
    for index, (at, sign) in enumerate(signs):
        left = left_operand(tokens, bounds[index] + 1, at, first=index == 0)
        right = right_operand(tokens, at + 1, bounds[index + 2])
        if left is None or right is None:
            continue
        whole, span = f"{left.text} {sign} {right.text}", source.source(left.start, right.end)
        try:
            sides = parse_tokens(left.signs), parse_tokens(right.signs)
            other = parse_tokens(list(left.other)) if left.other else None
        except Refused as refusal:
            found.append(Unread(whole[:LONGEST], f"cannot be read: {refusal}", span))
            continue
        # What may be weighed once more (`explained`) comes last: it counts where nothing else is in doubt.
        reasons = (loose, mixed, _loose_shape(left, right, sides), right.loose, left.loose)
        doubts = [reason for reason in reasons if reason]
        why = next((one for one in doubts if not WEIGHED.search(one)), " and ".join(doubts))
        words = left.words or right.words
        rounded = rounded or sign == "≈"
        about = (
            whole,
            right.text,
            False,
            why,
            rounded,
            left.unit,
            right.unit,
            other,
            words,
            left.units,
            span,
        )
        found.append(Claim(sides[0], sign, sides[1], *about))
    return found


def _loose_shape(left: Operand, right: Operand, sides: tuple[Expression, Expression]) -> str:
    if all(isinstance(side, Number) for side in sides) and not left.unit:
        # "In 2019 = 5" or "12 = 3": no calculation that could be wrong, but a label or a table's cell.
        return "a number beside another"
    if isinstance(sides[0], Number) and right.words and len(right.signs) > 1:
        return "a quantity told apart in words"  # 77 bottles = 15 full bottles + 2 empty bottles
    computed = any(sign in BINARY for sign in right.signs[1:])
    if computed and left.signs[1:2] == ["*"] and len(left.signs) == 3:
        return "an asterisk may be an operation of the problem's own"
    if 1 < len(right.signs) < len(left.signs) and left.signs[: len(right.signs)] == right.signs:
        return "the left side's beginning stands on the right"
    if "(" in left.signs + right.signs and (_REMARK.search(left.text) or _REMARK.search(right.text)):
        return "a bracket after a number may be a remark"
    divides = "/" in left.signs or "/" in right.signs
    return "a division before a product without a sign" if divides and any(map(is_ambiguous, sides)) else ""


def stated_value(claim: Claim) -> tuple[str, Expression] | None:
    """The symbol and value of a definition such as `x = 3`; None for any other claim."""
    if claim.relation != "=" or claim.loose:
        return None
    name = next(iter(names(claim.left)), "")
    return (name, claim.right) if claim.left == Name(name) and not names(claim.right) else None


def leads_with(tree: Expression) -> Number | None:
    """The literal a sum or product begins with: 7 in `7 + 5`."""
    if not isinstance(tree, Binary):
        return None
    while isinstance(tree, Binary):
        tree = tree.left
    return tree if isinstance(tree, Number) else None
