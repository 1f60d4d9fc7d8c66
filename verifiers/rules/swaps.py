"""Objects that change hands: who has what after every swap, from the problem's start.

The problem names who has what and the swaps in order. A step's state is the one after the swap that it names,
or, in a row of states without names, after the next swap.
"""

import re
from typing import NamedTuple

from verifiers.calculation.checked import Checked
from verifiers.claims.parsed import ParsedText
from verifiers.rules.spoken import (
    ANSWER,
    NUMBERS,
    ORDINALS,
    Judged,
    Texts,
    fails,
    holds,
    is_hedged,
    is_readable,
    lines_of,
    nothing,
    options_of,
    unread,
)

_HAS = (
    r"(?:(?:now |currently )?(?:has|have|is (?:now )?(?:dancing with|playing|holding|reading|in|with)"
    r"|gets|holds|buys|receives|plays)(?: now)?)"
)
_NAME = r"[A-Z][a-z]+"
# "they are each holding a ball: Alice has a green ball, Bob has a blue ball, and Claire has a red ball."
_START = re.compile(rf"\b(?:start|beginning)\b[^:.]*:\s*({_NAME} {_HAS} [^.\n]+)\.", re.I)
_OWNED = re.compile(rf"({_NAME}) {_HAS} (.+)")
_SWAP = r"(?:swap|switch|trade|exchange)"
_SWAPS = re.compile(rf"\b(?:First|Then|Next|Finally|Lastly|After that),? ({_NAME}) and ({_NAME}) {_SWAP}\b")
_ANY_SWAP = re.compile(rf"\band {_NAME} {_SWAP}")
_MOST = 60
# What stands before a state: "At the start", "Bob and Claire swap balls", "After swap 2 (Bob and Claire)".
_BEGINNING = re.compile(
    r"(?:at the (?:start|beginning)(?: of the \w+)?|initially|start|initial(?: state| positions)?)"
    r"\s*[:,]?\s*",
    re.I,
)
_NAMED = re.compile(
    rf"(?:(?:first|second|third|fourth|fifth|then|next|finally|lastly|after|when)(?: swap)?[,:]?\s+)*"
    rf"({_NAME}|[A-Z]) (?:and|swaps with|trades with|switches with) ({_NAME}|[A-Z])"
    rf"(?: {_SWAP}(?:s|ped|ed|d|ping|ing)?)?"
    r"(?: (?:their )?(?:balls?|partners?|positions?|books?|gifts?|presents?))?"
    r"\s*(?:[:.;,]|->|→|-)\s*(?:now,? |so,? )?",
    re.I,
)
_NUMBERED = re.compile(
    rf"after (?:the )?(?:({'|'.join(ORDINALS)}) (?:swap|switch|trade|exchange)"
    rf"|(?:swap|switch|trade|exchange|step) (\d{{1,2}}|{'|'.join(NUMBERS)}))\s*(?:\([^()]*\))?\s*[:,]\s*",
    re.I,
)
# "Let's track who has what: ", before a row of states.
_LEAD = re.compile(r"^(?:let's|let us|we (?:can )?(?:start|begin|track))[^:,.]{0,60}:\s*", re.I)
_END = re.compile(r"(?:so,? )?(?:at the end(?: of the \w+)?|finally|in the end)\s*,\s*", re.I)


class _Game(NamedTuple):
    states: tuple[dict[str, str], ...]
    """Who has what after so many swaps."""
    swaps: tuple[frozenset[str], ...]
    spelled: dict[str, str]
    """An object by each of its spellings; that of two objects is left out."""
    asked: str
    """Who is asked for in the last line."""
    options: dict[str, str]


def judged(texts: Texts) -> Judged:
    """The verdicts on the states that each step shows."""
    game = texts[0].once(_game) if is_readable(texts) else None
    if game is None:
        return nothing(texts)
    reader = _Reader(game)
    return tuple(tuple(reader.step(lines_of(text.text))) for text in texts[1:])


def _game(parsed: ParsedText) -> _Game | None:
    problem = parsed.text
    begun = _START.search(problem)
    if begun is None or len(problem) > 4_000:
        return None
    parts = re.split(rf",? and (?={_NAME} {_HAS})|, (?={_NAME} {_HAS})", begun[1])
    owned = [_OWNED.fullmatch(part.strip()) for part in parts]
    swaps = _SWAPS.findall(problem, begun.end())
    if not all(owned) or not 0 < len(swaps) <= _MOST or len(_ANY_SWAP.findall(problem)) != len(swaps):
        return None
    state = {one[1]: one[2].strip() for one in owned if one}
    if len(set(state.values())) != len(parts) or len(state) != len(parts) or not 1 < len(parts) <= 26:
        return None
    if any(name not in state for pair in swaps for name in pair) or any(a == b for a, b in swaps):
        return None
    states = [dict(state)]
    for first, second in swaps:
        state[first], state[second] = state[second], state[first]
        states.append(dict(state))
    asked = re.search(rf"\bat the end[^,\n]*, ({_NAME}) [^\n]*$", problem, re.I | re.M)
    spelled = _spellings(set(state.values()))
    return _Game(tuple(states), tuple(map(frozenset, swaps)), spelled, asked[1] if asked else "",
                 options_of(problem))  # fmt: skip


