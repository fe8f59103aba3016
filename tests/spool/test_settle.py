"""Settling: who has the right to end a recipient, and what happens to results without it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from msgspec.structs import replace

from spooler.errors import TryAgainError
from spooler.records import SettleReport
from spooler.reply import Stage
from spooler.result import Outcome, RecipientResult
from spooler.spool import schema, settling
from spooler.spool.connect import RepeatTransaction
from tests.spool.making import (
    DUE,
    MINUTE,
    SECOND,
    act,
    ask,
    claim,
    counts,
    message,
    put,
    results,
    worker,
)

if TYPE_CHECKING:
    from spooler.records import LedgerEntry
    from spooler.spool.store import Store

LATER = DUE + MINUTE


@pytest.mark.parametrize("outcome", [Outcome.DELIVERED, Outcome.FAILED, Outcome.EXPIRED])
def test_ending(store: Store, outcome: Outcome) -> None:
    """A recipient that ended leaves the queue and enters the ledger, with everything that is known."""
    (ident,) = put(store)
    me = worker(store)
    (result,) = results(claim(store, me), outcome, waited=7, took=9)

    report = store.settle(me, [result], now=DUE + 1)

    assert report == SettleReport(1, 0)
    assert store.queued_of(ident) == []
    (entry,) = store.ledger_of(ident)
    assert (entry.message_id, entry.n, entry.at, entry.worker) == (ident, 0, DUE, me)
    assert (entry.address, entry.route, entry.attempt) == ("user@example.org", "default", 1)
    assert (entry.outcome, entry.uncertain, entry.late) == (outcome.value, False, False)
    assert (entry.stage, entry.code, entry.enhanced, entry.text) == ("final", 250, "2.0.0", "Saved")
    assert (entry.destination, entry.waited, entry.took) == ("unix:/lmtp", 7, 9)
    assert counts(store) == {outcome.value: 1}


def test_deferral(store: Store) -> None:
    """A deferred recipient stays, free, with its last reply and its next time."""
    (ident,) = put(store)
    me = worker(store)
    (result,) = results(
        claim(store, me), Outcome.DEFERRED, due=LATER, code=452, text="full", stage=Stage.RCPT
    )

    assert store.settle(me, [result], now=DUE) == SettleReport(1, 0)

    (queued,) = store.queued_of(ident)
    assert (queued.due, queued.attempts, queued.lease, queued.uncertain) == (LATER, 1, None, False)
    assert (queued.stage, queued.code, queued.text) == ("rcpt", 452, "full")
    assert counts(store) == {"deferred": 1, "deferrals": 1}


def test_uncertain_stays_uncertain(store: Store) -> None:
    """Once a recipient may have been delivered, no later certain deferral takes that back."""
    (ident,) = put(store)
    me = worker(store)
    store.settle(me, results(claim(store, me), Outcome.DEFERRED, due=LATER, uncertain=True), now=DUE)
    store.settle(me, results(claim(store, me, now=LATER), Outcome.DEFERRED, at=LATER), now=LATER)

    assert [r.uncertain for r in store.queued_of(ident)] == [True]
    assert [e.uncertain for e in store.ledger_of(ident)] == [True, False]


def test_mixed_batch(store: Store) -> None:
    """A batch of any outcomes on any routes is one transaction, and every recipient has its row."""
    (ident,) = put(store, message(*(f"u{i}@example.org" for i in range(2000))))
    me = worker(store)
    outcomes = list(Outcome)
    batch = [
        replace(result, outcome=outcomes[result.n % 4], due=LATER)
        for result in results(claim(store, me, limit=2000))
    ]

    assert store.settle(me, batch, now=DUE) == SettleReport(2000, 0)

    assert {e.n: e.outcome for e in store.ledger_of(ident)} == {r.n: r.outcome.value for r in batch}
    assert {r.n for r in store.queued_of(ident)} == {r.n for r in batch if r.outcome is Outcome.DEFERRED}
    assert counts(store) == {
        "delivered": 500,
        "failed": 500,
        "expired": 500,
        "deferred": 500,
        "deferrals": 500,
    }


@pytest.mark.parametrize("outcome", [Outcome.DELIVERED, Outcome.FAILED, Outcome.EXPIRED])
def test_many_that_ended_alike(store: Store, outcome: Outcome) -> None:
    """Recipients that ended alike have rows that differ in the recipient alone; those between stay."""
    (ident,) = put(store, message(*(f"u{i}@example.org" for i in range(40))))
    me = worker(store)
    batch = results(claim(store, me), outcome, waited=7, took=9)
    some = [r for r in batch if r.n not in (0, 11, 12, 39)]

    assert store.settle(me, some, now=DUE) == SettleReport(36, 0)

    assert [r.n for r in store.queued_of(ident)] == [0, 11, 12, 39]
    assert [(e.n, e.address) for e in store.ledger_of(ident)] == [(r.n, r.address) for r in some]
    (one,) = {anonymous(e) for e in store.ledger_of(ident)}
    assert (one.at, one.worker, one.route, one.attempt) == (DUE, me, "default", 1)
    assert (one.outcome, one.uncertain, one.late) == (outcome.value, False, False)
    assert (one.stage, one.code, one.enhanced, one.text) == ("final", 250, "2.0.0", "Saved")
    assert (one.destination, one.waited, one.took) == ("unix:/lmtp", 7, 9)
    assert counts(store) == {outcome.value: 36, "active": 4}
    assert store.settle(me, batch, now=DUE) == SettleReport(4, 0)


def anonymous(entry: LedgerEntry) -> LedgerEntry:
    """A ledger row as if it were of no recipient."""
    return replace(entry, n=-1, address="")


def test_many_that_ended_alike_of_an_older_claim(store: Store, other: Store) -> None:
    """What the same worker has claimed again meanwhile is not ended by what failed before."""
    (ident,) = put(store, message(*(f"u{i}@example.org" for i in range(10))))
    me = worker(store)
    batch = results(claim(store, me), Outcome.FAILED)
    deferred = replace(batch[3], outcome=Outcome.DEFERRED, at=DUE + 1, due=LATER)
    store.settle(me, [deferred], now=DUE)
    claim(store, me, now=LATER)

    assert store.settle(me, batch, now=LATER) == SettleReport(9, 1)

    assert [(r.n, r.lease, r.attempts) for r in other.queued_of(ident)] == [(3, me, 1)]


def test_already_in_the_ledger(store: Store) -> None:
    """A result that is recorded already changes nothing, even where its recipient is ours to end."""
    (ident,) = put(store, message(*(f"u{i}@example.org" for i in range(6))))
    me = worker(store)
    batch = results(claim(store, me))
    columns = ", ".join(c.name for c in schema.recipient.c)
    act(store, "CREATE TABLE kept AS SELECT * FROM recipient")
    store.settle(me, batch[:5], now=DUE)
    act(store, f"INSERT INTO recipient ({columns}) SELECT {columns} FROM kept WHERE n = 2")
    act(store, "UPDATE tally SET count = count + 1 WHERE state = 'active'")

    assert store.settle(me, batch, now=LATER) == SettleReport(1, 0)

    assert [(r.n, r.lease) for r in store.queued_of(ident)] == [(2, me)]
    assert len(store.ledger_of(ident)) == 6


def test_nothing(store: Store) -> None:
    """No results are no trouble."""
    assert store.settle(1, [], now=DUE) == SettleReport(0, 0)


@pytest.mark.parametrize("outcome", list(Outcome))
def test_repeat(store: Store, outcome: Outcome) -> None:
    """The same results again change nothing: the first answer may have been lost."""
    put(store, message("a@example.org", "b@example.org"))
    me = worker(store)
    batch = results(claim(store, me), outcome, due=LATER)
    store.settle(me, batch, now=DUE)
    before = (counts(store), ask(store, "SELECT * FROM recipient"), ask(store, "SELECT * FROM attempt"))

    assert store.settle(me, batch, now=LATER) == SettleReport(0, 0)

    assert before == (
        counts(store),
        ask(store, "SELECT * FROM recipient"),
        ask(store, "SELECT * FROM attempt"),
    )


def test_repeat_after_the_next_claim(store: Store) -> None:
    """A deferral that is repeated after the same worker claimed again does not end the new lease."""
    (ident,) = put(store)
    me = worker(store)
    batch = results(claim(store, me), Outcome.DEFERRED, due=LATER)
    store.settle(me, batch, now=DUE)
    claim(store, me, now=LATER)

    assert store.settle(me, batch, now=LATER) == SettleReport(0, 0)

    assert [(r.lease, r.attempts) for r in store.queued_of(ident)] == [(me, 1)]


def test_two_attempts_in_a_batch(store: Store) -> None:
    """A replayed journal may hold several attempts of a recipient: they are settled in order."""
    (ident,) = put(store)
    me = worker(store)
    first = results(claim(store, me), Outcome.DEFERRED, due=LATER)
    store.settle(me, first, now=DUE)
    second = results(claim(store, me, now=LATER), Outcome.FAILED, at=LATER)

    assert store.settle(me, [*first, *second, *second], now=LATER) == SettleReport(1, 0)

    assert [e.outcome for e in store.ledger_of(ident)] == ["deferred", "failed"]
    assert store.queued_of(ident) == []


def taken_over(store: Store, other: Store) -> tuple[int, int, list[RecipientResult]]:
    """A recipient that a rescue took from one worker, and another has claimed; the first one's result."""
    (ident,) = put(store)
    me = worker(store)
    mine = results(claim(store, me))
    other.rescue(me, now=DUE, due=LATER, uncertain=False)
    them = worker(other)
    claim(other, them, now=LATER)
    return ident, them, mine


