"""Computes with matrices of expressions: sums, products, powers, determinants, inverses, lengths.

Entries without symbols are computed exactly at once. Entries with symbols grow, so their size is bounded.
"""

from collections.abc import Callable, Mapping
from fractions import Fraction
from itertools import islice

from verifiers.expressions.matrices import CROSS, Matrix
from verifiers.expressions.tree import Binary, Call, Expression, Name, Number, Refused, Unary, names, walk
from verifiers.expressions.values import exact

Value = Expression | Matrix
_MOST_NODES = 1_500
_LARGEST_POWER, _LARGEST_SYMBOLIC_POWER = 200, 3
_LARGEST_DETERMINANT = 5
ZERO, ONE = Number(Fraction(0), "0"), Number(Fraction(1), "1")
_TRANSPOSE = Name("T_T")


def unknown(tree: Expression, matrices: Mapping[str, Matrix]) -> list[str]:
    """The capital and bold letters in it, which may stand for matrices that are not shown."""
    found = names(tree) - matrices.keys() - {_TRANSPOSE.name}
    return sorted(name for name in found if name[:1].isupper())


def value(tree: Expression, matrices: Mapping[str, Matrix]) -> Value:
    """What an expression of matrices comes to. Raises Refused where it has no value, or is too large."""
    match tree:
        case Name(name) if name in matrices:
            matrix = matrices[name]
            if name.startswith("Z_d"):
                return determinant(matrix)
            return _length(matrix) if name.startswith("Z_n") else matrix
        case Unary("-", operand):
            return _scaled(Number(Fraction(-1), "-1"), value(operand, matrices))
        case Unary(op, operand):
            inside = value(operand, matrices)
            if isinstance(inside, Matrix):
                raise Refused("domain", f"{op} of a matrix")
            return folded(Unary(op, inside))
        case Binary("^", base, exponent) if exponent == _TRANSPOSE:
            return _transposed(value(base, matrices))
        case Binary("^", base, exponent):
            return _raised(value(base, matrices), value(exponent, matrices))
        case Binary(op, left, right):
            return _operated(op, value(left, matrices), value(right, matrices))
        case Call(function, args):
            inner = [value(arg, matrices) for arg in args]
            scalars = tuple(one for one in inner if not isinstance(one, Matrix))
            if len(scalars) != len(inner):
                raise Refused("domain", f"{function} of a matrix")
            return folded(Call(function, scalars))
    return folded(tree)


def folded(tree: Expression) -> Expression:
    """The tree, as one number where it is rational. Raises Refused where it is too large."""
    if isinstance(tree, Number):
        return tree
    if next(islice(walk(tree), _MOST_NODES, None), None) is not None:
        raise Refused("too_large", f"more than {_MOST_NODES} operations in an entry")
    if names(tree):
        return tree
    try:
        number = exact(tree, {})
    except Refused as refusal:
        if refusal.kind != "irrational":
            raise
        return tree
    return Number(number, str(number))


def _operated(op: str, left: Value, right: Value) -> Value:
    if not isinstance(left, Matrix) and not isinstance(right, Matrix):
        return folded(Binary("*" if op == CROSS else op, left, right))
    match op:
        case "+" | "-" if isinstance(left, Matrix) and isinstance(right, Matrix):
            if left.shape != right.shape:
                raise Refused("domain", "a sum of matrices of different shapes")
            return _by_entry(lambda a, b: _plus(a, b, op), left, right)
        case "*" | "·" | "//":
            return _product(op, left, right)
        case "/" if isinstance(left, Matrix) and not isinstance(right, Matrix):
            return Matrix(tuple(tuple(folded(Binary("/", one, right)) for one in row) for row in left.rows))
    raise Refused("domain", f"{op} of a matrix")


def _product(op: str, left: Value, right: Value) -> Value:
    if not isinstance(left, Matrix):
        return _scaled(left, right)
    if not isinstance(right, Matrix):
        return _scaled(right, left)
    if left.is_vector and right.is_vector:
        # Two columns have no matrix product: a point between them is the dot product, a cross the other one.
        if op == "·" or left.shape != right.shape:
            raise Refused("domain", "a product of two columns")
        return _crossed(left, right) if op == CROSS else _dotted(left, right)
    if left.shape[1] != right.shape[0]:
        raise Refused("domain", "a product of matrices whose shapes do not fit")
    columns = tuple(zip(*right.rows, strict=True))
    product = Matrix(tuple(tuple(_sum_of(row, column) for column in columns) for row in left.rows))
    return product.rows[0][0] if product.shape == (1, 1) else product


def _by_entry(combine: Callable[[Expression, Expression], Expression], left: Matrix, right: Matrix) -> Matrix:
    pairs = zip(left.rows, right.rows, strict=True)
    return Matrix(tuple(tuple(combine(a, b) for a, b in zip(*rows, strict=True)) for rows in pairs))


