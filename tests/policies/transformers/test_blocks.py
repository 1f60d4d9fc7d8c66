"""The decoder's memory: every owner finds its blocks again, and what is not in use takes none."""

import json
import mmap
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.policies.transformers.blocks import BLOCK, Blocks, Pool

MIB = 1 << 20


def pool_of(dtype: torch.dtype = torch.float32) -> Pool:
    like = torch.zeros(1, 2, 1, 4, dtype=dtype)
    return Pool(layers=[(Blocks(like), Blocks(like)) for _ in range(2)])


def write(pool: Pool, block: int, value: float) -> None:
    for keys, values in pool.layers:
        keys.all[block], values.all[block] = value, -value


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@given(sizes=st.lists(st.lists(st.integers(0, 90), max_size=4), min_size=1, max_size=5), data=st.data())
@settings(max_examples=20, deadline=None)
def test_every_owner_keeps_its_blocks_and_none_lies_between(
    dtype: torch.dtype, sizes: list[list[int]], data: st.DataObject
) -> None:
    pool, marks, last = pool_of(dtype), list[list[int]](), 0
    for arriving in sizes:
        for n in arriving:
            new = pool.take(np.full(n, len(marks)), np.arange(n))
            marks.append([last := last % 200 + 1 for _ in range(n)])  # bfloat16 tells numbers up to 256 apart
            for block, mark in zip(range(new.start, new.stop), marks[-1], strict=True):
                write(pool, block, mark)
        stays = [data.draw(st.booleans()) for _ in marks]
        renamed = np.where(stays, np.cumsum(stays) - 1, -1).astype(np.int64)
        pool.drop(renamed)
        marks = [mine for mine, here in zip(marks, stays, strict=True) if here]
        assert pool.count == sum(map(len, marks))
        found = [[0] * len(mine) for mine in marks]
        for block, (owner, place) in enumerate(zip(pool.owners, pool.places, strict=True)):
            found[owner][place] = int(pool.layers[0][0].all[block, 0, 0, 0])
            for keys, values in pool.layers:
                assert bool((keys.all[block] == found[owner][place]).all())
                assert bool((values.all[block] == -found[owner][place]).all())
        assert found == marks


def resident() -> float:
    """MiB of memory that this process has."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * mmap.PAGESIZE / MIB


def test_memory_is_taken_where_it_is_written_and_given_back() -> None:
    blocks, before = Blocks(torch.zeros(1, 8, 1, 64)), resident()
    each = 8 * BLOCK * 64 * 4 / MIB
    blocks.fit(int(400 / each))
    assert resident() < before + 40, "a reserved store takes memory before it is written"
    blocks.all[: int(200 / each)] = 1.0
    assert resident() > before + 160
    blocks.fit(int(100 / each))
    assert resident() < before + 140, "blocks that fell free keep their memory"
    assert bool((blocks.all[: int(100 / each)] == 1).all())
    blocks.fit(int(400 / each))
    assert not bool(blocks.all[int(101 / each) :].any()), "a block that was given back is not cleared"


# Room for 256 rows and their prompts, in steps of 128 tokens, would be 336 MB; what 8 rows need is 4.
SMALL = """
import json, resource, torch
from transformers import AutoModelForCausalLM, AutoTokenizer
from pipeline.policies.base import Sampling
from pipeline.policies.opening import EMBEDDED
from pipeline.policies.transformers.decoding import Decoder
from pipeline.policies.transformers.rows import Job

def peak(): return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024

model = AutoModelForCausalLM.from_pretrained(EMBEDDED, dtype=torch.float32).eval()
decoder, before = Decoder(model, AutoTokenizer.from_pretrained(EMBEDDED), 256), peak()
job = Job([1, *range(5, 45)], Sampling(seed=3), 900, [None] * 8, lambda *_: None)
with torch.inference_mode():
    decoder.admit([(job, i) for i in range(8)])
    for _ in range(40):
        decoder.step()
print(json.dumps([peak() - before, int(decoder.rows.made.max())]))
"""


def test_a_few_completions_need_little_memory() -> None:
    run = subprocess.run([sys.executable, "-c", SMALL], capture_output=True, text=True, check=True)
    added_mib, most_tokens = json.loads(run.stdout.splitlines()[-1])
    assert most_tokens == 40
    assert added_mib < 100
