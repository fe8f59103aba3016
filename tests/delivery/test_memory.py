"""Contents in memory: a slice at a time, within the buffer, whatever was claimed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import trio

from spooler.config import Worker
from spooler.delivery.claimer import SLICE
from spooler.reply import Stage
from tests.delivery.house import House, route_to, sink

if TYPE_CHECKING:
    from collections.abc import Sequence

    from trio.testing import MockClock

SIZE = 100_000
BUFFER = 2 << 20


class Watched:
    """A spool that notes how much each call for contents gave."""

    def __init__(self, spool: object) -> None:
        self._spool = spool
        self.read: list[int] = []

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401  # stands for any method
        return getattr(self._spool, name)

    async def contents(self, content_ids: Sequence[int]) -> dict[int, bytes]:
        """As the spool's."""
        found: dict[int, bytes] = await self.__getattr__("contents")(content_ids)
        self.read.append(sum(map(len, found.values())))
        return found


def fill(house: House, messages: int) -> None:
    """Put in messages of SIZE bytes."""
    for i in range(messages):
        house.enqueue(f"r{i}@x", content=(b"%06d" % i + b"x" * 68 + b"\r\n") * (SIZE // 76))


async def test_contents_are_read_in_slices_and_all_of_them(house: House, autojump_clock: MockClock) -> None:
    """No call gives more than a slice; what did not fit at first is read when there is room."""
    fill(house, 60)
    spool = house.spool = Watched(house.spool)
    async with sink() as (running, inbox):
        worker = house.worker({"default": route_to(running)}, options=Worker(buffer=BUFFER))
        await worker.run()
    assert len(inbox.copies) == len(inbox.digests) == 60
    assert max(spool.read) <= SLICE
    assert sum(spool.read) > 50 * SIZE


async def test_lanes_hold_no_more_than_the_buffer(house: House, autojump_clock: MockClock) -> None:
    """While nothing moves, what is in memory stays within the buffer, and a stop gives the rest back."""
    fill(house, 60)
    async with sink() as (running, _):
        await house.drain(running)  # the route has taken mail
        fill(house, 60)
    async with sink(delays={Stage.FINAL: 5.0}) as (running, inbox), trio.open_nursery() as nursery:
        worker = house.worker(
            {"default": route_to(running, sessions=2)}, until_empty=None, options=Worker(buffer=BUFFER)
        )
        nursery.start_soon(worker.run)
        highest = 0
        for _ in range(30):
            await trio.sleep(1)
            (lane,) = worker.lanes.values()
            highest = max(highest, lane.held_bytes)
        assert BUFFER - SIZE < highest <= BUFFER
        worker.stop()
    outcomes = house.outcomes()
    assert outcomes["delivered"] == 60 + len(inbox.copies)
    assert outcomes["delivered"] + outcomes["waiting"] == 120
    assert set(outcomes) == {"delivered", "waiting"}
