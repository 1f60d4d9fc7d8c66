"""Where problems come from: one class for each source, with the settings of that source only."""

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, TypeAdapter, ValidationError, model_validator
from pydantic_core import PydanticCustomError

from schemas.config.effects import Effect
from schemas.errors import UserError
from schemas.factories import FACTORY
from schemas.sections import Section

_MOST_STEPS = 12
"""A longer arithmetic problem runs out of the words that people and things are called by."""


class EmbeddedProblems(Section):
    """Problems that Stepmint generates: arithmetic and logic, whose exact truth is known."""

    source: Literal["embedded"] = "embedded"
    """`embedded`: problems are generated. This is the default where neither `path` nor `factory` is given."""
    limit: Annotated[int | None, Effect.SPEED] = Field(None, ge=1)
    """How many problems are generated; 300 when left out. It may be raised later: the run goes on with
    more."""
    steps: tuple[int, int] = (3, 8)
    """Fewest and most steps of a reference solution, from 1 to 12."""
    split: str = "train"
    """Another name generates other problems. `held-out` is used by `[evaluate]`."""

    @model_validator(mode="after")
    def _can_be_generated(self) -> "EmbeddedProblems":
        if not 1 <= self.steps[0] <= self.steps[1] <= _MOST_STEPS:
            raise ValueError(f"steps={list(self.steps)} must be [fewest, most], from 1 to {_MOST_STEPS}")
        return self


class RowsConfig(Section):
    """What all sources have in common whose rows become problems."""

    limit: Annotated[int | None, Effect.SPEED] = Field(None, ge=1)
    """Use only the first so many usable problems. It may be raised later: the run goes on with more."""
    mapping: Literal["plain", "gsm8k", "math", "humaneval", "mbpp", "tabmwp", "wikitablequestions"] = "plain"
    """Where a row holds the problem and its gold answer. `plain`: in the columns that `fields` names, else in
    the common columns (see docs/problems.md). `gsm8k`: in `question`, and after `####` in `answer`. `math`:
    in `problem`, and in the last box of `solution`. `humaneval` and `mbpp`: code problems, whose assertions
    become unit tests. `tabmwp` and `wikitablequestions`: questions about tables (see
    docs/code-and-tables.md)."""
    fields: dict[str, str] = {}
    """Our field = the column that holds it, e.g. `{text = "question", answer = "gold"}`. A dot leads into a
    nested column: `reward_model.ground_truth`. It wins over `mapping` and over the common columns."""


class FileProblems(RowsConfig):
    """Problems in files.

    [problems]
    source = "file"
    path = "data/*.jsonl"
    fields = {text = "question", answer = "gold"}
    """

    source: Literal["file"] = "file"
    """`file`: problems are read from files. This is the default where `path` is given."""
    path: str | tuple[str, ...] = ""
    """A file, a folder, a glob such as `data/*.jsonl`, or a list of these. A relative path is looked for
    beside the run file, then in the working directory. `~` and `$STEPMINT_DATA` are expanded."""
    format: Literal["jsonl", "json", "csv", "tsv", "parquet"] = "jsonl"
    """How a file is read whose name does not say it. Names that end in .jsonl, .json, .csv, .tsv or .parquet
    (text also with .gz after it) say it."""
    split: str = "train"
    """The split to read, of a folder that `datasets` wrote with `save_to_disk`; for other files only the name
    that is written into `source.split` of every problem."""


class HubProblems(RowsConfig):
    """Problems in a dataset of the Hugging Face Hub.

    [problems]
    source = "huggingface"
    path = "openai/gsm8k"
    subset = "main"
    mapping = "gsm8k"
    """

    source: Literal["huggingface"] = "huggingface"
    """`huggingface`: problems are a dataset of the Hub."""
    path: str = ""
    """The name of the dataset, such as `openai/gsm8k`, or a local folder that `save_to_disk` wrote."""
    subset: str = ""
    """The configuration of the dataset, such as `main`; the dataset's default when left out."""
    split: str = "train"
    """The split to read."""
    revision: str = ""
    """A branch, tag or commit; the newest commit when left out. A run that grows reads the commit that it
    began with."""