def test_delivered_is_a_fact(store: Store, other: Store) -> None:
    """A final 2xx removes the recipient whoever holds it; the other holder's result is late, no ending."""
    ident, them, mine = taken_over(store, other)
    theirs = [replace(mine[0], outcome=Outcome.FAILED, at=LATER)]

    assert store.settle(mine[0].n, mine, now=LATER) == SettleReport(1, 0)
    assert store.queued_of(ident) == []
    assert other.settle(them, theirs, now=LATER) == SettleReport(0, 1)

    assert [(e.outcome, e.late) for e in store.ledger_of(ident)] == [("delivered", False), ("failed", True)]
    assert counts(store) == {"delivered": 1, "late": 1}


def test_delivered_while_nobody_holds_it(store: Store, other: Store) -> None:
    """A final 2xx also removes a recipient that waits to be claimed again."""
    (ident,) = put(store)
    me = worker(store)
    mine = results(claim(store, me))
    other.rescue(me, now=DUE, due=LATER, uncertain=True)

    assert store.settle(me, mine, now=LATER) == SettleReport(1, 0)

    assert store.queued_of(ident) == []
    assert counts(store) == {"delivered": 1, "deferrals": 1, "uncertain": 1}


def test_delivered_twice(store: Store, other: Store) -> None:
    """Two workers that both delivered: one ending, the other is late."""
    ident, them, mine = taken_over(store, other)
    theirs = [replace(mine[0], at=LATER)]

    assert other.settle(them, theirs, now=LATER) == SettleReport(1, 0)
    assert store.settle(1, mine, now=LATER) == SettleReport(0, 1)

    assert [e.late for e in store.ledger_of(ident)] == [True, False]


