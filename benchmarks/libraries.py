"""What a library would give in place of a part of ours: the same answers or not, and at what cost.

`python -m benchmarks libraries.NAME`. Most of these libraries are no dependencies: where one is missing, the
bench says so in `needs`, and `pip install scikit-learn` brings those of this file. Value and baseline are
processor seconds, ours and the library's, the median of turns that alternate.
"""

import importlib
import importlib.metadata
import os
import statistics
import subprocess
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from itertools import islice
from typing import Any
from unittest.mock import patch

import numpy as np

from benchmarks.corpora import ANNOTATION, gold
from benchmarks.hostile import texts
from benchmarks.natural import _PROBLEM
from pipeline.prm.evaluate import step_auroc
from pipeline.prm.intervals import bootstrap
from verifiers.base import StepContext
from verifiers.calculation.arithmetic import Arithmetic
from verifiers.claims import find
from verifiers.expressions.parser import DEEPEST, NUMBER, number, parse
from verifiers.expressions.tree import Binary, Call, Expression, Name, Refused, Unary

Figures = dict[str, Any]


def in_turns(turns: int = 7, **works: Callable[[], object]) -> dict[str, float]:
    """Median processor seconds of each, taking turns: what else runs on the machine falls on all alike."""
    spent: dict[str, list[float]] = {name: [] for name in works}
    for _ in range(turns):
        for name, work in works.items():
            start = time.process_time()
            work()
            spent[name].append(time.process_time() - start)
    return {name: statistics.median(seconds) for name, seconds in spent.items()}


def weight(*modules: str, of: tuple[str, ...]) -> Figures:
    """Processor seconds of importing modules in fresh interpreters, and the MB of distributions on disk."""
    code = "import time, {0}; print(time.process_time())"
    imports = {}
    for module in ("sys", *modules):
        command = [sys.executable, "-c", code.format(module)]
        # The least of three: anything else on the machine only makes an import slower.
        imports[module] = round(min(float(subprocess.check_output(command)) for _ in range(3)), 2)
    size = 0
    for name in of:
        files = importlib.metadata.files(name) or []
        size += sum(path.stat().st_size for path in map(lambda f: f.locate(), files) if os.path.isfile(path))
    return {"import_s": imports, "disk_mb": round(size / 1e6, 1), "load": round(os.getloadavg()[0], 1)}


def _cases(rng: np.random.Generator) -> Iterator[tuple[Any, Any]]:
    """Scores with many ties, some and none, and whether each step is right; of every size."""
    # Rounded to 1 to 16 digits: with one digit most scores are ties, with 16 none.
    for n in (2, 5, 50, 1000):
        for _ in range(100):
            scores, right = np.round(rng.random(n), rng.integers(1, 17)), rng.random(n) < 0.6
            if 0 < right.sum() < n:
                yield scores, right


def auroc() -> Figures:
    """AUROC of 20,000 steps by `step_auroc` against scikit-learn's `roc_auc_score`, and what having
    scikit-learn costs: transformers imports it at every start once it is there."""
    from sklearn.metrics import brier_score_loss, roc_auc_score

    rng = np.random.default_rng(0)
    apart = [abs(step_auroc(s, right) - roc_auc_score(right, s)) for s, right in _cases(rng)]
    scores, right = rng.random(20_000), rng.random(20_000) < 0.6
    found = in_turns(ours=lambda: step_auroc(scores, right), theirs=lambda: roc_auc_score(right, scores))
    return {
        "value": found["ours"],
        "unit": "s",
        "baseline": found["theirs"],
        "n": len(apart),
        "details": {
            "greatest_difference": max(apart),
            "library_on_one_kind_of_step": _outcome(lambda: roc_auc_score([True, True], [0.1, 0.2])),
            "library_brier_of_soft_targets": _outcome(lambda: brier_score_loss([0.5, 1], [0.4, 0.9])),
            **weight("sklearn.metrics", of=("scikit-learn", "scipy", "joblib", "threadpoolctl", "narwhals")),
            "transformers_import_s": {
                name: weight(f"{without}transformers.generation.utils", of=())["import_s"]
                for name, without in (
                    ("with", ""),
                    ("without", "sys; sys.modules['sklearn'] = None; import "),
                )
            },
        },
    }


