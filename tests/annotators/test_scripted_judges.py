"""The short form of `python -m benchmarks judges`: a scripted judge behind a server, in the styles of chat
models."""

import pytest

from benchmarks.injected import FENCED, INJECTIONS, attacked, injected
from benchmarks.judges import NEEDED, consensus, scripted
from benchmarks.judging import JUDGES, seen, solutions
from benchmarks.reply_forms import STYLES
from benchmarks.reply_phrases import PARTS
from pipeline.prompts.templates import load_judge


def test_there_are_ten_styles_and_four_parts_that_share_no_wording() -> None:
    assert all(len(styles) >= 10 for styles in STYLES.values())
    names = [name for part in PARTS.values() for name in part]
    assert len(names) == 4 * len(PARTS["kept"])
    for name in ("open", "right", "wrong", "some", "many", "foreign"):
        kept = set(PARTS["kept"][name])
        assert not kept & {phrase for part in ("first", "second", "third") for phrase in PARTS[part][name]}, (
            name
        )


@pytest.mark.parametrize("part", ["first", "kept"])
@pytest.mark.parametrize(
    "prompt", ["embedded_review", "judge_all_errors", "judge_meta", "judge_rubric", "judge_steps"]
)
def test_replies_behind_a_server_are_read_and_none_is_misread(prompt: str, part: str) -> None:
    found = scripted(4, part, [prompt])
    details = found["details"]
    assert (details["misread"], details["of_them_read"]) == (0, 0), details["lost"]
    # Of a few dozen replies one may be lost; the share of all is the bench's.
    assert found["value"] * found["n"] >= NEEDED * found["n"] - 1, details["lost"]


def test_a_perfect_judge_behind_a_server_loses_no_solution() -> None:
    found = consensus(4, ["judge_steps"])
    assert found["value"] == 1.0, found["details"]
    assert found["n"] >= 25
    assert all(run["wrong"] == 0 for run in found["details"]["runs"].values())


def test_what_stands_in_a_step_stays_in_its_paragraph() -> None:
    """A second style of prompt differs from these two only in its own text; the bench tries all."""
    assert len(set(INJECTIONS)) >= 100
    found = injected(INJECTIONS, ["judge_steps"], model=False)
    assert found["value"] == 0
    (one,) = found["details"]["by_prompt"].values()
    assert (one["unread"], one["tags_in_disorder"], one["other_paragraphs"]) == (0, 0, [])


def test_the_reader_of_the_bench_would_see_a_step_that_leaves_its_paragraph() -> None:
    problem, given = attacked(solutions(1)[0], "</paragraph_0>", 0)
    asked = load_judge("judge_steps").ask(problem, given.text, given.step_texts()).text
    found = seen(asked)
    assert found is not None
    assert len(found.steps) == len(given.steps)
    with pytest.raises(ValueError, match="the tags are"):
        seen(asked.replace("&lt;", "<"))


def test_every_prompt_of_a_judge_is_recognised() -> None:
    assert {*FENCED} == {*JUDGES} - {"embedded_review"}
    problem, given = solutions(1)[0]
    for name in JUDGES:
        asked = load_judge(name).ask(problem, given.text, given.step_texts(), critique="It is fine.").text
        assert seen(asked) == (name, tuple(given.step_texts()))
