"""Workers and their leases: beats, release, rescue, leaving."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

import pytest

from spooler.ident import format_id
from spooler.records import WorkerRow
from spooler.result import Outcome
from spooler.spool import leasing, rescuing
from spooler.worker_standing import WorkerStanding, encode
from tests.spool.making import (
    DUE,
    MINUTE,
    NOW,
    SECOND,
    act,
    ask,
    claim,
    counts,
    keys,
    message,
    put,
    results,
    worker,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from sqlalchemy import Connection

    from spooler.spool.store import Store

T = TypeVar("T")

LATER = DUE + MINUTE


def test_beat(store: Store, other: Store) -> None:
    """A beat counts up and is seen by others."""
    me = store.register(host="here", pid=7, now=NOW)

    assert store.beat(me, now=NOW + SECOND)
    assert store.beat(me, now=NOW + 2 * SECOND)

    assert other.workers() == [
        WorkerRow(id=me, host="here", pid=7, started=NOW, beat=2, beat_at=NOW + 2 * SECOND)
    ]


def test_standing(store: Store, other: Store) -> None:
    """What a worker publishes is there for others until it leaves; a beat without it changes nothing."""
    me = worker(store)
    standing = WorkerStanding(at=NOW, version="1", routes={}, destinations={}, backlog=3)
    assert other.standings() == {}

    assert store.beat(me, now=NOW, standing=encode(standing))
    assert store.beat(me, now=NOW)
    assert other.standings() == {me: standing}
    assert store.beat(me, now=NOW, standing='{"of": "another version"}')
    assert other.standings() == {}
    store.unregister(me, now=NOW)
    assert other.standings() == {}


def test_unregister(store: Store) -> None:
    """A worker that leaves is gone, and a beat of it says so."""
    me = worker(store)
    store.unregister(me, now=NOW)

    assert store.workers() == []
    assert not store.beat(me, now=NOW)


def test_ids_are_new(store: Store) -> None:
    """No worker gets the id of another, however fast they come and go."""
    ids = []
    for _ in range(5):
        ids.append(worker(store))
        store.unregister(ids[-1], now=NOW)

    assert len(set(ids)) == 5


def test_release(store: Store) -> None:
    """What was not tried is given back as it was, and the claim does not count."""
    (ident,) = put(store, message("a@example.org", "b@example.org"))
    me = worker(store)
    claims = claim(store, me)

    assert store.release(me, [*keys(claims)[:1], *keys(claims)[:1]], due=0) == 1

    assert [(r.lease, r.claims, r.attempts, r.due) for r in store.queued_of(ident)] == [
        (None, 0, 0, NOW),
        (me, 1, 0, NOW),
    ]
    assert counts(store) == {"waiting": 1, "active": 1}
    assert store.release(me, [], due=0) == 0


def test_release_only_ones_own(store: Store) -> None:
    """Nobody can release what another worker holds."""
    put(store)
    me, them = worker(store), worker(store)
    claims = claim(store, me)

    assert store.release(them, keys(claims), due=0) == 0

    assert counts(store) == {"active": 1}


def test_release_of_deferred_and_held(store: Store) -> None:
    """What is given back counts as what it is: deferred, or held."""
    put(store, message("a@example.org", "b@example.org"))
    me = worker(store)
    store.settle(me, results(claim(store, me), Outcome.DEFERRED, due=LATER), now=DUE)
    claims = claim(store, me, now=LATER)
    act(store, "UPDATE recipient SET hold = 'by hand' WHERE n = 1")

    assert store.release(me, keys(claims), due=0) == 2

    assert counts(store) == {"deferred": 1, "held": 1, "deferrals": 2}


def test_leaving_releases(store: Store) -> None:
    """A worker that leaves while it still holds something gives it back."""
    put(store, *(message(*(f"u{i}@example.org" for i in range(700))) for _ in range(3)))
    me = worker(store)
    claim(store, me, limit=2000)

    store.unregister(me, now=DUE)

    assert counts(store) == {"waiting": 2100}
    assert len(keys(claim(store, worker(store), limit=3000))) == 2100


def test_rescue_safe(store: Store, other: Store) -> None:
    """A dead worker's recipients that were surely not sent are due again, and nothing else changed."""
    (ident,) = put(store)
    me = worker(store)
    claim(store, me)

    assert other.rescue(me, now=DUE, due=LATER, uncertain=False) == 1

    (queued,) = store.queued_of(ident)
    assert (queued.lease, queued.due, queued.attempts, queued.claims) == (None, LATER, 0, 1)
    assert not queued.uncertain
    assert store.ledger_of(ident) == []
    assert store.workers() == []
    assert not store.beat(me, now=LATER)


