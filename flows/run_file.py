"""The text of a first run file, with a comment for every line."""

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import tomli_w

_ROLLOUTS = """
[[annotate]]               # is the right answer still in reach after this step? rollouts from it say
kind = "monte_carlo"
rollouts = 8               # completions from after each step; more cost more and say more
"""
_LATER = """
# With a real policy, remove the # of these lines:
# [[annotate]]             # is the right answer still in reach after this step? rollouts from it say
# kind = "monte_carlo"
# rollouts = 8             # completions from after each step; more cost more and say more
"""
_NO_ROLLOUTS = """
# No kind = "monte_carlo": the server does not continue a begun answer, so nothing is rolled out from a step.
# The judge and the verifiers label the steps. A server that knows `continue_final_message` (vLLM) could.
"""


@dataclass(frozen=True)
class Asked:
    """A model on a server, and how a run asks it."""

    url: str
    model: str
    chat: bool
    continues: bool = True
    """Whether it continues begun answers, as rollouts need."""

    def lines(self) -> str:
        """Its settings."""
        chat = (
            "/chat/completions, with the model's own chat template"
            if self.chat
            else "/completions, the bare text"
        )
        return "\n".join(
            [
                'kind = "server"            # any server with an OpenAI-like API',
                told(line("model", self.model), "the name that it serves"),
                told(line("base_url", self.url), "a key is read from OPENAI_API_KEY, and not stored"),
                told(line("chat", self.chat), chat),
            ]
        )


@dataclass(frozen=True)
class Draft:
    """What a first run file says."""

    name: str
    source: dict[str, Any]
    """`source` and `path` of the problems, as they stand in the file."""
    fields: dict[str, str] = field(default_factory=dict)
    """Our fields and their columns, where their names are not ours."""
    taken: str = ""
    """In words, where the problems were found."""
    policy: Asked | None = None
    """None: the simulated policy."""
    judge: Asked | None = None


def line(key: str, value: Any) -> str:
    """A setting as a line of TOML."""
    if isinstance(value, dict):
        return f"{key} = {{{', '.join(line(name, one) for name, one in value.items())}}}"
    return tomli_w.dumps({key: value}).strip()


def told(setting: str, comment: str) -> str:
    """A line with its comment, in the column of all comments where it is short enough."""
    return f"{setting:<26} # {comment}"


def relative_to(path: str, file: Path) -> str:
    """A path as it stands in a run file: relative to that file, where it is relative at all."""
    if path.startswith(("/", "~", "$")):
        return path
    return os.path.relpath(path, file.parent)


def text_of(draft: Draft) -> str:
    """The whole file."""
    rollouts = _LATER
    if draft.policy is not None:
        rollouts = _ROLLOUTS if draft.policy.continues else _NO_ROLLOUTS
    parts = [_head(draft), _problems(draft), _policy(draft), rollouts, _judge(draft), _rest()]
    return "".join(parts)


def _head(draft: Draft) -> str:
    return f"""\
# Written by `stepmint init`. Label these problems with: stepmint run FILE
# What is left out has its default; `stepmint run FILE --dry-run` prints all of it.
{told(line("name", draft.name), "the run's folder is runs/NAME")}
seed = 1                   # equal seeds give equal runs
"""


def _problems(draft: Draft) -> str:
    about = {"source": "other sources: docs/problems.md", "path": "relative to this file"}
    about |= {"path": "its name"} if draft.source["source"] == "huggingface" else {}
    settings = "\n".join(told(line(key, value), about[key]) for key, value in draft.source.items())
    fields = told(line("fields", draft.fields), "our field = your column") + "\n" if draft.fields else ""
    return f"""
[problems]                 # {draft.taken}
{settings}
{fields}limit = 20                 # the first problems only, to try it out; raise it, and the run goes on
"""


def _policy(draft: Draft) -> str:
    if draft.policy is None:
        return """
[policy]                   # who writes the solutions
kind = "simulated"         # IT SOLVES NOTHING: it reads no problem, and its answers are `right` or `wrong`.
# So a gold answer such as 42 cannot be compared with them, and there are no labels. Whoever only wants to see
# labels gives a few problems the answer "right".
# For labels of these problems, replace `kind` by what your server needs, and run under another `name`:
# kind = "server"
# model = "the name that it serves"
# base_url = "http://127.0.0.1:8000/v1"
# chat = true

[prompt]
template = "solve"         # how the policy is asked; a path to your own text with {problem} in it works too
max_tokens = 1024          # of one solution
"""
    stop = (
        "" if draft.policy.chat else 'stop = ["\\nProblem:"]       # a model may go on with another problem\n'
    )
    return f"""
[policy]                   # who writes the solutions
{draft.policy.lines()}

[prompt]
template = "solve"         # how the policy is asked; a path to your own text with {{problem}} in it works too
temperature = 1.0          # solutions and rollouts must differ
max_tokens = 1024          # of one solution; a longer one is cut off, and its rollout says nothing
{stop}
[propose]
kind = "sample"            # plain sampling; "omegaprm" searches for first errors with many rollouts
n = 2                      # solutions of each problem that are labelled
"""


def _judge(draft: Draft) -> str:
    if draft.policy is None:
        return ""
    who = "the policy itself; a stronger model is a better judge: --judge-server"
    policy = ""
    if draft.judge is not None:
        who, policy = "a model of its own, below", f"\n[annotate.policy]\n{draft.judge.lines()}\n"
    return f"""
[[annotate]]               # a model reads the solution and names its first wrong step: {who}
kind = "judge"
prompts = ["judge_processbench"]  # how it is asked; your own: docs/prompts.md
votes = 4                  # replies for each solution
max_tokens = 1024          # of one reply
{policy}"""


def _rest() -> str:
    return """
[[annotate]]               # calculations in the steps are checked exactly, without a model
kind = "verify"
verifiers = ["arithmetic"]

[fusion]                   # from votes to labels; `stepmint fuse` changes it later without sampling
accept = 0.8               # from this probability on a step is labelled right
reject = 0.2               # up to this one it is labelled wrong; between them it has no label
"""
