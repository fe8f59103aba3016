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
from spooler.envelope import NewRecipient, Priority
from spooler.records import SettleReport
from spooler.reply import Stage
from spooler.result import Outcome, RecipientResult
from tests.spool.making import NOW, SECOND, act, ask, check_tallies, message

if TYPE_CHECKING:
    from spooler.spool.store import Store

Key = tuple[int, int]
ROUTES = ("one", "two")
LIFETIME = 1000 * SECOND


@dataclass(slots=True)
class Row:
    """A queued recipient."""

    route: str
    due: int
    expires: int
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

    def claimable(self, route: str, now: int) -> set[Key]:
        """What may be claimed."""
        return {
            key
            for key, row in self.queue.items()
            if row.route == route and row.due <= now and row.lease is None and not row.held
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
            self.hold: 3,
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
            self.model.queue[answer.id, n] = Row(route, due, self.now + LIFETIME)

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

    def hold(self) -> None:
        """A person holds a recipient, or lets it go; tallies follow, as that command will make them."""
        if not self.model.queue:
            return
        key = self.rng.choice(sorted(self.model.queue))
        row = self.model.queue[key]
        row.held = not row.held
        act(
            self.stores[0],
            "UPDATE recipient SET hold = :hold WHERE message_id = :m AND n = :n",
            hold="x" if row.held else None,
            m=key[0],
            n=key[1],
        )
        if row.lease is None:
            sign = 1 if row.held else -1
            for state, change in (("held", sign), ("deferred" if row.attempts else "waiting", -sign)):
                act(
                    self.stores[0],
                    "INSERT INTO tally VALUES (1, :route, :state, :change)"
                    " ON CONFLICT (writer, route, state) DO UPDATE SET count = tally.count + excluded.count",
                    route=row.route,
                    state=state,
                    change=change,
                )
        else:
            self.met.add("held on its way")

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
        ended = [row[:2] for row in rows if row[4] != "deferred" and not row[5]]
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
    }
