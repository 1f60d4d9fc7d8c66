r"""The value that a final sentence states, where a solution marks no answer: "So she makes $18 every day.".

A sentence with several numbers is read only where it says which one it is about: by bold type, as the last
one after "is", or as the value that was computed last. Otherwise nothing is stated.
"""

import re
from collections.abc import Iterator
from typing import Literal, NamedTuple

Unclear = Literal[
    "it ends in a question",
    "it says that it cannot be solved",
    "the last sentence only plans or tries",
    "cut off before an answer",
    "the last formula is not said to be the answer",
    "the last sentence is too long",
    "the last sentence names no value",
    "the last sentence names several values",
    "the last sentence draws no conclusion",
]
"""Why a final sentence states no answer."""

_TAIL = 2_000
"""Characters from the end in which the final sentence is looked for."""
_LONGEST = 600
"""Characters of a final sentence. Those of the 9,568 sampled solutions have at most 350."""
_CONCLUDES = re.compile(
    r"[\s*_#>-]*(?:therefore|thus|so|hence|finally|overall|altogether|consequently|accordingly|as a result"
    r"|in (?:total|all|conclusion|summary)|to conclude|(?:this|that|which) means"
    r"|we (?:conclude|find|get|have)|it follows|together|combined)\b",
    re.IGNORECASE,
)
_HEDGED = re.compile(
    r"\?\W*$|\b(?:try|tries|might|maybe|perhaps|(?:I|my|a|we) guess|unclear|unknown|impossible|not enough"
    r"|(?:can(?:not|['’]t)|unable to) (?:be )?(?:determine|solve|find|say)\w*"
    r"|if we|let us|let['’]s|we (?:need|must|should|will|can now|now)"
    r"|there (?:is|are|exists?) no\b[^.]{0,80}\b(?:for which|such that|that satisf\w+))\b",
    re.IGNORECASE,
)
"""A sentence that states nothing yet: a question, a trial, a plan."""
_UNSOLVED = re.compile(
    r"\b(?:unclear|unknown|impossible|not enough|can(?:not|['’]t)|unable)\b", re.IGNORECASE
)
_CLOSING = re.compile(
    r"(?:\s*<\|[^<>|]{1,30}\|>\s*\w{0,20}|\s*I hope (?:it|this) (?:is|helps)[^.!\n]{0,30}[.!]?)+$"
)
"""What may follow the final sentence: a mark of the chat, a wish."""
# Dr. Wertz, Mrs. Hilt and J. Doe end no sentence.
_SENTENCES = re.compile(
    r"(?<!\b[A-Z]\.)(?<!\b[DMS][rst]\.)(?<!\bMrs\.)(?<=[.!?])(?:\$\$|\\\]|[*\s])+(?=[A-Z*\\$])"
    # `... = \frac{1}{2}\] Thus, it is ...`: a displayed formula ends one, too.
    r"|(?<=\\\])\s+(?=(?:Thus|Therefore|So|Hence)\b)"
)
_BLOCK = re.compile(
    r"(?:\\\[|\$\$)((?:(?!\\\[|\$\$|\\begin).){1,300}?)(?:\\\]|\$\$)(?:\s*[a-z]{2,20}){0,3}\W*$", re.DOTALL
)
"""A displayed formula at the end, perhaps with what was counted: `\\[5 + 15 = 20\\] cookies.`"""
_CONCLUSION = re.compile(
    r"(?:^|\n)[ \t]*(?:#{1,6}|\*\*)[^\n]{0,40}\bconclusion\b[^\n]{0,20}\n(?!.*\n#)", re.IGNORECASE | re.DOTALL
)
"""A heading `### Conclusion` without another heading below it: what ends the text there is the conclusion."""
_MATH = re.compile(r"\\\((.{1,300}?)\\\)|(?<!\\)\$((?:[^$\\]|\\.){1,300})\$", re.DOTALL)
_NUMBER = re.compile(
    # A sign where it is no dash; `$`, thousands, decimals, a fraction or a mixed number, percent.
    r"(?<![\w.^,/\\-])(?:-\s?)?(?:\\?[$€£]\s?)?(?:\d{1,3}(?:(?:,|\{,\}|,\\!)\d{3})+|\d+)(?:\.\d+)?(?:\s\d+/\d+|/\d+)?"
    # Not 30th, 3-digit, 2x, nor the first half of 3:30.
    r"(?:\s?\\?%)?(?!(?:st|nd|rd|th)\b|-[A-Za-z]|\d|[A-Za-z_^:]|[.,]\d)"
)
_IS = re.compile(
    # Not "8 pieces that are 6 inches long".
    r"(?:(?<!that )(?<!which )(?<!who )\b(?:is|are|was|were|be|equals?|equal to|totals?|total of|becomes?)\b"
    r"|=)[\s*:(\\]*"
    r"(?:(?:now|only|about|approximately|exactly|also|therefore|thus|then|at (?:least|most)|a total of)"
    r"\s[\s*(\\]*)*$",
    re.IGNORECASE,
)
_BOLD = re.compile(r"\*\*([^*\n]{1,200})\*\*")
_RESULT = re.compile(r"[=≈]\s*(?:\\\s?|\*\*|\$|\\text\{)*\s*(-?\\?\$?\d[\d,]*(?:\.\d+)?)")
_BESIDE = re.compile(r"\b(?:compared|than|versus|instead of)\b", re.IGNORECASE)
"""What follows is another thing's value: "a profit of $125 compared to $96"."""
_OPTION = re.compile(r"\b(?:option|choice)s?\s*(?:is|:)?\s*\**\(?([A-J])\b(?!['’])", re.IGNORECASE)
_DENIED = re.compile(r"\b(?:not|wrong|incorrect|false|except|eliminate)\b|n['’]t\b", re.IGNORECASE)


