"""What a worker publishes of itself with its beats."""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

from spooler.policy.beats import PERIOD
from spooler.reply import Reply, Stage
from spooler.sink.script import Play, Rule, Script
from tests.delivery.house import EPOCH, House, clock, route_to, sink

if TYPE_CHECKING:
    from trio.testing import MockClock

    from spooler.worker_standing import WorkerStanding


def published(house: House) -> WorkerStanding:
    """What the one worker last said."""
    (standing,) = house.store.standings().values()
    return standing


async def test_a_route_that_is_down(house: House, autojump_clock: MockClock) -> None:
    """Since when, in whose words, when it is probed; nothing of this once it takes mail."""
    async with sink(max_connections=0) as (running, _), trio.open_nursery() as nursery:
        worker = house.worker({"default": route_to(running)}, until_empty=None)
        nursery.start_soon(worker.run)
        await trio.sleep(16)
        untried = published(house).destinations.values()
        assert [(one.outage, one.proven) for one in untried] == [(None, False)]
        house.enqueue("a@x")
        await trio.sleep(32)
        standing = published(house)
        (destination,) = standing.destinations.values()
        for outage in (standing.routes["default"].outage, destination.outage):
            assert outage is not None
            assert outage.failures > 2
            assert EPOCH + 16_000_000 <= outage.since <= EPOCH + 18_000_000
            assert 0 <= clock() - standing.at <= PERIOD * 1e6 + 1
            assert outage.since < outage.probe_at < standing.at + 60_000_000
            assert "421" in outage.why
        assert list(standing.routes) == ["default"]
        assert standing.limited_by("default") == "down"
        running.play = Play(Script())
        await trio.sleep(66)
        standing = published(house)
        assert standing.routes["default"].outage is None
        assert [(one.outage, one.proven) for one in standing.destinations.values()] == [(None, True)]
        worker.stop()


async def test_what_is_slow_and_what_is_shut(house: House, autojump_clock: MockClock) -> None:
    """Transactions that take long are named with their begin, mailboxes that take no mail until when."""
    full = house.enqueue("full@x", "fine@x")
    async with (
        sink(at_rcpt=(Rule("full@*", Reply(452, "4.2.2", ("full",))),), delays={Stage.FINAL: 60.0}) as (
            running,
            _,
        ),
        trio.open_nursery() as nursery,
    ):
        worker = house.worker({"default": route_to(running)}, until_empty=None)
        nursery.start_soon(worker.run)
        await trio.sleep(21)
        route = published(house).routes["default"]
        (slow,) = route.slow
        assert (slow.message_id, slow.recipients) == (full, 2)
        assert EPOCH <= slow.since <= EPOCH + 2_000_000
        assert (route.claimed, route.ready, route.sessions, route.shut_count) == (2, 0, 1, 0)
        assert published(house).limited_by("default") == "answers of the target"
        await trio.sleep(45)
        route = published(house).routes["default"]
        assert [(one.address, one.until > clock() - 10_000_000) for one in route.shut] == [("full@x", True)]
        assert route.shut_count == 1
        assert (route.slow, route.claimed) == ([], 0)
        assert published(house).limited_by("default") == ""
        worker.stop()


async def test_limits_that_were_learnt(house: House, autojump_clock: MockClock) -> None:
    """None as long as none is known; then how many transactions a session takes, and recipients each."""
    async with sink(max_transactions=5, max_recipients=3) as (running, _), trio.open_nursery() as nursery:
        worker = house.worker({"default": route_to(running, sessions=1)}, until_empty=None)
        nursery.start_soon(worker.run)
        house.enqueue("a@x")
        await trio.sleep(60)
        (destination,) = published(house).destinations.values()
        assert (destination.transactions, destination.recipients) == (0, 0)
        for _ in range(40):
            house.enqueue(*(f"r{i}@x" for i in range(20)))
        await trio.sleep(60)
        (destination,) = published(house).destinations.values()
        assert (destination.transactions, destination.recipients) == (5, 3)
        worker.stop()
