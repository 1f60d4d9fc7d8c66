"""Prompts: what is filled, what is refused, and what a judge's prompt declares."""

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.prompts.filling import fill
from pipeline.prompts.reply_schemas import reply_schema
from pipeline.prompts.templates import (
    PROMPTS,
    check_prompts,
    load_judge,
    load_template,
    solving_prompt,
)
from schemas.config import RunConfig
from schemas.errors import UserError
from schemas.records import Problem

HEAD = "---\nreads: first_error\nshows: paragraphs\ncounts_from: 1\n---\n"


def written(tmp_path: Path, text: str, name: str = "mine.txt") -> str:
    path = tmp_path / name
    path.write_text(text, encoding="utf-8")
    return str(path)


def run(**changes: object) -> RunConfig:
    return RunConfig.model_validate({"name": "r", **changes})


def test_every_shipped_prompt_loads() -> None:
    for path in PROMPTS.glob("*.txt"):
        judges = path.read_text(encoding="utf-8").startswith("---")
        assert load_judge(path.stem).text if judges else load_template(path.stem)


def test_lines_in_front_are_no_part_of_the_prompt(tmp_path: Path) -> None:
    found = load_judge(written(tmp_path, HEAD + "Look: {solution}"))
    assert (found.name, found.text) == ("mine", "Look: {solution}")
    assert (found.reads, found.shows, found.counts_from) == ("first_error", "paragraphs", 1)
    named = load_judge(written(tmp_path, HEAD.replace("reads", "name: strict\nreads") + "{solution}"))
    assert named.name == "strict"


def test_a_byte_order_mark_and_other_line_ends_are_no_error(tmp_path: Path) -> None:
    path = tmp_path / "j.txt"
    path.write_bytes(b"\xef\xbb\xbf" + (HEAD + "{solution}\n").replace("\n", "\r\n").encode())
    assert load_judge(str(path)).text == "{solution}\n"
    path.write_bytes(b"\xef\xbb\xbf{problem}\n")
    assert load_template(str(path)) == "{problem}\n"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("Solve this.", "has no {problem} in it"),
        ("{problem} in {style}", "nothing fills {style}; known: {problem}"),
        ("{problem} {solution}", "nothing fills {solution}"),
        ("{problem} {{problem}} {answer}", "nothing fills {answer}"),
        ("{{problem}}", "has no {problem} in it"),
        (HEAD + "{problem}{solution}", "is a judge's"),
        ("---\ntitle: x\n---\n{problem}", "unknown key `title`"),
    ],
)
def test_a_solving_prompt_that_cannot_be_used_is_refused(tmp_path: Path, text: str, said: str) -> None:
    name = written(tmp_path, text)
    with pytest.raises(UserError) as error:
        load_template(name)
    assert said in str(error.value)
    assert name in str(error.value)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{problem} {solution} Review:", "does not say how a judge's reply is read; begin the file with"),
        (HEAD + "{problem}", "has no {solution} in it"),
        (HEAD + "{solution} {gold}", "nothing fills {gold}; known: {problem} and {solution} and {answer}"),
        (HEAD.replace("first_error", "last_word") + "{solution}", "reads is 'last_word'; expected one of"),
        (HEAD.replace(": 1", ": 2") + "{solution}", "counts_from is '2'; expected one of 0, 1"),
        (HEAD.replace("paragraphs", "steps") + "{solution}", "shows is 'steps'"),
        (HEAD.replace("reads", "reed: 1\nreads") + "{solution}", "unknown key `reed`"),
        (HEAD.replace("reads", "reads: redo\nreads") + "{solution}", "`reads` is said twice"),
        (HEAD.replace("reads", "name: a b\nreads") + "{solution}", "name 'a b'"),
    ],
)
def test_a_judges_prompt_that_cannot_be_used_is_refused(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(UserError) as error:
        load_judge(written(tmp_path, text))
    assert said in str(error.value)


def test_what_is_no_prompt_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="neither a file nor one of embedded_review"):
        load_template("missing")
    with pytest.raises(UserError, match="neither a file nor one of"):
        load_template(str(tmp_path))
    (tmp_path / "binary").write_bytes(b"\xff\xfe\x00{problem}")
    with pytest.raises(UserError, match="not UTF-8 text"):
        load_template(str(tmp_path / "binary"))
    (tmp_path / "huge").write_bytes(b"{problem}" * 200_000)
    with pytest.raises(UserError, match="not a prompt"):
        load_template(str(tmp_path / "huge"))


@pytest.mark.parametrize(
    "text",
    [
        r"{problem} Put the answer in \boxed{answer}.",
        r"{problem} x_{word}, x^{word}, \frac{top}{bottom}, \sqrt[n]{word}",
        r"{problem} \begin{aligned} { spaced } {1} {} {a-b}",
        "{problem} {{style}}",
    ],
)
def test_other_braces_stay(tmp_path: Path, text: str) -> None:
    filled = fill(load_template(written(tmp_path, text)), problem="P")
    assert filled == text.replace("{problem}", "P").replace("{{style}}", "{style}")


@given(st.text(max_size=30), st.text(max_size=30))
def test_values_are_put_in_once(problem: str, solution: str) -> None:
    problem, solution = f"{problem}{{solution}}{{{{problem}}}}", f"{{problem}}{solution}"
    filled = fill("a {problem} b {solution} c", problem=problem, solution=solution)
    assert filled == f"a {problem} b {solution} c"


def test_a_prompt_does_not_end_in_the_space_of_the_next_word(tmp_path: Path) -> None:
    assert load_template(written(tmp_path, "{problem}\nAnswer: \t")) == "{problem}\nAnswer:"
    assert load_template(written(tmp_path, "{problem}\nAnswer:\n")) == "{problem}\nAnswer:\n"


