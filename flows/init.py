"""`stepmint init`: look at the data, try the server on one problem, and write a run file that fits both."""

import argparse
import asyncio
import json
import os
import re
import tomllib
from collections import Counter
from contextlib import AsyncExitStack
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flows.run_file import Asked, Draft, relative_to, text_of
from schemas.config import (
    EmbeddedProblems,
    JudgeConfig,
    MonteCarloConfig,
    ProblemsConfig,
    RunConfig,
    SampleConfig,
    parse_config,
    problems_config,
)
from schemas.errors import BackendError, UserError
from schemas.records import Finished, Problem, Quarantined, Rollout

if TYPE_CHECKING:
    from pipeline.policies.server.probe import Probe

Result = dict[str, Any]
_MOST = 10_000
"""Rows that are looked at."""
_REASONS = 5
"""Reasons of bad rows that are shown."""
_REPLY = 1_000_000
"""Bytes of a list of models."""
_HUB = re.compile(r"[\w-]+/[\w-]+")
"""`owner/name`: without a dot it is no file's name."""
_LOCAL = ("127.0.0.1", "::1", "localhost")


def init(args: argparse.Namespace) -> Result:
    """Look, try, and write. Nothing is written where something cannot be used."""
    from pipeline.storage.atomic import write_bytes
    from pipeline.storage.recorded import check_outside

    named = {"text": args.text, "answer": args.answer}
    problems = problems_of(args.data, {ours: column for ours, column in named.items() if column})
    found, about = _survey(problems)
    name = name_of(args.data)
    out = Path(args.out or f"{name}.toml")
    check_outside(out)
    if out.exists() and not args.force:
        raise UserError(f"{out}: exists already: name another file with --out, or replace it with --force")
    policy, probed = met(args.server, args.model, prefixes=True) if args.server else (None, {})
    judge, judged = met(args.judge_server, "", prefixes=False) if args.judge_server else (None, {})
    source = problems.model_dump(include={"source", "path"})
    draft = Draft(
        name=name,
        source={**source, "path": relative_to(args.data, out) if source["source"] == "file" else args.data},
        fields={} if about["fields"] == {"text": "text", "answer": "answer"} else about["fields"],
        taken=about["taken"],
        policy=policy,
        judge=judge,
    )
    text = text_of(draft)
    config = parse_config(tomllib.loads(text), str(out))
    solved = asyncio.run(_tried(config, found))
    write_bytes(out, text.encode())
    policies = {"policy": probed, "judge": judged}
    return {
        "out": str(out),
        "problems": about,
        "policies": {role: found for role, found in policies.items() if found},
        "simulated": policy is None,
        "solved": solved,
    }


def name_of(path: str) -> str:
    """A run's name from that of a file."""
    return re.sub(r"[^A-Za-z0-9._-]+", "-", Path(path).name.split(".")[0]).strip(".-_") or "mine"


def problems_of(data: str, fields: dict[str, str]) -> ProblemsConfig:
    """`[problems]` for a file, a folder, a glob, or a dataset of the Hub."""
    is_far = _HUB.fullmatch(data) and not Path(data).exists()
    return problems_config(source="huggingface" if is_far else "file", path=data, fields=fields)


def _survey(config: ProblemsConfig) -> tuple[Problem, Result]:
    """A problem to try, and what the rows hold. UserError where they hold no problem."""
    from pipeline.inputs.columns import find_columns
    from pipeline.inputs.problems import first_rows, load_problems, name_of
    from schemas.complaints import no_problem

    assert not isinstance(config, EmbeddedProblems)
    columns = find_columns(config, first_rows(config), name_of(config))
    seen = list(islice(load_problems(config), _MOST))
    good = [item for item in seen if isinstance(item, Problem)]
    bad = [item for item in seen if isinstance(item, Quarantined)]
    if not good:
        raise UserError(f"{name_of(config)}: {no_problem(bad)}")
    kinds = Counter(item.answer_kind if item.golds else "missing" for item in good)
    about = {
        "taken": columns.said.removeprefix("problems: "),
        "fields": {ours: columns.places[ours] for ours in ("text", "answer") if ours in columns.places},
        "rows": len(seen),
        "all_rows": len(seen) < _MOST,
        "usable": len(good),
        "set_aside": len(bad),
        "reasons": dict(Counter(_why(item) for item in bad).most_common(_REASONS)),
        "gold_answers": dict(kinds.most_common()),
        "several_answers": sum(len(item.golds) > 1 for item in good),
    }
    return next((item for item in good if item.golds), good[0]), about


