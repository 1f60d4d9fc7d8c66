r"""Whether an equation that a step says it rewrites, simplifies or solves may come from the one before it.

`2k^2 = 9 - \frac{225}{49}`, "which simplifies to" `2k^2 = \frac{196}{49}`: both are formulas that were read
in full, and every word between them is of a closed list, so that nothing else can have led there. What such
words join is refuted where it cannot be true together, or, where the words only rewrite, where it is not the
same.
"""

import re
from collections.abc import Iterator
from fractions import Fraction

from verifiers.base import StepContext
from verifiers.calculation.arithmetic import check_claim, in_context
from verifiers.calculation.checked import Checked
from verifiers.calculation.consequences import follows, known, zero_of
from verifiers.calculation.formulas import ARROW, Formula, Side, formulas
from verifiers.calculation.identities import refuted_identity
from verifiers.calculation.solution_sets import degree, divides, excludes, is_multiple
from verifiers.claims.find import Claim, claims_of
from verifiers.claims.parsed import ParsedText
from verifiers.claims.setting import setting_of
from verifiers.claims.words import HEDGES, REFUTES, ROUNDED
from verifiers.expressions.tree import (
    GREEK,
    Binary,
    Call,
    Expression,
    Name,
    Number,
    Unary,
    names,
    walk,
)

_WORDS = re.compile(r"[A-Za-z']+|\d+|[^\s.,;:]")
# Words that say that what follows is the same, written otherwise: "expanding", "which simplifies to".
_REWRITES = frozenset(
    """
simplifies simplify simplifying simplified expanding expand expands combining combine distribute distributing
distribution rearranging rearrange rewritten rewrite rewriting reduces factoring factor factors factorizing
factored completing complete
""".split()
)
# Words that say that it follows.
_LEADS = frozenset(
    f"""
so thus therefore hence gives get got becomes yields obtain means implies leads equivalent simplifies solve
solving subtracting dividing {ARROW}
""".split()
)
# "Dividing both sides by 2" changes the equation, and may lose a solution.
_OPERATES = frozenset("subtracting subtract dividing divide multiplying multiply adding add".split())
# Words that bring in nothing else. Not "since", "using", "if" or "substituting", which do.
_FILLS = frozenset(
    """
which this that we have the equation is right left hand side both sides by from to and then now can be as it
us like terms out further solving finally next step square squares cross moving move everything one isolating
isolate multiplied divided in a of following i you so after find found an value evaluate evaluating compute
computing calculate calculating original its term fraction expression yeah yes ok okay correct let's let
that's it's more will numerator denominator
""".split()
)
_ALLOWED = _REWRITES | _LEADS | _OPERATES | _FILLS


def rewritings(context: StepContext) -> list[tuple[Claim, Checked]]:
    """The refutations of what the last step says it rewrites, by place."""
    step = context.parsed
    here = step.once(formulas)
    setting = setting_of(context.shared, context.count) if here else None
    if setting is None or setting.moduli or setting.based or setting.signs or _is_doubtful(step):
        return []
    found = [pair for formula in here for pair in _links(formula, context)]
    for first, second, words in _pairs(context, here):
        if _GOES_ON.match(step.text, second.span[1]):
            continue
        judged = _judge(first, second, words, context)
        if judged:
            said = second.sides[-1]
            unread = Number(Fraction(0), "0")
            claim = Claim(first.sides[-1].tree or unread, "=", said.tree or unread, said.text, said.text)
            found.append((claim._replace(span=second.span), judged))
    return found


def _links(formula: Formula, context: StepContext) -> list[tuple[Claim, Checked]]:
    """The refutations of links of a chain that can only rewrite: `R = (x + 1)^2 = x^2 + 1`."""
    found: list[tuple[Claim, Checked]] = []
    words = _WORDS.findall(formula.before.lower())
    for at, (left, right) in enumerate(zip(formula.sides, formula.sides[1:], strict=False)):
        if left.tree is None or right.tree is None or formula.relations[at] != "=":
            continue
        symbols = names(left.tree)
        if not symbols or symbols != names(right.tree) or isinstance(left.tree, Name):
            continue
        if not (_is_rewriting(left.tree, words) or at and _rewrites(formula, words, but=at)):
            continue
        judged = _same(left, right, (formula,), context)
        if judged:
            text = f"{left.text} = {right.text}"
            found.append((Claim(left.tree, "=", right.tree, text, right.text, span=formula.span), judged))
    return found


