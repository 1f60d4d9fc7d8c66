"""The records that flow through Stepmint: problem, solution, vote, label, and the row that joins them.

All are frozen, refuse unknown fields, and survive JSON and Arrow unchanged. Every index is 0-based.
"""

import hashlib
import json
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

AnswerKind = Literal["number", "expression", "choice", "text"]
Outcome = Literal["correct", "incorrect", "unknown"]
Asks = Literal["valid", "solvable"]
LabelKind = Literal["local", "cumulative", "first_error", "quality"]
StopReason = Literal["stop", "length", "withheld", "error", "budget"]
"""Why a completion ended: `withheld` by the server's filter; `error` for an unusable text; `budget` is one
that was never drawn, and is never stored."""


LONGEST = 2**27
"""Characters of a text in a record. Even at 4 bytes each they fit a column of Arrow strings (2**31 bytes)."""
Count = Annotated[int, Field(ge=0, lt=2**31)]
"""A number that its Arrow column holds: one that does not fit must not get as far as the dataset."""
Total = Annotated[int, Field(ge=0, lt=2**63)]
Seed = Annotated[int, Field(ge=-(2**63), lt=2**63)]


class Record(BaseModel):
    """Base of all records. It is frozen, and refuses unknown fields: a misspelt one would be lost
    silently."""

    # The bound also makes pydantic refuse lone surrogates, which no UTF-8 file can hold.
    model_config = ConfigDict(
        frozen=True, extra="forbid", strict=False, str_max_length=LONGEST, allow_inf_nan=False
    )


# Made once: `json.dumps` makes one for each call that has such options.
_CANONICAL = json.JSONEncoder(sort_keys=True, ensure_ascii=False, separators=(",", ":"))


def content_id(*parts: Any) -> str:
    """Sixteen hexadecimal digits of SHA-256 over the parts in canonical JSON."""
    return hashlib.sha256(_CANONICAL.encode(parts).encode("utf-8", "surrogatepass")).hexdigest()[:16]


def seed_of(*parts: Any) -> int:
    """A 48-bit sampling seed that depends only on what is asked, never on when or in which order.

    Seeds of different requests lie far apart, so `seed + i` for the i-th completion never meets another
    request's.
    """
    return int(content_id(*parts)[:12], 16)  # 12 hexadecimal digits are 48 bits, which JSON holds exactly


class Source(Record):
    """Where a problem came from."""

    dataset: str
    split: str = ""
    row: Total = 0


class Table(Record):
    """The table a problem asks about. Cells are kept as texts; readers derive numbers strictly."""

    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]

    @model_validator(mode="after")
    def _rectangular(self) -> "Table":
        for number, row in enumerate(self.rows):
            if len(row) != len(self.columns):
                raise ValueError(f"row {number} has {len(row)} cells for {len(self.columns)} columns")
        return self


class UnitTest(Record):
    """One test of a program: a call and its value, standard input and output, or an assertion."""

    call: str = ""
    """A Python expression over the program's names, or statements that end in one; empty where the program
    itself is run."""
    stdin: str = ""
    expected: str = ""
    """A Python literal for a call, the standard output (compared word by word) otherwise."""
    assertion: str = ""
    """Python statements that raise where the program is wrong: `assert abs(f(2) - 1.5) < 1e-6`. Functions
    that they neither define nor import are the program's."""

    @model_validator(mode="after")
    def _is_one_test(self) -> "UnitTest":
        if self.assertion and (self.call or self.stdin or self.expected):
            raise ValueError("an `assertion` stands alone, without `call`, `stdin` and `expected`")
        # An empty output is hardly ever meant, and a test that lacks its value would pass for nothing.
        if not self.assertion and "expected" not in self.model_fields_set:
            raise ValueError("a test needs `expected` (beside `call` or `stdin`) or an `assertion`")
        return self


class Problem(Record):
    """A problem to be solved. Its id is the hash of its text, accepted answers and, where it has one, table,
    as they were first read: a corrected answer changes no id, and so keeps the problem's rollouts."""

    id: str = ""
    text: str = Field(min_length=1)
    answer: str | None = None
    """The gold answer; None where there is none, and then no rollout can be graded."""
    alternatives: tuple[str, ...] = ()
    """Further gold answers: a rollout is right when it gives any of them, or `answer`."""
    answer_kind: AnswerKind = "expression"
    premises: tuple[str, ...] = ()
    """The problem in symbols, one premise each: first-order formulas for logic, definitions for
    arithmetic."""
    reference: str | None = None
    """A reference solution, where the dataset has one. Never shown to the policy."""
    table: Table | None = None
    """The table the problem asks about. The policy sees it below the text, unless the text shows it."""
    tests: tuple[UnitTest, ...] = ()
    """Unit tests of a code problem. Never shown to the policy."""
    domain: str = "math"
    source: Source = Source(dataset="")
    licence: str | None = None

    @model_validator(mode="before")
    @classmethod
    def _with_id(cls, data: Any) -> Any:
        if isinstance(data, dict) and not data.get("id"):
            return {**data, "id": _problem_id(data)}
        return data

    @property
    def is_gradable(self) -> bool:
        """Whether a solution's outcome can be told: there is a gold answer, or there are unit tests."""
        return self.answer is not None or bool(self.tests)

    @property
    def golds(self) -> tuple[str, ...]:
        """Every accepted answer; empty where there is none."""
        return () if self.answer is None else (self.answer, *self.alternatives)


