"""What a run asks: its policies and its annotators, checked before anything is paid for, and opened."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from contextvars import copy_context
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

from pipeline.annotators import opening
from pipeline.annotators.opening import Part
from pipeline.policies import open_policy
from pipeline.policies.base import Policy, Usage
from pipeline.prompts.templates import check_prompts, prompt_text
from pipeline.proposers import gold, omegaprm
from pipeline.sampling.replay import Nobody
from schemas.config import GivenConfig, OmegaConfig, PolicyConfig, RunConfig
from schemas.sources import POLICY, Sources, gathered

T = TypeVar("T")
Opener = Callable[[PolicyConfig], Policy]
"""Makes the policy of a configuration, not yet entered."""


@dataclass
class Annotators:
    """Everything a problem's coroutine asks: the policies and the annotators of a run."""

    config: RunConfig
    policy: Policy
    parts: Sequence[Part]
    sources: Sources
    """What is declared of every source that may vote."""
    others: Mapping[str, Policy] = field(default_factory=dict)
    """Policies that annotators ask in place of the run's, by the annotator's name."""
    templates: Mapping[str, str] = field(default_factory=dict)
    """The texts of the run's prompts by their names; one that is not among them is read from its file."""
    before: tuple[int, int] = (0, 0)
    """What was used for earlier shards."""

    def used(self) -> tuple[int, int]:
        """Prompt tokens that the policies were asked with for this shard, as far as they are counted, and
        those of them that lay in a cache."""
        asked = {self.policy, *self.others.values()}
        found = [usage for policy in asked if isinstance(usage := getattr(policy, "usage", None), Usage)]
        prompt, cached = sum(one.prompt for one in found), sum(one.cached for one in found)
        return prompt - self.before[0], cached - self.before[1]


def annotators_of(
    config: RunConfig,
    policy: Policy,
    *,
    templates: Mapping[str, str] | None = None,
    writers: Mapping[str, Policy] | None = None,
) -> Annotators:
    """The annotators of a run, all asking one policy; `writers` stand for the samplers' own, by their role.

    UserError where a prompt or an outsider's part cannot be used, where two parts declare one source, or
    where the consensus names one that nobody declares.
    """
    kept = templates or {}
    parts = _parts(config, kept)
    # One policy for all: grading again draws nothing, so nobody needs the others' own.
    others = {part.config.name: policy for part in parts if part.config.own_policy is not None}
    others |= {opening.writer_role(one): policy for one in config.writers} | dict(writers or {})
    return Annotators(config, policy, parts, _declared(config, parts), others, kept)


def _parts(config: RunConfig, templates: Mapping[str, str]) -> list[Part]:
    read = _reader(templates)
    check_prompts(config, read)
    return opening.annotators(config, read)


def _reader(templates: Mapping[str, str]) -> Callable[[str], str]:
    """The whole text of a prompt by its name: as the run began with it, or as its file is now."""
    return lambda name: templates.get(name) or prompt_text(name)


def check_annotators(config: RunConfig) -> None:
    """UserError where a prompt, a verifier or an outsider's part of a new run cannot be used, or where two
    parts declare one source."""
    _declared(config, _parts(config, {}))


def _declared(config: RunConfig, parts: Sequence[Part]) -> Sources:
    declared = [(part.called, part.annotator.sources) for part in parts]
    # Proposers may vote, too, so they declare their sources as annotators do.
    if config.proposer(OmegaConfig):
        declared.append(("the search", omegaprm.SOURCES))
    if (given := config.proposer(GivenConfig)) and given.gold_votes:
        declared.append(("the given labels", gold.SOURCES))
    sources = gathered(declared)
    if not isinstance(config.fusion.consensus, bool):  # it names sources
        from pipeline.fusion.consensus import check_pair  # with numpy and pyarrow

        check_pair(config.fusion.consensus, sources)
    return sources


