"""Where a judge's reply states a verdict: in JSON, in sentences, or on its last line (boxes: `boxes.py`).

Numbers are as the reply counts; -1 stands for "no error". English only: a judge that reviews in another
language is read by its box.
"""

import re
from collections.abc import Iterator
from typing import NamedTuple

NONE = -1


class Said(NamedTuple):
    """A verdict somewhere in the reply: a number as the reply counts, -1 for none, None unreadable."""

    at: int
    number: int | None
    why: str = ""
    loose: bool = False
    """Whether it may be the answer of the problem rather than a verdict."""


UNIT = r"(?:paragraph|step|line)s?"
NUMBERED = re.compile(rf"\b{UNIT}\s*(?:number|no\.|index)?\s*[#:(=]?\s*(-?\d{{1,4}})\b", re.IGNORECASE)
FAULT = r"(?:error|mistake|flaw|slip|fault|inaccuracy|wrong|incorrect|erroneous|invalid|flawed|mistaken)"
_RIGHT = r"(?:correct|right|valid|sound|fine|accurate|error-free|flawless)"


# Markup


# `\textbf{2}`, `\mathrm{step}`: fonts around a verdict. At most three in each other are opened.
_WRAPPED = re.compile(
    r"\\(?:text(?:bf|it|rm|tt|sf)?|math(?:bf|rm|it|sf|tt)|bm|boldsymbol|mbox|operatorname|underline|emph)\s*"
    r"\{([^{}]*)\}"
)


def plain(text: str) -> str:
    """The text without markdown, LaTeX fonts, math signs and tags; line ends stay."""
    text = text.replace("\u2212", "-").replace("\u2013", "-").replace("\u2019", "'").replace("\xa0", " ")
    text = re.sub(r"</?\s*((?:paragraph|step)[ _]?\d+)\s*/?>", r" \1 ", text, flags=re.IGNORECASE)
    text = re.sub(
        r"</?(?:answer|verdict|result|output|first_error|conclusion)>", "\n", text, flags=re.IGNORECASE
    )
    text = re.sub(r"(?<=[A-Za-z])_\{(-?\d{1,4})\}", r" \1", text)
    for _ in range(3):
        text, n = _WRAPPED.subn(r"\1", text)
        if not n:
            break
    text = re.sub(
        # Four hashes are a heading before a step's name; else they may mark an answer (GSM8K).
        r"\\[()\[\],;:! ]|\\(?:quad|displaystyle|rm|bf|it|tt|sf)\b|[*`$~]|"
        rf"^[ \t]*(?:#{{1,3}}(?!#)|#{{5,}}|####(?=\W*(?i:{UNIT})\b)|>)[ \t]*",
        " ",
        text,
        flags=re.MULTILINE,
    )
    text = re.sub(r"\\{1,4}([_#%&])", r"\1", text)
    # `__Paragraph 2__`; inside words underscores stay, as in `paragraph_2`.
    text = re.sub(r"(?<![\w\\])_{1,3}(?=\w)|(?<=[\w.:!?)])_{1,3}(?!\w)", " ", text)
    return re.sub(r"(?<=[A-Za-z])_+(?=-?\d)", " ", text)


# Values


_GLOSS = r"(?:\s*[(:,-]\s*[^\d]{0,80})?"
_VALUE = re.compile(
    rf"(?:the\s+)?(?:(?:first|earliest)\s+)?(?:{FAULT}\s+)?(?:is\s+)?(?:in\s+|at\s+)?(?:{UNIT}|index|number|no\.)?"
    rf"[\s:#=(]*(-?\d{{1,4}})\s*\)?\.?{_GLOSS}",
    re.IGNORECASE,
)
_NO_ERROR = re.compile(
    rf"none|null|nothing|(?:there\s+(?:is|are)\s+)?no\s+(?:\w+\s+)?(?:errors?|mistakes?)"
    r"(?:\s+(?:found|at all))?|"
    rf"(?:all|everything)(?:\s+{UNIT})?(?:\s+(?:is|are))?\s+correct|correct|error-free",
    re.IGNORECASE,
)


