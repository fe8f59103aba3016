"""Mail that workers died with is taken alone, and held if they die of it alone."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import trio

from spooler.claim import Want
from spooler.delivery.settler import GATHER
from spooler.events import Held
from spooler.policy.pace import Pace
from spooler.policy.poison import DEADLY, SUSPECT, why_held
from spooler.reply import Reply
from spooler.sink.script import Rule
from tests.delivery.house import EPOCH, House, clock, route_to, sink

if TYPE_CHECKING:
    from trio.testing import MockClock

    from tests.delivery.house import Inbox


def die(house: House, times: int, *, limit: int = 100) -> None:
    """Let so many workers die with what comes first in the queue."""
    for _ in range(times):
        worker = house.store.register(host="elsewhere", pid=1, now=EPOCH)
        assert house.store.claim(worker, [Want("default", limit)], now=EPOCH)
        house.store.rescue(worker, now=EPOCH, due=EPOCH, uncertain=False)


class Watched:
    """A spool that writes down what its worker has in hand when something is claimed."""

    def __init__(self, house: House) -> None:
        self.inner = house.spool
        self.in_hand: set[tuple[int, int]] = set()
        self.claimed: list[tuple[int, int]] = []  # how many at once, and how many were in hand then
        self.alone: list[tuple[int, int]] = []
        self.released: list[int] = []

    def __getattr__(self, name: str) -> object:
        return getattr(self.inner, name)

    async def claim(self, worker: int, wants: object, *, now: int) -> object:
        claims = await self.inner.claim(worker, wants, now=now)  # type: ignore[arg-type]
        self.take(claims)
        return claims

    async def claim_alone(self, worker: int, *args: object, **named: object) -> object:
        claims = await self.inner.claim_alone(worker, *args, **named)  # type: ignore[arg-type]
        self.alone.append((sum(len(claim.recipients) for claim in claims), len(self.in_hand)))
        self.take(claims)
        return claims

    def take(self, claims: object) -> None:
        self.in_hand |= {(c.message_id, r.n) for c in claims for r in c.recipients}  # type: ignore[attr-defined]

    async def settle(self, worker: int, results: object, *, now: int) -> object:
        report = await self.inner.settle(worker, results, now=now)  # type: ignore[arg-type]
        self.in_hand -= {(r.message_id, r.n) for r in results}  # type: ignore[attr-defined]
        return report

    async def release(self, worker: int, keys: object, *, due: int) -> object:
        released = await self.inner.release(worker, keys, due=due)  # type: ignore[arg-type]
        self.released.append(released)
        self.in_hand -= set(keys)  # type: ignore[call-overload]
        return released


@pytest.mark.parametrize("until_empty", [True, False])
async def test_suspects_go_alone_and_are_delivered(
    house: House, autojump_clock: MockClock, until_empty: bool
) -> None:
    """What workers died with by chance is taken a message at a time, with nothing else in hand, and arrives;
    the rest goes as ever, and a drain does not end before."""
    suspects = [house.enqueue("a@x", "b@x"), house.enqueue("c@x")]
    die(house, SUSPECT)
    for n in range(20):
        house.enqueue(f"u{n}@x")
    house.spool = watched = Watched(house)  # type: ignore[assignment]
    async with sink() as (running, inbox):
        await house.drain(running, until_empty=until_empty)
    assert inbox.copies.total() == 23
    assert set(inbox.copies.values()) == {1}
    assert sorted(watched.alone) == [(1, 0), (2, 0)]
    assert house.outcomes() == {"delivered": 23}
    assert all(len(house.story(ident)) for ident in suspects)


async def test_many_suspects_are_soon_through(house: House, autojump_clock: MockClock) -> None:
    """Some hundred that a few workers died with are given back at once, for a death meanwhile would count for
    each, and where nothing else is to be done they go one behind the other."""
    for n in range(100):
        house.enqueue(f"u{n}@x")
    die(house, SUSPECT)
    house.spool = watched = Watched(house)  # type: ignore[assignment]
    async with sink() as (running, inbox):
        began = trio.current_time()
        await house.drain(running, until_empty=True)
        took = trio.current_time() - began
    assert set(inbox.copies.values()) == {1}
    assert inbox.copies.total() == len(watched.alone) == 100
    assert watched.released == [100]
    assert took < 100 * GATHER * 1.5


async def test_who_dies_in_company_is_not_held(house: House, autojump_clock: MockClock) -> None:
    """Workers may be killed as often as you like between claiming suspects and setting them aside."""
    for n in range(5):
        house.enqueue(f"u{n}@x")
    die(house, 3 * DEADLY)
    async with sink() as (running, inbox):
        await house.drain(running, until_empty=True)
    assert inbox.copies == {f"u{n}@x": 1 for n in range(5)}
    assert not any(isinstance(event, Held) for event in house.events)


async def test_who_survives_alone_goes_with_the_others_again(house: House, autojump_clock: MockClock) -> None:
    """A suspect that is deferred by the server was not what its workers died of."""
    house.enqueue("a@x")
    die(house, SUSPECT)
    house.spool = watched = Watched(house)  # type: ignore[assignment]
    async with sink(at_rcpt=(Rule("*", Reply(451, "4.2.0", ("later",))),), times=3) as (running, inbox):
        await house.drain(running)
    assert inbox.copies == {"a@x": 1}
    assert watched.alone == [(1, 0)]


async def test_below_the_limit_nobody_is_suspected(house: House, autojump_clock: MockClock) -> None:
    """A death or two with hundreds in hand says nothing about any of them."""
    house.enqueue("a@x")
    die(house, SUSPECT - 1)
    house.spool = watched = Watched(house)  # type: ignore[assignment]
    async with sink() as (running, inbox):
        await house.drain(running)
    assert watched.alone == []
    assert inbox.copies == {"a@x": 1}


async def test_what_is_deadly_is_held(house: House, autojump_clock: MockClock) -> None:
    """It is held with its reason, all that is queued of it, told once, and never dropped; others go on."""
    poison = house.enqueue("a@x", "b@x", "c@x")
    die(house, DEADLY, limit=1)
    house.enqueue("u@x")
    async with sink() as (running, inbox):
        await house.drain(running)
        await house.drain(running)
    assert inbox.copies == {"u@x": 1}
    assert [(row.address, row.hold) for row in house.store.queued_of(poison)] == [
        (address, why_held(DEADLY)) for address in ("a@x", "b@x", "c@x")
    ]
    assert [event for event in house.events if isinstance(event, Held)] == [
        Held(message_id=poison, route="default", recipients=3, why=why_held(DEADLY))
    ]
    assert house.outcomes() == {"delivered": 1, "held": 3}


async def test_a_worker_that_is_never_idle_makes_room(house: House, autojump_clock: MockClock) -> None:
    """Where there is always something under way it is let end for the sake of a suspect."""
    house.enqueue("suspect@x")
    die(house, SUSPECT)
    for n in range(60):
        house.enqueue(f"u{n}@x")
    house.spool = watched = Watched(house)  # type: ignore[assignment]
    order: list[str] = []
    async with sink(delays={"final": 1.0}) as (running, inbox):
        _note(inbox, order)
        await house.drain(running, sessions=2, adapt=False, recipients=1, mode="lockstep")
    assert watched.alone == [(1, 0)]
    assert sorted(order) == sorted(["suspect@x", *(f"u{n}@x" for n in range(60))])


async def test_what_does_not_end_is_not_waited_for(house: House, autojump_clock: MockClock) -> None:
    """One slow transaction does not stop a worker for the sake of a suspect for as long as it likes."""
    house.enqueue("slow@x")
    house.enqueue("suspect@x")
    async with sink(delays={"final": 100.0}) as (slow, _), sink() as (running, _inbox):
        worker = house.worker({"default": route_to(running, slow, balance="round-robin", adapt=False)})
        die(house, SUSPECT)
        for n in range(30):
            house.enqueue(f"u{n}@x")
        await worker.run()
        assert clock() - EPOCH < 3600 * 1_000_000
    assert house.outcomes() == {"delivered": 32}


async def test_a_suspect_behind_a_dead_route(house: House, autojump_clock: MockClock) -> None:
    """It waits for its route like all other mail, and a drain ends without it."""
    house.enqueue("a@x")
    die(house, SUSPECT)
    async with sink(greeting="421 no") as (running, _):
        await house.drain(running, until_empty=False)
    assert house.store.left() == 1
    async with sink() as (running, inbox):
        await house.drain(running)
    assert inbox.copies == {"a@x": 1}


def _note(inbox: Inbox, order: list[str]) -> None:
    """Write down in which order recipients are delivered."""
    real = inbox.deliver

    async def deliver(letter: object, sender: str, recipients: list[str]) -> list[bool]:
        order.extend(recipients)
        return await real(letter, sender, recipients)  # type: ignore[arg-type]

    inbox.deliver = deliver  # type: ignore[method-assign,assignment]


async def test_a_suspect_that_waits_for_a_slow_pace_keeps_no_worker(
    house: House, autojump_clock: MockClock
) -> None:
    """Asked to stop, a drain of one recipient a minute does not wait for its next."""
    house.enqueue("a@x")
    die(house, SUSPECT)
    async with sink() as (running, _), trio.open_nursery() as nursery:
        worker = house.worker({"default": route_to(running)}, until_empty=True, pace=Pace(1 / 60))
        nursery.start_soon(worker.run)
        await trio.sleep(90)  # it was claimed, and set aside
        began = trio.current_time()
        worker.stop()
    assert trio.current_time() - began < 10
