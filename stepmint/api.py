"""The functions of `stepmint`. Each hands its work to the module that does it, which is imported then."""

from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pipeline.annotators.base import Annotator
    from pipeline.labelling.direct import Labelled, OpenPolicy, Settings
    from pipeline.labelling.verify_files import Verified
    from pipeline.outputs.view import RunView
    from pipeline.policies.base import Policy
    from pipeline.prm.model import PRM as Scorer
    from schemas.records import AnswerKind, LabelledSolution
    from schemas.sources import Sources
    from verifiers.answers.grade import Grade
    from verifiers.base import Verifier


def label(
    problems: Iterable[Any],
    *,
    annotate: "Sequence[Settings | Annotator | Verifier]",
    policy: "Settings | Policy | OpenPolicy | None" = None,
    propose: "Settings | None" = None,
    prompt: "Settings | None" = None,
    fusion: "Settings | None" = None,
    seed: int = 0,
    progress: bool = False,
) -> "Labelled":
    """Label the steps of solutions: those that are given, or some that the policy proposes.

    Each of `problems` is a text, a dict with `problem` and perhaps `answer` (`question`, `gold` and other
    usual names are known), a `Problem`, or something that holds a solution, which is then labelled as it is
    and nothing is proposed: a dict with `steps` (texts) or `solution` (a text), a pair (problem, solution),
    or a `LabelledSolution`, whose votes are made anew.

    `annotate` says who votes on the steps: dicts with `kind` and settings, as in a run file, and objects of
    yours that keep `Annotator` or `Verifier`. `policy` is the
    model that is asked: the settings of a run file, a `Policy` that is not open, or one from `open_policy`.
    It may be left out where nobody asks a model. `propose`, `prompt` and `fusion` are sections of a run
    file; docs/configuration.md lists the settings of all.

    Returns a list of `LabelledSolution`: of given solutions one each, in their order. What gave no row stands
    with its reason in the list's `left_out`. Problems of which the model failed are left out, never labelled
    wrong. UserError for a bad item or setting, or where no problem at all could be labelled.

    >>> rows = stepmint.label(
    ...     [{"problem": "Ann has 3 pens and buys 4. How many?", "answer": "7", "steps": ["3 + 4 = 8."]}],
    ...     annotate=[{"kind": "verify"}],
    ... )
    >>> rows[0].first_error, rows[0].labels[0].label, rows[0].labels[0].reason
    (0, 0, 'arithmetic: 3 + 4 is 7, not 8')
    """
    from pipeline.labelling.direct import label as labelled

    settings = {"annotate": annotate, "propose": propose, "prompt": prompt, "fusion": fusion, "seed": seed}
    return labelled(problems, settings, policy, progress=progress)


def verify(solutions: Iterable[Any], *, verifiers: "Sequence[str | Verifier] | None" = None) -> "Verified":
    """What can be proved or refuted of every step without a model.

    A solution is a dict with `problem` and `steps` (or a row of ProcessBench, GSM8K, PRM800K or FLD, as
    `stepmint verify` reads them), a pair (problem, solution), a `LabelledSolution`, or a text.

    One dict a step: the solution's `id`, `step` (from 0), `verdict` (`holds`, `fails` or `abstains`), the
    step's `text`, the item's number as `row` (from 1), and `findings`, each with `span` (characters of the
    step), `claim`, `verdict`, `reason` and `by`. `verifiers` chooses other checks: names (`arithmetic`,
    `algebra`, `constraints`, `logic`, `code`, `tables`) and objects of yours (`Verifier`).

    A dict or text that cannot be read is left out, with its reason in the list's `skipped`; `summary` counts
    the findings by kind. UserError for an item of another type, and where nothing can be read.

    >>> [step] = stepmint.verify([{"problem": "What is 2 + 3?", "steps": ["2 + 3 = 5."]}])
    >>> step["verdict"], step["findings"][0]["by"]
    ('holds', 'arithmetic')
    """
    from pipeline.labelling.python_values import read_written
    from pipeline.labelling.verify_files import Verified, check
    from pipeline.labelling.verify_files import verify as reviewed

    skipped: list[str] = []
    written = read_written(solutions, skipped.append)
    found = reviewed(written) if verifiers is None else check(written, verifiers)
    return Verified(found, skipped)