def _problem_id(data: dict[str, Any]) -> str:
    # Parts that a problem does not have are left out, so that ids from before tables and alternatives existed
    # stay the same.
    parts = [data.get("text"), data.get("answer")]
    if (table := data.get("table")) is not None:
        parts.append(Table.model_validate(table).model_dump(mode="json"))
    if others := data.get("alternatives"):
        parts.append(list(others))
    return content_id(*parts)


def text_id(problem: Problem) -> str:
    """What a policy is asked: two problems with equal text and table differ in their gold answers at most."""
    return content_id(problem.text, problem.table and problem.table.model_dump(mode="json"))


GOLD: Mapping[str, Any] = {
    "answer": None,
    "alternatives": [],
    "answer_kind": "expression",
    "premises": [],
    "tests": [],
}
"""What rollouts and steps are judged by, with the values that a line without them means."""


def gold_key(problem: Mapping[str, Any]) -> int:
    """What rollouts and steps are judged by (`GOLD`), of a problem as JSON; the same in every process."""
    said = repr([problem.get(name, default) for name, default in GOLD.items()])
    return int.from_bytes(
        hashlib.blake2b(said.encode("utf-8", "surrogatepass"), digest_size=7).digest(), "big"
    )


class Step(Record):
    """One step: its text, and its character span [start, end) in the solution's text."""

    text: str
    start: Count
    end: Count


class PolicyIdentity(Record):
    """Which model wrote a text, and how it was asked. Two solutions with equal identity came from the same
    draw."""

    kind: str
    model: str
    revision: str = ""
    prompt_digest: str = ""
    temperature: float = 1.0
    top_p: float = 1.0
    max_tokens: Count = 0
    seed: Seed = 0


class Solution(Record):
    """A solution as the policy wrote it. Its id is the hash of the problem id and the text."""

    id: str = ""
    problem_id: str
    text: str
    steps: tuple[Step, ...]
    answer: str | None = None
    """The final answer as written; None when none was found."""
    outcome: Outcome = "unknown"
    """`unknown` when the answer could not be graded: no gold answer, cut off, or unreadable. Never a wrong
    answer."""
    policy: PolicyIdentity
    stopped: StopReason = "stop"
    tokens: Count = 0

    @model_validator(mode="before")
    @classmethod
    def _with_id(cls, data: Any) -> Any:
        if isinstance(data, dict) and not data.get("id"):
            return {**data, "id": content_id(data.get("problem_id"), data.get("text"))}
        return data

    def step_texts(self) -> list[str]:
        """The steps' texts in order."""
        return [step.text for step in self.steps]


class Vote(Record):
    """One source's opinion of one step. Raw votes are kept: labels can always be recomputed from them."""

    step: Count
    source: str
    """Who speaks, e.g. `monte_carlo`, `judge:review`, `arithmetic`. What that source's votes are evidence of
    is declared (`schemas.sources`)."""
    asks: Asks
    """`valid`: is the step right, given the steps before it? `solvable`: is the gold answer still in reach
    after it?"""
    p: float | None = Field(None, ge=0, le=1)
    """Probability of yes. None abstains, with the reason in `why`. Of most sources the share `correct` / `n`;
    a search's is a posterior over all its rollouts."""
    correct: Count = 0
    """Samples that said yes (c)."""
    n: Count = 0
    """Samples that could be read (n)."""
    n_failed: Count = 0
    """Samples that could not: cut off, unparsed, failed calls, or not drawn for want of tokens. They count
    for neither side."""
    why: str = ""
    """Reason for an abstention or a refutation, for people who read rows."""
    evidence: str = ""
    """Counter-values, a proof core, a critique, or the ids of the rollouts, as text."""
    tokens: Total = 0
    """Tokens generated for this vote. Seconds are not recorded: they would make equal runs differ."""

    @model_validator(mode="after")
    def _counts_agree(self) -> "Vote":
        if self.correct > self.n:
            raise ValueError(f"correct={self.correct} exceeds n={self.n}")
        return self


