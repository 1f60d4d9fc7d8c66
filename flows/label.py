"""`stepmint label`: the run that labels the solutions of a file, made of the command's arguments.

It is an ordinary run: its folder is `runs/NAME`, and every other command works on it.
"""

import argparse
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import tomli_w

from flows.init import met, name_of, problems_of
from schemas.config import RunConfig, ServerConfig, VerifyConfig, parse_config
from schemas.errors import UserError
from schemas.overrides import set_key
from schemas.records import Candidate, Problem

_LOOKED_AT = 300
"""Problems and solutions that are looked at to choose the verifiers."""
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
    if args.limit:
        data["problems"]["limit"] = args.limit
    before = _begun(out)
    if args.policy:
        data["policy"] = _asked(args.policy, args.policy_model, before, prefixes=True)
        data["prompt"] = {"template": "solve", "max_tokens": 1024}
        if not data["policy"]["chat"]:
            data["prompt"]["stop"] = ["\nProblem:"]  # a bare model may go on with another problem
    data["annotate"] = list(_annotators(args, data, before))
    for override in args.set:
        set_key(data, override)
    return parse_config(data, "stepmint label", tuple(args.set)), _HEAD + tomli_w.dumps(data)


def _annotators(
    args: argparse.Namespace, data: dict[str, Any], before: RunConfig | None
) -> Iterator[dict[str, Any]]:
    if before and (verify := before.annotators(VerifyConfig)):
        names = list(verify[0].verifiers)
    else:
        names = fitting(parse_config({**data, "annotate": []}, "stepmint label"))
    yield {"kind": "verify", "verifiers": names}
    if args.judge:
        policy = _asked(args.judge, args.model, before, prefixes=False)
        yield {"kind": "judge", "policy": policy}
    elif args.model:
        raise UserError("--model names the judge's model: give its server, too, with --judge")
    if args.policy:
        yield {"kind": "monte_carlo"}


def fitting(config: RunConfig) -> list[str]:
    """The verifiers that may have something to say of rows like the first ones."""
    from pipeline.inputs.given import load_given, reading_of

    reading = reading_of(config)
    assert reading is not None
    found = list(islice(load_given(config.problems, reading), _LOOKED_AT))
    problems = [one for one in found if isinstance(one, Problem)]
    texts = [one.solution.text for one in found if isinstance(one, Candidate)]
    symbolic = any(problem.premises for problem in problems)
    asked = {
        "constraints": symbolic,
        "logic": symbolic,
        # Programs stand in fences of Markdown; the verifier runs what is in them.
        "code": any("```" in text for text in texts) or any(problem.tests for problem in problems),
        "tables": any(problem.table for problem in problems),
    }
    return ["arithmetic", "algebra", *(name for name, fits in asked.items() if fits)]


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