_TERM = re.compile(r"[A-Za-z)]\w*(?:\^\w+)?\s*[-+]\s?$")
"""`x^2 + 3x - 6`: the number that follows is a term, and no value."""


_ANNOTATED = re.compile(r"<<[^<>\n]{1,80}>>")
"""GSM8K's `9 * 2 = $<<9*2=18>>18`."""
_NUMBERED = re.compile(r"^\s*(?:\*\*)?(?:(?:[Ss]tep\s*)?\d{1,2}[.:)]\s*)?(?:\[[A-Za-z ]{1,30}\]\s*)?")
"""`6. [Final solution] Thus, ...`, `Step 6: Therefore, ...`: the number is of the line."""


class Conclusion(NamedTuple):
    """The value that a final sentence states, or why it states none; and the sentence."""

    value: str | None
    why: Unclear | None
    sentence: str


class _Stated(NamedTuple):
    start: int
    end: int
    text: str


def concluded(text: str) -> Conclusion:
    """What the last sentence concludes."""
    text = _ANNOTATED.sub("", _CLOSING.sub("", text[-_TAIL:].rstrip()).rstrip())
    if block := _BLOCK.search(text):
        intro = text[: block.start()].rstrip().rpartition("\n")[2]
        said = block[1].strip().rstrip(".,")
        sure = _CONCLUDES.match(intro) and not _HEDGED.search(intro) and re.search(r"\d", said)
        if sure:
            return Conclusion(_last_side(said), None, block[0])
        return Conclusion(None, "the last formula is not said to be the answer", block[0])
    sentence, line, before = _last_sentence(text)
    concludes = _CONCLUDES.match(sentence) or _CONCLUDES.match(line) or _CONCLUSION.search(text)
    if why := _silent(sentence, bool(concludes)):
        return Conclusion(None, why, sentence)
    if option := _option(sentence):
        return Conclusion(option, None, sentence)
    stated = list(_values(sentence))
    computed = [_plain(result) for result in _RESULT.findall(before)]
    chosen = _chosen(sentence, stated, computed)
    if chosen is None:
        several = len(stated) > 1
        why = "the last sentence names several values" if several else "the last sentence names no value"
        return Conclusion(None, why, sentence)
    # A sentence that draws no conclusion states an answer only where it says what was computed.
    if concludes or _plain(chosen.text) in computed[-1:] or _is_repeated(chosen, sentence, before):
        return Conclusion(chosen.text, None, sentence)
    return Conclusion(None, "the last sentence draws no conclusion", sentence)


def _last_sentence(text: str) -> tuple[str, str, str]:
    """The last sentence, its line, and the text before it."""
    above, _, line = text.rpartition("\n")
    line = _NUMBERED.sub("", line)
    parts = _SENTENCES.split(line)
    sentence, before = parts[-1], above + " " + " ".join(parts[:-1])
    if len(parts) == 1 and above.rstrip().endswith(":"):
        # "So the total is:" and, below it, "45 + 4 = 49 glasses."
        intro = above.rstrip().rpartition("\n")[2]
        if _CONCLUDES.match(intro) and not _HEDGED.search(intro):
            line = f"{intro} {line}"
    return sentence, line, before


def _silent(sentence: str, concludes: bool) -> Unclear | None:
    """Why a sentence cannot state anything."""
    if len(sentence) > _LONGEST:
        return "the last sentence is too long"
    if _HEDGED.search(sentence):
        if sentence.rstrip('*_ )"').endswith("?"):
            return "it ends in a question"
        unsolved = _UNSOLVED.search(sentence)
        return "it says that it cannot be solved" if unsolved else "the last sentence only plans or tries"
    # Cut off where the length was reached, a sentence has not said yet what it is about.
    if not re.search(r"[.!*)\]}$\d%][*\s)\"]*$" if concludes else r"[.!][*\s)\"]*$", sentence):
        return "cut off before an answer"
    return None


