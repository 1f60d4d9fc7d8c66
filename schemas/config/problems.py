"""Where problems come from."""

from typing import Literal

from pydantic import Field, model_validator

from schemas.records import Record


class ProblemsConfig(Record):
    """Where problems come from."""

    source: Literal["embedded", "jsonl", "csv", "parquet", "huggingface"] = "embedded"
    path: str | tuple[str, ...] = ""
    """A file, glob or folder, or a list of them, for `jsonl`, `csv` and `parquet`; files are read as their
    names say (.jsonl, .json, .csv, .tsv, .parquet, text also .gz) and else as `source`. A dataset name, or a
    folder of `save_to_disk`, for `huggingface`. `~` and `$STEPMINT_DATA` are expanded."""
    subset: str = ""
    split: str = "train"
    revision: str = ""
    """For `huggingface`: a branch, tag or commit. A run that grows reads the commit it began with."""
    mapping: Literal["plain", "gsm8k", "math"] = "plain"
    """How rows become problems: `plain` reads `fields`; `gsm8k` takes the answer after `####`; `math` the
    last box."""
    fields: dict[str, str] = {}
    """For `plain`: our field name -> the dataset's column, e.g. `{text = "question"}`."""
    limit: int | None = Field(None, ge=1)
    """Use only the first so many good problems. It may be raised later: the run goes on with more."""
    steps: tuple[int, int] = (3, 8)
    """For `embedded`: fewest and most steps of the reference solution."""

    @model_validator(mode="after")
    def _generated_problems_are_in_no_file(self) -> "ProblemsConfig":
        unread = [name for name in ("path", "subset", "fields", "revision") if getattr(self, name)]
        if self.source == "embedded" and (unread or self.mapping != "plain"):
            name = unread[0] if unread else "mapping"
            raise ValueError(
                f'`{name}` belongs to problems that are read: set source = "jsonl", "csv", "parquet" or '
                '"huggingface"; without it they are generated'
            )
        return self
