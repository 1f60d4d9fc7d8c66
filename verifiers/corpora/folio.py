"""The formulas of FOLIO (arXiv 2209.00840) into trees: `∀x (Eel(x) → Fish(x))`, `⊕`, `↔`.

`¬` and quantifiers bind what follows, `∧ ∨ ⊕` bind tighter than `→`, and `→` tighter than `↔`; `∧ ∨ ⊕` mixed
without brackets are refused, and so is everything else that is not well formed: some rows of the corpus are.
"""

from functools import reduce
from typing import TYPE_CHECKING

from verifiers.logic.formulas import (
    CONNECTIVES,
    Atom,
    Constant,
    Formula,
    Joined,
    Not,
    Quantified,
    Unparsed,
    Variable,
    check_depth,
    closed,
    read,
)

if TYPE_CHECKING:
    from lark import Token, Tree

# Z3 has no such connective over these trees, so both are written out: `a ⊕ b` is `(a ∧ ¬b) ∨ (¬a ∧ b)`.
_MOST_EXCLUSIVE = 6
"""Each `⊕` or `↔` doubles a formula."""
_GRAMMAR = r"""
?group: implication
      | implication "↔" implication -> iff
?implication: chain
            | chain _ARROW chain -> implies
?chain: operand
      | operand (_AND operand)+ -> and
      | operand (_OR operand)+ -> or
      | operand (_XOR operand)+ -> exclusive
?operand: NAME ["(" NAME ("," NAME)* ")"] -> atom
        | QUANTIFIER operand -> quantified
        | "¬" operand -> negation
        | "(" group ")" -> bracketed
QUANTIFIER: /[∀∃]\s*[a-z]\w*/
NAME: /\w+/
_AND: "∧"
_OR: "∨"
_XOR: "⊕"
_ARROW: "→"
%ignore /\s+/
"""


def read_folio(text: str) -> Formula:
    """The tree of a formula. Raises Unparsed."""
    if text.count("⊕") + text.count("↔") > _MOST_EXCLUSIVE:
        raise Unparsed("too many exclusive connectives")
    # A single letter that nothing binds is a slip of the corpus, not a name.
    return closed(_formula(read(_GRAMMAR, text), 0, frozenset("xyzuvw")))


def _formula(tree: "Tree[Token]", depth: int, bound: frozenset[str]) -> Formula:
    from lark import Token, Tree

    check_depth(depth)
    match tree.data, tree.children:
        case "bracketed", [Tree() as body]:
            return _formula(body, depth + 1, bound)
        case "negation", [Tree() as body]:
            return Not(_formula(body, depth + 1, bound))
        case "quantified", [Token() as sign, Tree() as body]:
            variable = sign[1:].strip()
            return Quantified(sign[0] == "∃", variable, _formula(body, depth + 1, bound | {variable}))
        case "atom", [Token() as name, *terms]:
            found = (Variable(str(t)) if t in bound else Constant(str(t)) for t in terms if t)
            return Atom(str(name), tuple(found))
    parts = tuple(_formula(part, depth, bound) for part in tree.children if isinstance(part, Tree))
    match tree.data:
        case "iff":
            # `a ↔ b` is `(a → b) ∧ (b → a)`.
            return Joined("&", (Joined("->", parts), Joined("->", parts[::-1])))
        case "exclusive":
            # `a ⊕ b ⊕ c` is true where an odd number of them is, from the left as from the right.
            return reduce(_either, parts)
        case joined:
            return Joined(CONNECTIVES[joined], parts)


def _either(one: Formula, other: Formula) -> Formula:
    return Joined("v", (Joined("&", (one, Not(other))), Joined("&", (Not(one), other))))
