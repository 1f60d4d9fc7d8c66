"""What vLLM's engine is started with, and the names that the installed vLLM does not know."""

import importlib.util
import json
from pathlib import Path

import pytest

from pipeline.policies.vllm.settings import check_engine, engine_settings
from schemas.errors import UserError

needs_vllm = pytest.mark.skipif(
    importlib.util.find_spec("vllm") is None, reason="vLLM is not installed: make setup-vllm"
)
OWN = {"model": "m", "revision": None, "dtype": "auto", "max_model_len": None, "max_num_seqs": 8}


def test_what_the_run_file_says_wins_over_what_a_cpu_needs() -> None:
    found = engine_settings(OWN, {"block_size": 64, "seed": 3}, on_cpu=True, cache_bytes=5, lora="")
    assert found["block_size"] == 64
    assert found["seed"] == 3
    assert (found["dtype"], found["kv_cache_memory_bytes"]) == ("float32", 5)
    assert found["enable_chunked_prefill"] is False


def test_a_gpu_keeps_vllms_own_settings() -> None:
    found = engine_settings(OWN, {}, on_cpu=False, cache_bytes=5, lora="")
    assert found == {"enable_log_requests": False, "disable_log_stats": True, **OWN}


def test_nothing_is_checked_without_vllm(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    check_engine("policy", {"no_such_argument": 1})


@needs_vllm
@pytest.mark.vllm
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("tensor_paralell_size", r"vLLM has no such engine argument; did you mean tensor_parallel_size\?"),
        ("zzzz", r"vLLM has no such engine argument$"),
    ],
)
def test_an_argument_that_vllm_does_not_know_is_one_line(name: str, said: str) -> None:
    check_engine("policy", {"quantization": "fp8", "tensor_parallel_size": 2})
    with pytest.raises(UserError, match=rf"^\[policy\.engine\] {name}: {said}"):
        check_engine("policy", {name: 1})


@needs_vllm
@pytest.mark.vllm
@pytest.mark.filterwarnings("ignore")
def test_an_adapters_rank_is_rounded_up_to_one_that_vllm_takes(tmp_path: Path) -> None:
    file = tmp_path / "adapter_config.json"
    for rank, most in ((4, 8), (8, 8), (9, 16)):
        file.write_text(json.dumps({"r": rank}))
        found = engine_settings(OWN, {}, on_cpu=False, cache_bytes=5, lora=str(tmp_path))
        assert (found["enable_lora"], found["max_lora_rank"]) == (True, most)
    for spoilt in ("", "{}", '{"r": 9999}', '{"r": "x"}'):
        file.write_text(spoilt)
        with pytest.raises(UserError, match="adapter_config.json: not an adapter that vLLM can load"):
            engine_settings(OWN, {}, on_cpu=False, cache_bytes=5, lora=str(tmp_path))
