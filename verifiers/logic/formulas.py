"""First-order formulas as trees: the syntax of the FLD corpora and of FoVer (arXiv 2505.15960).

`{A}` is a proposition, `{A}{a}` a predicate of a constant, `{A}x` of a variable, `{R}x{b}` a relation; `&`,
`v`, `¬`, `->`, `(x):` for all, `(Ex):` exists, `#F#` the contradiction. The corpora's own parser reads mixed
connectives from the left; here they are refused without parentheses, because nobody can tell how they were
meant. A quantifier reaches to the end of its group.

Lark's LALR parser reads the text: in linear time, and on a stack that is a list, so that no text is too deep
for it. A formula costs it about 40 microseconds; Z3 needs milliseconds to decide one.

A proposition whose name begins with `?` stands for a choice between readings of an ambiguous wording: see
`choices`. `?+` and `?-` begin a choice that the rest of the text suggests to be true or false.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache, lru_cache
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from lark import Lark, Token, Tree

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

# `(x):` and `(Ex):` before a formula; `{A}{a}`, `{A}x`, `{R}x{b}` are atoms; then signs. `v` is "or"
# where a space, a bracket or a negation follows it.
_GRAMMAR = r"""
?group: open | closed | and | or | implies
and: closed (_AND closed)* _AND last
or: closed (_OR closed)* _OR last
implies: closed _ARROW last
?last: open | closed
?open: QUANTIFIER group -> quantified
     | _NOT open -> negation
?closed: ATOM -> atom
       | _FALSE -> contradiction
       | _NOT closed -> negation
       | "(" group ")" -> bracketed
QUANTIFIER: /\(E?[t-uw-z]\):(?=\s*[({¬~])/
ATOM: /\{[^{}\s]{1,80}\}(\{[^{}\s]{1,80}\}|[t-uw-z](?![A-Za-z]{2}))*/
_AND: "&" | "∧"
_OR: "∨" | /v(?=[\s({¬~])/
_ARROW: "->" | "→"
_NOT: "¬" | "~"
_FALSE: "#F#" | "⊥"
%ignore /\s+/
"""
# What is `open` ends with a quantifier's body, which takes all that follows: so it stands last in its group.
# `{a}` a constant, `x` a variable. `v` is the sign for or, and no variable.
_TERM = re.compile(r"\{([^{}\s]+)\}|([t-uw-z])")
CONNECTIVES: Mapping[str, Connective] = {"and": "&", "or": "v", "implies": "->"}


@lru_cache(4096)
def parse_formula(text: str) -> Formula:
    """The tree of a formula. Raises Unparsed."""
    return closed(_formula(read(_GRAMMAR, text), 0))


def _formula(tree: "Tree[Token]", depth: int) -> Formula:
    from lark import Token, Tree  # a tenth of a second, which few texts need

    check_depth(depth)
    match tree.data, tree.children:
        case "bracketed", [Tree() as body]:
            return _formula(body, depth + 1)
        case "negation", [Tree() as body]:
            return Not(_formula(body, depth + 1))
        case "quantified", [Token() as sign, Tree() as body]:  # `(x):` or `(Ex):`
            return Quantified(sign[1] == "E", sign[-3], _formula(body, depth + 1))
        case "atom", [Token() as token]:
            predicate, _, terms = token[1:].partition("}")
            found = (Constant(c) if c else Variable(v) for c, v in _TERM.findall(terms))
            return Atom(predicate, tuple(found))
        case "contradiction", _:
            return CONTRADICTION
        case joined, parts:
            formulas = (_formula(part, depth) for part in parts if isinstance(part, Tree))
            return Joined(CONNECTIVES[joined], tuple(formulas))


@cache
def _parser(grammar: str) -> "Lark":
    from lark import Lark

    # LALR needs linear time; Lark's other parser, Earley, takes cubic time on an ambiguous text.
    return Lark(grammar, parser="lalr", lexer="basic", start="group")


def read(grammar: str, text: str) -> "Tree[Token]":
    """The text by a grammar of Lark's, in linear time and without recursion. Raises Unparsed."""
    from lark.exceptions import UnexpectedCharacters, UnexpectedToken

    if len(text) > LONGEST:
        raise Unparsed(f"longer than {LONGEST} characters")
    try:
        return _parser(grammar).parse(text)
    except UnexpectedCharacters as error:  # the tokeniser's; the other is the grammar's
        raise Unparsed(f"unexpected {text[error.pos_in_stream :][:10]!r}") from None
    except UnexpectedToken as error:
        if error.token.type == "$END":
            raise Unparsed("ends too early") from None
        raise Unparsed(f"unexpected {error.token[:10]!r}; mixed connectives need parentheses") from None


def check_depth(depth: int) -> None:
    """Raise Unparsed where a formula nests too deep for functions that call themselves."""
    if depth > DEEPEST:
        raise Unparsed(f"nested deeper than {DEEPEST}")


def closed(formula: Formula) -> Formula:
    """The formula itself. Raises Unparsed where a variable in it is bound by no quantifier."""
    if free := free_variables(formula):
        raise Unparsed(f"{min(free)} is bound by no quantifier")
    return formula


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


@lru_cache(4096)
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
            # `#0` cannot be read from a text, so a new name never meets a variable or constant of the
            # formula.
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
