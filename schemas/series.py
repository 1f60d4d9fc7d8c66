"""The list of a series' nights that its dataset on the Hub keeps: what each of them holds, by checksum.

A night is a run of the series. It is called by what follows the series' name in that of its run:
`2026-11-27` of `nightly-2026-11-27`.
"""

from typing import Annotated

from pydantic import Field

from schemas.manifest import Checksum
from schemas.records import Count, Record

NIGHT = r"[A-Za-z0-9][A-Za-z0-9._-]{0,199}"
"""What a night may be called: its name is a tag of the Hub, and stands in the names of files."""
NightName = Annotated[str, Field(pattern=f"^{NIGHT}$")]
NightFile = Annotated[str, Field(pattern=r"^data/(steps|rollouts)/[A-Za-z0-9._-]+\.parquet$", max_length=300)]


class Night(Record):
    """One night of a dataset. It never changes once it is listed."""

    digest: str = Field(pattern=r"^[0-9a-f]{16}$")
    """That of its rows, as in the manifest of its run."""
    schema_version: int
    problems: Count
    solutions: Count
    """Rows of the dataset."""
    steps: Count
    labelled_steps: Count
    policy: str
    """Who solved the problems, in words."""
    licences: tuple[tuple[str, str], ...] = ()
    """Licences of the problems, each with the dataset that it is of."""
    files: dict[NightFile, Checksum]


class NightList(Record):
    """`manifest.json` of a series' dataset."""

    series: str
    nights: dict[NightName, Night] = {}

    @property
    def rows(self) -> int:
        """Rows of all nights together."""
        return sum(night.solutions for night in self.nights.values())

    def with_night(self, name: str, night: Night) -> "NightList":
        """The list with one more night, in the order of their names."""
        nights = dict(sorted({**self.nights, name: night}.items()))
        return self.model_copy(update={"nights": nights})
