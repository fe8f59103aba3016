"""Targets are shared by routes."""

from __future__ import annotations

import pytest
import trio

from spooler.destination import parse_destination
from spooler.lmtp.mode import Mode
from spooler.net.pool import Pool
from tests.net.peer import connected

STORE = parse_destination("inet:127.0.0.1:24")
OTHER = parse_destination("inet:127.0.0.2:24")


@pytest.mark.parametrize("modes", [[Mode.LOCKSTEP, Mode.CHUNKED], [Mode.PIPELINED, Mode.LOCKSTEP]])
def test_the_most_careful_mode_of_all_routes_holds(modes: list[Mode]) -> None:
    """Routes that name the same destination have one target, whatever their order; others have their own."""
    pool = Pool()
    first, second = (pool.target(STORE, mode=mode) for mode in modes)
    assert first is second
    assert first.mode == "lockstep"
    assert pool.target(OTHER).mode == "chunked"


@pytest.mark.parametrize("words", [b"", b"421 4.4.2 idle too long\r\n", b"250"])
async def test_what_went_bad_in_the_pool_is_not_taken(words: bytes) -> None:
    """A session that was closed, or told something, while it was idle is closed; an older good one serves."""
    pool = Pool()
    target = pool.target(STORE)
    async with connected() as (good, peer), connected() as (bad, other), trio.open_nursery() as nursery:
        for session, end in ((good, peer), (bad, other)):
            nursery.start_soon(end.greet)
            await session.greet("client")
            pool.put(target, session, now=0.0)
        if words:
            await other.say(words)
        else:
            await other.hang_up()
        assert pool.take(target) is good
        assert pool.take(target) is None
