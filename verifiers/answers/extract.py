r"""Finds the final answer that a solution states: `#### 12`, `\boxed{12}`, "The answer is 12"."""

import re
from dataclasses import dataclass
from typing import Literal

from schemas.reasoning import answer_part
from verifiers.answers.concluded import Unclear, concluded, value_in

TAIL = 20_000
"""The answer is looked for in the last characters only: it stands at the end, and texts may be hostile."""
LONGEST_ANSWER = 1_000
"""Characters. The longest gold answer of MATH and OlympiadBench has fewer than 200."""

_HASHES = re.compile(r"####(?!#)[ \t]*([^\n]*)")
"""GSM8K's answer line, `#### 18`. Five signs are a heading of Markdown."""
_NUMBER_SAID = re.compile(r"[$€£]?\d+(?:,\d{3})*(?:\.\d+)?%?(?=/?\s?[A-Za-z]+\s+\w+)")
_ANSWER = re.compile(r"[Aa]nswer|ANSWER|答案|^A(?=: [^\n]*\s*\Z)", re.MULTILINE)
"""Found first, since it is quick; the two patterns below are then tried at that word alone."""
_SAID = re.compile(
    # A sentence: "answer is 5", "answer to the first part would be: 5", "**answer** = 5".
    r"(?:answer|答案|A)(?:[是为][:：]?|[*_`]*(?:[ \t]+(?:to|of|for|in)\b[^.\n:=\\$]{1,60}?)?[ \t]*"
    r"(?:\b(?:is|was|equals|(?:must|should|would|will) be)\b|=)(?:[ \t]*:)?"
    r"(?:[ \t]+(?:therefore|thus|then|simply|clearly)\b)?"
    # Or a label: "Answer: 5", "**Answer:** 5", also with the wide colon of Chinese models.
    r"|[*_`]*(?:[ \t]*[:：]|[ \t]+[–—-](?=[ \t])))"
    # Marks of bold type go, and a line is the most that is read: "answer is 5\nCheck: ..." says 5.
    r"[*_`]*[ \t]*(?P<said>[^\n]{0,1000})",
    re.IGNORECASE,
)
_HEADED = re.compile(
    r"answer(?P<verb>[*_`]*[ \t]+(?:is|are|was|equals|(?:must|should|would|will) be))?[ \t*_:]*\n\s{0,20}"
    r"(?:(?:\\\[|\$\$)\s{0,20}(?P<block>[^$\s](?:(?!\\\]|\$\$)[\s\S]){0,300})(?:\\\]|\$\$)"
    r"|(?:(?:[-•*]|\d{1,2}[.)])[ \t]+)?(?P<said>[^\s][^\n]{0,1000}))",
    re.IGNORECASE,
)
"""A heading or "The answer is:" with the answer below: displayed, or perhaps an item of a list: "- 5"."""
_HEADING = re.compile(r"[ \t#*_]*(?:the[ \t]+)?(?:final[ \t]+)?", re.IGNORECASE)
"""What may stand before a heading's "answer": "### The final answer". Not "This gives the answer\n"."""
_TAGGED = re.compile(r"<answer>((?:(?!<).){1,1000})</answer>", re.DOTALL)
_BARE_BOX = re.compile(r"\\f?boxed[ \t]+([^\s{}$.,;]{1,40})")
r"""`\boxed 4`: braces are not needed for one character, and people leave them away for more."""
_BOXED = re.compile(r"\\(?:f?boxed|fbox)\s*\{")
_BETWEEN = re.compile(
    r"(?:\s[a-z]{2,20}\s)?"  # `\boxed{1} paper and \boxed{2} bins`
    r"(?:[\s$,;&]|\(?\b[a-e]\)|\\[,;:! ()\[\]]|\\q?quad|\\text\{[^{}]{0,20}\b(?:and|or)\b\s*,?\s*\}"
    r"|\b(?:and|or)\b)*"
    r"(?:[A-Za-z](?:_\{?\w+\}?)?\s*=\s*)?\$?"
)
r"""What may stand between boxes that hold one answer together: `\boxed{1} and \boxed{2}`,
`(a) \boxed{1}, (b) \boxed{2}`, `x = \boxed{1}, y = \boxed{2}`. Any other word begins another answer."""
_MOST_BETWEEN, _MOST_BOXES, _MOST_SAID = 40, 50, 300
"""Characters between two boxes, boxes of a text, and words "answer" that are looked at. A text of nothing
else takes no longer."""
_NAME = re.compile(r"([A-Za-z](?:_\{?\w+\}?)?\s*=)\s*\$?$")
r"""The unknown before a box: `x = \boxed{1}`."""
_SENTENCE_END = re.compile(r"[.](?=\s|$)|!(?=\s+[A-Z])|。")
"""Where what is said ends: "5. So we" says 5, but 0.5 and 5! are not cut."""
_VALUE = re.compile(r"[-+*_`(\[{$€£\s]*(?:\d|\\|\.\d|[A-Za-z]\s*=|[A-Z]\b(?!\s+[a-z])|\()")
r"""How a value begins: `-3`, `$5`, `\frac`, `x = 3`, `B`. Other words about an answer that was boxed before
are a remark on it: "the answer is positive", "the answer is A good one"."""
_ANOTHERS = re.compile(r"(?:\b(?:wrong|incorrect|false|bad)|\w['’]s|s['’])\s+(?:final\s+)?$", re.IGNORECASE)
"""Before "answer": a mistaken one, or somebody's: "the student's answer is 7"."""
_REMARK = re.compile(
    r"\W*(?:in)?(?:correct|right|wrong|valid|not|also|therefore|thus|then|below)\b", re.IGNORECASE
)
"""What is said of an answer and is none: "the answer is correct", "the answer is not 5"."""

