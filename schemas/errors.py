"""The families of errors, and the removal of secrets from them. Any other error is a bug and must crash.

The text of an error may be printed, logged, written into a run's records and sent to Prefect. So secrets are
removed from it when the error is made, and nobody has to think of it later.
"""

import errno
import os
import re
from base64 import b64encode
from collections.abc import Iterator

# `OPENAI_API_KEY`, `HF_TOKEN`, `DB_PASSWORD`, `AWS_SECRET_ACCESS_KEY`; not `TOKENIZERS_PARALLELISM`.
_SECRET_NAME = re.compile(
    r"(^|_)(\w*KEY|\w*TOKEN|\w*SECRET|\w*PASSWORD|PASSWD|PASSPHRASE|CREDENTIALS?)(_|$)", re.I
)
# The user and password of a URL: `me:pass@` in `https://me:pass@host/v1`.
_USER_INFO = re.compile(r"(\b[a-z][a-z0-9+.-]*://)[^/\s?#]*@", re.I)
_LOGIN = re.compile(r"://(?P<login>[^/\s?#:@]*:(?P<password>[^/\s?#]*))@")
# Characters of a secret. Shorter values, such as "true" or "1", are found in too many texts to be replaced.
_LEAST = 6
_HIDDEN = "***"
_CONCEALED: set[str] = set()
"""Names of further variables whose values are secret: the `api_key_env` of the policies that are opened."""


def redacted(text: str) -> str:
    """The text without user names and passwords in URLs, and without the values of environment variables
    whose names say that they are secret (a word that ends in KEY, TOKEN, SECRET or PASSWORD). Passwords in
    URLs of the environment, such as a proxy's, are secret too."""
    text = _USER_INFO.sub(rf"\1{_HIDDEN}@", text)
    for value in _secrets():
        text = text.replace(value, _HIDDEN)
    return text


def conceal(name: str) -> None:
    """Treat the value of this environment variable as a secret from now on."""
    _CONCEALED.add(name)


def _secrets() -> list[str]:
    """All secret values, the longest first: a value may be the beginning of another, whose rest would
    stay."""
    secret = (name for name in os.environ if name in _CONCEALED or _SECRET_NAME.search(name))
    named = [os.environ[name].strip() for name in secret]
    for value in os.environ.values():
        # `HTTPS_PROXY=http://me:pass@host`: a proxy may repeat the header that is made of it.
        if found := _LOGIN.search(value):
            named += [found["password"], b64encode(found["login"].encode()).decode()]
    return sorted({value for value in named if len(value) >= _LEAST}, key=len, reverse=True)


class _Redacted(Exception):
    """An error from whose texts secrets are removed."""

    def __init__(self, *said: object) -> None:
        super().__init__(*(redacted(str(part)) for part in said))


class UserError(_Redacted):
    """An error that the user can mend: bad configuration, bad input, a missing file. Shown as one line."""


class NothingNew(UserError):
    """Earlier runs of a series have labelled every problem of its source. For a schedule this is no fault."""


class BackendError(_Redacted):
    """A model call failed after its client's retries. The problem it belonged to stays owed."""


class BackendGone(BackendError):
    """No call succeeds any more, so the run stops instead of letting every problem fail."""


_DISK = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EROFS, errno.EACCES, errno.EPERM)
_PATHS = (errno.EISDIR, errno.ENOTDIR, errno.ELOOP, errno.ENAMETOOLONG)
"""Errors of a path that is no file, or not a possible one."""
# Libraries such as pyarrow raise errors of their own that hold only the system's text, "No space left on
# device".
_TEXTS = tuple(os.strerror(number) for number in _DISK[:5])


def disk_trouble(error: BaseException, place: str = "writing") -> str:
    """What a full, failing or closed disk did, as one line that names the file; empty for other errors.

    Libraries wrap such errors in their own, some with the text alone: then the `place` is named.
    """
    # The error itself is asked first, then what caused it: the outermost one often names no file.
    for one in _chain(error):
        if isinstance(one, OSError) and one.errno in (*_DISK, *_PATHS):
            return f"{one.filename or place}: {os.strerror(one.errno)}"
        if found := next((text for text in _TEXTS if text in str(one)), ""):
            return f"{place}: {found}"
    return ""


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        # `raise ... from None` hides the context on purpose: then it is not followed either.
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
