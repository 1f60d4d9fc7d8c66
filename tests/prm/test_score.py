"""`score.py` beside a checkpoint: what it prints is what the package says, and text never becomes control."""

import copy
import json
import os
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
from tokenizers import (
    AddedToken,
    Tokenizer,
    decoders,
    models,
    normalizers,
    pre_tokenizers,
    processors,
    trainers,
)
from transformers import LlamaConfig, LlamaForTokenClassification, PreTrainedTokenizerFast

from pipeline.prm import score
from pipeline.prm.bases import choose_step_end
from pipeline.prm.model import PRM, PrmCard, two_labels

BYTES = [f"<0x{byte:02X}>" for byte in range(256)]
TEMPLATE = "Problem: {problem}\nSolution:\n"
TEXT = ["Anna has 12 apples.", "She eats 3, so 12 - 3 = 9 are left.\n#### 9", "Problem: Solution: <b>x</b>"]
CONTROL = [
    "<|endoftext|>",
    "</s>",
    "<s>",
    "<unk>",
    "[SEP]",
    "[PAD]",
    "<extra_0>",
    "<unused0>",
    "<|step_end|>",
]


def gpt2_like() -> PreTrainedTokenizerFast:
    """Bytes, and one control token for everything."""
    core = Tokenizer(models.BPE())
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    core.decoder = decoders.ByteLevel()
    letters = pre_tokenizers.ByteLevel.alphabet()
    core.train_from_iterator(TEXT, trainers.BpeTrainer(vocab_size=300, initial_alphabet=letters))
    return PreTrainedTokenizerFast(
        tokenizer_object=core, eos_token="<|endoftext|>", bos_token="<|endoftext|>"
    )


def llama_like() -> PreTrainedTokenizerFast:
    """Merges over words with a mark before them; unknown letters as bytes; BOS by template."""
    special = ["<unk>", "<s>", "</s>", *BYTES, "<extra_0>"]
    core = Tokenizer(models.BPE(unk_token="<unk>", byte_fallback=True, fuse_unk=True))
    core.normalizer = normalizers.Sequence(
        [normalizers.Prepend("\u2581"), normalizers.Replace(" ", "\u2581")]
    )
    core.train_from_iterator(TEXT, trainers.BpeTrainer(vocab_size=400, special_tokens=special))
    core.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 1)])
    return PreTrainedTokenizerFast(
        tokenizer_object=core, unk_token="<unk>", bos_token="<s>", eos_token="</s>"
    )


def gemma_like() -> PreTrainedTokenizerFast:
    """Free tokens that are no special ones, so that a text that names one becomes it."""
    core = Tokenizer(models.BPE(unk_token="<unk>", byte_fallback=True))
    core.normalizer = normalizers.Replace(" ", "\u2581")
    special = ["<pad>", "</s>", "<s>", "<unk>", *BYTES]
    core.train_from_iterator(TEXT, trainers.BpeTrainer(vocab_size=400, special_tokens=special))
    core.add_tokens([AddedToken(f"<unused{n}>", normalized=False) for n in range(3)])
    return PreTrainedTokenizerFast(
        tokenizer_object=core, unk_token="<unk>", bos_token="<s>", eos_token="</s>", pad_token="<pad>"
    )


def bert_like() -> PreTrainedTokenizerFast:
    """Lower-cased words, closed by [SEP]."""
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"]
    core = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    core.normalizer = normalizers.BertNormalizer(lowercase=True)
    core.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    core.train_from_iterator(TEXT, trainers.WordPieceTrainer(vocab_size=200, special_tokens=special))
    core.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=core, unk_token="[UNK]", pad_token="[PAD]", bos_token="[CLS]", eos_token="[SEP]"
    )


def unigram() -> PreTrainedTokenizerFast:
    """Its vocabulary holds the control tokens as pieces that a text would match."""
    pieces = [("<unk>", 0.0), ("<s>", 0.0), ("</s>", 0.0), *((chr(c), -5.0) for c in range(10, 127))]
    core = Tokenizer(models.Unigram(pieces, 0, byte_fallback=False))
    return PreTrainedTokenizerFast(
        tokenizer_object=core, unk_token="<unk>", bos_token="<s>", eos_token="</s>"
    )


KINDS = [gpt2_like, llama_like, gemma_like, bert_like, unigram]


def checkpoint(tokenizer: PreTrainedTokenizerFast, folder: Path, **card: float) -> PRM:
    step_end = choose_step_end(tokenizer)
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(tokenizer), hidden_size=32, intermediate_size=64, num_hidden_layers=2,
        num_attention_heads=2, initializer_range=0.3,
    )  # fmt: skip
    about: Any = {"template": TEMPLATE, "step_end": step_end, "max_length": 512, **card}
    prm = PRM(LlamaForTokenClassification(two_labels(config)), tokenizer, PrmCard(**about))
    prm.save(folder)
    return prm