def _outcome(work: Callable[[], object]) -> str:
    """What comes of it, warnings taken as the errors that our tests make of them."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        try:
            return repr(work())
        except Exception as error:  # whatever a library raises is what this is to tell
            return f"{type(error).__name__}: {str(error).splitlines()[0]}"


def intervals() -> Figures:
    """Intervals over 400 problems by `bootstrap` against `scipy.stats.bootstrap` (percentile), and what each
    says where some draws cannot be measured, or there is one problem only."""
    from scipy.stats import bootstrap as theirs

    rng = np.random.default_rng(1)
    values = rng.normal(size=400)
    rare = np.where(np.arange(400) < 2, values, np.nan)  # a draw without the two measurable problems is NaN

    def mean(drawn: Any) -> float:
        return float(values[drawn].mean())

    def rare_mean(drawn: Any) -> float:
        kept = rare[drawn][np.isfinite(rare[drawn])]
        return float(kept.mean()) if len(kept) else float("nan")

    def library(n: int, measure: Callable[[Any], float]) -> list[float]:
        found = theirs(
            (np.arange(n),), measure, vectorized=False, n_resamples=1000, method="percentile", rng=0
        )
        return [float(bound) for bound in found.confidence_interval]

    found = in_turns(ours=lambda: bootstrap(400, mean, seed=0), theirs=lambda: library(400, mean))
    return {
        "value": found["ours"],
        "unit": "s",
        "baseline": found["theirs"],
        "n": 400,
        "details": {
            "ours": bootstrap(400, mean, seed=0),
            "theirs": library(400, mean),
            "some_draws_unmeasurable": {
                "ours": bootstrap(400, rare_mean, seed=0),
                "theirs": _outcome(lambda: library(400, rare_mean)),
            },
            "one_problem": {
                "ours": bootstrap(1, mean, seed=0),
                "theirs": _outcome(lambda: library(1, mean)),
            },
            **weight("scipy.stats", of=("scipy",)),
        },
    }


GRAMMAR = rf"""
?start: sum
?sum: product | sum (PLUS | MINUS) product -> binary
?product: juxtaposed | product (TIMES | OVER | FLOOR) juxtaposed -> binary
?juxtaposed: signed | juxtaposed opened -> without_sign
?signed: power | MINUS signed -> negative | PLUS signed -> positive
?power: mixed | mixed HAT exponent -> binary
?exponent: power | MINUS signed -> negative
?mixed: postfix | mixed HASH postfix -> binary
?opened: opened_mixed | opened_mixed HAT exponent -> binary
?opened_mixed: opened_postfix | opened_mixed HASH postfix -> binary
?opened_postfix: opened_atom | opened_postfix (BANG | PERCENT) -> unary
?postfix: DIGITS -> number | opened_atom | postfix (BANG | PERCENT) -> unary
?opened_atom: WORD -> name | FUNCTION "(" sum ("," sum)* ")" -> call | "(" sum ")" -> bracketed
DIGITS: /{NUMBER}/
FUNCTION.2: /(?:sqrt|root|abs|log|ln|sin|cos|tan)(?![A-Za-z_])/
WORD: /[A-Za-z]+(?:_[A-Za-z0-9]+)?/
FLOOR.2: "//"
PLUS: "+"
MINUS: "-"
TIMES: "*"
OVER: "/"
HAT: "^"
HASH: "#"
BANG: "!"
PERCENT: "%"
%ignore /\s+/
"""


def expressions() -> Figures:
    """Seconds to read 6,000 sides of relations by `parse` against Lark's LALR parser with the same grammar,
    how many of them and of hostile texts come out alike, and steps/s of the arithmetic verifier with each."""
    from lark import Lark
    from lark.exceptions import LarkError

    lark = Lark(GRAMMAR, parser="lalr", lexer="basic")

    def theirs(text: str) -> Expression | None:
        try:
            return _expression(lark.parse(text), 0) if len(text) <= 400 else None
        except (LarkError, Refused):
            return None

    sides = list(islice(_sides(), 6000))
    # Random mixtures find differences that calculations of people never show.
    hostile = [side.strip() for text in texts(300) for side in text.split("=")]
    differ = [text for text in (*sides, *hostile) if _ours(text) != theirs(text)]
    found = in_turns(3, ours=lambda: [*map(_ours, sides)], theirs=lambda: [*map(theirs, sides)])
    steps = [StepContext(_PROBLEM, (ANNOTATION.sub("", line),))
             for _, lines in islice(gold(), 400) for line in lines]  # fmt: skip

    def by_lark(tokens: list[str]) -> Expression:
        tree = theirs(" ".join(tokens))
        if tree is None:
            raise Refused("parse", "")
        return tree

    def checked() -> None:
        for step in steps:
            Arithmetic().check(step)

    def checked_by_lark() -> None:
        # The verifier imports the parser by name, so it is exchanged where it is used.
        with patch.object(find, "parse_tokens", by_lark):
            checked()

    spent = in_turns(5, ours=checked, lark=checked_by_lark)
    return {
        "value": found["ours"],
        "unit": "s",
        "baseline": found["theirs"],
        "n": len(sides),
        "details": {"read": sum(_ours(side) is not None for side in sides), "hostile": len(hostile),
                    "differ": len(differ), "differing": differ[:8],
                    "arithmetic_steps_per_s": {who: round(len(steps) / s) for who, s in spent.items()},
                    **weight("lark", of=("lark",))},
    }  # fmt: skip


def _ours(text: str) -> Expression | None:
    try:
        return parse(text)
    except Refused:
        return None


def _sides() -> Iterator[str]:
    for _, lines in gold():
        for line in lines:
            for shown in line.split("<<")[1:]:
                yield from shown.partition(">>")[0].split("=")


def _expression(tree: Any, depth: int) -> Expression:
    """Lark's tree as one of ours."""
    if depth > DEEPEST:
        raise Refused("parse", "too deep")
    parts = [_expression(part, depth + 1) if hasattr(part, "data") else str(part) for part in tree.children]
    match tree.data, parts:
        case "binary", [left, op, right]:
            return Binary(op, left, right)
        case "without_sign", [left, right]:
            return Binary("·", left, right)
        case "negative", [_, operand]:
            return Unary("-", operand)
        case "unary", [operand, op]:
            return Unary(op, operand)
        case "number", [token]:
            return number(token)
        case "name", [token]:
            if len(token.partition("_")[0]) > 1 and token != "pi":
                raise Refused("parse", f"unknown word {token!r}")
            return Name(token)
        case "call", [function, *args]:
            if len(args) != (2 if function == "root" else 1):
                raise Refused("parse", "the number of arguments")
            return Call(function, tuple(args))
    return parts[-1]
