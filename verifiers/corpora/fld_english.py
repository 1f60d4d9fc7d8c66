"""The English of the FLD corpora (Morishita et al., arXiv 2308.07336) back into formulas.

The corpora's generator fills templates with random words, so the grammar is closed and the vocabulary open:
"a pip not retaliating hyperope is caused by a WLAN that is Bahraini" says {bahraini}{wlan} ->
¬{retaliat_hyperope}{pip}. The templates are those of the generator's first release
(hitachi-nlp/FLD-generator, December 2022). Two of their habits matter:

- One wording of a conjunction ("the pip is red and also glows") is also used where either half, or both, is
  meant to be negated: the template drops the negation. Such a wording keeps every reading open, as a choice.
- A word may be a noun, a verb or an adjective in turn, so a sentence alone can have several readings. Those
  that need the fewest new words, among all sentences of a problem, are taken; what stays open is a choice.
"""

import re
from collections.abc import Callable, Iterable, Iterator

from verifiers.corpora.denials import denied_once, denies_twice
from verifiers.corpora.fld_words import (
    AND,
    BUT,
    CAUSED,
    CAUSES,
    FOR_ALL,
    FOR_SOME,
    GRAMMAR,
    IF,
    KIND,
    NEGATIONS,
    OCCUR,
    PREVENTED,
    PREVENTS,
    THUS,
    stem,
)
from verifiers.corpora.predication import EVERYONE, Found, X, chosen, closed, implies, negated, of, plain
from verifiers.logic.formulas import (
    CONTRADICTION,
    Atom,
    Constant,
    Formula,
    Joined,
    Not,
    Quantified,
    Term,
    canonical,
)

# The parser tries every reading, so time grows quickly with length; the templates stay shorter.
LONGEST_SENTENCE = 600
# More readings than this tell nothing about which is meant, and would take long to compare.
_MOST_READINGS = 400
Part = Callable[[int], Found]


def readings(sentence: str) -> list[Formula]:
    """Every formula that a sentence can stand for on its own; empty where it is none of the templates."""
    if len(sentence) > LONGEST_SENTENCE:
        return []
    parser = _Parser(re.findall(r"[^\s,]+|,", sentence.rstrip(". ")))
    found: dict[Formula, tuple[Formula, bool]] = {}
    for formula, end in parser.sentence(0):
        if end == len(parser.words):
            simple = plain(formula)
            key = canonical(simple)
            found[key] = (simple, denies_twice(formula) and found.get(key, (simple, True))[1])
        if len(found) > _MOST_READINGS:
            return []
    return denied_once(found.values(), sentence)