def _rewrites(formula: Formula, words: list[str], *, but: int) -> bool:
    """Whether a chain is a calculation, as its words or another link of it show.
    `r^2 = a^2 + b^2 = c^2 + d^2` may say two things of r."""
    if not _REWRITES.isdisjoint(words):
        return True
    links = list(zip(formula.sides, formula.sides[1:], strict=False))
    others = (link for at, link in enumerate(links) if at not in {0, but})
    return any(
        left.tree is not None
        and right.tree is not None
        and left.tree != right.tree
        and names(left.tree)
        and not isinstance(refuted_identity(left.tree, right.tree, positive=True), Checked)
        for left, right in others
    )


def _is_rewriting(left: Expression, words: list[str]) -> bool:
    """Whether a product of sums is rewritten after words that announce it: "Expanding, we get"."""
    products = [n for n in walk(left) if isinstance(n, Binary) and n.op in {"*", "·", "^"}]
    sums = any(isinstance(s, Binary) and s.op in {"+", "-"} for n in products for s in (n.left, n.right))
    said = {word for word in words if not word.isdigit()}
    return sums and not _REWRITES.isdisjoint(words) and said <= _ALLOWED


def _is_doubtful(parsed: ParsedText) -> bool:
    return parsed.once(_doubts)


_DOUBTS = (HEDGES | REFUTES | ROUNDED | {"modulo", "mod", "approximately"}) - {"check", "checks", "original"}


def _doubts(parsed: ParsedText) -> bool:
    lowered = set(re.findall(r"[a-z']+|≈", parsed.text.lower()))
    return not _DOUBTS.isdisjoint(lowered) or "approx" in parsed.text or "?" in parsed.text


def _pairs(context: StepContext, here: tuple[Formula, ...]) -> Iterator[tuple[Formula, Formula, list[str]]]:
    """Formulas that follow each other, with the words between them."""
    before, words = None, ""
    for parsed in context.recent(1):
        earlier = parsed.once(formulas)
        if earlier and not _is_doubtful(parsed):
            before, words = earlier[-1], parsed.text[earlier[-1].span[1] :]
    for formula in here:
        said = f"{words} {formula.before}" if words else formula.before
        if before is not None:
            if _is_operand(said, formula):
                # "dividing both sides by $2$" names what is done, and is no link of the derivation. In "$a$
                # divided by $b$" it is a part of what is said.
                words, before = f"{said} 2 ", before if before.relations else None
                continue
            yield before, formula, _leading(said)
        before, words = formula, ""


_NAMES_OPERAND = re.compile(
    r"\b(?:by|add(?:ing)?|subtract(?:ing)?|distribut(?:e|ing)|for|from|of|terms?|factors?) (?:a |an |the )?$",
    re.I,
)
# "$3^4$ divided by $4^4$": the formula is a part of what is said.
_GOES_ON = re.compile(
    r"[\s,]*(?:divided|times|multiplied|plus|minus|over|mod\w*|of|or|when|if|for|where|with|as)\b"
)
# "since $a = b$", "$x = 2$ or $x = 3$": a reason, a case, or one of several.
_SUBORDINATE = re.compile(
    r"\b(?:since|because|if|suppose|let(?!['’])|case|when|where)\b"
    r"|\b(?:as|using|with|or|and|for|from|at|but)\s*$",
    re.I,
)
_TO = frozenset({"to", "becomes", "as", "get", "gives", "is"})


def _leading(said: str) -> list[str]:
    """The words that lead from one formula to the next; "and" for a list: `$x = 1 + 2$, $x = 4$`."""
    words = _WORDS.findall(_HARMLESS.sub(" ", said.lower()))
    if not words:
        return ["and"] if "," in said or ";" in said else []
    # "Solving $x^2 = 4$" begins with an equation, "Solving: $x = 2$" ends with one.
    takes = words[-1] in _TRANSITIVE and said.rstrip()[-1:] not in {":", ","}
    return [*words, "its object"] if takes else words


