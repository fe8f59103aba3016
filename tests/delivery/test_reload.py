"""A worker that goes on by another configuration: nothing is lost or doubled, and it takes effect at once."""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

from spooler.config import Config, Duration, Retry, Route, Worker
from spooler.events import ConfigRead, ConfigRefused
from spooler.reply import Stage
from spooler.tls import TlsLevel
from tests.delivery.house import House, route_to, sink

if TYPE_CHECKING:
    from trio.testing import MockClock


def config(routes: dict[str, Route], **worker: object) -> Config:
    """What is read again; `journal_sync` is the house's."""
    options = Worker(journal_sync=Duration(0), **worker)  # type: ignore[arg-type]  # fields of Worker
    return Config(routes=routes, lhlo="client", worker=options)


async def test_a_route_is_added_and_removed(house: House, autojump_clock: MockClock) -> None:
    """Mail for the new one goes out at once; what waits on the old one goes back until it returns."""
    for i in range(30):
        house.enqueue(f"a{i}@x")
        house.enqueue(f"b{i}@x", route="other")
    async with sink(delays={Stage.FINAL: 1.0}) as (one, inbox), sink() as (two, others):
        first = route_to(one, sessions=1, adapt=False, mode="lockstep")
        worker = house.worker({"default": first}, until_empty=None)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(worker.run)
            await trio.sleep(5.5)
            assert others.copies == {}
            worker.reload(config({"other": route_to(two)}))
            await trio.sleep(2)
            assert len(others.copies) == 30
            delivered = len(inbox.copies)
            assert 0 < delivered < 10
            assert house.outcomes()["waiting"] == 30 - delivered
            await trio.sleep(30)
            assert len(inbox.copies) == delivered
            worker.reload(config({"other": route_to(two), "default": first}))
            await trio.sleep(60)
            assert len(inbox.copies) == 30
            worker.stop()
    assert house.outcomes() == {"delivered": 60}
    assert set(inbox.copies.values()) == {1}
    read = [event for event in house.events if isinstance(event, ConfigRead)]
    assert read[0].changed == ["routes.default removed", "routes.other added"]
    assert read[1].changed == ["routes.default added"]


async def test_a_destination_is_moved(house: House, autojump_clock: MockClock) -> None:
    """Sessions to the old one end what they have begun, and nothing more."""
    for i in range(40):
        house.enqueue(f"a{i}@x")
    async with sink(delays={Stage.FINAL: 1.0}) as (old, inbox), sink() as (new, others):
        worker = house.worker(
            {"default": route_to(old, sessions=1, adapt=False, mode="lockstep")}, until_empty=None
        )
        async with trio.open_nursery() as nursery:
            nursery.start_soon(worker.run)
            await trio.sleep(5.5)
            worker.reload(config({"default": route_to(new, sessions=1, adapt=False, mode="lockstep")}))
            await trio.sleep(5)
            assert 0 < len(inbox.copies) < 10
            assert len(inbox.copies) + len(others.copies) == 40
            worker.stop()
    assert house.outcomes() == {"delivered": 40}


async def test_limits(house: House, autojump_clock: MockClock) -> None:
    """Fewer sessions, or more, from the next transaction on; retries by the new rule."""
    for i in range(200):
        house.enqueue(f"a{i}@x")
    async with sink(delays={Stage.FINAL: 1.0}) as (running, inbox):
        few = route_to(running, sessions=2, adapt=False, mode="lockstep")
        many = route_to(running, sessions=10, adapt=False, mode="lockstep")
        worker = house.worker({"default": few}, until_empty=None)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(worker.run)
            await trio.sleep(10.5)
            assert 10 < len(inbox.copies) <= 22
            worker.reload(config({"default": many}, claim=7))
            before = len(inbox.copies)
            await trio.sleep(5)
            assert 30 < len(inbox.copies) - before <= 50
            worker.reload(config({"default": few}))
            await trio.sleep(1.5)
            before = len(inbox.copies)
            await trio.sleep(5)
            assert 8 <= len(inbox.copies) - before <= 10
            assert worker.lanes["default"].window.size == 2
            worker.stop()


async def test_the_backoff(house: House, autojump_clock: MockClock) -> None:
    """A route's new delays hold for the next failure."""
    house.enqueue("a@x")
    dead = Route(destinations=["unix:/nowhere"], retry=Retry(first=Duration(3600), maximum=Duration(3600)))
    soon = Route(destinations=["unix:/nowhere"], retry=Retry(first=Duration(10), maximum=Duration(10)))
    worker = house.worker({"default": dead}, until_empty=None)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(worker.run)
        await trio.sleep(1)
        worker.reload(config({"default": soon}))
        await trio.sleep(4200)
        (row,) = house.store.queued_of(house.store.ledger_for("a@x", limit=1)[0].message_id)
        assert row.attempts > 4  # by the old rule it would be two at most
        worker.stop()


async def test_a_worker_that_stops_takes_nothing_new(house: House, autojump_clock: MockClock) -> None:
    """Asked to stop, it starts no route any more."""
    house.enqueue("b@x", route="other")
    async with sink() as (running, inbox):
        worker = house.worker({"default": route_to(running)}, until_empty=None)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(worker.run)
            await trio.sleep(1)
            worker.stop()
            worker.reload(config({"other": route_to(running)}))
    assert inbox.copies == {}


async def test_a_certificate_that_cannot_be_read(house: House, autojump_clock: MockClock) -> None:
    """It is found before anything changes: the old configuration stays in force."""
    async with sink() as (running, inbox):
        good = route_to(running)
        bad = route_to(running, tls=TlsLevel.SECURE, tls_ca="/nowhere/ca.pem")
        worker = house.worker({"default": good}, until_empty=None)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(worker.run)
            await trio.sleep(1)
            worker.reload(config({"default": bad, "other": good}))
            (event,) = [event for event in house.events if isinstance(event, ConfigRefused)]
            assert "/nowhere/ca.pem" in event.why
            house.enqueue("a@x")
            await trio.sleep(6)
            assert (list(worker.lanes), inbox.copies) == (["default"], {"a@x": 1})
            worker.stop()
