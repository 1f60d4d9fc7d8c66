"""The difficulty filter: is a problem one that the policy sometimes solves?

It need not draw all its rollouts to know. After each batch it asks whether those still to come could change
its verdict. So exactly the same problems pass as with all of them, and what is drawn is the beginning of what
would have been. Whether to stop depends on outcomes: the share of right ones among those drawn is biased
towards one half, but the likelihood of the counts is not, and that is what searches and fusion read.
"""

from typing import Literal

from pipeline.sampling.counted import counts
from pipeline.sampling.roller import Roller
from schemas.config import FilterConfig
from schemas.records import Rollout

# Of the first batch. Four rollouts see both outcomes of a problem that is solved half of the time seven times
# in eight; each further batch doubles what is drawn, so that hard problems wait for few of them.
_BATCH = 4

Verdict = Literal["open", "hard", "easy", "kept"]


async def draw(roller: Roller, config: FilterConfig, *, least: int = 0) -> list[Rollout]:
    """Rollouts of the bare problem until the verdict cannot change, and `least` of a kept problem can be
    read, or until there are `config.rollouts`."""
    if config.stop == "never":
        return await roller.roll("", config.rollouts, "filter")
    drawn: list[Rollout] = []
    while left := config.rollouts - len(drawn):
        correct, n, _ = counts(drawn)
        now = verdict(correct, n, left, config)
        if now in ("hard", "easy") or (now == "kept" and n >= least):
            break
        more = min(left, max(_BATCH, least, len(drawn)))
        drawn += await roller.roll("", more, "filter", start=len(drawn))
    return drawn


def verdict(correct: int, n: int, left: int, config: FilterConfig) -> Verdict:
    """What is certain of a problem with `n` readable rollouts, `correct` of them right, and `left` to come.
    `open` if those can still change it."""
    if n + left == 0:
        return "open"
    # Rollouts that cannot be read count for neither side, so these are the ends of what can become of the
    # rate.
    lowest, highest = correct / (n + left), (correct + left) / (n + left)
    if highest <= config.least:
        return "hard"
    if lowest >= config.most:
        return "easy"
    return "kept" if lowest > config.least and highest < config.most else "open"
