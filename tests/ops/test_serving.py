"""Serving beside delivery: where, and what does not go wrong with it."""

from __future__ import annotations

import errno
import os
import signal
import socket
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import pytest
import trio

from spooler.events import Risk, Serving
from spooler.ident import now_us
from spooler.listen import Listen
from spooler.ops import serving
from spooler.spool.store import Store
from tests.ops.asking import asked
from tests.ops.served import address_of, get, get_json
from tests.servers.own_sink import own_sink
from tests.spool.making import message
from tests.supervise.command import put, running

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from starlette.types import Receive, Scope, Send

    from spooler.events import Event
    from tests.supervise.command import Command

E = TypeVar("E")


class Ear:
    """Hears events, and can be waited for."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self._news = trio.Event()

    def __call__(self, event: Event) -> None:
        """See `spooler.events.Observe`."""
        self.events.append(event)
        self._news.set()

    async def hears(self, kind: type[E]) -> E:
        """Wait for an event of a kind; return the last one."""
        with trio.fail_after(20):
            while not (found := [event for event in self.events if isinstance(event, kind)]):
                self._news = trio.Event()
                await self._news.wait()
        return found[-1]


async def test_a_port_that_is_taken_is_waited_for(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is told once, with what to do; when the port is free it is served, and nothing else stopped."""
    monkeypatch.setattr(serving, "AGAIN", 0.05)
    ear = Ear()
    async with asked(store) as (app, _), trio.open_nursery() as nursery:
        with socket.create_server(("127.0.0.1", 0)) as other:
            port: int = other.getsockname()[1]
            listen = Listen("127.0.0.1", port)
            nursery.start_soon(lambda: serving.serve(app, listen, observe=ear))
            risk = await ear.hears(Risk)
            await trio.sleep(0.3)
        assert risk.what == f"status and metrics are not served: 127.0.0.1:{port}: address already in use"
        assert "--http" in risk.mend
        assert await ear.hears(Serving) == Serving(f"http://127.0.0.1:{port}/")
        url = f"http://127.0.0.1:{port}/livez"
        assert await trio.to_thread.run_sync(lambda: get(url)) == (200, b"alive\n")
        assert len(ear.events) == 2
        nursery.cancel_scope.cancel()


async def test_a_bug_in_a_handler_is_told_and_ends_nothing() -> None:
    """The client gets a 500, the log the reason, and the next request its answer."""
    ear = Ear()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            raise NotImplementedError
        if scope["path"] == "/bug":
            raise ZeroDivisionError("by nothing")
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"fine"})

    async with trio.open_nursery() as nursery:
        nursery.start_soon(lambda: serving.serve(app, Listen("127.0.0.1", 0), observe=ear))
        begun = await ear.hears(Serving)
        assert (await trio.to_thread.run_sync(lambda: get(f"{begun.address}bug")))[0] == 500
        assert (await trio.to_thread.run_sync(lambda: get(f"{begun.address}x"))) == (200, b"fine")
        risk = await ear.hears(Risk)
        assert "ZeroDivisionError('by nothing')" in risk.what
        nursery.cancel_scope.cancel()


@asynccontextmanager
async def served(body: bytes = b"fine") -> AsyncIterator[tuple[int, Ear]]:
    """Serve one answer; gives the port and what is heard."""
    ear = Ear()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": body})

    async with trio.open_nursery() as nursery:
        nursery.start_soon(lambda: serving.serve(app, Listen("127.0.0.1", 0), observe=ear))
        begun = await ear.hears(Serving)
        yield int(begun.address.rstrip("/").rpartition(":")[2]), ear
        nursery.cancel_scope.cancel()


def open_files() -> int:
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes([0, 0, 6, 4, 0, 0, 0, 0, 0, 0, 4, 0, 0, 0, 0])
UPGRADE = (
    b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: Upgrade, HTTP2-Settings\r\n"
    b"Upgrade: h2c\r\nHTTP2-Settings: AAQAAAAA\r\n\r\n"
)


WEBSOCKET = (
    b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Version: 13\r\n%s\r\n"
)
WITH_KEY = WEBSOCKET % b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"


@pytest.mark.parametrize("opening", [PREFACE, UPGRADE, WEBSOCKET % b"", WITH_KEY])
async def test_nothing_but_http_1_is_spoken(opening: bytes) -> None:
    """Neither by how a connection begins nor by a change: HTTP/2 would hold answers back for ever."""
    async with served() as (port, _):
        before = open_files()
        for _turn in range(20):
            stream = await trio.open_tcp_stream("127.0.0.1", port)
            async with stream:
                await stream.send_all(opening)
                with trio.fail_after(10):
                    answer = await stream.receive_some(1000)
            assert answer.startswith(b"HTTP/1.1 "), answer
            assert not answer.startswith(b"HTTP/1.1 101"), answer
        with trio.fail_after(10):
            while open_files() > before:  # noqa: ASYNC110  # the server closes when it gets to it
                await trio.sleep(0.05)