_TRANSITIVE = frozenset(
    """
simplify simplifying expanding expand combining combine distributing distribute rearranging rearrange
rewrite rewriting factoring factor factorizing solving solve evaluate evaluating compute computing calculate
calculating find multiply multiplying add adding subtract subtracting divide dividing isolating isolate moving
move step value
""".split()
)
# "If we solve for x, we get": nothing is supposed, and nothing is put in.
_HARMLESS = re.compile(
    r"\bif we (?=simplify|solve|expand|combine|add|subtract|multiply|divide|factor|distribute)|\bfor\s+(?=2 )"
)


def _is_operand(said: str, formula: Formula) -> bool:
    return len(formula.sides) == 1 and _NAMES_OPERAND.search(said) is not None


def _judge(first: Formula, second: Formula, words: list[str], context: StepContext) -> Checked | None:
    if not {word for word in words if not word.isdigit()} <= _ALLOWED or _is_subordinate(first):
        return None
    rewrites = not _REWRITES.isdisjoint(words) and _OPERATES.isdisjoint(words) and "sides" not in words
    leads = rewrites or not _LEADS.isdisjoint(words)
    last, new = first.sides[-1], second.sides[0]
    if not second.relations:
        ends = not first.relations or (first.is_equation and "which" in words)
        return _same(last, new, (first, second), context) if ends and rewrites and words[-1] in _TO else None
    if not (first.is_equation and second.is_equation):
        return None
    if first.sides[0].text == second.sides[0].text:
        value = second.sides[1]
        if rewrites or (_is_value(value.tree) and (leads or not words)):
            return _same(last, value, (first, second), context)
        return None
    if len(first.sides) == len(second.sides) == 2 and (leads or not words and second.span[0] == 0):
        return _followed(first, second, context, rewrites=rewrites)
    return None


def _is_subordinate(formula: Formula) -> bool:
    clause = re.split(r"[.,;:?!\n]", formula.before[-_REACH:].rstrip(" .,;:\n"))[-1]
    return _SUBORDINATE.search(clause) is not None


_REACH = 80
"""Characters before a formula in which words subordinate it."""


def _is_value(tree: Expression | None) -> bool:
    """Whether nothing is left to compute: a number or a fraction of two."""
    if isinstance(tree, Unary):
        return tree.op == "-" and _is_value(tree.operand)
    return isinstance(tree, Number) or (
        isinstance(tree, Binary)
        and tree.op == "/"
        and all(isinstance(side, Number) for side in (tree.left, tree.right))
    )


def _same(first: Side, second: Side, own: tuple[Formula, ...], context: StepContext) -> Checked | None:
    """The refutation of two spellings of one value, which stand in some formulas of their own."""
    if first.tree is None or second.tree is None or _is_value(first.tree) or isinstance(first.tree, Name):
        return None
    symbols = names(first.tree)
    if symbols != names(second.tree):
        return None
    claim = Claim(first.tree, "=", second.tree, f"{first.text} = {second.text}", second.text)
    if symbols:
        if _is_bound(claim, own, context):
            return None
        judged = refuted_identity(claim.left, claim.right, positive=True)
        if not isinstance(judged, Checked) or judged.verdict != "fails" or _follows(claim, context):
            return None
        return Checked("fails", f"{claim.text}: {judged.reason}")
    checked = check_claim(claim)
    if checked is None:
        judged = refuted_identity(claim.left, claim.right, positive=False)
        if not isinstance(judged, Checked):
            return None
        checked = judged._replace(reason=f"{claim.text}: {judged.reason}")
    checked = in_context(checked, claim, context)
    return checked if checked.verdict == "fails" else None


def _is_bound(claim: Claim, own: tuple[Formula, ...], context: StepContext) -> bool:
    """Whether relations in these symbols alone may hold, which make other things equal. What the formulas
    begin with counts as a symbol: `a = 3/b = b` is an equation where `a^2 = b^2`."""
    # `x < 0` makes `sqrt(x^2) = -x` true, and no two polynomials equal.
    orders = any(isinstance(node, Call) for side in (claim.left, claim.right) for node in walk(side))
    first = own[0].sides[0]
    symbols = names(claim.left) | names(claim.right) | (names(first.tree) if first.tree else frozenset())
    defines = {(one.sides[0].text, one.sides[1].text) for one in own if len(one.sides) > 1}
    return any(
        bound <= symbols and (orders or relation in _EQUATES) and text not in defines
        for parsed in context.parsed_texts
        for relation, bound, text in parsed.once(_bindings)
    )


_EQUATES = frozenset({"=", "\\equiv", "≡", "\\to", "\\in", "\\mid", ":"})
_DEFINED = re.compile(r"^[A-Za-z]\([a-z](?:,[a-z])*\)$")


