"""A PRM scores every step once, whatever the steps hold and whoever shares their batch."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers
from transformers import (
    AutoModelForTokenClassification,
    LlamaConfig,
    LlamaForTokenClassification,
    PreTrainedTokenizerFast,
)

from pipeline.prm.bases import choose_step_end
from pipeline.prm.model import PRM, Encoder, PrmCard
from schemas.errors import UserError

TEMPLATE = "Problem: {problem}\nSolution:\n"
WORDS = ["a", "b", "c", "d", "=", "+", "1", "2", "3", "4"]


def make_tokenizer(*, newline: bool = True) -> PreTrainedTokenizerFast:
    special = ["<pad>", "<s>", "</s>", "<unk>"]
    vocabulary = [*special, *WORDS, " ", *(["\n", "\n\n"] if newline else [])]
    core = Tokenizer(models.WordLevel({word: i for i, word in enumerate(vocabulary)}, unk_token="<unk>"))
    core.pre_tokenizer = pre_tokenizers.Split(Regex(r"\n+|\s|\w+|[^\w\s]"), behavior="isolated")
    core.decoder = decoders.Fuse()
    names = dict(zip(("pad_token", "bos_token", "eos_token", "unk_token"), special, strict=True))
    return PreTrainedTokenizerFast(tokenizer_object=core, clean_up_tokenization_spaces=False, **names)


def make_prm(*, a: float = 1.0, b: float = 0.0, max_length: int = 256) -> PRM:
    tokenizer = make_tokenizer()
    step_end = choose_step_end(tokenizer)
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(tokenizer), hidden_size=32, intermediate_size=64, num_hidden_layers=2,
        num_attention_heads=2, num_labels=2, initializer_range=0.3, pad_token_id=0,
        classifier_dropout=0.0, token_classification_bias=False,
    )  # fmt: skip
    model = LlamaForTokenClassification(config)
    card = PrmCard(template=TEMPLATE, step_end=step_end, max_length=max_length, a=a, b=b)
    return PRM(model, tokenizer, card)


@pytest.fixture(scope="module")
def prm() -> PRM:
    return make_prm()


class FixedLogits(torch.nn.Module):
    """Answers with the same two logits at every token."""

    def __init__(self, *logits: float) -> None:
        super().__init__()
        self.logits, self.device = torch.tensor(logits), torch.device("cpu")

    def forward(self, input_ids: torch.Tensor, use_cache: bool) -> "FixedLogits":
        answer = FixedLogits()
        answer.logits = self.logits.expand(*input_ids.shape, 2)
        return answer


@pytest.mark.parametrize(("logits", "p"), [((0.0, 1.0), 0.731059), ((1.0, 0.0), 0.268941)])
def test_label_one_is_right(prm: PRM, logits: tuple[float, float], p: float) -> None:
    fixed = PRM(FixedLogits(*logits), prm.tokenizer, prm.card)
    assert fixed.score_steps("a", ["b", "c"]) == pytest.approx([p, p], abs=1e-6)


@pytest.mark.parametrize(
    "steps",
    [
        ["a + b = c"],
        ["a\nb", "\n\nc", "d\n\n"],
        ["1 = 1"] * 9,
        ["\u00e9 \u2211 \U0001f600", "unseen words", "<|step_end|>", "</s>"],
    ],
)
@pytest.mark.filterwarnings("ignore:the tokenizer of this PRM")
def test_one_score_for_every_step(prm: PRM, steps: list[str]) -> None:
    scores = prm.score_steps("a = 1", steps)
    assert len(scores) == len(steps)
    assert all(0 <= score <= 1 for score in scores)


def test_an_empty_step_is_refused(prm: PRM) -> None:
    with pytest.raises(UserError, match="step 1 of a solution is empty"):
        prm.score_steps("a", ["b", " \n"])
    assert not prm.readable("a", ["b", ""])
    assert not prm.readable("a", [])
    assert prm.score_many([]) == []
    assert prm.score_steps("a", []) == []


def test_too_long_a_solution_is_named_and_never_cut() -> None:
    prm = make_prm(max_length=40)
    assert prm.readable("a", ["b"])
    assert not prm.readable("a", ["b + c = d"] * 9)
    with pytest.raises(UserError, match=r"'a' has \d+ tokens, over the 40"):
        prm.score_many([("a", ["b"]), ("a", ["b + c = d"] * 9)])


def test_scores_do_not_depend_on_the_batch(prm: PRM) -> None:
    items = [("a = 1", ["b = 2"] * n) for n in (1, 7, 3, 12)] + [("a b c d " * 12, ["1 + 2 = 3"])]
    together = prm.score_many(items)
    for item, scores in zip(items, together, strict=True):
        assert prm.score_steps(*item) == pytest.approx(scores, abs=1e-5)


def test_a_later_step_never_changes_an_earlier_score(prm: PRM) -> None:
    one, other = prm.score_steps("a", ["b", "c = d", "1"]), prm.score_steps("a", ["b", "c = d", "4 + 4"])
    assert one[:2] == pytest.approx(other[:2], abs=1e-6)
    assert one[2] != pytest.approx(other[2], abs=1e-6)


def test_calibration_is_applied_to_the_margin(prm: PRM) -> None:
    (margins,) = prm.margins([("a", ["b", "c"])])
    assert make_prm(a=2.0, b=-1.0).score_steps("a", ["b", "c"]) == pytest.approx(
        torch.sigmoid(2 * margins - 1).tolist()
    )


def test_steps_are_tokenised_alone(prm: PRM) -> None:
    """`\\n\\n` is one token here: joined with the newline after it a step would lose its end."""
    encoded = prm.encode("a", ["b\n", "c"])
    assert [encoded.ids[end] for end in encoded.ends] == [prm.card.step_end] * 2
    assert (
        prm.tokenizer.decode(encoded.ids)
        == "<s>"
        + "Problem: a\nSolution:\n".replace("Problem", "<unk>")
        .replace("Solution", "<unk>")
        .replace(":", "<unk>")
        + "b\n<|step_end|>c<|step_end|>"
    )


def test_a_problem_with_braces_is_left_alone() -> None:
    encoder = Encoder(make_tokenizer(), TEMPLATE, 2)
    assert len(encoder.encode("{problem} {x}", ["a"]).ends) == 1


def test_a_score_that_is_no_number_is_an_error_with_its_problem_and_step() -> None:
    prm = make_prm()
    with torch.no_grad():
        prm.model.get_input_embeddings().weight[prm.tokenizer.convert_tokens_to_ids("4")] = float("nan")
    assert prm.score_steps("a", ["b"])
    with pytest.raises(UserError, match="score of step . of a solution of 'a = 1' is not a number"):
        prm.score_many([("a", ["b"]), ("a = 1", ["b", "4", "c"])])


def test_a_checkpoint_without_its_head_is_refused_and_not_given_a_new_one(prm: PRM, tmp_path: Path) -> None:
    prm.save(tmp_path)
    weights = load_file(tmp_path / "model.safetensors")
    save_file(
        {name: w for name, w in weights.items() if name != "score.weight"}, tmp_path / "model.safetensors"
    )
    with pytest.raises(UserError, match=r"weights are missing: score\.weight"):
        PRM.load(tmp_path)


def test_a_saved_checkpoint_scores_the_same_and_opens_as_an_ordinary_model(prm: PRM, tmp_path: Path) -> None:
    prm.save(tmp_path)
    items = [("a = 1", ["b = 2"] * (1 + n % 5)) for n in range(20)]
    again = PRM.load(tmp_path, device="cpu")
    assert again.card == prm.card
    for one, other in zip(prm.score_many(items), again.score_many(items), strict=True):
        assert one == pytest.approx(other, abs=1e-6)
    plain = AutoModelForTokenClassification.from_pretrained(tmp_path).eval()
    encoded = prm.encode(*items[3])
    logits = plain(torch.tensor([encoded.ids])).logits[0, encoded.ends]
    assert logits.softmax(-1)[:, 1].tolist() == pytest.approx(again.score_steps(*items[3]), abs=1e-5)


def test_what_is_no_prm_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="not a PRM"):
        PRM.load(tmp_path)
    (tmp_path / "prm.json").write_text(PrmCard(template="", step_end=0, max_length=1).model_dump_json())
    with pytest.raises(UserError, match="not a model"):
        PRM.load(tmp_path)