class _Parser:
    """Every way to read the words from a position on: a formula and where it ends.

    Predicates come without their subject and are given one by `of`.
    """

    def __init__(self, words: list[str]) -> None:
        self.words = words
        self._choices = 0

    def _at(self, at: int) -> str:
        return self.words[at] if at < len(self.words) else ""

    def _after(self, at: int, phrases: Iterable[str]) -> Iterator[int]:
        for phrase in phrases:
            expected = phrase.split()
            if self.words[at : at + len(expected)] == expected:
                yield at + len(expected)

    def _is_word(self, at: int) -> bool:
        return bool(self._at(at)) and self._at(at) not in GRAMMAR

    def _pair(self, one: Part, at: int, joints: Iterable[str]) -> Found:
        """One, or two under a conjunction."""
        for first, end in one(at):
            yield first, end
            for start in self._after(end, joints):
                for second, last in one(start):
                    yield Joined("&", (first, second)), last

    def _either(self, one: Part, at: int) -> Found:
        for start in self._after(at, ["either"]):
            yield from self._or_both(one, one(start))

    def _or_both(self, one: Part, firsts: Iterable[tuple[Formula, int]]) -> Found:
        for first, end in firsts:
            for middle in self._after(end, ["or"]):
                for second, rest in one(middle):
                    for last in self._after(rest, ["or both"]):
                        yield Joined("v", (first, second)), last

    # Words

    def adjective(self, at: int) -> Found:
        if self._is_word(at):
            word = self._at(at)
            yield (Not(Atom(stem(word[4:]))) if word.startswith("non-") else Atom(stem(word))), at + 1

    def noun(self, at: int) -> Found:
        if self._at(at) in {"a", "an", "the"} and self._is_word(at + 1):
            yield Atom(stem(self._at(at + 1))), at + 2

    def verb(self, at: int, ending: str = "") -> Found:
        """A verb in one of its forms, with its object if it has one."""
        word = self._at(at)
        if self._is_word(at) and word.endswith(ending):
            yield Atom(stem(word)), at + 1
            # "retaliating hyperope": a verb and its object are one predicate, `retaliat_hyperope`.
            if self._is_word(at + 1):
                yield Atom(f"{stem(word)}_{self._at(at + 1).lower()}"), at + 2

    def participle(self, at: int) -> Found:
        yield from self.verb(at, "ing")

    # Predicates

    def predicate(self, at: int) -> Found:
        """`is red`, `glows`, `will not glow`, `is a kind of a glow`."""
        if self._at(at) in {"is", "are"}:
            if self._at(at + 1) == "not":
                yield from negated(self._being(at + 2))
            else:
                yield from self._being(at + 1)
                yield from self._two_in_one(at + 1)
        elif self._at(at) in {"will", "does", "do"}:
            yield from (negated(self.verb(at + 2)) if self._at(at + 1) == "not" else self.verb(at + 1))
        else:
            yield from self.verb(at, "s")

    def _being(self, at: int) -> Found:
        yield from self.adjective(at)
        for start in (at, *self._after(at, KIND)):
            yield from self.noun(start)

    def _two_in_one(self, at: int) -> Found:
        """`is a kind of non-red a glow`, `is a glow that hums`."""
        for start in (at, *self._after(at, KIND)):
            for modifier, end in self.adjective(start):
                for noun, last in self.noun(end):
                    yield Joined("&", (modifier, noun)), last
            for noun, end in self.noun(start):
                for middle in self._after(end, ["that"]):
                    for other, last in self.predicate(middle):
                        yield Joined("&", (noun, other)), last

    def predicates(self, at: int) -> Found:
        yield from self.predicate(at)
        yield from self._either(self.predicate, at)
        for first, end in self.predicate(at):
            for start in self._after(end, AND):
                for second, last in self.predicate(start):
                    # Where a half is denied in words, the template has not dropped a negation.
                    if isinstance(first, Atom) and isinstance(second, Atom):
                        yield Joined("&", (self._perhaps_not(first), self._perhaps_not(second))), last
                    else:
                        yield Joined("&", (first, second)), last

    def _perhaps_not(self, formula: Formula) -> Formula:
        """The template may have dropped a negation."""
        self._choices += 1
        return chosen(Atom(f"?{self._choices}"), Not(formula), formula)

    # Clauses: with the individual that `it` means after them

    def _subject(self, at: int, it: Term | None) -> Iterator[tuple[Term, int]]:
        word = self._at(at)
        if word == "it" and it is not None:
            yield it, at + 1
        elif word in {"something", "someone"}:
            yield X, at + 1
        elif word in {"everything", "everyone"}:
            yield EVERYONE, at + 1
        elif word in {"a", "an", "the"} and self._is_word(at + 1):
            yield Constant(self._at(at + 1).lower()), at + 2

    def _unit(self, at: int, it: Term | None, predicates: Part) -> Iterator[tuple[Formula, int, Term | None]]:
        for start in self._after(at, NEGATIONS):
            yield from ((Not(f), end, who) for f, end, who in self._unit(start, it, self.predicate))
        for who, start in self._subject(at, it):
            yield from ((of(who, formula), end, who) for formula, end in predicates(start))
        yield from ((formula, end, None) for formula, end in self.happening(at))

    def clause(self, at: int, it: Term | None) -> Iterator[tuple[Formula, int, Term | None]]:
        """A unit, or two about the same individual or about events."""
        for first, end, who in self._unit(at, it, self.predicates):
            yield first, end, who

            def again(start: int, who: Term | None = who) -> Found:
                if who is None or self._at(start) in {"it"}:
                    yield from ((f, last) for f, last, _ in self._unit(start, who, self.predicate))

            for start in self._after(end, BUT):
                yield from ((Joined("&", (first, second)), last, who) for second, last in again(start))
            yield from ((f, last, who) for f, last in self._or_both(again, [(first, end)]))

    def statement(self, at: int, it: Term | None) -> Iterator[tuple[Formula, int, Term | None]]:
        """A clause, or `it is false that,` and a compound clause or one about `it`."""
        yield from self.clause(at, it)
        for end in self._after(at, NEGATIONS):
            for start in self._after(end, [","]):
                for formula, last, who in self.clause(start, it):
                    # A simple clause takes the negation without a comma; with one, the template means the
                    # whole of a compound.
                    if isinstance(formula, Joined) or self._at(start) == "it":
                        yield Not(formula), last, who

    # Events: propositions

    def event(self, at: int) -> Found:
        if self._at(at) in {"a", "an"}:
            yield from self.noun(at)
        yield from self.participle(at)
        word = self._at(at)
        if self._is_word(at) and word.endswith("ness"):
            # "the redness occurs" speaks of the event as "red" does of a thing.
            quality = Atom(stem(word.removeprefix("non-").removesuffix("ness")))
            yield (Not(quality) if word.startswith("non-") else quality), at + 1

    def happening(self, at: int) -> Found:
        for formula, end in self.event(at):
            yield from ((formula, last) for last in self._after(end, OCCUR))
            for start in self._after(end, ["does not"]):
                yield from ((Not(formula), last) for last in self._after(start, OCCUR))
        for both in (self._pair(self.event, at, AND), self._either(self.event, at)):
            yield from ((f, last) for f, end in both for last in self._after(end, OCCUR))
        if self._at(at) == "either":
            yield from self._either(self.happening, at)

    def occurrence(self, at: int) -> Found:
        yield from self.event(at)
        for start in self._after(at, ["that"]):
            yield from self.happening(start)

    # Noun phrases: `a red pip that glows`

    def modifiers(self, at: int) -> Found:
        yield from self._pair(self.adjective, at, BUT)

    def _postmodifier(self, at: int) -> Found:
        if self._at(at) == "that":
            yield from self.predicate(at + 1)
        elif self._at(at) == "not":
            yield from negated(self.adjective(at + 1))
            yield from negated(self.participle(at + 1))
        else:
            yield from self.adjective(at)
            yield from self.participle(at)

    def postmodifiers(self, at: int) -> Found:
        yield from self._pair(self._postmodifier, at, BUT)
        yield from self._either(self._postmodifier, at)

    def phrase(self, at: int) -> Iterator[tuple[Formula, int, Term]]:
        """A noun phrase as what it says of its noun."""
        if self._at(at) in {"something", "someone"}:
            yield from ((of(X, formula), end, X) for formula, end in self.postmodifiers(at + 1))
        if self._at(at) not in {"a", "an", "the", "all"}:
            return
        for before, start in [(None, at + 1), *self.modifiers(at + 1)]:
            if self._at(start) in {"thing", "things", "people"}:
                who: Term = X
            elif self._is_word(start) and self._at(at) != "all":
                who = Constant(self._at(start).lower())
            else:
                continue
            for after, end in [(None, start + 1), *self.postmodifiers(start + 1)]:
                said = tuple(of(who, part) for part in (before, after) if part is not None)
                # "a pip" alone says nothing of the pip; a phrase needs a word before or after its noun.
                if said:
                    yield (said[0] if len(said) == 1 else Joined("&", said)), end, who

    def _either_phrase(self, at: int) -> Found:
        yield from ((formula, end) for formula, end, _ in self.phrase(at))
        yield from self._pair(self.occurrence, at, ["with", "and"])
        yield from self._either(self.occurrence, at)

    # Sentences

    def conditional(self, at: int, it: Term | None) -> Found:
        yield from self._with_conjunction(at, it)
        # Eight shapes in four lists of words: "A causes B", "B is caused by A", "A prevents B", "B is
        # prevented by A".
        for first, end in self._either_phrase(at):
            for words, turned, against in (
                (CAUSES, False, False),
                (CAUSED, True, False),
                (PREVENTS, False, True),
                (PREVENTED, True, True),
            ):
                for start in self._after(end, words):
                    for second, last in self._either_phrase(start):
                        cause, effect = (second, first) if turned else (first, second)
                        yield implies(cause, Not(effect) if against else effect), last
        yield from self._of_one(at, it)

    def _with_conjunction(self, at: int, it: Term | None) -> Found:
        for start in self._after(at, IF):
            for condition, end, who in self.statement(start, it):
                for then, last, _ in self.statement(end + (self._at(end) == ","), who or it):
                    yield implies(condition, then), last
        for first, end, who in self.statement(at, it):
            middle = end + (self._at(end) == ",")
            for start in self._after(middle, THUS):
                yield from ((implies(first, f), last) for f, last, _ in self.statement(start, who))
            for start in self._after(middle, IF):
                yield from ((implies(f, first), last) for f, last, _ in self.statement(start, who))

    def _of_one(self, at: int, it: Term | None) -> Found:
        """`a red pip glows`, `a glow hums`, `a pip glows to hum`, `... forces pip to hum`."""
        for condition, end, who in self.phrase(at):
            # "the red pip glows" names one individual and states a fact; "a red pip glows" is a rule.
            if self._at(at) != "the":
                yield from ((implies(condition, of(who, f)), last) for f, last in self.predicates(end))
            yield from self._forced(condition, end)
        if self._at(at) in {"a", "an"}:
            for kind, end in self.noun(at):
                for more, start in [(None, end), *self.postmodifiers(end)]:
                    parts = tuple(of(X, part) for part in (kind, more) if part is not None)
                    condition = parts[0] if more is None else Joined("&", parts)
                    yield from ((implies(condition, of(X, f)), last) for f, last in self.predicates(start))
        for who, start in self._subject(at, it):
            if not isinstance(who, Constant):
                continue
            for formula, end in self.predicate(start):
                first = of(who, formula)
                yield from ((implies(first, of(who, f)), last) for f, last in self._to_do(end))
                for middle in self._after(end, ["by"]):
                    yield from ((implies(of(who, f), first), last) for f, last in self._doing(middle))

    def _forced(self, condition: Formula, at: int) -> Found:
        for start in self._after(at, ["forces", "makes"]):
            if self._is_word(start):
                who = Constant(self._at(start).lower())
                for both in (
                    self._pair(self._to_do, start + 1, ["and"]),
                    self._either(self._to_do, start + 1),
                ):
                    yield from ((implies(condition, of(who, f)), last) for f, last in both)
        for start in self._after(at, ["keeps", "prevents", "stops"]):
            if self._is_word(start) and self._at(start + 1) == "from":
                who = Constant(self._at(start).lower())
                for both in (
                    self._pair(self._doing, start + 2, ["and"]),
                    self._either(self._doing, start + 2),
                ):
                    yield from ((implies(condition, Not(of(who, f))), last) for f, last in both)

    def _to_do(self, at: int) -> Found:
        if self._at(at) == "not":
            yield from negated(self._to_do(at + 1))
        elif self._at(at) == "to":
            yield from self._being(at + 2) if self._at(at + 1) == "be" else self.verb(at + 1)

    def _doing(self, at: int) -> Found:
        if self._at(at) == "not":
            yield from negated(self._doing(at + 1))
        else:
            yield from self._being(at + 1) if self._at(at) == "being" else self.participle(at)

    def sentence(self, at: int) -> Found:
        """A closed formula."""
        yield from ((CONTRADICTION, end) for end in self._after(at, ["this is contradiction"]))
        for start in self._after(at, ["let's assume that"]):
            yield from self.sentence(start)
        for phrases, exists in ((FOR_ALL, False), (FOR_SOME, True)):
            for end in self._after(at, phrases):
                start = end + (self._at(end) == ",")
                yield from ((Quantified(exists, "x", f), last) for f, last, _ in self.statement(start, X))
                yield from ((Quantified(exists, "x", f), last) for f, last in self.conditional(start, X))
        # A rule about "something" holds for everybody; a statement about "something" claims that there is
        # one.
        yield from ((closed(f, exists=False), last) for f, last in self.conditional(at, None))
        yield from ((closed(f, exists=True), last) for f, last, _ in self.statement(at, None))
        for end in self._after(at, NEGATIONS):
            for start in self._after(end, [","]):
                yield from negated(self.sentence(start))
