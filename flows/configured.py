"""The Prefect server that PREFECT_API_URL names, for commands that do nothing without one."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from schemas.errors import UserError


@contextmanager
def connected(pool: str = "stepmint") -> Iterator[Any]:
    """A client of the server. UserError where none is configured, or it does not answer."""
    from prefect import get_client
    from prefect.settings import PREFECT_API_URL

    start = f"start one: `prefect server start`, then `prefect worker start --pool {pool}`"
    url = PREFECT_API_URL.value()
    if not url:
        raise UserError(
            "PREFECT_API_URL is not set, and only a Prefect server runs deployments: "
            f"{start}, and set it to the address that the server prints"
        )
    # Without a limit the client would try several times, for most of a minute.
    with get_client(sync_client=True, httpx_settings={"timeout": 10}) as client:
        if client.api_healthcheck() is not None:
            raise UserError(f"the Prefect server {url} (PREFECT_API_URL) does not answer: {start}")
    with get_client(sync_client=True) as client:
        yield client
