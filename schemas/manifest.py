"""The manifest of a dataset: what was run, what came of it, and the checksums of its files.

It is written last, so a folder with a manifest is a whole dataset.
"""

from pathlib import PurePath
from typing import Annotated

from pydantic import Field, model_validator

from schemas.config import FusionConfig
from schemas.plan import PlanReport
from schemas.records import Record, content_id
from schemas.sources import Source

Checksum = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
"""SHA-256 in hexadecimal."""
RolloutsFile = Annotated[str, Field(pattern=r"^rollouts/[0-9]{5,}\.parquet$")]
SourceTable = dict[str, list[list[float]]]
"""Source -> rows of probabilities."""


class Trust(Record):
    """What fusion learnt about the sources of this run (see `pipeline.fusion.trust`)."""

    hazard: float = Field(ge=0, le=1)
    """Chance that a step, all before it being right, is the first error."""
    last_hazard: float | None = Field(default=None, ge=0, le=1)
    """The same for the last step, which also gives the answer; null in runs sealed before it was kept."""
    levels: list[float] = []
    """The shares of yes that judges' replies and rollouts are taken to have. Empty in runs sealed before
    votes were read as counts; the tables of those are over four bins of p."""
    tables: SourceTable
    """Three rows (before, at, after the first error): of a judge over the levels, of a verifier and of the
    graded answer over no and yes."""
    rollouts: SourceTable = {}
    """Of `policy` and `prover` four rows: the level of the bare problem; how a right step moves a level above
    the lowest (lost, fell, slipped by one, stayed, rose); how a wrong one does; what any step makes of the
    lowest (stays, comes back)."""
    n_solutions: int = 0
    """Solutions the fit looked at: all, or in a large run those of the problems with the smallest ids."""


class ShardEntry(Record):
    """One Parquet file of the dataset."""

    file: str = Field(pattern=r"^(shards|sealed/[0-9a-f]{16})/[0-9]{5,}\.parquet$")
    """Its path in the run's folder, which it never leaves."""
    rows: int = Field(ge=0)
    sha256: Checksum


class SourceCount(Record):
    """What one source of votes contributed."""

    votes: int = 0
    abstained: int = 0
    denied: int | None = None
    """Votes that say no; null in runs sealed before they were counted."""
    failed: int = 0
    """Samples of its votes that could not be read."""
    reasons: dict[str, int] = {}
    """Its abstentions by reason, the commonest reasons first, and those of all others together; empty in runs
    sealed before they were counted."""
    why: str = ""
    """In those runs, the commonest reason of a source that abstained in every vote."""
    sample: str = ""
    """Of a source that abstained in every vote: the beginning of a reply that could not be read, if there is
    one."""

    @property
    def commonest(self) -> str:
        """The commonest reason to abstain."""
        return next(iter(self.reasons), self.why)


class BudgetReport(Record):
    """How far the run's budgets reached."""

    per_problem: int | None = None
    cut: int = 0
    """Problems of the dataset that reached `per_problem`: something about them was not drawn."""
    run: int | None = None
    beyond: int = 0
    """Problems that the run's budget did not reach. Raise it and run again to do them."""


class Manifest(Record):
    """Digest, versions, counts, checksums, trust and cost of a sealed run."""

    name: str
    stepmint: str
    schema_version: int
    config_digest: str
    fusion_digest: str
    sealed_at: str
    """UTC, ISO 8601."""
    problems: int
    owed: int = 0
    """Problems that are not in the dataset: they were still owed when a part of the run was sealed."""
    skipped: dict[str, int] = {}
    """Problems without rows, by reason (difficulty filter, no usable solution)."""
    quarantined: int = 0
    ungraded: int = 0
    """Problems without a gold answer: nothing was rolled out for them."""
    solutions: int
    merged: int = 0
    """Further completions with the text of a solution that stands in the dataset once; 0 in runs sealed
    before they were counted."""
    steps: int
    labelled_steps: int
    kept: int
    """Rows the consensus filter keeps."""
    dropped: dict[str, int] = {}
    """Rows it drops, by reason."""
    sources: dict[str, SourceCount] = {}
    declared: dict[str, Source] = {}
    """What the votes of each of these sources are evidence of; empty in runs sealed before it was kept, whose
    sources are those of `schemas.sources.EARLIER`."""
    rollouts: int = 0
    """Completions of all policies: solutions, rollouts and judges' replies."""
    calls: int = 0
    """Requests to the policies; 0 in runs sealed before they were counted."""
    tokens: dict[str, int] = {}
    """Tokens generated, by what they were for: `filter`, `propose`, `monte_carlo`, `omegaprm`, `judge`."""
    prompt_tokens: int = 0
    """Tokens of the prompts that the policies were asked with, all sessions together, as far as their engines
    count them; 0 in runs sealed before they were counted."""
    cached_tokens: int = 0
    """Those of them that the engines had in their caches, as far as they say so."""
    seconds: float = 0.0
    """Time that the shards were worked on, all sessions together, loading of the policy included."""
    budget: BudgetReport = BudgetReport()
    plan: PlanReport | None = None
    """Null where nothing was planned."""
    fusion: FusionConfig | None = None
    """How labels were made of votes; null in runs sealed before it was kept."""
    trust: Trust | None = None
    shards: tuple[ShardEntry, ...] = ()
    packed: dict[RolloutsFile, Checksum] = {}
    """Checksums of the Parquet files of the rollouts; empty in runs sealed before they were kept."""
    versions: dict[str, str] = {}
    inputs: dict[str, str] = {}
    """What the run read, by role: SHA-256 of prompts, problem files and local weights, or a name."""

    @model_validator(mode="after")
    def _one_folder(self) -> "Manifest":
        if len({PurePath(shard.file).parent for shard in self.shards}) > 1:
            raise ValueError("the shards lie in several folders")
        return self

    def digest(self) -> str:
        """Identity of the rows: sealing the same votes with the same fusion again gives it again."""
        # Without the folder: it is named by this digest, so it cannot be part of it.
        names = (f"shards/{PurePath(shard.file).name}" for shard in self.shards)
        return content_id(
            [{"file": n, "rows": s.rows, "sha256": s.sha256} for n, s in zip(names, self.shards, strict=True)]
        )
