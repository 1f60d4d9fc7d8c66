"""Publish the runs of a series, its nights, into one dataset of the Hub. No night changes another's files.

A night is one commit: its files, its manifest with the trust that its labels were made by, the list of all
nights, and the card. Its tag comes last, when the Hub is seen to have every file. After a kill, a lost answer
or somebody else's commit in between, the same call does what is missing.
"""

import time
from collections.abc import Callable, Iterator, Sequence, Set
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import ValidationError

from pipeline.outputs.hub import asked
from pipeline.outputs.publish import (
    NIGHTS,
    ROW,
    SIMULATED,
    files_of,
    front_matter,
    licence_lines,
    licences_of,
    link,
)
from pipeline.runs.run_store import RunStore
from pipeline.runs.series import SealedNight, night_of
from pipeline.storage.atomic import fresh_folder
from pipeline.storage.checksums import sha256_of
from pipeline.storage.generations import MANIFEST, read_manifest, sealed_manifest
from schemas.config import SimulatedConfig
from schemas.errors import BackendError, UserError
from schemas.series import Night, NightList
from schemas.text import as_code, in_markdown

_LARGEST_LIST = 1 << 24
"""Bytes of a list that is read: that of ten thousand nights has a tenth."""
_WAITS = (0.0, 0.1, 0.5, 2.0, 5.0, 10.0, 20.0)
"""Seconds before each try to add a night. Another try is due when somebody else's commit came first."""
_SHOWN = 30
"""Nights that the card lists, and licences that are kept of each night."""
_AT_ONCE = 500
"""Files that the Hub is asked about in one request."""


class Published(NamedTuple):
    """Where the dataset is, and the nights that were added to it."""

    address: str
    nights: list[str]


def publish_nights(look: Callable[[], Sequence[SealedNight]], series: str, repo_id: str) -> Published:
    """Add those sealed runs of a series to its dataset that it does not have; made, as a private one, where
    there is none. `look` finds the runs.

    UserError for a refused token and a dataset of something else; after the others were added, for a night
    that the dataset has with other rows, or whose problems another night has. BackendError for a silent Hub.
    """
    from huggingface_hub import HfApi

    api = HfApi()
    made = asked(lambda: api.create_repo(repo_id, repo_type="dataset", private=True, exist_ok=True))
    dataset, added = Dataset(api, made.repo_id, series), list[str]()
    while (refused := _add_missing(dataset, look, added)) is None:
        pass  # another program has added a night, which may have problems of ours
    if refused:
        raise UserError(f"{repo_id}: {'; '.join(refused)}")
    return Published(str(made), added)


def _add_missing(
    dataset: "Dataset", look: Callable[[], Sequence[SealedNight]], added: list[str]
) -> list[str] | None:
    """Add the nights that a dataset lacks, and name them; returns what is wrong with those that it cannot
    take. None where another program has added a night meanwhile, and all is to be compared anew."""
    before, refused = dataset.state(), list[str]()
    # Looked for afterwards: a night is sealed before it is published, so the listed ones are among them.
    nights, listed = look(), set(before.listed.nights)
    known = [night for night in nights if night.name in listed]
    for night in known:
        if (there := before.listed.nights[night.name].digest) != night.digest:
            refused.append(
                f"a published night never changes, but {night.where} has rows {night.digest}, the dataset "
                f"{there}: seal the run as it was, or set series.dataset to another name"
            )
        elif night.name not in before.tags:
            if not dataset.add(night, listed):
                return None
            added.append(night.name)
    for night in nights:
        if night in known:
            continue
        if twice := _labelled_twice(night, known):
            refused.append(twice)
            continue
        if not dataset.add(night, listed):
            return None
        added.append(night.name)
        listed.add(night.name)
        known.append(night)
    return refused


def _labelled_twice(night: SealedNight, others: Sequence[SealedNight]) -> str:
    """What is wrong where others have problems of a run, too: the dataset would have their rows twice."""
    mine = night.finished() if others else set[str]()
    for other in others:
        if n := len(mine & other.finished()):
            return (
                f"{night.where} has {n} problems that {other.where} has published: remove the folder of the "
                "first; the next fire labels what only that had"
            )
    return ""


class State(NamedTuple):
    """What a dataset has at some moment."""

    head: str
    listed: NightList
    tags: dict[str, str]
    """Commits by their tags."""


