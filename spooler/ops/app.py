"""What is answered over HTTP: health, metrics, the JSON API and the page. All of it only reads.

`/livez`, `/readyz`, `/metrics`, `/`; below `/api/v1`: `status`, `history`, `queue`, `errors`, `trace/WHAT`.
An error is `{"error": …, "hint": …}` with the status that fits. Nothing is cached by whoever asks.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

import msgspec
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from spooler.errors import NoInputError, SpoolerError
from spooler.ops.exposition import CONTENT_TYPE, render
from spooler.ops.guard import Guard
from spooler.ops.page import page
from spooler.ops.readiness import readiness
from spooler.ops.status import errors, status
from spooler.plain import plain
from spooler.records import QueueFilter

if TYPE_CHECKING:
    from collections.abc import Sequence

    from starlette.requests import Request
    from starlette.types import ASGIApp

    from spooler.ops.guard import Token
    from spooler.ops.history import Point
    from spooler.ops.watch import Watch

MOST = 1000  # rows of a list, or events of a trace
EVENTS = 200
OLDEST = 15
_HEADERS = {
    "Cache-Control": "no-store",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
}
Columns: TypeAlias = dict[str, list[int]]


class Answers:
    """The handlers; `version` is the program's."""

    def __init__(self, watch: Watch, *, version: str) -> None:
        self._watch = watch
        self._version = version

    async def live(self, _: Request) -> Response:
        """Say that this process answers."""
        return PlainTextResponse("alive\n", headers=_HEADERS)

    async def ready(self, _: Request) -> Response:
        """Say whether all that delivery needs is there."""
        found = await readiness(self._watch)
        return _json(found, status=200 if found.ready else 503)

    async def metrics(self, _: Request) -> Response:
        """Write them for Prometheus."""
        text = await render(self._watch, version=self._version)
        return Response(text, headers={**_HEADERS, "Content-Type": CONTENT_TYPE})

    async def page(self, _: Request) -> Response:
        """Give the page."""
        document, policy = page()
        headers = {**_HEADERS, "Content-Security-Policy": policy, "Content-Type": "text/html; charset=utf-8"}
        return Response(document, headers=headers)

    async def status(self, _: Request) -> Response:
        """Tell how everything stands."""
        return _json(await status(self._watch, version=self._version))

    async def history(self, _: Request) -> Response:
        """Give the charts' points, by column: times in µs UTC."""
        history = self._watch.history
        return _raw({"near": _columns(history.near), "far": _columns(history.far)})

    async def queue(self, request: Request) -> Response:
        """List queued recipients, oldest message first."""
        limit = _number(request, "limit", OLDEST)
        found = await self._watch.spool.queue(filter=QueueFilter(), limit=limit + 1)
        return _json({"recipients": found[:limit], "more": len(found) > limit})

    async def errors(self, request: Request) -> Response:
        """List errors, most frequent first."""
        return _json({"errors": errors(self._watch, _number(request, "limit", MOST))})

    async def trace(self, request: Request) -> Response:
        """Tell the story of an address or of a message's id."""
        limit = _number(request, "limit", EVENTS)
        what = request.path_params["what"].strip()
        if "\0" in what:
            raise HTTPException(404, "no address and no id has a NUL in it")
        return _json(await self._watch.spool.trace(what, limit=limit))


def application(watch: Watch, *, version: str, token: Token | None) -> ASGIApp:
    """Make the application."""
    answers = Answers(watch, version=version)
    routes = {
        "/": answers.page,
        "/livez": answers.live,
        "/readyz": answers.ready,
        "/metrics": answers.metrics,
        "/api/v1/status": answers.status,
        "/api/v1/history": answers.history,
        "/api/v1/queue": answers.queue,
        "/api/v1/errors": answers.errors,
        "/api/v1/trace/{what:path}": answers.trace,
    }
    app = Starlette(
        routes=[Route(path, endpoint, methods=["GET"]) for path, endpoint in routes.items()],
        exception_handlers={SpoolerError: _refused, HTTPException: _not_so},
    )
    return Guard(app, token=token)


def _json(value: object, *, status: int = 200) -> Response:
    return _raw(plain(value), status=status)


def _raw(value: object, *, status: int = 200) -> Response:
    headers = {**_HEADERS, "Content-Type": "application/json"}
    return Response(msgspec.json.encode(value), status, headers)


def _columns(points: Sequence[Point]) -> Columns:
    names = msgspec.structs.fields(points[0]) if points else ()
    return {field.name: [getattr(point, field.name) for point in points] for field in names}


def _number(request: Request, name: str, default: int) -> int:
    """Read a count from the query; raises HTTPException."""
    text = request.query_params.get(name)
    if text is None:
        return default
    if not text.isascii() or not text.isdigit() or len(text) > len(str(MOST)) or not 0 < int(text) <= MOST:
        raise HTTPException(400, f"{name} must be a number from 1 to {MOST}")
    return int(text)


async def _refused(_: Request, error: Exception) -> Response:
    assert isinstance(error, SpoolerError)
    status = 404 if isinstance(error, NoInputError) else 503
    return _json({"error": error.what, "hint": error.hint}, status=status)


async def _not_so(_: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    answer = _json({"error": error.detail, "hint": ""}, status=error.status_code)
    answer.headers.update(error.headers or {})
    return answer
