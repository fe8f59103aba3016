"""Starting, stopping, losing the spool, dying: leases and results through all of it."""

from __future__ import annotations

import os
import subprocess
from typing import TYPE_CHECKING, Any

import pytest
import trio

from spooler.claim import Want
from spooler.config import Route, Worker
from spooler.delivery.heartbeat import Heartbeat, boot_id, whereabouts
from spooler.delivery.ports import Ground
from spooler.delivery.recovery import Recovery
from spooler.errors import TryAgainError
from spooler.events import SpoolTrouble, WorkerState
from spooler.journal.place import create
from spooler.journal.writer import Journal
from spooler.policy.beats import DEAD, GRACE
from spooler.reply import Stage
from tests.delivery.house import EPOCH, House, Inline, clock, route_to, sink

if TYPE_CHECKING:
    from collections.abc import Sequence

    from trio.testing import MockClock

    from spooler.records import SettleReport
    from spooler.result import RecipientResult


class Flaky:
    """A spool whose named methods fail so many times, before or after having worked."""

    def __init__(self, spool: object, failures: dict[str, int], *, after: bool = False) -> None:
        self._spool = spool
        self._failures = failures
        self._after = after

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401  # stands for any method
        if name == "uuid":
            return self._spool.uuid  # type: ignore[attr-defined]  # the one that is no method
        method = getattr(self._spool, name)

        async def call(*args: object, **kwargs: object) -> object:
            if self._failures.get(name, 0) > 0:
                self._failures[name] -= 1
                if self._after:
                    await method(*args, **kwargs)
                raise TryAgainError("database is locked")
            return await method(*args, **kwargs)

        return call


@pytest.mark.parametrize("until_empty", [True, False])
async def test_a_drain_of_a_job_ends(house: House, autojump_clock: MockClock, until_empty: bool) -> None:
    """However long it takes to see that nothing is left of it, also for a worker that got nothing."""
    others = house.enqueue("other@x", job="july")
    slow = house.spool.job_left

    async def job_left(*args: Any) -> object:  # noqa: ANN401  # as it is
        await trio.sleep(0.05)
        return await slow(*args)

    house.spool.job_left = job_left  # type: ignore[method-assign, assignment]  # it stands for a database
    async with sink() as (running, inbox):
        for mail in ([], ["a@x", "b@x"]):
            for address in mail:
                house.enqueue(address, job="june")
            with trio.fail_after(20):
                routes = {"default": route_to(running)}
                await house.worker(routes, until_empty=until_empty, job="june").run()
    assert inbox.copies == {"a@x": 1, "b@x": 1}
    assert house.story(others) == []


async def test_stop_lets_transactions_end(house: House, autojump_clock: MockClock) -> None:
    """Asked to stop: what is under way ends and is settled, what waits goes back untouched."""
    for i in range(50):
        house.enqueue(f"r{i}@x")
    async with sink(delays={Stage.FINAL: 5.0}) as (running, inbox), trio.open_nursery() as nursery:
        worker = house.worker({"default": route_to(running, sessions=4)}, until_empty=None)
        nursery.start_soon(worker.run)
        await trio.sleep(7)
        worker.stop()
    outcomes = house.outcomes()
    assert outcomes["delivered"] == len(inbox.copies) > 4
    assert outcomes["delivered"] + outcomes["waiting"] == 50
    assert set(outcomes) == {"delivered", "waiting"}
    assert house.store.workers() == []


async def test_second_stop_ends_at_once_and_says_what_is_uncertain(
    house: House, autojump_clock: MockClock
) -> None:
    """Asked again: transactions whose end was sent are recorded as uncertain, nothing is called delivered."""
    house.enqueue("a@x")
    async with sink(delays={Stage.FINAL: 500.0}) as (running, _), trio.open_nursery() as nursery:
        worker = house.worker({"default": route_to(running)}, until_empty=None)
        nursery.start_soon(worker.run)
        await trio.sleep(2)
        worker.stop()
        await trio.sleep(2)
        began = trio.current_time()
        worker.stop()
        await trio.sleep(1)
        assert trio.current_time() - began < 2
        nursery.cancel_scope.cancel()
    assert house.outcomes() == {"deferred": 1, "deferrals": 1, "uncertain": 1}
    (entry,) = house.store.ledger_for("a@x", limit=9)
    assert entry.uncertain
    assert "the worker stopped" in entry.text


