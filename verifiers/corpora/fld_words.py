"""The words of the templates of the FLD corpora; everything else in a sentence is vocabulary."""

import re

# Each list holds what the corpus's templates put in one place, and nothing else: a missing word leaves a
# sentence unread, one too many would read it wrongly.
NEGATIONS = [
    "it is not the fact that",
    "it is not true that",
    "it is wrong that",
    "it is incorrect that",
    "it is false that",
]
IF = ["if", "when", "as", "because", "since"]
THUS = ["thus", "therefore", "so that"]
CAUSES = [
    "causes",
    "brings about",
    "leads to",
    "results in",
    "triggers",
    "invokes",
    "gives rise to",
    "promotes",
    "accelerates",
]
CAUSED = [
    "is caused by",
    "is brought about by",
    "is triggered by",
    "is invoked by",
    "originates from",
    "is accelerated by",
]
PREVENTS = ["prevents", "stops", "hinders", "avoids", "interferes", "disturbs", "suppresses"]
PREVENTED = [
    "is prevented by",
    "is stopped by",
    "is hindered by",
    "is avoided by",
    "is interfered by",
    "is disturbed by",
    "is suppressed by",
]
OCCUR = ["occurs", "happens", "takes its rise", "occur", "happen", "take its rise"]
KIND = ["a kind of", "an example of"]
FOR_ALL = ["for everything", "for everyone"]
FOR_SOME = [
    f"{intro} {who}{rest}"
    for who in ("something", "someone")
    for intro, rest in (("for", ""), ("there is", " such that"), ("there exists", " such that"))
]
AND = ["and also", "and"]
BUT = [*AND, "but"]
GRAMMAR = frozenset(
    "a an the is are it its not and also but or either both that if when as because since thus therefore so "
    "by to from will does do something someone everything everyone for with , being be all people "
    "thing things occurs happens occur happen".split()
)


def stem(word: str) -> str:
    """What the inflections of a word have in common; no more than that."""
    word = word.lower()
    # "making" has a stem with a vowel, "string" and "ring" have none.
    if word.endswith("ing") and re.search("[aeiouy]", word[:-3]) and len(word) > 4:
        word = word[:-3]
    elif word.endswith("s") and not word.endswith("ss"):
        word = word[:-1]
    word = word.removesuffix("e")  # "making", "makes" and "make" are "mak"
    # "running", "run"
    if len(word) > 2 and word[-1] == word[-2] and word[-1] not in "aeiou":
        word = word[:-1]
    # "focuses" and "focusing" have lost an ending; "focus" itself must come to the same.
    word = word.rstrip("s") or word
    word = word[:-1] + "i" if word.endswith("y") else word
    return word[:-1] if word.endswith("ck") else word  # "panicking", "panic"
