"""Shares with their 95% interval and their counts, as every figure of people's data is given."""

import math
from typing import Any


def wilson(k: int, n: int) -> tuple[float, float]:
    """The 95% interval of a share (Wilson, 1927)."""
    if n == 0:
        return 0.0, 1.0
    z, share = 1.959964, k / n
    middle, spread = share + z**2 / (2 * n), z * math.sqrt(share * (1 - share) / n + z**2 / (4 * n**2))
    return max(0.0, middle - spread) / (1 + z**2 / n) if k else 0.0, (middle + spread) / (1 + z**2 / n)


def share(k: int, n: int, *, per: float = 1) -> dict[str, Any]:
    """k of n as a bench gives it, in units of 1 / `per`: 100 for per cent. Without any the value is 0."""
    low, high = (float(f"{per * end:.4g}") for end in wilson(k, n))
    return {"value": per * k / n if n else 0.0, "interval": [low, high], "k": k, "n": n}
