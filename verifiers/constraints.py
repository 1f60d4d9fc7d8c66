"""What the constraints of a word problem say about a claim: entailed, contradicted, or open (Z3).

A formalisation names its unknowns and states relations between them (`3*i + i = 32`). It may come from a
problem generator, or be proposed by a model; a proposal is trusted only if it pins the gold answer (`pins`).
Texts are read by the whitelisted grammar of `verifiers.expressions`, and solved in a worker that can be
killed.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from verifiers.expressions import Binary, Expression, Name, Number, Refused, Unary, names, parse
from verifiers.limits import run_limited

Sort = Literal["integer", "real"]
MOST_CONSTRAINTS = 64
_LARGEST_EXPONENT = 8
_SOLVE_S = 3.0
_RELATION = re.compile(r"<=|>=|!=|=|<|>|≤|≥|≠")
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


def judge(problem: Formalisation, claim: str) -> Judgement:
    """Whether the constraints settle a claim. What cannot be read, or solved in time, is unknown."""
    if len(problem.constraints) > MOST_CONSTRAINTS:
        return Judgement("unknown", f"more than {MOST_CONSTRAINTS} constraints")
    try:
        for text in (*problem.constraints, claim):
            _read(text, problem.sorts)
    except Refused as error:
        return Judgement("unknown", str(error))
    args = (dict(problem.sorts), problem.constraints, claim)
    result = run_limited(solve_claim, args, timeout_s=_SOLVE_S, preload="z3")
    return Judgement("unknown", result.failure) if result.failure else result.value


def pins(problem: Formalisation, asked: str, answer: str) -> bool | None:
    """Whether the constraints leave the gold answer, and no other; None where that is not known."""
    found = judge(problem, f"{asked} = {answer}").verdict
    return None if found == "unknown" else found == "entailed"


def solve_claim(sorts: dict[str, Sort], constraints: tuple[str, ...], claim: str) -> Judgement:
    """Three questions to Z3. Meant for a worker: non-linear arithmetic may take for ever."""
    import z3

    symbols = {n: z3.Int(n) if sort == "integer" else z3.Real(n) for n, sort in sorts.items()}
    solver = z3.Solver()
    for index, text in enumerate(constraints):
        solver.assert_and_track(_encoded(text, sorts, symbols), f"constraint {index}")
    answer = str(solver.check())
    if answer != "sat":
        return Judgement(
            "unknown", "the constraints contradict each other" if answer == "unsat" else "undecided"
        )
    goal = _encoded(claim, sorts, symbols)
    solver.push()
    solver.add(z3.Not(goal))
    without = str(solver.check())
    if without == "unsat":
        return Judgement("entailed", "follows from the constraints", _core(solver))
    model = _model_text(solver.model(), sorts) if without == "sat" else ""
    solver.pop()
    solver.add(goal)
    with_it = str(solver.check())
    if with_it == "unsat":
        return Judgement("contradicted", "cannot be true with the constraints", _core(solver))
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
    sides = [parse(side) for side in _RELATION.split(text)]
    for side in sides:
        if unknown := names(side) - sorts.keys():
            raise Refused("undefined_symbol", f"{min(unknown)} is no unknown of the problem")
        _encode(side, {}, [])
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


def _encode(tree: Expression, symbols: Mapping[str, Any], divisors: list[Any]) -> Any:
    """A term of Z3's reals; without symbols, only checks that the tree can become one. Raises Refused."""
    import z3

    match tree:
        case Number(value):
            return z3.Q(value.numerator, value.denominator)
        case Name(name):
            symbol = symbols.get(name, z3.RealVal(1))
            return z3.ToReal(symbol) if z3.is_int(symbol) else symbol
        case Unary("-", operand):
            return -_encode(operand, symbols, divisors)
        case Unary("%", operand):
            return _encode(operand, symbols, divisors) / 100
        case Binary("^", base, Number(exponent)) if (
            exponent.denominator == 1 and exponent <= _LARGEST_EXPONENT
        ):
            inner = _encode(base, symbols, divisors)
            return z3.Product([inner] * int(exponent)) if exponent > 0 else z3.RealVal(1)
        case Binary(("+" | "-" | "*" | "·" | "#" | "/") as op, left, right):
            one, other = _encode(left, symbols, divisors), _encode(right, symbols, divisors)
            if op == "/":
                divisors.append(other)
                return one / other
            return one * other if op in {"*", "·"} else one - other if op == "-" else one + other
        case _:
            raise Refused("parse", "only + - * / and small powers can be solved")
