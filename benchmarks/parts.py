"""Which problems figures are quoted on: a half, drawn by a hash, that nobody looks at who changes code."""

from hashlib import sha256


def is_kept(text: str) -> bool:
    """Whether the problem with this text is of the kept half; code is written on the other half only."""
    return int(sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:2], 16) % 2 == 1
