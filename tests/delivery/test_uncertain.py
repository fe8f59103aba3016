"""What may be delivered already: tried again after the hold-off, or held, as the route says."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from spooler.config import Duration
from spooler.policy.beats import DEAD, GRACE
from spooler.records import QueueFilter
from spooler.result import HOLD_UNCERTAIN
from spooler.sink.script import Drop, DropAt
from tests.delivery.house import EPOCH, House, sink
from tests.delivery.test_recovery import died

if TYPE_CHECKING:
    from trio.testing import MockClock

LOST = (Drop(DropAt.AFTER_DOT, 1),)


async def test_tried_again_after_the_hold_off(house: House, autojump_clock: MockClock) -> None:
    """A backoff of 10 s does not matter where the hold-off is longer."""
    message = house.enqueue("a@x")
    async with sink(drops=LOST) as (running, _):
        await house.drain(running, until_empty=False, hold_off=Duration(900))
    (entry,) = house.store.ledger_of(message)
    (queued,) = house.store.queued_of(message)
    assert entry.uncertain
    assert queued.due - entry.at == 900_000_000
    async with sink() as (running, inbox):
        await house.drain(running)
    assert house.story(message) == [("a@x", 1, "deferred", True), ("a@x", 2, "delivered", False)]
    assert inbox.copies == {"a@x": 1}


async def test_backoff_holds_where_it_is_longer(house: House, autojump_clock: MockClock) -> None:
    """The hold-off is the least delay, not the delay."""
    message = house.enqueue("a@x")
    async with sink(drops=LOST) as (running, _):
        await house.drain(running, until_empty=False, hold_off=Duration(0))
    (queued,) = house.store.queued_of(message)
    assert 5_000_000 <= queued.due - house.store.ledger_of(message)[0].at <= 10_000_000


async def test_held_for_a_person(house: House, autojump_clock: MockClock) -> None:
    """No second copy is made: the drain is through with it, and the queue says why it stays."""
    message = house.enqueue("a@x", "b@x")
    async with sink(drops=LOST) as (running, inbox):
        await house.drain(running, uncertain="hold")
        await house.drain(running, uncertain="hold")
    assert inbox.copies == {"a@x": 1, "b@x": 1}
    assert running.counters.transactions == 1
    assert house.outcomes() == {"held": 2, "deferrals": 2, "uncertain": 2}
    held = house.store.queue(filter=QueueFilter(uncertain=True), limit=9)
    assert [(row.address, row.state, row.hold) for row in held] == [
        ("a@x", "held", HOLD_UNCERTAIN),
        ("b@x", "held", HOLD_UNCERTAIN),
    ]
    assert house.store.ledger_of(message)[0].uncertain


async def test_what_is_safe_is_not_held(house: House, autojump_clock: MockClock) -> None:
    """Lost in front of the end of data, or deferred by the server: nobody needs to decide anything."""
    for i in range(6):
        house.enqueue(f"r{i}@x")
    async with sink(drops=(Drop(DropAt.DATA, 2),), without=frozenset({"CHUNKING"})) as (running, inbox):
        await house.drain(running, uncertain="hold", sessions=1)
    assert len(inbox.copies) == 6
    assert house.outcomes()["delivered"] == 6


@pytest.mark.parametrize("route", ["hold", "retry"])
@pytest.mark.parametrize("found", ["journal", "power cut", "no journal"])
async def test_what_a_dead_worker_left(
    house: House, autojump_clock: MockClock, route: str, found: str
) -> None:
    """Recovered by a journal, whole or torn, or rescued without one: the policy of the route holds."""
    message = house.enqueue("a@x")
    _, journal = died(house, boot="before" if found == "power cut" else None)
    journal.intend(message, message, [0])
    assert journal.push()
    journal.abandon()
    if found == "no journal":
        (folder,) = house.journals.glob("*/*")
        folder.rename(house.journals.parent / "elsewhere")
    async with sink() as (running, inbox):
        await house.drain(running, uncertain=route, hold_off=Duration(1000))
    story = house.story(message)
    assert story[0] == ("a@x", 1, "deferred", True)
    first, *others = sorted(entry.at for entry in house.store.ledger_of(message))
    assert (first - EPOCH >= (DEAD + GRACE) * 1e6) is (found == "no journal")
    if route == "hold":
        assert inbox.copies == {}
        assert house.outcomes() == {"held": 1, "deferrals": 1, "uncertain": 1}
    else:
        assert inbox.copies == {"a@x": 1}
        assert others[0] - first >= 1_000_000_000
