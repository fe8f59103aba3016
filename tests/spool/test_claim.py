"""Claiming: what is due, grouped, fair, and never twice."""

from __future__ import annotations

import threading
from collections import Counter

import pytest

from spooler.claim import Want
from spooler.envelope import NewRecipient, Priority
from spooler.errors import SpoolerError, TryAgainError
from spooler.result import Outcome
from spooler.spool.store import Store
from tests.spool.making import DUE, MINUTE, NOW, act, claim, counts, keys, message, put, results, worker


def test_grouped_by_message(store: Store) -> None:
    """Recipients of one message come as one claim, each with its number."""
    idents = put(store, *(message(*(f"u{i}@example.org" for i in range(5))) for _ in range(3)))

    claims = claim(store, worker(store))

    assert [c.message_id for c in claims] == idents
    assert [sorted(r.n for r in c.recipients) for c in claims] == [[0, 1, 2, 3, 4]] * 3
    assert counts(store) == {"active": 15}


def test_limit_and_the_rest(store: Store) -> None:
    """No more is taken than wanted, nothing twice, and in the end everything."""
    put(store, *(message(*(f"u{i}@example.org" for i in range(7))) for _ in range(3)))
    me = worker(store)

    taken = [claim(store, me, limit=10) for _ in range(3)]

    assert [len(keys(claims)) for claims in taken] == [10, 10, 1]
    assert len({key for claims in taken for key in keys(claims)}) == 21
    assert claim(store, me) == []


def test_only_wanted_routes(store: Store) -> None:
    """A route that nobody wants keeps its recipients; several wants are served in one call."""
    put(
        store,
        message(
            NewRecipient(address="a@example.org", route="one"),
            NewRecipient(address="b@example.org", route="two"),
            NewRecipient(address="c@example.org", route="dead"),
        ),
    )

    claims = store.claim(worker(store), [Want("one", 5), Want("two", 5), Want("none", 5)], now=DUE)

    assert {c.route: [r.n for r in c.recipients] for c in claims} == {"one": [0], "two": [1]}
    assert {(row.route, row.state.value): row.count for row in store.stats()} == {
        ("one", "active"): 1,
        ("two", "active"): 1,
        ("dead", "waiting"): 1,
    }


def test_not_what_is_held(store: Store) -> None:
    """What a person holds is not claimed."""
    put(store, message("a@example.org", "b@example.org"))
    act(store, "UPDATE recipient SET hold = 'by hand' WHERE n = 0")
    act(store, "UPDATE tally SET count = 1 WHERE state = 'waiting'")
    act(store, "INSERT INTO tally VALUES (0, 'default', 'held', 1)")

    assert [n for _, n in keys(claim(store, worker(store)))] == [1]
    assert store.left() == 1


def test_deferred_is_due_later(store: Store) -> None:
    """A deferred recipient comes back when it is due, with its attempts counted."""
    put(store)
    me = worker(store)
    store.settle(me, results(claim(store, me), Outcome.DEFERRED, due=DUE + MINUTE), now=DUE)

    assert claim(store, me, now=DUE + MINUTE - 1) == []
    ((recipient,),) = [c.recipients for c in claim(store, me, now=DUE + MINUTE)]

    assert (recipient.attempts, recipient.claims, recipient.due) == (1, 2, DUE + MINUTE)


def test_only_what_is_due_of_what_waits(store: Store) -> None:
    """Mail for later is left where some is due now, though there is room for it."""
    by = worker(store)
    (first,) = put(store)
    put(store, message(not_before=DUE + MINUTE))
    assert [one.message_id for one in claim(store, by)] == [first]


def test_past_its_time(store: Store) -> None:
    """What is over its time is claimed like the rest: the worker settles it as expired."""
    put(store, message(expires=NOW + 1))

    (claimed,) = claim(store, worker(store))

    assert claimed.expires < DUE


def test_urgent_first(store: Store) -> None:
    """Urgent recipients are taken before others, whenever they came."""
    put(store, *(message(priority=Priority.BULK) for _ in range(20)))
    urgent = put(store, *(message(priority=Priority.URGENT) for _ in range(5)), now=NOW + 1)

    claims = claim(store, worker(store), limit=8)

    assert [c.message_id for c in claims][:5] == urgent
    assert len(keys(claims)) == 8


