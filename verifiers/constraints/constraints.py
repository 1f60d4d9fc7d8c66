"""What the constraints of a word problem say about a claim: entailed, contradicted, or open (Z3).

A formalisation names its unknowns and states relations between them (`Tom = Mia + 5`, `3*i + i = 32`). It
may come from a problem generator, as the problem's premises, or be proposed by a model (`formalisation`).
Texts are read by the whitelisted grammar of `verifiers.expressions`, and solved in a worker that can be
killed.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from typing import Any, Literal

from schemas.sources import check_source
from verifiers.base import Finding, StepContext
from verifiers.calculation.arithmetic import checked_claims
from verifiers.constraints.quantities import stated
from verifiers.expressions.parser import parse
from verifiers.expressions.tree import Binary, Expression, Name, Number, Refused, Unary, walk
from verifiers.isolation.workers import run_limited

Sort = Literal["integer", "real"]
# Far more than a word problem states; a bound on what one call of the solver is given.
MOST_CONSTRAINTS = 64
# A power becomes a product for Z3, which may never finish with a long one.
_LARGEST_EXPONENT = 8
# Linear constraints take milliseconds; non-linear ones may take for ever, and cost this much at most.
_SOLVE_S = 3.0
# Longer signs first: `<=` is no `<`.
_RELATION = re.compile(r"<=|>=|!=|=|<|>|≤|≥|≠")
_WORD = re.compile(r"[A-Za-z]\w*")
_SAME = {"≤": "<=", "≥": ">=", "≠": "!="}


@dataclass(frozen=True)
class Formalisation:
    """A word problem in symbols."""

    sorts: Mapping[str, Sort]
    """Every unknown; integers are whole numbers, of either sign."""
    constraints: tuple[str, ...]


@dataclass(frozen=True)
class Judgement:
    """What the constraints say about a claim."""

    verdict: Literal["entailed", "contradicted", "open", "unknown"]
    reason: str = ""
    core: tuple[int, ...] = ()
    """Constraints that settle the claim, by 0-based index."""
    model: str = ""
    """For `open`, values with which the constraints hold and the claim does not."""


class Constraints:
    """Holds where all that a step says of the problem's quantities follows, fails where some cannot be."""

    name = "constraints"
    sources = check_source(name)

    def check(self, context: StepContext) -> Finding:
        """Judge what the last step states of quantities that the problem's premises name."""
        problem = formalised(context.problem.premises)
        if problem is None:
            return Finding("abstains", "the problem carries no constraints")
        claims = tuple(stated(context.step, problem.sorts.keys()))
        if not claims:
            return Finding("abstains", "states nothing of the problem's quantities")
        found = list(zip(claims, judge_all(problem, claims), strict=True))
        evidence = "; ".join(f"{claim}: {judged.verdict}" for claim, judged in found)
        for claim, judged in found:
            if judged.verdict == "contradicted":
                because = ", ".join(problem.constraints[index] for index in judged.core)
                return Finding("fails", f"{claim} contradicts {because}", evidence)
        for claim, judged in found:
            if judged.verdict != "entailed":
                return Finding("abstains", f"{claim}: {judged.reason}", evidence)
        # The answer may be right by luck: `Tom has 3 * 5 = 16, so 16` states a true quantity by a wrong
        # calculation.
        if any(checked.verdict != "holds" for _, checked in context.parsed.once(checked_claims)):
            return Finding("abstains", "its quantities are right, its calculation is not proved", evidence)
        return Finding("holds", f"{', '.join(claims)}: as the problem says", evidence)


@lru_cache(maxsize=1024)
def formalised(premises: tuple[str, ...]) -> Formalisation | None:
    """Premises that are relations between named numbers; None where they are anything else.

    Unknowns are real: what follows for those follows for whole numbers too.
    """
    if not 0 < len(premises) <= MOST_CONSTRAINTS:
        return None
    sorts: dict[str, Sort] = {name: "real" for text in premises for name in _WORD.findall(text)}
    try:
        for text in premises:
            _read(text, sorts)
    except Refused:
        return None
    return Formalisation(sorts, premises)


def judge(problem: Formalisation, claim: str) -> Judgement:
    """Whether the constraints settle a claim. What cannot be read, or solved in time, is unknown."""
    return judge_all(problem, (claim,))[0]


def judge_all(problem: Formalisation, claims: tuple[str, ...]) -> tuple[Judgement, ...]:
    """The same for several claims, each on its own, for one call of the solver."""
    if len(problem.constraints) > MOST_CONSTRAINTS:
        return (Judgement("unknown", f"more than {MOST_CONSTRAINTS} constraints"),) * len(claims)
    try:
        for text in (*problem.constraints, *claims):
            _read(text, problem.sorts)
    except Refused as error:
        return (Judgement("unknown", str(error)),) * len(claims)
    args = (dict(problem.sorts), problem.constraints, claims)
    result = run_limited(solve_claims, args, timeout_s=_SOLVE_S, preload="z3")
    return (Judgement("unknown", result.failure),) * len(claims) if result.failure else result.value


def solve_claims(
    sorts: dict[str, Sort], constraints: tuple[str, ...], claims: tuple[str, ...]
) -> tuple[Judgement, ...]:
    """Three questions to Z3 a claim. Meant for a worker: non-linear arithmetic may take for ever."""
    import z3

    symbols = {n: z3.Int(n) if sort == "integer" else z3.Real(n) for n, sort in sorts.items()}
    solver = z3.Solver()
    for index, text in enumerate(constraints):
        solver.assert_and_track(_encoded(text, sorts, symbols), f"constraint {index}")
    answer = str(solver.check())
    if answer != "sat":
        why = "the constraints contradict each other" if answer == "unsat" else "undecided"
        return (Judgement("unknown", why),) * len(claims)
    return tuple(_solved(solver, _encoded(claim, sorts, symbols), sorts) for claim in claims)


