"""`stepmint label`: the run that labels the solutions of a file, made of the command's arguments.

It is an ordinary run: its folder is `runs/NAME`, and every other command works on it.
"""

import argparse
import re
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import tomli_w

from flows.init import met, name_of, problems_of
from schemas.config import RunConfig, ServerConfig, VerifyConfig, parse_config
from schemas.errors import UserError
from schemas.overrides import set_key
from schemas.records import Candidate, Problem
from verifiers.base import contexts_of
from verifiers.rules.rules import rule_claims

if TYPE_CHECKING:
    from pipeline.inputs.given import Item

_LOOKED_AT = 300
"""Problems and solutions that are looked at to choose the verifiers."""
_TRIED = 20
"""Solutions whose steps are read to see whether a rule decides any of them."""
_MARKUP = re.compile(
    r"^[ \t]*(?:#{1,3} \S|\$\$|\\\[|\\begin\{|```|\*\*.+\*\*:?[ \t]*$|\|.+\|[ \t]*$)", re.MULTILINE
)
"""A line that only markup has: a heading, a display formula, an environment, a fence, a line in bold, a row
of a table. Not `#### 57`, which is GSM8K's answer: its solutions have a step a line."""
_HEAD = "# Made by `stepmint label`. As a run file it does the same: stepmint run FILE\n"


def drafted(args: argparse.Namespace) -> tuple[RunConfig, str]:
    """The run that the arguments ask for, and its run file. A run that has begun keeps the verifiers and the
    ways to ask its servers that it began with. UserError for what cannot be used."""
    fields = {"text": args.text, "answer": args.answer}
    source = problems_of(args.file, {ours: column for ours, column in fields.items() if column})
    out = Path(args.out or f"runs/{name_of(args.file)}")
    data: dict[str, Any] = {
        "name": out.name,
        "root": str(out.parent),
        "problems": source.model_dump(include={"source", "path", "fields"}, exclude_defaults=True),
        "propose": {"kind": "given", **({"column": args.solution} if args.solution else {})},
    }
    # The source of a dataset on the Hub cannot be told from its path alone.
    data["problems"]["source"] = source.source
    if args.limit is not None:
        data["problems"]["limit"] = args.limit
    before = _begun(out)
    if args.policy:
        data["policy"] = _asked(args.policy, args.policy_model, before, prefixes=True)
        data["prompt"] = {"template": "solve", "max_tokens": 1024}
        if not data["policy"]["chat"]:
            data["prompt"]["stop"] = ["\nProblem:"]  # a bare model may go on with another problem
    found = _first(parse_config(data, "stepmint label"))
    data["annotate"] = list(_annotators(args, found, before))
    for override in args.set:
        set_key(data, override)
    # A separator that is named is taken. A run that has begun keeps its way to cut.
    if "separator" not in data.get("prompt", {}) and (before.prompt.split if before else is_marked_up(found)):
        data["prompt"] = {"split": {}, **data.get("prompt", {})}
    config = parse_config(data, "stepmint label", tuple(args.set))
    if config.asks_policy and "policy" not in data:
        raise UserError("--set names an annotator without a model: give its server with --judge or --policy")
    return config, _HEAD + tomli_w.dumps(data)


def _annotators(
    args: argparse.Namespace, found: "Sequence[Item]", before: RunConfig | None
) -> Iterator[dict[str, Any]]:
    if before and (verify := before.annotators(VerifyConfig)):
        names = list(verify[0].verifiers)
    else:
        names = fitting(found)
    yield {"kind": "verify", "verifiers": names}
    if args.judge:
        policy = _asked(args.judge, args.model, before, prefixes=False)
        yield {"kind": "judge", "policy": policy}
    elif args.model:
        raise UserError("--model names the judge's model: give its server, too, with --judge")
    if args.policy:
        yield {"kind": "monte_carlo"}


def _first(config: RunConfig) -> "list[Item]":
    """The first problems and solutions of the file."""
    from pipeline.inputs.given import load_given, reading_of

    reading = reading_of(config)
    assert reading is not None
    return list(islice(load_given(config.problems, reading), _LOOKED_AT))


def is_marked_up(found: "Sequence[Item]") -> bool:
    """Whether at least half of the solutions are paragraphs with markup, as chat models write them. Cut at
    every line, a `$$` or a heading would be a step. Programs have a way to be cut of their own."""
    if any(isinstance(one, Problem) and one.tests for one in found):
        return False
    solutions = [one.solution for one in found if isinstance(one, Candidate)]
    texts = [solution.text[solution.steps[0].start :] for solution in solutions]
    marked = sum("\n\n" in text and bool(_MARKUP.search(text)) for text in texts)
    return bool(texts) and 2 * marked >= len(texts)


def fitting(found: "Sequence[Item]") -> list[str]:
    """The verifiers that may have something to say of rows like the first ones."""
    problems = [one for one in found if isinstance(one, Problem)]
    texts = [one.solution.text for one in found if isinstance(one, Candidate)]
    symbolic = any(problem.premises for problem in problems)
    asked = {
        "constraints": symbolic,
        "logic": symbolic,
        # Programs stand in fences of Markdown; the verifier runs what is in them.
        "code": any("```" in text for text in texts) or any(problem.tests for problem in problems),
        "tables": any(problem.table for problem in problems),
        "rules": has_rules(problems, [one for one in found if isinstance(one, Candidate)]),
    }
    return ["arithmetic", "algebra", *(name for name, fits in asked.items() if fits)]


def has_rules(problems: "Sequence[Problem]", candidates: "Sequence[Candidate]") -> bool:
    """Whether a rule decides anything in the first solutions: sorted words, brackets, dates, ..."""
    posed = {problem.id: problem for problem in problems}
    texts = [(posed.get(one.solution.problem_id), one.solution.step_texts()) for one in candidates[:_TRIED]]
    contexts = (context for problem, steps in texts if problem for context in contexts_of(problem, steps))
    return any(checked.verdict != "abstains" for context in contexts for checked in rule_claims(context))


def _begun(folder: Path) -> RunConfig | None:
    from pipeline.storage.recorded import config_here, is_begun

    return config_here(folder) if is_begun(folder) else None


def _asked(url: str, model: str, before: RunConfig | None, *, prefixes: bool) -> dict[str, Any]:
    """How a server is asked: as by the run that has begun, else as it can be."""
    for one in before.policies().values() if before else ():
        if isinstance(one, ServerConfig) and one.base_url == url and model in ("", one.model):
            return {"kind": "server", "model": one.model, "base_url": url, "chat": one.chat}
    asked, _ = met(url, model, prefixes=prefixes)
    if prefixes and not asked.continues:
        raise UserError(
            f"{url}: {asked.model} does not continue a begun answer, as rollouts need: leave --policy "
            "out, or use a server that knows `continue_final_message` (vLLM)"
        )
    return {"kind": "server", "model": asked.model, "base_url": url, "chat": asked.chat}
