"""A paused route: what was claimed goes back, what has begun ends, and resuming starts it at once."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import trio

from spooler.events import RoutePaused
from spooler.reply import Stage
from tests.delivery.house import House, clock, route_to, sink

if TYPE_CHECKING:
    from trio.testing import MockClock


async def test_a_paused_route_stops_within_two_seconds(house: House, autojump_clock: MockClock) -> None:
    """Nothing is begun any more and no lease is kept; other routes go on; resumed it goes on at once."""
    for i in range(300):
        house.enqueue(f"a{i}@x")
        house.enqueue(f"b{i}@x", route="other")
    async with sink(delays={Stage.FINAL: 1.0}) as (one, inbox), sink() as (two, others):
        worker = house.worker(
            {"default": route_to(one, sessions=2), "other": route_to(two)}, until_empty=None
        )
        async with trio.open_nursery() as nursery:
            nursery.start_soon(worker.run)
            await trio.sleep(5)
            assert 0 < len(inbox.copies) < 100
            house.store.pause("default", who="alice", why="disk full", now=clock())
            await trio.sleep(8)  # what was under way has come to its end
            delivered = len(inbox.copies)
            assert house.outcomes()["waiting"] == 300 - delivered
            assert "active" not in house.outcomes()
            assert len(others.copies) == 300
            (event,) = [event for event in house.events if isinstance(event, RoutePaused)]
            assert event.pause
            assert event.pause.why == "disk full"
            (standing,) = house.store.standings().values()
            assert standing.limited_by("default") == "paused"
            await trio.sleep(60)
            assert len(inbox.copies) == delivered
            house.store.resume("default")
            await trio.sleep(2.1)
            assert len(inbox.copies) > delivered
            worker.stop()
    assert "uncertain" not in house.outcomes()


@pytest.mark.parametrize("job", ["", "june"])
async def test_a_drain_does_not_wait_for_a_paused_route(
    house: House, autojump_clock: MockClock, job: str
) -> None:
    """It ends with what it could do, of a job as of all."""
    house.enqueue("a@x", job=job)
    house.store.pause("default", who="alice", why="", now=clock())
    async with sink() as (running, inbox):
        with trio.fail_after(600):
            await house.worker({"default": route_to(running)}, until_empty=False, job=job).run()
    assert (house.outcomes(), inbox.copies) == ({"waiting": 1}, {})