class StepLabel(Record):
    """What fusion decided about one step."""

    label: Literal[0, 1] | None = None
    """1 right, 0 wrong, None no label: masked in training, kept in the row."""
    p: float | None = Field(None, ge=0, le=1)
    """Probability that the step and every step before it are right; None where no vote bears on the step."""
    rate_low: float | None = Field(None, ge=0, le=1)
    rate_high: float | None = Field(None, ge=0, le=1)
    """95% interval of the success rate of the policy's rollouts from after the step, where there are any."""
    kind: LabelKind = "first_error"
    decided_by: str = ""
    """The sources with a vote on the step, or those that imply its label, joined by `+`; empty without a
    label."""
    reason: str = ""


def first_error_labels(first: int, n_steps: int) -> tuple[Literal[0, 1] | None, ...]:
    """The labels that a first error (-1 for none) implies: right before it, and nothing said after it."""
    end = first if first >= 0 else n_steps
    return tuple(1 if step < end else 0 if step == end else None for step in range(n_steps))


class GoldLabels(Record):
    """Step labels that came with a solution from outside, such as those of human annotators.

    They stand beside our labels, to be compared with; they are no votes.
    """

    labels: tuple[Literal[0, 1] | None, ...]
    """One for each step: 1 right, 0 wrong, None where the source says nothing or calls the step neutral."""
    first_error: Annotated[int, Field(ge=-1, lt=2**31)] | None = None
    """0-based index of the first wrong step; -1 when every step is right; None when nobody says."""
    by: str = ""
    """Who labelled, e.g. `processbench`, `prm800k`; empty where the rows do not say."""


class LabelledSolution(Record):
    """A row of the dataset: one solution with its labels and every vote behind them."""

    problem: Problem
    solution: Solution
    labels: tuple[StepLabel, ...]
    first_error: Annotated[int, Field(ge=-1, lt=2**31)] | None = None
    """0-based index of the first wrong step; -1 when every step is right; None when not established."""
    kept: bool = True
    """Whether the consensus filter keeps this row; a dropped row stays in the dataset with its reason."""
    consensus: str = ""
    """How rollouts and judge compare: `agree_error`, `agree_clean`, `disagree_position`,
    `disagree_existence`, `judge_unparsed`, `mc_incomplete`; `no_gold`, `judge_only` where there are no
    rollouts to compare with, `one_sided` where only one of two named sources voted; empty where nobody
    judged."""
    votes: tuple[Vote, ...] = ()
    gold: GoldLabels | None = None
    """Labels that came with the solution."""

    @model_validator(mode="after")
    def _lengths_agree(self) -> "LabelledSolution":
        n_steps = len(self.solution.steps)
        if self.gold is not None and len(self.gold.labels) != n_steps:
            raise ValueError(f"{len(self.gold.labels)} gold labels for {n_steps} steps")
        if len(self.labels) != n_steps:
            raise ValueError(f"{len(self.labels)} labels for {n_steps} steps")
        if any(vote.step >= n_steps for vote in self.votes):
            raise ValueError(f"a vote names a step beyond the last of {n_steps}")
        return self


class Candidate(Record):
    """What a proposer hands on: a solution, with the votes its search already produced."""

    solution: Solution
    votes: tuple[Vote, ...] = ()
    drawn: Count = 1
    """How often the proposer drew this very text: equal texts are one candidate."""
    gold: GoldLabels | None = None
    """Labels that came with the solution, where it was given and not drawn."""


class Finished(Record):
    """A problem's line in the journal: all that was found out about it, raw votes included."""

    problem: Problem
    candidates: tuple[Candidate, ...] = ()
    skipped: str = ""
    """Why there are no candidates: the difficulty filter's verdict, or that no solution was finished."""
    n_rollouts: Total = 0
    n_calls: Total = 0
    """Requests to the policies; one may ask for several completions."""
    tokens: dict[str, Total] = {}
    """Tokens generated, by purpose."""
    given: str = ""
    """Which given solutions the problem had: a digest of their rows; empty where there were none."""
    over_budget: bool = False
    """Whether `budget.per_problem` kept something from being drawn."""


class Rollout(Record):
    """One completion that was paid for, kept so that grading can be redone without sampling."""

    problem_id: str
    purpose: str
    """`propose`, `filter`, `omegaprm`, or the name of the annotator it was drawn for. Before a colon stands
    the kind of one whose own policy it was drawn from, or of a judge: `judge`, `judge:NAME`, `prover`,
    `prover:NAME`, `python:NAME:PURPOSE`, `writer:NAME:propose`."""
    prefix: str
    text: str
    outcome: Outcome
    stopped: StopReason
    tokens: Count = 0
    seed: Seed = 0


class Quarantined(Record):
    """A bad record and what was wrong with it."""

    file: str
    row: Total | None = None
    field: str = ""
    reason: str
    problem_id: str = ""
