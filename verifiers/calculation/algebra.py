"""Checks relations with symbols or irrational values: identities, equations solved, symbols stated before.

An equation may state an identity, define a symbol or ask to be solved. This module decides which it is, and
says `fails` only where a wrong equation cannot be one to solve.
"""

import re
from collections.abc import Iterator, Mapping
from fractions import Fraction

from schemas.sources import check_source
from verifiers.base import Finding, StepContext
from verifiers.calculation.arithmetic import check_claim, compare, in_context
from verifiers.calculation.checked import GIVEN, Checked, combine
from verifiers.calculation.consequences import Known, applied, follows, known, zero_of
from verifiers.calculation.definitions import NO_DEFINITION, values_before
from verifiers.calculation.identities import conventions, judge_identity
from verifiers.calculation.matrices import check_matrices
from verifiers.calculation.notations import noted
from verifiers.calculation.rewriting import rewritings
from verifiers.calculation.solving import check_solving, equations
from verifiers.calculation.substitution import (
    Function,
    agree,
    defined,
    functions,
    is_instance,
    solves,
    with_value,
)
from verifiers.claims.find import Claim, claims_of, stated_value
from verifiers.claims.parsed import ParsedText
from verifiers.claims.setting import setting_of
from verifiers.expressions.decimals import approximate
from verifiers.expressions.tree import Binary, Call, Name, Number, Refused, names, walk
from verifiers.expressions.values import exact, show
from verifiers.isolation.workers import Pool

# Words that announce an identity: "Expanding", "we factor", not "factorial". Without one an equation may be
# one to solve, which some values satisfy.
_IDENTITY_CUE = re.compile(
    r"\b(?:expand|factor(?!ial)|distribut|simplif|foil|identity|multiply(?:ing)? out)", re.I
)
_APPLIES = re.compile(r"[A-Za-z]\w*'* ?\((?! )|'|_|§")
"""A letter before a bracket may be a function; a letter with a mark is an unknown of a family."""
# What leads to a result: "so", "dividing by 2 gives". What leads to a case: "if n = 2", "let y = 0".
_DERIVES = re.compile(
    r"\b(?:so|thus|therefore|hence|we (?:get|obtain)|gives?|giving|subtract|divid|simplif|expand|isolat|"
    r"yield|obtain|becomes?|impl|conclu)|⇒|=>|->|→"
    r"|\\(?:implies|Rightarrow|iff|therefore|Longrightarrow|to)\b",
    re.IGNORECASE,
)
_SUPPOSES = re.compile(
    r"\b(?:if|for|when|let|set|given|where|with|at|suppose|assume|say)\s+[^A-Za-z]{0,6}$", re.I
)
_WORDS = re.compile(r"\\?[A-Za-z]{3,}|\b(?:a|I|is|of|in|we|to|by|so|if|at|or|be|on|an|as|it)\b")
_UNITS = frozenset({"i", "j", "e"})
"""Letters that may be no symbols: the imaginary unit and Euler's number."""
_CUE_REACH, _NEAREST = 120, 16
"""Characters before a relation in which words speak of it, or straight before it."""
_NEAR, _WINDOW, _MOST_KNOWN = 4, 30, 12
"""Steps back whose equations a step continues; in which a symbol keeps its meaning; equations to try."""


_CONTINUES = re.compile(
    r"\b(?:so|thus|therefore|hence|then|value|get|gives?|have|comput\w*|evaluat\w*|calculat\w*|finally|total)\b",
    re.I,
)


