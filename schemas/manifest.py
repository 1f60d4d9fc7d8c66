"""The manifest: written last, it turns a folder of shards into a dataset and says how it came about."""

from pydantic import Field

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
    """Solutions the fit looked at."""


class ShardEntry(Record):
    """One Parquet file of the dataset."""

    file: str
    rows: int
    sha256: str


class SourceCount(Record):
    """What one source of votes contributed."""

    votes: int = 0
    abstained: int = 0


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
    solutions: int
    steps: int
    labelled_steps: int
    kept: int
    """Rows the consensus filter keeps."""
    dropped: dict[str, int] = {}
    """Rows it drops, by reason."""
    sources: dict[str, SourceCount] = {}
    rollouts: int = 0
    tokens: dict[str, int] = {}
    """Tokens generated, by what they were for: `filter`, `propose`, `monte_carlo`, `omegaprm`, `judge`."""
    trust: Trust | None = None
    shards: tuple[ShardEntry, ...] = ()
    versions: dict[str, str] = {}

    def digest(self) -> str:
        """Identity of the rows: sealing the same votes with the same fusion again gives it again."""
        return content_id([shard.model_dump(mode="json") for shard in self.shards])
