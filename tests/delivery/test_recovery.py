"""What a dead worker's journal says is settled, and the rest of what it held is given back."""

from __future__ import annotations

import errno
import os
import shutil
from typing import TYPE_CHECKING

import pytest
import trio

from spooler.claim import Want
from spooler.config import Route
from spooler.delivery.heartbeat import boot_id
from spooler.errors import CannotCreateError, StorageError
from spooler.events import SpoolTrouble, WorkerState
from spooler.journal.place import create
from spooler.journal.writer import Journal
from spooler.reply import Stage
from spooler.result import Outcome, RecipientResult
from tests.delivery.house import EPOCH, House, clock, route_to, sink
from tests.delivery.test_running import Flaky
from tests.journal.making import answer

if TYPE_CHECKING:
    from trio.testing import MockClock

    from spooler.claim import Claim


def died(house: House, *, boot: str | None = None, spool: str | None = None) -> tuple[list[Claim], Journal]:
    """Let a worker on another host claim all there is and begin a journal; returns both."""
    worker = house.store.register(host="elsewhere", pid=1, now=EPOCH)
    claims = house.store.claim(worker, [Want("default", 100)], now=EPOCH)
    journal = Journal(
        create(house.journals, spool=house.store.uuid, worker=worker),
        spool=spool or house.store.uuid,
        boot=boot or boot_id(),
        every=0,
        broke=lambda _: None,
    )
    return claims, journal


def delivered(claim: Claim) -> list[RecipientResult]:
    """Make the results of a claim that was delivered by a worker which could not say so."""
    return [
        RecipientResult(
            message_id=claim.message_id,
            n=r.n,
            address=r.address,
            route=claim.route,
            attempt=r.attempts + 1,
            at=EPOCH,
            outcome=Outcome.DELIVERED,
            stage=Stage.FINAL,
            code=250,
            enhanced="2.0.0",
        )
        for r in claim.recipients
    ]


def states(house: House) -> list[tuple[str, str]]:
    """Return what was told of dead workers."""
    found = ("recovered", "unrecovered", "rescued")
    return [(e.state, e.detail) for e in house.events if isinstance(e, WorkerState) and e.state in found]


async def test_results_settle_intents_wait_the_rest_is_due(house: House, autojump_clock: MockClock) -> None:
    """Delivered is what the journal says was delivered, uncertain what it leaves open, and nothing else."""
    messages = [house.enqueue(f"{name}@x") for name in ("answered", "sent", "untouched")]
    claims, journal = died(house)
    by_id = {claim.message_id: claim for claim in claims}
    for message in messages[:2]:
        journal.intend(message, message, [0])
    answer(journal, delivered(by_id[messages[0]]), messages[0])
    assert journal.push()
    journal.abandon()
    async with sink() as (running, inbox):
        await house.drain(running)
    assert states(house) == [
        ("recovered", "by its journal: 1 results, 1 uncertain, 1 given back"),
    ]
    assert inbox.copies == {"sent@x": 1, "untouched@x": 1}
    assert house.story(messages[0]) == [("answered@x", 1, "delivered", False)]
    assert house.story(messages[1]) == [("sent@x", 1, "deferred", True), ("sent@x", 2, "delivered", False)]
    assert house.story(messages[2]) == [("untouched@x", 1, "delivered", False)]
    doubted, again = sorted(house.store.ledger_of(messages[1]), key=lambda e: e.at)
    assert again.at - doubted.at >= Route(destinations=[]).hold_off.us
    assert list(house.journals.glob("*/*")) == []


async def test_a_journal_that_cannot_be_settled_stops_nobody(house: House, autojump_clock: MockClock) -> None:
    """The database refuses what it says, again and again: told each time, and all else is delivered. Its
    worker is dead all the same, and after some minutes all that it held is taken over as uncertain.
    """
    message = house.enqueue("sent@x")
    _, journal = died(house)
    journal.intend(message, message, [0])
    assert journal.push()
    journal.abandon()
    house.spool = Flaky(house.spool, {"doubt": 10**9})
    async with sink() as (running, inbox), trio.open_nursery() as nursery:
        worker = house.worker({"default": route_to(running)}, until_empty=None)
        nursery.start_soon(worker.run)
        for n in range(10):
            await trio.sleep(60)
            house.enqueue(f"r{n}@x")
            assert worker.fresh
        await trio.sleep(60)
        worker.stop()
    assert inbox.copies == {f"r{n}@x": 1 for n in range(10)} | {"sent@x": 1}
    troubles = [event for event in house.events if isinstance(event, SpoolTrouble)]
    assert {event.doing for event in troubles} == {"taking over what may have been delivered"}
    assert len(troubles) > 50
    assert house.story(message) == [("sent@x", 1, "deferred", True), ("sent@x", 2, "delivered", False)]
    assert [state for state, _ in states(house)] == ["rescued"]


