"""Any history of what workers, intake and people do, held against a model in plain Python.

The model knows the queue as a dictionary and the ledger as a list, and decides every result by the rules as
the architecture states them. After each step the rows must be the model's and the tallies must be the rows'.
Histories come from seeded chance: every step is likely to meet something to act upon, and a seed plays again.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest

from spooler.claim import Want
from spooler.command import Command, Order
from spooler.envelope import NewRecipient, Priority
from spooler.records import SettleReport
from spooler.reply import Stage
from spooler.result import Outcome, RecipientResult
from tests.spool.making import NOW, SECOND, ask, check_tallies, message

if TYPE_CHECKING:
    from spooler.spool.store import Store

Key = tuple[int, int]
ROUTES = ("one", "two")
LIFETIME = 1000 * SECOND
ENDED = ("delivered", "failed", "expired", "removed")


@dataclass(slots=True)
class Row:
    """A queued recipient."""

    route: str
    due: int
    expires: int
    not_before: int
    attempts: int = 0
    claims: int = 0
    lease: int | None = None
    held: bool = False
    uncertain: bool = False


@dataclass(slots=True)
class Model:
    """What ought to be."""

    queue: dict[Key, Row] = field(default_factory=dict)
    ledger: dict[tuple[int, int, int, int], tuple[str, bool]] = field(default_factory=dict)
    workers: dict[int, int] = field(default_factory=dict)  # and the store of each
    paused: set[str] = field(default_factory=set)

    def claimable(self, route: str, now: int) -> set[Key]:
        """What may be claimed."""
        return {
            key
            for key, row in self.queue.items()
            if row.route == route
            and route not in self.paused
            and row.due <= now
            and row.lease is None
            and not row.held
        }

    def settle(self, worker: int, result: RecipientResult) -> str:
        """Take a result: "settled", "fact" (without the lease), "late" or "repeat"."""
        key = (result.message_id, result.n)
        record = (*key, result.at, worker)
        if record in self.ledger:
            return "repeat"
        row = self.queue.get(key)
        ours = row is not None and row.lease == worker and row.attempts < result.attempt
        late = row is None or not (ours or result.outcome is Outcome.DELIVERED)
        self.ledger[record] = (result.outcome.value, late)
        if late or row is None:
            return "late"
        if result.outcome is not Outcome.DEFERRED:
            del self.queue[key]
            return "settled" if ours else "fact"
        row.lease, row.due, row.attempts = None, result.due, result.attempt
        row.claims = row.attempts  # whatever its workers died of before, it was not this
        row.uncertain = row.uncertain or result.uncertain
        return "settled"


class History:
    """Two processes on one spool, and the model."""

    def __init__(self, stores: list[Store], rng: random.Random) -> None:
        self.stores = stores
        self.rng = rng
        self.model = Model()
        self.now = NOW
        self.results: list[tuple[int, RecipientResult]] = []  # every result that was ever made, by its worker
        self.open: list[tuple[int, Key, str, int]] = []  # claimed, not settled: worker, key, route, attempt
        self.met: set[str] = set()  # what came about, to see that a history is worth anything

    def run(self, steps: int) -> None:
        """Do this and that, and look after each."""
        weights = {
            self.register: 2,
            self.enqueue: 6,
            self.claim: 10,
            self.settle: 10,
            self.replay: 2,
            self.release: 3,
            self.rescue: 3,
            self.leave: 1,
            self.steer: 6,
            self.pause: 1,
            self.wait: 5,
            self.expire: 2,
            self.sweep: 2,
        }
        for step in self.rng.choices(list(weights), list(weights.values()), k=steps):
            self.now += 1  # no two things happen in the same microsecond
            step()
            self.check()

    def register(self) -> None:
        """A worker comes."""
        which = self.rng.randrange(2)
        self.model.workers[self.stores[which].register(host="h", pid=1, now=self.now)] = which

    def enqueue(self) -> None:
        """A message comes."""
        routes = self.rng.choices(ROUTES, k=self.rng.randint(1, 6))
        priority = self.rng.choice(list(Priority))
        due = self.now + self.rng.choice([0, 0, 5 * SECOND])
        new = message(
            *(NewRecipient(address=f"u{n}@example.org", route=route) for n, route in enumerate(routes)),
            priority=priority,
            not_before=due,
            expires=self.now + LIFETIME,
        )
        (answer,) = self.rng.choice(self.stores).enqueue([new], now=self.now)
        for n, route in enumerate(routes):
            self.model.queue[answer.id, n] = Row(route, due, self.now + LIFETIME, due)

    def claim(self) -> None:
        """A worker claims: as much as it wants of what there is, and nothing else."""
        if not self.model.workers:
            return
        worker = self.rng.choice(sorted(self.model.workers))
        may = {route: self.model.claimable(route, self.now) for route in ROUTES}
        wants = [Want(route, self.rng.randint(1, 5)) for route in ROUTES]
        claims = self.stores[self.model.workers[worker]].claim(worker, wants, now=self.now)
        taken: dict[str, set[Key]] = {route: set() for route in ROUTES}
        for c in claims:
            for r in c.recipients:
                key = (c.message_id, r.n)
                row = self.model.queue[key]
                assert key not in taken[c.route]
                assert (r.attempts, r.claims, r.due) == (row.attempts, row.claims + 1, row.due)
                taken[c.route].add(key)
                row.lease = worker
                row.claims += 1
                self.open.append((worker, key, c.route, r.attempts + 1))
                self.met.add("claimed again" if r.claims > 1 else "claimed")
        for want in wants:
            assert taken[want.route] <= may[want.route]
            assert len(taken[want.route]) == min(want.limit, len(may[want.route]))

    def settle(self) -> None:
        """Results come, now and then twice, perhaps of a worker that was declared dead meanwhile."""
        worker, chosen = self.pick_open()
        batch = []
        for _, (message_id, n), route, attempt in chosen:
            outcome = self.rng.choice([*Outcome, Outcome.DEFERRED])
            batch.append(
                RecipientResult(
                    message_id=message_id,
                    n=n,
                    address="a@example.org",
                    route=route,
                    attempt=attempt,
                    at=self.now,
                    outcome=outcome,
                    stage=Stage.FINAL,
                    uncertain=outcome is Outcome.DEFERRED and self.rng.random() < 0.3,
                    due=self.now + 3 * SECOND,
                )
            )
        self.results += [(worker, result) for result in batch]
        self.settle_batch(worker, batch)
        if self.rng.random() < 0.2:
            self.settle_batch(worker, batch)

    def replay(self) -> None:
        """Old results come again, as from a journal, several attempts of one recipient in a batch."""
        if self.results:
            worker = self.rng.choice(self.results)[0]
            self.settle_batch(worker, [result for by, result in self.results if by == worker])

    def settle_batch(self, worker: int, batch: list[RecipientResult]) -> None:
        """Settle, in the store and in the model."""
        expected = [self.model.settle(worker, result) for result in batch]
        self.met.update(expected)
        store = self.stores[self.model.workers.get(worker, 0)]
        report = store.settle(worker, batch, now=self.now)
        assert report == SettleReport(
            sum(word in ("settled", "fact") for word in expected), expected.count("late")
        )

    def release(self) -> None:
        """A worker gives back what it did not try."""
        worker, chosen = self.pick_open()
        expected = 0
        for _, key, _, _ in chosen:
            row = self.model.queue.get(key)
            if row is not None and row.lease == worker:
                row.lease = None
                row.claims -= 1
                expected += 1
        store = self.stores[self.model.workers.get(worker, 0)]
        assert store.release(worker, [entry[1] for entry in chosen], due=0) == expected

    def rescue(self) -> None:
        """A worker is declared dead by somebody; it may not be."""
        if not self.model.workers:
            return
        worker = self.rng.choice(sorted(self.model.workers))
        uncertain = self.rng.random() < 0.5
        due = self.now + 2 * SECOND
        expected = 0
        for key, row in self.model.queue.items():
            if row.lease == worker:
                expected += 1
                row.lease, row.due = None, due
                if uncertain:
                    row.attempts += 1
                    row.claims += 1  # so that claims and attempts differ by the workers that died
                    row.uncertain = True
                    self.model.ledger[*key, self.now, 0] = ("deferred", False)
                self.met.add("rescued")
        rescuer = self.rng.choice(self.stores)
        assert rescuer.rescue(worker, now=self.now, due=due, uncertain=uncertain) == expected
        del self.model.workers[worker]

    def leave(self) -> None:
        """A worker leaves, in good order or with something still in its hands."""
        if not self.model.workers:
            return
        worker = self.rng.choice(sorted(self.model.workers))
        self.stores[self.model.workers.pop(worker)].unregister(worker, now=self.now)
        for row in self.model.queue.values():
            if row.lease == worker:
                row.lease = None
                row.claims -= 1

    def steer(self) -> None:
        """A person does something with some of what is queued, whatever workers have in hand."""
        if not self.model.queue:
            return
        queued = sorted(self.model.queue)
        command = self.rng.choices(list(Command), [4, 4, 3, 2, 1, 1])[0]
        rows = self.model.queue  # few of them are such as a command finds most worth trying
        if command is Command.RETRY:
            queued = [key for key in queued if rows[key].due > self.now] or queued
        elif command is Command.HOLD:
            queued = [key for key in queued if rows[key].lease is not None] or queued
        keys = self.rng.sample(queued, self.rng.randint(1, min(5, len(queued))))
        order = Order(command=command, who="alice", why="a test", route=self.rng.choice(ROUTES))
        steered = self.rng.choice(self.stores).steer(order, keys, now=self.now)
        changed = {key for key in keys if self.obey(order, key)}
        assert sum(group.count for group in steered.done) == len(changed)
        assert sum(steered.passed.values()) + len(steered.again) == len(keys) - len(changed)
        if changed:
            self.met.add(command.value)

    def obey(self, order: Order, key: Key) -> bool:
        """Do it in the model; whether anything was to be done."""
        row = self.model.queue[key]
        leased = row.lease is not None
        match order.command:
            case Command.HOLD:
                right = not row.held
                if right and leased:
                    self.met.add("held on its way")
                row.held = True
            case Command.RELEASE:
                right = row.held
                if right:
                    row.claims = row.attempts + leased
                row.held = False
            case Command.RETRY:
                right = not leased and not row.held and row.not_before <= self.now < row.due
                row.due = self.now if right else row.due
            case Command.REROUTE:
                right = not leased and row.route != order.route
                row.route = order.route if right else row.route
            case _:
                right = not leased
                if right:
                    del self.model.queue[key]
        if right:
            self.model.ledger[*key, self.now, 0] = (order.command.value, False)
        return right

    def pause(self) -> None:
        """A person pauses a route, or lets it go on."""
        route = self.rng.choice(ROUTES)
        store = self.rng.choice(self.stores)
        if route in self.model.paused:
            self.model.paused.remove(route)
            assert store.resume(route)
        else:
            self.model.paused.add(route)
            assert store.pause(route, who="alice", why="", now=self.now)
            self.met.add("paused")

    def wait(self) -> None:
        """Time passes; seldom much."""
        self.now += self.rng.choices([1, 3, 10, 2000], [4, 4, 2, 0.4])[0] * SECOND

    def expire(self) -> None:
        """What is over its time ends; at most so many, so not everything."""
        limit = self.rng.randint(1, 50)
        over = {
            key
            for key, row in self.model.queue.items()
            if row.expires <= self.now and row.lease is None and not row.held
        }
        ended = self.stores[0].expire(routes=None, now=self.now, limit=limit)
        gone = set(self.model.queue) - self.queued().keys()
        assert gone <= over
        assert len(gone) == ended <= limit
        for key in gone:
            del self.model.queue[key]
            self.model.ledger[*key, self.now, 0] = ("expired", False)
            self.met.add("expired in the queue")

    def sweep(self) -> None:
        """Contents that nobody needs go; those that somebody needs are there."""
        store = self.rng.choice(self.stores)
        store.sweep(now=self.now, limit=100)
        needed = {message_id for message_id, _ in self.model.queue}
        assert set(store.contents(sorted(needed))) == needed

    def pick_open(self) -> tuple[int, list[tuple[int, Key, str, int]]]:
        """Take some of what one worker has claimed; that may be nothing."""
        if not self.open:
            return 1, []
        worker = self.rng.choice(self.open)[0]
        mine = [entry for entry in self.open if entry[0] == worker]
        chosen = self.rng.sample(mine, self.rng.randint(1, len(mine)))
        self.open = [entry for entry in self.open if entry not in chosen]
        return worker, chosen

    def check(self) -> None:
        """Hold queue, ledger and tallies against the model, row by row; nobody has ended twice."""
        assert self.queued() == {
            key: (row.route, row.due, row.attempts, row.claims, row.lease, row.held, row.uncertain)
            for key, row in self.model.queue.items()
        }
        rows = ask(self.stores[0], "SELECT message_id, n, at, worker, outcome, late FROM attempt")
        assert {row[:4]: (row[4], bool(row[5])) for row in rows} == self.model.ledger
        ended = [row[:2] for row in rows if row[4] in ENDED and not row[5]]
        assert len(ended) == len(set(ended))
        assert not set(ended) & set(self.model.queue)
        check_tallies(self.stores[0])

    def queued(self) -> dict[Key, tuple[Any, ...]]:
        """The queue as it is."""
        rows = ask(
            self.stores[0],
            "SELECT message_id, n, route, due, attempts, claims, lease, hold, may_be_delivered"
            " FROM recipient",
        )
        return {row[:2]: (*row[2:7], row[7] is not None, bool(row[8])) for row in rows}


@pytest.mark.parametrize("seed", range(4))
def test_any_history(store: Store, other: Store, seed: int) -> None:
    """Whatever happens, in whatever order: queue, ledger and tallies are what the rules say."""
    history = History([store, other], random.Random(seed))

    history.run(steps=800)

    assert history.met >= {
        "claimed",
        "claimed again",
        "settled",
        "fact",
        "late",
        "repeat",
        "rescued",
        "held on its way",
        "expired in the queue",
        "paused",
        *(command.value for command in Command),
    }
