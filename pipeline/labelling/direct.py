"""Label problems and solutions in memory, without a run file or a folder: the work behind `stepmint.label`.

It asks, annotates and fuses as a run does, and with the same seed draws the same. What a run keeps on disk
to go on later is not kept.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, contextmanager, nullcontext
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, Self

from pydantic import BaseModel, ValidationError
from tqdm import tqdm

from pipeline.annotators.base import Annotator
from pipeline.annotators.formal import Verify
from pipeline.annotators.opening import Part
from pipeline.annotators.outside import checked_annotator, checked_verifier
from pipeline.fusion.consensus import check_pair
from pipeline.fusion.trust import model_of
from pipeline.labelling.background import Background
from pipeline.labelling.python_values import Given, read_given
from pipeline.labelling.rows import label as labels_of
from pipeline.labelling.sealing import fit_trust
from pipeline.labelling.shard import label_problem
from pipeline.labelling.tools import open_tools
from pipeline.policies import open_policy
from pipeline.policies.admission import run_in_order
from pipeline.policies.base import Completion, Policy
from pipeline.policies.outside import checked_policy
from pipeline.runs.given_files import Given as Solutions
from schemas.config import FusionConfig, PythonConfig, RunConfig, parse_config
from schemas.errors import BackendError, BackendGone, UserError
from schemas.records import Candidate, Finished, LabelledSolution, Problem, Quarantined
from schemas.sources import EARLIER, Sources, declared
from schemas.text import one_line

_AT_ONCE = 64
"""Solutions labelled together: the arithmetic is that of a batch."""
Settings = Mapping[str, Any] | BaseModel
"""A section of a run file: as a dict, or as the record that it becomes."""
Voted = tuple[Problem, Candidate]
"""A problem, and a solution of it with its votes."""


class Labelled(list[LabelledSolution]):
    """Labelled solutions in the order of what was given. `left_out` names what gave none, and why."""

    def __init__(
        self,
        rows: Iterable[LabelledSolution] = (),
        left_out: Sequence[Quarantined] = (),
        sources: Sources | None = None,
    ) -> None:
        super().__init__(rows)
        self.sources: Sources = dict(sources or {})
        """What is declared of each source of the votes; `fuse` needs it."""
        self.left_out = list(left_out)
        """`row` is the place of a problem among those that were given, from 0."""


class OpenPolicy:
    """A policy that stays open between calls, with the event loop that it belongs to."""

    def __init__(self, background: Background, policy: Policy) -> None:
        self.background, self.policy = background, policy


class _Nobody:
    """Stands where a policy would, for work that asks none."""

    kind = model = "none"
    revision = ""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc: object) -> None:
        return None

    async def sample(self, *_: object, **__: object) -> list[Completion]:
        """Raises UserError: there is nobody to ask."""
        raise UserError(
            "policy: these problems and annotators need a model to ask: give policy, "
            'e.g. policy={"kind": "server", "model": "NAME", "base_url": "http://127.0.0.1:8000/v1"}'
        )


@dataclass
class _Work:
    """The problems to label, and what became of each."""

    jobs: Sequence["_Job"]
    pairs: list[tuple[int, Voted]] = field(default_factory=list)
    left_out: list[Quarantined] = field(default_factory=list)
    gone: BackendGone | None = None
    brought: Sequence[Part] = ()
    sources: Sources = field(default_factory=dict)

    def leave_out(self, job: "_Job", why: str) -> None:
        """Keep the reason why a problem has no row."""
        reason, name = one_line(why, 400), job.problem.id
        self.left_out += [
            Quarantined(file="problems", row=place, reason=reason, problem_id=name) for place in job.places
        ]


@dataclass
class _Job:
    """A problem, its place among those given, and the solutions to label; without any, some are proposed."""

    problem: Problem
    places: list[int]
    solutions: list[Candidate]


def label(
    given: Iterable[Any],
    settings: Mapping[str, Any],
    policy: Settings | Policy | OpenPolicy | None,
    *,
    progress: bool = False,
) -> Labelled:
    """Rows of problems, or of solutions; `settings` are sections of a run file, and None is left out.

    UserError for a bad item or setting, and where no problem at all could be labelled.
    """
    annotate = settings.get("annotate", ())
    configs = [one for one in annotate if isinstance(one, Mapping | BaseModel)]
    config = _configured({**settings, "annotate": configs}, policy)
    work = _work(list(read_given(given, config.prompt.cuts)))
    work.brought = _parts(one for one in annotate if not isinstance(one, Mapping | BaseModel))
    is_open = isinstance(policy, OpenPolicy)
    with (
        nullcontext(policy.background) if isinstance(policy, OpenPolicy) else Background() as background,
        _bar(len(work.jobs), shown=progress) as advance,
    ):
        try:
            background.wait(_label(work, config, _brought(policy), advance, is_open=is_open))
        except BackendError as error:
            raise UserError(str(error)) from error
    if work.left_out and not work.pairs:
        raise UserError(f"no problem could be labelled; the first: {work.left_out[0].reason}")
    # Problems finish in any order; the rows come in the order of what was given.
    pairs = [pair for _, pair in sorted(work.pairs, key=lambda found: found[0])]
    left_out = sorted(work.left_out, key=lambda one: one.row or 0)
    return Labelled(fuse(pairs, config.fusion, work.sources), left_out, work.sources)


def fuse(pairs: Iterable[Voted], fusion: FusionConfig, sources: Sources) -> Iterator[LabelledSolution]:
    """Rows by the votes that are there; the trust in each source is fitted to these solutions."""
    check_pair(fusion.consensus, sources)
    items = [Finished(problem=problem, candidates=(candidate,)) for problem, candidate in pairs]
    model, rest = model_of(fit_trust(iter(items), sources), sources), iter(items)
    while batch := list(islice(rest, _AT_ONCE)):
        yield from labels_of(batch, model, fusion)


def fuse_rows(
    rows: Iterable[LabelledSolution], settings: Mapping[str, Any], sources: Sources | None = None
) -> Labelled:
    """Rows labelled anew from the votes that they hold. Of rows that bring no declarations of their sources
    (`sources`), ours are known. UserError for a bad setting, and for votes of a source that is not declared.
    """
    fusion = parse_config({"name": "direct", "fusion": dict(settings)}, "stepmint").fusion
    given: Sources = getattr(rows, "sources", {}) if sources is None else sources
    pairs = [(row.problem, Candidate(solution=row.solution, votes=row.votes, gold=row.gold)) for row in rows]
    names = sorted({vote.source for _, candidate in pairs for vote in candidate.votes})
    # Rows stored before sources were declared have only ours, whose declarations are known.
    known = {**given, **{name: declared(EARLIER, name) for name in names if name not in given}}
    return Labelled(fuse(pairs, fusion, known), sources=known)


@contextmanager
def opened(policy: Settings | Policy) -> Iterator[OpenPolicy]:
    """A policy that several calls share, opened once."""
    with Background() as background:
        asked = _brought(policy) or open_policy(_configured({}, policy).policy)
        try:
            background.wait(asked.__aenter__())
        except BackendError as error:
            raise UserError(str(error)) from error
        try:
            yield OpenPolicy(background, asked)
        finally:
            background.wait(asked.__aexit__(None, None, None))


def _brought(policy: Settings | Policy | OpenPolicy | None) -> Policy | None:
    """The policy where it is an object, and none that a configuration describes."""
    match policy:
        case None:
            return _Nobody()
        case OpenPolicy():
            return policy.policy
        case Mapping() | BaseModel():
            return None
    # Checked here, where one line can name the argument; the first call would fail deep in the event loop.
    if not all(hasattr(policy, name) for name in ("sample", "__aenter__", "__aexit__")):
        raise UserError(
            f"policy: expected settings, a Policy, or what open_policy gives; found {type(policy).__name__}"
        )
    return checked_policy(policy, "policy")


def _configured(settings: Mapping[str, Any], policy: Any) -> RunConfig:
    """The configuration of a run like this."""
    data = {name: _plain(value) for name, value in settings.items() if value is not None}
    # A policy that is brought stands outside of it; this one draws nothing.
    data["policy"] = {"kind": "simulated"} if _brought(policy) else _plain(policy)
    return parse_config({"name": "direct", **data}, "stepmint")


def _parts(brought: Iterable[Any]) -> list[Part]:
    """Annotators and verifiers that are objects. UserError where one is neither."""
    parts = []
    for number, one in enumerate(brought):
        called = f"{type(one).__name__} object"
        if not (hasattr(one, "check") or hasattr(one, "annotate")):
            raise UserError(
                "annotate: expected a list of settings with a `kind`, of Annotators and of Verifiers; "
                f"it holds {type(one).__name__} {str(one)[:40]!r}"
            )
        # Every part has a configuration, which names it; nothing is ever loaded by this one.
        config = PythonConfig(name=f"object-{number}", factory="stepmint:label")
        annotator: Annotator = (
            Verify([checked_verifier(one, called)])
            if hasattr(one, "check")
            else checked_annotator(one, called)
        )
        parts.append(Part(config, annotator))
    return parts


def _plain(value: Any) -> Any:
    """A section of a run file, or a list of them, of whatever it is given as."""
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    return value.model_dump(exclude_none=True) if isinstance(value, BaseModel) else value


def _work(given: Sequence[Given]) -> _Work:
    """Solutions of one problem are one job: what they draw after equal beginnings is drawn once."""
    # Problems with and without solutions apart: the former are annotated only, the latter proposed first.
    found: dict[tuple[str, bool], _Job] = {}
    left_out: list[Quarantined] = []
    for problem, candidate, place in given:
        job = found.setdefault((problem.id, candidate is not None), _Job(problem, [], []))
        # Solving one problem twice would draw the same samples again, since draws are seeded by the problem.
        if candidate is None and job.places:
            why = f"the same as problems[{job.places[0]}]"
            left_out.append(Quarantined(file="problems", row=place, reason=why, problem_id=problem.id))
            continue
        job.places.append(place)
        job.solutions += [candidate] if candidate is not None else []
    return _Work(list(found.values()), left_out=left_out)


async def _label(
    work: _Work, config: RunConfig, policy: Policy | None, advance: Callable[[], None], *, is_open: bool
) -> None:
    async with AsyncExitStack() as stack:
        if policy is not None and not is_open:
            policy = await stack.enter_async_context(policy)
        tools = await open_tools(config, stack, policy=policy, brought=work.brought)
        work.sources = tools.sources

        async def do(job: _Job) -> None:
            try:
                # A policy that is gone fails every further problem; asking it again would wait for each of
                # them.
                if work.gone:
                    raise work.gone
                finished, _ = await label_problem(job.problem, tools, given=Solutions(job.solutions))
            # A failed problem is named with its reason, and the others go on: one bad reply must not lose a
            # notebook's hour.
            except (BackendError, ValidationError) as error:
                work.gone = error if isinstance(error, BackendGone) else work.gone
                work.leave_out(job, str(error))
            else:
                if finished.skipped:
                    work.leave_out(job, finished.skipped)
                for number, candidate in enumerate(finished.candidates):
                    # Given solutions come first, in their order; what was proposed beside them comes after.
                    at = job.places[min(number, len(job.places) - 1) if job.solutions else 0]
                    work.pairs.append((at, (finished.problem, candidate)))
            advance()

        await run_in_order(work.jobs, do)


@contextmanager
def _bar(total: int, *, shown: bool) -> Iterator[Callable[[], None]]:
    with tqdm(total=total, unit="problem", disable=not shown) as bar:

        def advance() -> None:
            bar.update()

        yield advance