@pytest.mark.parametrize("make", KINDS)
def test_names_of_control_tokens_in_a_text_stay_text(make: Any, tmp_path: Path) -> None:
    prm = checkpoint(make(), tmp_path)
    control = set(prm.tokenizer.convert_tokens_to_ids(sorted(score.special_tokens(prm.tokenizer))))
    control -= {prm.tokenizer.unk_token_id, *prm.tokenizer.convert_tokens_to_ids(BYTES)}
    own = str(prm.tokenizer.convert_ids_to_tokens(prm.card.step_end))
    for name in [*CONTROL, own, own * 3, f"a{own}b</s>", f"<{own}", "</S>", own.upper()]:
        encoded = prm.encode(f"x {name} y", [f"so {name}\nit is", name])
        ids = encoded.ids[1:] if encoded.ids[0] == prm.tokenizer.bos_token_id else encoded.ids
        assert [at for at, token in enumerate(encoded.ids) if token == prm.card.step_end] == encoded.ends
        assert [token for token in ids if token in control] == [prm.card.step_end] * 2


@pytest.mark.parametrize("make", KINDS)
def test_ordinary_text_is_tokenised_as_ever(make: Any, tmp_path: Path) -> None:
    plain = make()
    prm = checkpoint(copy.deepcopy(plain), tmp_path)
    wanted = plain.encode(TEMPLATE.replace("{problem}", TEXT[0]))
    wanted = wanted[:-1] if wanted[-1] == plain.eos_token_id else wanted
    wanted = wanted if wanted[0] == plain.bos_token_id else [plain.bos_token_id, *wanted]
    for step in TEXT:
        wanted += [*plain.encode(step, add_special_tokens=False), prm.card.step_end]
    assert prm.encode(TEXT[0], TEXT).ids == wanted


@pytest.mark.parametrize(
    ("make", "token"),
    [(gpt2_like, "<|step_end|>"), (llama_like, "<extra_0>"), (gemma_like, "<unused0>")],
)
def test_a_free_token_closes_steps_or_else_a_new_one(make: Any, token: str) -> None:
    tokenizer = make()
    size, step_end = len(tokenizer), choose_step_end(tokenizer)
    assert tokenizer.convert_ids_to_tokens(step_end) == token
    assert len(tokenizer) == size + (token == "<|step_end|>")
    assert choose_step_end(tokenizer) == step_end == choose_step_end(tokenizer, step_end)


def test_a_token_of_the_chat_template_is_not_free() -> None:
    tokenizer = gemma_like()
    tokenizer.chat_template = "<unused0>{{ messages[0].content }}<unused1>"
    assert tokenizer.convert_ids_to_tokens(choose_step_end(tokenizer)) == "<unused2>"


def test_a_template_that_begins_with_bos_gives_one() -> None:
    tokenizer = llama_like()
    reader = score.Reader(tokenizer, "<s>{problem}\n", choose_step_end(tokenizer))
    assert reader.encode("a", ["b"])[0].count(tokenizer.bos_token_id) == 1


def test_the_script_beside_a_checkpoint_prints_the_scores_of_the_package(tmp_path: Path) -> None:
    prm = checkpoint(gemma_like(), tmp_path / "prm", a=0.7, b=-0.4)
    steps = [TEXT[1], "<unused0></s>", "She has 9.\n\nSo 9."]
    done = subprocess.run(
        [sys.executable, "-I", str(tmp_path / "prm" / "score.py"), TEXT[0], *steps],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": ""},
    )
    assert not done.returncode, done.stderr
    assert "Loading" not in done.stderr
    assert json.loads(done.stdout) == pytest.approx(prm.score_steps(TEXT[0], steps), abs=1e-5)


def test_the_script_imports_nothing_of_this_project() -> None:
    source = Path(score.__file__).read_text(encoding="utf-8")
    imported = {
        line.split()[1].split(".")[0] for line in source.splitlines() if line.startswith(("from", "import"))
    }
    assert imported <= {*sys.stdlib_module_names, "torch", "transformers"}


def test_the_example_of_the_documentation_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    text = (Path(__file__).parents[2] / "docs" / "prm.md").read_text(encoding="utf-8")
    code = text.split("```python\n")[1].split("```")[0]
    prm = checkpoint(gpt2_like(), tmp_path / "checkpoints" / "mine")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.delitem(sys.modules, "score", raising=False)
    exec(compile(code, "docs/prm.md", "exec"), {})
    del sys.modules["score"]
    said = json.loads(capsys.readouterr().out.strip().splitlines()[-1])
    assert said == pytest.approx(
        prm.score_steps("What is 2 + 3 + 4?", ["2 + 3 = 5.", "5 + 4 = 10."]), abs=1e-5
    )


def test_a_text_of_other_words_is_warned_of_and_one_odd_word_is_not(tmp_path: Path) -> None:
    prm = checkpoint(bert_like(), tmp_path)
    known = "Anna has 12 apples. She eats 3, so 12 - 3 = 9 are left."
    prm.score_steps(known, [known])
    prm.score_steps(known, [f"{known} \N{SNOWMAN}"])
    model, reader, card = score.load(tmp_path)
    odd = "\N{SNOWMAN} " * 20
    with pytest.warns(UserWarning, match="more than a tenth of a solution as unknown tokens") as warned:
        prm.score_many([(known, [odd]), (odd, [known])])
    with pytest.warns(UserWarning, match="unknown tokens"):
        score.score(model, reader, card, known, [odd])
    with warnings.catch_warnings(record=True) as repeated:
        warnings.simplefilter("default")
        for _ in range(5):
            prm.score_steps(known, [odd])
    assert (len(warned), len(repeated)) == (2, 1)


def test_a_tokenizer_that_knows_every_byte_is_never_warned_of(tmp_path: Path) -> None:
    checkpoint(llama_like(), tmp_path).score_steps("\N{SNOWMAN}", ["\N{SNOWMAN}" * 20])
