"""Put a dataset or a PRM on the Hub, so that a reader who pins the tag never sees half a version.

Shards go first, in as many commits as the Hub's client likes; card and manifest follow in one commit that
refuses a repository which moved meanwhile; the tag comes last.
"""

import json
import os
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from pipeline.outputs.hub import asked
from pipeline.runs.run_store import RunStore
from pipeline.storage import packing
from pipeline.storage.atomic import fresh_folder
from pipeline.storage.folders import LISTED
from pipeline.storage.generations import read_manifest, sealed_manifest, shards_of
from schemas.config import PolicyConfig, SimulatedConfig
from schemas.errors import UserError
from schemas.manifest import Manifest
from schemas.text import as_code, in_markdown, one_line

SIMULATED = "a simulated policy, which is no language model"
ROW = (
    "A row is one solution: the problem, its steps, per step a label (1 right, 0 the first error, null "
    "not decided), the probability that it and all steps before it are right, who decided and why, and every "
    "vote, so that the labels can be computed again. Steps are counted from 0; "
    "`first_error` is -1 when all are right."
)
# A card is read by people; a corpus may name a licence for each of its thousand sources.
_MOST_LICENCES = 50
NIGHTS = "nights"
"""The folder of a series' dataset that holds the manifests of its runs (`pipeline.outputs.nights`)."""
# The Hub's own classes of size, by which its search filters.
_SIZES = ((1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (1_000_000, "100K<n<1M"))


def publish_run(store: RunStore, repo_id: str, *, private: bool) -> str:
    """Upload a sealed run as a dataset; returns its address.

    UserError for an open run, a refused token or a repository that moved; BackendError for a silent Hub.
    """
    manifest = sealed_manifest(store.path)
    with fresh_folder() as scratch:
        stage_data(store, manifest, scratch)
        card = dataset_card(store, manifest, subsets_of(store, manifest)).encode()
        sealed = (store.path / "manifest.json").read_bytes()
        # Someone sealed the run while its shards were staged: card and shards would be of two versions.
        if read_manifest(store.path) != manifest:
            raise UserError(f"{store.path}: was sealed anew meanwhile: give the same command again")
        files = {"README.md": card, "manifest.json": sealed}
        tag = f"v-{manifest.digest()}"
        return asked(lambda: _upload(scratch, repo_id, "dataset", files, tag=tag, private=private))


def publish_checkpoint(folder: Path, repo_id: str, *, private: bool) -> str:
    """Upload a PRM as a model; returns its address. Errors as in `publish_run`."""
    card = read_card(folder)
    files = {"README.md": model_card(card, repo_id).encode()}
    tag = f"v-{card.get('dataset_digest') or 'unknown'}"
    return asked(lambda: _upload(folder, repo_id, "model", files, tag=tag, private=private))


def read_card(folder: Path) -> dict[str, Any]:
    """What `prm.json` says of a checkpoint. UserError where it is none."""
    try:
        card = json.loads((folder / "prm.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(f"{folder}: not a checkpoint of `stepmint train`: {error}") from None
    if not isinstance(card, dict):
        raise UserError(f"{folder}: not a checkpoint of `stepmint train`: prm.json holds no object")
    return card


def stage_data(store: RunStore, manifest: Manifest, folder: Path) -> None:
    """Lay the Parquet files out as the Hub likes them."""
    for name, paths in files_of(store, manifest).items():
        (folder / "data" / name).mkdir(parents=True)
        for index, path in enumerate(paths):
            link(path, folder / "data" / name / f"train-{index:05d}-of-{len(paths):05d}.parquet")


def subsets_of(store: RunStore, manifest: Manifest) -> dict[str, str]:
    """Subset -> glob of its files in the repository."""
    return {name: f"data/{name}/train-*.parquet" for name in files_of(store, manifest)}


def _in_words(policy: PolicyConfig) -> str:
    """The policy in words. A simulated one has no model, and says so: nobody should take its texts for a
    model's."""
    if isinstance(policy, SimulatedConfig):
        return SIMULATED
    return f"{as_code(policy.model)} ({policy.kind})"


def files_of(store: RunStore, manifest: Manifest) -> dict[str, list[Path]]:
    """Subset -> its Parquet files. UserError for one that is not as it was written."""
    steps = shards_of(store.path, manifest)
    rollouts = [store.path / name for name in packing.checksums(store.path, store.config.shards)]
    return {"steps": steps, **({"rollouts": rollouts} if rollouts else {})}


def front_matter(name: str, rows: int, subsets: dict[str, str]) -> list[str]:
    """The beginning of a dataset's README, which the Hub reads. `subsets` are globs of files by name."""
    lines = [
        "---",
        "pretty_name: " + json.dumps(one_line(name), ensure_ascii=False),
        f"size_categories: [{_size(rows)}]",
        "language: [en]",
        "tags: [process-reward-model, prm, step-labels, reasoning, synthetic]",
        "configs:",
    ]
    for subset, glob in subsets.items():
        # `load_dataset(NAME)` must give the labels and not the rollouts.
        default = ["  default: true"] if subset == "steps" else []
        files = ["  data_files:", "  - split: train", f"    path: {glob}"]
        lines += [f"- config_name: {subset}", *default, *files]
    return [*lines, "---", "", f"# {in_markdown(name)}", ""]


def dataset_card(store: RunStore, manifest: Manifest, subsets: dict[str, str]) -> str:
    """The README of the dataset: front matter for the Hub, then what the manifest says."""
    lines = [*front_matter(manifest.name, manifest.solutions, subsets), _what(manifest), ""]
    lines += ["| source of votes | votes | abstained |", "| --- | ---: | ---: |"]
    lines += [
        f"| {as_code(name)} | {c.votes} | {c.abstained} |" for name, c in sorted(manifest.sources.items())
    ]
    prompt, policy = store.config.prompt, store.config.policy
    lines += [
        "",
        f"Solutions and rollouts: {_in_words(policy)}, temperature {prompt.temperature}, "
        f"{manifest.rollouts} completions, {sum(manifest.tokens.values())} tokens."
        if manifest.rollouts
        else "The solutions were there before; no model wrote any for this dataset.",
        "",
        ROW,
        "",
        *licence_lines(licences_of(store)),
        f"Sealed {in_markdown(manifest.sealed_at)} by stepmint {in_markdown(manifest.stepmint)}; "
        f"configuration {as_code(manifest.config_digest)}, fusion {as_code(manifest.fusion_digest)}, rows "
        f"{as_code(manifest.digest())}.",
    ]
    return "\n".join(lines) + "\n"


def model_card(card: dict[str, Any], repo_id: str) -> str:
    """The README of a PRM: how its scores are read."""
    names = ("base_model", "targets", "label_kind", "dataset_digest")
    said = {name: as_code(str(card.get(name) or "unknown")) for name in names}
    return (
        "---\nlibrary_name: transformers\npipeline_tag: token-classification\n"
        "tags: [process-reward-model, prm, reasoning]\n---\n\n"
        f"# {in_markdown(repo_id.split('/')[-1])}\n\n"
        "A process reward model: at the token that closes a step, label 1 says that the step is right. "
        "`prm.json` holds the text before the first step, that token's id and the calibration; `score.py` "
        "scores steps with them, in plain transformers.\n\n"
        f"Base model {said['base_model']}, {said['targets']} targets, labels {said['label_kind']}, "
        f"dataset {said['dataset_digest']}.\n"
    )


def _upload(
    folder: Path, repo_id: str, kind: str, files: dict[str, bytes], *, tag: str, private: bool
) -> str:
    from huggingface_hub import CommitOperationAdd, HfApi

    api = HfApi()
    repo = api.create_repo(repo_id, repo_type=kind, private=private, exist_ok=True)
    if kind == "dataset" and api.get_paths_info(repo.repo_id, [NIGHTS], repo_type=kind):
        raise UserError(
            f"{repo_id} is the dataset of a series, and publishing a run would remove the others from it: "
            "name another dataset, or let `stepmint deploy` add the run"
        )
    # A folder with fewer shards than last time must not leave the old ones behind.
    stale = "data/**" if kind == "dataset" else None
    api.upload_folder(
        repo_id=repo.repo_id,
        folder_path=folder,
        repo_type=kind,
        ignore_patterns=["README.md", LISTED],
        delete_patterns=stale,
        commit_message=f"Upload {tag}",
    )
    # The second commit names the first as its parent: if another upload came between, the Hub refuses it with
    # 412.
    head = api.repo_info(repo.repo_id, repo_type=kind).sha
    operations = [CommitOperationAdd(path_in_repo=name, path_or_fileobj=data) for name, data in files.items()]
    done = api.create_commit(
        repo.repo_id, operations, commit_message=f"Seal {tag}", repo_type=kind, parent_commit=head
    )
    api.create_tag(repo.repo_id, tag=tag, revision=done.oid, repo_type=kind, exist_ok=True)
    return str(repo)


def link(path: Path, target: Path) -> None:
    """A second name for a file; a copy where the file system has no links, or the folder lies on another."""
    try:
        os.link(path, target)
    except OSError:
        shutil.copyfile(path, target)


def _what(manifest: Manifest) -> str:
    owed = f" {manifest.owed} more problems of the run are not in it yet." if manifest.owed else ""
    kept = f"; {manifest.kept} rows pass the consensus filter" if manifest.dropped else ""
    return (
        f"{manifest.solutions} solutions of {manifest.problems} problems, {manifest.labelled_steps} of "
        f"{manifest.steps} steps labelled{kept}.{owed}"
    )


Licence = tuple[str, str]
"""A licence, and the dataset that it is of."""


def licences_of(store: RunStore) -> list[Licence]:
    """The licences of a run's problems."""
    return sorted(set(_licensed(store)))


def licence_lines(licences: Sequence[Licence]) -> list[str]:
    """The paragraph of a card that names them."""
    named = [f"{in_markdown(licence)} ({in_markdown(data)})" for licence, data in licences[:_MOST_LICENCES]]
    more = len(licences) - len(named)
    named += [f"and {more} more"] if more else []
    return ["Licences of the problems: " + "; ".join(named) + ".", ""] if named else []


def _licensed(store: RunStore) -> Iterator[tuple[str, str]]:
    """The licences of a run's problems with their datasets; also of those without a solution."""
    import pyarrow.compute as pc

    for shard in range(store.config.shards):
        for finished in store.tables_of(shard, store.done(shard)):
            problem = finished.column("problem").combine_chunks()
            licence = pc.struct_field(problem, "licence").to_pylist()
            dataset = pc.struct_field(problem, ["source", "dataset"]).to_pylist()
            yield from (
                (one or "not stated", of or "unnamed") for one, of in zip(licence, dataset, strict=True)
            )


def _size(rows: int) -> str:
    return next((name for limit, name in _SIZES if rows < limit), "1M<n<10M")
