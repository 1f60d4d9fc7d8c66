"""Asks the Hub, and says in our words what it refuses and why it cannot be reached."""

import re
from collections.abc import Callable
from typing import Any, TypeVar

from schemas.errors import BackendError, UserError

Result = TypeVar("Result")
_CLIENTS = frozenset({"httpx", "httpx2", "requests"})
"""Libraries that the Hub's client has spoken HTTP with: their errors share no class of ours."""


def asked(ask: Callable[[], Result]) -> Result:
    """What the Hub answers; a refusal becomes a UserError, a failing connection a BackendError. `ask` must do
    nothing but talk to the Hub, since any error that it raises is taken for the Hub's."""
    from huggingface_hub.errors import (
        HfHubHTTPError,
        HFValidationError,
        LocalTokenNotFoundError,
        OfflineModeIsEnabled,
    )

    _check_token()
    try:
        return ask()
    except OfflineModeIsEnabled:
        raise UserError("HF_HUB_OFFLINE is set: unset it to publish") from None
    except LocalTokenNotFoundError:
        raise UserError("the Hub needs a token: `hf auth login`, or set HF_TOKEN") from None
    except HFValidationError as error:
        raise UserError(f"not a name for a repository: {str(error).splitlines()[0]}") from None
    except HfHubHTTPError as error:
        raise _refusal(error) from None
    except Exception as error:
        # An upload that fails in a thread of the client is wrapped in a RuntimeError.
        fault = _cause(error)
        if isinstance(fault, HfHubHTTPError):
            raise _refusal(fault) from None
        # A proxy's login page or another server answers in a form that the client does not expect; the
        # address is then the likeliest fault.
        if not _is_transport(fault):
            if isinstance(fault, (ValueError, LookupError, TypeError, AttributeError)):
                raise UserError(
                    f"{_endpoint()} does not answer as the Hub does ({type(fault).__name__}): "
                    "check HF_ENDPOINT"
                ) from error
            raise
        what = str(fault) or type(fault).__name__
        raise BackendError(
            f"the Hub at {_endpoint()} cannot be reached: {what}; the same command uploads what is missing"
        ) from None


def _cause(error: Exception) -> Exception:
    inner = error.__cause__
    return inner if type(error) is RuntimeError and isinstance(inner, Exception) else error


def _is_transport(error: Exception) -> bool:
    """Whether the network failed, or what speaks for it, and not a file of ours."""
    if any(parent.__module__.split(".")[0] in _CLIENTS for parent in type(error).__mro__):
        return True
    # An OSError about a file names it; one about a connection does not.
    return isinstance(error, OSError) and error.filename is None


def _endpoint() -> str:
    from huggingface_hub import constants

    # An address may hold a name and password, `https://me:secret@host`: they must not be printed.
    return re.sub(r"//[^/@]*@", "//", constants.ENDPOINT)


def _check_token() -> None:
    """A token that no header can carry fails deep in the client, with the token in the message."""
    from huggingface_hub import get_token

    # `!` to `~` are the printable letters of ASCII, all that a token is made of.
    if re.search(r"[^!-~]", get_token() or ""):
        raise UserError(
            "the Hub's token holds a space, a line end or a letter that no token has: set HF_TOKEN anew, "
            "or `hf auth login`"
        )


def _refusal(error: Any) -> Exception:
    status = getattr(error.response, "status_code", 0)
    match status:
        case 401 | 403:
            return UserError(
                f"the Hub refused the token ({status}): `hf auth login` with one that may write there"
            )
        case 412:
            return UserError("the repository changed while this was uploaded (412): publish again")
        case _:
            said = re.sub(r"//[^/@\s]*@", "//", (str(error).splitlines() or [""])[0])
            return BackendError(f"the Hub answered {status}: {said}")
