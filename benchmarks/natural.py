"""Benchmarks of the verifiers that read natural steps: how often they are right, silent or wrong."""

import hashlib
import random
import re
from collections import Counter
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

from benchmarks.corpora import ANNOTATION, Judged, gold, judged, written
from benchmarks.shares import share
from schemas.records import Problem
from verifiers.base import StepContext, contexts_of
from verifiers.calculation.arithmetic import Arithmetic, check_claim
from verifiers.calculation.number_provenance import orphans
from verifiers.claims.find import Claim, find_claims
from verifiers.review import review

Figures = dict[str, Any]
REVIEWED = Path(__file__).parent / "reviewed.txt"
"""Steps that are refuted although people or the corpus pass them, each looked at: a digest of the step, and
`misprint` where the calculation it shows is false indeed, `wrong` where we are."""

# `14 + 5 = 19`, `3 x $2.50 = 7.50`: a row of numbers and signs, an equals sign, a number.
_NAIVE = re.compile(r"([\d.]+(?:\s*[-+*/x×÷]\s*\$?[\d.]+)+)\s*=\s*\$?([\d.]+)")


def naive(text: str) -> list[bool]:
    """What a few lines of regular expression say of a step's sums: the baseline of all figures here."""
    found = []
    for left, right in _NAIVE.findall(text):
        tokens = re.findall(r"[\d.]+|[-+*/]", left.replace("x", "*").replace("×", "*").replace("÷", "/"))
        try:
            value = Fraction(tokens[0])
            for op, operand in zip(tokens[1::2], tokens[2::2], strict=True):
                number = Fraction(operand)
                value = {"+": value + number, "-": value - number, "*": value * number}.get(
                    op
                ) or value / number
            found.append(value == Fraction(right.rstrip(".")))
        except (ValueError, ZeroDivisionError):
            continue
    return found


def digest(step: str) -> str:
    """The name of a step in the list of those looked at."""
    return hashlib.sha256(step.encode("utf-8", "surrogatepass")).hexdigest()[:16]


def reviewed() -> dict[str, str]:
    """Digest to what was found when a person looked at the step."""
    lines = (line.split("#")[0].split() for line in REVIEWED.read_text(encoding="ascii").splitlines())
    return {line[0]: line[1] for line in lines if line}


def gsm8k_gold() -> Figures:
    """Steps of gold GSM8K solutions called wrong whose visible calculation is right, per 2,000 steps."""
    checker, known, flagged, steps, crude = Arithmetic(), reviewed(), [], 0, 0
    for _, lines in gold():
        for line in lines:
            steps += 1
            text = ANNOTATION.sub("", line)
            crude += not all(naive(text))
            finding = checker.check(StepContext(_PROBLEM, (text,)))
            if finding.verdict == "fails":
                flagged.append((digest(text), finding.reason))
    wrong = [item for item in flagged if known.get(item[0]) != "misprint"]
    return {
        **share(len(wrong), steps, per=2000),
        "unit": "wrong error claims per 2,000 steps",
        "baseline": 2000 * crude / steps,
        "details": {"flagged": len(flagged), "misprints": len(flagged) - len(wrong), "left": flagged},
    }


def humans() -> Figures:
    """Share of error claims that are wrong, over steps that people judged; a slip they passed is none."""
    known, counts, claimed, crude, left = reviewed(), Counter[str](), 0, [0, 0], []
    for judgement in _distinct(judged()):
        found = review(_context(judgement))
        side = "right" if judgement.right else "wrong"
        counts[f"{judgement.source} {side} {found.verdict}"] += 1
        text = judgement.steps[-1]
        if not all(naive(text)):
            crude[judgement.right] += 1
        if found.verdict == "fails":
            claimed += 1
            if judgement.right:
                by = next(remark for remark in found.remarks if remark.verdict == "fails")
                left.append(
                    (judgement.source, digest(text), known.get(digest(text), "not looked at"), by.reason)
                )
    wrong = [item for item in left if item[2] != "misprint"]
    return {
        **share(len(wrong), claimed),
        "unit": "share of error claims",
        "baseline": crude[1] / max(1, sum(crude)),
        "details": {
            "on_passed_steps": len(left),
            "wrong": wrong,
            "counts": dict(sorted(counts.items())),
            "left": left,
        },
    }


def coverage() -> Figures:
    """Share of GSM8K's annotated calculations with a verdict in the plain text; and of models' steps."""
    found, crude, total = 0, 0, 0
    for _, lines in gold():
        for line in lines:
            places = _places(line)
            text = ANNOTATION.sub("", line)
            spans = [claim.span for claim in _decided(text)]
            total += len(places)
            # Two letters of slack: a dollar sign or a space may stand between the calculation and its
            # annotation.
            found += sum(any(low - 2 <= place <= high + 1 for low, high in spans) for place in places)
            crude += min(len(places), len(naive(text)))
    by_source: dict[str, Counter[str]] = {}
    for source, problem, steps in written():
        seen = by_source.setdefault(source, Counter())
        for context in contexts_of(Problem(text=problem), steps):
            seen["steps"] += 1
            seen["decided"] += review(context).verdict != "abstains"
            seen["with a sum"] += "=" in context.step
    everything = sum(by_source.values(), Counter())
    return {
        **share(found, total),
        "unit": "share of calculations",
        "baseline": crude / total,
        "details": {
            "model_steps": {
                name: share(seen["decided"], seen["steps"])
                for name, seen in [*by_source.items(), ("all", everything)]
            }
        },
    }


