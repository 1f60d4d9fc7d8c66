"""Asks a server a few short questions before a run's first problem, to learn what it accepts and does.

The most important one: does it continue a begun answer? If a server starts the answer again, every rollout is
a fresh solution, and every wrong step looks right. What a server lacks is replaced where the completions stay
the same; any other server is refused here, before the run spends anything.
"""

import re
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from pipeline.policies.base import Completion, Policy, Prompt, Sampling
from pipeline.policies.chat import CLOSE, OPEN
from pipeline.policies.server.dialect import ONE_AT_A_TIME
from pipeline.policies.server.policy import ServerPolicy
from pipeline.policies.server.replies import Reply
from pipeline.policies.server.restarts import looks_restarted
from schemas.errors import BackendError, UserError
from schemas.text import one_line

_COUNTING = Prompt(
    "Count from 1 to 30. Write only the numbers, with a comma and a space between them.\n\n",
    "1, 2, 3, 4, 5, 6, 7, 8, 9, 1",
)
"""The begun answer ends inside the number 10: only a server that continues it exactly writes a 0 next."""
_SAYING = Prompt(
    "Write a sentence of about twenty words about something that nobody has thought of before.\n\n"
)
_SYSTEM = "You are a careful writer. You write plain English, and you never use a word of another language."
_THOUGHT = (
    f"{OPEN}\nI am asked to count from one to thirty and to write nothing else, so I begin.\n{CLOSE}\n\n"
)
# Prompt tokens that the two texts above add at least, in any tokenizer; fewer mean that a template left them
# out. It may add a token or two of its own.
_MORE_TOKENS = 8
_GREEDY = Sampling(temperature=0.0, max_tokens=16)
# Characters. Two texts that agree in so many are the same text; two short ones ("Yes.") may agree by chance.
_LONG_ENOUGH = 20
_WORD = re.compile("[A-Za-z]{3}")
_PAIRS = 4  # of completions with different seeds, until one pair differs
# As large as a run's own seeds, so that a server that takes only 32 bits is found out now.
_SEED = 2**47 + 2**33 + 7


@dataclass(frozen=True)
class Finding:
    """One answered question. `holds`: whether the server does it; None where that cannot be told."""

    what: str
    holds: bool | None
    said: str = ""


@dataclass
class Probe:
    """What the questions have shown. `refused` says why a run on this policy would not begin."""

    kind: str
    model: str
    findings: list[Finding] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    refused: str = ""

    def add(self, what: str, holds: bool | None, said: str = "") -> None:
        """Keep a finding."""
        self.findings.append(Finding(what, holds, one_line(said, 200)))

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


async def prepare(
    policy: Policy,
    sampling: Sampling,
    *,
    prefixes: bool,
    chat: bool = False,
    limit: tuple[str, int] | None = None,
) -> None:
    """Get to know a policy before its first problem. UserError when a run on it would be worthless:
    with `prefixes`, when it does not continue begun answers. BackendError when it does not answer.

    An engine in this process is only asked where a chat template stands between it and the prefix.
    """
    if isinstance(policy, ServerPolicy) or (chat and prefixes):
        found = await examine(policy, sampling, prefixes=prefixes, limit=limit)
        if found.refused:
            raise UserError(f"{policy.model}: {found.refused}")


async def examine(
    policy: Policy, sampling: Sampling, *, prefixes: bool = True, limit: tuple[str, int] | None = None
) -> Probe:
    """Everything that can be found out in a handful of short calls, with `sampling` as the run has it.

    `limit` is the largest token limit that the policy will be asked with and the setting it comes from,
    where that is not the `prompt.max_tokens` of `sampling`.
    """
    found = Probe(policy.kind, policy.model)
    if not isinstance(policy, ServerPolicy):
        await _examine_engine(policy, found)
        return found
    try:
        room = limit or ("prompt.max_tokens", sampling.max_tokens)
        texts = await _examine_requests(policy, sampling, room, found)
        if prefixes and not found.refused:
            thinks_aloud = any(OPEN in text or CLOSE in text for text in texts)
            await _examine_prefixes(policy, found, thinks_aloud=thinks_aloud)
    finally:
        policy.forget()
        gone = [endpoint.url for endpoint in policy.endpoints.all if not endpoint.there]
        found.notes += [*policy.dialect.notes, *(f"{url} cannot be reached and is left out" for url in gone)]
    return found


_RESTARTS = (
    "the server does not continue a begun answer: it refuses it, or starts again, and every step would look "
    "right; use `chat = false`, or a server that knows `continue_final_message`, as vLLM's does; without "
    "rollouts only a prompt that begins the answer (`=== assistant ===`) needs it"
)
_CONTINUES = {
    True: "",
    False: "it refuses it, or starts again",
    None: "cannot be told from its replies; the run watches for answers that start again",
}


