"""Votes of the step labels that came with given solutions, for runs that ask for them."""

from schemas.records import Candidate, Vote
from schemas.sources import Sources, judge_source

SOURCE = "gold"
# A person errs, too (PRM800K's raters agree with each other on about three steps in four), so their labels
# count as opinions, whose trust is fitted, and not as proofs. Nor are they checks, whose consent says little.
# Where nothing contradicts them they decide, as any lone judge does.
SOURCES: Sources = judge_source(SOURCE)


def with_votes(candidate: Candidate) -> Candidate:
    """The candidate with a vote for each step that its labels speak of."""
    if candidate.gold is None:
        return candidate
    votes = [
        Vote(
            step=step,
            source=SOURCE,
            asks="valid",
            p=label,
            why=f"labelled by {candidate.gold.by or 'its row'}",
        )
        for step, label in enumerate(candidate.gold.labels)
        if label is not None
    ]
    return candidate.model_copy(update={"votes": (*candidate.votes, *votes)})
