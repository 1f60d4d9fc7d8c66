"""The documents agree with the code: what they name is there, and what they tell to type is understood.

Looked at is what stands in backticks or in a block of code. A document that names something new of another
program puts it under `OTHERS`.
"""

import argparse
import ast
import re
import shlex
import tomllib
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from benchmarks.house import tree_of
from flows.arguments import parser
from schemas.config import RunConfig, parse_config
from schemas.derive import parse_settings
from schemas.errors import UserError
from schemas.notation import SECTIONS
from schemas.sections import classes_of
from tests.documents import ROOT, Said, faults, spoken

DOCUMENTS = [
    *("README.md", "CONTRIBUTING.md", "data/README.md"),
    *sorted(f"docs/{path.name}" for path in ROOT.glob("docs/*.md")),
]
PACKAGES = ("schemas", "verifiers", "pipeline", "flows", "stepmint", "benchmarks", "tests")
FOLDERS = (*PACKAGES, "configs", "deploy", "docs", "data", ".ci")
PATH = re.compile(
    rf"(?<![\w/.~$-])((?:{'|'.join(map(re.escape, FOLDERS))})/[\w./*-]*|[A-Z]+\.md|[a-z]+\.toml)(?:::(\w+))?"
)
DOTTED = re.compile(rf"\b(?:{'|'.join(PACKAGES)})(?:\.[A-Za-z_]\w*)+")
CALL = re.compile(r"([a-z_]\w*)\(([a-z_]+(?:, [a-z_]+)*)\)")
LINK = re.compile(r"\]\(([^)#:\s]+)(?:#[\w-]*)?\)")
WORD = re.compile(r"[A-Za-z_]\w*")
OF_A_READER = frozenset(
    {
        *("run.toml", "mine.toml", "problems.toml", "data/*.jsonl", "data/**/*.jsonl"),
        *(f"data/{subset}/2026-11-27-00000.parquet" for subset in ("steps", "rollouts")),
        "data/steps/2026-11-28-*.parquet",
    }
)
"""Files of whoever reads a document; the patterns are examples of how several are named at once."""
NEEDED: dict[str, dict[str, Any]] = {"evaluate": {"train": {}}, "series": {"train": {}}}
"""Sections that a run file has only beside others, and those."""
OTHERS = frozenset(
    {
        *("AutoModelForTokenClassification", "save_to_disk", "max_completion_tokens", "return_token_ids"),
        *("parse_expr", "step_tag_id", "sympify", "tok_pooling_type"),
    }
)
"""Names of other programs."""
COMMANDS: dict[str, argparse.ArgumentParser] = next(
    action.choices for action in parser()._actions if isinstance(action, argparse._SubParsersAction)
)


# Paths


@pytest.mark.parametrize("document", DOCUMENTS)
def test_every_path_is_there(document: str) -> None:
    def wrong() -> Iterator[tuple[Said, str]]:
        for said in spoken(document):
            for path, name in PATH.findall(said.text):
                if path not in OF_A_READER and not _exists(path):
                    yield said, f"no {path}"
                elif name and f"def {name}(" not in (ROOT / path).read_text(encoding="utf-8"):
                    yield said, f"no {name} in {path}"

    assert not faults(document, wrong())


def _exists(path: str) -> bool:
    """Whether it is there; of a name to be filled in (`verifiers/NAME.py`), whether its folder is."""
    head = re.split(r"[A-Z]{3,}|\*", path)[0] if not path.endswith(".md") else path
    if "*" in path:
        return any(ROOT.glob(path))
    return (ROOT / head).exists()


@pytest.mark.parametrize("document", DOCUMENTS)
def test_every_link_leads_somewhere(document: str) -> None:
    text = (ROOT / document).read_text(encoding="utf-8")
    folder = (ROOT / document).parent
    assert not [f"{document}: {target}" for target in LINK.findall(text) if not (folder / target).exists()]


# Commands


def command_lines(said: Said) -> Iterator[list[str]]:
    """The lines of a piece that call `stepmint` or another command, in words, without their remarks."""
    joined = said.text.replace("\\\n", " ")
    for line in joined.splitlines():
        try:
            yield shlex.split(line, comments=said.is_block)
        except ValueError:
            continue  # prose, or a model's answer


def stepmint_calls(document: str) -> Iterator[tuple[Said, list[str]]]:
    for said in spoken(document):
        for words in command_lines(said):
            if "stepmint" not in words[:5] or words == ["stepmint"] or words[0][:1] == "=":
                continue
            if words[0] not in ("import", "from"):  # of Python
                yield said, words[words.index("stepmint") + 1 :]


