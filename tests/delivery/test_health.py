"""Dead destinations among living ones, and mailboxes that take no mail for now: few pay, the rest waits."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
import pytest
import trio

from spooler.config import Duration, Retry
from spooler.events import NotConnected, RouteDown, RouteUp
from spooler.reply import Reply, Stage
from spooler.sink.script import Drop, DropAt, Play, Rule, Script
from tests.delivery.house import EPOCH, House, clock, route_to, sink

if TYPE_CHECKING:
    from trio.testing import MockClock

FULL = Reply(452, "4.2.2", ("mailbox full",))
DISABLED = Reply(450, "4.2.1", ("mailbox disabled",))
BUSY = Reply(451, "4.3.0", ("too many concurrent deliveries for user",))
LATER = Reply(451, "4.7.1", ("try later",))


@pytest.mark.parametrize("balance", ["failover", "round-robin"])
async def test_a_dead_destination_among_living_ones_costs_no_attempt(
    house: House, autojump_clock: MockClock, balance: str
) -> None:
    """It is looked at by one connection, ever less often; found back, it gets mail at once."""
    async with sink(max_connections=0) as (dead, inbox), sink() as (alive, others):
        route = route_to(dead, alive, balance=balance, idle=Duration(5))  # so connections are made anew
        worker = house.worker({"default": route}, until_empty=None)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(worker.run)
            for minute in range(10):
                for i in range(20):
                    house.enqueue(f"r{minute}-{i}@x")
                await trio.sleep(60)
            assert house.outcomes() == {"delivered": 200}
            assert len(others.copies) == 200
            assert inbox.copies == {}
            assert dead.counters.connections <= 16  # 1 + 2 + 4 ... 60 s, jittered, and then one a minute
            dead.play = Play(Script())
            for minute in range(3):
                for i in range(20):
                    house.enqueue(f"s{minute}-{i}@x")
                await trio.sleep(70)
            worker.stop()
    assert house.outcomes() == {"delivered": 260}
    assert inbox.copies


async def test_a_silent_destination_is_not_waited_for_where_there_is_another(
    house: House, autojump_clock: MockClock
) -> None:
    """It takes connections and says nothing: the next one is tried long before its time-outs."""
    for i in range(50):
        house.enqueue(f"r{i}@x")
    silent = await trio.open_tcp_listeners(0, host="127.0.0.1")
    port = silent[0].socket.getsockname()[1]
    async with sink() as (running, inbox):
        route = route_to(running)
        route = msgspec.structs.replace(route, destinations=[f"inet:127.0.0.1:{port}", *route.destinations])
        worker = house.worker({"default": route})
        with trio.fail_after(60):
            await worker.run()
    for listener in silent:
        await listener.aclose()
    assert len(inbox.copies) == 50
    assert house.outcomes() == {"delivered": 50}
    told = [event for event in house.events if isinstance(event, NotConnected)]
    assert told[0].why == "silent for 20 s, and there are other destinations"


async def test_a_dead_route_opens_at_once(house: House, autojump_clock: MockClock) -> None:
    """One attempt for each probe, and with the first that works everything that waits goes out."""
    for i in range(300):
        house.enqueue(f"r{i}@x")
    async with sink(max_connections=0) as (running, inbox), trio.open_nursery() as nursery:
        worker = house.worker({"default": route_to(running)}, until_empty=None)
        nursery.start_soon(worker.run)
        await trio.sleep(100)
        outcomes = house.outcomes()
        assert outcomes["deferrals"] == running.counters.connections <= 10
        running.play = Play(Script())
        await trio.sleep(61)
        assert len(inbox.copies) == 300
        worker.stop()


async def test_an_outage_that_many_sessions_notice_at_once_is_one(
    house: House, autojump_clock: MockClock
) -> None:
    """One message pays for a server that was away for a moment, and it is looked for within a second."""
    for i in range(2000):
        house.enqueue(f"r{i}@x")
    slow = {Stage.FINAL: 0.01}
    seldom = (Drop(DropAt.MAIL, every=1_000_000),)  # sessions look for drops where their script has any
    async with sink(delays=slow, drops=seldom) as (running, inbox), trio.open_nursery() as nursery:
        worker = house.worker({"default": route_to(running, hold_off=Duration(1))}, until_empty=None)
        nursery.start_soon(worker.run)
        await trio.sleep(0.05)
        assert running.open_connections >= 4
        running.play = Play(Script(drops=(Drop(DropAt.MAIL),), max_connections=0))
        await trio.sleep(0.1)
        assert running.open_connections == 0
        before = len(inbox.copies)
        assert before < 2000
        running.play = Play(Script(delays=slow))
        await trio.sleep(1.5)  # 1 s at most until the probe
        assert [event.retry_in <= 1 for event in house.events if isinstance(event, RouteDown)] == [True]
        assert len(inbox.copies) > before
        await trio.sleep(20)  # route_to: 10 s until the one that paid is tried again
        worker.stop()
    outcomes = house.outcomes()
    assert outcomes["delivered"] == 2000
    assert outcomes["deferrals"] - outcomes["uncertain"] == 1  # what was on its way is no probe's


@pytest.mark.parametrize(
    "script",
    [
        {"at_rcpt": (Rule("full@*", FULL),)},
        {"at_final": (Rule("full@*", FULL),)},
        {"at_rcpt": (Rule("full@*", DISABLED),)},
        {"at_rcpt": (Rule("full@*", BUSY),)},
    ],
)
async def test_a_full_mailbox_costs_a_few_attempts(
    house: House, autojump_clock: MockClock, script: dict[str, Any]
) -> None:
    """What waits for it, and what comes in later, goes back untried until one message has looked again."""
    for i in range(150):
        house.enqueue("full@x")
        house.enqueue(f"r{i}@x")
    async with sink(**script) as (running, inbox):
        worker = house.worker({"default": route_to(running)}, until_empty=None)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(worker.run)
            await trio.sleep(3)
            assert len(inbox.copies) == 150
            tried = house.outcomes()["deferrals"]
            assert 1 <= tried <= 12  # what was under way for it when the first was told
            for _ in range(50):
                house.enqueue("full@x")
            await trio.sleep(120)
            # route_to: 10 s, then 20, 40, 60
            assert house.outcomes()["deferrals"] <= tried + 7
            running.play = Play(Script())
            await trio.sleep(75)
            worker.stop()
    assert inbox.copies["full@x"] == 200
    assert house.outcomes()["delivered"] == 350


async def test_others_of_a_message_do_not_wait_for_a_full_mailbox(
    house: House, autojump_clock: MockClock
) -> None:
    """Of a message to many only the recipient whose mailbox is shut goes back."""
    messages = [house.enqueue("full@x", *[f"m{m}r{i}@x" for i in range(4)]) for m in range(60)]
    async with sink(at_rcpt=(Rule("full@*", FULL),)) as (running, inbox):
        await house.drain(running, until_empty=False)
    assert len(inbox.copies) == 240
    outcomes = house.outcomes()
    assert outcomes["delivered"] == 240
    assert outcomes["waiting"] + outcomes["deferred"] == 60
    assert outcomes["deferrals"] <= 12
    untried = [house.store.queued_of(one)[0] for one in messages if len(house.story(one)) == 4]
    assert all((row.attempts, row.claims) == (0, 0) and row.due > EPOCH for row in untried)


async def test_what_waits_for_a_mailbox_ends_on_time(house: House, autojump_clock: MockClock) -> None:
    """A mailbox that stays full for a whole lifetime: each message expires, none is lost."""
    for _ in range(40):
        house.enqueue("full@x", expires=EPOCH + 200_000_000)
    async with sink(at_rcpt=(Rule("full@*", FULL),)) as (running, _):
        await house.drain(running)
    assert trio.current_time() < 240
    assert house.outcomes()["expired"] == 40


async def test_a_refusal_that_is_not_the_mailboxs_holds_up_nobody(
    house: House, autojump_clock: MockClock
) -> None:
    """Grey-listing, or a message that is not liked, is each message's own."""
    for _ in range(40):
        house.enqueue("grey@x")
    async with sink(at_rcpt=(Rule("grey@*", LATER),), delays={Stage.RCPT: 0.001}) as (running, _):
        await house.drain(running, until_empty=False)
    assert house.outcomes() == {"deferred": 40, "deferrals": 40}