async def test_who_does_not_read_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """The connection is given up, and what was to be sent with it."""
    monkeypatch.setattr(serving, "UNREAD", 0.3)
    async with served(b"x" * 20_000_000) as (port, _):
        before = open_files()
        async with await trio.open_tcp_stream("127.0.0.1", port) as deaf:
            await deaf.send_all(b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
            await trio.sleep(0.1)
            assert open_files() == before + 2
            with trio.fail_after(10):
                while open_files() > before + 1:  # noqa: ASYNC110  # the server closes when it gets to it
                    await trio.sleep(0.05)


async def test_connections_are_few_and_the_next_gets_in(monkeypatch: pytest.MonkeyPatch) -> None:
    """However many there are that do not read: the oldest makes room, and a probe is answered at once."""
    monkeypatch.setattr(serving, "CONNECTIONS", 3)
    async with served(b"x" * 20_000_000) as (port, _):
        before = open_files()
        deaf = [await trio.open_tcp_stream("127.0.0.1", port) for _ in range(9)]
        for stream in deaf:
            await stream.send_all(b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
        await trio.sleep(0.2)
        assert open_files() <= before + len(deaf) + 3
        with trio.fail_after(5):
            status, body = await trio.to_thread.run_sync(lambda: get(f"http://127.0.0.1:{port}/"))
        assert (status, len(body)) == (200, 20_000_000)
        for stream in deaf:
            await stream.aclose()


async def test_without_a_descriptor_others_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    """Told once, and nothing ends."""
    monkeypatch.setattr(serving, "PAUSE", 0.05)
    async with served() as (port, ear):
        real = trio.SocketListener.accept
        failures = 5

        async def accept(listener: trio.SocketListener) -> trio.SocketStream:
            nonlocal failures
            stream = await real(listener)
            if failures:
                failures -= 1
                await trio.aclose_forcefully(stream)
                raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
            return stream

        monkeypatch.setattr(trio.SocketListener, "accept", accept)
        for _ in range(7):
            with suppress(OSError):
                stream = await trio.open_tcp_stream("127.0.0.1", port)
                await stream.aclose()
        assert await trio.to_thread.run_sync(lambda: get(f"http://127.0.0.1:{port}/")) == (200, b"fine")
        assert failures == 0
        told = [event for event in ear.events if isinstance(event, Risk)]
        assert [event.what for event in told] == ["status page: no connection: too many open files"]


def unserved(command: Command) -> list[dict[str, Any]]:
    """The log's lines that say that nothing is served."""
    return [line for line in command.lines("risk") if "not served" in line["what"]]


def test_delivery_goes_on_where_the_port_is_taken(sqlite_url: str, tmp_path: Path) -> None:
    """A worker says so, delivers, and stops in order."""
    put(sqlite_url, 3)
    with own_sink() as sink, socket.create_server(("127.0.0.1", 0)) as other:
        http = f"127.0.0.1:{other.getsockname()[1]}"
        where = ("worker", "--spool", sqlite_url, "--target", sink.tcp)
        with running(tmp_path / "log", *where, http=http) as worker:
            worker.until(lambda: len(worker.lines("transaction")) == 3)
            worker.until(lambda: len(unserved(worker)) == 1)
            worker.process.terminate()
            assert worker.ends() == 0


def test_a_drain_serves_only_where_it_is_told_to(sqlite_url: str, tmp_path: Path) -> None:
    """The port of its configuration is a worker's; with --http it shows itself while it lasts."""
    with Store.open(sqlite_url) as store:
        store.enqueue([message("a@x")], now=now_us())
    config = tmp_path / "spooler.toml"
    with own_sink() as sink:
        config.write_text(f'spool = "{sqlite_url}"\n[routes.default]\ndestinations = ["{sink.tcp}"]\n')
        where = ("drain", "--config", str(config), "--http", "127.0.0.1:0")
        sink.process.send_signal(signal.SIGSTOP)  # the drain lasts until it goes on
        with running(tmp_path / "log", *where) as drain:
            address = address_of(drain)
            assert get_json(f"{address}/api/v1/status")["routes"][0]["name"] == "default"
            sink.process.send_signal(signal.SIGCONT)
            assert drain.ends() == 0
        with Store.open(sqlite_url) as store:
            store.enqueue([message("a@x")], now=now_us())
        with running(tmp_path / "log2", *where[:3], http="") as drain:
            assert drain.ends() == 0
            assert drain.lines("serving") == unserved(drain) == []


def test_what_is_no_address_or_open_to_all_is_refused(sqlite_url: str, tmp_path: Path) -> None:
    """In one line, before anything begins: others can connect only where a token is asked for."""
    where = ("worker", "--spool", sqlite_url, "--target", "inet:127.0.0.1:9")
    for http, code, says in (
        ("nonsense", os.EX_USAGE, "'nonsense' is no address to listen on (give address:port"),
        ("0.0.0.0:0", os.EX_USAGE, "can be reached from other machines, and no token is asked for (name"),
    ):
        with running(tmp_path / "log", *where, http=http) as worker:
            assert worker.ends() == code
            (line,) = worker.spoken()
            assert says in line
    config = tmp_path / "spooler.toml"
    config.write_text(f'[http]\nlisten = "0.0.0.0:0"\ntoken-file = "{tmp_path}/none"\n')
    with running(tmp_path / "log", *where, "--config", str(config), http="0.0.0.0:0") as worker:
        assert worker.ends() == os.EX_NOINPUT


def test_a_spool_that_takes_nothing_any_more(sqlite_url: str, tmp_path: Path) -> None:
    """Its file was moved under a worker, which still reads it: page and probe say what the log says."""
    path = Path(sqlite_url.removeprefix("sqlite:///"))
    where = ("worker", "--spool", sqlite_url, "--target", "inet:127.0.0.1:9")
    with running(tmp_path / "log", *where, http="127.0.0.1:0") as worker:
        address = address_of(worker)
        worker.until(lambda: get(f"{address}/readyz")[0] == 200)
        path.rename(tmp_path / "elsewhere.db")
        worker.until(lambda: get(f"{address}/readyz")[0] == 503)
        problem, *_ = get_json(f"{address}/api/v1/status")["problems"]
    assert problem["what"] == "The spool's database takes nothing that is written"
    assert "moved" in problem["why"]