async def test_grace_is_bounded(house: House, autojump_clock: MockClock) -> None:
    """A transaction that does not end within the grace is cut off, and recorded by what was sent."""
    house.enqueue("a@x")
    async with sink(delays={Stage.MAIL: 500.0}) as (running, _):
        worker = house.worker({"default": route_to(running)}, until_empty=None)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(worker.run)
            await trio.sleep(2)
            worker.stop()
        assert 30 <= trio.current_time() < 45
    (entry,) = house.store.ledger_for("a@x", limit=9)
    assert (entry.outcome, entry.uncertain) == ("deferred", False)


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("method", ["claim", "contents", "settle", "next_due", "left"])
async def test_a_spool_that_refuses_for_a_while_loses_and_doubles_nothing(
    house: House, autojump_clock: MockClock, method: str, *, after: bool
) -> None:
    """Each statement may fail, before its commit or with its acknowledgement lost: all ends well."""
    for i in range(30):
        house.enqueue(f"r{i}@x")
    house.spool = Flaky(house.spool, {method: 3}, after=after)
    async with sink() as (running, inbox):
        worker = house.worker({"default": route_to(running)}, until_empty=method == "left")
        await worker.run()
    trouble = [event for event in house.events if isinstance(event, SpoolTrouble)]
    assert len(trouble) == 3
    outcomes = house.outcomes()
    # a claim whose acknowledgement was lost goes back when the worker unregisters
    assert outcomes.get("delivered", 0) + outcomes.get("waiting", 0) == 30
    assert inbox.copies == {
        entry.address: 1
        for i in range(30)
        for entry in house.store.ledger_for(f"r{i}@x", limit=9)
        if entry.outcome == "delivered"
    }
    assert "active" not in outcomes


class Slow(Inline):
    """A spool that takes a while to settle."""

    async def settle(self, worker: int, results: Sequence[RecipientResult], *, now: int) -> SettleReport:
        """See SpoolPort."""
        await trio.sleep(0.05)
        return self._store.settle(worker, results, now=now)


async def test_claiming_goes_on_as_soon_as_the_settler_has_caught_up(
    house: House, autojump_clock: MockClock
) -> None:
    """Nobody waits for the next look at the spool (here: a second) because results had piled up."""
    for i in range(200):
        house.enqueue(f"r{i}@x")
    house.spool = Slow(house.store)
    began = trio.current_time()
    async with sink() as (running, inbox):
        await house.worker({"default": route_to(running)}, options=Worker(claim=2)).run()
    assert len(inbox.copies) == 200
    assert trio.current_time() - began < 5


async def test_content_that_is_gone_is_never_sent_as_something_else(
    house: House, autojump_clock: MockClock
) -> None:
    """A missing content defers its recipients, and says why; nothing reaches the target."""
    message = house.enqueue("a@x")

    class Gone(Flaky):
        async def contents(self, content_ids: object) -> dict[int, bytes]:
            return {}

        async def chunk(self, content: int, sequence: int) -> None:
            return None

    house.spool = Gone(house.spool, {})
    async with sink() as (running, inbox):
        await house.drain(running, until_empty=False)
    assert inbox.copies == {}
    (entry,) = house.store.ledger_of(message)
    assert (entry.outcome, entry.uncertain) == ("deferred", False)
    assert "content is missing" in entry.text


async def test_a_dead_workers_recipients_are_taken_over_as_uncertain(
    house: House, autojump_clock: MockClock
) -> None:
    """A worker whose counter stands still for a minute of ours is dead; where nobody can read its journal for
    five more, what it held is tried again."""
    message = house.enqueue("a@x")
    dead = house.store.register(host="elsewhere", pid=1, now=EPOCH)
    assert house.store.claim(dead, [Want("default", 10)], now=EPOCH)
    async with sink() as (running, inbox):
        worker = house.worker({"default": route_to(running)})
        await worker.run()
    took = [event for event in house.events if isinstance(event, WorkerState) and event.state == "rescued"]
    assert [(event.worker, event.detail) for event in took] == [(dead, "1 recipients taken over")]
    assert inbox.copies == {"a@x": 1}
    story = house.story(message)
    assert story == [("a@x", 1, "deferred", True), ("a@x", 2, "delivered", False)]
    entries = sorted(house.store.ledger_of(message), key=lambda e: e.at)
    assert entries[0].at - EPOCH >= (DEAD + GRACE) * 1e6
    assert entries[1].at - entries[0].at >= Route(destinations=[]).hold_off.us


