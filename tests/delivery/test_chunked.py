"""A worker and servers that take whole transactions back to back: speed must not cost the truth."""

from __future__ import annotations

import hashlib
import random
from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest

from spooler.config import Duration, Timeouts
from spooler.events import Doubt, TransactionEnded
from spooler.reply import Reply
from spooler.sink.script import Drop, DropAt, Rule
from tests.delivery.house import EPOCH, House, sink

if TYPE_CHECKING:
    from trio.testing import MockClock

NO_USER = Reply(550, "5.1.1", ("no such user",))
FULL = Reply(552, "5.2.2", ("mailbox full",))


def modes(house: House) -> Counter[str]:
    """How many transactions went in each mode."""
    return Counter(event.mode for event in house.events if isinstance(event, TransactionEnded))


@pytest.mark.parametrize("silent", [False, True])
async def test_every_mix_of_recipients(house: House, autojump_clock: MockClock, *, silent: bool) -> None:
    """Messages for some, for all and for none that exist, in flight together: each gets what is its own."""
    dice = random.Random(5)
    wanted = {}
    for m in range(300):
        names = dice.choice([["ok"], ["ok"], ["bad"], ["bad", "bad"], ["ok", "full", "bad", "ok"], ["full"]])
        people = [f"{name}{m}-{i}@x" for i, name in enumerate(names)]
        wanted[house.enqueue(*people)] = people
    async with sink(
        at_rcpt=(Rule("bad*", NO_USER),), at_final=(Rule("full*", FULL),), silent_for_nobody=silent
    ) as (running, inbox):
        await house.drain(running, sessions=2)
    assert modes(house)["chunked"] > 290
    assert not [event for event in house.events if isinstance(event, Doubt)]
    for message, people in wanted.items():
        assert {(address, *rest) for address, *rest in house.story(message)} == {
            (address, 1, "delivered" if address.startswith("ok") else "failed", False) for address in people
        }
    assert inbox.copies == {a: 1 for people in wanted.values() for a in people if a.startswith("ok")}
    assert running.counters.connections <= 2


@pytest.mark.parametrize("at", [DropAt.MAIL, DropAt.RCPT, DropAt.DATA, DropAt.BODY, DropAt.BEFORE_DOT])
@pytest.mark.parametrize("every", [3, 20])
async def test_connections_lost_before_the_end(
    house: House, autojump_clock: MockClock, at: DropAt, every: int
) -> None:
    """What was in flight behind the loss may have arrived, so it says, and is sent again: nothing is lost."""
    people = [f"r{i}@x" for i in range(100)]
    for person in people:
        house.enqueue(person)
    async with sink(drops=(Drop(at, every),)) as (running, inbox):
        await house.drain(running, sessions=2)
    assert inbox.copies == dict.fromkeys(people, 1)
    assert house.outcomes()["delivered"] == 100
    assert modes(house)["chunked"] > 0


async def test_connections_lost_behind_the_end(house: House, autojump_clock: MockClock) -> None:
    """Delivered and not answered: each second copy has its uncertain attempt in the ledger."""
    people = [f"r{i}@x" for i in range(100)]
    for person in people:
        house.enqueue(person)
    async with sink(drops=(Drop(DropAt.AFTER_DOT, 20),)) as (running, inbox):
        await house.drain(running, sessions=2)
    assert set(inbox.copies) == set(people)
    twice = 0
    for person, copies in inbox.copies.items():
        entries = house.store.ledger_for(person, limit=99)
        assert copies <= 1 + sum(entry.uncertain for entry in entries)
        assert sum(entry.outcome == "delivered" for entry in entries) == 1
        twice += copies - 1
    assert 1 <= twice <= 6


@pytest.mark.parametrize("silent", [False, True])
@pytest.mark.parametrize("fault", [{"one_reply": True}, {"replies": -1}, {"replies": 1}])
async def test_a_server_that_miscounts_only_for_several(
    house: House, autojump_clock: MockClock, fault: dict[str, Any], *, silent: bool
) -> None:
    """Messages for one prove nothing about messages for four: found out, it makes no false success, and
    where it answers too little everything arrives all the same, one recipient at a time."""
    soon = EPOCH + (3_000_000_000 if "one_reply" in fault else 300_000_000)
    singles = [house.enqueue(f"s{m}@x", expires=soon) for m in range(40)] if "replies" not in fault else []
    several = [house.enqueue(*[f"m{m}r{i}@x" for i in range(4)], expires=soon) for m in range(10)]
    async with sink(silent_for_nobody=silent, **fault) as (running, inbox):
        await house.drain(running, sessions=2, timeouts=Timeouts(final=Duration(30), command=Duration(30)))
    for message in (*singles, *several):
        for address, _, outcome, _ in house.story(message):
            assert outcome != "failed"
            assert outcome != "delivered" or inbox.copies[address] >= 1
    for address, copies in inbox.copies.items():
        uncertain = [e for e in house.store.ledger_for(address, limit=99) if e.uncertain]
        assert copies <= 1 + len(uncertain)
    if "one_reply" in fault:
        assert house.outcomes()["delivered"] == 80


async def test_large_messages_in_chunks(house: House, autojump_clock: MockClock) -> None:
    """Contents of several chunks among small ones arrive as they were stored."""
    small = b"Subject: small\r\n\r\n.\r\n"
    large = b"Subject: big\r\n\r\n" + b"".join(b".%06d %s\r\n" % (i, b"x" * 60) for i in range(12_000))
    for i in range(40):
        house.enqueue(f"r{i}@x", content=large if i % 4 == 3 else small)
    async with sink() as (running, inbox):
        await house.drain(running, sessions=1)
    assert inbox.copies == {f"r{i}@x": 1 for i in range(40)}
    assert inbox.digests == {hashlib.sha256(large).hexdigest(), hashlib.sha256(small).hexdigest()}
    assert modes(house)["chunked"] == 39


async def test_a_chunk_that_is_refused(house: House, autojump_clock: MockClock) -> None:
    """A server that says so little about its limit that only a chunk shows it fails the message, once."""
    large = b"Subject: big\r\n\r\n" + b"x" * 70 + b"\r\n"
    large *= 10_000
    for i in range(6):
        house.enqueue(f"r{i}@x")
    message = house.enqueue("big@x", content=large)
    last = [house.enqueue(f"s{i}@x") for i in range(6)]
    async with sink(size_limit=300_000, without=frozenset({"SIZE"})) as (running, inbox):
        await house.drain(running, sessions=1)
    (entry,) = house.store.ledger_of(message)
    assert (entry.outcome, entry.stage, entry.enhanced, entry.uncertain) == ("failed", "data", "5.3.4", False)
    assert len(inbox.copies) == 12
    assert [house.story(one)[0][2] for one in last] == ["delivered"] * 6


async def test_a_server_that_closes_after_some_messages(house: House, autojump_clock: MockClock) -> None:
    """421 in the middle of what is in flight: nothing fails, nothing arrives twice, and probation grows."""
    for i in range(60):
        house.enqueue(f"r{i}@x")
    async with sink(max_transactions=7) as (running, inbox):
        await house.drain(running, sessions=1)
    assert inbox.copies == {f"r{i}@x": 1 for i in range(60)}
    assert house.outcomes()["delivered"] == 60
    assert house.outcomes()["deferrals"] <= 40
