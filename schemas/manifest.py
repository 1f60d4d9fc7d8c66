"""The manifest: written last, it turns a folder of shards into a dataset and says how it came about."""

from pydantic import Field

from schemas.plan import PlanReport
from schemas.records import Record, content_id

SourceTable = dict[str, list[list[float]]]
"""Source -> three rows (before, at, after the first error) of bin probabilities."""


class Trust(Record):
    """What fusion learnt about the sources of this run (see `pipeline.fusion`)."""

    hazard: float = Field(ge=0, le=1)
    """Chance that a step, all before it being right, is the first error."""
    last_hazard: float | None = Field(default=None, ge=0, le=1)
    """The same for the last step, which also gives the answer; null in runs sealed before it was kept."""
    tables: SourceTable
    n_solutions: int = 0
    """Solutions the fit looked at: all, or in a large run those of the problems with the smallest ids."""


class ShardEntry(Record):
    """One Parquet file of the dataset."""

    file: str
    rows: int
    sha256: str


class SourceCount(Record):
    """What one source of votes contributed."""

    votes: int = 0
    abstained: int = 0
    denied: int | None = None
    """Votes that say no; null in runs sealed before they were counted."""
    failed: int = 0
    """Samples of its votes that could not be read."""
    why: str = ""
    """Of a source that abstained in every vote: the commonest reason."""
    sample: str = ""
    """The beginning of a reply of such a source that could not be read, if there is one."""


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
    skipped: dict[str, int] = {}
    """Problems without rows, by reason (difficulty filter, no usable solution)."""
    quarantined: int = 0
    ungraded: int = 0
    """Problems without a gold answer: nothing was rolled out for them."""
    solutions: int
    steps: int
    labelled_steps: int
    kept: int
    """Rows the consensus filter keeps."""
    dropped: dict[str, int] = {}
    """Rows it drops, by reason."""
    sources: dict[str, SourceCount] = {}
    rollouts: int = 0
    calls: int = 0
    """Requests to the policies; 0 in runs sealed before they were counted."""
    tokens: dict[str, int] = {}
    """Tokens generated, by what they were for: `filter`, `propose`, `monte_carlo`, `omegaprm`, `judge`."""
    seconds: float = 0.0
    """Time that the shards were worked on, all sessions together, loading of the policy included."""
    budget: BudgetReport = BudgetReport()
    plan: PlanReport | None = None
    """Null where nothing was planned."""
    trust: Trust | None = None
    shards: tuple[ShardEntry, ...] = ()
    versions: dict[str, str] = {}

    def digest(self) -> str:
        """Identity of the rows: sealing the same votes with the same fusion again gives it again."""
        return content_id([shard.model_dump(mode="json") for shard in self.shards])