_Stated = tuple[int, str]
"""Where an answer is stated, and the answer."""


NoAnswer = Literal[
    Unclear,
    "the text is empty",
    "the reasoning block is not closed",
    "a box is not closed",
    "the answer is left empty",
]
"""Why no answer is found."""
_LONGEST_SHOWN = 200


@dataclass(frozen=True, slots=True)
class Extracted:
    """The answer that a text states, or why none is found."""

    answer: str | None
    why: NoAnswer | None
    """None where there is an answer."""
    read: str
    """Where it was looked for, shortened: the words around the mark, or the last sentence."""


def extract_answer(text: str) -> str | None:
    r"""The answer stated last: `#### x`, `\boxed{x}`, "The answer is x", "Answer: x"; None where none is.

    Where nothing is marked so, the value of a final sentence counts (`verifiers.answers.concluded`).
    Boxes side by side are one answer. A `####` line of words with more text after it is a heading. What a
    model boxed while it was thinking aloud (`schemas.reasoning`) is a draft and does not count.
    """
    return read_answer(text).answer


def read_answer(text: str) -> Extracted:
    """The same, with the reason where no answer is found."""
    said = answer_part(text)
    if said is None:
        return Extracted(None, "the reasoning block is not closed", text[-_LONGEST_SHOWN:])
    text = said[-TAIL:]
    if not text.strip():
        return Extracted(None, "the text is empty", "")
    marked = [found for found in (_boxed(text), _hashed(text), _tagged(text)) if found]
    stated = [*marked, *_said(text, beside=bool(marked))]
    if not stated:
        value, why, sentence = concluded(text)
        broken = _unmarked(text)
        answer = None if broken else _cleaned(value or "")
        return Extracted(answer, None if answer else broken or why, sentence.strip()[-_LONGEST_SHOWN:])
    at, found = max(stated)
    answer = _cleaned(found)
    shown = text[at:].strip()[:_LONGEST_SHOWN]
    return Extracted(answer, None if answer else "the answer is left empty", shown)


_OPEN_BOX = re.compile(r"boxed\s*\{[^\n]{0,300}$")
r"""`\boxed{5`, cut off: the answer may be 53."""


def _unmarked(text: str) -> NoAnswer | None:
    """What is wrong with a mark that holds no answer."""
    if text.rstrip("$ \n.").endswith(("####", "boxed{}")):
        return "the answer is left empty"
    return "a box is not closed" if _OPEN_BOX.search(text[-LONGEST_ANSWER:]) else None