def fuse(
    rows: "Iterable[LabelledSolution]",
    *,
    accept: float = 0.8,
    reject: float = 0.2,
    consensus: bool | tuple[str, str] = True,
    threshold: float = 0.0,
    sources: "Sources | None" = None,
) -> "Labelled":
    """Label rows anew from the votes that they hold; nothing is asked.

    A step is right from a probability of `accept` on, wrong up to `reject`, and has no label between them.
    How far each source is to be trusted is fitted to these very rows, so give all of a dataset, not a few.
    `consensus` marks rows whose rollouts and judge, or two sources that it names, name different first errors
    as not kept; `threshold` is the success rate up to which rollouts alone call a step wrong. `sources`
    declares the sources of votes that are not ours; what `label` and `open_run` give brings its own.
    UserError for a bad setting, and for votes of a source that nobody declared.

    >>> rows = stepmint.label([("What is 2 + 3?", "2 + 3 = 6.")], annotate=[{"kind": "verify"}])
    >>> stepmint.fuse(rows, reject=0.0)[0].labels[0].reason
    'undecided: 0.0 < p < 0.8'
    """
    from pipeline.labelling.direct import fuse_rows

    settings = {"accept": accept, "reject": reject, "consensus": consensus, "threshold": threshold}
    return fuse_rows(rows, settings, sources)


def grade(gold: str | None, answer: str | None, kind: "AnswerKind" = "expression") -> "Grade":
    r"""Whether an answer is the gold one: the `.verdict` is True, False, or None where it cannot be decided,
    and `.reason` says why.

    `kind` is `number`, `expression`, `choice` or `text`. None never means wrong: there is no answer, or it
    has several readings, or a limit of time or size was reached.

    >>> stepmint.grade("1/2", "0.5").verdict, stepmint.grade("7", "8").verdict
    (True, False)
    >>> stepmint.grade("x + 1", None)
    Grade(verdict=None, reason='no answer found')
    """
    from verifiers.answers.grade import grade as graded

    return graded(gold, answer, kind)


def extract_answer(text: str) -> str | None:
    r"""The final answer that a solution states last: `#### x`, `\boxed{x}`, "The answer is x"; None without.

    >>> stepmint.extract_answer("3 + 4 = 7, so the answer is 7.")
    '7'
    """
    from verifiers.answers.grade import extract_answer as extracted

    return extracted(text)


def to_dicts(rows: "Iterable[LabelledSolution]") -> list[dict[str, Any]]:
    """Labelled solutions as plain dicts, with the columns of a dataset (data/README.md explains them).

    >>> rows = stepmint.label([("What is 2 + 3?", "2 + 3 = 6.")], annotate=[{"kind": "verify"}])
    >>> stepmint.to_dicts(rows)[0]["labels"]
    [0]
    """
    from schemas.arrow import to_row

    return [to_row(row) for row in rows]


def open_policy(policy: "Settings | Policy") -> "AbstractContextManager[OpenPolicy]":
    """A model that is loaded once for several calls of `label`, and closed at the end of the block.

    >>> with stepmint.open_policy({"kind": "simulated", "n_steps": 3}) as model:
    ...     first = stepmint.label(["one"], annotate=[{"kind": "verify"}], policy=model)
    ...     second = stepmint.label(["two"], annotate=[{"kind": "verify"}], policy=model)
    """
    from pipeline.labelling.direct import opened

    return opened(policy)


def open_run(path: str | Path) -> "RunView":
    """A run's folder, to be read: `config`, `manifest`, `rows()`, `batches()`, `rollouts()` and `report()`.

    Iterating over it gives its labelled solutions. UserError where the folder holds no run.

        for row in stepmint.open_run("runs/mine"):
            print(row.problem.text, row.first_error)
    """
    from pipeline.outputs.view import RunView

    return RunView(Path(path))


class PRM:
    """A trained process reward model: P(right) for every step, given the problem and the steps before it.

        prm = stepmint.PRM.load("checkpoints/mine")
        prm.score_steps("What is 2 + 3 + 4?", ["2 + 3 = 5.", "5 + 4 = 10."])  # e.g. [0.97, 0.08]

    It warns once when it scores texts whose words its tokenizer does not know.
    """

    def __init__(self, model: "Scorer") -> None:
        self._model = model

    @classmethod
    def load(cls, path: str | Path, *, device: str = "auto") -> "PRM":
        """The checkpoint in a folder that `stepmint train` wrote. `auto` takes a GPU where there is one.
        UserError where the folder holds none."""
        from pipeline.prm.model import PRM as Scorer

        return cls(Scorer.load(Path(path), device=device))

    def score_steps(self, problem: str, steps: Sequence[str]) -> list[float]:
        """P(right) of every step of one solution. UserError when a step is empty or all is too long."""
        return self._model.score_steps(problem, steps)

    def score_many(self, items: Sequence[tuple[str, Sequence[str]]]) -> list[list[float]]:
        """P(right) of every step of many solutions, each as (problem, steps); faster than one by one."""
        return self._model.score_many(items)