def _is_repeated(chosen: _Stated, sentence: str, before: str) -> bool:
    """Whether a sentence "X is V" says a value in bold type, or one that was computed before."""
    if _EQUATED.search(sentence[: chosen.start]):
        return True
    if not _IS.search(sentence[: chosen.start]):
        return False
    if any(start <= chosen.start < end for start, end in (m.span() for m in _BOLD.finditer(sentence))):
        return True
    computed = {_plain(value) for value in _RESULT.findall(before)}
    formula = re.sub(r"\s+", "", chosen.text)
    spaceless = re.sub(r"\s+", "", before)
    return _plain(chosen.text) in computed if _NUMBER.fullmatch(chosen.text) else f"={formula}" in spaceless


def value_in(sentence: str) -> str | None:
    """The one value that a sentence is about: "The largest $n$ is 34" says 34."""
    formula = _MATH.fullmatch(sentence.strip(" .*"))
    if formula or len(sentence) > _LONGEST or _HEDGED.search(sentence) or _DENIED.search(sentence):
        return None
    chosen = _chosen(sentence, list(_values(sentence)), [])
    return chosen.text if chosen else None


def _option(sentence: str) -> str | None:
    letters = {letter.upper() for letter in _OPTION.findall(sentence)}
    return letters.pop() if len(letters) == 1 and not _DENIED.search(sentence) else None


def _chosen(sentence: str, stated: list[_Stated], computed: list[str]) -> _Stated | None:
    """The value that a sentence is about; `computed` are the results before it."""
    bold = [match.span() for match in _BOLD.finditer(sentence)]
    marked = [one for one in stated if any(start <= one.start and one.end <= end for start, end in bold)]
    if len(marked) == 1:
        return marked[0]
    if len(stated) < 2:
        return stated[0] if stated else None
    beside = _BESIDE.search(sentence)
    mains = [one for one in stated if not beside or one.start < beside.start()]
    if own := _own_result(sentence, mains):
        return own
    same = [one for one in mains if _plain(one.text) in computed[-1:]]
    # A formula such as `\frac{1}{4} \cdot 72\pi = 18\pi` says itself what it is.
    said = [one for one in mains if _IS.search(sentence[: one.start]) or "=" in sentence[one.start : one.end]]
    if said and (said[-1] == mains[-1] or len(said) == 1):
        # The sentence must not also name another value that was just computed.
        return None if same and said[-1] not in same else said[-1]
    if same:
        return same[0]
    results = [one for one in mains if _plain(one.text) in computed]
    if len(results) == 1:
        return results[0]  # "She sees 30 bees return in the last 6 hours": the 6 was given
    return mains[0] if beside and len(mains) == 1 else None


def _own_result(sentence: str, mains: list[_Stated]) -> _Stated | None:
    """What a sentence itself computes, once: "spends 3 * 4 = 12 hours on TV in 4 weeks"."""
    found = [one for one in mains if _EQUATED.search(sentence[: one.start])]
    return found[0] if len(found) == 1 and len(_EQUALS.findall(sentence)) == 1 else None


_EQUALS = re.compile(r"[=≈]")
_EQUATED = re.compile(r"\d[^=≈]*[=≈]\s*(?:\\\s?|\*\*|\$)*\s*$")


def _values(sentence: str) -> Iterator[_Stated]:
    """Formulas and numbers, from the left; a formula is one value, whatever numbers are in it."""
    taken = []
    for match in _MATH.finditer(sentence):
        inner = (match[1] or match[2]).strip()
        # `$6 for 18 flowers at $5` is money twice, and no formula; a lone symbol is no value.
        worded = re.search(r"[A-Za-z]{2}", re.sub(r"\\[A-Za-z]+(?:\{[^{}]*\})?", "", inner))
        if match[2] and (worded or re.search(r"[-+*/=(]\s*$", inner)):
            continue
        taken.append(match.span())
        if len(inner) > 1 and re.search(r"\d|\\(?:pi|[dt]?frac|sqrt|infty|text)|=", inner) or inner.isdigit():
            yield _Stated(*match.span(), _last_side(inner))
    for match in _NUMBER.finditer(sentence):
        if _TERM.search(sentence[: match.start()] + match[0][:1]):
            continue
        if not any(start < match.end() and match.start() < end for start, end in taken):
            yield _Stated(*match.span(), match[0].strip())


def _last_side(formula: str) -> str:
    """`15 - 9 = 6` says 6, and `x = 6` keeps its name."""
    if re.search(r"[<>≤≥≠]|\\(?:le|ge|ne|lt|gt)", formula):
        return formula
    sides = formula.split("=")
    if sides[-1].strip() == "0":
        return formula  # an equation, `x - 2y = 0`
    named = re.fullmatch(r"\s*\\?[A-Za-z]+(?:_\{?\w+\}?)?\s*", sides[0])
    return formula if len(sides) < 2 or (named and len(sides) == 2) else sides[-1].strip()


def _plain(text: str) -> str:
    """A number's digits alone, so that `\\$1,200.00` is the 1200 that was computed."""
    digits = re.sub(r"[^\d.-]", "", text.replace("{,}", "").replace(",", ""))
    return digits.rstrip("0").rstrip(".") if "." in digits else digits
