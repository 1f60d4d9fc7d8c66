"""Answers that are a choice or a few words: what names no choice, or says more, decides nothing."""

import re
import unicodedata
from difflib import SequenceMatcher

from verifiers.answers.chinese import english, is_chinese, without_choosing
from verifiers.answers.notation import worded

_POLAR = re.compile(
    r"\W*(yes|no|true|false|unknown|uncertain)\b(?=\W*$|\s*[,.;:!—–-]|\s+(?:because|since|as|it|they|the|this|that)\b)"
)
"""A truth value that opens an answer and is what it says: "Yes, because ...". Not "No man is an island"."""
_TURNED = re.compile(r"\W*(?:yes|true)(?:\s+\w+)+?(?:\s+not|n't)\b", re.IGNORECASE)
"""Yes they do not."""
_STANDS = {"yes": 1, "true": 1, "no": 0, "false": 0, "unknown": 2, "uncertain": 2}
"""What the words for a truth value say: `Yes` against `True` is a doubt, against `False` another answer."""
_UNSURE = frozenset(
    "either both neither unknown unsure sure know cannot can't none nothing idea depends determined "
    "undetermined".split()
)
"""Answers that take no side: "it cannot be determined" is not another city than the gold one."""
_MOST_WORDS = 3
"""Names have few words. Two longer texts that differ may still say the same, and are a doubt."""


def words_of(text: str) -> str:
    """The words alone: without marks, stops and capitals."""
    text = worded(unicodedata.normalize("NFKC", text))
    return " ".join(re.sub(r"[\s$*`\"'’.,;:!?()\\]+", " ", text).casefold().split())


def same_words(gold: str, answer: str) -> bool | None:
    """Whether two answers in words are one; None where one says more, or nothing that can be compared."""
    gold, answer = english(gold), english(answer)
    ours, theirs = (
        [w for w in _said(words_of(text)).split() if w not in {"a", "an", "the"}] for text in (gold, answer)
    )
    if not ours or not theirs:
        return None
    if ours == theirs:
        return True
    if _UNDEFINED.issuperset({" ".join(ours), " ".join(theirs)}) or is_chinese(gold) or is_chinese(answer):
        return None  # Chinese words are not parted, so nobody sees what they have in common
    polar = _POLAR.match(gold.casefold()), _POLAR.match(worded(answer).casefold().strip("$*` "))
    if polar[0] and len(ours) == 1:
        if (
            not polar[1]
            or _TURNED.match(answer)
            or {*ours, *theirs} & _STANDS.keys() != {polar[0][1], polar[1][1]}
        ):
            return None
        same = _STANDS[polar[0][1]] == _STANDS[polar[1][1]]
        return polar[0][1] == polar[1][1] if same is (polar[0][1] == polar[1][1]) else None
    if _alike(" ".join(ours), " ".join(theirs)):
        return None
    if set(ours) <= set(theirs) or set(theirs) <= set(ours) or max(len(ours), len(theirs)) > _MOST_WORDS:
        return None
    if _UNSURE & {*ours, *theirs}:
        return None
    numerals = [[word.lstrip("0") for word in side if word.isdigit()] for side in (ours, theirs)]
    if any(c.isdigit() for word in (*ours, *theirs) for c in word):
        # 2 apples are not 3 apples; 19:30 may be 7:30 PM, and Jan 5 January 5.
        others = [[word for word in side if not word.isdigit()] for side in (ours, theirs)]
        return False if others[0] == others[1] and numerals[0] != numerals[1] else None
    return False


_PHRASES = (
    (
        re.compile(r"(?:there (?:is|are) |it has )?no solutions?(?: exists?)?|empty set|the empty set"),
        "no solution",
    ),
    (re.compile(r"dne|(?:it )?does not exist|doesn t exist"), "does not exist"),
    (re.compile(r"(?:it is )?not defined"), "undefined"),
)
"""Phrases that say one thing in several ways."""
_UNDEFINED = {"no solution", "does not exist", "undefined", "none"}
"""What may mean the same, depending on what was asked."""


def _said(words: str) -> str:
    return next((phrase for pattern, phrase in _PHRASES if pattern.fullmatch(words)), words)


