"""Sessions adapt to the target; a slow mailbox keeps to its share."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import trio

from spooler.config import Worker
from spooler.events import TransactionEnded, WindowMoved
from spooler.net.session import Session
from spooler.policy.window import FULL
from spooler.reply import Stage
from spooler.sink.script import Drop, DropAt, Play, Script
from tests.delivery.house import EPOCH, House, Inbox, route_to, sink

if TYPE_CHECKING:
    from collections.abc import Sequence

    from trio.testing import MockClock

    from spooler.sink.store import Letter


async def test_sessions_start_small_and_grow_with_what_they_bring(
    house: House, autojump_clock: MockClock
) -> None:
    """A target that answers each transaction after 50 ms gets all the sessions allowed, step by step."""
    for i in range(600):
        house.enqueue(f"r{i}@x")
    async with sink(delays={Stage.FINAL: 0.05}) as (running, inbox):
        worker = house.worker({"default": route_to(running, sessions=16)})
        sizes = set()
        async with trio.open_nursery() as nursery:

            async def watch() -> None:
                while True:
                    for lane in worker.lanes.values():
                        sizes.add(lane.window.size)
                    await trio.sleep(0.02)

            nursery.start_soon(watch)
            await worker.run()
            nursery.cancel_scope.cancel()
    assert len(inbox.copies) == 600
    assert running.counters.connections <= 17
    assert {4, 8} <= sizes
    assert max(sizes) == 16


async def test_whoever_leaves_last_leaves_nothing_behind(house: House, autojump_clock: MockClock) -> None:
    """One gives its place up to two that are connecting, and these are turned away: the mail is served on."""
    house.enqueue("first@x")
    async with sink(delays={Stage.FINAL: 1.0}) as (running, inbox), trio.open_nursery() as nursery:
        worker = house.worker({"default": route_to(running, mode="pipelined")}, until_empty=None)
        nursery.start_soon(worker.run)
        await trio.sleep(5)
        assert (len(inbox.copies), running.open_connections) == (1, 1)
        for i in range(40):
            house.enqueue(f"r{i}@x")
        closing = (Drop(DropAt.GREETING, every=4),)
        running.play = Play(Script(delays={Stage.CONNECT: 1.5}, drops=closing, max_connections=1))
        await trio.sleep(1.25)  # one has given its place up and is at its last mail, two wait, one was closed
        assert running.open_connections == 3
        await trio.sleep(0.5)  # two were turned away
        assert running.open_connections == 1
        assert len(inbox.copies) < 10
        running.play = Play(Script())
        await trio.sleep(60)
        worker.stop()
    assert len(inbox.copies) == 41


async def test_sessions_that_are_fixed_are_all_there_at_once(house: House, autojump_clock: MockClock) -> None:
    """With `adapt` off, a route that took its first mail has all its sessions, as deep as may be."""
    for i in range(600):
        house.enqueue(f"r{i}@x")
    async with sink(delays={Stage.FINAL: 0.05}) as (running, inbox):
        await house.drain(running, sessions=16, adapt=False)
    assert len(inbox.copies) == 600
    assert [event for event in house.events if isinstance(event, WindowMoved)] == [
        WindowMoved("default", 16, 16, FULL, "fixed by configuration")
    ]


@pytest.mark.parametrize("mode", ["pipelined", "lockstep"])
async def test_no_mode_beyond_the_one_configured(house: House, autojump_clock: MockClock, mode: str) -> None:
    """A server that offers all extensions is spoken to as the route says."""
    for i in range(50):
        house.enqueue(f"r{i}@x", f"s{i}@x")
    async with sink() as (running, inbox):
        await house.drain(running, mode=mode)
    assert len(inbox.copies) == 100
    modes = {event.mode for event in house.events if isinstance(event, TransactionEnded)}
    assert modes == {mode}


async def test_open_sessions_take_up_a_new_depth(
    house: House, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the window finds holds for the sessions that are at work, not only for those to come."""
    for i in range(400):
        house.enqueue(f"r{i}@x")
    deepest = 0

    def count(session: Session) -> int:
        nonlocal deepest
        deepest = max(deepest, session._client.open)
        return session._client.open

    monkeypatch.setattr(Session, "open", property(count))
    async with sink(delays={Stage.FINAL: 0.05}) as (running, inbox), trio.open_nursery() as nursery:
        worker = house.worker({"default": route_to(running, sessions=1, adapt=False)})
        nursery.start_soon(worker.run)
        await trio.sleep(2)
        assert deepest == FULL - 1
        lane = worker.lanes["default"]
        lane.window.depth = 20
        lane.window_moved()
        await trio.sleep(2)
        assert deepest == 19
    assert running.counters.connections == 1
    assert len(inbox.copies) == 400


async def test_a_target_with_few_connections_is_not_taken_for_dead(
    house: House, autojump_clock: MockClock
) -> None:
    """Connections beyond what the target allows are refused: the route stays up with what it has."""
    for i in range(300):
        house.enqueue(f"r{i}@x")
    async with sink(delays={Stage.FINAL: 0.05}, max_connections=3) as (running, inbox):
        await house.drain(running, sessions=10)
    assert house.outcomes() == {"delivered": 300}
    assert len(inbox.copies) == 300