@pytest.mark.parametrize("outcome", [Outcome.DEFERRED, Outcome.FAILED, Outcome.EXPIRED])
def test_late_result_is_no_ending(store: Store, other: Store, outcome: Outcome) -> None:
    """Anything but a 2xx without the lease changes nothing but the ledger."""
    ident, them, mine = taken_over(store, other)
    late = [replace(mine[0], outcome=outcome, due=LATER)]

    assert store.settle(1, late, now=LATER) == SettleReport(0, 1)
    assert store.settle(1, late, now=LATER) == SettleReport(0, 0)

    assert [(r.lease, r.attempts, r.claims) for r in store.queued_of(ident)] == [(them, 0, 2)]
    assert [(e.outcome, e.late) for e in store.ledger_of(ident)] == [(outcome.value, True)]
    assert ask(store, "SELECT count(*) FROM notice") == [(0,)]


@pytest.mark.parametrize("outcome", list(Outcome))
def test_removed_stays_removed(store: Store, outcome: Outcome) -> None:
    """What a person removed while it was on its way does not come back, whatever came of it."""
    (ident,) = put(store)
    me = worker(store)
    batch = results(claim(store, me), outcome, due=LATER)
    act(store, "DELETE FROM recipient")
    act(store, "UPDATE tally SET count = 0 WHERE state = 'active'")

    assert store.settle(me, batch, now=DUE) == SettleReport(0, 1)

    assert store.queued_of(ident) == []
    assert [e.late for e in store.ledger_of(ident)] == [True]