def _bindings(parsed: ParsedText) -> tuple[tuple[str, frozenset[str], tuple[str, str]], ...]:
    """The relations that may bind symbols, each with its symbols and sides: no identities, and of a chain
    `a = b = c` the first link only, since the others rewrite."""
    found: list[tuple[str, frozenset[str], tuple[str, str]]] = []
    for formula in parsed.once(formulas):
        for at, relation in enumerate(formula.relations):
            if not at or relation != "=":
                left, right = formula.sides[at : at + 2]
                symbols = _bound_by(left, right)
                if symbols:
                    found.append((relation, symbols, (left.text, right.text)))
    claims = (c for c in parsed.once(claims_of) if isinstance(c, Claim) and not _within(c.span, parsed))
    others = ((claim.relation, names(claim.left) | names(claim.right), ("", "")) for claim in claims)
    return (*found, *(one for one in others if one[1]))


def _bound_by(left: Side, right: Side) -> frozenset[str]:
    if left.tree is not None and right.tree is not None:
        claim = Claim(left.tree, "=", right.tree, "", "")
        return frozenset() if zero_of(claim) == {} else names(left.tree) | names(right.tree)
    if _DEFINED.match(left.text) and right.tree is not None and names(right.tree):
        return frozenset()
    bare = _COMMANDS.sub(_greek, _CALLED.sub("(", f"{left.text} {right.text}"))
    letters = re.findall(r"[A-Za-z]{3,}|[A-Za-z](?:_\w|_\{\w+\})?", bare)
    return frozenset(one.replace("{", "").replace("}", "") for one in letters)


# `f(x) = 0` binds x.
_CALLED = re.compile(r"[fghpqFGPQ]'*\(")
_COMMANDS = re.compile(r"\\([A-Za-z]+)")


def _greek(match: re.Match[str]) -> str:
    return f" {match[1]} " if match[1] in GREEK else " "


def _within(span: tuple[int, int], parsed: ParsedText) -> bool:
    return any(f.span[0] <= span[0] and span[1] <= f.span[1] for f in parsed.once(formulas))


def _followed(first: Formula, second: Formula, context: StepContext, *, rewrites: bool) -> Checked | None:
    claims = [_claim(one) for one in (first, second)]
    if claims[0] is None or claims[1] is None:
        return None
    old, new = zero_of(claims[0]), zero_of(claims[1])
    # An equation that is never or always true is the end of an argument, and not a step of solving.
    if not old or not new or not any(old) or not any(new) or any(map(_has_decimals, (claims[0], claims[1]))):
        return None
    if any("(" in name for zero in (old, new) for monomial in zero for name, _ in monomial):
        return None
    symbols = [{name for monomial in zero for name, _ in monomial} for zero in (old, new)]
    if symbols[0] != symbols[1] or is_multiple(old, new):
        return None
    why = ""
    if excludes(old, new):
        why = "no solution of the one solves the other"
    elif rewrites and not divides(old, new) and degree(old) == degree(new) and not _THEN.search(first.before):
        why = "the equations differ"
    if not why or _follows(claims[1], context):
        return None
    return Checked("fails", f"{claims[1].text} does not come from {claims[0].text}: {why}")


# "If $x - y = 2$, then $x + y = 3$; expanding gives": more than one equation stands before.
_THEN = re.compile(r"\bthen\b", re.I)


def _claim(formula: Formula) -> Claim | None:
    left, right = formula.sides
    if left.tree is None or right.tree is None:
        return None
    return Claim(left.tree, "=", right.tree, f"{left.text} = {right.text}", right.text)


def _follows(claim: Claim, context: StepContext) -> bool:
    """Whether the equations of the texts, this step's included, explain it."""
    texts = (context.parsed_problem, *context.recent(4), context.parsed)
    read = (formula for parsed in texts for formula in parsed.once(formulas))
    stated = (_claim(formula) for formula in read if formula.is_equation and len(formula.sides) == 2)
    others = [one for one in stated if one and (one.left, one.right) != (claim.left, claim.right)]
    return bool(follows(claim, known(others)[-12:]))


def _has_decimals(claim: Claim) -> bool:
    return any(isinstance(n, Number) and n.decimals for side in (claim.left, claim.right) for n in walk(side))
