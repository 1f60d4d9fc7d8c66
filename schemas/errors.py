"""The families of errors. Anything else is a bug and must crash."""


class UserError(Exception):
    """Something the person can fix: bad configuration, bad input, a missing file. Shown as one line."""


class BackendError(Exception):
    """A model call failed after its client's retries. The problem it belonged to stays owed."""


class BackendGone(BackendError):
    """No call succeeds any more: the run stops instead of trying every problem in vain."""