def test_held_on_its_way(store: Store) -> None:
    """A recipient that a person held while it was on its way is held when it was deferred."""
    (ident,) = put(store, message("a@example.org", "b@example.org"))
    me = worker(store)
    batch = results(claim(store, me), Outcome.DEFERRED, due=LATER)
    act(store, "UPDATE recipient SET hold = 'by hand' WHERE n = 1")

    assert store.settle(me, batch, now=DUE) == SettleReport(2, 0)

    assert [(r.state, r.attempts, r.lease) for r in store.queued_of(ident)] == [
        ("deferred", 1, None),
        ("held", 1, None),
    ]
    assert counts(store) == {"deferred": 1, "held": 1, "deferrals": 2}


def test_one_misfit_spoils_nothing(store: Store) -> None:
    """One result without right among many leaves the others as good as they are."""
    (ident,) = put(store, message(*(f"u{i}@example.org" for i in range(50))))
    me = worker(store)
    batch = results(claim(store, me))
    store.settle(me, batch[:1], now=DUE)
    late = [replace(batch[0], at=LATER)]

    assert store.settle(me, late + batch, now=LATER) == SettleReport(49, 1)

    assert store.queued_of(ident) == []
    assert len(store.ledger_of(ident)) == 51


def test_rows_that_change_meanwhile(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """If rows change between looking and acting the transaction starts again, and gives up in the end."""
    (ident,) = put(store)
    me = worker(store)
    batch = results(claim(store, me))
    real = settling._settle_each
    calls = []

    def misled(*args: object) -> settling.Settled:
        calls.append(1)
        raise RepeatTransaction

    monkeypatch.setattr(settling, "_settle_all", misled)
    monkeypatch.setattr(settling, "_settle_each", misled)
    with pytest.raises(TryAgainError, match="others keep changing"):
        store.settle(me, batch, now=DUE)
    assert len(calls) == 5
    assert store.queued_of(ident)[0].lease == me

    monkeypatch.setattr(settling, "_settle_each", real)
    assert store.settle(me, batch, now=DUE) == SettleReport(1, 0)


def test_awkward_texts(store: Store) -> None:
    """Text that no database takes is stored without what is wrong with it."""
    (ident,) = put(store)
    me = worker(store)
    batch = results(claim(store, me), Outcome.DEFERRED, text="a\0b\udc80 ü", due=LATER + SECOND)

    store.settle(me, batch, now=DUE)

    (entry,) = store.ledger_of(ident)
    assert entry.text == "ab\\udc80 ü"