def _scaled(factor: Expression, of: Value) -> Value:
    if not isinstance(of, Matrix):
        return _times(factor, of)
    return Matrix(tuple(tuple(_times(factor, entry) for entry in row) for row in of.rows))


def _dotted(left: Matrix, right: Matrix) -> Expression:
    return _sum_of(tuple(left.entries()), tuple(right.entries()))


def _crossed(left: Matrix, right: Matrix) -> Matrix:
    if left.shape != (3, 1):
        raise Refused("domain", "a cross product of vectors that have not three entries")
    (a, b, c), (d, e, f) = tuple(left.entries()), tuple(right.entries())
    parts = ((b, f, c, e), (c, d, a, f), (a, e, b, d))
    return Matrix(tuple((_plus(_times(p, q), _times(r, s), "-"),) for p, q, r, s in parts))


def _length(matrix: Matrix) -> Expression:
    if 1 not in matrix.shape:
        raise Refused("domain", "the length of a matrix")
    return folded(Call("sqrt", (_sum_of(tuple(matrix.entries()), tuple(matrix.entries())),)))


def _sum_of(left: tuple[Expression, ...], right: tuple[Expression, ...]) -> Expression:
    total: Expression = ZERO
    for first, second in zip(left, right, strict=True):
        total = _plus(total, _times(first, second), "+")
    return total


def _plus(left: Expression, right: Expression, op: str) -> Expression:
    if isinstance(right, Number) and not right.value:
        return left
    if op == "+" and isinstance(left, Number) and not left.value:
        return right
    return folded(Binary(op, left, right))


def _times(left: Expression, right: Expression) -> Expression:
    for one, other in ((left, right), (right, left)):
        if isinstance(one, Number) and one.value in (0, 1):
            return other if one.value else ZERO
    return folded(Binary("*", left, right))


def _transposed(base: Value) -> Value:
    if not isinstance(base, Matrix):
        raise Refused("domain", "the transpose of a number")
    return Matrix(tuple(zip(*base.rows, strict=True)))


def _raised(base: Value, exponent: Value) -> Value:
    if isinstance(exponent, Matrix):
        raise Refused("domain", "a power that is a matrix")
    if not isinstance(base, Matrix):
        return folded(Binary("^", base, exponent))
    power = exact(exponent, {})
    symbolic = any(not isinstance(entry, Number) for entry in base.entries())
    most = _LARGEST_SYMBOLIC_POWER if symbolic else _LARGEST_POWER
    if base.shape[0] != base.shape[1] or power.denominator != 1 or abs(power) > most:
        raise Refused("domain", "a power of a matrix that is not computed")
    base = inverse(base) if power < 0 else base
    return _power(base, abs(int(power)))


def _power(base: Matrix, count: int) -> Value:
    size = range(base.shape[0])
    result: Value = Matrix(tuple(tuple(ONE if row == column else ZERO for column in size) for row in size))
    square: Value = base
    while count:
        if count % 2:
            result = _operated("*", result, square)
        count //= 2
        square = _operated("*", square, square) if count else square
    return result


def determinant(matrix: Matrix) -> Expression:
    """Raises Refused of a matrix that is not square, or is larger than 5 by 5."""
    size, columns = matrix.shape
    if size != columns or size > _LARGEST_DETERMINANT:
        raise Refused("domain", "a determinant that is not computed")
    if size == 1:
        return matrix.rows[0][0]
    total: Expression = ZERO
    for column, entry in enumerate(matrix.rows[0]):
        if entry != ZERO:
            part = _times(entry, determinant(_without(matrix, 0, column)))
            total = _plus(total, part, "-" if column % 2 else "+")
    return total


def _without(matrix: Matrix, row: int, column: int) -> Matrix:
    rows = (one for at, one in enumerate(matrix.rows) if at != row)
    return Matrix(tuple(one[:column] + one[column + 1 :] for one in rows))


def inverse(matrix: Matrix) -> Matrix:
    """Raises Refused where there is none."""
    whole, size = determinant(matrix), matrix.shape[0]
    if isinstance(whole, Number) and not whole.value:
        raise Refused("domain", "the inverse of a matrix whose determinant is 0")
    if size == 1:
        return Matrix(((folded(Binary("/", ONE, whole)),),))

    def entry(row: int, column: int) -> Expression:
        minor = determinant(_without(matrix, column, row))
        signed = _times(Number(Fraction(-1), "-1"), minor) if (row + column) % 2 else minor
        return folded(Binary("/", signed, whole))

    return Matrix(tuple(tuple(entry(row, column) for column in range(size)) for row in range(size)))