def planted() -> Figures:
    """Recall of one changed digit or operator in a calculation of gold GSM8K that had a verdict before."""
    rng, hit, crude, total, kinds = random.Random(0), 0, 0, 0, Counter[str]()
    for _, lines in gold():
        for line in lines:
            text = ANNOTATION.sub("", line)
            for claim in _decided(text):
                broken = _broken(text, claim, rng)
                if broken is None:
                    continue
                kind, spoilt = broken
                caught = Arithmetic().check(StepContext(_PROBLEM, (spoilt,))).verdict == "fails"
                total += 1
                hit += caught
                crude += not all(naive(spoilt))
                kinds[f"{kind} {'caught' if caught else 'missed'}"] += 1
    return {
        **share(hit, total),
        "unit": "share of planted errors",
        "baseline": crude / total,
        "details": dict(kinds),
    }


def _broken(text: str, claim: Claim, rng: random.Random) -> tuple[str, str] | None:
    """The step with one digit of the result, or one operator, changed so that the equation is false."""
    if not isinstance(claim, Claim) or claim.relation != "=":
        return None
    low, high = claim.span
    said = text[low:high]
    result = re.search(r"[\d,]*\.?\d+$", said)
    # Half of the errors in an operator, where there is one; the others in a digit of the result.
    if rng.random() < 0.5 and (signs := list(re.finditer(r"(?<=[\d )])[-+*](?=[ $(\d])", said))):
        sign = rng.choice(signs)
        new, kind = rng.choice([op for op in "+-*" if op != sign[0]]), "operator"
        spoilt = said[: sign.start()] + new + said[sign.end() :]
    elif result and "=" in said[: result.start()]:
        places = [i for i in range(result.start(), result.end()) if said[i].isdigit()]
        place = rng.choice(places)
        new, kind = rng.choice([digit for digit in "0123456789" if digit != said[place]]), "digit"
        # A leading zero would make it no plain number, and be noticed by its form alone.
        if new == "0" and place == places[0]:
            new = "1" if said[place] != "1" else "2"
        spoilt = said[:place] + new + said[place + 1 :]
    else:
        return None
    changed = text[:low] + spoilt + text[high:]
    # 2 * 2 = 4 is still true after the sign becomes a plus.
    if any(c and c.verdict == "holds" for c in map(check_claim, _at(changed, low))):
        return None
    return kind, changed


def _at(text: str, start: int) -> list[Any]:
    return [claim for claim in find_claims(text) if claim.span[0] == start]


def provenance() -> Figures:
    """Share of gold GSM8K steps whose every number is traced; and recall of foreign numbers put in."""
    traced, steps, hit, total, rng = 0, 0, 0, 0, random.Random(0)
    for problem, lines in gold():
        texts = [ANNOTATION.sub("", line) for line in lines]
        for index, text in enumerate(texts):
            before = (*texts[:index], text)
            steps += 1
            if orphans(StepContext(Problem(text=problem), before)):
                continue
            traced += 1
            operand = re.search(r"(?<![\d.,])\d\d+(?= ?[-+*/])", text)
            if operand:
                # Above the numbers that are taken as known (unit counts, degrees), so that it comes from
                # nowhere.
                foreign = str(rng.randint(211, 9973))
                spoilt = text[: operand.start()] + foreign + text[operand.end() :]
                found = orphans(StepContext(Problem(text=problem), (*before[:-1], spoilt)))
                total += 1
                hit += any(orphan.text == foreign for orphan in found)
    return {
        **share(traced, steps),
        "unit": "share of steps",
        "baseline": 1.0,
        "details": {"foreign_numbers_found": share(hit, total)},
    }


_PROBLEM = Problem(text="-")


def _places(line: str) -> Iterator[int] | list[int]:
    """Where the annotations of a line stood, in the line without them."""
    removed, places = 0, []
    for match in ANNOTATION.finditer(line):
        places.append(match.start() - removed)
        removed += match.end() - match.start()
    return places


def _decided(text: str) -> list[Claim]:
    found = []
    for claim in find_claims(text):
        checked = check_claim(claim)
        if isinstance(claim, Claim) and checked and checked.verdict != "abstains":
            found.append(claim)
    return found


def _context(judgement: Judged) -> StepContext:
    return StepContext(Problem(text=judgement.problem or " "), judgement.steps)


def _distinct(items: Iterator[Judged]) -> Iterator[Judged]:
    """The corpora repeat steps: each is judged once per source, with the step before it."""
    seen: set[Any] = set()
    for item in items:
        key = (item.source, item.right, item.steps[-2:])
        if key not in seen:
            seen.add(key)
            yield item
