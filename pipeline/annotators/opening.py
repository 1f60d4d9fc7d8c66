"""The annotators of a run, made of its configuration: the one place that knows every kind of ours."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from pipeline.annotators.base import Annotator
from pipeline.annotators.bisection import Bisection
from pipeline.annotators.formal import Verify, verifier_named
from pipeline.annotators.judge import Judge
from pipeline.annotators.monte_carlo import MonteCarlo
from pipeline.annotators.outside import made_annotator
from pipeline.annotators.prover import Prover
from pipeline.annotators.scan import Scan
from pipeline.policies.base import Sampling
from pipeline.prompts.templates import judge_prompt, prompt_text
from pipeline.sampling.roller import sampling_of, token_limit
from schemas.config import (
    AnyAnnotator,
    BisectionConfig,
    JudgeConfig,
    MonteCarloConfig,
    OmegaConfig,
    PolicyConfig,
    ProverConfig,
    PythonConfig,
    RunConfig,
    SampleConfig,
    ScanConfig,
    VerifyConfig,
)
from schemas.sources import POLICY


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
            yield Bisection(config)
        case ScanConfig():
            yield Scan(config)
        case ProverConfig():
            yield Prover(config)
        case JudgeConfig():
            # Each prompt is a source of its own: prompts err differently, and fusion trusts each as far as it
            # deserves.
            for name in config.prompts:
                yield Judge(config, judge_prompt(name, read(name)))
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


def writer_role(sampler: SampleConfig) -> str:
    """What a sampler's own policy is called; no annotator's name has a colon."""
    return f"writer:{sampler.name}"


def asked(config: RunConfig, parts: Sequence[Part]) -> dict[str, Asked]:
    """How the policies of a run will be asked: its own as `policy`, others by their annotator's name or their
    `writer_role`."""
    asking = sampling_of(config.prompt)
    counted = {source.by for part in parts for source in part.annotator.sources.values()}
    # A policy whose rollouts start within a solution must be able to continue a text verbatim, which not
    # every server can; it is checked before a run starts.
    prefixes = config.proposer(OmegaConfig) is not None or POLICY in counted
    own = Asked(config.policy, asking, prefixes, token_limit(config))
    # Annotators that a program brings are no part of the configuration.
    asks = config.asks_policy or any(part.config.own_policy is None and not part.checks for part in parts)
    found = {POLICY: own} if asks else {}
    found |= {writer_role(one): Asked(one.policy, asking, False) for one in config.writers if one.policy}
    for part in parts:
        one = part.config
        match one.own_policy, one:
            case None, _:
                continue
            case policy, JudgeConfig():
                judging = Sampling(temperature=one.temperature, max_tokens=one.max_tokens)
                found[one.name] = Asked(policy, judging, False, (f"{one.section}.max_tokens", one.max_tokens))
            case policy, _:
                prefixes = any(source.by for source in part.annotator.sources.values())
                found[one.name] = Asked(policy, asking, prefixes)
    return found
