"""Delivery under TLS, and where TLS or AUTH stand in its way: nothing is lost, doubled or laid open."""

from __future__ import annotations

import shutil
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import msgspec
import pytest
import trio

from spooler.config import Duration, Retry
from spooler.errors import NoInputError, NotPermittedError
from spooler.events import NotConnected, RouteDown, SecurityTrouble
from spooler.sink.script import Drop, DropAt
from spooler.tls import TlsLevel
from tests.delivery.house import House, route_to, sink

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from trio.testing import MockClock

    from spooler.config import Route
    from spooler.sink.state import Sink
    from tests.certificates import Files

LARGE = b"Subject: x\r\n\r\n" + b"0123456789abcde\r\n.dot\r\n" * 60_000  # 1.3 MB: it is streamed


def secure(files: Files, *sinks: Sink, **options: object) -> Route:
    """A route that trusts our own authority alone."""
    return route_to(*sinks, **{"tls": TlsLevel.SECURE, "tls_ca": str(files.ca)} | options)


@asynccontextmanager
async def refusing(refusal: bytes) -> AsyncIterator[tuple[str, list[float]]]:
    """A server that refuses every secret; its destination, and when it was asked."""
    asked: list[float] = []

    async def serve(stream: trio.SocketStream) -> None:
        async with stream:
            await stream.send_all(b"220 host\r\n")
            await stream.receive_some()
            await stream.send_all(b"250-host\r\n250 AUTH PLAIN\r\n")
            await stream.receive_some()
            asked.append(trio.current_time())
            await stream.send_all(refusal)
            await stream.receive_some()

    async with trio.open_nursery() as nursery:
        (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
        nursery.start_soon(trio.serve_listeners, serve, [listener])
        yield f"inet:127.0.0.1:{listener.socket.getsockname()[1]}", asked
        nursery.cancel_scope.cancel()


def authenticating(folder: Path, destination: str) -> Route:
    """A route to a destination that wants AUTH."""
    secret = folder / "secret"
    secret.write_text("s3cret\n")
    secret.chmod(0o400)
    route = route_to(auth_user="me", auth_secret_file=str(secret))
    return msgspec.structs.replace(route, destinations=[destination])


@pytest.mark.parametrize("implicit", [False, True], ids=["starttls", "implicit"])
@pytest.mark.parametrize("mode", ["lockstep", "pipelined", "chunked"])
async def test_hundreds_of_messages_in_every_mode(
    house: House, certificates: Files, autojump_clock: MockClock, mode: str, *, implicit: bool
) -> None:
    """Each recipient has one copy, of the right content, and no session stays in plain text."""
    for i in range(300):
        house.enqueue(f"a{i}@x", f"b{i}@x")
    house.enqueue("large@x", content=LARGE)
    async with sink(certificate=certificates.server, implicit=implicit) as (running, inbox):
        worker = house.worker(
            {"default": secure(certificates, running, mode=mode, tls_implicit=implicit)}, until_empty=True
        )
        await worker.run()
        connections = running.counters.connections
    assert house.outcomes() == {"delivered": 601}
    assert len(inbox.copies) == 601
    assert set(inbox.copies.values()) == {1}
    assert len(inbox.digests) == 2
    assert connections <= 21


@pytest.mark.parametrize("at", [DropAt.BODY, DropAt.BEFORE_DOT, DropAt.AFTER_DOT])
async def test_connections_that_are_cut(
    house: House, certificates: Files, autojump_clock: MockClock, at: DropAt
) -> None:
    """Every tenth transaction ends in a cut: all arrive, and a copy too many has left its trace."""
    messages = [house.enqueue(f"a{i}@x", f"b{i}@x") for i in range(60)]
    async with sink(certificate=certificates.server, drops=(Drop(at, 10),)) as (running, inbox):
        await house.worker({"default": secure(certificates, running)}, until_empty=True).run()
    outcomes = house.outcomes()
    assert outcomes["delivered"] == 120
    assert len(inbox.copies) == 120
    assert running.counters.faults[f"drop {at}"] >= 6
    uncertain = sum(entry[3] for message in messages for entry in house.story(message))
    assert sum(inbox.copies.values()) - 120 <= uncertain
    assert (sum(inbox.copies.values()) > 120) is (at is DropAt.AFTER_DOT)


async def test_a_certificate_that_is_not_accepted_costs_no_more_than_a_dead_server(
    house: House, certificates: Files, autojump_clock: MockClock, tmp_path: Path
) -> None:
    """One attempt for each probe, deferred with 4.7.5, and an error that says what to mend; when the file
    with the authority is mended, under the running worker, all goes out."""
    ca = tmp_path / "ca.pem"
    shutil.copy(certificates.other_ca, ca)
    messages = [house.enqueue(f"r{i}@x") for i in range(100)]
    async with sink(certificate=certificates.server) as (running, inbox), trio.open_nursery() as nursery:
        worker = house.worker({"default": secure(certificates, running, tls_ca=str(ca))}, until_empty=None)
        nursery.start_soon(worker.run)
        await trio.sleep(100)
        assert inbox.copies == {}
        assert running.counters.transactions == 0
        assert house.outcomes()["deferrals"] == running.counters.connections <= 10
        shutil.copy(certificates.ca, ca)
        await trio.sleep(61)
        assert len(inbox.copies) == 100
        worker.stop()
    told = [event for event in house.events if isinstance(event, SecurityTrouble)]
    assert len(told) == sum(isinstance(event, RouteDown) for event in house.events) > 2
    assert "name its authority with tls-ca" in told[0].why
    assert told[0].destination == str(running.bound[0])
    entries = [entry for message in messages for entry in house.store.ledger_of(message)]
    deferred = [entry for entry in entries if entry.outcome == "deferred"]
    assert {(entry.stage, entry.enhanced, entry.uncertain) for entry in deferred} == {
        ("starttls", "4.7.5", False)
    }


async def test_no_tls_where_it_is_required(
    house: House, certificates: Files, autojump_clock: MockClock
) -> None:
    """A server without STARTTLS gets no mail, and no envelope either."""
    message = house.enqueue("a@x")
    async with sink() as (running, inbox):
        await house.worker({"default": secure(certificates, running)}, until_empty=False).run()
    assert (inbox.copies, running.counters.transactions) == ({}, 0)
    entries = house.store.ledger_of(message)
    assert {(entry.outcome, entry.stage, entry.enhanced) for entry in entries} == {
        ("deferred", "starttls", "4.7.4")
    }


async def test_another_destination_takes_the_mail(
    house: House, certificates: Files, autojump_clock: MockClock
) -> None:
    """One of two has the wrong certificate: no attempt is lost, and it is told all the same."""
    for i in range(50):
        house.enqueue(f"r{i}@x")
    async with sink(certificate=certificates.named) as (wrong, nothing):  # noqa: SIM117  # they are a pair
        async with sink(certificate=certificates.server) as (right, inbox):
            await house.worker({"default": secure(certificates, wrong, right)}, until_empty=True).run()
    assert house.outcomes() == {"delivered": 50}
    assert (len(inbox.copies), nothing.copies) == (50, {})
    (told, *_) = [event for event in house.events if isinstance(event, SecurityTrouble)]
    assert told.destination == str(wrong.bound[0])
    assert "it is for store.test, not for 127.0.0.1" in told.why


async def test_routes_with_other_security_share_no_session(
    house: House, certificates: Files, autojump_clock: MockClock
) -> None:
    """Two routes to one destination, one in plain text: the other's mail never goes by its sessions."""
    house.enqueue("a@x", route="default")
    house.enqueue("b@x", route="plain")
    async with sink(certificate=certificates.server) as (running, inbox):
        routes = {"default": secure(certificates, running, tls_ca=str(certificates.other_ca))}
        await house.worker(routes | {"plain": route_to(running)}, until_empty=False).run()
    assert inbox.copies == {"b@x": 1}


@pytest.mark.parametrize(
    ("refusal", "enhanced", "most"), [(b"535 5.7.8 wrong\r\n", "4.7.8", 9), (b"454 4.7.0 later\r\n", "", 40)]
)
async def test_a_refused_secret_is_not_hammered(
    house: House, autojump_clock: MockClock, tmp_path: Path, refusal: bytes, enhanced: str, most: int
) -> None:
    """In half an hour it is offered a few times; the mail is deferred, and the log has no secret."""
    message = house.enqueue("a@x")
    async with refusing(refusal) as (destination, asked), trio.open_nursery() as nursery:
        worker = house.worker({"default": authenticating(tmp_path, destination)}, until_empty=None)
        nursery.start_soon(worker.run)
        await trio.sleep(1800)
        worker.stop()
    assert 2 < len(asked) <= most
    entries = house.store.ledger_of(message)
    assert {(entry.stage, entry.enhanced) for entry in entries} == {("auth", enhanced)}
    loud = [event for event in house.events if isinstance(event, SecurityTrouble)]
    assert len(loud) == (len(asked) if enhanced else 0)
    assert "s3cret" not in repr(house.events)


async def test_looks_without_mail_do_not_hammer_either(
    house: House, autojump_clock: MockClock, tmp_path: Path
) -> None:
    """Two routes lead to a server that refuses the secret, and to one that is dead and looked at often."""
    async with refusing(b"535 5.7.8 wrong\r\n") as (destination, asked), trio.open_nursery() as nursery:
        seldom = Retry(first=Duration(86_400), maximum=Duration(86_400))
        route = authenticating(tmp_path, destination)
        route = msgspec.structs.replace(route, destinations=["unix:/nowhere", destination], retry=seldom)
        for name in ("default", "other"):
            house.enqueue("a@x", route=name)
        worker = house.worker({"default": route, "other": route}, until_empty=None)
        nursery.start_soon(worker.run)
        await trio.sleep(3600)
        worker.stop()
    assert 5 < len(asked) <= 14
    assert len([event for event in house.events if isinstance(event, NotConnected)]) > 40


async def test_a_drain_does_not_wait_for_a_secret(
    house: House, autojump_clock: MockClock, tmp_path: Path
) -> None:
    """One refusal, and it is through with the route."""
    house.enqueue("a@x")
    async with refusing(b"535 5.7.8 wrong\r\n") as (destination, asked):
        await house.worker({"default": authenticating(tmp_path, destination)}, until_empty=False).run()
    assert len(asked) == 1


async def test_a_secret_refused_while_sessions_are_open(
    house: House, autojump_clock: MockClock, tmp_path: Path
) -> None:
    """The session from before goes on and delivers all; for more of them it is offered a few times only."""
    asked = 0

    async def serve(stream: trio.SocketStream) -> None:
        nonlocal asked
        async with stream:
            await stream.send_all(b"220 host\r\n")
            while block := bytes(await stream.receive_some()):
                answer = b"250 ok\r\n"
                if block.startswith(b"LHLO"):
                    answer = b"250-host\r\n250 AUTH PLAIN\r\n"
                elif block.startswith(b"AUTH"):
                    asked += 1
                    answer = b"235 welcome\r\n" if asked == 1 else b"535 5.7.8 wrong\r\n"
                elif block.startswith(b"MAIL"):
                    await trio.sleep(1)
                elif block.startswith(b"DATA"):
                    answer = b"354 go\r\n"
                await stream.send_all(answer)

    for i in range(300):
        house.enqueue(f"r{i}@x")
    async with trio.open_nursery() as nursery:
        (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
        nursery.start_soon(trio.serve_listeners, serve, [listener])
        destination = f"inet:127.0.0.1:{listener.socket.getsockname()[1]}"
        await house.worker({"default": authenticating(tmp_path, destination)}).run()
        nursery.cancel_scope.cancel()
    assert house.outcomes() == {"delivered": 300}
    assert 1 < asked <= 6


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"tls": TlsLevel.VERIFY, "tls_ca": "/none"}, NoInputError),
        ({"auth_user": "me", "auth_secret_file": "/none"}, NoInputError),
        ({"auth_user": "me", "auth_secret_file": "/etc/hostname"}, NotPermittedError),
    ],
)
async def test_a_worker_does_not_start_with_files_that_are_not_right(
    house: House, options: dict[str, object], error: type[Exception]
) -> None:
    """They are looked at before anything is claimed, or a worker is known to the spool."""
    async with sink() as (running, _):
        with pytest.raises(error):
            await house.worker({"default": route_to(running, **options)}).run()
    assert house.store.workers() == []
