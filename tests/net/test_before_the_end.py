"""What stands before an end-of-data: a written journal, leave, and a server that did not say goodbye."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import trio

from spooler.net.lost import SessionLostError
from tests.net.peer import Peer, Script, connected

if TYPE_CHECKING:
    from collections.abc import Callable

    from spooler.lmtp.transaction import Transaction
    from spooler.net.session import Session

BODY = b"Subject: x\r\n\r\nhello\r\n"
LARGE = (b"x" * 70 + b"\r\n") * 1000  # more than the kernel takes at once, in one burst with its end-of-data
ACCEPT = b"250 2.1.0 ok\r\n250 2.1.5 ok\r\n354 go\r\n"


class Journalled(Script):
    """A source whose journal can be written or not."""

    def __init__(
        self, *contents: bytes, writable: bool = True, may_end: Callable[[], bool] | bool = True
    ) -> None:
        super().__init__(*contents, may_end=may_end)
        self.noted = 0
        self.written = 0
        self._writable = writable

    def ending(self, transaction: Transaction) -> bool:
        """Note it, if it may be."""
        self.noted += self.may_end()
        return self.may_end()

    def commit(self) -> bool:
        """Write what was noted."""
        if self._writable:
            self.written = self.noted
        return self.written == self.noted


class Spy:
    """A transport that tells what is about to be sent."""

    def __init__(self, transport: object, sees: Callable[[bytes], None]) -> None:
        self._transport: Any = transport
        self._sees = sees

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401  # stands for any method
        return getattr(self._transport, name)

    def send(self, data: bytes | memoryview) -> int:
        """See Transport."""
        self._sees(bytes(data))
        taken: int = self._transport.send(data)
        return taken


async def serve(peer: Peer, heard: list[bytes]) -> None:
    """Greet, take an envelope, and read whatever comes."""
    await peer.greet()
    await peer.hear(b"DATA\r\n")
    await peer.say(ACCEPT)
    heard.append(await peer.rest())


async def test_the_intent_is_written_before_the_end_of_data_is_handed_over(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """Whoever dies in between has said so."""
    script = Journalled(BODY)
    written: list[int] = []

    def sees(data: bytes) -> None:
        if data.endswith(b"\r\n.\r\n"):
            written.append(script.written)

    async with connected() as (session, peer), trio.open_nursery() as nursery:
        session._transport = Spy(session._transport, sees)

        async def server() -> None:
            await peer.greet()
            await peer.hear(b"DATA\r\n")
            await peer.say(ACCEPT)
            await peer.hear(b"\r\n.\r\n")
            await peer.say(b"250 2.0.0 saved\r\n")

        nursery.start_soon(server)
        await session.greet("client")
        await session.run(script)
    assert (written, len(script.done)) == ([1], 1)


async def lost(session: Session, script: Script, why: str) -> None:
    """Run until the session is lost, with its one transaction safe."""
    await session.greet("client")
    with pytest.raises(SessionLostError, match=why):
        await session.run(script)
    (transaction,) = session.unfinished()
    assert not transaction.uncertain
    session.close()


async def test_no_end_of_data_where_the_intent_cannot_be_written(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """A journal that takes nothing keeps the message here, and safe."""
    heard: list[bytes] = []
    async with connected() as (session, peer), trio.open_nursery() as nursery:
        nursery.start_soon(serve, peer, heard)
        await lost(session, Journalled(BODY, writable=False), "journal cannot be written")
    assert not heard[0].endswith(b".\r\n")


async def test_no_end_of_data_without_leave(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """Where there never was any, nothing of it is even queued."""
    heard: list[bytes] = []
    async with connected() as (session, peer), trio.open_nursery() as nursery:
        nursery.start_soon(serve, peer, heard)
        await lost(session, Journalled(BODY, may_end=False), "may not send end-of-data")
    assert not heard[0].endswith(b".\r\n")


async def test_leave_that_ran_out_while_the_server_took_nothing(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """The end-of-data was queued in time; when the kernel has room for it it is too late."""
    heard: list[bytes] = []
    leave = True
    async with connected(buffer=4096) as (session, peer), trio.open_nursery() as nursery:

        async def server() -> None:
            nonlocal leave
            await peer.greet()
            await peer.hear(b"DATA\r\n")
            await peer.say(ACCEPT)
            await trio.testing.wait_all_tasks_blocked()
            leave = False
            heard.append(await peer.rest())

        nursery.start_soon(server)
        await lost(session, Journalled(LARGE, may_end=lambda: leave), "may not send end-of-data")
    assert not heard[0].endswith(b"\r\n.\r\n")


async def test_a_farewell_while_the_body_is_on_its_way(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """After 421 not one octet more is sent: what was safe stays safe."""
    heard: list[bytes] = []
    async with connected(buffer=4096) as (session, peer), trio.open_nursery() as nursery:

        async def server() -> None:
            await peer.greet()
            await peer.hear(b"DATA\r\n")
            await peer.say(ACCEPT)
            await trio.testing.wait_all_tasks_blocked()
            await peer.say(b"421 4.3.2 going down\r\n")
            await trio.testing.wait_all_tasks_blocked()
            heard.append(await peer.rest())

        nursery.start_soon(server)
        await lost(session, Journalled(LARGE), "421")
    assert not heard[0].endswith(b"\r\n.\r\n")
