"""Texts made to hurt a reader of sums: huge numbers, towers, deep nesting, look-alikes, bombs, code."""

import random
from collections.abc import Iterator

_CODE = (
    "__import__('os').system('touch /tmp/owned')",
    "().__class__.__base__.__subclasses__()",
    "exec(open('/etc/passwd').read())",
    "lambda: 9**9**9",
    "eval(input())",
    "{{7*7}}",
    "${jndi:x}",
    "'; DROP TABLE steps; --",
    "\\input{/etc/passwd}",
    "\\write18{rm -rf /}",
)
# Digits of other scripts, Greek and Cyrillic letters that look Latin, signs wider than ASCII, marks of
# direction, null and half a surrogate pair: readers that normalise too much or too little trip here.
_ALIKE = "０１２３４５٠١٢٣x×хⅹ＝=＋+−–—‐-∕/÷⁄％%，,．.٫’'“”\u200b\u202e\u0000\ud800²³¹½¾π∞√∑∫≠≈≤≥"
_PLAIN = "0123456789+-*/^()=<>.,%!$ xyab\n"
_LATEX = (
    r"\frac", r"\sqrt", r"\left(", r"\right)", r"\cdot", "{", "}", "^", "_", r"\text{", r"\boxed{",
    r"\begin{pmatrix}", r"\end{pmatrix}", "&", "\\\\", "$", r"\[", r"\]", "1", "23", "=", r"\approx",
    r"\pmod", r"\pm", r"\cup", r"\infty",
)  # fmt: skip
_SEED_STEPS = (
    "Tom has 14 + 5 = 19 apples.",
    "So 15 feet * 12 inches/foot = 180 inches, and 2x + 1 = 7 gives x = 3.",
    r"\[ \frac{3}{4} \cdot 20 = 15 \]",
    "Since Mia has 120, 120 - 21 = 99 <<120-21=99>> so Tom has 99.",
    "From 1:00 PM to 5:00 PM is 4 hours, 7:30 + 45 minutes = 8:15; from March 3 to March 10 is 7 days.",
    "60% of 50 = 30 and $1,234.50 / 2 = $617.25",
)


def texts(n: int, seed: int = 0) -> Iterator[str]:
    """`n` hostile texts, the same for the same seed."""
    rng = random.Random(seed)
    kinds = (_huge, _towers, _nested, _alike, _latex, _code, _mutated, _noise, _long)
    for index in range(n):
        yield kinds[index % len(kinds)](rng)


def _huge(rng: random.Random) -> str:
    # 9,000 digits are above Python's own limit of 4,300 for reading a number.
    digits = "".join(rng.choices("123456789", k=rng.choice((20, 400, 4000, 9000))))
    return f"{digits} {rng.choice('+-*/')} {digits[::-1]} = {digits[: rng.randint(1, 20)]}"


def _towers(rng: random.Random) -> str:
    base = rng.choice(("9", "(9!)", "99999", "0.1", "x", "(1/3)", "-2"))
    sign = rng.choice(("^", "**", "!", "^-", "//", "^("))
    return f"{sign.join([base] * rng.randint(2, 60))} = {rng.randint(0, 9)}"


def _nested(rng: random.Random) -> str:
    # Up to 2,500 brackets: above Python's limit of 1,000 calls in each other.
    depth, (left, right) = (
        rng.randint(20, 2500),
        rng.choice((("(", ")"), ("{", "}"), ("-", ""), ("sqrt(", ")"))),
    )
    return f"{left * depth}1{right * rng.choice((depth, depth - 1, 0))} = 1"


def _alike(rng: random.Random) -> str:
    return "".join(rng.choices(_ALIKE + _PLAIN, k=rng.randint(5, 200)))


def _latex(rng: random.Random) -> str:
    return "".join(rng.choices(_LATEX, k=rng.randint(5, 600)))


def _code(rng: random.Random) -> str:
    return f"So {rng.choice(_CODE)} {rng.choice('=<>')} {rng.choice((*_CODE, '1'))}"


def _mutated(rng: random.Random) -> str:
    step = list(rng.choice(_SEED_STEPS))
    for _ in range(rng.randint(1, 12)):
        at = rng.randrange(len(step))
        step[at : at + rng.randint(0, 3)] = rng.choices(_PLAIN + _ALIKE, k=rng.randint(0, 3)) or [" "]
    return "".join(step)


def _noise(rng: random.Random) -> str:
    return "".join(
        chr(rng.choice((rng.randrange(128), rng.randrange(0x3000)))) for _ in range(rng.randint(1, 300))
    )


def _long(rng: random.Random) -> str:
    piece = rng.choice(
        ("1 = ", "2 + ", "x = 2, ", "<<1=1>>", "a b c ", "(", "1,", "5 m ", "= ", "\n= 3", ". 5")
    )
    # 7,999 and 8,001 stand on either side of the verifiers' longest step.
    return (piece * 5000)[: rng.choice((3000, 7999, 8001, 100_000))]
