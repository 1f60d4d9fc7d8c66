"""The families of errors, and what no error may say. Anything else is a bug and must crash.

Whatever an error says may be printed, logged, written into a run's records and sent to Prefect. So secrets
leave it when it is made.
"""

import errno
import os
import re
from collections.abc import Iterator

_SECRET_NAME = re.compile(
    r"(^|_)(\w*KEY|\w*TOKEN|\w*SECRET|\w*PASSWORD|PASSWD|PASSPHRASE|CREDENTIALS?)(_|$)", re.I
)
_USER_INFO = re.compile(r"(\b[a-z][a-z0-9+.-]*://)[^/\s?#]*@", re.I)
_LEAST = 6
"""Shorter values, such as "true", stand in too many texts."""
_HIDDEN = "***"
_CONCEALED: set[str] = set()
"""Names of other variables that hold a secret."""


def redacted(text: str) -> str:
    """The text without user names and passwords in URLs, and without the values of environment variables
    whose names say that they are secret (a word that ends in KEY, TOKEN, SECRET or PASSWORD)."""
    text = _USER_INFO.sub(rf"\1{_HIDDEN}@", text)
    for value in _secrets():
        text = text.replace(value, _HIDDEN)
    return text


def conceal(name: str) -> None:
    """From now on the value of this environment variable is a secret, too."""
    _CONCEALED.add(name)


def _secrets() -> list[str]:
    """The longest first: a value may be the beginning of another."""
    secret = (name for name in os.environ if name in _CONCEALED or _SECRET_NAME.search(name))
    named = (os.environ[name].strip() for name in secret)
    return sorted({value for value in named if len(value) >= _LEAST}, key=len, reverse=True)


class _Redacted(Exception):
    """An error whose texts hold no secret."""

    def __init__(self, *said: object) -> None:
        super().__init__(*(redacted(str(part)) for part in said))


class UserError(_Redacted):
    """Something the person can fix: bad configuration, bad input, a missing file. Shown as one line."""


class BackendError(_Redacted):
    """A model call failed after its client's retries. The problem it belonged to stays owed."""


class BackendGone(BackendError):
    """No call succeeds any more: the run stops instead of trying every problem in vain."""


_DISK = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EROFS, errno.EACCES, errno.EPERM)
_PATHS = (errno.EISDIR, errno.ENOTDIR, errno.ELOOP, errno.ENAMETOOLONG)
"""A file is wanted where there is something else."""
_TEXTS = tuple(os.strerror(number) for number in _DISK[:5])


def disk_trouble(error: BaseException, place: str = "writing") -> str:
    """What a full, failing or closed disk did, as one line that names the file; empty for other errors.

    Libraries wrap such errors in their own, some with the text alone: then the `place` is named.
    """
    for one in _chain(error):
        if isinstance(one, OSError) and one.errno in (*_DISK, *_PATHS):
            return f"{one.filename or place}: {os.strerror(one.errno)}"
        if found := next((text for text in _TEXTS if text in str(one)), ""):
            return f"{place}: {found}"
    return ""


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
