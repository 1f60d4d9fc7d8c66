"""Checks what a step says it reads off the problem's table: look-ups, sums, means, extremes and counts.

Sentences are read by one small grammar of column names, cell texts, conditions and a few words; a sentence
with any other word in it is not a claim. Steps that compute over the table by Python belong to `code`.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import cast

from schemas.records import Table
from schemas.sources import check_source
from verifiers.base import Finding, StepContext, Verdict
from verifiers.tables.query import Filter, Operation, Query, Relation, Unclear, answer, number

_OPERATIONS: dict[str, Operation] = {
    "total": "sum", "sum": "sum", "average": "mean", "mean": "mean", "median": "median",
    "minimum": "min", "min": "min", "lowest": "min", "smallest": "min",
    "maximum": "max", "max": "max", "highest": "max", "largest": "max",
    "count": "count", "number": "count",
}  # fmt: skip
_RELATIONS: dict[str, Relation] = {
    "greater than": ">", "more than": ">", "above": ">", "over": ">", "less than": "<", "below": "<",
    "under": "<", "at least": "≥", "at most": "≤", ">=": "≥", "<=": "≤", "≥": "≥", "≤": "≤",
    ">": ">", "<": "<", "=": "=", "==": "=", "is": "=", "equal to": "=",
}  # fmt: skip
_FILLERS = set(
    "the of in for at a an with where and whose rows row entries value column cell so , ( ) [ ]".split()
)
_OPENING = re.compile(
    r"(?:(?:according to|from|in|looking at|based on) the (?:table|data),?|(?:we|i) (?:can )?see that|"
    r"(?:so|thus|therefore|hence),?)\s+",
    re.I,
)
_HAS = re.compile(
    r"(?P<row>.+?) (?:has|had) (?:an? |the )?(?P<column>(?:(?! of | and ).)+) of "
    r"(?P<value>\S+)(?P<rest> (?:in|for|at) .+)?"
)
"""`Denver had a population of 12 in 2010`: the population of Denver in 2010 is 12."""
_QUOTED = re.compile(r"(?<!\w)([\"'`])([^\"'`]{1,80})\1(?!\w)")
_ROWS = {"rows", "row", "entries"}
_COPULA = re.compile(r"\s(?:is|was|are|were|equals)\s|\s?(?:=(?!=)|:)\s?")
_VALUE = re.compile(r"(?:about |approximately )?\$?[-+]?\d[\d,]*(?:\.\d+)?%?")
_SCALED = re.compile(r"thousand|million|billion|hundred|percent|%|000|\(", re.I)
_SUMMARY = re.compile(r"\s*(?:(?:sub|grand)[ -]?)?(?:total|sum|average|mean|overall|all)s?\s*", re.I)
_NARROWS = re.compile(
    r"\b(?:only|filter\w*|keep\w*|among|those|these|exclu\w*|remain\w*|restrict\w*|subset|select\w*|except"
    r"|group\w*|top|first|last|other|rest|without|between|before|after)\b",
    re.I,
)
"""Words by which a text narrows the rows down for the sentences that follow."""
_MOST_KEYS = 500
_MOST_SENTENCE = 300
_MOST_CELLS = 20_000


_WORDS = frozenset({"operation", "filler", "relation"})


@dataclass(frozen=True)
class _Token:
    kind: str
    text: str


class Tables:
    """Holds when what is read off the table is there, fails when the table says otherwise, abstains else."""

    name = "tables"
    sources = check_source(name)

    def check(self, context: StepContext) -> Finding:
        """Check every sentence of the last step that speaks of the table alone."""
        table = context.problem.table
        if table is None:
            return Finding("abstains", "the problem has no table")
        if len(table.columns) * len(table.rows) > _MOST_CELLS or len(context.step) > 20_000:
            return Finding("abstains", "the table or the step is too large")
        before = "\n".join((context.problem.text, *context.steps))
        findings = [
            f for sentence in sentences(context.step) if (f := check_sentence(sentence, table, before))
        ]
        for verdict in ("fails", "holds", "abstains"):
            for finding in findings:
                if finding.verdict == verdict:
                    evidence = "; ".join(f.reason for f in findings)[:1000]
                    return Finding(finding.verdict, finding.reason, evidence)
        return Finding("abstains", "nothing is read off the table")


def sentences(text: str) -> list[str]:
    """Sentences and lines; a point inside a number ends none."""
    return [part.strip() for part in re.split(r"\.(?!\d)|[;\n]", text) if part.strip()]


def check_sentence(sentence: str, table: Table, around: str = "") -> Finding | None:
    """The verdict on one sentence; None where it is not about the table, or not only.

    `around` is the text it stands in, which may say that it speaks of some rows only.
    """
    said = _said(sentence) if len(sentence) <= _MOST_SENTENCE else None
    if said is None:
        return None
    body, value = said
    query = read_query(body, table)
    if query is None or not value:
        return None
    try:
        found = answer(table, query)
    except Unclear as unclear:
        return Finding("abstains", f"{sentence}: {unclear}")
    verdict = _compare(value, found, query, table)
    shown = found if isinstance(found, str) else f"{float(found):g}"
    if verdict == "fails" and _may_mean_fewer_rows(value, query, table, around.replace(sentence, "")):
        return Finding("abstains", f"{sentence}: {shown} in the table, but some rows alone may be meant")
    if verdict == "fails":
        return Finding("fails", f"{body.strip()} is {shown}, not {value}")
    return Finding(verdict, sentence if verdict == "holds" else f"{sentence}: {shown} in the table")


def _said(sentence: str) -> tuple[str, str] | None:
    """What a sentence speaks of, and the value it gives it."""
    sentence = _QUOTED.sub(
        r"\2", _OPENING.sub("", sentence, count=1) if _OPENING.match(sentence) else sentence
    )
    if has := _HAS.fullmatch(sentence):
        return f"{has['column']} of {has['row']}{has['rest'] or ''}", has["value"]
    copulas = list(_COPULA.finditer(sentence))
    return (sentence[: copulas[-1].start()], sentence[copulas[-1].end() :].strip()) if copulas else None


def _may_mean_fewer_rows(value: str, query: Query, table: Table, around: str) -> bool:
    """Whether the text narrows the rows down, or a condition on a cell it names makes the claim true."""
    if query.operation == "look_up":
        return False
    said = set(re.findall(r"\w+", around))
    keys = {(name, row[j].strip()) for row in table.rows for j, name in enumerate(table.columns)}
    keys = {(name, key) for name, key in keys if said.issuperset(re.findall(r"\w+", key))}
    if _NARROWS.search(around) or len(keys) > _MOST_KEYS:
        return True
    for name, key in keys:
        narrower = Query(query.operation, query.column, (*query.filters, Filter(name, "=", key)))
        try:
            if _compare(value, answer(table, narrower), narrower, table) == "holds":
                return True
        except Unclear:
            continue
    return False


def read_query(body: str, table: Table) -> Query | None:
    """What a noun phrase asks of the table; None where a word of it is not understood."""
    if re.match(r"\s*A\s", body) and any("A" in row for row in table.rows):
        return None  # a name or an article
    if re.search(r"\brows? \d", body, re.I):
        return None  # a row's number, or a cell of it
    tokens = list(_tokens(body, table))
    if any(token.kind == "unknown" for token in tokens):
        return None
    operations = [_OPERATIONS[token.text] for token in tokens if token.kind == "operation"]
    read = _conditions([token for token in tokens if token.kind in ("column", "relation", "cell")], table)
    if read is None or len(operations) > 1:
        return None
    columns, filters = read
    operation = operations[0] if operations else "look_up"
    if operation != "look_up" and any(_SUMMARY.fullmatch(c) for row in table.rows for c in row):
        return None  # a line that sums up the others would be counted with them
    equal = [f.column for f in filters if f.relation == "="]
    if len(set(equal)) != len(equal):
        return None  # "A and B" names two rows, not one that is both
    rows_said = any(token.text in _ROWS for token in tokens)
    if operation == "count":
        return Query(operation, None, filters) if not columns and rows_said else None
    if len(columns) != 1 or (operation == "look_up" and not filters):
        return None
    return Query(operation, columns[0], filters)


def _tokens(body: str, table: Table) -> Iterator[_Token]:
    cells = {cell.strip() for row in table.rows for cell in row if cell.strip()}
    kinds = [("column", set(table.columns)), ("cell", cells), ("relation", set(_RELATIONS))]
    kinds += [("operation", set(_OPERATIONS)), ("filler", _FILLERS)]
    known = [(word, kind) for kind, words in kinds for word in words if word]
    known.sort(key=lambda pair: -len(pair[0]))  # stable: a column before a cell before a word
    rest = body.strip()
    while rest:
        token = _next(rest, known)
        yield token
        if token.kind == "unknown":
            return
        rest = rest[len(token.text) :].lstrip()


def _next(rest: str, known: list[tuple[str, str]]) -> _Token:
    for word, kind in known:
        said = rest[: len(word)]
        same = said == word or (said.lower() == word.lower() and (kind == "column" or kind in _WORDS))
        after = rest[len(word) : len(word) + 1]
        if same and not (word[-1].isalnum() and (after.isalnum() or after in {"_", "%", "'"})):
            return _Token(kind, word)
    match = _VALUE.match(rest)
    return (
        _Token("cell", match.group()) if match and not match.group()[0].isalpha() else _Token("unknown", rest)
    )


def _conditions(tokens: list[_Token], table: Table) -> tuple[list[str], tuple[Filter, ...]] | None:
    """Columns that are asked for, and conditions on others."""
    columns: list[str] = []
    filters: list[Filter] = []
    i = 0
    while i < len(tokens):
        kinds = [token.kind for token in tokens[i : i + 3]]
        if kinds == ["column", "relation", "cell"]:
            filters.append(Filter(tokens[i].text, _RELATIONS[tokens[i + 1].text], tokens[i + 2].text))
            i += 3
        elif kinds[:2] == ["column", "cell"] and tokens[i + 1].text in _cells(table, tokens[i].text):
            filters.append(Filter(tokens[i].text, "=", tokens[i + 1].text))
            i += 2
        elif kinds[0] == "column":
            columns.append(tokens[i].text)
            i += 1
        else:
            homes = [name for name in table.columns if tokens[i].text in _cells(table, name)]
            if kinds[0] != "cell" or len(homes) != 1:
                return None
            filters.append(Filter(homes[0], "=", tokens[i].text))
            i += 1
    return columns, tuple(filters)


def _cells(table: Table, column: str) -> set[str]:
    return {row[j].strip() for j, name in enumerate(table.columns) if name == column for row in table.rows}


def _compare(value: str, found: str | Fraction, query: Query, table: Table) -> Verdict:
    said = re.sub(r"^(?:about|approximately) ", "", value)
    claimed = number(said)
    real = number(found) if isinstance(found, str) else found
    if isinstance(found, str) and (claimed is None or real is None):
        if said.casefold() == found.strip().casefold():
            return "holds"
        others = _cells(table, cast(str, query.column))
        return "fails" if said in others and found.strip() and real is None else "abstains"
    if claimed is None or real is None:
        return "abstains"
    percent = query.column is not None and any(c.endswith("%") for c in _cells(table, query.column))
    if claimed == real and (percent or not said.endswith("%")):
        return "holds"
    if percent and claimed * 100 == real and not said.endswith("%"):
        return "holds"
    decimals = len(said.rstrip("%").partition(".")[2])
    if abs(claimed - real) <= Fraction(1, 2 * 10**decimals):
        return "holds" if decimals or said != value else "abstains"
    unclear = said != value or said.endswith("%") != percent or _SCALED.search(query.column or "")
    return "abstains" if unclear else "fails"