async def test_a_journal_that_takes_long_robs_nobody(house: House, autojump_clock: MockClock) -> None:
    """Who beats all the while lives, however old what was seen of him is when the journal is settled."""
    message = house.enqueue("sent@x")
    _, journal = died(house)
    journal.intend(message, message, [0])
    assert journal.push()
    journal.abandon()
    other = house.store.register(host="elsewhere", pid=2, now=EPOCH)
    house.spool = Flaky(house.spool, {"doubt": 100})  # some 15 minutes
    async with sink() as (running, _), trio.open_nursery() as nursery:
        worker = house.worker({"default": route_to(running)}, until_empty=None)
        nursery.start_soon(worker.run)
        for _turn in range(60):
            await trio.sleep(20)
            assert house.store.beat(other, now=clock(), standing=None)
        worker.stop()
    assert {row.id for row in house.store.workers()} == {other}
    told = {e.worker for e in house.events if isinstance(e, WorkerState) and e.state == "rescued"}
    assert other not in told


async def test_recovered_twice(house: House, autojump_clock: MockClock) -> None:
    """Whoever dies while recovering leaves the journal as it was: the next settles the same, to no effect."""
    message = house.enqueue("a@x")
    (claim,), journal = died(house)
    journal.record(delivered(claim))
    assert journal.push()
    house.store.settle(claims_worker(house), delivered(claim), now=EPOCH)  # the first had come so far
    journal.abandon()
    async with sink() as (running, inbox):
        await house.drain(running)
    assert inbox.copies == {}
    assert house.story(message) == [("a@x", 1, "delivered", False)]
    assert house.outcomes() == {"delivered": 1}


def claims_worker(house: House) -> int:
    """Return the one worker that is registered."""
    (row,) = house.store.workers()
    return row.id


async def test_after_a_power_cut_all_that_it_held_is_uncertain(
    house: House, autojump_clock: MockClock
) -> None:
    """The end of a journal of another boot may be lost: what it says holds, of the rest nothing is known."""
    first, second = house.enqueue("a@x"), house.enqueue("b@x")
    claims, journal = died(house, boot="the boot before")
    journal.record(delivered(next(claim for claim in claims if claim.message_id == first)))
    assert journal.push()
    journal.abandon()
    async with sink() as (running, inbox):
        await house.drain(running)
    assert inbox.copies == {"b@x": 1}
    assert house.story(first) == [("a@x", 1, "delivered", False)]
    assert house.story(second) == [("b@x", 1, "deferred", True), ("b@x", 2, "delivered", False)]


async def test_a_delivery_counts_whoever_holds_the_recipient_now(
    house: House, autojump_clock: MockClock
) -> None:
    """A journal that is found late, when others have taken over, still ends what its worker delivered."""
    message = house.enqueue("a@x")
    (claim,), journal = died(house)
    journal.record(delivered(claim))
    assert journal.push()
    house.store.rescue(claims_worker(house), now=EPOCH, due=EPOCH, uncertain=True)
    journal.abandon()
    async with sink() as (running, inbox):
        await house.drain(running)
    assert inbox.copies == {}
    assert {entry.outcome for entry in house.store.ledger_of(message)} == {"deferred", "delivered"}
    assert house.outcomes() == {"delivered": 1, "deferrals": 1, "uncertain": 1}


@pytest.mark.parametrize("boot", [None, "the boot before"])
async def test_a_journal_that_is_newer_than_the_database(
    house: House, autojump_clock: MockClock, boot: str | None
) -> None:
    """Where the spool was restored from a copy its results settle, and what it leaves open is uncertain."""
    answered, sent = house.enqueue("answered@x"), house.enqueue("sent@x")
    claims, journal = died(house, boot=boot)
    journal.record(delivered(next(claim for claim in claims if claim.message_id == answered)))
    journal.intend("sent", sent, [0])
    assert journal.push()
    journal.abandon()
    house.store.unregister(claims_worker(house), now=EPOCH)  # as if it had never been there
    async with sink() as (running, inbox):
        await house.drain(running)
    assert inbox.copies == {"sent@x": 1}
    assert house.story(answered) == [("answered@x", 1, "delivered", False)]
    assert house.story(sent) == [("sent@x", 1, "deferred", True), ("sent@x", 2, "delivered", False)]