class PythonProblems(RowsConfig):
    """Problems from a function of your own."""

    source: Literal["python"] = "python"
    """`python`: problems come from a function. This is the default where `factory` is given."""
    factory: str = Field(pattern=FACTORY)
    """`package.module:function`. It is called with `options` and returns an iterable of rows (dictionaries)
    or of `schemas.records.Problem`. Modules of the working directory are found."""
    options: dict[str, Any] = {}
    """The keyword arguments that the function is called with."""


_CLASSES: dict[str, type[Section]] = {
    "embedded": EmbeddedProblems,
    "file": FileProblems,
    "huggingface": HubProblems,
    "python": PythonProblems,
}
_FORMERLY = ("jsonl", "csv", "parquet")
"""Sources of earlier versions: `source = "csv"` was a file, read as CSV where its name did not say how."""
_DEFAULTS: dict[str, Any] = {"path": "", "subset": "", "split": "train", "revision": "", "mapping": "plain"}
_DEFAULTS |= {"fields": {}, "steps": [3, 8]}
"""Settings that earlier versions wrote into the run.toml of every run, whatever its source was."""


_IMPLIED = {
    "embedded": "problems that are generated: `source` is missing",
    "file": "problems in files, which `path` means: `source` is missing",
    "python": "problems of a function, which `factory` means",
}
"""What a section without `source` is, in the message about a setting that does nothing there."""


def _settled(data: Any) -> Any:
    """A section with its source, as today's classes have it: the spellings and the stored runs of earlier
    versions are converted, and a setting of another source is refused."""
    if not isinstance(data, dict):
        return data
    data = dict(data)
    # Only an earlier version wrote all of these keys into one section. (`revision` came last, so some lack
    # it.) Its settings of other sources are defaults that nobody chose; written by a user, they would be
    # refused.
    if _DEFAULTS.keys() - {"revision"} <= data.keys():
        own = _settings(_source(data))
        data = {k: v for k, v in data.items() if k in own or k not in _DEFAULTS or not _is_default(k, v)}
    given = data.get("source")
    source = _source(data)
    if given in _FORMERLY:
        data.setdefault("format", given)
    data["source"] = source
    if not _settings(source):
        raise PydanticCustomError(
            "no_source",
            "source = {given} does not exist; choose {known}",
            {"given": repr(source)[:60], "known": ", ".join(_CLASSES)},
        )
    _refuse_others(data, source, is_named=given is not None)
    return data


def _source(data: dict[str, Any]) -> Any:
    """The source that a section names, or that its settings imply."""
    if (given := data.get("source")) is not None:
        return "file" if given in _FORMERLY else given
    # `path = "mine.jsonl"` without a source once labelled 300 generated problems and never read the file.
    implied = [source for source, key in (("python", "factory"), ("file", "path")) if key in data]
    return implied[0] if implied else "embedded"


def _is_default(name: str, value: Any) -> bool:
    return bool((list(value) if isinstance(value, tuple) else value) == _DEFAULTS[name])


def _settings(source: Any) -> set[str]:
    return set(_CLASSES[source].model_fields) if isinstance(source, str) and source in _CLASSES else set()


def _refuse_others(data: dict[str, Any], source: str, *, is_named: bool) -> None:
    for name in sorted(data.keys() - _settings(source)):
        if owners := [f'source = "{one}"' for one in _CLASSES if name in _settings(one)]:
            here = f'source = "{source}"' if is_named else _IMPLIED[source]
            raise PydanticCustomError(
                "other_source",
                "`{name}` belongs to {owners}, and does nothing for {here}",
                {"name": name, "here": here, "owners": " or ".join(owners)},
            )


ProblemsConfig = Annotated[
    EmbeddedProblems | FileProblems | HubProblems | PythonProblems,
    Field(discriminator="source"),
    BeforeValidator(_settled),
]
"""`[problems]` of a run file."""
_ADAPTER: TypeAdapter[ProblemsConfig] = TypeAdapter(ProblemsConfig)


def problems_config(**settings: Any) -> ProblemsConfig:
    """The section with these settings. UserError says what is wrong with them."""
    try:
        return _ADAPTER.validate_python(settings)
    except ValidationError as error:
        told = (": ".join([*map(str, e["loc"][1:]), e["msg"]]) for e in error.errors())
        raise UserError(f"[problems] {'; '.join(told)}") from None