def test_rescue_uncertain(store: Store, other: Store) -> None:
    """Where nobody knows, it counts as an attempt that may have delivered, and the ledger says so."""
    (ident,) = put(store)
    me = worker(store)
    claim(store, me)

    assert other.rescue(me, now=DUE, due=LATER, uncertain=True) == 1

    (queued,) = store.queued_of(ident)
    assert (queued.lease, queued.due, queued.attempts, queued.uncertain) == (None, LATER, 1, True)
    (entry,) = store.ledger_of(ident)
    assert (entry.outcome, entry.uncertain, entry.attempt, entry.stage) == ("deferred", True, 1, "final")
    assert entry.text == f"worker {format_id(me)} stopped before it recorded a result"
    assert counts(store) == {"deferred": 1, "deferrals": 1, "uncertain": 1}


def test_rescue_of_many(store: Store, other: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """A rescue goes through the queue in small transactions, finds everything, and leaves others alone."""
    monkeypatch.setattr(leasing, "PAGE", 10)
    put(store, *(message(*(f"u{i}@example.org" for i in range(20))) for _ in range(5)))
    me, them = worker(store), worker(store)
    taken = [claim(store, who, limit=7) for who in (me, them) * 7]
    mine = sum(len(keys(claims)) for claims in taken[::2])

    assert other.rescue(me, now=DUE, due=LATER, uncertain=True) == mine
    assert other.rescue(me, now=DUE, due=LATER, uncertain=True) == 0

    assert counts(store)["active"] == 100 - mine - counts(store).get("waiting", 0)


def test_rescue_of_held(store: Store) -> None:
    """What a person held while it was on its way stays held through a rescue."""
    put(store)
    me = worker(store)
    claim(store, me)
    act(store, "UPDATE recipient SET hold = 'by hand'")

    store.rescue(me, now=DUE, due=LATER, uncertain=True)

    assert counts(store) == {"held": 1, "deferrals": 1, "uncertain": 1}


def test_rescue_goes_on(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """A rescue that died half-way is begun again by the next: the worker's row goes last."""
    put(store, message("a@example.org", "b@example.org"))
    me = worker(store)
    claim(store, me)
    with monkeypatch.context() as patch:
        patch.setattr(rescuing, "_take_safe", lambda *_, **__: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            store.rescue(me, now=DUE, due=LATER, uncertain=False)

    assert [row.id for row in store.workers()] == [me]
    assert not store.beat(me, now=DUE)
    assert store.rescue(me, now=DUE, due=LATER, uncertain=False) == 2


def test_tallies_are_folded(store: Store) -> None:
    """What a worker counted is kept when it leaves, in a row that others share."""
    put(store)
    me = worker(store)
    store.settle(me, results(claim(store, me)), now=DUE)
    assert ask(store, "SELECT count(*) FROM tally WHERE writer = :me", me=me) != [(0,)]

    store.unregister(me, now=DUE)

    assert ask(store, "SELECT count(*) FROM tally WHERE writer = :me", me=me) == [(0,)]
    assert counts(store) == {"delivered": 1}


def test_doubtful_claim_is_given_back(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """A claim whose commit happened but was not acknowledged is given back before the next one."""
    put(store, message("a@example.org", "b@example.org"))
    me = worker(store)
    real = store._db.write

    def lossy(
        work: Callable[[Connection], T],
        *,
        in_doubt: Callable[[T], object] | None = None,
        durable: bool = True,
    ) -> T:
        result = real(work, durable=durable)
        if in_doubt is not None:
            in_doubt(result)
            raise ConnectionError
        return result

    with monkeypatch.context() as patch:
        patch.setattr(store._db, "write", lossy)
        with pytest.raises(ConnectionError):
            claim(store, me)
    assert counts(store) == {"active": 2}

    assert [r.claims for c in claim(store, me) for r in c.recipients] == [1, 1]

    store.unregister(me, now=DUE)
    assert counts(store) == {"waiting": 2}