class SlowMailbox(Inbox):
    """Takes 10 s for mail to one address, and counts how many it has at once."""

    def __init__(self) -> None:
        super().__init__()
        self.at_once = self.most = 0
        self.others_done = 0.0

    async def deliver(self, letter: Letter, sender: str, recipients: Sequence[str]) -> list[bool]:
        """See the sink's Store."""
        if "slow@x" in recipients:
            self.at_once += 1
            self.most = max(self.most, self.at_once)
            await trio.sleep(10)
            self.at_once -= 1
        elif len(self.copies) >= 200:
            self.others_done = trio.current_time()
        return await super().deliver(letter, sender, recipients)


async def test_a_slow_mailbox_does_not_hold_all_sessions(house: House, autojump_clock: MockClock) -> None:
    """Forty messages for a mailbox that takes 10 s each, in front of 200 others: these are done at once."""
    for _ in range(40):
        house.enqueue("slow@x")
    for i in range(200):
        house.enqueue(f"r{i}@x")
    inbox = SlowMailbox()
    async with sink(inbox) as (running, _):
        began = trio.current_time()
        await house.drain(running, sessions=8)
    assert inbox.copies["slow@x"] == 40
    assert len(inbox.copies) == 201
    assert inbox.most <= 2
    assert inbox.others_done - began < 10


async def test_a_drain_takes_any_backlog_of_one_mailbox(house: House, autojump_clock: MockClock) -> None:
    """A thousand messages for one mailbox that is not slow are drained at one go, and none is put off."""
    for _ in range(1500):
        house.enqueue("only@x")
    async with sink() as (running, inbox):
        await house.drain(running, until_empty=False)
        assert trio.current_time() < 5
    assert inbox.copies == {"only@x": 1500}


async def test_a_drain_does_not_end_while_mail_for_a_slow_mailbox_was_put_off(
    house: House, autojump_clock: MockClock
) -> None:
    """What makes way for others is still due: a drain stays for it."""
    for _ in range(60):
        house.enqueue("slow@x")
    inbox = SlowMailbox()
    async with sink(inbox) as (running, _):
        await house.drain(running, until_empty=False, sessions=8)
    assert inbox.copies == {"slow@x": 60}
    assert inbox.most <= 2


async def test_a_drain_of_a_list_ends_with_nothing_left(house: House, autojump_clock: MockClock) -> None:
    """The same fifty in every message, and a target that stands still for a while: what was put off meanwhile
    is waited for, though its time is told by another clock than ours."""
    people = [f"r{i}@x" for i in range(50)]
    for _ in range(40):
        house.enqueue(*people)

    class Halting(Inbox):
        async def deliver(self, letter: Letter, sender: str, recipients: Sequence[str]) -> list[bool]:
            if len(self.copies) and self.copies[people[0]] == 5:
                await trio.sleep(4)
            return await super().deliver(letter, sender, recipients)

    async with sink(Halting()) as (running, inbox):
        worker = house.worker({"default": route_to(running)}, until_empty=False, options=Worker(claim=500))
        await worker.run()
    assert worker.lanes["default"].postponed_to > EPOCH
    assert inbox.copies == dict.fromkeys(people, 40)
    assert house.outcomes() == {"delivered": 2000}


async def test_a_worker_that_stood_still_puts_nothing_off(house: House, autojump_clock: MockClock) -> None:
    """Where time passed while nobody looked, no mailbox is known to be stuck."""
    for _ in range(600):
        house.enqueue("only@x")
    async with sink(delays={Stage.FINAL: 0.2}) as (running, inbox):
        worker = house.worker({"default": route_to(running)}, until_empty=False)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(worker.run)
            await trio.sleep(3.05)
            autojump_clock.jump(3)
    assert worker.lanes["default"].postponed_to == 0
    assert inbox.copies == {"only@x": 600}


async def test_more_mail_for_one_mailbox_than_fits_in_memory_makes_way(
    house: House, autojump_clock: MockClock
) -> None:
    """Even 2,000 messages for a slow mailbox, all in front, do not keep the others out of the worker."""
    for _ in range(2000):
        house.enqueue("slow@x")
    for i in range(200):
        house.enqueue(f"r{i}@x")
    inbox = SlowMailbox()
    async with sink(inbox) as (running, _), trio.open_nursery() as nursery:
        worker = house.worker({"default": route_to(running, sessions=8)}, until_empty=None)
        nursery.start_soon(worker.run)
        await trio.sleep(60)
        worker.stop()
    assert len(inbox.copies) == 201
    outcomes = house.outcomes()
    uncertain = sum(entry.uncertain for entry in house.store.ledger_for("slow@x", limit=99))
    assert outcomes["delivered"] <= inbox.copies.total() <= outcomes["delivered"] + uncertain
    assert outcomes["delivered"] + outcomes["waiting"] + outcomes.get("deferred", 0) == 2200
    assert outcomes.get("deferred", 0) == uncertain <= 8
