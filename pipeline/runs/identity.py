"""A run's identity: its settings, and the content of everything it reads (prompts, problems, local weights).

Votes under other prompts or weights must not be mixed into one dataset, so a run goes on only while its
identity is the same. A file may be moved or renamed; its content may not change. Templates are kept as whole
texts, so a run goes on even when their files are gone. Of other files the SHA-256 is kept, and computed again
only where a file's size, time or inode has changed.
"""

import hashlib
import logging
import os
import time
from collections.abc import Collection, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from pipeline.policies.opening import PREPARED
from pipeline.prompts.templates import prompt_text
from pipeline.storage.far_folders import local_folder
from pipeline.storage.folders import LATER
from pipeline.storage.recorded import (
    changed,
    has_drawn,
    has_finished,
    is_begun,
    read_config,
    read_record,
    write_record,
    wrong_fields,
)
from schemas.config import (
    AnyAnnotator,
    JudgeConfig,
    PolicyConfig,
    PrmConfig,
    ProblemsConfig,
    PythonConfig,
    RunConfig,
    VerifyConfig,
)
from schemas.config.effects import differing
from schemas.errors import UserError
from schemas.factories import factory_file
from schemas.records import Record
from schemas.sources import Source, Sources

log = logging.getLogger(__name__)
PROBLEMS = "problems.path"
_WEIGHTS = frozenset({".json", ".safetensors", ".bin", ".model", ".txt", ".jinja"})
"""Weights, tokenizer, chat template and their settings: what decides which tokens a folder's model writes."""
# A file changed less than this ago may change again without its time changing: the clocks of file systems
# tick as slowly as every 2 s (FAT). So its digest is not kept, and is computed again next time.
_SETTLED_S = 2.0
_EARLIER = "begun by an earlier version: its contents were recorded when it was reopened, and not compared"


class Input(Record):
    """One thing that a run reads."""

    name: str
    """As the run file has it."""
    digest: str = ""
    """SHA-256 of the content; empty where only the name is known: a model of a server or of the Hub."""
    text: str = ""
    """The content itself, of a template."""

    def is_same(self, other: "Input") -> bool:
        """Whether the contents are equal; where one is not known, whether the names are."""
        if self.digest and other.digest:
            return self.digest == other.digest
        return self.name == other.name


class Identity(Record):
    """A run's inputs by their role, and how its problems were last read (`identity.json`)."""

    inputs: dict[str, Input] = {}
    read: ProblemsConfig | None = None
    """The problems' section as it was when they were last read; None before that."""
    note: str = ""
    sources: dict[str, Source] = {}
    """What is declared of every source that votes in the run; empty until something voted, and in runs from
    before declarations were kept."""


def recorded(path: Path) -> Identity | None:
    """The identity in a run's folder; None where there is none. UserError when its file was changed."""
    file = path / "identity.json"
    if not file.is_file():
        return None
    try:
        return Identity.model_validate(read_record(file, path))
    except ValidationError as error:
        raise UserError(changed(file, path, wrong_fields(error))) from None


def record(path: Path, identity: Identity) -> None:
    """Write a run's identity, if the folder does not hold the same one already."""
    if recorded(path) != identity:
        write_record(path / "identity.json", identity.model_dump(mode="json"))


def declare(path: Path, sources: Sources) -> None:
    """Record the declarations of a run's sources. UserError where finished problems have votes by other ones:
    they would be read as evidence of something else."""
    known = recorded(path) or Identity()
    for name in sorted({*known.sources, *sources}) if known.sources and has_finished(path) else ():
        before, now = (found.get(name) for found in (known.sources, sources))
        if before != now:
            said = [repr(one.model_dump()) if one else "undeclared" for one in (before, now)]
            raise UserError(
                f"run {path.name!r} in {path} was started with source {name!r} as {said[0]}, not {said[1]}: "
                "change it back, choose another name, or delete the folder"
            )
    record(path, known.model_copy(update={"sources": dict(sources)}))


def enter(path: Path, config: RunConfig) -> tuple[RunConfig, Identity]:
    """The configuration that a run begins or goes on with, and its identity. While nothing has been sampled,
    a run may begin again with another configuration. UserError where the two do not fit."""
    if is_begun(path):
        try:
            return admit(path, read_config(path), config)
        except UserError:
            # Nothing was paid for under the old configuration, so its name is not taken by it: a first try
            # with a misspelt setting should not need another name.
            if has_drawn(path):
                raise
            (path / "problems" / "done.json").unlink(missing_ok=True)
    return config, Identity(inputs=inputs_of(config, path, {}))