async def test_a_route_that_is_back_is_seen_without_mail(house: House, autojump_clock: MockClock) -> None:
    """Nothing is due: it is looked at all the same, ever less often, and no attempt is charged for it. Of two
    routes that lead there each is found open."""
    house.enqueue("a@x")
    house.enqueue("b@x", route="other")
    async with sink(max_connections=0) as (running, _), trio.open_nursery() as nursery:
        seldom = Retry(first=Duration(86_400), maximum=Duration(86_400))
        route = msgspec.structs.replace(route_to(running), retry=seldom)
        worker = house.worker({"default": route, "other": route}, until_empty=None)
        nursery.start_soon(worker.run)
        await trio.sleep(900)
        lanes = worker.lanes.values()
        assert [lane.health.down for lane in lanes] == [True] * 2
        assert 10 <= running.counters.connections <= 50
        assert house.outcomes() == {"deferred": 2, "deferrals": 2}
        running.play = Play(Script())
        await trio.sleep(100)
        assert [lane.health.down for lane in lanes] == [False] * 2
        assert len([event for event in house.events if isinstance(event, RouteUp)]) == 2
        assert house.outcomes() == {"deferred": 2, "deferrals": 2}
        house.enqueue("c@x")
        await trio.sleep(2)
        assert house.outcomes() == {"deferred": 2, "deferrals": 2, "delivered": 1}
        worker.stop()


async def test_one_destination_that_is_back_is_seen_without_mail(
    house: House, autojump_clock: MockClock
) -> None:
    """The other one lives, so the route was never down."""
    async with sink(max_connections=0) as (dead, _), sink() as (alive, _):
        worker = house.worker({"default": route_to(dead, alive)}, until_empty=None)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(worker.run)
            house.enqueue("a@x")
            for play, down in ((dead.play, [True, False]), (Play(Script()), [False, False])):
                dead.play = play
                await trio.sleep(110)
                (standing,) = house.store.standings().values()
                assert [one.outage is not None for one in standing.destinations.values()] == down
                assert standing.routes["default"].outage is None
            worker.stop()
    assert house.outcomes() == {"delivered": 1}


async def test_a_paused_route_is_left_alone(house: House, autojump_clock: MockClock) -> None:
    """Nothing is begun there, not even a look."""
    house.enqueue("a@x")
    async with sink(max_connections=0) as (running, _), trio.open_nursery() as nursery:
        worker = house.worker({"default": route_to(running)}, until_empty=None)
        nursery.start_soon(worker.run)
        await trio.sleep(30)
        house.store.pause("default", who="ann@mx1", why="", now=clock())
        await trio.sleep(30)
        before = running.counters.connections
        await trio.sleep(300)
        assert running.counters.connections == before
        worker.stop()