@pytest.mark.parametrize("document", DOCUMENTS)
def test_every_stepmint_command_is_understood(document: str) -> None:
    def wrong() -> Iterator[tuple[Said, str]]:
        for said, words in stepmint_calls(document):
            command = COMMANDS.get(words[0])
            if command is None:
                yield said, f"no command {words[0]}"
            elif said.is_block:
                yield from ((said, what) for what in _misunderstood(words))
            else:
                known = command._option_string_actions
                yield from ((said, f"no option {w}") for w in words if w.startswith("--") and w not in known)

    assert not faults(document, wrong())


def _misunderstood(words: list[str]) -> Iterator[str]:
    try:
        args = parser().parse_args(words)
    except UserError as error:
        yield str(error)
        return
    for override in getattr(args, "set", []):
        if args.command == "derive":
            parse_settings(args.method, (override,))
        elif not _is_setting(override.partition("=")[0]):
            yield f"no setting {override}"


@pytest.mark.parametrize("document", DOCUMENTS)
def test_every_option_is_some_commands(document: str) -> None:
    """`--repair` by itself is an option of a command; `--seed` of the recipe is not of ours."""
    options = {name for command in COMMANDS.values() for name in command._option_string_actions}
    others = {"--seed"}  # of pipeline.embedded.training.recipe

    def wrong() -> Iterator[tuple[Said, str]]:
        for said in spoken(document, blocks=False):
            if said.text.startswith("--") and said.text.split()[0] not in options | others:
                yield said, "no such option"

    assert not faults(document, wrong())


def declared_benches() -> set[str]:
    tree = tree_of((ROOT / "benchmarks/__main__.py").read_text(encoding="utf-8"))
    (names,) = (
        node.value.keys
        for node in tree.body
        if isinstance(node, ast.AnnAssign)
        and isinstance(node.value, ast.Dict)
        and ast.unparse(node.target) == "BENCHES"
    )
    return {name.value for name in names if isinstance(name, ast.Constant)}


def _is_bench(name: str) -> bool:
    return any(one == name or one.startswith(f"{name}.") for one in declared_benches())


@pytest.mark.parametrize("document", DOCUMENTS)
def test_every_bench_and_make_target_is_declared(document: str) -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))

    def wrong() -> Iterator[tuple[Said, str]]:
        for said in spoken(document):
            for name in re.findall(r"python -m benchmarks ([a-z][\w.]*)", said.text):
                if not _is_bench(name):
                    yield said, f"no bench {name}"
            for target in re.findall(r"(?:^|\n)make ([a-z-]+)", said.text):
                if target not in targets:
                    yield said, f"no make target {target}"

    assert not faults(document, wrong())


# Settings


def _is_setting(key: str) -> bool:
    """Whether `section.key` is a setting of a run file, in today's notation or in that of earlier ones."""
    if key.split(".")[0] in SECTIONS:
        kind, _, key = key.partition(".")
        return not key or any(
            key in one.model_fields
            for one in classes_of(RunConfig.model_fields["annotate"].annotation)
            if one.model_fields["kind"].default == kind
        )
    found: list[type[BaseModel]] = [RunConfig]
    for name in key.split("."):
        holders = [one for one in found if name in one.model_fields]
        if not holders:
            return False
        found = [inner for one in holders for inner in classes_of(one.model_fields[name].annotation)]
    return True


@pytest.mark.parametrize("document", DOCUMENTS)
def test_every_setting_is_one_of_a_run_file(document: str) -> None:
    def wrong() -> Iterator[tuple[Said, str]]:
        for said in spoken(document, blocks=False):
            key = re.fullmatch(r"\[([a-z_.]+)\](?: ([a-z_]+)(?: = .*)?)?", said.text)
            if key and not _is_setting(".".join(filter(None, key.groups()))):
                yield said, "no such setting"

    assert not faults(document, wrong())


@pytest.mark.parametrize("document", DOCUMENTS)
def test_every_run_file_is_valid(document: str) -> None:
    """A part of one, too: with a name it is a run file."""

    def wrong() -> Iterator[tuple[Said, str]]:
        for said in spoken(document, blocks=True):
            if re.match(r"(\w+ = .*\n)*\[\[?[a-z_]+(\.[a-z_]+)?\]", said.text):
                try:
                    found = tomllib.loads(said.text)
                    needed = {name: one for section in found for name, one in NEEDED.get(section, {}).items()}
                    parse_config({"name": "r", **needed, **found}, "run.toml")
                except (UserError, tomllib.TOMLDecodeError) as error:
                    yield said, str(error)

    assert not faults(document, wrong())


# Code


@cache
def source() -> frozenset[str]:
    """Every word of the code that is no test, and of its settings, and the name of every prompt."""
    files = [path for package in PACKAGES if package != "tests" for path in (ROOT / package).rglob("*.py")]
    files += [*ROOT.glob("configs/*.toml"), ROOT / "pyproject.toml", ROOT / "Makefile"]
    prompts = {path.stem for path in ROOT.glob("pipeline/prompts/*.txt")}
    return prompts | frozenset(
        word for path in files for word in WORD.findall(path.read_text(encoding="utf-8"))
    )