async def open_tools(
    config: RunConfig,
    stack: AsyncExitStack,
    templates: Mapping[str, str] | None = None,
    *,
    policy: Policy | None = None,
    brought: Sequence[Part] = (),
    opener: Opener | None = None,
) -> Annotators:
    """Everything that a configuration asks for, loaded and tried out; the stack closes it. A `policy` that is
    open already takes the place of the configured one, and annotators that are `brought` vote, too. `opener`
    makes the others in place of `open_policy`."""
    kept = templates or {}
    parts = [*_parts(config, kept), *brought]
    sources, roles = _declared(config, parts), opening.asked(config, parts, _reader(kept))
    # A policy that the caller opened is the caller's to close.
    policies = {POLICY: policy} if policy is not None else {}
    for name, role in roles.items():
        opening.refuse_json(role, policies[name].kind if name in policies else role.policy.kind)
        if name not in policies:
            policies[name] = await stack.enter_async_context((opener or open_policy)(role.policy))
    for name, role in roles.items():
        limit, chat = role.limit, role.policy.chat
        if policies[name].kind != "server" and not (chat and role.prefixes):
            continue
        from pipeline.policies.server.probe import prepare  # with a client for HTTP

        # Asked once before any problem: a server that cannot continue a text, or has no such model, is found
        # in seconds.
        await prepare(policies[name], role.sampling, prefixes=role.prefixes, chat=chat, limit=limit)
    # Where every solution is given and only verifiers vote, nobody is asked.
    nobody = Nobody("none", "none", "")
    return Annotators(config, policies.pop(POLICY, nobody), parts, sources, policies, kept)


async def _all_ended() -> bool:
    """Wait for the ends of all other tasks of the event loop; returns true."""
    await asyncio.gather(*(asyncio.all_tasks() - {asyncio.current_task()}), return_exceptions=True)
    return True


class Engines:
    """What a run asks, kept open from one shard to the next with the event loop that it lives in: an engine
    takes a minute to load, and the shards of a run all ask the same ones."""

    def __init__(self, opener: Opener | None = None) -> None:
        self._opener = opener
        self._runner: asyncio.Runner | None = None
        self._stack = AsyncExitStack()
        self._tools: Annotators | None = None

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine that may ask for the tools. Where a signal ends it, all that it has begun is
        cancelled, and has ended, when the signal's error goes on."""
        self._runner = self._runner or asyncio.Runner()
        try:
            # Without a context of its own each would see the variables of the first, such as the shard's
            # number.
            return self._runner.run(work, context=copy_context())
        except (KeyboardInterrupt, SystemExit):
            # Each is cancelled once: a second time would keep it from what it does at its end.
            for task in asyncio.all_tasks(self._runner.get_loop()):
                task.cancel()
            ended = False
            while not ended:
                # A group of tasks in one of which the error was raised raises it again as it ends.
                with suppress(KeyboardInterrupt, SystemExit):
                    ended = self._runner.run(_all_ended())
            raise

    @asynccontextmanager
    async def tools(self, config: RunConfig, templates: Mapping[str, str]) -> AsyncIterator[Annotators]:
        """Everything that the run asks, opened where it is not. After an error nothing is kept: an engine may
        be broken."""
        try:
            if self._tools is None:
                self._tools = await open_tools(config, self._stack, templates, opener=self._opener)
                yield self._tools  # what was asked while they were opened counts for the first shard
            else:
                yield replace(self._tools, before=self._tools.used())
        except BaseException:
            await self.aclose()
            raise

    @property
    def are_open(self) -> bool:
        """Whether the next shard need not wait for them."""
        return self._tools is not None

    async def aclose(self) -> None:
        """Close what is open; it is opened again when it is asked for."""
        self._tools = None
        await self._stack.aclose()

    def close(self) -> None:
        """Close what is open, and the event loop."""
        if self._runner is not None:
            try:
                self._runner.run(self.aclose())
            finally:
                self._runner.close()
                self._runner = None