class Algebra:
    """Holds on proven identities and satisfied equations; fails only on refuted ones; abstains otherwise."""

    name = "algebra"
    sources = check_source(name)

    def __init__(self, pool: Pool | None = None) -> None:
        self._pool = pool

    def check(self, context: StepContext) -> Finding:
        """Check every relation of the last step that arithmetic alone cannot."""
        shown = [*self.claims(context), *check_matrices(context, self._pool)]
        return combine([checked for _, checked in shown], "no algebra to check")

    def claims(self, context: StepContext) -> list[tuple[Claim, Checked]]:
        """The verdict on each of them."""
        rewritten = rewritings(context)
        others = [span for span, _, _ in context.parsed.once(noted)]
        claims = [
            claim
            for claim in context.parsed.once(claims_of)
            if isinstance(claim, Claim)
            and not any(low < claim.span[1] and claim.span[0] < high for low, high in others)
            and _is_ours(claim)
        ]
        if not claims:
            return rewritten
        values, solving = values_before(context, claims), check_solving(context)
        before, stated = known_before(context), [*_before(context), *claims]
        terms = functions(stated)
        found = rewritten
        for index, claim in enumerate(claims):
            checked = _decided(_followed(claim, before, terms)) or _decided(solving.get(claim.span))
            earlier = stated[: len(stated) - len(claims) + index]
            if not checked and not claim.loose and (source := solves(claim, earlier)):
                checked = Checked("holds", f"{claim.text}: solves {source}")
            checked = checked or self._claim(claim, claims, context, values)
            if checked.verdict == "abstains" and _is_given(claim, claims, context):
                checked = checked._replace(code=GIVEN)
            found.append((claim, checked))
            before = [*before, *known([claim])]
        return found

    def _claim(
        self, claim: Claim, claims: list[Claim], context: StepContext, values: Mapping[str, Fraction]
    ) -> Checked:
        symbols = names(claim.left) | names(claim.right)
        # `x > 3` may be a condition, which no value refutes.
        if claim.relation not in {"=", "≈"}:
            return _abstain(claim, "an order relation of symbols")
        if _defines(claim, context, claims):
            return _abstain(claim, "a definition", GIVEN)
        if stated_value(claim):
            return _abstain(claim, "a value of a symbol", "undefined_symbol")
        if symbols and symbols <= values.keys():
            return _substituted(claim, claims, context, values)
        if not symbols:
            return _in_setting(claim, constant_claim(claim, pool=self._pool), context)
        if is_instance(claim.left, claim.right):
            return _abstain(claim, "values put into a formula", GIVEN)
        # A problem that says "positive" declares its symbols to be so; then `sqrt(x^2) = x` holds.
        positive = any(parsed.once(_says_positive) for parsed in (*_window(context), context.parsed))
        judged = judge_identity(claim.left, claim.right, positive=positive, pool=self._pool)
        if judged.verdict == "holds":
            return Checked("holds", f"{claim.text}: {judged.reason}")
        stated = _states_identity(claim, claims, context) or _rewrites(claim, claims, context)
        if judged.verdict == "fails" and not stated:
            return _abstain(claim, "may be an equation to solve", "undefined_symbol")
        return Checked(judged.verdict, f"{claim.text}: {judged.reason}", judged.code)


def _says_positive(parsed: ParsedText) -> bool:
    return "positive" in parsed.text


def _window(context: StepContext) -> tuple[ParsedText, ...]:
    """The problem and the steps in which a symbol can be expected to mean what it means now."""
    return (context.parsed_problem, *context.recent(_WINDOW))


def known_before(context: StepContext) -> list[Known]:
    """The equations that the problem and the last few steps state."""
    texts = (context.parsed_problem, *context.recent(_NEAR))
    return [one for parsed in texts for one in parsed.once(_known)][-_MOST_KNOWN:]


def _known(parsed: ParsedText) -> tuple[Known, ...]:
    return tuple(known(claim for claim in parsed.once(claims_of) if isinstance(claim, Claim)))


def _followed(claim: Claim, before: list[Known], terms: Mapping[str, Function]) -> Checked | None:
    symbols = names(claim.left) | names(claim.right)
    if claim.relation != "=" or not symbols:
        return None
    put = defined(claim, terms)
    if put and (
        zero_of(put) == {} or (not names(put.left) | names(put.right) and agree(put.left, put.right))
    ):
        return Checked("holds", f"{claim.text}: as {', '.join(sorted(symbols & terms.keys()))} is defined")
    if zero_of(claim) == {}:
        return Checked("holds", f"{claim.text}: proved where both sides are defined, by multiplying out")
    source = follows(claim, before)
    return Checked("holds", f"{claim.text}: follows from {source}") if source else None


