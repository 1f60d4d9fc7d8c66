r"""Cuts the text of chat models into steps by rules: paragraphs, headings and list items.

A step begins after a blank line, and at a heading (`### Step 2`, `**Step 1:** ...`, `Step 3. ...`). An item
of a list inside a paragraph begins one where it is as long as a step; short items are an enumeration and stay
together. No step begins inside a display formula, an environment, a code fence or a table.

What is too long is cut where a line or a sentence ends, never inside a formula. At last pieces that are no
steps are joined: a heading with what it heads, an answer (`\boxed{5}` alone, `**Final Answer**`, `#### 5`)
with the step before it, and what is too short with its neighbour.

Each decision looks at what stands before a step's end only, so a prefix of a solution is cut as the solution
is. All of it takes time in proportion to the text, whatever is in it.
"""

import re
from bisect import bisect_right
from collections.abc import Iterable, Iterator
from itertools import pairwise

Span = tuple[int, int]
"""Characters [start, end) of a text."""
_FURTHEST = 4_000
"""Characters between the two ends of a formula or environment. Real ones are shorter; `$$` that nobody closed
would otherwise pair with the opening of the next formula, far below."""
_ITEM_AS_STEP = 200
"""Characters of a list item that begins a step inside a paragraph, and of what it follows. The median step of
ProcessBench has 199: an item as long as that holds work of its own, and `- Mike: 24 + 0 = 24` does not. Of
the lists inside steps of ProcessBench and Qwen2.5-7B the median item has 55, and 3% have 200."""
_LONGEST_ANSWER = 300
"""Characters of a piece that only gives the answer; a longer one also argues."""

_ZERO_WIDTH = "\u200b\u200c\u200d\u2060\ufeff"
_FENCE = re.compile(r"^[ \t]*(`{3,}|~{3,})([^\n]*)", re.MULTILINE)
# A line break `\\[2pt]` is no `\[`.
_MATH = re.compile(r"(?<!\\)(?:\$\$|\\\[|\\\])|\\(?:begin|end)\s*\{")
# A formula inside a line ends with it: `$` may also stand for money.
_INLINE = re.compile(r"(?<!\\)(?:\$|\\\(|\\\))|\n")
# The second row of a table of Markdown: `|---|:--:|`, `--- | ---`.
_RULED = re.compile(r"(?:\|[ \t]*)?:?-{2,}:?[ \t]*(?:\|[ \t]*:?-{2,}:?[ \t]*)*\|?")
# `---` between two parts of a solution ends a paragraph as a blank line does.
_LINE = re.compile(r"(?:(?:-[ \t]*){3,}|(?:\*[ \t]*){3,}|(?:_[ \t]*){3,})")
_ITEM = re.compile(r"([ \t]*)(?:[-*+\u2022\u2023\u25e6]|\(?\d{1,3}[.)]|\([a-z]\))[ \t]+\S")
# `## The area`; `**Case 1**`, `2. **The area:**`; `Step 3.`, `**Step 1:** We`, `### Step 2 - Area`.
_TITLE = re.compile(r"#{1,6}[ \t]+\S")
_BOLD = re.compile(r"(?:\d{1,3}[.)][ \t]+)?(\*\*|__)[^*_\n]{1,200}\1(?:[ \t]*:)?")
_STEP = re.compile(r"[#>*_ \t]{0,10}Step[ \t]+\d{1,3}[ \t]*(?:[:.)*_\u2013\u2014-]|$)", re.IGNORECASE)
_BARE_STEP = re.compile(r"Step[ \t]+\d{1,3}(?:[ \t]*[:.)])?", re.IGNORECASE)
# `#### 57`, `#### \frac{1}{2}`, but not `#### 2. The area`, which has a word.
_HASHES = re.compile(r"####(?!#)(?:[^A-Za-z\n\\]|\\[^A-Za-z\n]|\\[A-Za-z]++|[A-Za-z](?![A-Za-z])){1,200}")
# Wider than what is joined where a separator cuts, so that earlier runs are cut as they were.
_ANSWER = re.compile(
    rf"(?:{_HASHES.pattern}$"
    # `**Final Answer**`, `### Answer:`, `Therefore, the final answer is 5`.
    r"|[#*_ \t]{0,10}(?:(?:so|thus|hence|therefore),?\s+)?(?:the\s+)?(?:final\s+|correct\s+)?answer\b"
    r"(?:[ \t]+(?:to|for)[ \t][^.:\n]{1,60}?)?[*_ \t]{0,4}(?:\bis\b|:|=|$)"
    # A box and nothing but the marks of a formula or of bold type around it.
    r"|[\s$*]{0,20}(?:\\[\[(]\s{0,20})?\\boxed\s*\{[^\n]*\}[\s$*.]{0,20}(?:\\[\])][\s$*.]{0,20})?\Z)",
    re.IGNORECASE | re.MULTILINE,
)
_SENTENCE = re.compile(r"[.!?][)\"'\u201d*]{0,2}[ \t]+(?=[A-Z(\\$*\u201c\"])")