async def test_a_foreign_journal_is_told_once_and_left(house: House, autojump_clock: MockClock) -> None:
    """What cannot be understood is not removed, and its worker's recipients wait as if there were none."""
    house.enqueue("a@x")
    _, journal = died(house, spool="another")
    journal.abandon()
    async with sink() as (running, inbox):
        await house.drain(running)
    assert [state for state, _ in states(house)] == ["unrecovered", "rescued"]
    assert inbox.copies == {"a@x": 1}
    assert len(list(house.journals.glob("*/*/0*"))) == 1


async def test_a_journal_that_cannot_be_removed_is_settled_once(
    house: House, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is told once, not at every beat, and removed when that is possible."""
    house.enqueue("a@x")
    (claim,), journal = died(house)
    journal.record(delivered(claim))
    assert journal.push()
    journal.abandon()

    def refused(*_: object, **__: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    async with sink() as (running, _), trio.open_nursery() as nursery:
        worker = house.worker({"default": route_to(running)}, until_empty=None)
        with monkeypatch.context() as patch:
            patch.setattr(os, "unlink", refused)
            nursery.start_soon(worker.run)
            await trio.sleep(60)
            assert len(list(house.journals.glob("*/*"))) == 2
        await trio.sleep(10)
        assert len(list(house.journals.glob("*/*"))) == 1
        worker.stop()
    assert [state for state, _ in states(house)] == ["unrecovered", "recovered"]


async def test_a_journal_that_is_removed_under_its_worker_ends_it(
    house: House, autojump_clock: MockClock
) -> None:
    """Within seconds: what it sent after that would be known to nobody if it died."""
    async with sink() as (running, inbox), trio.open_nursery() as nursery:
        worker = house.worker({"default": route_to(running)}, until_empty=None)
        nursery.start_soon(worker.run)
        await trio.sleep(1)
        shutil.rmtree(house.journals)
        await trio.sleep(10)
        house.enqueue("a@x")
        await trio.sleep(60)
        assert inbox.copies == {}
    assert isinstance(worker.failure, StorageError)
    assert worker.failure.what.endswith("was removed under its worker")


async def test_a_worker_leaves_no_journal_behind(house: House, autojump_clock: MockClock) -> None:
    """One that has settled everything takes its journal with it."""
    house.enqueue("a@x", "b@x")
    async with sink() as (running, _):
        await house.drain(running)
    assert list(house.journals.glob("*/*")) == []


async def test_nothing_is_sent_while_the_heartbeat_is_stale(house: House, autojump_clock: MockClock) -> None:
    """A worker whose beats fail for longer than its leases are safe waits, until they work again."""
    failures = {"beat": 0}
    house.spool = Flaky(house.spool, failures)
    async with sink() as (running, inbox), trio.open_nursery() as nursery:
        worker = house.worker({"default": route_to(running)}, until_empty=None)
        nursery.start_soon(worker.run)
        await trio.sleep(1)
        failures["beat"] = 1000
        await trio.sleep(40)
        house.enqueue("a@x")
        await trio.sleep(60)
        assert inbox.copies == {}
        failures["beat"] = 0
        await trio.sleep(20)
        assert inbox.copies == {"a@x": 1}
        worker.stop()


async def test_a_disk_that_is_full_is_told_and_waited_for(
    house: House, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is sent while no intent can be written; it goes on by itself when there is room."""
    full = OSError(errno.ENOSPC, "No space left on device")
    async with sink() as (running, inbox), trio.open_nursery() as nursery:
        worker = house.worker({"default": route_to(running)}, until_empty=None)
        nursery.start_soon(worker.run)
        await trio.sleep(1)
        with monkeypatch.context() as patch:

            def pwrite(*_: object) -> int:
                raise full

            patch.setattr(os, "pwrite", pwrite)
            house.enqueue("a@x")
            await trio.sleep(20)
            assert inbox.copies == {}
            told = [e.why for e in house.events if isinstance(e, SpoolTrouble)]
            assert told
            assert told[-1].endswith("cannot be written to: No space left on device")
        await trio.sleep(120)
        assert inbox.copies == {"a@x": 1}
        worker.stop()


async def test_where_no_journal_can_be_made_nothing_is_left(house: House, autojump_clock: MockClock) -> None:
    """The command ends with what to mend, and its worker is not taken for a dead one by the next."""
    house.journals.touch()
    async with sink() as (running, _):
        with pytest.raises(CannotCreateError, match=r"worker\.journal"):
            await house.drain(running)
    assert house.store.workers() == []