def _defines(claim: Claim, context: StepContext, claims: list[Claim]) -> bool:
    """Whether a claim gives a new name to a value or formula: `A = 3 * 4`, `f(x) = x + 1`. A name that an
    earlier equation holds is an unknown, whose value may be wrong."""
    left = applied(claim.left)
    if not isinstance(left, Name) or left.name in names(claim.right):
        return False
    earlier = claims[: claims.index(claim)]
    return not any(
        left.name in names(applied(side)) for c in (*_before(context), *earlier) for side in (c.left, c.right)
    )


def _is_given(claim: Claim, claims: list[Claim], context: StepContext) -> bool:
    """Whether nothing says that an undecided relation with symbols was derived, so that it states what the
    step works with, as words do: "if n = 2", "for V = a b c", "r = sqrt(25) = 5", whose 5 is judged."""
    if not (names(claim.left) | names(claim.right)):
        return False
    computes = isinstance(applied(claim.left), Name) and isinstance(claim.right, Binary | Call)
    stated = (c for c in context.parsed.once(claims_of) if isinstance(c, Claim))
    links_on = any(c.left == claim.right and c.span[0] <= claim.span[1] for c in stated)
    if computes and links_on and not names(claim.right):
        return True
    start = claim.span[0]
    before = context.step[max(0, start - _CUE_REACH) : start]
    if _SUPPOSES.search(before[-_NEAREST:]):
        return True
    follows_another = any(start - _CUE_REACH // 3 < c.span[1] <= start + 1 for c in claims if c is not claim)
    return not follows_another and _DERIVES.search(before) is None


def _rewrites(claim: Claim, claims: list[Claim], context: StepContext) -> bool:
    """Whether a later link of a chain says that its sides agree for all values: `R = (x + 1)^2 = x^2 + 1`.

    Not where any equation holds one of its symbols, so that it may have been used."""
    symbols = names(claim.left) | names(claim.right)
    at = claims.index(claim)
    if not at or claim.loose or claim.words or names(claim.left) != names(claim.right):
        return False
    if symbols & _UNITS:
        return False
    linked = claims[at - 1].right == claim.left and claims[at - 1].span[1] >= claim.span[0]
    if not linked or _APPLIES.search(claim.text):
        return False
    # An equation may hold them in a form that is not read: `xy = 6 - 2x`.
    said = re.compile("|".join(map(re.escape, symbols)))
    if any("=" in text.text and said.search(_WORDS.sub("", text.text)) for text in _window(context)):
        return False
    others = (c for c in (*_before(context), *claims) if not _is_naming(c))
    chain = {c.span for c in claims[:at] if _APPLIES.search(c.text) is None}
    return not any(
        symbols & (names(c.left) | names(c.right)) for c in others if c.span not in chain and c != claim
    )


def _is_naming(claim: Claim) -> bool:
    left = applied(claim.left)
    return isinstance(left, Name) and left.name not in names(claim.right)


def _decided(checked: Checked | None) -> Checked | None:
    return checked if checked and checked.verdict != "abstains" else None


def _is_ours(claim: Claim) -> bool:
    if names(claim.left) | names(claim.right):
        return True
    try:
        exact(claim.left, {}), exact(claim.right, {})
    except Refused as refusal:
        return refusal.kind == "irrational"
    return False


def _abstain(claim: Claim, why: str, code: str = "context") -> Checked:
    return Checked("abstains", f"{claim.text}: {why}", code)


def _substituted(
    claim: Claim, claims: list[Claim], context: StepContext, values: Mapping[str, Fraction]
) -> Checked:
    try:
        left, right = exact(claim.left, values), exact(claim.right, values)
    except Refused as refusal:
        return _abstain(claim, str(refusal), refusal.kind)
    used = ", ".join(
        f"{name} = {show(values[name])}" for name in sorted(names(claim.left) | names(claim.right))
    )
    judged = compare(claim, left, right)
    if judged.verdict == "fails" and (_other_scope(claim, claims, context) or _revalued(context, values)):
        return _abstain(claim, "its symbols may have other values here")
    if judged.verdict == "fails":
        text = f"{claim.text}: the sides are {show(left)} and {show(right)} with {used}"
        return Checked("fails", text)
    return Checked(judged.verdict, f"{judged.reason} with {used}", judged.code)


def _other_scope(claim: Claim, claims: list[Claim], context: StepContext) -> bool:
    """Whether the step may be solving anew: more equations, a lone symbol, "set" or "try", a restatement."""
    if len(claims) > 1 or NO_DEFINITION.search(context.step):
        return True
    # "Company B: 3x = 90" may set up a new equation; "So 3x = 90" continues.
    if not _CONTINUES.search(context.step[: claim.span[0]]):
        return True
    if not isinstance(claim.right, Number) or not claim.right.value:
        return True  # symbols on both sides, or "= 0", state an equation rather than a value
    return any(isinstance(side, Name) for side in (claim.left, claim.right)) or _restated(claim, context)


def _revalued(context: StepContext, values: Mapping[str, Fraction]) -> bool:
    """Whether the steps just before hold equations that a symbol's value does not solve."""
    # Three steps back is as far as one equation is usually solved; see `solving.check_solving`.
    before = [equation for step in context.recent(3) for equation in step.once(equations)]
    return any(
        not e.polynomial or sum(c * values[e.symbol] ** power for power, c in enumerate(e.polynomial)) != 0
        for e in before
        if e.symbol in values
    )


def _before(context: StepContext) -> Iterator[Claim]:
    """What the problem and the earlier steps state."""
    for parsed in _window(context):
        yield from (claim for claim in parsed.once(claims_of) if isinstance(claim, Claim))


def _restated(claim: Claim, context: StepContext) -> bool:
    return any({c.left, c.right} == {claim.left, claim.right} for c in _before(context))


def _states_identity(claim: Claim, claims: list[Claim], context: StepContext) -> bool:
    """Whether a relation that some values satisfy was meant for all: `Expanding, (x + 1)^2 = x^2 + 1`.

    Any other equation with its symbols, here or before, makes it one to solve.
    """
    symbols = names(claim.left) | names(claim.right)
    if (
        claim.loose
        or len(claims) > 1
        or not _IDENTITY_CUE.search(context.step)
        or not _product_of_sums(claim)
    ):
        return False
    return names(claim.left) == names(claim.right) and not any(
        symbols & (names(c.left) | names(c.right)) for c in _before(context)
    )


def _product_of_sums(claim: Claim) -> bool:
    return any(
        isinstance(node, Binary)
        and node.op in {"*", "·", "^"}
        and any(isinstance(side, Binary) and side.op in {"+", "-"} for side in (node.left, node.right))
        for side in (claim.left, claim.right)
        for node in walk(side)
    )


def constant_claim(claim: Claim, *, pool: Pool | None = None) -> Checked:
    """A relation between numbers of which some are irrational: `sqrt(8) = 2 sqrt(2)`, `sqrt(2) ≈ 1.414`."""
    judged = judge_identity(claim.left, claim.right, positive=False, pool=pool)
    if judged.verdict != "fails":
        return Checked(judged.verdict, f"{claim.text}: {judged.reason}", judged.code)
    if "°" in claim.text and "pi" in claim.text:
        return _abstain(claim, "degrees beside radians")
    said = []
    for convention in conventions(claim.left, claim.right):
        left, right = (_short(approximate(side, {}, convention)) for side in (claim.left, claim.right))
        said.append(compare(claim, left, right))
    # `sin(45) = 0.707` is rounded, of degrees: a claim fails only if it is wrong under each convention.
    return next((one for verdict in ("holds", "abstains") for one in said if one.verdict == verdict), said[0])


def _in_setting(claim: Claim, checked: Checked, context: StepContext) -> Checked:
    """The verdict with the value of pi that the problem sets, and by its other conventions."""
    pi = setting_of(context.shared, context.count).pi
    if checked.verdict != "holds" and pi is not None:
        left, right = (with_value(side, "pi", pi, show(pi)) for side in (claim.left, claim.right))
        put = claim._replace(left=left, right=right)
        again = check_claim(put)
        if again and again.verdict != "fails":
            return again._replace(reason=f"{again.reason} with pi = {show(pi)}")
    return in_context(checked, claim, context)


def _short(value: Fraction) -> Fraction:
    """To 20 decimals, so that a reason shows a number and not its binary expansion."""
    return Fraction(round(value * 10**20), 10**20)