def value_of(inner: str) -> int | None:
    """The number of a step in what a box, a field or a line holds, as the reply counts; -1 for no error."""
    inner = inner.strip(" \t\n.,:;!\"'{}")
    if inner.startswith("(") and inner.endswith(")"):
        inner = inner[1:-1].strip()  # `(paragraph 2)`
    if _NO_ERROR.fullmatch(inner):
        return NONE
    found = _VALUE.fullmatch(inner)
    return int(found[1]) if found else None


# JSON


# `"first_error": 2`, `'step': "none"`.
_FIELD = re.compile(
    r"""["']([A-Za-z_ ]{2,40})["']\s*:\s*(?:["']([^"'\n]{0,60})["']|(-?\d{1,4}|null|true|false)\b)"""
)
_SPECIFIC = re.compile(
    r"(?:first|earliest)_(?:error|mistake|wrong|incorrect|erroneous)(?:_\w+)?|error_(?:step|index|paragraph|location)"
    r"|(?:wrong|incorrect)_(?:step|paragraph)",
    re.IGNORECASE,
)
_GENERAL = tuple("step paragraph index verdict answer result label final_answer conclusion".split())


def fields(text: str) -> list[Said]:
    """The verdict of a JSON object: a field that speaks of the first error, or the only one that could."""
    named: list[Said] = []
    general: list[Said] = []
    for match in _FIELD.finditer(text):
        key, value = match[1].lower().replace(" ", "_"), match[2] if match[2] is not None else match[3]
        number = value_of(value)
        if _SPECIFIC.fullmatch(key):
            named.append(Said(match.start(), number, "" if number is not None else "its JSON names no step"))
        elif key in _GENERAL and number is not None:
            general.append(Said(match.start(), number))
    if named:
        return named[-1:]
    if general and len({said.number for said in general}) > 1:
        return [Said(general[-1].at, None, "its JSON says two different things")]
    return general if len(general) == 1 else []


# Sentences


_END = re.compile(r"(?<=[.!?])\s+|\n+")
# "Step 3 might be wrong", "let me check step 3": a thought on the way, and no verdict.
HEDGE = re.compile(
    r"\b(?:if|whether|might|may|perhaps|possibly|maybe|seems?|appears? to|looks?|suspect|unless|unable|"
    r"unsure|not sure|let me|let's|check(?:ing)?|assum\w+|suppose|e\.g\.|for example|cannot|can't|could|"
    r"would|first glance|"
    r"(?:at first|initially|originally),?|thought)\b|\?",
    re.IGNORECASE,
)
NEGATED = re.compile(r"\b(?:not?|never|none|neither|nor|without|hardly)\b|n't\b", re.IGNORECASE)
FIRST = re.compile(
    rf"\b(?:first|earliest)\b(?!\s*,|\s+(?:I|we|let|of all)\b)[^\n]{{0,80}}?\b{FAULT}s?\b|"
    rf"\b{FAULT}\s+(?:that\s+)?first\b",
    re.IGNORECASE,
)
_BARE = re.compile(
    rf"\b(?:first|earliest)\b[^\n]{{0,80}}?\b{FAULT}s?\b(?!\s+(?:value|number|result|term|sum|figure))[^\n\d]{{0,40}}?"
    r"(?:\bis\b|:|=|\bat\b|\bindex\b)\s*(-?\d{1,4})(?![\w%]|\s*[-+*/=^]|[.,]\d|\s+[a-z])",
    re.IGNORECASE,
)
_TOPICS = (
    *("error", "mistake", "flaw", "slip", "fault", "inaccura", "wrong", "incorrect", "erroneous", "invalid"),
    *("correct", "right", "valid", "sound", "fine", "accurate"),
)


def _speaks(sentence: str) -> bool:
    """Whether a sentence can hold a verdict at all; most cannot, and this is quick to tell."""
    lower = sentence.lower()
    return any(topic in lower for topic in _TOPICS)