@dataclass(frozen=True)
class Dataset:
    """The dataset of a series on the Hub."""

    api: Any
    repo_id: str
    series: str

    def state(self) -> State:
        """The newest commit, the nights that it lists, and all tags."""
        head: str = asked(lambda: self.api.repo_info(self.repo_id, repo_type="dataset")).sha
        refs = asked(lambda: self.api.list_repo_refs(self.repo_id, repo_type="dataset"))
        return State(head, self.listed(head), {tag.name: tag.target_commit for tag in refs.tags})

    def listed(self, revision: str) -> NightList:
        """The nights that a revision lists. UserError where it holds something else."""
        found = {item.path: item for item in self._about(["manifest.json", "data", ".gitignore"], revision)}
        if ".gitignore" in found:
            # The client leaves out what it names, and says nothing.
            raise UserError(f"{self.repo_id}: has a .gitignore, which may keep files out: remove it there")
        if "manifest.json" not in found:
            if "data" in found:
                raise UserError(self._not_ours("it has files in data/, and no manifest.json"))
            return NightList(series=self.series)
        if found["manifest.json"].size > _LARGEST_LIST:
            raise UserError(self._not_ours("its manifest.json is too large"))
        try:
            listed = NightList.model_validate_json(asked(lambda: self._read("manifest.json", revision)))
        except ValidationError:
            raise UserError(self._not_ours("its manifest.json lists no nights")) from None
        if listed.series != self.series:
            raise UserError(self._not_ours(f"it belongs to the series {listed.series!r}"))
        return listed

    def add(self, sealed: SealedNight, beside: Set[str]) -> bool:
        """Commit and tag a night, as far as that is not done. False, and nothing is done, where others than
        those `beside` it are listed by now."""
        name = sealed.name
        with sealed.opened(True) as run, _staged(run) as staged:
            for wait in _WAITS:
                time.sleep(wait)
                state = self.state()
                if state.listed.nights.keys() - beside - {name}:
                    return False
                night, commit = state.listed.nights.get(name), state.tags.get(name)
                if night is None and commit is not None:
                    raise UserError(
                        f"{self.repo_id}: the tag {name} is there, but no such night: remove the tag"
                    )
                if night is not None and night.digest != staged.night.digest:
                    raise UserError(f"{self.repo_id}: the night {name} was just published with other rows")
                if night is None:
                    night, commit = staged.night, self._commit(staged, state)
                elif commit is None:
                    commit = self._commit_of(name, night, state)
                if commit is not None:
                    # Where its own commit lacks a file, somebody may have added it since.
                    self._tag(name, night, (commit, state.head))
                    return True
        raise BackendError(f"{self.repo_id}: others kept changing it; the same command adds {name}")

    def _commit(self, staged: "Staged", state: State) -> str | None:
        """Add a night to the newest commit; None where that is not the newest any more."""
        from huggingface_hub import CommitOperationAdd
        from huggingface_hub.errors import HfHubHTTPError

        listed = state.listed.with_night(staged.name, staged.night)
        if {night.schema_version for night in listed.nights.values()} != {staged.night.schema_version}:
            raise UserError(
                f"{self.repo_id}: its rows have other columns than those of this version of Stepmint (schema "
                f"{staged.night.schema_version}): set series.dataset to another name"
            )
        texts = {"manifest.json": listed.model_dump_json(indent=1), "README.md": series_card(listed)}
        files: dict[str, Path | bytes] = {**staged.files}
        files |= {to: text.encode() for to, text in texts.items()}
        operations = [CommitOperationAdd(path_in_repo=to, path_or_fileobj=one) for to, one in files.items()]

        def ask() -> str | None:
            try:
                done = self.api.create_commit(
                    self.repo_id,
                    operations,
                    commit_message=_title(staged.name, staged.night),
                    repo_type="dataset",
                    parent_commit=state.head,
                )
            except HfHubHTTPError as error:
                if error.response.status_code in (409, 412):
                    return None
                raise
            return str(done.oid)

        return asked(ask)

    def _commit_of(self, name: str, night: Night, state: State) -> str:
        """The commit that added a listed night; the newest one where the history was rewritten."""
        found = asked(lambda: self.api.list_repo_commits(self.repo_id, repo_type="dataset"))
        title = _title(name, night)
        return next((str(one.commit_id) for one in found if one.title == title), state.head)

    def _tag(self, name: str, night: Night, commits: Sequence[str]) -> None:
        """Tag the first commit that holds all files of a night. A tag that is there must be of that night."""
        from huggingface_hub.errors import HfHubHTTPError

        whole = (commit for commit in commits if not self._missing(commit, night))
        if (commit := next(whole, None)) is None:
            raise UserError(
                f"{self.repo_id}: the Hub does not have {self._missing(commits[0], night)} as it was sent: "
                f"upload the file by hand, and the next fire gives the night its tag {name}"
            )

        def ask() -> bool:
            try:
                self.api.create_tag(self.repo_id, tag=name, revision=commit, repo_type="dataset")
            except HfHubHTTPError as error:
                if error.response.status_code == 409:
                    return False
                raise
            return True

        if not asked(ask):
            tagged = self.listed(name).nights.get(name)
            if tagged is None or tagged.digest != night.digest:
                raise UserError(f"{self.repo_id}: the tag {name} is of something else: remove it")

    def _missing(self, commit: str, night: Night) -> str:
        """A file of a night that a commit does not hold as it is; empty where it holds all."""
        paths = list(night.files)
        groups = (paths[at : at + _AT_ONCE] for at in range(0, len(paths), _AT_ONCE))
        found = {item.path: item for group in groups for item in self._about(group, commit)}
        for path, sha256 in night.files.items():
            # Large files are known by their checksum; the Hub keeps none of others.
            there = found.get(path)
            if there is None or (there.lfs and there.lfs.sha256 != sha256):
                return path
        return ""

    def _about(self, paths: list[str], revision: str) -> list[Any]:
        """Those of some files and folders that a revision has."""
        return list(
            asked(
                lambda: self.api.get_paths_info(self.repo_id, paths, revision=revision, repo_type="dataset")
            )
        )

    def _read(self, path: str, revision: str) -> bytes:
        from huggingface_hub import get_session
        from huggingface_hub.utils import build_hf_headers, hf_raise_for_status  # type: ignore[attr-defined]

        # Not `hf_hub_download`: of a Hub that is silent it says that the file is not in its cache.
        url = f"{self.api.endpoint}/datasets/{self.repo_id}/resolve/{revision}/{path}"
        answer = get_session().get(url, headers=build_hf_headers())
        hf_raise_for_status(answer)
        return bytes(answer.content)

    def _not_ours(self, why: str) -> str:
        return f"{self.repo_id} is no dataset of this series ({why}): set series.dataset to another name"


