"""Limits of sessions and transactions that a target shows only by refusing: learnt, and nobody's failure."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import trio

from spooler.events import Claimed, TransactionEnded
from spooler.policy.pace import Pace
from spooler.reply import Reply, Stage
from spooler.sink import script
from tests.delivery.house import House, route_to, sink

if TYPE_CHECKING:
    from trio.testing import MockClock

CLOSING = Reply(421, "4.3.2", ("enough",))
STALWART = Reply(452, "4.4.5", ("maximum number of messages per session exceeded",))


@pytest.mark.parametrize("too_many", [CLOSING, STALWART])
@pytest.mark.parametrize("without", ["", "CHUNKING", "PIPELINING", "ENHANCEDSTATUSCODES"])
async def test_transactions_of_a_session(
    house: House, autojump_clock: MockClock, too_many: Reply, without: str
) -> None:
    """Some deferrals until the limit is known, then none: every session is filled and quit."""
    for i in range(120):
        house.enqueue(f"r{i}@x")
    offers = frozenset({without} if without else set())
    async with sink(max_transactions=10, too_many=too_many, without=offers) as (running, inbox):
        await house.drain(running, sessions=1)
    people = [f"r{i}@x" for i in range(120)]
    assert set(inbox.copies) == set(people)
    # without a marker the last answer before the limit is not proven, as long as the limit is not known
    uncertain = sum(e.uncertain for person in people for e in house.store.ledger_for(person, limit=9))
    assert inbox.copies.total() <= 120 + (uncertain if without == "ENHANCEDSTATUSCODES" else 0) <= 122
    outcomes = house.outcomes()
    assert outcomes["delivered"] == 120
    assert outcomes.get("deferrals", 0) <= 12
    assert 12 <= running.counters.connections <= 16


async def test_a_session_limit_is_no_attempt_of_a_message(house: House, autojump_clock: MockClock) -> None:
    """One transaction at a time: what meets the limit goes out on the next session, as its first attempt."""
    messages = [house.enqueue(f"r{i}@x") for i in range(30)]
    async with sink(max_transactions=4) as (running, inbox):
        await house.drain(running, sessions=1, mode="lockstep")
    assert len(inbox.copies) == 30
    assert house.outcomes() == {"delivered": 30}
    assert [house.story(one)[0][1:] for one in messages] == [(1, "delivered", False)] * 30


async def test_a_session_limit_of_none_at_all_is_an_attempt(house: House, autojump_clock: MockClock) -> None:
    """A server that takes no message on any session is not asked again and again at once."""
    house.enqueue("a@x")
    async with sink(max_transactions=0) as (running, _):
        await house.drain(running, until_empty=False)
    assert house.outcomes() == {"deferred": 1, "deferrals": 1}
    assert running.counters.connections == 1


@pytest.mark.parametrize("says", [script.TOO_MANY_RECIPIENTS, Reply(552, "", ("too many recipients",))])
async def test_recipients_of_a_transaction(
    house: House, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch, says: Reply
) -> None:
    """After the first refusal transactions have no more recipients than the target takes."""
    monkeypatch.setattr(script, "TOO_MANY_RECIPIENTS", says)
    for _ in range(6):
        house.enqueue(*[f"r{i}@x" for i in range(30)])
    async with sink(max_recipients=10) as (running, inbox):
        await house.drain(running, sessions=1)
    assert inbox.copies == {f"r{i}@x": 6 for i in range(30)}
    assert house.outcomes() == {"delivered": 180}
    sizes = [len(event.results) for event in house.events if isinstance(event, TransactionEnded)]
    assert sizes == [10] * 18
    # of the first message 20, and 20 or 10 each time that the limit is doubted
    assert running.counters.deferred <= 20 + 3 * 20


async def test_a_rate_holds_behind_a_stall(house: House, autojump_clock: MockClock) -> None:
    """A store that stood still is not given all at once that might have been claimed meanwhile."""
    for i in range(600):
        house.enqueue(f"r{i}@x")
    under_way = most = 0

    def observe(event: object) -> None:
        nonlocal under_way, most
        if isinstance(event, Claimed):
            under_way += event.recipients
            most = max(most, under_way)
        elif isinstance(event, TransactionEnded):
            under_way -= len(event.results)

    async with sink(delays={Stage.FINAL: 8.0}) as (running, inbox):
        worker = house.worker({"default": route_to(running)}, pace=Pace(50), observe=observe)
        with trio.fail_after(3600):
            await worker.run()
    assert len(inbox.copies) == 600
    assert 40 <= most <= 50


async def test_a_store_that_stands_still_slows_no_other(house: House, autojump_clock: MockClock) -> None:
    """What is under way to it is its own part: the other route goes on at its share of the rate."""
    for i in range(300):
        house.enqueue(f"a{i}@x", route="a")
        house.enqueue(f"b{i}@x", route="b")
    async with sink(delays={Stage.FINAL: 200.0}) as (still, _), sink() as (other, inbox):
        routes = {"a": route_to(still), "b": route_to(other)}
        worker = house.worker(routes, pace=Pace(20))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(worker.run)
            await trio.sleep(45)
            assert len(inbox.copies) == 300
            worker.stop()
            worker.stop()


@pytest.mark.parametrize("rate", [1, 7, 40])
async def test_a_rate_is_for_all_routes(house: House, autojump_clock: MockClock, rate: int) -> None:
    """The first does not take what may be taken: while both have mail they go equally fast."""
    for i in range(60):
        house.enqueue(f"a{i}@x", route="a")
    for i in range(30):
        house.enqueue(f"b{i}@x", route="b")
    seen: list[tuple[float, str, int]] = []

    def observe(event: object) -> None:
        if isinstance(event, Claimed):
            seen.append((trio.current_time(), event.route, event.recipients))

    async with sink() as (first, _), sink() as (second, _):
        routes = {"a": route_to(first), "b": route_to(second)}
        worker = house.worker(routes, pace=Pace(rate), observe=observe)
        began = trio.current_time()
        with trio.fail_after(600):
            await worker.run()
    assert house.outcomes() == {"delivered": 90}
    took = seen[-1][0] - began
    assert 88 / rate <= took <= 1.2 * 90 / rate + 2
    done = {"a": 0, "b": 0}
    for _, route, count in seen:
        done[route] += count
        if done["b"] < 30:
            assert abs(done["a"] - done["b"]) <= max(1, rate * 0.2)
