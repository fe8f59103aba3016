"""An idle worker sleeps until something is due or it hears of something, and asks for nothing meanwhile."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import trio

from tests.delivery.house import EPOCH, House, route_to, sink

if TYPE_CHECKING:
    from trio.testing import MockClock

    from spooler.delivery.ports import SpoolPort


class Attentive:
    """A spool that hears of everything: silence is to be relied on for so many seconds. Counts the looks."""

    def __init__(self, spool: SpoolPort, silence: float | None) -> None:
        self._spool = spool
        self._silence = silence
        self.looks = 0
        self._told, self._hears = trio.open_memory_channel[None](1)
        self._told.send_nowait(None)

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401  # stands for any method
        self.looks += name == "next_due"
        return getattr(self._spool, name)

    async def changed(self) -> float | None:
        """Answer at once the first time, as every spool does, and then when the test tells."""
        await self._hears.receive()
        return self._silence

    def tell(self) -> None:
        """Say that something may have come due."""
        self._told.send_nowait(None)


async def test_what_is_due_later_is_begun_at_its_time(house: House, autojump_clock: MockClock) -> None:
    """With a spool that would tell, the worker sleeps until the next due time, and is there on time."""
    house.spool = spool = Attentive(house.spool, silence=3600.0)
    house.enqueue("later@x", not_before=EPOCH + 2_000_123_456)
    async with sink() as (running, inbox), trio.open_nursery() as nursery:
        worker = house.worker({"default": route_to(running)}, until_empty=None)
        nursery.start_soon(worker.run)
        await trio.sleep(1999)
        assert inbox.copies == {}
        assert spool.looks < 5
        await trio.sleep(2)
        worker.stop()
    (entry,) = house.store.ledger_for("later@x", limit=1)
    assert 0 <= entry.waited < 1000  # µs


async def test_what_is_told_is_delivered_at_once(house: House, autojump_clock: MockClock) -> None:
    """Mail that comes in while the worker sleeps is begun when the spool tells, not at the next look."""
    house.spool = spool = Attentive(house.spool, silence=3600.0)
    async with sink() as (running, inbox), trio.open_nursery() as nursery:
        worker = house.worker({"default": route_to(running)}, until_empty=None)
        nursery.start_soon(worker.run)
        await trio.sleep(100)
        for i in range(3):
            house.enqueue(f"{i}@x")
            await trio.sleep(100)
            assert f"{i}@x" not in inbox.copies
            spool.tell()
            await trio.sleep(0.1)
            assert inbox.copies[f"{i}@x"] == 1
            await trio.sleep(5)  # soon after the last delivery it looks once more by itself
        worker.stop()


async def test_where_nothing_is_heard_the_spool_is_polled(house: House, autojump_clock: MockClock) -> None:
    """A spool whose silence means nothing is looked at regularly, and mail is found within a look."""
    house.spool = spool = Attentive(house.spool, silence=None)
    async with sink() as (running, inbox), trio.open_nursery() as nursery:
        worker = house.worker({"default": route_to(running)}, until_empty=None)
        nursery.start_soon(worker.run)
        await trio.sleep(100)
        house.enqueue("a@x")
        await trio.sleep(1.1)  # the house polls every second
        assert inbox.copies == {"a@x": 1}
        assert 90 < spool.looks < 110
        worker.stop()
