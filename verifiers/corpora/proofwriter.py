"""The English of ProofWriter (arXiv 2012.13048) and ProntoQA (arXiv 2210.01240) into formulas.

Both are generated from closed grammars of facts and rules: "The cow likes the tiger.", "If something is cold
and it sees the cow then it is not red.", "Nice, furry things are green.", "Each dumpus is not metallic."
Variables are universal. A sentence of another form is refused, never guessed at.
"""

import re

from verifiers.logic.formulas import (
    Atom,
    Constant,
    Formula,
    Joined,
    Not,
    Quantified,
    Term,
    Unparsed,
    Variable,
    atoms,
    rebuilt,
)

LONGEST_SENTENCE = 400
_X = Variable("x")
_ANYBODY = frozenset({"something", "someone", "it", "they"})
# "the bald eagle" or "Bob".
_NAME = r"(?:(?i:the) (?P<noun>[a-z]+(?: [a-z]+)?)|(?P<name>[A-Z][a-z]+))"
_SUBJECT = rf"(?:(?P<anybody>(?i:something|someone|it|they))|{_NAME})"
# "Bob is nice", "they are not red": what is said is split later.
_IS = re.compile(rf"{_SUBJECT} (?:is|are) (?P<said>.+)")
# "The cow likes the tiger", "it does not see Bob".
_VERB = re.compile(
    rf"{_SUBJECT} (?:(?P<denied>does not|do not) )?(?P<verb>[a-z]+) "
    r"(?:(?P<object>the [a-z]+(?: [a-z]+)?|[A-Z][a-z]+)|(?P<pronoun>it|them|something|someone))"
)
# "not a cat", "red": one word, which a longer phrase does not match.
_ADJECTIVE = re.compile(r"(?P<no>not )?(?:an? )?(?P<word>[a-z]+)")
# "Nice, furry things are green", "Each dumpus is not metallic", "All cats are nice".
_CLASS = re.compile(
    r"(?:(?:All|Every|Each|all|every|each) )?(?P<kinds>[A-Za-z]+(?:, [a-z]+| and [a-z]+)*)"
    r"(?P<kind> things| people| thing| person)? (?:is|are) (?P<said>.+)"
)


def read_rule_sentence(sentence: str) -> Formula:
    """The formula of one sentence. Raises Unparsed."""
    text = sentence.strip().rstrip(".")
    if len(text) > LONGEST_SENTENCE:
        raise Unparsed(f"longer than {LONGEST_SENTENCE} characters")
    if text.startswith("If ") and " then " in text:
        condition, _, conclusion = text[3:].partition(" then ")
        return _general(Joined("->", (_clauses(condition), _clauses(conclusion))))
    rule = _CLASS.fullmatch(text)
    # "Bob is nice" fits the pattern of a class, too: the word for the class, or a plural, must tell them
    # apart.
    if rule and (
        rule["kind"] or text.split()[0].lower() in {"all", "every", "each"} or _is_plural(rule["kinds"])
    ):
        kinds = [_said(word, _X) for word in re.split(", | and ", rule["kinds"])]
        return _general(Joined("->", (_all(kinds), _properties(rule["said"], _X))))
    return _general(_clauses(text))


def read_rulebase(text: str) -> tuple[Formula, ...]:
    """Every sentence of a context. Raises Unparsed, naming the sentence."""
    found = []
    for sentence in filter(None, (part.strip() for part in re.split(r"(?<=\.)\s+", text))):
        try:
            found.append(read_rule_sentence(sentence))
        except Unparsed as error:
            raise Unparsed(f"{sentence[:80]!r}: {error}") from error
    return tuple(found)


def by_rules_alone(formula: Formula) -> Formula:
    """The formula with each denial as a predicate of its own.

    ProofWriter's gold labels apply rules forwards only: no contraposition and no proof by cases. With denials
    as predicates all rules are Horn clauses, and entailment is exactly that.
    """
    match formula:
        case Not(Atom(name, terms)):
            return Atom(f"not {name}", terms)
        case Not():
            return formula
        case _:
            return rebuilt(formula, by_rules_alone)


def _is_plural(kinds: str) -> bool:
    """ProntoQA's bare plurals: `Vumpuses are floral`."""
    return bool(re.fullmatch(r"[A-Z][a-z]+uses", kinds))


def _general(formula: Formula) -> Formula:
    open_ = any(term == _X for atom in atoms(formula) for term in atom.terms)
    return Quantified(False, "x", formula) if open_ else formula


def _all(parts: list[Formula]) -> Formula:
    return parts[0] if len(parts) == 1 else Joined("&", tuple(parts))


def _clauses(text: str) -> Formula:
    """Clauses under `and`; one without a subject goes on about the last."""
    found: list[Formula] = []
    subject: Term | None = None
    for part in re.split(r",? and ", text):
        clause = _IS.fullmatch(part) or _VERB.fullmatch(part)
        if clause is not None:
            subject = _subject(clause)
            found.append(_clause(clause, subject))
        elif subject is not None:
            found.append(_properties(part, subject))
        else:
            raise Unparsed(f"no clause of the grammar: {part[:60]!r}")
    return _all(found)


def _subject(clause: re.Match[str]) -> Term:
    if clause["anybody"]:
        return _X
    return Constant((clause["noun"] or clause["name"]).lower().replace(" ", "_"))


def _clause(clause: re.Match[str], subject: Term) -> Formula:
    if clause.re is _IS:
        return _properties(clause["said"], subject)
    thing = clause["object"]
    other = Constant(thing.removeprefix("the ").lower().replace(" ", "_")) if thing else _X
    relation = Atom(_verb(clause["verb"]), (subject, other))
    return Not(relation) if clause["denied"] else relation


def _verb(word: str) -> str:
    # The corpus has regular verbs only: "likes" and "like", "sees" and "see".
    return word[:-1] if word.endswith("s") else word


def _properties(text: str, subject: Term) -> Formula:
    return _all([_said(part, subject) for part in re.split(", | and ", text)])


def _said(text: str, subject: Term) -> Formula:
    match = _ADJECTIVE.fullmatch(text.lower().strip())
    if match is None:
        raise Unparsed(f"no property: {text[:60]!r}")
    word = match["word"]
    atom = Atom(word.removesuffix("es") if word.endswith("uses") else word, (subject,))
    return Not(atom) if match["no"] else atom