def _bare(text: str) -> str:
    return re.sub(r"^(?:the|an?)\s+", "", " ".join(re.sub(r"[\"'*_.]", "", text).lower().split()))


def _spellings(objects: set[str]) -> dict[str, str]:
    """ "a green ball", "green ball" and "green" are one object."""
    found: dict[str, set[str]] = {}
    for one in objects:
        words = _bare(one).split()
        # "Hound of the Baskervilles" is told as "Hound", "Moby Dick" as "Moby", "Catch-22" as "Catch".
        single = {word for word in re.split(r"[\s-]", _bare(one)) if len(word) > 2}
        for short in {" ".join(words), " ".join(words[:-1]), *single} - {""}:
            found.setdefault(short, set()).add(one)
    return {short: next(iter(meant)) for short, meant in found.items() if len(meant) == 1}


class _Reader:
    """Goes through the states of a solution and counts the swaps."""

    def __init__(self, game: _Game) -> None:
        self._game = game
        self._last: int | None = -1
        """The state that was shown last; -1 before the first, None once nobody knows."""
        names = list(game.states[0])
        self._called = {name.lower(): name for name in names}
        initials = [name[0] for name in names]
        self._called |= {n[0].lower(): n for n in names if initials.count(n[0]) == 1}
        keys = "|".join(sorted(map(re.escape, self._called), key=len, reverse=True))
        self._key = re.compile(rf"\b({keys})\b(?:\s*(?::|=|->|→)\s*|\s+{_HAS}\s+)", re.I)

    def step(self, lines: list[str]) -> list[Checked]:
        text = ", ".join(line.rstrip(".,; ") for line in lines)
        text = re.sub(r"([:.;])\s*,", r"\1", text)
        answer = ANSWER.search(text)
        body = _LEAD.sub("", text[: answer.start()] if answer else text)
        found = [self._state(body)] if body.strip(" .,") and self._key.search(body) else []
        if answer and not is_hedged(body):
            found.append(self._answer(answer))
        return [checked for checked in found if checked]

    def _state(self, text: str) -> Checked | None:
        text = text.strip(" .,") + " "
        at, start = self._place(text)
        said = self._assigned(text[start:])
        if is_hedged(text) or not said or at is None:
            # A state that is not understood may stand for a swap.
            self._last = self._last if text.lower().startswith("at the end") else None
            return unread(text)
        if at == -1:
            # The first of a row of states: before the swaps, if it shows all objects as they were.
            at = 0 if said == self._game.states[0] else None
        self._last = at if not _END.match(text) else self._last
        if at is None:
            return unread(text)
        right = self._game.states[at]
        wrong = next((name for name, thing in said.items() if right[name] != thing), None)
        if wrong:
            return fails(text.strip(), f"after {at} swaps {wrong} has {right[wrong]}")
        return holds(text.strip())

    def _place(self, text: str) -> tuple[int | None, int]:
        """The number of swaps before the state, -1 where it is the first of a row, and where it begins."""
        last, count = self._last, len(self._game.swaps)
        if match := _BEGINNING.match(text):
            return 0, match.end()
        if match := _END.match(text):
            return count, match.end()
        if match := _NUMBERED.match(text):
            word = (match[1] or match[2]).lower()
            words = ORDINALS if match[1] else NUMBERS
            at = int(word) if word.isdigit() else words.index(word) + 1
            return (at if at <= count else None), match.end()
        if match := _NAMED.match(text):
            pair = frozenset(self._called.get(name.lower(), "") for name in match.group(1, 2))
            if last is None or max(last, 0) >= count or pair != self._game.swaps[max(last, 0)]:
                return None, match.end()
            return max(last, 0) + 1, match.end()
        if last is None or last >= count:
            return None, 0
        return (-1 if last == -1 else last + 1), 0

    def _assigned(self, text: str) -> dict[str, str] | None:
        """Who has what in `Alice: green, Bob: red`; None unless all of it is understood."""
        keys = list(self._key.finditer(text))
        if not keys or text[: keys[0].start()].strip(" ,;-"):
            return None
        ends = [*(key.start() for key in keys[1:]), len(text)]
        said: dict[str, str] = {}
        for key, end in zip(keys, ends, strict=True):
            value = re.sub(r"(?:[\s,;.]|\band\b)+$", "", text[key.end() : end])
            thing, name = self._game.spelled.get(_bare(value)), self._called[key[1].lower()]
            if thing is None or said.get(name, thing) != thing:
                return None
            said[name] = thing
        return said

    def _answer(self, answer: re.Match[str]) -> Checked | None:
        chosen = self._game.options.get(answer["option"].upper(), "")
        thing = self._game.spelled.get(_bare(chosen))
        if thing is None or not self._game.asked:
            return None
        right = self._game.states[-1].get(self._game.asked)
        if right is None:
            return None
        if thing == right:
            return holds(answer[0].strip())
        return fails(answer[0].strip(), f"{self._game.asked} has {right}")