async def _examine_prefixes(policy: ServerPolicy, found: Probe, *, thinks_aloud: bool) -> None:
    """Ask every server: one that starts answers again is enough to spoil a run."""
    several = len(policy.endpoints.all) > 1
    for endpoint in policy.endpoints.all:
        if not endpoint.there:
            continue
        with policy.endpoints.only(endpoint):
            holds = await continues(policy)
        found.add("continues a begun answer", holds, f"{endpoint.url} " * several + _CONTINUES[holds])
        if holds is False:
            found.refused = f"{endpoint.url}: " * several + _RESTARTS
            return
    if policy.chat and thinks_aloud:
        await _examine_thinking(policy, found)


async def _examine_requests(
    policy: ServerPolicy, sampling: Sampling, limit: tuple[str, int], found: Probe
) -> list[str]:
    """Returns the texts that it wrote."""
    dialect = policy.dialect
    dialect.token_ids = "return_token_ids" not in dialect.dropped
    # Greedy completions are all equal, so the questions about several completions are asked at 1.
    asking = replace(sampling, temperature=sampling.temperature or 1.0, max_tokens=24, seed=_SEED)
    asking = replace(asking, stop=(), stop_token_ids=())
    for _ in range(_PAIRS):  # two short answers may well be equal by chance
        asking = replace(asking, seed=asking.seed + 100)
        pair = await _asked(policy, _SAYING, 2, asking)
        texts = [completion.text for _, completion in sorted(pair.found.items())]
        if len(set(texts)) == len(texts):
            break
    if not any(texts):
        raise BackendError(f"no problem was begun: {policy.model} answers with empty texts")
    found.add("answers", True, f"writes {texts[0]!r}")
    if policy.chat:
        await _examine_system(policy, found)
    if dialect.many and len(texts) < 2:
        dialect.many = False
        dialect.note(ONE_AT_A_TIME)
    elif dialect.many and texts[0] == texts[1]:
        dialect.many = False
        dialect.note("it gives the same completion several times; each is asked for alone, with its own seed")
    found.add("several completions at once", dialect.many)
    found.add("seeds of 48 bits", not dialect.fold and "seed" not in dialect.dropped)
    found.add("token limit", True, dialect.limit)
    dialect.token_ids = dialect.token_ids and pair.per_choice
    found.add(
        "tokens of each completion", dialect.token_ids, "" if dialect.token_ids else "shared out by length"
    )
    found.add("finish reasons", not any("finish_reason" in note for note in dialect.notes))
    stops = sampling.stop_token_ids  # refused with the question about the room, and not with all before it
    await _examine_room(policy, replace(asking, stop_token_ids=stops), limit, found, texts)
    return texts


async def _examine_system(policy: ServerPolicy, found: Probe) -> None:
    """Try a system's message. Where its template refuses or leaves it out, it begins the user's message."""
    # A long one and a short one, and not one and none: without any, many templates (SmolLM2's, Qwen2.5's)
    # write one of their own, which has as many tokens as ours.
    systems = (2 * _SYSTEM, _SYSTEM)
    long, short = [await policy.draw(replace(_SAYING, system=one), 1, _GREEDY) for one in systems]
    more = _more_tokens(long, short)
    if policy.dialect.system and more is not None and more < _MORE_TOKENS:
        policy.dialect.without_system()
    holds = False if not policy.dialect.system else True if more is not None else None
    said = {False: "it begins the user's message", None: "cannot be told from its replies", True: ""}
    found.add("system messages", holds, said[holds])


async def _examine_thinking(policy: ServerPolicy, found: Probe) -> None:
    """Whether the thinking before a begun answer is read, too: some templates leave it out."""
    begun = [Prompt(_COUNTING.text, thought + _COUNTING.prefix) for thought in (_THOUGHT, "")]
    more = _more_tokens(*[await policy.draw(prompt, 1, _GREEDY) for prompt in begun])
    holds = more >= _MORE_TOKENS if more is not None else None
    found.add("keeps the thinking of a begun answer", holds)
    if holds is False:
        policy.dialect.note(
            "its chat template leaves out the thinking of a begun answer: rollouts from its steps go on "
            "without it"
        )


def _more_tokens(reply: Reply | None, bare: Reply | None) -> int | None:
    """How many tokens one prompt has more than another; None where the server does not say."""
    if reply is None or bare is None or reply.prompt_tokens is None or bare.prompt_tokens is None:
        return None
    return reply.prompt_tokens - bare.prompt_tokens


