"""How the solutions of two equations, each a polynomial that is zero, compare: the same, or apart."""

from fractions import Fraction

from verifiers.calculation.consequences import Polynomial


def is_multiple(old: Polynomial, new: Polynomial) -> bool:
    """Whether one is the other times a number, so that they say the same."""
    if old.keys() != new.keys():
        return False
    ratio = {new[monomial] / old[monomial] for monomial in old}
    return len(ratio) == 1


def degree(zero: Polynomial) -> int:
    """The highest number of symbols that are multiplied in one term."""
    return max(sum(power for _, power in monomial) for monomial in zero)


def excludes(old: Polynomial, new: Polynomial) -> bool:
    """Whether both cannot be zero at once: a multiple of one differs from the other by a number only, or, in
    one symbol, they have no root in common."""
    parts = [{m: v for m, v in zero.items() if m} for zero in (old, new)]
    if is_multiple(*parts):
        return True
    dense = [_dense(zero) for zero in (old, new)]
    return dense[0] is not None and dense[1] is not None and len(_common(dense[0], dense[1])) == 1


def divides(old: Polynomial, new: Polynomial) -> bool:
    """Whether one may have lost or won a factor: in one symbol where it divides the other, in several where
    all terms share a symbol."""
    dense = [_dense(zero) for zero in (old, new)]
    if dense[0] is not None and dense[1] is not None:
        return len(_common(dense[0], dense[1])) == min(map(len, (dense[0], dense[1])))
    return any(
        all(any(name == n for n, _ in m) for m in zero) for zero in (old, new) for name in _symbols(zero)
    )


def _symbols(zero: Polynomial) -> set[str]:
    return {name for monomial in zero for name, _ in monomial}


_DEGREE = 6
"""Steps seldom show a higher one, and coefficients stay short."""


def _dense(zero: Polynomial) -> list[Fraction] | None:
    """The coefficients in the one symbol, highest first; None for several symbols or a high degree."""
    if len(_symbols(zero)) != 1:
        return None
    powers = {(monomial[0][1] if monomial else 0): value for monomial, value in zero.items()}
    top = max(powers)
    return [powers.get(at, Fraction(0)) for at in range(top, -1, -1)] if top <= _DEGREE else None


def _common(first: list[Fraction], second: list[Fraction]) -> list[Fraction]:
    """The greatest common divisor of two polynomials; of one coefficient where they share no root."""
    while second and any(second):
        while second and not second[0]:
            second = second[1:]
        rest = list(first)
        while len(rest) >= len(second):
            factor = rest[0] / second[0]
            rest = [
                a - factor * b
                for a, b in zip(rest, second + [Fraction(0)] * (len(rest) - len(second)), strict=True)
            ][1:]
        first, second = second, rest
    return first