def _solved(solver: Any, goal: Any, sorts: Mapping[str, Sort]) -> Judgement:
    import z3

    solver.push()
    # Entailed: no values satisfy the constraints and deny the claim. Z3 keeps the constraints between the
    # questions; `push` and `pop` add and remove the claim alone.
    solver.add(z3.Not(goal))
    without = str(solver.check())
    core = _core(solver) if without == "unsat" else ()
    model = _model_text(solver.model(), sorts) if without == "sat" else ""
    solver.pop()
    if without == "unsat":
        return Judgement("entailed", "follows from the constraints", core)
    solver.push()
    # Contradicted: no values satisfy the constraints and the claim together.
    solver.add(goal)
    with_it = str(solver.check())
    core = _core(solver) if with_it == "unsat" else ()
    solver.pop()
    if with_it == "unsat":
        return Judgement("contradicted", "cannot be true with the constraints", core)
    if "unknown" in {without, with_it}:
        return Judgement("unknown", "undecided")
    return Judgement("open", "the constraints leave it open", model=model)


def _core(solver: Any) -> tuple[int, ...]:
    return tuple(sorted(int(str(tracked).strip("|").split()[1]) for tracked in solver.unsat_core()))


def _model_text(model: Any, sorts: Mapping[str, Sort]) -> str:
    values = {str(symbol): model[symbol] for symbol in model}
    return ", ".join(f"{name} = {values[name]}" for name in sorted(sorts) if name in values)


def _read(text: str, sorts: Mapping[str, Sort]) -> tuple[str, Expression, Expression]:
    relations = _RELATION.findall(text)
    if len(relations) != 1:
        raise Refused("parse", f"{text[:60]!r} is not one relation")
    short = {name: f"q_{index}" for index, name in enumerate(sorted(sorts))}
    known = _WORD.sub(lambda word: short.get(word[0], word[0]), text)  # the grammar has symbols of one letter
    long = {symbol: name for name, symbol in short.items()}
    sides = [_renamed(parse(side), long) for side in _RELATION.split(known)]
    for side in sides:
        _refuse_unsolvable(side)
    return _SAME.get(relations[0], relations[0]), sides[0], sides[1]


def _encoded(text: str, sorts: Mapping[str, Sort], symbols: Mapping[str, Any]) -> Any:
    """The relation, true only where every divisor in it is not zero."""
    import z3

    relation, left_tree, right_tree = _read(text, sorts)
    divisors: list[Any] = []
    left, right = _encode(left_tree, symbols, divisors), _encode(right_tree, symbols, divisors)
    said = {"=": left == right, "!=": left != right, "<": left < right, ">": left > right,
            "<=": left <= right, ">=": left >= right}[relation]  # fmt: skip
    return z3.And(said, *(divisor != 0 for divisor in divisors))


def _renamed(tree: Expression, names_of: Mapping[str, str]) -> Expression:
    match tree:
        case Name(name) if name in names_of:
            return Name(names_of[name])
        case Name(name):
            raise Refused("undefined_symbol", f"{name} is no unknown of the problem")
        case Unary(op, operand):
            return Unary(op, _renamed(operand, names_of))
        case Binary(op, left, right):
            return Binary(op, _renamed(left, names_of), _renamed(right, names_of))
        case _:
            return tree


def _refuse_unsolvable(tree: Expression) -> None:
    for node in walk(tree):
        match node:
            case Number() | Name() | Unary("-" | "%", _) | Binary("+" | "-" | "*" | "·" | "#" | "/", _, _):
                continue
            case Binary("^", _, Number(exponent)) if _is_small(exponent):
                continue
            case _:
                raise Refused("parse", "only + - * / and small powers can be solved")


def _is_small(exponent: Fraction) -> bool:
    return exponent.denominator == 1 and exponent <= _LARGEST_EXPONENT


def _encode(tree: Expression, symbols: Mapping[str, Any], divisors: list[Any]) -> Any:
    """A term of Z3's reals, with what it divides by. The tree is one that can be solved."""
    import z3

    match tree:
        case Number(value):
            return z3.Q(value.numerator, value.denominator)
        case Name(name):
            symbol = symbols[name]
            # Z3 divides whole numbers with the rest cut off, 7 / 2 = 3; as reals they divide exactly.
            return z3.ToReal(symbol) if z3.is_int(symbol) else symbol
        case Unary(op, operand):
            inner = _encode(operand, symbols, divisors)
            return -inner if op == "-" else inner / 100
        case Binary("^", base, Number(exponent)):
            inner = _encode(base, symbols, divisors)
            return z3.Product([inner] * int(exponent)) if exponent > 0 else z3.RealVal(1)
        case Binary(op, left, right):
            one, other = _encode(left, symbols, divisors), _encode(right, symbols, divisors)
            if op == "/":
                # Z3 lets a division by zero have any value, so the caller requires every divisor not to be
                # zero.
                divisors.append(other)
                return one / other
            return one * other if op in {"*", "·"} else one - other if op == "-" else one + other
        case _:
            raise Refused("parse", "only + - * / and small powers can be solved")
