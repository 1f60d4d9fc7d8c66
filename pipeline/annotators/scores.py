r"""Replies that score a whole solution by a rubric (RRM, arXiv 2510.07774).

What is no score is an abstention: nan, infinities, negative numbers, more than the maximum, and a reply that
names none. None of them is 0.
"""

import re
from typing import Any

from pipeline.annotators.boxes import boxed, is_review
from pipeline.annotators.json_replies import json_of, keyed
from pipeline.annotators.verdicts import Reading, tail_of
from pipeline.annotators.wording import plain
from schemas.reasoning import UNCLOSED

_NUMBER = r"[-+]?(?:\d{1,6}(?:\.\d{0,9})?|\.\d{1,9})"
_VALUE = re.compile(
    rf"\s*(?:\\?f?boxed\s*)?[\s(\[{{]*(?P<score>{_NUMBER})\s*"
    rf"(?:(?P<percent>\\?%)|(?:/|out\s+of)\s*(?P<of>\d{{1,6}}(?:\.\d{{1,9}})?))?"
    # No range, date, fraction of something else, or number with a comma: which of its parts is the score?
    r"(?![\w%]|\s*[-/+*^=]\s*\d|[.,]\d)",
)
# "Total score: 0.5", "Overall rating (the lowest) is 0.5"
_NAMED = r"(?:score|rating|grade)\b(?:\s*\([^()\n]{0,60}\))?[^\w\-+.]{0,10}(?:is\b|of\b)?\s*[:=]?"
_TOTAL = re.compile(
    rf"\b(?:total|overall|final|mean|average|lowest|minimum)\s+(?:rubric\s+)?{_NAMED}", re.IGNORECASE
)
_SCORE = re.compile(rf"\b{_NAMED}", re.IGNORECASE)
_OVERALL = r"(?:total|overall|final|mean|average)(?:_score)?"


def read_score(reply: str, maximum: float = 1.0) -> Reading:
    r"""Read the score of a reply, as a share of `maximum`: of JSON, of the last total ("Total score: 7/10"),
    or of the last box; without those, of the only score that it names.

    A score with a maximum of its own (`7/10`, `70%`) is a share of that.
    """
    said = tail_of(reply)
    if said is None:
        return Reading(None, UNCLOSED)
    text = plain(said)
    value = json_of(said)
    if held := list(keyed(value, _OVERALL)) or list(keyed(value, "score|rating|grade")):
        return _share(_of_json(held[-1]), maximum)
    # A total before any box: a box may as well hold the answer of the problem.
    if totals := list(_TOTAL.finditer(text)):
        return _share(_VALUE.match(text, totals[-1].end()), maximum)
    if boxes := list(boxed(text.replace("score", "verdict"))):
        if not is_review(text) or re.search(r"\banswer\b", boxes[-1].before, re.IGNORECASE):
            return Reading(None, "its box may hold the answer of the problem")
        return _share(_VALUE.match(boxes[-1].inner or "nothing"), maximum)
    scores = list(_SCORE.finditer(text))
    if len(scores) == 1:
        return _share(_VALUE.match(text, scores[0].end()), maximum)
    return Reading(None, "it names several scores and no total" if scores else "it names no score")


def _of_json(value: Any) -> re.Match[str] | None:
    return _VALUE.fullmatch(str(value)[:40]) if isinstance(value, int | float | str) else None


def _share(match: re.Match[str] | None, maximum: float) -> Reading:
    if match is None:
        return Reading(None, "its score is no number")
    most = 100.0 if match["percent"] else float(match["of"] or maximum)
    score = float(match["score"])
    if not 0 <= score <= most or not most:
        return Reading(None, f"its score is not from 0 to {most:g}")
    return Reading(None, score=score / most)
