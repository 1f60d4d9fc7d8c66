"""Why a problem has no solution to label."""

from collections import Counter

from pipeline.labelling.tools import Annotators
from pipeline.runs.given_files import Given
from pipeline.sampling.roller import ENDED, Roller
from schemas.config import GivenConfig, RunConfig
from schemas.sources import NO_GOLD


def nobody_can_label(tools: Annotators, given: Given) -> str:
    """Without a gold answer no rollout can be graded: empty where a judge, a verifier or labels that came
    with the solutions can still label."""
    asked = tools.config.proposer(GivenConfig)
    labelled = asked and asked.gold_votes and any(one.gold for one in given.candidates)
    if labelled or not all(part.annotator.needs_gold for part in tools.parts):
        return ""
    return f"{NO_GOLD}, and the run has neither judge nor verifiers"


def nothing_finished(roller: Roller, config: RunConfig, *, late: bool) -> str:
    """Why there is no solution to label, with how often each reason was met, the most frequent first."""
    if all(isinstance(one, GivenConfig) for one in config.proposers):
        return "no solution was given"
    # The filter's rollouts are no proposals, and some of them were finished: else it had let nothing through.
    proposed = [one for one in roller.taken if not one.prefix and one.purpose != "filter"]
    reasons = Counter(ENDED.get(one.stopped, "no step in it") for one in proposed)
    found = ", ".join(f"{why} ({n})" for why, n in reasons.most_common())
    said = f"no solution was finished{' before the token budget was spent' if late else ''}"
    return f"{said}: {found}" if found else said
