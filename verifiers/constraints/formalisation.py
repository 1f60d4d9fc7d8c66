"""A word problem's constraints as a model proposes them, trusted only if they pin the gold answer.

A proposal has a line for each constraint, for the quantity asked for, and, where it matters, for what is a
whole number:

    ice: integer
    tea = 3 * ice
    ice + tea = 32
    asked: tea

Its constraints may then stand as the problem's premises. A wrong formalisation can pin the right answer, but
seldom does: what it says of a step is evidence, not proof.
"""

import re
from dataclasses import dataclass

from verifiers.constraints.constraints import Formalisation, Sort, judge
from verifiers.expressions.parser import parse
from verifiers.expressions.tree import Refused
from verifiers.expressions.values import exact

LONGEST = 4_000
# Whole lines: `asked: tea`, `ice: integer`. What is neither is a constraint, and read by the grammar.
_ASKED = re.compile(r"asked\s*:\s*(?P<name>[A-Za-z]\w{0,39})")
_SORT = re.compile(r"(?P<name>[A-Za-z]\w{0,39})\s*:\s*(?P<sort>integer|real)")
_WORD = re.compile(r"[A-Za-z]\w*")


@dataclass(frozen=True)
class Proposal:
    """What became of a proposed formalisation."""

    formalisation: Formalisation | None
    """None where it is not trusted."""
    asked: str = ""
    why: str = ""
    """Why it is not trusted."""


def proposed(reply: str, answer: str) -> Proposal:
    """The formalisation in a model's reply, if its constraints leave the gold answer and no other.

    One that states the answer instead of deriving it is not trusted.
    """
    if len(reply) > LONGEST:
        return Proposal(None, why=f"longer than {LONGEST} characters")
    try:
        gold = exact(parse(answer.replace("$", "").strip()), {})
    except Refused as refusal:
        return Proposal(None, why=f"the gold answer is no number: {refusal}")
    problem, asked = _read(reply)
    if asked not in problem.sorts:
        return Proposal(None, asked, f"{asked or 'nothing'} is asked for, which no constraint names")
    found = judge(problem, f"{asked} = {gold}")
    if found.verdict != "entailed":
        return Proposal(None, asked, f"{asked} = {answer} is {found.verdict}: {found.reason}")
    # `tea = 24` alone settles the answer; so does any rule with it, and then it must be more than one
    # constraint.
    if len(found.core) < 2 and all(_states(problem.constraints[index], asked) for index in found.core):
        return Proposal(None, asked, "it states the answer and derives nothing")
    return Proposal(problem, asked)


def _read(reply: str) -> tuple[Formalisation, str]:
    sorts: dict[str, Sort] = {}
    declared: dict[str, Sort] = {}
    asked, constraints = "", []
    for line in map(str.strip, reply.splitlines()):
        if match := _ASKED.fullmatch(line):
            asked = match["name"]
        elif match := _SORT.fullmatch(line):
            declared[match["name"]] = "integer" if match["sort"] == "integer" else "real"
        elif line and not line.startswith("```"):
            constraints.append(line)  # whatever it is, the grammar refuses what is no relation
            sorts |= {name: "real" for name in _WORD.findall(line)}
    return Formalisation(
        {**sorts, **{n: s for n, s in declared.items() if n in sorts}}, tuple(constraints)
    ), asked


def _states(constraint: str, asked: str) -> bool:
    return _WORD.findall(constraint) == [asked]