_ASIDE = re.compile(
    r"^\W*(?:(?:no(?=\s*[,.:;!]|\s+wait)|wait|actually|hm+|sorry|oh|okay|so|correction)\b[\s,.:;!-]+)+|"
    r"^\W*(?:after|upon|on|having)\s+[^,\d\n]{0,40}?\b(?:review|check|read|inspect|examin|verif|analy|consider|go)\w*"
    r"[^,\d\n]{0,60},\s*",
    re.IGNORECASE,
)
_SAYS_NONE = re.compile(r"\bfirst\s+error\s*[:=]\s*(?:none|no(?:\s+error)?|n/a|null)\b", re.IGNORECASE)
_ALL_RIGHT = re.compile(
    rf"\b(?:no|zero|without(?:\s+any)?|free\s+of(?:\s+any)?)\s+(?:\w+\s+){{0,2}}?(?:errors?|mistakes?|flaws?)\b|"
    r"(?:\bnot|n't|\bcannot|\bunable\s+to)\s+(?:find|see|spot|identify|detect|locate|contain|have|make|found)\s+"
    r"(?:any(?:thing)?|an|a\s+single|a)\s+(?:\w+\s+){0,2}?(?:errors?|mistakes?|flaws?|wrong|incorrect)\b|"
    r"(?:\bnot|n't)\s+(?:any|a\s+single)\s+(?:errors?|mistakes?)\b|"
    r"^\W*all\s+correct\b|"
    r"\bnothing\s+(?:(?:is|was|looks|to\s+be)\s+)?(?:wrong|incorrect)\b|\b(?:error|mistake)-free\b|"
    rf"\b(?:all|every|each)(?:\s+of)?(?:\s+the)?(?:\s+\w+)?\s+{UNIT}(?:\s+(?:of|in)\s+(?:the|this)\s+solution)?"
    rf"\s+(?:(?:is|are|were|was)\s+(?:\w+\s+)?)?{_RIGHT}\b|"
    rf"\b(?:the|this)\s+(?:\w+\s+)?solution\s+is\s+(?:\w+\s+)?{_RIGHT}\b|\beverything\s+is\s+(?:\w+\s+)?{_RIGHT}\b|"
    rf"\b(?:none\s+of\s+the|no)\s+{UNIT}\s+(?:is|are|contains?|has|have)\s+(?:an?\s+|any\s+)?{FAULT}s?\b",
    re.IGNORECASE,
)
_STEPWISE = re.compile(rf"\b{UNIT}\s*[#:(]?\s*\d", re.IGNORECASE)
_WHOLE = re.compile(
    rf"\b(?:solution|any|anywhere|anything|nothing|all|every(?:thing)?|each|whole|entire|overall|none|"
    rf"no\s+{UNIT}|verdict|conclusion)\b",
    re.IGNORECASE,
)
# "I see nothing wrong with it", of a step.
_OF_IT = re.compile(r"\b(?:with|in|about)\s+(?:it|this|that)\b(?!\s+solution)", re.IGNORECASE)
# "No error so far", "all correct except step 3", "no arithmetic error": true of a part only.
_PARTLY = re.compile(
    r"\b(?:so far|until|till|before|up to|yet|except|apart from|other(?:wise)?|but|however|although|though|"
    r"besides|prior|previous|preceding|first|here|these|those|further|more|additional|subsequent|later|rest|remaining|"
    r"doubt\w*|far\s+from|hardly|scarcely|(?:cannot|can't)\s+(?:say|conclude|confirm|guarantee)|after\w*|only|almost|nearly|mostly|partly|partially|if|whether|assum\w+|not\s+all|not\s+every|"
    r"th(?:is|at)\s+(?:paragraph|step|line|part)|in\s+(?:the\s+)?(?:arithmetic|algebra|calculation|second|third|last|"
    rf"final))\b|\b{UNIT}\s+(?:\w+\s+)?-?\d|\?|"
    r"\b(?:arithmetic|calculation|algebra(?:ic)?|computation(?:al)?|spelling|major|serious|obvious)\s+"
    r"(?:errors?|mistakes?)|\b(?:is|are|was|were)\s+not\b|\b(?:disagree|would|should|claim\w*|says|said|asserts?|believes?|false)\b|"
    r"(?<!there )\b(?:isn't|aren't)\b|\bto\s+(?:say|claim)\b",
    re.IGNORECASE,
)


def sentences(text: str) -> Iterator[Said]:
    """Sentences that name a first error, or say of the whole solution that there is none; without a number
    those that speak of a first error elsewhere and do not plainly name it."""
    at, before, alone = 0, None, not _STEPWISE.search(text)
    for sentence in _END.split(text):
        start = at = text.index(sentence, at)
        at += len(sentence)
        if not _speaks(sentence):
            continue
        said = _ASIDE.sub("", sentence[:400])
        number = _named(said, alone=alone)
        if number is not None:
            before = number
            yield Said(start, number)
        elif FIRST.search(said) and {int(place) for place in NUMBERED.findall(said)} - {before}:
            yield Said(start, None, "it is not sure")