def admit(path: Path, before: RunConfig, config: RunConfig) -> tuple[RunConfig, Identity]:
    """The configuration to go on with, and the run's identity, which it may complete.

    A judge's prompt keeps the name it began with: the name of a source of votes. UserError names all that
    differs.
    """
    known = recorded(path)
    started = known.inputs if known else _began_with(path, before)
    now = inputs_of(config, path, started)
    # Whoever brings an annotator mends it once or twice before its first vote: until then no vote is of
    # another program, and what the policy has drawn does not depend on it.
    mended = (
        {} if has_finished(path) else {role: started[role] for role in factories(config) if role in started}
    )
    found = differences(before, config, started, {**now, **mended})
    if found:
        raise UserError(
            f"run {config.name!r} in {path} was started with {', '.join(found)}: "
            "change it back, choose another name (`stepmint label`: --out FOLDER), or delete the folder"
        )
    if known is None:
        log.warning("%s: %s", path, _EARLIER)
        known = Identity(note=_EARLIER, read=before.problems)
    return going_on(config, known, started, now)


def going_on(
    config: RunConfig, known: Identity, old: Mapping[str, Input], new: Mapping[str, Input]
) -> tuple[RunConfig, Identity]:
    """The configuration that a run goes on with, and its identity with what it reads now: judges' prompts
    keep the names that they began with."""
    kept = {role: _kept(role, old.get(role, item), item) for role, item in new.items()}
    return _with_names(config, kept), known.model_copy(update={"inputs": {**known.inputs, **kept}})


def differences(
    before: RunConfig, after: RunConfig, old: Mapping[str, Input], new: Mapping[str, Input]
) -> list[str]:
    """Everything that differs between two runs and must not, in words: settings first, then contents."""
    return [*differing(before.settings(), after.settings()), *_contents(old, new)]


def _contents(old: Mapping[str, Input], new: Mapping[str, Input]) -> Iterator[str]:
    # Problems are compared one by one (`posing`), because they may grow.
    for role in sorted({*old, *new} - {PROBLEMS}):
        a, b = old.get(role), new.get(role)
        if a is None or b is None:
            yield f"{role}={a.name if a else None!r}, not {b.name if b else None!r}"
        elif not a.is_same(b) and not (a.digest and b.digest):
            yield f"{role}={a.name!r}, not {b.name!r}"
        elif not a.is_same(b):
            last = role.rpartition(".")[2]
            what = (
                "prompt template"
                if a.text
                else last
                if last in ("model", "factory", "lora", "checkpoint")
                else "verifier"
            )
            digests = f"digest {a.digest[:12]} then, {b.digest[:12]} now"
            if a.name == b.name:
                yield f"{what} {a.name}: its {'text' if a.text else 'files'} changed ({digests})"
            else:
                yield f"{what} {a.name}, not {b.name} ({digests})"


def inputs_of(config: RunConfig, path: Path, known: Mapping[str, Input]) -> dict[str, Input]:
    """The templates, models and outsiders' modules of a configuration, with their content as it is now.

    A template whose file is gone is the one of that name among the `known`. UserError where there is none.
    """
    digests = Digests(path)
    found = {role: _template(name, known.get(role)) for role, name in template_names(config).items()}
    for section, policy in config.policies().items():
        if policy.kind == "python":
            digest = digests.of_factory(policy.factory)
            found[f"{section}.factory"] = Input(name=policy.factory, digest=digest)
        elif policy.kind != "simulated":
            found[f"{section}.model"] = Input(name=policy.model, digest=digests.of_model(policy))
        if policy.kind == "vllm" and policy.lora:
            found[f"{section}.lora"] = Input(name=policy.lora, digest=digests.of_folder(Path(policy.lora)))
    for one in config.annotators(PrmConfig):
        digest = digests.of_folder(local_folder(one.checkpoint), but=LATER)
        found[f"{one.section}.checkpoint"] = Input(name=one.checkpoint, digest=digest)
    for role, name in factories(config).items():
        found[role] = Input(name=name, digest=digests.of_factory(name))
    digests.save()
    return found


def template_names(config: RunConfig) -> dict[str, str]:
    """Every prompt template of a configuration by its role."""
    found = {"prompt.template": config.prompt.template}
    for judge in config.annotators(JudgeConfig):
        found |= {f"{judge.section}.prompts.{i}": name for i, name in enumerate(judge.prompts)}
        found |= {f"{judge.section}.meta": judge.meta} if judge.meta is not None else {}
    return found


def factories(config: RunConfig) -> dict[str, str]:
    """`package.module:function` of everything that outsiders bring to a configuration, by its role."""
    found = {f"{one.section}.factory": one.factory for one in config.annotators(PythonConfig)}
    for one in config.annotators(VerifyConfig):
        brought = [name for name in one.verifiers if ":" in name]
        found |= {f"{one.section}.verifiers.{name}": name for name in brought}
    return found


