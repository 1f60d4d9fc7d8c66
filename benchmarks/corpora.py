"""The steps of `STEPMINT_DATA` that the verifier benchmarks read; none of it is in the repository."""

import gzip
import json
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.parts import is_kept
from pipeline.inputs.segment import segment

DATA = Path(os.environ.get("STEPMINT_DATA", Path(__file__).parents[1] / ".." / "shared" / "data"))
PARTS = ("work", "kept")
"""Halves of the problems: code is written on the first, and documents quote figures of the second."""
ANNOTATION = re.compile(r"<<[^<>]*>>")


class Judged(NamedTuple):
    """A step and whether people marked it right."""

    source: str
    problem: str
    steps: tuple[str, ...]
    """Up to and including the step judged."""
    right: bool


_chosen = [*PARTS]


@contextmanager
def only(part: str) -> Iterator[None]:
    """Within it `rows` gives those of one part of the problems, or of `all`."""
    before = list(_chosen)
    _chosen[:] = PARTS if part == "all" else [part]
    try:
        yield
    finally:
        _chosen[:] = before


def _problem_of(row: dict[str, Any]) -> str:
    """The text by which a row's problem is drawn into a part."""
    if row.get("candidates"):
        row = row["candidates"][0]["problem"]
    names = ("context", "question", "problem", "instruction", "input")
    texts = (row[name] for name in names if isinstance(row.get(name), str))
    return next(texts, "\n".join(map(str, row.get("premises", ()))))


def rows(pattern: str) -> Iterator[dict[str, Any]]:
    """The rows of every file that matches, in a fixed order. Raises SystemExit where there is none."""
    paths = sorted(DATA.glob(pattern))
    if not paths:
        raise SystemExit(f"no {DATA / pattern}: set STEPMINT_DATA to the folder of the data")
    for path in paths:
        with (gzip.open if path.suffix == ".gz" else open)(path, "rt", encoding="utf-8") as lines:
            found = map(json.loads, lines)
            yield from (row for row in found if PARTS[is_kept(_problem_of(row))] in _chosen)


def gold() -> Iterator[tuple[str, list[str]]]:
    """GSM8K's training problems with their solutions' lines, annotations included."""
    for row in rows("gsm8k/train.jsonl.gz"):
        yield row["question"], row["answer"].split("\n")[:-1]


def written() -> Iterator[tuple[str, str, list[str]]]:
    """Source, problem and steps of GSM8K solutions that models wrote, annotations removed."""
    for row in rows("gsm8k/example_model_solutions_part.jsonl.gz"):
        for name in ("6b_finetuning", "6b_verification", "175b_finetuning", "175b_verification"):
            # The last line, `A: 18`, is these files' `#### 18`.
            lines = [line for line in row[name]["solution"].split("\n") if not line.startswith("A:")]
            yield f"gsm8k {name}", row["question"], _steps("\n".join(lines))
    for model, field in (
        ("abel_7b", "model_prediction"),
        ("gpt-3.5-turbo", "model_prediction"),
        ("gpt4", "model_prediction"),
        ("metamath_7b", "completion"),
    ):
        for row in rows(f"gsm_plus/gsm8k_outputs_{model}_part.jsonl*"):
            yield f"gsm_plus {model}", row.get("question") or row["input"], _steps(row[field])
    for row in rows("sampled_solutions/gsm8k_32_per_problem_part.jsonl.gz"):
        # Four of 32 a problem: more would let this corpus outweigh all others.
        for candidate in row["candidates"][:4]:
            text = candidate["raw_text"].rpartition("\nassistant\n")[2]
            yield "sampled_solutions gsm8k", candidate["problem"]["question"], _steps(text)
    for row in rows("processbench/gsm8k_part.jsonl"):
        yield "processbench gsm8k", row["problem"], row["steps"]


def _steps(text: str) -> list[str]:
    text = ANNOTATION.sub("", text)
    return [step.text for step in segment(text, "\n\n" if "\n\n" in text else "\n")]


def judged() -> Iterator[Judged]:
    """Steps with people's verdicts: ProcessBench up to the first error, PRM800K and PRMBench throughout."""
    for path in sorted(DATA.glob("processbench/*.jsonl*")):
        for row in rows(f"processbench/{path.name}"):
            for index in range(len(row["steps"]) if row["label"] == -1 else row["label"] + 1):
                steps = tuple(row["steps"][: index + 1])
                yield Judged("processbench", row["problem"], steps, index != row["label"])
    # PRM800K's 0 is "neither good nor bad": people did not call it wrong, so it counts as passed.
    for row in rows("prm800k/phase1_train_stepwise.jsonl.gz"):
        if row["rating"] is not None and row["next_response"]:
            said = row["responses"] if isinstance(row["responses"], list) else []
            steps = (*(str(step) for step in said), row["next_response"])
            yield Judged("prm800k", row["instruction"], steps, row["rating"] >= 0)
    for row in rows("prmbench/*.jsonl*"):
        # PRMBench counts its steps from 1.
        wrong = set(row["error_steps"])
        for index in range(len(row["modified_process"])):
            steps = tuple(row["modified_process"][: index + 1])
            yield Judged("prmbench", row["question"], steps, index + 1 not in wrong)
