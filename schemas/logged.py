"""What the lines of a log are about: which run, which shard, which problem."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar

Subject = Mapping[str, str | int]
_SUBJECT: ContextVar[Subject] = ContextVar("subject", default={})  # noqa: B039


@contextmanager
def about(**what: str | int) -> Iterator[None]:
    """Everything that is logged inside is about this: `about(run="runs/mine", shard=3)`."""
    token = _SUBJECT.set({**_SUBJECT.get(), **what})
    try:
        yield
    finally:
        _SUBJECT.reset(token)


def subject() -> Subject:
    """What is worked on now."""
    return _SUBJECT.get()
