"""The annotators of a run, made of its configuration: the one place that knows every kind of ours.

What takes long to import, as a judge with its many patterns does, is imported where a run has it.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple, cast

from pipeline.annotators.base import Annotator
from pipeline.annotators.consistency import Consistency
from pipeline.annotators.formal import Verify, verifier_named
from pipeline.annotators.monte_carlo import MonteCarlo
from pipeline.annotators.outside import made_annotator
from pipeline.annotators.prover import Prover
from pipeline.annotators.scan import Scan
from pipeline.policies.base import Sampling
from pipeline.prompts.templates import judge_prompt, prompt_text, solving_prompt
from pipeline.sampling.roller import sampling_of, token_limit
from schemas.config import (
    AnyAnnotator,
    BisectionConfig,
    ConsistencyConfig,
    JudgeConfig,
    MonteCarloConfig,
    OmegaConfig,
    PolicyConfig,
    PrmConfig,
    ProverConfig,
    PythonConfig,
    RunConfig,
    SampleConfig,
    ScanConfig,
    VerifyConfig,
)
from schemas.errors import UserError
from schemas.sources import POLICY

if TYPE_CHECKING:
    from pipeline.annotators.judge import Judge


@dataclass(frozen=True)
class Part:
    """An annotator of a run, and what the run file says of it."""

    config: AnyAnnotator
    annotator: Annotator

    @property
    def called(self) -> str:
        """The words that name it in messages."""
        return f"annotator {self.config.name!r}"

    @property
    def checks(self) -> bool:
        """Whether it votes first: all its sources are verifiers, and the others are told what they refute."""
        return all(source.kind == "check" for source in self.annotator.sources.values())


def annotators(config: RunConfig, read: Callable[[str], str] = prompt_text) -> list[Part]:
    """Everything that votes in a run, in the order of its configuration; a judge once for each of its
    prompts, whose whole texts `read` gives.

    UserError where a prompt cannot be used, or where an outsider's part is not what it must be.
    """
    return [Part(one, made) for one in config.annotate for made in _made(one, read)]


def _made(config: AnyAnnotator, read: Callable[[str], str]) -> Iterator[Annotator]:
    match config:
        case MonteCarloConfig():
            yield MonteCarlo(config)
        case BisectionConfig():
            from pipeline.annotators.bisection import Bisection

            yield Bisection(config)
        case ScanConfig():
            yield Scan(config)
        case ProverConfig():
            yield Prover(config)
        case ConsistencyConfig():
            yield Consistency(config)
        case JudgeConfig():
            from pipeline.annotators.judge import Judge

            # Each prompt is a source of its own: prompts err differently, and fusion trusts each as far as it
            # deserves.
            meta = None if config.meta is None else judge_prompt(config.meta, read(config.meta))
            for name in config.prompts:
                yield Judge(config, judge_prompt(name, read(name)), meta)
        case PrmConfig():
            from pipeline.annotators.prm import Prm

            yield Prm(config)
        case VerifyConfig():
            yield Verify([verifier_named(name) for name in config.verifiers])
        case PythonConfig():
            yield made_annotator(config.factory, config.options)


class Asked(NamedTuple):
    """How one of a run's policies will be asked."""

    policy: PolicyConfig
    sampling: Sampling
    prefixes: bool
    """Whether it must continue solutions that others began."""
    limit: tuple[str, int] | None = None
    """The largest token limit it is asked with, and the setting that it comes from."""
    json: str = ""
    """The name of a judge's prompt whose replies are to be JSON."""


def writer_role(sampler: SampleConfig) -> str:
    """What a sampler's own policy is called; no annotator's name has a colon."""
    return f"writer:{sampler.name}"


def asked(
    config: RunConfig, parts: Sequence[Part], read: Callable[[str], str] = prompt_text
) -> dict[str, Asked]:
    """How the policies of a run will be asked: its own as `policy`, others by their annotator's name or their
    `writer_role`.

    `read` gives the whole text of a prompt.
    """
    asking = sampling_of(config.prompt)
    judges = [cast("Judge", part.annotator) for part in parts if isinstance(part.config, JudgeConfig)]
    mine = [judge for judge in judges if judge.config.policy is None]
    counted = {source.by for part in parts for source in part.annotator.sources.values()}
    # A policy whose rollouts start within a solution must be able to continue a text verbatim, which not
    # every server can; it is checked before a run starts.
    prefixes = config.proposer(OmegaConfig) is not None or POLICY in counted
    # So must one whose answers a prompt begins.
    template = config.prompt.template
    prefixes |= bool(solving_prompt(template, read(template)).begins)
    prefixes |= any(judge.begins for judge in mine)
    own = Asked(config.policy, asking, prefixes, token_limit(config), _json(mine))
    # Annotators that a program brings are no part of the configuration.
    outside = (part for part in parts if part.config.asks and not part.checks)
    asks = config.asks_policy or any(part.config.own_policy is None for part in outside)
    found = {POLICY: own} if asks else {}
    found |= {writer_role(one): Asked(one.policy, asking, False) for one in config.writers if one.policy}
    for part in parts:
        one = part.config
        match one.own_policy, one:
            case None, _:
                continue
            case policy, JudgeConfig():
                judging = Sampling(temperature=one.temperature, max_tokens=one.max_tokens)
                its = [judge for judge in judges if judge.config is one]
                limit = (f"{one.section}.max_tokens", one.max_tokens)
                begun = any(judge.begins for judge in its)
                found[one.name] = Asked(policy, judging, begun, limit, _json(its))
            case policy, _:
                prefixes = any(source.by for source in part.annotator.sources.values())
                found[one.name] = Asked(policy, asking, prefixes)
    return found


def refuse_json(role: Asked, kind: str) -> None:
    """UserError where replies are to be JSON and a policy of this kind cannot be held to that."""
    if role.json and kind == "transformers":
        raise UserError(
            f"the prompt {role.json!r} says `replies: json`, and a {kind} policy cannot be held to JSON: use "
            "a server or vllm, or leave that line out of the prompt"
        )


def _json(judges: "Iterable[Judge]") -> str:
    prompts = (prompt for judge in judges for prompt in (judge.prompt, judge.meta) if prompt)
    return next((prompt.name for prompt in prompts if prompt.replies == "json"), "")