def spans(text: str, least: int, most: int) -> list[Span]:
    """The steps of a text, without the space around them."""
    closed = _closed(text)
    parts = (part for found in _paragraphs(text, closed) for part in _parts(text, found, closed, most))
    pieces = (piece for part in parts for piece in _items(text, part, closed))
    return _joined(text, pieces, least, most)


def _paragraphs(text: str, closed: list[Span]) -> Iterator[Span]:
    """What stands between blank lines, cut at headings."""
    begin: int | None = None
    last = 0
    for a, b in _lines(text, 0, len(text)):
        line = text[a:b].strip()
        is_end, is_begin = is_blank(line) or bool(_LINE.fullmatch(line)), _begins(line)
        if (is_end or is_begin) and not _is_inside(a, closed):
            if begin is not None:
                yield _trimmed(text, begin, last)
            begin = None if is_end else a
        elif begin is None:
            begin = a
        last = b
    if begin is not None:
        yield _trimmed(text, begin, last)


def is_blank(text: str) -> bool:
    """Whether a text shows nothing: editors and web pages leave zero-width characters in empty lines."""
    return not text.strip().strip(_ZERO_WIDTH).strip()


def _lines(text: str, start: int, end: int) -> Iterator[Span]:
    for line in text[start:end].split("\n"):
        yield start, start + len(line)
        start += len(line) + 1


def _begins(line: str) -> bool:
    return bool(_TITLE.match(line) or _BOLD.fullmatch(line) or _STEP.match(line))


def _items(text: str, part: Span, closed: list[Span]) -> Iterator[Span]:
    """A part, cut before items that are as long as steps. Items of an inner list begin none."""
    begin, end = part
    lines = _lines(text, begin, end)
    found = [(a, len(item[1])) for a, b in lines if (item := _ITEM.match(text[a:b]))]
    items = [a for a, indent in found if indent <= found[0][1] and not _is_inside(a, closed)]
    for place, after in pairwise([*items, end]):
        if place - begin >= _ITEM_AS_STEP <= after - place:
            yield _trimmed(text, begin, place)
            begin = place
    yield _trimmed(text, begin, end)


def _joined(text: str, pieces: Iterable[Span], least: int, most: int) -> list[Span]:
    """The pieces with those joined that are no step by themselves."""
    found: list[Span] = []
    begun: int | None = None
    """Where a heading or a lead-in stands that waits for the next piece."""
    end = 0
    for start, end in pieces:
        first, begun = start if begun is None else begun, None
        is_short = end - first < least
        # A short piece that ends in a word leads to the next one ("So:", "Hence"); "x = 5." does not.
        leads = is_short and (not found or text[end - 1] in ":," or text[end - 1].isalpha())
        fits = found and end - found[-1][0] <= most + _LONGEST_ANSWER
        if end - first <= most and (leads or _heads(text, start, end)):
            begun = first
        elif fits and (is_short or _is_answer(text, first, end)):
            found[-1] = (found[-1][0], end)
        else:
            found.append((first, end))
    if begun is not None:  # nothing follows: `#### 57 apples`, `### The answer is 57`
        is_answer = text.startswith("####", begun) or _is_answer(text, begun, end)
        if found and (is_answer or end - begun < least):
            found[-1] = (found[-1][0], end)
        else:
            found.append((begun, end))
    return found


def _is_answer(text: str, start: int, end: int) -> bool:
    return end - start <= _LONGEST_ANSWER and gives_answer(text[start:end])


