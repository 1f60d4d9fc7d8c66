"""One text as the verifiers read it. Each part is found when it is first asked for, and then kept."""

from collections.abc import Callable
from functools import lru_cache
from typing import Any, TypeVar

from verifiers.claims.tokens import Tokens, tokenize
from verifiers.expressions.latex import Plain, plain

T = TypeVar("T")
LONGEST_STEP = 8_000
"""Characters. In a longer text no relations are looked for; it is no step that a person would write."""
_KEPT = 512
"""Texts that are kept for the next solution: those of one problem share its text and, in a search, their
first steps. Tokens and claims take about 20 times a step's own text: 3 MB for all as a rule, 80 at worst."""


class ParsedText:
    """A step's or problem's text with what functions have found in it; made by `parsed_text`.

    Threads may share one: at worst two of them find the same at the same time.
    """

    __slots__ = ("_found", "text")

    def __init__(self, text: str) -> None:
        self.text = text
        self._found: dict[Callable[[ParsedText], Any], Any] = {}

    def once(self, read: "Callable[[ParsedText], T]") -> T:
        """What `read` finds in the text. It is called the first time, and its answer is kept.

        `read` is a function of a module: the answers of a new one at every call would pile up. Nobody may
        change what it returned.
        """
        # No lock: finding something twice is harmless, and waiting for another thread is not.
        if read not in self._found:
            self._found[read] = read(self)
        found: T = self._found[read]
        return found

    @property
    def source(self) -> Plain:
        """The text with its LaTeX written as plain expressions."""
        return self.once(_source)

    @property
    def tokens(self) -> Tokens:
        """The tokens of the plain text."""
        return self.once(_tokens)


class ParsedTexts:
    """The texts of one solution, the problem's first, with the tables that functions made of all of them."""

    __slots__ = ("_found", "texts")

    def __init__(self, texts: tuple[ParsedText, ...]) -> None:
        self.texts = texts
        self._found: dict[Callable[[tuple[ParsedText, ...]], Any], Any] = {}

    def once(self, read: "Callable[[tuple[ParsedText, ...]], T]") -> T:
        """What `read` makes of the texts; it is called the first time, as in `ParsedText.once`."""
        if read not in self._found:
            self._found[read] = read(self.texts)
        found: T = self._found[read]
        return found


def parsed_text(text: str) -> ParsedText:
    """The text with what was found in it before, where it is one of those read of late."""
    return _parsed(text) if len(text) <= LONGEST_STEP else ParsedText(text)


# A cache by text: a search asks about the same first steps again and again.
_parsed = lru_cache(maxsize=_KEPT)(ParsedText)


def _source(parsed: ParsedText) -> Plain:
    return plain(parsed.text)


def _tokens(parsed: ParsedText) -> Tokens:
    return tokenize(parsed.source.text)
