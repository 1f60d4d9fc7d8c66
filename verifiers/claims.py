"""Finds the relations a step states: `14 + 5 = 19` in "Tom has 14 + 5 = 19 apples."

Precision comes first: a relation torn out of its sentence must never make a right step look wrong. Words
around an expression that may belong to it ("half of 10 = 5") make the claim loose; a loose claim cannot fail.
"""

import re
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

from verifiers.expressions import (
    LONGEST,
    Binary,
    Expression,
    Name,
    Number,
    Refused,
    is_ambiguous,
    names,
    parse,
)
from verifiers.latex import to_plain
from verifiers.operands import left_operand, right_operand

Relation = Literal["=", "≈", "≠", "<", ">", "≤", "≥"]
LONGEST_STEP = 8_000
_MOST_CLAIMS = 60


@dataclass(frozen=True)
class Claim:
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


@dataclass(frozen=True)
class Unread:
    """Something around a relation sign that could not be read."""

    text: str
    reason: str


_ANNOTATION = re.compile(r"<<([^<>=]{1,200}(?:=[^<>=]{1,200})+)>>")
_CLAUSE = re.compile(
    r"[.?;](?=\s|$)|(?<![\d)])!(?=\s|$)|\n(?!\s*[=≈])|⇒|→|=>|->|(?<!\s):(?=\s)|,(?=\s)(?!(?<=\d,)\s\d{3}\b)"
)
_SENTENCE = re.compile(r"(?<=[.?])\s+|(?<=[^\d)]!)\s+|\n(?!\s*[=≈])")
_RELATION = re.compile(r"<=|>=|!=|≠|≤|≥|≈|~=|==|=|<|>")
_CANONICAL: dict[str, Relation] = {"<=": "≤", ">=": "≥", "!=": "≠", "~=": "≈", "==": "="}
_HEDGE = re.compile(
    r"\b(?:not|no|wrong|incorrect\w*|false|mistake\w*|contradict\w*|impossible|suppose|assum\w*|whether|if|try|guess\w*|"
    r"check\w*|would|mod|modulo|base|remainder|clock|binary|hypothe\w*|cannot|instead|unless|error|verify|"
    r"thousands?|millions?|billions?)\b|n't\b|n’t\b|§mod",
    re.IGNORECASE,
)
_REFUTES = re.compile(
    r"≠|\b(?:false|contradict\w*|extraneous|satisf\w*|original equation|"
    r"incorrect\w*|wrong|impossible|invalid|"
    r"not (?:true|valid|a solution|equal|hold|possible|work))\b",
    re.IGNORECASE,
)
_ROUNDED = re.compile(
    r"\b(?:about|approx\w*|round\w*|roughly|nearly|almost|nearest|estimat\w*|around)\b|≈", re.IGNORECASE
)


def find_claims(step: str) -> list[Claim | Unread]:
    """Every relation in the step: annotations first, then what the text says without them."""
    if len(step) > LONGEST_STEP:
        return [Unread(step[:40], "the step is too long")]
    found: list[Claim | Unread] = []
    for match in _ANNOTATION.finditer(step):
        found += _annotated(match[1])
    plain = to_plain(_ANNOTATION.sub("", step))
    refutes = _REFUTES.search(plain)
    start = 0
    for end in [*(m.end() for m in _SENTENCE.finditer(plain)), len(plain)]:
        found += _in_sentence(plain[start:end], f"the step says {refutes[0]!r}" if refutes else "")
        start = end
    return found if len(found) <= _MOST_CLAIMS else [Unread(step[:40], "more relations than one step states")]


def parse_relation(text: str) -> list[Claim | Unread]:
    """The links of a chain that is nothing but a relation, read strictly: no words, nothing around it."""
    return [c for c in _annotated(to_plain(text), annotated=False)]


def _annotated(text: str, *, annotated: bool = True) -> list[Claim | Unread]:
    signs = [_CANONICAL.get(sign, sign) for sign in _RELATION.findall(text)]
    sides = _RELATION.split(text)
    found: list[Claim | Unread] = []
    for (left, right), sign in zip(pairwise(sides), signs, strict=True):
        whole = f"{left.strip()} {sign} {right.strip()}"
        try:
            claim = Claim(parse(left), _relation(sign), parse(right), whole, right.strip(), annotated)
            found.append(claim)
        except Refused as refusal:
            found.append(Unread(whole[:LONGEST], f"cannot be read: {refusal}"))
    return found


def _relation(sign: str) -> Relation:
    return _CANONICAL.get(sign) or sign  # type: ignore[return-value]  # _RELATION admits nothing else


def _in_sentence(sentence: str, loose: str) -> list[Claim | Unread]:
    if not _RELATION.search(sentence):
        return []
    hedge = _HEDGE.search(sentence)
    loose = loose or (f"the sentence says {hedge[0]!r}" if hedge else "")
    loose = loose or ("a question" if sentence.rstrip().endswith("?") else "")
    rounded = _ROUNDED.search(sentence) is not None
    found: list[Claim | Unread] = []
    for clause in _CLAUSE.split(sentence):
        found += _in_clause(clause, loose, rounded=rounded)
    return found


def _in_clause(clause: str, loose: str, *, rounded: bool) -> list[Claim | Unread]:
    signs = [_relation(sign) for sign in _RELATION.findall(clause)]
    parts = _RELATION.split(clause)
    found: list[Claim | Unread] = []
    ordered = bool({"<", ">", "≤", "≥"} & set(signs))
    for index, sign in enumerate(signs):
        left = left_operand(parts[index], first=index == 0)
        right = right_operand(parts[index + 1])
        if left is None or right is None:
            continue
        whole = f"{left.text} {sign} {right.text}"
        try:
            sides = parse(left.text), parse(right.text)
            other = parse(left.other) if left.other else None
        except Refused as refusal:
            found.append(Unread(whole[:LONGEST], f"cannot be read: {refusal}"))
            continue
        why = loose or left.loose or right.loose or _loose_shape(left.text, right.text, sides)
        why = why or ("an equation inside an inequality" if ordered and len(signs) > 1 else "")
        found.append(
            Claim(
                sides[0], sign, sides[1], whole, right.text, False, why, rounded, left.unit, right.unit, other
            )
        )
    return found


def _loose_shape(left: str, right: str, sides: tuple[Expression, Expression]) -> str:
    if re.search(r"\d\s+\(", left) or re.search(r"\d\s+\(", right):
        return "a bracket after a number may be a remark"
    if is_ambiguous(sides[0]) or is_ambiguous(sides[1]):
        return "a division before a product without a sign"
    return ""


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
