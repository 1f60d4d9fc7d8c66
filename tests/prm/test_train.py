"""Training: the loss against known values, what is masked, and a model that learns just what it is told."""

import json
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from pipeline.inputs.segment import segment
from pipeline.prm.bases import open_base, open_model
from pipeline.prm.calibration import calibrate, fit_platt
from pipeline.prm.evaluate import predict
from pipeline.prm.model import PRM
from pipeline.prm.train import (
    IGNORE,
    Example,
    after_error,
    collate,
    learnable,
    prepare,
    preview,
    soft_loss,
    split,
    targets_of,
    train_prm,
)
from schemas.config import TrainConfig
from schemas.errors import UserError
from schemas.records import LabelledSolution, PolicyIdentity, Problem, Solution, StepLabel

TEMPLATE = "{problem}\n"
LABELS = [
    [1, 1, 0, None],
    [1, 1, 1, 1],
    [0, None],
    [1, 0, None],
    [1],
    [1, 1, 1, 0],
    [1, 1, 1],
    [0, None, None],
]


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A tiny random language model in a folder."""
    folder = tmp_path_factory.mktemp("base")
    special = ["<pad>", "<s>", "</s>", "<unk>"]
    vocabulary = [*special, "\n", *(f"w{i}" for i in range(40)), " "]
    core = Tokenizer(models.WordLevel({word: i for i, word in enumerate(vocabulary)}, unk_token="<unk>"))
    core.pre_tokenizer = pre_tokenizers.Split(Regex(r"\n|\s|\w+"), behavior="isolated")
    core.decoder = decoders.Fuse()
    names = dict(zip(("pad_token", "bos_token", "eos_token", "unk_token"), special, strict=True))
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=core, clean_up_tokenization_spaces=False, **names)
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(vocabulary), hidden_size=32, intermediate_size=64, num_hidden_layers=2,
        num_attention_heads=2, initializer_range=0.1, pad_token_id=0, bos_token_id=1, eos_token_id=2,
        attention_dropout=0.1,
    )  # fmt: skip
    LlamaForCausalLM(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return str(folder)


def make_row(number: int, labels: list[int | None], *, kept: bool = True, text: str = "") -> LabelledSolution:
    text = text or "\n".join(f"w{number} w{(number + 3 * i) % 40}" for i in range(len(labels)))
    problem = Problem(text=f"w{number + 20}", answer=str(number))
    return LabelledSolution(
        problem=problem,
        solution=Solution(
            problem_id=problem.id,
            text=text,
            steps=segment(text),
            policy=PolicyIdentity(kind="test", model="test"),
        ),
        labels=tuple(StepLabel(label=x, p=None if x is None else 0.1 + 0.8 * x) for x in labels),
        first_error=labels.index(0) if 0 in labels else -1,
        kept=kept,
    )


def flipped(row: LabelledSolution) -> LabelledSolution:
    labels = [None if x.label is None else 1 - x.label for x in row.labels]
    first = labels.index(0) if 0 in labels else -1
    return row.model_copy(update={"labels": tuple(StepLabel(label=x) for x in labels), "first_error": first})


def settings(base: str, **changes: Any) -> TrainConfig:
    return TrainConfig(
        **{"model": base, "epochs": 1, "batch_size": 8, "holdout": 0.0, "learning_rate": 5e-3, **changes}
    )


@pytest.mark.parametrize(("p", "loss"), [(0.9, 0.325083), (0.99, 0.469562), (0.5, 0.693147)])
def test_soft_loss_at_target_nine_tenths(p: float, loss: float) -> None:
    margin = float(np.log(p / (1 - p)))
    found = soft_loss(torch.tensor([[[0.0, margin]]]), torch.tensor([[0.9]]))
    assert found.item() == pytest.approx(loss, abs=1e-6)


def test_the_gradient_on_the_margin_is_p_less_the_target() -> None:
    logits = torch.zeros(1, 1, 2, requires_grad=True)
    soft_loss(logits, torch.tensor([[0.9]])).backward()
    assert logits.grad is not None
    assert logits.grad[0, 0].tolist() == pytest.approx([0.4, -0.4])


def test_the_loss_looks_at_labelled_steps_only_and_shares_one_denominator() -> None:
    torch.manual_seed(0)
    logits, labels = torch.randn(4, 5, 2), torch.full((4, 5), IGNORE)
    labels[0, 1], labels[0, 4], labels[3, 2] = 1.0, 0.0, 0.3
    whole = soft_loss(logits, labels)
    parts = soft_loss(logits[:2], labels[:2], 3) + soft_loss(logits[2:], labels[2:], 3)
    assert parts.item() == pytest.approx(whole.item(), abs=1e-6)
    logits[labels == IGNORE] = 1e4
    assert soft_loss(logits, labels).item() == pytest.approx(whole.item(), abs=1e-6)
    assert soft_loss(logits.bfloat16(), labels).dtype == torch.float32


@pytest.mark.parametrize(
    ("policy", "labels"),
    [("mask", [1, 1, 0, None]), ("zero", [1, 1, 0, 0]), ("cut", [1, 1, 0]), ("keep", [1, 1, 0, 1])],
)
def test_four_policies_after_the_first_error(policy: Any, labels: list[float | None]) -> None:
    assert after_error([1, 1, 0, 1], 2, policy) == labels
    for first in (-1, None):
        assert after_error([1, None, 1], first, policy) == [1, None, 1]


def test_targets_come_from_labels_or_from_probabilities() -> None:
    row = make_row(1, [1, None, 0, None])
    assert targets_of(row, "hard") == [1, None, 0, None]
    assert targets_of(row, "soft") == [pytest.approx(0.9), None, pytest.approx(0.1), None]


def test_every_target_sits_on_its_step_end_and_nowhere_else(base: str) -> None:
    opened = open_base(settings(base))
    rows = [make_row(i, labels) for i, labels in enumerate(LABELS)]
    examples, _, kinds, unknown = prepare(rows, settings(base), opened, TEMPLATE)
    assert unknown == 0
    assert set(kinds) == {"first_error"}
    batch = collate([{"input_ids": e.ids, "ends": e.ends, "targets": e.targets} for e in examples], 0)
    known = batch["labels"] != IGNORE
    assert int(known.sum()) == sum(x is not None for labels in LABELS for x in labels)
    assert set(batch["input_ids"][known].tolist()) == {opened.step_end}
    for row, labels in enumerate(LABELS):
        assert batch["labels"][row][known[row]].tolist() == [x for x in labels if x is not None]
    assert batch["labels"].dtype == torch.float32


def test_rows_that_cannot_be_used_are_counted_with_their_reason(base: str) -> None:
    rows = [
        make_row(1, [1, 0]),
        make_row(2, [1, 0], kept=False),
        make_row(3, [None, None]),
        make_row(4, [1], text=" ".join(["w1"] * 50)),
    ]
    config = settings(base, rows="consensus", max_length=64)
    examples, left_out, *_ = prepare(rows, config, open_base(config), TEMPLATE)
    assert len(examples) == 1
    assert left_out == {"dropped by consensus": 1, "no label": 1, "too long": 1}
    assert len(prepare(rows, settings(base), open_base(settings(base)), TEMPLATE)[0]) == 3


def test_the_holdout_takes_whole_problems_whatever_else_is_there(base: str) -> None:
    config = settings(base, holdout=0.2)
    examples = [Example([1], [0], [1.0], f"problem {i // 2}") for i in range(2000)]
    training, holdout = split(examples, config)
    assert len(holdout) == pytest.approx(400, rel=0.2)
    assert not {e.group for e in training} & {e.group for e in holdout}
    assert split(examples[:500], config)[1] == [e for e in holdout if e in examples[:500]]
    assert split(examples, settings(base))[1] == []


def test_platt_scaling_recovers_the_planted_line() -> None:
    rng = np.random.default_rng(0)
    margins = rng.normal(1, 3, 20_000)
    right = (rng.random(20_000) < 1 / (1 + np.exp(-(0.5 * margins - 1)))).astype(float)
    assert fit_platt(margins, right) == pytest.approx((0.5, -1), abs=0.05)


def test_platt_scaling_of_separable_scores_stays_finite() -> None:
    a, b = fit_platt(np.array([-3.0] * 40 + [2.0] * 60), np.array([0.0] * 40 + [1.0] * 60))
    assert 0 < a < 5
    assert 1 / (1 + np.exp(-(2 * a + b))) == pytest.approx(61 / 62, abs=1e-4)


@pytest.mark.parametrize("flip", [False, True])
def test_eight_solutions_are_learnt_in_under_200_updates(base: str, tmp_path: Path, flip: bool) -> None:
    rows = [make_row(i, labels) for i, labels in enumerate(LABELS)]
    rows = [flipped(row) for row in rows] if flip else rows
    out = tmp_path / "prm"
    metrics = train_prm(rows, settings(base, epochs=150), out, template=TEMPLATE, dataset_digest="d")
    assert metrics["updates"] < 200
    prm = PRM.load(out, device="cpu")
    scores = prm.score_many([(row.problem.text, row.solution.step_texts()) for row in rows])
    assert [predict(s[: _known(row)]) for s, row in zip(scores, rows, strict=True)] == [
        row.first_error for row in rows
    ]
    assert prm.card.model_dump(exclude={"step_end"}) == {
        "template": TEMPLATE, "step_token": "<|step_end|>", "max_length": 2048, "base_model": base,
        "dataset_digest": "d",
        "label_kind": "first_error", "targets": "hard", "a": 1.0, "b": 0.0,
    }  # fmt: skip
    assert "score.bias" not in prm.model.state_dict()
    assert json.loads((out / "metrics.json").read_text()) == metrics
    assert [p.name for p in tmp_path.iterdir()] == ["prm"]


def _known(row: LabelledSolution) -> int:
    return len(row.labels) if row.first_error in (-1, None) else row.first_error + 1


def test_equal_seeds_train_equal_models_and_the_saved_one_is_the_trained_one(
    base: str, tmp_path: Path
) -> None:
    rows = [make_row(i, labels) for i, labels in enumerate(LABELS)]
    items = [(row.problem.text, row.solution.step_texts()) for row in rows]
    found = []
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        config = settings(base, epochs=3, batch_size=2, seed=seed, targets="soft")
        train_prm(rows, config, tmp_path / name, template=TEMPLATE, dataset_digest="")
        found.append(PRM.load(tmp_path / name, device="cpu").score_many(items))
    assert found[0] == found[1] != found[2]
    again = PRM.load(tmp_path / "a", device="cpu")
    examples = prepare(rows, settings(base), open_base(settings(base)), TEMPLATE)[0]
    assert [m.tolist() for m in again.read(examples)] == [m.tolist() for m in again.margins(items)]


def test_what_follows_the_last_target_is_not_read_and_changes_no_loss(base: str) -> None:
    config = settings(base)
    opened = open_base(config)
    whole = prepare([make_row(i, labels) for i, labels in enumerate(LABELS)], config, opened, TEMPLATE)[0]
    cut = [learnable(example) for example in whole]
    assert [len(e.ids) - 1 for e in cut] == [e.ends[-1] for e in cut]
    assert [e.targets for e in cut] == [[x for x in labels if x is not None] for labels in LABELS]
    assert [len(e.ids) < len(o.ids) for e, o in zip(cut, whole, strict=True)] == [None in x for x in LABELS]
    model = open_model(opened).eval()
    losses = []
    for examples in (whole, cut):
        batch = collate([{"input_ids": e.ids, "ends": e.ends, "targets": e.targets} for e in examples], 0)
        losses.append(soft_loss(model(input_ids=batch["input_ids"]).logits, batch["labels"]).item())
    assert losses[0] == pytest.approx(losses[1], rel=1e-6)


@pytest.mark.parametrize(("batch", "updates"), [(8, 3), (6, 6)])  # of 6, the last of an epoch has 2
def test_solutions_read_a_few_at_a_time_make_the_same_updates(
    base: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, batch: int, updates: int
) -> None:
    calm = Path(shutil.copytree(base, tmp_path / "base"))
    about = json.loads((calm / "config.json").read_text())
    # Dropout draws other numbers for other shapes.
    (calm / "config.json").write_text(json.dumps({**about, "attention_dropout": 0.0}))
    rows = [make_row(i, labels) for i, labels in enumerate(LABELS)]
    items = [(row.problem.text, row.solution.step_texts()) for row in rows]
    found, losses = [], []
    for at_once in (8, 2):
        monkeypatch.setattr("pipeline.prm.train._AT_ONCE", at_once)
        config, out = settings(str(calm), epochs=3, batch_size=batch), tmp_path / str(at_once)
        metrics = train_prm(rows, config, out, template=TEMPLATE, dataset_digest="")
        assert metrics["updates"] == updates
        losses.append(metrics["loss"])
        found.append([p for steps in PRM.load(out, device="cpu").score_many(items) for p in steps])
    assert losses[0] == pytest.approx(losses[1], abs=1e-4)
    assert found[0] == pytest.approx(found[1], abs=1e-4)


def test_calibration_uses_held_out_problems_and_leaves_too_few_alone(base: str, tmp_path: Path) -> None:
    rows = [make_row(i % 20, [i // 20 % 2], text=f"w{38 + i // 20 % 2} w{i % 38}") for i in range(240)]
    config = settings(base, holdout=0.5, epochs=4)
    metrics = train_prm(rows, config, tmp_path / "prm", template=TEMPLATE, dataset_digest="")
    assert metrics["solutions"] + metrics["holdout_solutions"] == 240
    assert set(metrics["holdout"]) == {"steps", "share_right", "auroc", "before", "after"}
    assert metrics["holdout"]["after"]["brier"] <= metrics["holdout"]["before"]["brier"] + 0.02
    prm = PRM.load(tmp_path / "prm", device="cpu")
    assert (prm.card.a, prm.card.b) != (1.0, 0.0)
    same, _ = calibrate(prm, [])
    assert same.card == prm.card


def test_training_again_replaces_a_prm_and_nothing_else(base: str, tmp_path: Path) -> None:
    rows, out = [make_row(1, [1, 0])], tmp_path / "prm"
    for digest in ("one", "two"):
        train_prm(rows, settings(base), out, template=TEMPLATE, dataset_digest=digest)
        assert PRM.load(out, device="cpu").card.dataset_digest == digest
    other = tmp_path / "papers"
    other.mkdir()
    (other / "thesis.txt").write_text("mine")
    with pytest.raises(UserError, match="something other than a PRM"):
        train_prm(rows, settings(base), other, template=TEMPLATE, dataset_digest="")
    with pytest.raises(UserError, match="not a model"):
        train_prm(rows, settings(str(other)), out, template=TEMPLATE, dataset_digest="")


@pytest.mark.parametrize(
    ("rows", "changes", "said"),
    [
        ([], {}, "the run has no solutions at all"),
        ([make_row(1, [None])] * 2, {}, "of 2 solutions 2 have no labelled step (`stepmint report RUN`"),
        ([make_row(1, [1], kept=False)] * 2, {"rows": "consensus"}, "2 are dropped by the consensus"),
        ([make_row(1, [1]), make_row(1, [None])], {"holdout": 0.99}, "1 are held out for the calibration"),
        ([make_row(1, [1], text="w1 " * 50)], {"max_length": 16}, "1 are longer than the base reads"),
    ],
)
def test_why_nothing_is_left_to_train_on_is_said_in_words(
    rows: list[LabelledSolution], changes: dict[str, Any], said: str, base: str, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match=f"no labelled solution.*{re.escape(said)}") as caught:
        train_prm(rows, settings(base, **changes), tmp_path / "prm", template=TEMPLATE, dataset_digest="")
    assert "{" not in str(caught.value)


def test_a_preview_shows_a_row_as_the_model_reads_it(base: str) -> None:
    rows = [make_row(1, [1, 0, None]), make_row(2, [None]), make_row(3, [1], text=" ".join(["w1"] * 50))]
    found = preview(rows, settings(base, max_length=64), TEMPLATE)
    assert [line.split("<- ")[1] for line in found["first_row"] if "<-" in line] == ["1", "0", "no label"]
    assert found["left_out"] == {"no label": 1, "too long": 1}
    assert (found["solutions"], found["longest"]) == (1, len(found["first_row"]))
    assert (found["step_token"], found["unknown"]) == ("<|step_end|>", 0)


@pytest.mark.parametrize("holdout", [0.0, 0.5])
def test_a_training_that_diverges_is_one_line_and_writes_nothing(
    base: str, tmp_path: Path, holdout: float
) -> None:
    rows = [make_row(i, labels) for i, labels in enumerate(LABELS)]
    config = settings(base, epochs=40, learning_rate=1e38, holdout=holdout)
    with pytest.raises(UserError, match=r"the training diverged: .* Lower learning_rate, now 1e\+38"):
        train_prm(rows, config, tmp_path / "prm", template=TEMPLATE, dataset_digest="")
    assert not list(tmp_path.iterdir())


def test_rows_of_another_vocabulary_are_refused_with_the_share_that_is_unknown(
    base: str, tmp_path: Path
) -> None:
    rows = [make_row(i, [1, 0], text="w1 gibberish\nmore of it w2") for i in range(4)]
    with pytest.raises(UserError, match=r"tokenizer reads \d\d% of the text as unknown tokens"):
        train_prm(rows, settings(base), tmp_path / "prm", template=TEMPLATE, dataset_digest="")
    assert not list(tmp_path.iterdir())
