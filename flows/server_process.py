"""The process of a command's temporary Prefect server; `flows.server` starts it.

Its one flow asks for a tenth of what a Prefect server offers. Making ready for the rest would take a second
in which the flow waits. So the rest is made ready when it is first asked for.
"""

import asyncio
import gc
import os
import shutil
import socket
import sqlite3
import sys
import threading
from contextlib import AsyncExitStack, closing
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

from flows.importing import uncollected

_VERSION = "3.7."
"""The releases of Prefect whose server is known to come apart like this."""
_SERVER = "prefect.server.api.server"
_ASKED = ("admin", "csrf_token", "flow_runs", "flows", "task_runs")
"""Modules of Prefect's server that answer a flow."""


def lay_tables(database: Path) -> None:
    """Make a new database with Prefect's tables as its classes declare them.

    Prefect itself would repeat a hundred migrations of its history, a quarter of a minute for the same
    tables. Left out are indexes that only they make, for deployments and for searches by name.
    """
    from prefect.server.database.orm_models import Base
    from sqlalchemy.dialects import sqlite
    from sqlalchemy.schema import CreateIndex, CreateTable

    tables = Base.metadata.sorted_tables
    made: list[CreateTable | CreateIndex] = [CreateTable(table) for table in tables]
    # One index is declared twice.
    made += [CreateIndex(index, if_not_exists=True) for table in tables for index in table.indexes]
    dialect = sqlite.dialect()  # type: ignore[no-untyped-call, unused-ignore]
    with closing(sqlite3.connect(database)) as connection:
        connection.executescript("".join(f"{statement.compile(dialect=dialect)};" for statement in made))


def _put_off(name: str, **known: Any) -> None:
    """Let a module of Prefect be imported when something is asked of it that is not `known`."""
    stand_in = ModuleType(name)

    def ask(attribute: str) -> Any:
        if attribute.startswith("__"):  # the import system asks
            raise AttributeError(attribute)
        if sys.modules.get(name) is stand_in:
            del sys.modules[name]
        return getattr(import_module(name), attribute)

    vars(stand_in).update(known, __getattr__=ask)
    sys.modules[name] = stand_in


def app_of(*, lean: bool) -> Any:
    """What answers requests: for a flow alone and otherwise Prefect's own application, or that at once."""
    import prefect

    if lean and prefect.__version__.startswith(_VERSION):
        # Every change of a state imports it for this function alone.
        _put_off(_SERVER, is_client_retryable_exception=_is_locked)
        return _first_asked(_for_a_flow())
    from prefect.server.api.server import create_app

    return create_app()


def _is_locked(error: Exception) -> bool:
    """Whether the database was in use. Then the client may ask again, which it does for two minutes: a disk
    that is full would still be."""
    from sqlalchemy.exc import OperationalError

    return isinstance(error, OperationalError) and "database is locked" in str(error.orig)


def _first_asked(small: Any) -> Any:
    """The small application for all that it knows, and Prefect's own for the rest, once it is asked for."""
    known = {"health", *(route.path.split("/")[1] for route in small.routes)}
    whole: list[Any] = []
    alone, held = asyncio.Lock(), AsyncExitStack()

    async def answer(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            raise NotImplementedError  # the server goes on without
        path = scope["path"].removeprefix("/api")
        if scope["type"] == "http" and path.split("/")[1:2] and path.split("/")[1] in known:
            await small({**scope, "path": path}, receive, send)
            return
        async with alone:
            if not whole:
                from prefect.server.api.server import create_app

                whole.append(create_app())
                await held.enter_async_context(whole[0].router.lifespan_context(whole[0]))
        await whole[0](scope, receive, send)

    return answer


def _for_a_flow() -> Any:
    """What a flow asks for, with the errors that Prefect's client understands."""
    from fastapi import FastAPI
    from fastapi.responses import JSONResponse
    from prefect.server.exceptions import ObjectNotFoundError
    from sqlalchemy.exc import IntegrityError, OperationalError

    def says(status: int) -> Any:
        def answer(_: Any, error: Exception) -> JSONResponse:
            told = 503 if _is_locked(error) else status
            return JSONResponse({"exception_message": str(error)}, told)

        return answer

    errors = {ObjectNotFoundError: 404, IntegrityError: 409, OperationalError: 500}
    app = FastAPI(
        openapi_url=None, exception_handlers={error: says(status) for error, status in errors.items()}
    )
    app.add_api_route("/health", lambda: True)
    for name in _ASKED:
        app.include_router(import_module(f"prefect.server.api.{name}").router)
    return app


def _leave_with(line: int, folder: Path) -> None:
    os.read(line, 1)  # the command never writes: it returns when the command has ended, however that was
    shutil.rmtree(folder, ignore_errors=True)
    os._exit(0)


def serve(listening: int, line: int, folder: Path, *, lean: bool) -> None:
    """Answer on an open socket, until the command has ended. The tables are laid where the database is the
    command's own."""
    threading.Thread(target=_leave_with, args=(line, folder), daemon=True).start()
    with uncollected():
        import uvicorn

        database = folder / "server.db"
        if os.environ.get("PREFECT_SERVER_DATABASE_CONNECTION_URL", "").endswith(f"/{database}"):
            lay_tables(database)
        app = app_of(lean=lean)
    gc.freeze()  # what is imported stays, and need not be looked through again
    server = uvicorn.Server(uvicorn.Config(app, log_level="error"))
    server.run(sockets=[socket.socket(fileno=listening)])


if __name__ == "__main__":
    serve(int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3]), lean=sys.argv[4] == "lean")