def _named(sentence: str, *, alone: bool) -> int | None:
    if _SAYS_NONE.search(sentence):
        return NONE
    if _ALL_RIGHT.search(sentence) and not _PARTLY.search(sentence):
        # Where the steps are gone through one by one, "No errors." may be about one of them.
        return NONE if alone or (_WHOLE.search(sentence) and not _OF_IT.search(sentence)) else None
    first = FIRST.search(sentence)
    if not first or HEDGE.search(sentence):
        return None
    places = list(NUMBERED.finditer(sentence))
    numbers = {int(place[1]) for place in places}
    if not places and (bare := _BARE.search(sentence)):
        end, number = bare.end(), int(bare[1])
    elif len(numbers) == 1:
        end, number = max(first.end(), places[0].end()), numbers.pop()
    else:
        return None
    return None if NEGATED.search(sentence[:end]) else number


_LINE = re.compile(
    rf"[^\w\-]*(?:(?:my\s+|the\s+)?(?:final\s+)?(?:answer|verdict|conclusion|result|output|index|"
    r"first[ _](?:error|wrong)(?:[ _](?:step|paragraph|index))?)\s*[:=]\s*)?"
    rf"((?:{UNIT}|index|number)?[\s#:(]*-?\d{{1,4}}|none|no\s+errors?)\s*[)\]]?[\s.!]*",
    re.IGNORECASE,
)
_BARE_LINE = re.compile(r"[^\w\-]*\d{1,4}[^\w\-]*")
_LAST = 8
# "Let me know if you have questions." after the verdict.
_POLITE = re.compile(r"[\s\-_=]*|.*\b(?:let me know|hope this|feel free|note)\b.*", re.IGNORECASE)


def final_line(text: str) -> Said | None:
    """A last line that is only a verdict, or ends in one with its label, whatever politeness follows."""
    lines = text.rstrip().split("\n")[-_LAST:]
    while len(lines) > 1 and _POLITE.fullmatch(lines[-1][:200]):
        lines.pop()
    line = lines[-1].strip()
    if line.startswith("####"):
        return None  # so GSM8K marks the answer of a problem
    found = _LINE.fullmatch(line[:200])
    if not found and (sentence := _END.split(line[-200:])[-1]) and re.search(r"[A-Za-z]\s*[:=]", sentence):
        found = _LINE.fullmatch(sentence)
    if not found or (number := value_of(found[1])) is None:
        return None
    # "He has 3 eggs.", and then "3": a number without a word, which the text before it has worked out.
    worked_out = re.search(rf"(?<![\d.]){number}(?![\d.]*\d)", NUMBERED.sub("", text[: text.rindex(line)]))
    bare = number >= 0 and _BARE_LINE.fullmatch(line)
    return Said(len(text), number, loose=line.startswith("=") or bool(bare and worked_out))


# "Step 3 contains an error", "the error is in step 3".
_CALLED = re.compile(
    rf"\b{UNIT}\s*#?(\d{{1,4}})\s+(?:is|contains?|has|makes?|includes?)\s+(?:\w+\s+){{0,2}}?{FAULT}\b|"
    rf"\b(?:an|the|one)\s+(?:\w+\s+)?(?:error|mistake)\s+(?:(?:is|occurs|lies|appears)\s+)?(?:in|at)\s+{UNIT}\s*#?(\d{{1,4}})\b",
    re.IGNORECASE,
)


def called_wrong(text: str) -> set[int]:
    """The steps that plain sentences call wrong, without saying which is the first."""
    return {int(called[1] or called[2]) for called in calls(text, _CALLED)}


def calls(text: str, wrong: re.Pattern[str]) -> Iterator[re.Match[str]]:
    """Where a pattern calls something wrong, in sentences that neither doubt nor deny it."""
    for sentence in _END.split(text):
        sentence = sentence[:400]
        if not _speaks(sentence):
            continue
        called = None if HEDGE.search(sentence) else wrong.search(sentence)
        if called and not NEGATED.search(sentence[: called.end()]):
            yield called
