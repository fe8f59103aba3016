"""Asking the application without a server between: what a client sees of it, and a spool to ask about."""

from __future__ import annotations

import json
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

from spooler.ops.app import application
from spooler.ops.pulse import Gathering
from spooler.ops.watch import Watch
from tests.delivery.house import Inline, clock

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, MutableMapping

    from starlette.types import ASGIApp

    from spooler.ops.guard import Token
    from spooler.ops.ports import LookPort
    from spooler.spool.store import Store

LOCAL = {"host": "127.0.0.1:9024"}


@dataclass(frozen=True)
class Answer:
    """What came back."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:  # noqa: ANN401  # whatever JSON holds
        """The body as JSON."""
        return json.loads(self.body)


async def ask(
    app: ASGIApp, target: str, *, method: str = "GET", headers: dict[str, str] | None = None
) -> Answer:
    """Make one request; the path is as a server has decoded it."""
    path, _, query = target.partition("?")
    scope = {
        "type": "http",
        "http_version": "1.1",
        "method": method,
        "scheme": "http",
        "path": path,
        "raw_path": path.encode(),
        "query_string": query.encode(),
        "root_path": "",
        "headers": [(k.encode(), v.encode()) for k, v in (LOCAL | (headers or {})).items()],
        "server": ("127.0.0.1", 9024),
        "client": ("127.0.0.1", 1),
    }
    sent: list[MutableMapping[str, Any]] = []

    async def receive() -> MutableMapping[str, Any]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: MutableMapping[str, Any]) -> None:
        sent.append(message)

    await app(scope, receive, send)
    start = sent[0]
    return Answer(
        start["status"],
        {k.decode().lower(): v.decode() for k, v in start["headers"]},
        b"".join(message.get("body", b"") for message in sent[1:]),
    )


@asynccontextmanager
async def asked(store: Store, *, token: Token | None = None) -> AsyncIterator[tuple[ASGIApp, Watch]]:
    """Give an application over a spool, and what it watches."""
    watch = Watch(spool=cast("LookPort", Inline(store)), gathering=Gathering(), clock=clock)
    yield application(watch, version="1.2.3", token=token), watch