async def _examine_room(
    policy: ServerPolicy, asking: Sampling, limit: tuple[str, int], found: Probe, texts: list[str]
) -> None:
    """Ask once more with the run's own token limit, and with the second completion's seed alone: it must give
    the second completion's text."""
    setting, most = limit
    asking = replace(asking, seed=asking.seed + 1, stop=(".", "\n"), max_tokens=most)
    reply = await _asked(policy, _SAYING, 1, asking)
    if reply.is_sure:
        found.refused = f"{setting} = {most} leaves no room for a prompt; lower it"
        return
    found.add(f"room for {setting}", True, str(most))
    found.add("stops at `stop`", not any("prompt.stop" in note for note in policy.dialect.notes))
    text = next(iter(reply.found.values())).text
    if len(texts) == 2 and min(len(text), len(texts[1])) >= _LONG_ENOUGH:
        again = texts[1].startswith(text) or text.startswith(texts[1])
        found.add("the same seed gives the same text", again)


async def _examine_engine(policy: Policy, found: Probe) -> None:
    """An engine in this process always continues the text it is given; only its chat template may fail."""
    try:
        drawn = await policy.sample(replace(_COUNTING, system=_SYSTEM), 2, Sampling(max_tokens=8, seed=_SEED))
    except UserError as error:
        found.refused = str(error)
        return
    found.add("answers", any(c.text for c in drawn), f"writes {drawn[0].text!r}")
    found.add("continues a begun answer", True, "it reads prompt and answer as one text")


async def _asked(policy: ServerPolicy, prompt: Prompt, n: int, sampling: Sampling) -> Reply:
    """A reply with something in it. BackendError with the server's words when none comes."""
    together = n if policy.dialect.many else 1
    reply = await policy.draw(prompt, together, sampling)
    if reply is None or (not reply.found and together > 1):
        reply = await policy.draw(prompt, 1, sampling)
    if reply is None or not reply.found:
        why = next(iter(reply.missing.values())) if reply else "no reply"
        raise BackendError(f"no problem was begun: {policy.model} does not answer: {why}")
    return reply


async def writes(policy: ServerPolicy) -> bool:
    """Whether the server writes anything at all."""
    reply = await policy.draw(_SAYING, 1, Sampling(max_tokens=24, seed=_SEED))
    return reply is not None and any(completion.text for completion in reply.found.values())


async def continues(policy: ServerPolicy) -> bool | None:
    """Whether the server continues a begun answer; None when that cannot be told from its replies."""
    counted = await policy.draw(_COUNTING, 1, _GREEDY)
    first = _only(counted)
    if first is not None and (verdict := _counts_on(first.text, chat=policy.chat)) is not None:
        return verdict
    # What came as thinking may be the count that goes on, but words are new thoughts: "Okay, the user wants".
    if first is not None and counted is not None and counted.from_thinking and _WORD.search(first.text):
        return False
    longer = replace(_GREEDY, max_tokens=48)
    whole = _only(await policy.draw(Prompt(_COUNTING.text), 1, longer))
    if whole is None or len(whole.text) < 2 * _LONG_ENOUGH:
        return None
    # Cut before a word: half a word has other tokens than the model wrote, and may be continued otherwise.
    half = max(whole.text.rfind(" ", 0, len(whole.text) // 2), len(whole.text) // 4)
    begun, rest = whole.text[:half], whole.text[half:]
    second = _only(await policy.draw(Prompt(_COUNTING.text, begun), 1, longer))
    if first is None and second is None:  # it answers prompts, and refuses begun answers
        words = counted.missing.get(0, "") if counted is not None else ""
        policy.dialect.note(f"a begun answer is refused: {words}")
        return False
    text = second.text if second is not None else ""
    if text.startswith(rest[:_LONG_ENOUGH]):
        return True
    restarted = looks_restarted(begun, text) if policy.chat else text.startswith(begun)
    return False if restarted else None


def _counts_on(text: str, *, chat: bool) -> bool | None:
    """What the reply to a count begun with `..., 9, 1` says: `0, 11` goes on, `1, 2, 3` does not, nor does
    `10, 11` of a chat model; a small base model may write that by mistake."""
    if re.match(r"0\b", text):
        return True
    if chat and text.startswith(OPEN):
        return False
    if re.search(r"(?<!\d)1\W+2\W+3\b", text) or (chat and re.match(r"\W*10\b", text)):
        return False
    return None


def _only(reply: Reply | None) -> Completion | None:
    return reply.found.get(0) if reply is not None else None