class Staged(NamedTuple):
    """A night that is ready to be sent."""

    name: str
    night: Night
    files: dict[str, Path]
    """Everything but list and card, by the path in the dataset."""


@contextmanager
def _staged(run: RunStore) -> Iterator[Staged]:
    """A night's files under second names, so that a sealing meanwhile does not remove them."""
    manifest, name = sealed_manifest(run.path), night_of(run.config)
    with fresh_folder() as scratch:
        files, sums = dict[str, Path](), dict[str, str]()
        for subset, paths in files_of(run, manifest).items():
            for path in paths:
                to = f"data/{subset}/{name}-{path.name}"
                files[to] = scratch / f"{subset}-{path.name}"
                link(path, files[to])
                sums[to] = sha256_of(path)
        link(run.path / MANIFEST, scratch / MANIFEST)
        files[f"{NIGHTS}/{name}.json"] = scratch / MANIFEST
        # Its shards would then be of one version, and its manifest of another.
        if read_manifest(run.path) != manifest:
            raise UserError(f"{run.path}: was sealed anew meanwhile: give the same command again")
        counts = {key: getattr(manifest, key) for key in ("problems", "solutions", "steps", "labelled_steps")}
        policy = run.config.policy
        night = Night(
            digest=manifest.digest(),
            schema_version=manifest.schema_version,
            policy=SIMULATED if isinstance(policy, SimulatedConfig) else f"{policy.model} ({policy.kind})",
            licences=tuple(licences_of(run)[:_SHOWN]),
            files=sums,
            **counts,
        )
        yield Staged(name, night, files)


def _title(name: str, night: Night) -> str:
    return f"Add {name} ({night.digest})"


def series_card(listed: NightList) -> str:
    """The README of a series' dataset."""
    nights = listed.nights.values()
    subsets = sorted({path.split("/")[1] for night in nights for path in night.files}, reverse=True)
    globs = {name: f"data/{name}/*.parquet" for name in subsets}
    shown = list(listed.nights.items())[-_SHOWN:]
    policies = sorted({night.policy for night in nights})
    lines = [
        *front_matter(listed.series, listed.rows, globs),
        f"{listed.rows} solutions of {sum(night.problems for night in nights)} problems, from "
        f"{len(nights)} runs of a series. A run's name is a tag, and the beginning of its files' names.",
        "",
        "    load_dataset(NAME)  # all runs",
        f'    load_dataset(NAME, revision="{shown[-1][0]}")  # all runs up to that one',
        f'    load_dataset(NAME, data_files="data/steps/{shown[-1][0]}-*.parquet")  # that run alone',
        "",
        "| run | problems | solutions | labelled steps | rows |",
        "| --- | ---: | ---: | ---: | --- |",
        *(
            f"| {in_markdown(name)} | {one.problems} | {one.solutions} | {one.labelled_steps} of {one.steps} "
            f"| {as_code(one.digest)} |"
            for name, one in reversed(shown)
        ),
        *([f"| and {len(nights) - len(shown)} before | | | | |"] if len(nights) > len(shown) else []),
        "",
        f"Solutions and rollouts: {', '.join(map(in_markdown, policies))}. Labels are fused in each run by "
        f"the trust that was fitted to it, which `{NIGHTS}/RUN.json` holds; they never change.",
        "",
        ROW,
        "",
        *licence_lines(sorted(set(chain.from_iterable(night.licences for night in nights)))),
    ]
    return "\n".join(lines) + "\n"
