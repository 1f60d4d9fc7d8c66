"""The short form of `python -m benchmarks judges`: a scripted judge behind a server, in the styles of chat
models."""

import pytest

from benchmarks.injected import FENCED, attacked, injected
from benchmarks.injections import INJECTIONS
from benchmarks.judges import NEEDED, consensus, scripted
from benchmarks.judging import JUDGES, seen, solutions
from benchmarks.reply_forms import STYLES
from benchmarks.reply_phrases import PARTS
from pipeline.annotators.scores import read_score
from pipeline.annotators.stepwise import read_all_errors, read_per_step
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


FOUR_HASHES = (
    "#### Paragraph 0:\nFine.\n\nParagraph 0: correct\n\n#### Paragraph 1:\nSo this is incorrect.\n\n"
)
TRUTH = (
    "Paragraph 0: False\n\nHold on, once more.\n\nParagraph 0: True\nParagraph 1: True\nParagraph 2: False"
)


@pytest.mark.parametrize(
    ("reply", "first"),
    [
        (f"{FOUR_HASHES}Paragraph 1: incorrect", 1),  # was read as 0
        ("Paragraph 0: correct\nIn paragraph 1: So this is wrong.\nParagraph 1: wrong", 1),  # was read as 0
        (TRUTH, 2),  # was read as 0
        (
            "Paragraph 0: correct\n\u00b61\nSo this is wrong.\nParagraph 1: wrong",
            None,
        ),  # no heading that we know
        ("Paragraph 0: wrong\n\nHold on, once more.\n\nParagraph 0: dubious\nParagraph 1: wrong", None),
        ("## Step 1: Review paragraph 0\nVerdict: correct\n## Step 2: Review paragraph 1\nVerdict: wrong", 1),
        ("__Paragraph 0: correct__\n__Paragraph 1: wrong__", 1),
        ("Paragraph 0: correct\nParagraph 1 gave 4, so go on.\nParagraph 0: fine\nParagraph 1: wrong", 1),
    ],
)
def test_a_verdict_is_taken_for_no_other_paragraph(reply: str, first: int | None) -> None:
    assert read_per_step(reply, 3).first == first


def test_numbers_behind_a_sentence_of_praise_are_no_praise() -> None:
    """Was read as "no error": the list of errors behind it was not understood."""
    reply = "Paragraph 0: I see nothing wrong with it.\n\nThere are no errors there.\n\nErroneous are: 1, 2"
    assert read_all_errors(reply, 3).wrong is None
    listed = read_all_errors("I see nothing wrong with it.\n\nErrors in paragraphs: 1, 2", 3)
    assert listed.wrong == frozenset({1, 2})


def test_a_box_that_answers_the_problem_is_no_score() -> None:
    assert read_score("Let me solve it. 1 + 1 = 2, and 2 - 1 = 1.\n\nThe answer is \\boxed{1}.").score is None
