"""First-order formulas as trees: the syntax of the FLD corpora and of FoVer (arXiv 2505.15960).

`{A}` is a proposition, `{A}{a}` a predicate of a constant, `{A}x` of a variable, `{R}x{b}` a relation; `&`,
`v`, `¬`, `->`, `(x):` for all, `(Ex):` exists, `#F#` the contradiction. The corpora's own parser reads mixed
connectives from the left; here they are refused without parentheses, because nobody can tell how they were
meant. A quantifier reaches to the end of its group.

A proposition whose name begins with `?` stands for a choice between readings of an ambiguous wording: see
`choices`. `?+` and `?-` begin a choice that the rest of the text suggests to be true or false.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

# Characters, and brackets in brackets: formulas may come from a model.
LONGEST = 2_000
DEEPEST = 40

Connective = Literal["&", "v", "->"]


class Unparsed(ValueError):
    """The text is no formula of this syntax."""


@dataclass(frozen=True, slots=True)
class Constant:
    """A named individual."""

    name: str


@dataclass(frozen=True, slots=True)
class Variable:
    """A bound variable."""

    name: str


Term = Constant | Variable


@dataclass(frozen=True, slots=True)
class Atom:
    """A predicate of its terms; a proposition where there are none."""

    predicate: str
    terms: tuple[Term, ...] = ()


@dataclass(frozen=True, slots=True)
class Not:
    """Negation."""

    body: "Formula"


@dataclass(frozen=True, slots=True)
class Joined:
    """Two or more formulas under one connective; `->` joins exactly two."""

    connective: Connective
    parts: "tuple[Formula, ...]"


@dataclass(frozen=True, slots=True)
class Quantified:
    """For all, or where `exists` is set there is."""

    exists: bool
    variable: str
    body: "Formula"


Formula = Atom | Not | Joined | Quantified

CONTRADICTION = Joined("v", ())

_TOKEN = re.compile(
    # `(x):` and `(Ex):` before a formula; `{A}{a}`, `{A}x`, `{R}x{b}`; then signs. `v` is "or" where a
    # space, a bracket or a negation follows it.
    r"\s*(?:(?P<quantifier>\((?P<exists>E?)(?P<variable>[t-uw-z])\):)(?=\s*[({¬~])"
    r"|(?P<atom>\{(?P<predicate>[^{}\s]{1,80})\}(?P<terms>(?:\{[^{}\s]{1,80}\}|[t-uw-z](?![A-Za-z]{2}))*))"
    r"|(?P<op>->|→|&|∧|∨|v(?=[\s({¬~])|¬|~|\(|\)|#F#|⊥))"
)
# `{a}` a constant, `x` a variable. `v` is the sign for or, and no variable.
_TERM = re.compile(r"\{([^{}\s]+)\}|([t-uw-z])")
_CONNECTIVES: Mapping[str, Connective] = {"&": "&", "∧": "&", "v": "v", "∨": "v", "->": "->", "→": "->"}


@lru_cache(4096)
def parse_formula(text: str) -> Formula:
    """The tree of a formula. Raises Unparsed."""
    parser = _Parser(tokens_of(text, _TOKEN))
    formula = parser.group(0)
    if parser.peek() is not None:
        raise Unparsed("a bracket is closed that was not opened")
    if free := free_variables(formula):
        raise Unparsed(f"{min(free)} is bound by no quantifier")
    return formula


def tokens_of(text: str, pattern: re.Pattern[str]) -> list[re.Match[str]]:
    """The text as matches of `pattern` in a row. Raises Unparsed where none fits, or the text is too long."""
    if len(text) > LONGEST:
        raise Unparsed(f"longer than {LONGEST} characters")
    tokens, at, text = [], 0, text.strip()
    while at < len(text):
        match = pattern.match(text, at)
        if match is None:
            raise Unparsed(f"unexpected {text[at : at + 10]!r}")
        tokens.append(match)
        at = match.end()
    return tokens


class _Parser:
    def __init__(self, tokens: list[re.Match[str]]) -> None:
        self._tokens = tokens
        self._at = 0

    def peek(self) -> re.Match[str] | None:
        return self._tokens[self._at] if self._at < len(self._tokens) else None

    def group(self, depth: int) -> Formula:
        """Operands under one connective, up to the end or a closing bracket."""
        if depth > DEEPEST:
            raise Unparsed(f"nested deeper than {DEEPEST}")
        parts, connective = [self._operand(depth)], None
        while (token := self.peek()) is not None and token["op"] in _CONNECTIVES:
            self._at += 1
            found = _CONNECTIVES[token["op"]]
            if connective not in {None, found} or (found == "->" and len(parts) > 1):
                raise Unparsed("mixed connectives need parentheses")
            connective = found
            parts.append(self._operand(depth))
        return parts[0] if connective is None else Joined(connective, tuple(parts))

    def _operand(self, depth: int) -> Formula:
        token = self.peek()
        if token is None:
            raise Unparsed("ends too early")
        self._at += 1
        if token["atom"]:
            terms = (Constant(c) if c else Variable(v) for c, v in _TERM.findall(token["terms"]))
            return Atom(token["predicate"], tuple(terms))
        if token["quantifier"]:
            return Quantified(bool(token["exists"]), token["variable"], self.group(depth + 1))
        if token["op"] in {"#F#", "⊥"}:
            return CONTRADICTION
        if token["op"] in {"¬", "~"}:
            if depth > DEEPEST:
                raise Unparsed(f"nested deeper than {DEEPEST}")
            return Not(self._operand(depth + 1))
        if token["op"] == "(":
            inner = self.group(depth + 1)
            closing = self.peek()
            if closing is None or closing["op"] != ")":
                raise Unparsed("a bracket stays open")
            self._at += 1
            return inner
        raise Unparsed(f"unexpected {token['op']!r}")


def atoms(formula: Formula) -> Iterator[Atom]:
    """Every atom in it."""
    match formula:
        case Atom():
            yield formula
        case Not(body) | Quantified(_, _, body):
            yield from atoms(body)
        case Joined(_, parts):
            for part in parts:
                yield from atoms(part)


def constants(formula: Formula) -> frozenset[str]:
    """The individuals it names."""
    return frozenset(t.name for atom in atoms(formula) for t in atom.terms if isinstance(t, Constant))


def free_variables(formula: Formula) -> frozenset[str]:
    """The variables that no quantifier in it binds."""
    match formula:
        case Atom(_, terms):
            return frozenset(term.name for term in terms if isinstance(term, Variable))
        case Not(body):
            return free_variables(body)
        case Joined(_, parts):
            return frozenset().union(*map(free_variables, parts))
        case Quantified(_, variable, body):
            return free_variables(body) - {variable}


def choices(formula: Formula) -> frozenset[Atom]:
    """The choices between readings that its wording leaves open."""
    return frozenset(atom for atom in atoms(formula) if atom.predicate.startswith("?"))


def rebuilt(formula: Formula, change: Callable[[Formula], Formula]) -> Formula:
    """The formula with `change` made to each of its parts; an atom has none."""
    match formula:
        case Not(body):
            return Not(change(body))
        case Joined(connective, parts):
            return Joined(connective, tuple(map(change, parts)))
        case Quantified(exists, variable, body):
            return Quantified(exists, variable, change(body))
        case _:
            return formula


def substitute(formula: Formula, variable: str, term: Term) -> Formula:
    """The formula with a free variable replaced."""
    match formula:
        case Atom(predicate, terms):
            return Atom(predicate, tuple(term if t == Variable(variable) else t for t in terms))
        case Quantified(_, bound, _) if bound == variable:
            return formula
        case _:
            return rebuilt(formula, lambda part: substitute(part, variable, term))


def canonical(formula: Formula, depth: int = 0) -> Formula:
    """The formula with bound variables named by depth, so that such names alone make no difference."""
    match formula:
        case Atom():
            return formula
        case Not(body):
            return Not(canonical(body, depth))
        case Joined(connective, parts):
            return Joined(connective, tuple(canonical(part, depth) for part in parts))
        case Quantified(exists, variable, body):
            renamed = substitute(body, variable, Variable(f"#{depth}"))
            return Quantified(exists, f"#{depth}", canonical(renamed, depth + 1))


def show_formula(formula: Formula) -> str:
    """The formula in the syntax it is read from."""
    match formula:
        case Atom(predicate, terms):
            shown = (f"{{{t.name}}}" if isinstance(t, Constant) else t.name for t in terms)
            return f"{{{predicate}}}{''.join(shown)}"
        case Not(body):
            return f"¬{_bracketed(body)}"
        case Joined(_, ()):
            return "#F#"
        case Joined(connective, parts):
            return f" {connective} ".join(map(_bracketed, parts))
        case Quantified(exists, variable, body):
            return f"({'E' if exists else ''}{variable}): {_bracketed(body)}"


def _bracketed(formula: Formula) -> str:
    text = show_formula(formula)
    return text if isinstance(formula, Atom | Not) or formula == CONTRADICTION else f"({text})"