@cache
def signatures() -> dict[str, list[tuple[tuple[str, ...], tuple[str, ...]]]]:
    """The functions by their names: all their positional parameters, and those that must be given."""
    found: dict[str, list[tuple[tuple[str, ...], tuple[str, ...]]]] = {}
    for package in PACKAGES:
        for path in (ROOT / package).rglob("*.py"):
            for node in ast.walk(tree_of(path.read_text(encoding="utf-8"))):
                if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                    names = tuple(arg.arg for arg in node.args.args if arg.arg != "self")
                    needed = names[: len(names) - len(node.args.defaults)]
                    found.setdefault(node.name, []).append((names, needed))
    return found


def _resolves(dotted: str) -> bool:
    """Whether a dotted name is a module, or what one defines; nothing is imported."""
    parts = dotted.split(".")
    for n in range(len(parts), 0, -1):
        place = ROOT.joinpath(*parts[:n])
        file = place.with_suffix(".py") if place.with_suffix(".py").is_file() else place / "__init__.py"
        if file.is_file():
            return not parts[n:] or parts[n] in _defined(file)
        if place.is_dir() and n == len(parts):
            return True
    return False


@cache
def _defined(file: Path) -> set[str]:
    tree = tree_of(file.read_text(encoding="utf-8"))
    named = {
        node.name
        for node in tree.body
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)
    }
    assigned = {ast.unparse(t) for node in tree.body if isinstance(node, ast.Assign) for t in node.targets}
    annotated = {ast.unparse(node.target) for node in tree.body if isinstance(node, ast.AnnAssign)}
    return named | assigned | annotated | _passed_on(tree)


def _passed_on(tree: ast.Module) -> set[str]:
    """What a module imports for others: named in `__all__`, or imported as itself (`import Vote as Vote`)."""
    listed = {
        name
        for node in tree.body
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__"
        for name in ast.literal_eval(node.value)
    }
    imported = [one for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) for one in node.names]
    return listed | {one.name for one in imported if one.asname == one.name}


@pytest.mark.parametrize("document", DOCUMENTS)
def test_every_module_and_function_is_defined(document: str) -> None:
    def wrong() -> Iterator[tuple[Said, str]]:
        for said in spoken(document):
            for dotted in DOTTED.findall(said.text):
                if not (dotted.endswith(".py") or _is_bench(dotted) or _resolves(dotted)):
                    yield said, f"no {dotted}"
            if said.is_block:
                continue
            for name, given in CALL.findall(said.text):
                takes = signatures().get(name, [])
                asked = tuple(given.split(", "))
                if takes and not any(asked in (names, needed) for names, needed in takes):
                    yield said, f"{name} takes {' or '.join(sorted({str(names) for names, _ in takes}))}"

    assert not faults(document, wrong())


@pytest.mark.parametrize("document", DOCUMENTS)
def test_every_name_stands_in_the_code(document: str) -> None:
    """A word with an underscore, or in capitals within, is a name: of ours, or of `OTHERS`."""

    def wrong() -> Iterator[tuple[Said, str]]:
        for said in spoken(document, blocks=False):
            name = said.text.partition("(")[0]
            is_name = WORD.fullmatch(name) and ("_" in name or name[1:].lower() != name[1:])
            if is_name and name not in source() | OTHERS and not name.isupper():
                yield said, "named nowhere in the code"

    assert not faults(document, wrong())


WRONG = {
    test_every_path_is_there: "`pipeline/nowhere.py`, `tests/test_documents.py::test_of_nothing`",
    test_every_link_leads_somewhere: "[there](nowhere.md)",
    test_every_stepmint_command_is_understood: "\n\n    stepmint run mine.toml --faster\n",
    test_every_option_is_some_commands: "`--faster`",
    test_every_bench_and_make_target_is_declared: "`python -m benchmarks house.nothing`, `make nothing`",
    test_every_setting_is_one_of_a_run_file: "`[monte_carlo] rolouts`, `[montecarlo]`",
    test_every_run_file_is_valid: "\n\n    [fusion]\n    accept = 7\n",
    test_every_module_and_function_is_defined: "`pipeline.fusion.labels.nothing`, `fuse(votes)`",
    test_every_name_stands_in_the_code: "`no_such_name`, `NoSuchName`",
}


@pytest.mark.parametrize("check", WRONG, ids=lambda check: check.__name__)
def test_what_is_wrong_in_a_document_is_seen(check: Callable[[str], None], tmp_path: Path) -> None:
    """Each check once on a document that is right, and once on one with a fault of its kind."""
    document = tmp_path / "page.md"
    document.write_text("See `pipeline/fusion/labels.py`.\n\n    stepmint run mine.toml --set seed=1\n")
    check(str(document))
    document.write_text(f"See {WRONG[check]}.\n")
    with pytest.raises(AssertionError, match="page"):
        check(str(document))
