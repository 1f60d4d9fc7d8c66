"""The formulas of FOLIO (arXiv 2209.00840) into trees: `∀x (Eel(x) → Fish(x))`, `⊕`, `↔`.

`¬` and quantifiers bind what follows, `∧ ∨ ⊕` bind tighter than `→`, and `→` tighter than `↔`; `∧ ∨ ⊕` mixed
without brackets are refused, and so is everything else that is not well formed: some rows of the corpus are.
"""

import re

from verifiers.logic.formulas import (
    DEEPEST,
    Atom,
    Constant,
    Formula,
    Joined,
    Not,
    Quantified,
    Unparsed,
    Variable,
    free_variables,
    tokens_of,
)

_MOST_EXCLUSIVE = 6
"""Each `⊕` or `↔` doubles a formula."""
# `∀x` is one token; a name may be a predicate, a constant or a variable, which its place tells.
_TOKEN = re.compile(r"\s*(?:(?P<quantifier>[∀∃])\s*(?P<variable>[a-z]\w*)|(?P<name>\w+)|(?P<op>[()¬∧∨⊕→↔,]))")


def read_folio(text: str) -> Formula:
    """The tree of a formula. Raises Unparsed."""
    if text.count("⊕") + text.count("↔") > _MOST_EXCLUSIVE:
        raise Unparsed("too many exclusive connectives")
    parser = _Parser(tokens_of(text, _TOKEN))
    formula = parser.group(0, ())
    if not parser.at_end():
        raise Unparsed("something follows the formula")
    if free := free_variables(formula):
        raise Unparsed(f"{min(free)} is bound by no quantifier")
    return formula


class _Parser:
    def __init__(self, tokens: list[re.Match[str]]) -> None:
        self._tokens = tokens
        self._at = 0

    def at_end(self) -> bool:
        """Whether every token was read."""
        return self._at == len(self._tokens)

    def _takes(self, *ops: str) -> str:
        if self.at_end() or self._tokens[self._at]["op"] not in ops:
            return ""
        self._at += 1
        return str(self._tokens[self._at - 1]["op"])

    def group(self, depth: int, bound: tuple[str, ...]) -> Formula:
        """Up to the end or a closing bracket."""
        if depth > DEEPEST:
            raise Unparsed(f"nested deeper than {DEEPEST}")
        left = self._implication(depth, bound)
        if self._takes("↔"):
            right = self._implication(depth, bound)
            left = Joined("&", (Joined("->", (left, right)), Joined("->", (right, left))))
        return left

    def _implication(self, depth: int, bound: tuple[str, ...]) -> Formula:
        left = self._chain(depth, bound)
        if self._takes("→"):
            left = Joined("->", (left, self._chain(depth, bound)))
            if self._takes("→"):
                raise Unparsed("mixed connectives need parentheses")
        return left

    def _chain(self, depth: int, bound: tuple[str, ...]) -> Formula:
        parts, connective = [self._operand(depth, bound)], ""
        while found := self._takes("∧", "∨", "⊕"):
            if connective not in {"", found}:
                raise Unparsed("mixed connectives need parentheses")
            connective = found
            parts.append(self._operand(depth, bound))
        if connective == "⊕":
            formula = parts[0]
            for part in parts[1:]:
                one, other = Joined("&", (formula, Not(part))), Joined("&", (Not(formula), part))
                formula = Joined("v", (one, other))
            return formula
        return Joined("&" if connective == "∧" else "v", tuple(parts)) if connective else parts[0]

    def _operand(self, depth: int, bound: tuple[str, ...]) -> Formula:
        if depth > DEEPEST:
            raise Unparsed(f"nested deeper than {DEEPEST}")
        if self._takes("¬"):
            return Not(self._operand(depth + 1, bound))
        if self._takes("("):
            inner = self.group(depth + 1, bound)
            if not self._takes(")"):
                raise Unparsed("a bracket stays open")
            return inner
        if self.at_end():
            raise Unparsed("ends too early")
        token = self._tokens[self._at]
        self._at += 1
        if token["quantifier"]:
            variable = token["variable"]
            return Quantified(
                token["quantifier"] == "∃", variable, self._operand(depth + 1, (*bound, variable))
            )
        if token["name"] is None:
            raise Unparsed(f"unexpected {token['op']!r}")
        return Atom(token["name"], self._terms(bound))

    def _terms(self, bound: tuple[str, ...]) -> tuple[Constant | Variable, ...]:
        terms: list[Constant | Variable] = []
        if not self._takes("("):
            return ()
        while not self.at_end() and (name := self._tokens[self._at]["name"]):
            self._at += 1
            # A single letter that nothing binds is a slip of the corpus, not a name.
            terms.append(Variable(name) if name in bound or name in "xyzuvw" else Constant(name))
            if not self._takes(","):
                break
        if not terms or not self._takes(")"):
            raise Unparsed("a list of terms does not end")
        return tuple(terms)