def test_a_run_is_refused_for_its_prompts_before_it_begins(tmp_path: Path) -> None:
    check_prompts(run(annotate=[{"kind": "judge"}]))
    check_prompts(run())
    with pytest.raises(UserError, match="is a judge's"):
        check_prompts(run(prompt={"template": "judge_processbench"}))
    with pytest.raises(UserError, match="does not say how a judge's reply is read"):
        check_prompts(run(annotate=[{"kind": "judge", "prompts": ["embedded_solve"]}]))
    other = tmp_path / "other"
    other.mkdir()
    same = [written(tmp_path, HEAD + "{solution}"), written(other, HEAD + "{solution}")]
    with pytest.raises(UserError, match="both named 'mine'"):
        check_prompts(run(annotate=[{"kind": "judge", "prompts": same}]))


@pytest.mark.parametrize("line", ["=== User ===", "===user===", "== user ==", "=== user: ==="])
def test_a_line_that_only_looks_like_a_role_is_refused(tmp_path: Path, line: str) -> None:
    """Else system and user would be sent as one message, with these lines in it."""
    with pytest.raises(UserError, match="begins no role"):
        load_template(written(tmp_path, f"=== system ===\nHi.\n{line}\n{{problem}}"))


@pytest.mark.parametrize(
    "almost", ["{{ answer }}", "{answer!r}", "{row.answer}", "{steps[0]}", "{ problem }", "{problem:}"]
)
def test_a_variable_of_another_template_language_is_refused(tmp_path: Path, almost: str) -> None:
    with pytest.raises(UserError, match="nothing fills"):
        load_template(written(tmp_path, f"{{problem}} {almost}"))


ROLES = "=== system ===\nBe brief.\n\n=== user ===\nProblem: {problem}\n=== assistant ===\nStep 1:\n"


def test_a_prompt_may_say_what_each_role_says(tmp_path: Path) -> None:
    found = solving_prompt("mine", "---\nname: mine\nversion: 3\n---\n" + ROLES)
    assert found.ask(Problem(text="P")) == ("Problem: P\n", "Be brief.", "Step 1:")
    assert found.whole == "Be brief.\n\nProblem: {problem}\n"
    assert load_template(written(tmp_path, ROLES)) == found.whole
    judge = load_judge(written(tmp_path, HEAD + ROLES.replace("Problem: {problem}", "{problem}{solution}")))
    assert (judge.text, judge.system, judge.begins) == ("{problem}{solution}\n", "Be brief.", "Step 1:")
    # A rule of equal signs, and headings of other kinds, are text.
    text = "=== Problem ===\n{problem}\n=======\n=== answer ===\n"
    assert solving_prompt("mine", text).ask(Problem(text="P")) == (text.replace("{problem}", "P"), "", "")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (f"Hello.\n{ROLES}", "text before the line `=== system ===` belongs to no role"),
        (f"{ROLES}=== user ===\n{{problem}}", "two parts `=== user ===`"),
        (f"{ROLES}=== sytem ===\nx", "role 'sytem'; expected one of system, user, assistant"),
        (ROLES.replace("Step 1:", "{problem}"), "nothing fills {problem}; known: none in an answer's beg"),
        (ROLES.replace("{problem}", "it"), "has no {problem} in it"),
        ("{problem?}", "{problem?}: every problem has one; write {problem}"),
        (ROLES.replace("brief", "{answer}"), "nothing fills {answer}; known: {problem}"),
    ],
)
def test_roles_that_cannot_be_used_are_refused(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(UserError) as error:
        load_template(written(tmp_path, text))
    assert said in str(error.value)


@pytest.mark.parametrize(
    ("head", "said"),
    [
        ("reads: redo\nreplies: json", "`replies: json` does not go with a solution done again"),
        ("reads: per_step\nreplies: xml", "replies is 'xml'; expected one of text, json"),
        ("reads: rubric\nmaximum: 0", "maximum is '0'; expected a whole number from 1 on"),
        ("reads: rubric\nmaximum: inf", "maximum is 'inf'"),
    ],
)
def test_a_reply_that_cannot_be_read_so_is_refused(tmp_path: Path, head: str, said: str) -> None:
    with pytest.raises(UserError, match=re.escape(said)):
        load_judge(written(tmp_path, f"---\n{head}\n---\n{{solution}}"))


def test_only_a_meta_critique_shows_a_critique() -> None:
    check_prompts(run(annotate=[{"kind": "judge", "meta": "judge_meta"}]))
    with pytest.raises(UserError, match="'judge_meta' has {critique} in it: only `meta` has one to show"):
        check_prompts(run(annotate=[{"kind": "judge", "prompts": ["judge_meta"]}]))
    with pytest.raises(UserError, match="judge.meta: 'judge_steps' has no {critique} in it"):
        check_prompts(run(annotate=[{"kind": "judge", "meta": "judge_steps"}]))


@pytest.mark.parametrize("name", sorted(path.stem for path in PROMPTS.glob("judge_*.txt")))
@pytest.mark.parametrize("replies", ["text", "json"])
def test_json_is_asked_for_in_the_form_that_is_read(name: str, replies: str) -> None:
    prompt = replace(load_judge(name), replies=replies, counts_from=1)
    schema = reply_schema(prompt, 2)
    assert bool(schema) == (replies == "json")
    if schema:
        form = json.loads(schema)["properties"]
        assert "review" in form or "review" in form["steps"]["items"]["properties"]
        assert ("[-1, 1, 2]" in schema) == (prompt.reads == "first_error")
