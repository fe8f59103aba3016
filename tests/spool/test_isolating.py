"""Claims that ended with the death of a worker are counted; suspects are claimed alone, and held."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from spooler.envelope import NewRecipient
from spooler.errors import TryAgainError
from spooler.records import State
from spooler.result import Outcome
from tests.spool.making import DUE, MINUTE, act, claim, counts, keys, message, put, results, worker

if TYPE_CHECKING:
    from spooler.spool.store import Store


def die(store: Store, times: int, *, uncertain: bool = False) -> None:
    """Let so many workers die with all there is."""
    for time in range(times):
        me = worker(store)
        assert claim(store, me)
        store.rescue(me, now=DUE + time, due=DUE, uncertain=uncertain)


def died(store: Store, ident: int) -> list[int]:
    """How many workers died with each recipient of a message."""
    return [row.claims - row.attempts for row in store.queued_of(ident)]


@pytest.mark.parametrize("uncertain", [False, True])
def test_deaths_are_counted(store: Store, uncertain: bool) -> None:
    """By claims that became no attempt; an attempt whose end nobody saw is a death as well."""
    (ident,) = put(store)
    die(store, 3, uncertain=uncertain)
    assert died(store, ident) == [3]


def test_what_ends_in_order_is_no_death(store: Store) -> None:
    """Given back, deferred, or left by a worker that took its leave: not counted."""
    (ident,) = put(store)
    me = worker(store)
    store.release(me, keys(claim(store, me)), due=0)
    store.settle(me, results(claim(store, me), Outcome.DEFERRED), now=DUE)
    claim(store, me, now=DUE + 2 * MINUTE)
    store.unregister(me, now=DUE)
    assert died(store, ident) == [0]


def test_an_attempt_that_ends_clears_of_suspicion(store: Store) -> None:
    """Workers that died long ago count no more: what is deadly does not come to an end."""
    (ident,) = put(store)
    die(store, 5)
    me = worker(store)
    store.settle(me, results(claim(store, me), Outcome.DEFERRED), now=DUE)
    assert died(store, ident) == [0]


def test_one_message_is_claimed(store: Store) -> None:
    """Its recipients on the route, suspects first, as many as wanted, and nothing of others."""
    to = [NewRecipient(address=f"u{n}@example.org", route="other" if n == 3 else "default") for n in range(4)]
    ident, other = put(store, message(*to), message())
    die(store, 2)
    act(store, "UPDATE recipient SET claims = 0 WHERE message_id = :m AND n = 1", m=ident)
    me = worker(store)
    (taken,) = store.claim_alone(me, ident, "default", limit=2, due=DUE)
    assert [(r.n, r.claims, r.attempts) for r in taken.recipients] == [(0, 3, 0), (2, 3, 0)]
    assert (taken.message_id, taken.route, taken.size) == (ident, "default", taken.size)
    (last,) = store.claim_alone(me, ident, "default", limit=9, due=DUE)
    assert keys([last]) == [(ident, 1)]
    assert store.claim_alone(me, ident, "default", limit=9, due=DUE) == []
    store.release(me, keys([last]), due=0)
    (one,) = store.claim_alone(me, other, "default", limit=1, due=DUE)
    store.settle(me, results([taken, one]), now=DUE)
    store.unregister(me, now=DUE)
    assert [row.n for row in store.queued_of(ident)] == [1, 3]


def test_not_before_its_time(store: Store) -> None:
    """What was put off is not claimed before."""
    (ident,) = put(store)
    die(store, 2)
    act(store, "UPDATE recipient SET due = :due", due=DUE + MINUTE)
    me = worker(store)
    assert store.claim_alone(me, ident, "default", limit=1, due=DUE) == []
    assert store.claim_alone(me, ident, "default", limit=1, due=DUE + MINUTE)


def test_the_dead_claim_nothing(store: Store, other: Store) -> None:
    """A worker that was declared dead is refused, as for any claim."""
    (ident,) = put(store)
    die(store, 2)
    me = worker(store)
    other.rescue(me, now=DUE, due=DUE, uncertain=True)
    with pytest.raises(TryAgainError, match="declared dead"):
        store.claim_alone(me, ident, "default", limit=1, due=DUE)


def test_held_with_its_reason(store: Store) -> None:
    """All that is queued of a message on a route is held, but what is with a worker; claims pass it by."""
    to = [NewRecipient(address=f"u{n}@example.org", route="other" if n == 3 else "default") for n in range(4)]
    ident, other = put(store, message(*to), message())
    them = worker(store)
    ((held,), *_) = ([c] for c in claim(store, them, limit=1))
    me = worker(store)
    claims = claim(store, me, limit=1)
    store.settle(me, results(claims, Outcome.DEFERRED), now=DUE)

    assert store.hold(me, ident, "default", why="deadly") == 2

    assert [(row.state, row.hold) for row in store.queued_of(ident)] == [
        (State.ACTIVE, None),
        (State.HELD, "deadly"),
        (State.HELD, "deadly"),
        (State.WAITING, None),
    ]
    assert keys([held]) == [(ident, 0)]
    assert keys(claim(store, me, now=DUE + 10 * MINUTE)) == [(other, 0)]
    assert store.hold(me, ident, "default", why="again") == 0
    assert counts(store)["held"] == 2