def ended_process() -> int:
    """Return the number of a process that has ended."""
    with subprocess.Popen(["true"]) as process:
        process.wait()
    return process.pid


async def test_a_worker_whose_process_is_gone_is_dead_at_once(
    house: House, autojump_clock: MockClock
) -> None:
    """On the same machine nobody waits a minute for a process that does not exist any more."""
    message = house.enqueue("a@x")
    other = house.enqueue("b@x")
    dead = house.store.register(host=whereabouts(), pid=ended_process(), now=EPOCH)
    alive = house.store.register(host=whereabouts(), pid=os.getpid(), now=EPOCH)
    assert house.store.claim(dead, [Want("default", 1)], now=EPOCH)
    assert house.store.claim(alive, [Want("default", 1)], now=EPOCH)
    async with sink() as (running, inbox):
        await house.drain(running, until_empty=False)
    assert inbox.copies == {}
    assert {row.id for row in house.store.workers()} == {alive}
    assert house.story(message) == [("a@x", 1, "deferred", True)]
    assert house.story(other) == []
    assert house.outcomes() == {"active": 1, "deferred": 1, "deferrals": 1, "uncertain": 1}


async def test_a_living_worker_is_not_robbed(house: House, autojump_clock: MockClock) -> None:
    """A counter that moves, however slowly, keeps its leases."""
    house.enqueue("a@x")
    other = house.store.register(host="elsewhere", pid=1, now=EPOCH)
    assert house.store.claim(other, [Want("default", 10)], now=EPOCH)
    async with sink() as (running, _), trio.open_nursery() as nursery:
        worker = house.worker({"default": route_to(running)}, until_empty=None)
        nursery.start_soon(worker.run)
        for _ in range(6):
            await trio.sleep(DEAD + GRACE - 10)
            assert house.store.beat(other, now=clock())
        worker.stop()
    assert house.outcomes() == {"active": 1}


def ground_of(house: House, worker: int) -> Ground:
    import random

    folder = create(house.journals, spool=house.store.uuid, worker=worker)
    return Ground(
        worker=worker,
        spool=house.spool,
        journal=Journal(folder, spool=house.store.uuid, boot="", every=0, broke=lambda _: None),
        clock=clock,
        rng=random.Random(1),
        observe=house.events.append,
    )


async def test_after_an_outage_nobody_is_robbed(house: House, autojump_clock: MockClock) -> None:
    """Time in which we could not beat ourselves does not count against others."""
    ours = house.store.register(host="here", pid=1, now=EPOCH)
    other = house.store.register(host="elsewhere", pid=2, now=EPOCH)
    house.spool = Flaky(house.spool, {"beat": 0})
    failures: dict[str, int] = house.spool._failures  # the test's own fake
    ground = ground_of(house, ours)
    recovery = Recovery(ground, root=house.journals, boot=boot_id(), routes={})
    heartbeat = Heartbeat(ground, recovery, lost=lambda: None, clock=trio.current_time)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(heartbeat.run)
        seen = []
        for wait, fails in ((20, 1000), (600, 0), (20, 0)):
            await trio.sleep(wait)
            seen.append(heartbeat.fresh)
            failures["beat"] = fails
        assert seen == [True, False, True]
        assert {row.id for row in house.store.workers()} == {ours, other}
        await trio.sleep(DEAD + GRACE)
        assert {row.id for row in house.store.workers()} == {ours}
        nursery.cancel_scope.cancel()


async def test_a_worker_that_was_declared_dead_stops(house: House, autojump_clock: MockClock) -> None:
    """When our heartbeat row is gone our leases are gone: nothing may be sent to its end any more."""
    house.enqueue("a@x")
    async with sink(delays={Stage.MAIL: 20.0}) as (running, inbox), trio.open_nursery() as nursery:
        worker = house.worker({"default": route_to(running)}, until_empty=None)
        nursery.start_soon(worker.run)
        await trio.sleep(2)
        (row,) = house.store.workers()
        house.store.rescue(row.id, now=clock(), due=clock(), uncertain=True)
    assert inbox.copies == {}
    assert [e.state for e in house.events if isinstance(e, WorkerState)] == [
        "started",
        "fenced",
        "stopping",
        "stopped",
    ]
    entries = house.store.ledger_for("a@x", limit=9)
    assert sorted((e.outcome, e.late) for e in entries) == [("deferred", False), ("deferred", True)]
