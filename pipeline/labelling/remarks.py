"""What a person should know about a sealed run before relying on it, in one line each."""

from schemas.manifest import Manifest
from schemas.sources import NO_GOLD

_TELLING = 100
"""A source with so many votes and no "no" among them is worth a remark."""


def remarks(manifest: Manifest) -> list[str]:
    """Sources that said nothing, or never said no, and problems without a gold answer."""
    # An error and not a note: a source of which nothing can be read was paid for in vain, mostly by a wrong
    # prompt.
    said = [f"error: {_silence(name, manifest)}" for name in unread(manifest)]
    if manifest.owed:
        said.append(f"note: {manifest.owed} problems are still owed: only a part of the run is sealed")
    for name, count in manifest.sources.items():
        given = count.votes - count.abstained
        # That no problem has a gold answer is said below, once for all sources that need one.
        explained = manifest.ungraded == manifest.problems and count.commonest == NO_GOLD
        if not given and not count.failed and not explained:
            said.append(f"note: {_silence(name, manifest)}")
        if given >= _TELLING and count.denied == 0:
            said.append(f"note: {name} never said no in {given} votes: it tells nothing apart here")
    if manifest.ungraded:
        said.append(
            f"note: {manifest.ungraded} of {manifest.problems} problems have no gold answer: nothing was "
            "rolled out or graded for them, only judges and verifiers label their steps"
        )
    return said


def unread(manifest: Manifest) -> list[str]:
    """Sources that were asked, and of whose answers not one could be read."""
    return [
        name
        for name, count in manifest.sources.items()
        if count.votes and count.abstained == count.votes and count.failed
    ]


def _silence(name: str, manifest: Manifest) -> str:
    count = manifest.sources[name]
    others = [other for other, one in manifest.sources.items() if one.abstained < one.votes]
    rest = f"the labels stand on {', '.join(others)}" if others else "nothing else spoke: there are no labels"
    sample = f"; one reply: {count.sample!r}" if count.sample else ""
    return f"{name} abstained in every one of {count.votes} votes ({count.commonest}{sample}); {rest}"