def gives_answer(piece: str) -> bool:
    """Whether a piece or line only gives the answer."""
    return len(piece) <= _LONGEST_ANSWER and bool(_ANSWER.match(piece))


def _heads(text: str, start: int, end: int) -> bool:
    """Whether a piece is a heading alone. `#### 57` only looks like one."""
    line = text[start:end]
    if "\n" in line or _HASHES.fullmatch(line):
        return False
    return bool(_TITLE.match(line) or _BOLD.fullmatch(line) or _BARE_STEP.fullmatch(line))


def _parts(text: str, piece: Span, closed: list[Span], most: int) -> Iterator[Span]:
    """A piece in parts of at most `most` characters, as far as lines and sentences end early enough."""
    begin, end = piece
    if end - begin <= most:
        yield piece
        return
    inline = _merged(_pairs(_INLINE.finditer(text, begin, end)))
    lines = {a for a, _ in _lines(text, begin, end)}
    sentences = {found.end() for found in _SENTENCE.finditer(text, begin, end)}
    ends = [a for a in sorted(lines | sentences) if not _is_inside(a, closed) and not _is_inside(a, inline)]
    for place, after in pairwise([*ends, end]):
        # The last place before the part would be too long, or the first one after that.
        if place > begin and place + len(text[place:after].rstrip()) - begin > most:
            yield _trimmed(text, begin, place)
            begin = place
    yield _trimmed(text, begin, end)


def _closed(text: str) -> list[Span]:
    """Where no step begins: code fences, display formulas, environments and tables."""
    fences = list(_fences(text))
    outside = (found for found in _MATH.finditer(text) if not _is_inside(found.start(), fences))
    return _merged([*fences, *_pairs(outside), *_tables(text)])


def _fences(text: str) -> Iterator[Span]:
    opened: re.Match[str] | None = None
    for fence in _FENCE.finditer(text):
        if opened is None:
            opened = fence
        # A fence is closed by as many of the same signs alone.
        elif fence[1].startswith(opened[1]) and not fence[2].strip():
            yield opened.start(), fence.end()
            opened = None


def _pairs(signs: Iterable[re.Match[str]]) -> Iterator[Span]:
    """From the opening to the closing sign of formulas and environments. What nobody closed holds nothing."""
    opened: dict[str, int] = {}
    begun: list[int] = []
    for sign in signs:
        at, after, kind = sign.start(), sign.end(), sign[0]
        if kind == "\n":
            opened.clear()
        elif kind.startswith("\\begin"):
            begun.append(at)
        elif kind.startswith("\\end"):
            if begun and after - (first := begun.pop()) <= _FURTHEST:
                yield first, after
        elif kind in ("\\[", "\\("):
            opened[kind] = at
        else:
            key = {"\\]": "\\[", "\\)": "\\("}.get(kind, kind)
            first = opened.pop(key, -1)
            if first >= 0 and after - first <= _FURTHEST:
                yield first, after
            elif key == kind:
                opened[kind] = at


def _tables(text: str) -> Iterator[Span]:
    """Tables of Markdown: a row, a ruled row, and the rows below."""
    begin: int | None = None
    before, end = (0, 0), 0
    for a, b in _lines(text, 0, len(text)):
        line = text[a:b].strip()
        if begin is not None and "|" not in line:
            yield begin, end
            begin = None
        elif begin is None and "|" in text[before[0] : before[1]] and "|" in line and _RULED.fullmatch(line):
            begin = before[0]
        before, end = (a, b), b
    if begin is not None:
        yield begin, end


def _merged(found: Iterable[Span]) -> list[Span]:
    """Disjoint spans in order."""
    merged: list[Span] = []
    for a, b in sorted(found):
        if merged and a <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(b, merged[-1][1]))
        else:
            merged.append((a, b))
    return merged


def _is_inside(place: int, found: list[Span]) -> bool:
    at = bisect_right(found, (place, -1)) - 1
    return at >= 0 and found[at][0] < place < found[at][1]


def _trimmed(text: str, start: int, end: int) -> Span:
    piece = text[start:end]
    return start + len(piece) - len(piece.lstrip()), start + len(piece.rstrip())
