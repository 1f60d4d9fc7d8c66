"""Step labels for reasoning, from Python: no run file, no folder, nothing left behind.

    label           problems or solutions -> labelled solutions, by annotators of your choice
    verify          solutions -> what can be proved or refuted of every step, without a model
    fuse            labelled solutions -> the same with labels made anew from their votes
    grade           a gold answer and another -> are they the same?
    extract_answer  the final answer that a solution states
    to_dicts        labelled solutions -> plain dicts, as the rows of a dataset
    open_policy     a model that several calls share
    open_run        a run of the command line, to be read
    PRM             a trained process reward model: scores the steps of a solution

For example, without any model:

>>> import stepmint
>>> [found] = stepmint.verify([{"problem": "What is 2 + 3?", "steps": ["2 + 3 = 6."]}])
>>> found["verdict"], found["findings"][0]["claim"]
('fails', '2 + 3 = 6')

The records are `Problem`, `Solution`, `Step`, `Vote`, `StepLabel` and `LabelledSolution`. Parts of your own
keep the protocols `Verifier` (a `Finding` on a `StepContext`), `Annotator` (`Vote`s in a `Context`) and
`Policy` (`Completion`s of a `Prompt`); a verifier and an annotator declare what their votes are evidence of
(`check_source`, `judge_source`, `rollout_source`). What you can mend is a `UserError`: one line that names
the item or the setting.

Every function waits for its result, also inside a running event loop (a notebook), and Ctrl-C ends it.
Runs that are too long for one sitting belong to the command line (`stepmint run`), which keeps what it has
paid for. See docs/python.md.
"""

import importlib
from typing import TYPE_CHECKING, Any

from stepmint.api import PRM, extract_answer, fuse, grade, label, open_policy, open_run, to_dicts, verify

if TYPE_CHECKING:
    from pipeline.annotators.base import Annotator as Annotator
    from pipeline.annotators.base import Context as Context
    from pipeline.labelling.direct import Labelled as Labelled
    from pipeline.outputs.view import RunView as RunView
    from pipeline.policies.base import Completion as Completion
    from pipeline.policies.base import Policy as Policy
    from pipeline.policies.base import Prompt as Prompt
    from pipeline.policies.base import Sampling as Sampling
    from schemas.errors import UserError as UserError
    from schemas.records import LabelledSolution as LabelledSolution
    from schemas.records import Problem as Problem
    from schemas.records import Solution as Solution
    from schemas.records import Step as Step
    from schemas.records import StepLabel as StepLabel
    from schemas.records import Vote as Vote
    from schemas.sources import Source as Source
    from schemas.sources import check_source as check_source
    from schemas.sources import judge_source as judge_source
    from schemas.sources import rollout_source as rollout_source
    from verifiers.base import Finding as Finding
    from verifiers.base import StepContext as StepContext
    from verifiers.base import Verifier as Verifier

    __version__: str

__all__ = [
    "PRM",
    "extract_answer",
    "fuse",
    "grade",
    "label",
    "open_policy",
    "open_run",
    "to_dicts",
    "verify",
]

_ELSEWHERE = {
    "pipeline.annotators.base": ("Annotator", "Context"),
    "pipeline.labelling.direct": ("Labelled",),
    "pipeline.outputs.view": ("RunView",),
    "pipeline.policies.base": ("Completion", "Policy", "Prompt", "Sampling"),
    "schemas.errors": ("UserError",),
    "schemas.records": ("LabelledSolution", "Problem", "Solution", "Step", "StepLabel", "Vote"),
    "schemas.sources": ("Source", "check_source", "judge_source", "rollout_source"),
    "verifiers.base": ("Finding", "StepContext", "Verifier"),
}
"""What is imported when it is asked for (PEP 562): records take a library that costs a tenth of a second."""
_PLACES = {name: module for module, names in _ELSEWHERE.items() for name in names}


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import version

        return version("stepmint")
    if name not in _PLACES:
        raise AttributeError(f"module 'stepmint' has no attribute {name!r}; it has {', '.join(__dir__())}")
    return getattr(importlib.import_module(_PLACES[name]), name)


def __dir__() -> list[str]:
    return sorted([*__all__, *_PLACES, "__version__"])
