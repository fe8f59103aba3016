"""The poller wakes who is ready: no edge is missed, no deadline, and whoever attends need not be woken."""

from __future__ import annotations

import math
import socket
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import trio
import trio.testing

from spooler.net.poller import Poller
from spooler.net.transport import BLOCK, SocketTransport

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from trio.testing import MockClock


@asynccontextmanager
async def ends() -> AsyncIterator[tuple[SocketTransport, socket.socket]]:
    """Give a polled end of a connection, and the other one."""
    poller = Poller()
    ours, theirs = socket.socketpair()
    transport = SocketTransport(ours, poller)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(poller.run)
        try:
            yield transport, theirs
        finally:
            transport.close()
            theirs.close()
            nursery.cancel_scope.cancel()


async def readable(transport: SocketTransport, deadline: float = math.inf) -> bool:
    """Wait for something to read."""
    return await transport.wait(write=False, deadline=deadline)


async def test_what_came_before_anybody_waited_is_not_missed(autojump_clock: MockClock) -> None:
    """The edge is remembered until a read has found the end of it."""
    async with ends() as (transport, theirs):
        theirs.send(b"a")
        await trio.testing.wait_all_tasks_blocked()
        assert await readable(transport)
        assert transport.receive() == b"a"
        assert transport.receive() is None
        assert not await readable(transport, trio.current_time() + 1)
        theirs.send(b"b")
        assert await readable(transport)


async def test_a_read_that_was_full_leaves_more_to_read(autojump_clock: MockClock) -> None:
    """No further edge comes for what is there already."""
    async with ends() as (transport, theirs):
        theirs.sendall(b"x" * (BLOCK + 1))
        assert await readable(transport)
        assert len(transport.receive() or b"") == BLOCK
        assert await readable(transport, trio.current_time() + 1)
        assert transport.receive() == b"x"


async def test_a_hang_up_in_one_edge_with_data(autojump_clock: MockClock) -> None:
    """The end of the stream is found after the data that came with it."""
    async with ends() as (transport, theirs):
        theirs.send(b"bye")
        theirs.close()
        assert await readable(transport)
        assert transport.receive() == b"bye"
        assert await readable(transport, trio.current_time() + 1)
        assert transport.receive() == b""


async def test_room_to_write(autojump_clock: MockClock) -> None:
    """Where the kernel takes no more, a wait ends when the other side has read."""
    async with ends() as (transport, theirs):
        sent = 0
        while taken := transport.send(b"x" * 65536):
            sent += taken
        assert not await transport.wait(write=True, deadline=trio.current_time() + 1)
        got = 0
        while got < sent:
            got += len(theirs.recv(65536))
        assert await transport.wait(write=True, deadline=trio.current_time() + 1)
        assert transport.send(b"y") == 1


async def test_deadlines_in_any_order(autojump_clock: MockClock) -> None:
    """Each wait ends at its own deadline, also one that is earlier than those before it."""
    poller = Poller()
    pairs = [socket.socketpair() for _ in range(3)]
    transports = [SocketTransport(ours, poller) for ours, _ in pairs]
    late: dict[int, float] = {}

    async def wait(i: int, seconds: float) -> None:
        assert not await readable(transports[i], trio.current_time() + seconds)
        late[i] = trio.current_time()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(poller.run)
        start = trio.current_time()
        async with trio.open_nursery() as waiting:
            for i, seconds in enumerate((300.0, 5.0, 60.0)):
                waiting.start_soon(wait, i, seconds)
                await trio.testing.wait_all_tasks_blocked()
        assert {i: round(at - start) for i, at in late.items()} == {0: 300, 1: 5, 2: 60}
        for transport, (_, theirs) in zip(transports, pairs, strict=True):
            transport.close()
            theirs.close()
        nursery.cancel_scope.cancel()


async def test_who_attends_is_called_until_it_is_done(autojump_clock: MockClock) -> None:
    """At each edge the function is called instead of a wake-up, with a new deadline for what follows."""
    async with ends() as (transport, theirs):
        heard: list[bytes] = []

        def attend() -> float | None:
            heard.append(transport.receive() or b"")
            return None if heard[-1] == b"c" else trio.current_time() + 10

        async def say() -> None:
            for word in (b"a", b"b", b"c"):
                await trio.sleep(8)  # the first deadline alone would be over
                theirs.send(word)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(say)
            assert await transport.wait(write=False, deadline=trio.current_time() + 10, attend=attend)
        assert heard == [b"a", b"b", b"c"]
        theirs.send(b"d")
        await trio.testing.wait_all_tasks_blocked()
        assert heard == [b"a", b"b", b"c"]  # nobody waits, nobody is called


async def test_all_that_are_ready_prepare_before_any_attends(autojump_clock: MockClock) -> None:
    """What came for several at once is taken in by each first, and answered then."""
    poller = Poller()
    pairs = [socket.socketpair() for _ in range(3)]
    transports = [SocketTransport(ours, poller) for ours, _ in pairs]
    order: list[str] = []

    async def wait(transport: SocketTransport) -> None:
        def attend() -> float | None:
            order.append("attend")
            return None

        def prepare() -> None:
            order.append("prepare")
            transport.receive()

        assert await transport.wait(write=False, deadline=math.inf, attend=attend, prepare=prepare)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(poller.run)
        async with trio.open_nursery() as waiting:
            for transport in transports:
                waiting.start_soon(wait, transport)
            await trio.testing.wait_all_tasks_blocked()
            for _, theirs in pairs:
                theirs.send(b"a")
        assert order == ["prepare"] * 3 + ["attend"] * 3
        for transport, (_, theirs) in zip(transports, pairs, strict=True):
            transport.close()
            theirs.close()
        nursery.cancel_scope.cancel()


async def test_who_attends_sees_the_hang_up_too(autojump_clock: MockClock) -> None:
    """Data and the end of the stream in one edge: it is called for both."""
    async with ends() as (transport, theirs):
        heard: list[bytes | None] = []

        def attend() -> float | None:
            heard.append(transport.receive())
            return None if heard[-1] == b"" else math.inf

        async def say() -> None:
            theirs.send(b"bye")
            theirs.close()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(say)
            assert await transport.wait(write=False, deadline=math.inf, attend=attend)
        assert heard == [b"bye", b""]


async def test_a_wait_that_is_cancelled_calls_nobody(autojump_clock: MockClock) -> None:
    """After a cancelled wait the function is forgotten, and the connection can be waited for again."""
    async with ends() as (transport, theirs):
        with trio.move_on_after(1) as scope:
            await transport.wait(write=False, deadline=math.inf, attend=lambda: 1 / 0)
        assert scope.cancelled_caught
        theirs.send(b"a")
        assert await readable(transport)
        assert transport.receive() == b"a"


async def test_closing_wakes_who_waits(autojump_clock: MockClock) -> None:
    """A transport that is closed under a wait ends it; closing twice is harmless."""
    async with ends() as (transport, _), trio.open_nursery() as nursery:
        ended = trio.Event()

        async def wait() -> None:
            await readable(transport)
            ended.set()

        nursery.start_soon(wait)
        await trio.testing.wait_all_tasks_blocked()
        transport.close()
        transport.close()
        await ended.wait()