@pytest.mark.parametrize("limit", [1, 3, 40])
def test_nobody_starves(store: Store, limit: int) -> None:
    """However much is urgent and however little is taken at a time, every class gets its eighth."""
    mine = {}
    for priority in Priority:
        addresses = [f"u{i}@example.org" for i in range(200)]
        (mine[priority],) = put(store, message(*addresses, priority=priority))
    me = worker(store)
    taken: Counter[int] = Counter()

    while taken.total() < 160:
        for c in claim(store, me, limit=limit):
            taken[c.message_id] += len(c.recipients)

    assert taken[mine[Priority.URGENT]] >= 90
    for priority in (Priority.NORMAL, Priority.BULK, Priority.IDLE):
        assert taken[mine[priority]] >= 19


def test_lower_classes_use_what_is_free(store: Store) -> None:
    """Where little is urgent, the whole want is still met."""
    put(store, message(priority=Priority.URGENT), *(message(priority=Priority.IDLE) for _ in range(30)))

    assert len(keys(claim(store, worker(store), limit=20))) == 20


def test_two_workers(spool_url: str) -> None:
    """Two workers that claim at the same time take everything, and nothing twice."""
    total = 2000
    with Store.open(spool_url) as store:
        put(store, *(message(*(f"u{i}@example.org" for i in range(10))) for _ in range(total // 10)))
    taken: list[list[tuple[int, int]]] = [[], []]
    errors: list[SpoolerError] = []
    start = threading.Barrier(2, timeout=60)

    def run(n: int, mine: list[tuple[int, int]]) -> None:
        try:
            with Store.open(spool_url) as store:
                me = worker(store, NOW + n)  # two that begin in one microsecond may draw one id
                start.wait()
                while found := keys(claim(store, me, limit=37)):
                    mine += found
        except SpoolerError as error:
            errors.append(error)

    threads = [threading.Thread(target=run, args=(n, mine)) for n, mine in enumerate(taken)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert errors == []
    assert len(taken[0]) + len(taken[1]) == total
    assert len({*taken[0], *taken[1]}) == total
    with Store.open(spool_url) as store:
        assert counts(store) == {"active": total}


def test_dead_worker_claims_nothing(store: Store, other: Store) -> None:
    """A worker that was declared dead is told so when it claims, and takes nothing."""
    put(store)
    me = worker(store)
    other.rescue(me, now=DUE, due=DUE, uncertain=False)

    with pytest.raises(TryAgainError, match="declared dead"):
        claim(store, me)

    assert counts(store) == {"waiting": 1}


def test_fenced_worker_claims_nothing(store: Store) -> None:
    """While its recipients are being taken over, and its row is still there."""
    put(store)
    by = worker(store)
    act(store, "UPDATE worker SET fenced = :now WHERE id = :id", now=NOW, id=by)
    with pytest.raises(TryAgainError, match="declared dead"):
        claim(store, by)
    assert store.left() == 1


def test_next_due(store: Store) -> None:
    """The earliest due time of the routes asked for, claimable or not yet; nothing else counts."""
    put(store, message(NewRecipient(address="a@example.org", route="one")), now=NOW + 5)
    put(store, message(not_before=NOW + MINUTE, priority=Priority.IDLE))

    assert store.next_due(["default"], now=NOW) == NOW + MINUTE
    assert store.next_due(["default", "one"], now=NOW) == NOW + 5
    assert store.next_due(["none"], now=NOW) is None
    assert store.next_due([], now=NOW) is None
    claim(store, worker(store), route="one")
    assert store.next_due(["one"], now=NOW) is None


def test_left(store: Store) -> None:
    """What is left counts leased and deferred recipients, by route if asked."""
    put(
        store,
        message("a@example.org", "b@example.org", NewRecipient(address="c@example.org", route="other")),
    )
    me = worker(store)
    claims = claim(store, me)

    assert (store.left(), store.left(["default"]), store.left(["other"]), store.left(["x"])) == (3, 2, 1, 0)
    store.settle(me, results(claims), now=DUE)
    assert store.left() == 1
