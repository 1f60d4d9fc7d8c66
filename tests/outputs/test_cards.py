"""What the cards of a dataset and of a PRM say, and that hostile names stay words in them."""

from pathlib import Path

import pytest

from pipeline.outputs import publish
from pipeline.outputs.publish import dataset_card, model_card, publish_checkpoint, subsets_of
from pipeline.runs.run_store import RunStore
from pipeline.storage.generations import read_manifest
from schemas.config import TransformersConfig
from schemas.errors import UserError
from schemas.manifest import SourceCount


def test_card_front_matter_is_yaml_that_names_existing_files(sealed: RunStore) -> None:
    import yaml

    manifest = read_manifest(sealed.path)
    assert manifest is not None
    front = dataset_card(sealed, manifest, subsets_of(sealed, manifest)).split("---\n")[1]
    found = yaml.safe_load(front)
    assert found["size_categories"] == ["n<1K"]
    assert [config["config_name"] for config in found["configs"]] == ["steps"]
    assert found["configs"][0]["data_files"][0]["path"] == "data/steps/train-*.parquet"
    assert yaml.safe_load(model_card({}, "me/demo").split("---\n")[1])["library_name"] == "transformers"


def test_the_card_says_what_the_manifest_says(rolled: RunStore) -> None:
    manifest = read_manifest(rolled.path)
    assert manifest is not None
    counted = manifest.model_copy(
        update={
            "owed": 4,
            "kept": 7,
            "dropped": {"disagree_position": 2},
            "tokens": {"propose": 3, "scan": 4},
        }
    )
    card = dataset_card(rolled, counted, subsets_of(rolled, manifest))
    (source,) = manifest.sources.keys() - {"answer"}
    votes = manifest.sources[source]
    for said in (
        f"{manifest.solutions} solutions of 9 problems, {manifest.labelled_steps} of {manifest.steps} steps",
        "labelled; 7 rows pass the consensus filter. 4 more problems of the run are not in it yet.",
        f"| `{source}` | {votes.votes} | {votes.abstained} |",
        "Solutions and rollouts: a simulated policy, which is no language model, temperature 1.0, "
        f"{manifest.rollouts} completions, 7 tokens.",
        "Licences of the problems: not stated (problems.jsonl).",
        f"fusion `{manifest.fusion_digest}`, rows `{manifest.digest()}`.",
    ):
        assert said in card
    assert "consensus filter" not in dataset_card(rolled, manifest, {})
    given = dataset_card(rolled, manifest.model_copy(update={"rollouts": 0}), {})
    assert "no model wrote any for this dataset" in given
    assert "simulated policy" not in given


@pytest.mark.parametrize(
    ("rows", "size"),
    [(0, "n<1K"), (999, "n<1K"), (1000, "1K<n<10K"), (99_999, "10K<n<100K"), (999_999, "100K<n<1M"),
     (1_000_000, "1M<n<10M")],
)  # fmt: skip
def test_the_card_names_the_size_as_the_hub_does(rows: int, size: str, sealed: RunStore) -> None:
    manifest = read_manifest(sealed.path)
    assert manifest is not None
    card = dataset_card(sealed, manifest.model_copy(update={"solutions": rows}), {})
    assert f"size_categories: [{size}]\n" in card


def test_a_card_with_many_licences_stays_readable(sealed: RunStore, monkeypatch: pytest.MonkeyPatch) -> None:
    manifest = read_manifest(sealed.path)
    assert manifest is not None
    licences = [(f"L{i:02}", "d") for i in range(60)]
    monkeypatch.setattr(publish, "_licensed", lambda _: [*licences, *licences])
    card = dataset_card(sealed, manifest, {})
    assert "L00 (d); L01 (d)" in card
    assert "L49 (d); and 10 more." in card


def test_a_published_prm_says_what_it_learnt_from(checkpoint: Path) -> None:
    card = model_card(publish.read_card(checkpoint), "me/demo")
    assert "# demo\n" in card
    assert "Base model `m`, `hard` targets, labels `unknown`, dataset `abc`." in card


@pytest.mark.parametrize("content", ["", "[1]", "{", "3"])
def test_a_broken_card_is_no_checkpoint(content: str, tmp_path: Path) -> None:
    (tmp_path / "prm.json").write_text(content)
    with pytest.raises(UserError, match="not a checkpoint"):
        publish_checkpoint(tmp_path, "me/demo", private=True)


HOSTILE = "</td><script>x</script> | `a` ``b``\n---\nlicense: evil\n# [x](javascript:1) \x1b[31m\u202e *b*"


def test_hostile_names_stay_words_in_the_cards(sealed: RunStore, monkeypatch: pytest.MonkeyPatch) -> None:
    import yaml

    manifest = read_manifest(sealed.path)
    assert manifest is not None
    sources = {HOSTILE: SourceCount(votes=1)}
    hostile = manifest.model_copy(update={"name": HOSTILE, "sources": sources, "sealed_at": HOSTILE})
    monkeypatch.setattr(publish, "_licensed", lambda _: [(HOSTILE, HOSTILE)])
    config = sealed.config.model_copy(update={"policy": TransformersConfig(model=HOSTILE)})
    monkeypatch.setattr(sealed, "config", config)
    fields = dict.fromkeys(("base_model", "targets", "label_kind", "dataset_digest"), HOSTILE)
    for card in (
        dataset_card(sealed, hostile, subsets_of(sealed, manifest)),
        model_card(fields, f"me/{HOSTILE}"),
    ):
        _, front, body = card.split("---\n", 2)
        assert "license" not in yaml.safe_load(front)
        assert all(c == "\n" or c.isprintable() for c in card)
        assert "<script" not in body
        assert "](javascript" not in body
        assert sum(line.startswith("#") for line in body.splitlines()) == 1
        rows = [line for line in body.splitlines() if line.startswith("|")]
        assert all(row.count("|") == 4 for row in rows)
