"""Uncertain attempts in the spool: recorded, counted, tried again later or held, on both databases."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from spooler.claim import Want
from spooler.envelope import NewRecipient
from spooler.records import QueueFilter, SettleReport, State
from spooler.result import HOLD_UNCERTAIN, Doubtful, Outcome
from tests.spool.making import DAY, DUE, MINUTE, claim, counts, keys, message, put, results, worker

if TYPE_CHECKING:
    from spooler.spool.store import Store

LATER = DUE + MINUTE
DOUBTFUL = {"careful": Doubtful(LATER + MINUTE, HOLD_UNCERTAIN), "bold": Doubtful(LATER)}


def on_three_routes(store: Store) -> int:
    """Put a message to one recipient on each of three routes."""
    routes = ("careful", "bold", "unknown")
    (ident,) = put(store, message(*(NewRecipient(address=f"{route}@x", route=route) for route in routes)))
    return ident


def stands(store: Store, ident: int) -> dict[str, tuple[str, str | None, int, bool]]:
    """Where each recipient stands: state, hold, due, uncertain."""
    return {r.route: (r.state.value, r.hold, r.due, r.uncertain) for r in store.queued_of(ident)}


def test_a_result_that_holds(store: Store) -> None:
    """It is out of reach of claims until it is released, whatever else came with it."""
    (ident,) = put(store, message("a@x", "b@x", "c@x"))
    me = worker(store)
    batch = results(claim(store, me), Outcome.DEFERRED, due=LATER, uncertain=True, hold=HOLD_UNCERTAIN)
    certain = results(claim(store, me), Outcome.DEFERRED, due=LATER)
    assert certain == []

    assert store.settle(me, batch[:2], now=DUE) == SettleReport(2, 0)
    assert store.settle(me, batch, now=DUE) == SettleReport(1, 0)

    assert counts(store) == {"held": 3, "deferrals": 3, "uncertain": 3}
    found = store.queue(filter=QueueFilter(uncertain=True, state=State.HELD), limit=9)
    assert [(r.address, r.hold, r.attempts, r.lease) for r in found] == [
        (address, HOLD_UNCERTAIN, 1, None) for address in ("a@x", "b@x", "c@x")
    ]
    assert claim(store, me, now=DUE + 9 * DAY) == []
    assert store.left() == 0
    assert store.next_due(["default"], now=DUE) is None
    assert [entry.uncertain for entry in store.ledger_of(ident)] == [True] * 3


def test_one_that_holds_among_others(store: Store) -> None:
    """In one batch each goes its own way."""
    (ident,) = put(store, message("a@x", "b@x", "c@x"))
    me = worker(store)
    claims = claim(store, me)
    held, certain, doubtful = (
        results(claims, Outcome.DEFERRED, due=LATER, uncertain=uncertain, hold=hold)[n]
        for n, (uncertain, hold) in enumerate([(True, HOLD_UNCERTAIN), (False, ""), (True, "")])
    )
    assert store.settle(me, [held, certain, doubtful], now=DUE) == SettleReport(3, 0)
    assert [(r.state, r.uncertain) for r in store.queued_of(ident)] == [
        ("held", True),
        ("deferred", False),
        ("deferred", True),
    ]
    assert counts(store) == {"held": 1, "deferred": 2, "deferrals": 3, "uncertain": 2}


@pytest.mark.parametrize("journal", [False, True])
def test_what_a_dead_worker_left(store: Store, other: Store, *, journal: bool) -> None:
    """Each route's policy holds, and for a route that is not known the general time."""
    ident = on_three_routes(store)
    me = worker(store)
    claims = store.claim(me, [Want(route, 9) for route in ("careful", "bold", "unknown")], now=DUE)
    if journal:
        taken = other.doubt(me, keys(claims), now=DUE, due=DUE + 9, doubtful=DOUBTFUL)
    else:
        taken = other.rescue(me, now=DUE, due=DUE + 9, uncertain=True, doubtful=DOUBTFUL)
    assert taken == 3
    assert stands(store, ident) == {
        "careful": ("held", HOLD_UNCERTAIN, LATER + MINUTE, True),
        "bold": ("deferred", None, LATER, True),
        "unknown": ("deferred", None, DUE + 9, True),
    }
    assert counts(store) == {"held": 1, "deferred": 2, "deferrals": 3, "uncertain": 3}
    assert [entry.uncertain for entry in store.ledger_of(ident)] == [True] * 3


def test_what_a_worker_had_that_is_not_known_here(store: Store, other: Store) -> None:
    """The database was restored and is older than a journal: what that leaves open is doubted, once."""
    ident = on_three_routes(store)
    me = worker(store)
    every = keys(store.claim(me, [Want(route, 9) for route in ("careful", "bold", "unknown")], now=DUE))
    store.unregister(me, now=DUE)
    assert other.doubt(worker(store), every, now=DUE, due=DUE, doubtful=DOUBTFUL) == 0  # that one is known
    assert other.doubt(me, every[:2], now=DUE, due=DUE + 9, doubtful=DOUBTFUL) == 2
    assert stands(store, ident) == {
        "careful": ("held", HOLD_UNCERTAIN, LATER + MINUTE, True),
        "bold": ("deferred", None, LATER, True),
        "unknown": ("waiting", None, DUE - MINUTE, False),
    }
    assert counts(store) == {"held": 1, "deferred": 1, "waiting": 1, "deferrals": 2, "uncertain": 2}
    assert other.doubt(me, every, now=DUE, due=DUE + 9, doubtful=DOUBTFUL) == 1
    assert other.doubt(me, every, now=DUE + 1, due=DUE + 9, doubtful=DOUBTFUL) == 0
    assert [(entry.uncertain, entry.attempt) for entry in store.ledger_of(ident)] == [(True, 1)] * 3
    assert [r.lease for r in store.queued_of(ident)] == [None] * 3


def test_what_was_surely_not_sent_is_not_held(store: Store, other: Store) -> None:
    """A policy for uncertain recipients is none for others."""
    ident = on_three_routes(store)
    me = worker(store)
    store.claim(me, [Want("careful", 9)], now=DUE)
    assert other.rescue(me, now=DUE, due=DUE, uncertain=False, doubtful=DOUBTFUL) == 1
    assert stands(store, ident)["careful"] == ("waiting", None, DUE, False)