def _why(bad: Quarantined) -> str:
    """A reason, without what differs from row to row."""
    column = f"{bad.field}: " if bad.field else ""
    return column + ("a duplicate" if bad.reason.startswith("same as ") else bad.reason)[:200]


def met(url: str, model: str, *, prefixes: bool) -> tuple[Asked, Result]:
    """How a server is best asked, and what it was found to do.

    A chat model writes better by its template, so that is tried first. Rollouts must continue begun answers:
    a server that does so in neither way is asked without. UserError where it does not answer at all.
    """
    model = model or _served(url)
    refusals = []
    for needed in dict.fromkeys((prefixes, False)):
        for chat in (True, False):
            probe = asyncio.run(_probed(url, model, chat, prefixes=needed))
            if not probe.refused:
                return Asked(url, model, chat, continues=needed), probe.as_dict()
            refusals.append(f"chat = {str(chat).lower()}: {probe.refused}")
    raise UserError(f"{url}: {model} cannot be used: {'; '.join(refusals[-2:])}")


async def _probed(url: str, model: str, chat: bool, *, prefixes: bool) -> "Probe":
    from pipeline.policies import open_policy
    from pipeline.policies.base import Sampling
    from pipeline.policies.server.probe import Probe, examine

    policy = {"kind": "server", "model": model, "base_url": url, "chat": chat}
    asked = parse_config({"name": "init", "policy": policy}, "--server").policy
    found = Probe(asked.kind, model)
    try:
        async with open_policy(asked) as opened:
            return await examine(opened, Sampling(max_tokens=1024), prefixes=prefixes)
    except (UserError, BackendError) as error:
        found.refused = str(error)
    return found


def _served(url: str) -> str:
    """The one model that a server lists. UserError where there is none, or a choice."""
    import httpx

    key = os.environ.get("OPENAI_API_KEY", "")
    head = {"authorization": f"Bearer {key}"} if key else {}
    place = f"{url.rstrip('/')}/models"
    try:
        local = httpx.URL(url).host in _LOCAL
        with (
            httpx.Client(timeout=10, trust_env=not local) as client,
            client.stream("GET", place, headers=head) as reply,
        ):
            body = b""
            for chunk in reply.iter_bytes():
                body += chunk
                if len(body) > _REPLY:
                    raise UserError(
                        f"{place}: answers with more than {_REPLY:,} bytes: name one with --model"
                    )
        names = [str(item["id"]) for item in json.loads(body)["data"]]
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise UserError(f"{url}: cannot be reached: {error or type(error).__name__}") from None
    except (ValueError, RecursionError, KeyError, TypeError):
        raise UserError(f"{place}: lists no models: name one with --model") from None
    if len(names) != 1:
        raise UserError(f"{url}: serves {', '.join(names)[:300] or 'no model'}: name one with --model")
    return names[0]


async def _tried(config: RunConfig, problem: Problem) -> Result:
    """One problem solved, split, graded, judged and verified as a run does it, but without rollouts."""
    from pipeline.labelling.shard import label_problem
    from pipeline.labelling.tools import open_tools

    one_reply = [
        one.model_copy(update={"votes": 1}) if isinstance(one, JudgeConfig) else one
        for one in config.annotate
        if not isinstance(one, MonteCarloConfig)
    ]
    once = config.model_copy(update={"annotate": tuple(one_reply), "propose": SampleConfig(n=1)})
    async with AsyncExitStack() as stack:
        finished, drawn = await label_problem(problem, await open_tools(once, stack))
    return _told(problem, finished, drawn)


def _told(problem: Problem, finished: Finished, drawn: list[Rollout]) -> Result:
    shown: Result = {"problem": problem.text, "golds": list(problem.golds)}
    if not finished.candidates:
        text = drawn[0].text[:500] if drawn else ""
        return {**shown, "steps": [], "why": finished.skipped, "text": text}
    candidate = finished.candidates[0]
    steps = [
        {
            "text": step.text,
            "votes": [
                {"source": vote.source, "said": _said(vote.p), "why": vote.why}
                for vote in candidate.votes
                if vote.step == index and (vote.p is not None or vote.source.startswith("judge"))
            ],
        }
        for index, step in enumerate(candidate.solution.steps)
    ]
    return {
        **shown,
        "steps": steps,
        "answer": candidate.solution.answer,
        "outcome": candidate.solution.outcome,
    }


def _said(p: float | None) -> str:
    if p is None:
        return "says nothing"
    return "right" if p > 0.5 else "wrong" if p < 0.5 else "as likely right as wrong"