def texts(identity: Identity | None) -> dict[str, str]:
    """The text of every template by its name."""
    return {item.name: item.text for item in (identity.inputs if identity else {}).values() if item.text}


def files_input(name: str, given: list[Path], path: Path) -> Input:
    """Problems as an input, by the content of the files they are read from."""
    digests = Digests(path)
    found = [digests.of(file) for place in given for file in _files_in(place)]
    digests.save()
    digest = (
        found[0] if len(found) == 1 else hashlib.sha256("".join(found).encode()).hexdigest() if found else ""
    )
    return Input(name=name, digest=digest)


def _files_in(place: Path) -> list[Path]:
    """A file itself, or the files of a saved dataset's folder."""
    return sorted(file for file in place.rglob("*") if file.is_file()) if place.is_dir() else [place]


class Digests:
    """SHA-256 of files, cached in the run's folder by path, size, time and inode: a hundred gigabytes of
    weights are read once on each machine, and not at every start."""

    def __init__(self, path: Path) -> None:
        self._file = path / "digests.json"
        self._known = self._load()
        self._new: dict[str, Any] = {}

    def _load(self) -> dict[str, Any]:
        try:
            return read_record(self._file, self._file.parent)
        except UserError:  # only a cache: what is lost of it is computed again
            return {}

    def of(self, file: Path) -> str:
        """The digest of a file's bytes."""
        about = file.stat()
        key, stamp = str(file.resolve()), [about.st_size, about.st_mtime_ns, about.st_ino]
        # The cache holds what a file of JSON held: anything but a list of three numbers and a text is
        # ignored.
        match self._known.get(key):
            case [*before, str(digest)] if before == stamp:
                return digest
        with file.open("rb") as data:
            digest = hashlib.file_digest(data, "sha256").hexdigest()
        if time.time() - about.st_mtime > _SETTLED_S:
            self._new[key] = [*stamp, digest]
        return digest

    def of_factory(self, name: str) -> str:
        """The digest of the file that a factory stands in, and of the factory's name in it."""
        file = factory_file(name)
        if file is None:
            return ""
        return hashlib.sha256(f"{self.of(file)}:{name.partition(':')[2]}".encode()).hexdigest()

    def of_model(self, policy: PolicyConfig) -> str:
        """The digest of a local model's folder; empty for what is not a folder here."""
        folder = PREPARED.get(policy.model, Path(policy.model))
        return "" if policy.kind == "server" else self.of_folder(folder)

    def of_folder(self, folder: Path, *, but: Collection[str] = ()) -> str:
        """The digest of the weights and settings in a folder, `but` for some files; empty where there is
        none."""
        if not folder.is_dir():
            return ""
        files = sorted(
            f for f in folder.iterdir() if f.suffix in _WEIGHTS and f.is_file() and f.name not in but
        )
        whole = hashlib.sha256()
        with ThreadPoolExecutor() as pool:  # hashing releases the interpreter's lock, so threads help
            for file, digest in zip(files, pool.map(self.of, files), strict=True):
                whole.update(f"{file.name}:{digest}\n".encode("utf-8", "surrogateescape"))
        return whole.hexdigest() if files else ""

    def save(self) -> None:
        """Write the new digests to the run's folder, where it exists and may be written."""
        if self._new and self._file.parent.is_dir() and os.access(self._file.parent, os.W_OK):
            self._known |= self._new
            write_record(self._file, self._known)


def _began_with(path: Path, before: RunConfig) -> dict[str, Input]:
    """The inputs of a run that recorded only names: as they are now, where they are still there."""
    names = {role: Input(name=name) for role, name in template_names(before).items()}
    return inputs_of(before, path, names)


def _template(name: str, known: Input | None) -> Input:
    try:
        text = prompt_text(name)
    except UserError:
        if known is None or known.name != name:
            raise
        return known
    return Input(name=name, digest=hashlib.sha256(text.encode()).hexdigest(), text=text)


def _kept(role: str, old: Input, new: Input) -> Input:
    """An input as it is recorded from now on. Where its content cannot be read any more, the old digest
    stays; a judge's prompt keeps its old name, which is part of its source."""
    if not new.digest:
        return old
    is_judges = ".prompts." in role or role.endswith(".meta")
    return new.model_copy(update={"name": old.name}) if is_judges else new


def _with_names(config: RunConfig, inputs: Mapping[str, Input]) -> RunConfig:
    def named(one: AnyAnnotator) -> AnyAnnotator:
        if not isinstance(one, JudgeConfig):
            return one
        names = tuple(inputs[f"{one.section}.prompts.{i}"].name for i in range(len(one.prompts)))
        meta = inputs[f"{one.section}.meta"].name if one.meta is not None else None
        return one.model_copy(update={"prompts": names, "meta": meta})

    return config.model_copy(update={"annotate": tuple(map(named, config.annotate))})