def _alike(ours: str, theirs: str) -> bool:
    """Whether one may be a spelling, a short form or the initials of the other: Mon, USA, colour, café."""
    plain = ["".join(filter(str.isalnum, unicodedata.normalize("NFKD", text))) for text in (ours, theirs)]
    initials = ["".join(word[0] for word in text.split()) for text in (ours, theirs)]
    short, long = sorted(plain, key=len)
    return (
        long.startswith(short)
        or initials[0] == plain[1]
        or initials[1] == plain[0]
        or _denied(ours, theirs)
        or _denied(theirs, ours)
        or (short.isalpha() and len(short) > 4 and SequenceMatcher(None, short, long).ratio() > _ALIKE)
    )


def _denied(one: str, other: str) -> bool:
    """`not possible` and `impossible`."""
    return one.startswith("not ") and other.endswith(one.removeprefix("not "))


_ALIKE = 0.85
"""Share of letters in common, above which words may be two spellings: colour, color (0.91)."""
_LETTER = r"[(\[{]?\s*([A-Ja-j])\s*"
_CHOSEN = re.compile(
    r"(?:the |is |my )*(?:correct |right |best |final )*(?:answer|option|choice)?\s*(?:is|:|=)?\s*",
    re.IGNORECASE,
)
_CHOICES = (
    # One pattern a way to name a letter, the plainest first: `B`, `(B)`.
    re.compile(_LETTER + r"[)\]}]?\W*"),
    # `(B) 12`: the letter in brackets, and the text of the choice.
    re.compile(r"[(\[{]\s*([A-Ja-j])\s*[)\]}].*", re.DOTALL),
    # `B. 12`, `b) 12`; not `A.M.` and not `a.b`.
    re.compile(r"(?:([A-J])[.):、](?![A-Za-z])|([a-j])[.):](?!\w)).*", re.DOTALL),
    # `B, since it is even`, `B - Paris`; not `A man`, where the letter is the article.
    re.compile(r"([A-J])\s*(?:[,;–—-]\s|\b(?:because|since|as|is (?:the )?correct)\b).*", re.DOTALL),
    # `12 (B)`: a choice named at the end, and no other capital of the letters before it.
    re.compile(r"[^A-J]*[(\[]([A-J])[)\]]\W*", re.DOTALL),
)  # fmt: skip
# "not B", "isn't B", "all except B", "B is wrong": the letter named is the one that is not meant.
_DENIED = re.compile(
    r"\bnot\s+(?:be\s+)?\W*[A-J]\b|n't\s+(?:be\s+)?\W*[A-J]\b|\bexcept\b|"
    r"^\W*[A-J]\W+(?:is|was|are)\s+(?:not\b|n't|wrong|incorrect|false|impossible)"
)
# "A or B", "A, B": two letters name no one choice.
_ANOTHER = re.compile(r"(?:\b(?:or|and|nor)\b|[,/&])\s*\(?[A-J]\b")


_TOLD = re.compile(r"\W*[A-J]\W*[.):]")
"""`C. A and B`: a choice whose text names others."""


def same_choice(gold: str, answer: str) -> bool | None:
    """`(B)`, `B.`, `B) 12` and `b` are the same choice; an answer that names none decides nothing."""
    gold, answer = (english(without_choosing(text)) for text in (gold, answer))
    several = _several(gold), _several(answer)
    if several[0] and several[1]:
        return several[0] == several[1]
    letter, other = _choice(gold), _choice(answer)
    if (several[0] and other) or (letter and several[1] and not _TOLD.match(answer)):
        return False  # one of several is not all of them
    if letter is None:
        return None if several[0] or other else same_words(gold, answer)
    return None if other is None else letter == other


def _several(text: str) -> frozenset[str]:
    """The letters where an answer is nothing but some of them: `A, C`, `AC`, `(A) and (C)`."""
    plain = re.sub(r"\band\b|[\s,;/&().]+", "", worded(unicodedata.normalize("NFKC", text)).strip("$*`"))
    letters = frozenset(plain)
    return letters if 1 < len(letters) == len(plain) and letters <= frozenset("ABCDEFGHIJ") else frozenset()


def _choice(text: str) -> str | None:
    text = worded(unicodedata.normalize("NFKC", text)).strip(" \t\n$*_`\"'.:\\")
    if _ANOTHER.search(text) or _DENIED.search(text):
        return None
    text = _CHOSEN.sub("", text, count=1).strip("*_`$ ")
    found = next((match for choice in _CHOICES if (match := choice.fullmatch(text))), None)
    return found[found.lastindex or 1].upper() if found else None