def _cleaned(text: str) -> str | None:
    text = text.strip()
    if text.count("**") == 1 or (text.count("**") == 2 and text[:2] == text[-2:] == "**"):
        text = text.removeprefix("**").removesuffix("**").strip()
    return text[:LONGEST_ANSWER] or None


def _hashed(text: str) -> _Stated | None:
    lines = list(_HASHES.finditer(text)) if "####" in text else []
    if not lines or not lines[-1][1].strip():
        return None
    last = lines[-1]
    begun = text[: last.start()].rpartition("\n")[2].strip(" \t>*#") == ""
    if begun and text[last.end() :].strip():
        worded = re.search(r"[A-Za-z]{2}", re.sub(r"\\[A-Za-z]+", "", last[1]))
        if worded or len(lines) > 1:
            return None  # a heading
    # Inside a sentence the words go on: "Therefore, she makes #### 18 dollars every day".
    number = None if begun else _NUMBER_SAID.match(last[1])
    return last.start(), number[0] if number else last[1]


def _tagged(text: str) -> _Stated | None:
    """The last `<answer>12</answer>`."""
    found = list(_TAGGED.finditer(text)) if "<answer>" in text else []
    return (found[-1].start(), found[-1][1]) if found else None


def _boxed(text: str) -> _Stated | None:
    """The last box, with those that stand beside it."""
    boxes: list[tuple[int, int, int]] = []  # where the command, its content and the box's last brace begin
    for match in list(_BOXED.finditer(text))[-_MOST_BOXES:] if "box" in text else ():
        depth = 1
        for at in range(match.end(), min(len(text), match.end() + LONGEST_ANSWER)):
            depth += (text[at] == "{") - (text[at] == "}")
            if depth == 0:
                boxes.append((match.start(), match.end(), at))
                break
    bare = list(_BARE_BOX.finditer(text)) if "boxed" in text else []
    if bare and (not boxes or bare[-1].start() > boxes[-1][0]):
        return bare[-1].start(), bare[-1][1]
    if not boxes:
        return None
    run = [boxes[-1]]
    for box in reversed(boxes[:-1]):
        gap = text[box[2] + 1 : run[0][0]]
        if len(gap) > _MOST_BETWEEN or box[2] > run[0][0] or not _BETWEEN.fullmatch(gap):
            break
        run.insert(0, box)
    found = [_named(text, box) for box in run] if len(run) > 1 else [text[boxes[-1][1] : boxes[-1][2]]]
    return boxes[-1][0], ", ".join(dict.fromkeys(found))


def _named(text: str, box: tuple[int, int, int]) -> str:
    r"""A box's content, with the name before it: `x = \boxed{1}`."""
    name = _NAME.search(text[max(0, box[0] - 14) : box[0]])
    return (f"{name[1]} " if name else "") + text[box[1] : box[2]].strip()


def _said(text: str, *, beside: bool) -> list[_Stated]:
    """What sentences and labels say; beside a marked answer only what reads like a value."""
    found = []
    for word in list(_ANSWER.finditer(text))[-_MOST_SAID:]:
        match = _SAID.match(text, word.start())
        if match is None or not match["said"]:
            start = text.rfind("\n", 0, word.start()) + 1
            heading = _HEADING.fullmatch(text, start, word.start())
            match = _HEADED.match(text, word.start())
            if match and not heading and not match["verb"]:
                match = None
        if match is None or (beside and _ANOTHERS.search(text[max(0, word.start() - 30) : word.start()])):
            continue
        said = match.groupdict().get("block") or match["said"]
        said = _SENTENCE_END.split(said.strip(), maxsplit=1)[0]
        # What ends with a colon only announces the answer.
        if said.strip("*_` ") and said[-1:] != ":" and not _REMARK.match(said):
            found.append((match.start(), said if _VALUE.match(said) else value_in(said) or said))
    values = [(at, said) for at, said in found if _VALUE.match(said)]
    return values or ([] if beside else found)
