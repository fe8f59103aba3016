"""Lists, counts and the ledger, as people see them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from spooler.envelope import NewRecipient, Priority
from spooler.records import QueueFilter, State
from spooler.result import Outcome
from spooler.spool import runs
from tests.spool.making import DUE, MINUTE, NOW, act, ask, check_tallies, claim, message, put, results, worker

if TYPE_CHECKING:
    from spooler.spool.store import Store


@pytest.fixture
def furnished(store: Store) -> Store:
    """Recipients in every state: waiting, deferred (uncertain), active, held."""
    put(
        store,
        message("waiting@one.example", sender="s@one.example", job="j", not_before=NOW + MINUTE * 60),
        message("Deferred@Two.example", tenant="t", priority=Priority.URGENT),
        message(NewRecipient(address="active@one.example", route="other")),
        message("held@one.example", "held@two.example", priority=Priority.IDLE),
    )
    me = worker(store)
    store.settle(
        me, results(claim(store, me, limit=1), Outcome.DEFERRED, uncertain=True, text="later"), now=DUE
    )
    claim(store, me, route="other")
    act(store, "UPDATE recipient SET hold = 'by hand' WHERE address LIKE 'held%'")
    act(store, "UPDATE tally SET count = count - 2 WHERE state = 'waiting' AND count > 2")
    act(store, "INSERT INTO tally VALUES (0, 'default', 'held', 2)")
    check_tallies(store)
    return store


@pytest.mark.parametrize(
    ("which", "names"),
    [
        (QueueFilter(), ["waiting", "Deferred", "active", "held", "held"]),
        (QueueFilter(state=State.WAITING), ["waiting"]),
        (QueueFilter(state=State.DEFERRED), ["Deferred"]),
        (QueueFilter(state=State.ACTIVE), ["active"]),
        (QueueFilter(state=State.HELD), ["held", "held"]),
        (QueueFilter(state=State.DELIVERED), []),
        (QueueFilter(uncertain=True), ["Deferred"]),
        (QueueFilter(route="other"), ["active"]),
        (QueueFilter(address="deferred@two.EXAMPLE"), ["Deferred"]),
        (QueueFilter(domain="TWO.example"), ["Deferred", "held"]),
        (QueueFilter(sender="s@one.example"), ["waiting"]),
        (QueueFilter(job="j"), ["waiting"]),
        (QueueFilter(tenant="t"), ["Deferred"]),
        (QueueFilter(tenant="t", job="j"), []),
        (QueueFilter(message_id=1), []),
    ],
)
def test_filters(furnished: Store, which: QueueFilter, names: list[str]) -> None:
    """Each condition picks what it says, and all must hold."""
    assert [r.address.partition("@")[0] for r in furnished.queue(filter=which, limit=10)] == names


def test_a_row(furnished: Store) -> None:
    """A row tells what a person needs about the recipient and its message."""
    (row,) = furnished.queue(filter=QueueFilter(state=State.DEFERRED), limit=10)

    assert (row.address, row.route, row.priority, row.state) == (
        "Deferred@Two.example",
        "default",
        Priority.URGENT,
        State.DEFERRED,
    )
    assert (row.attempts, row.claims, row.due, row.uncertain, row.lease) == (1, 1, DUE + MINUTE, True, None)
    assert (row.stage, row.code, row.text, row.sender, row.tenant) == (
        "final",
        250,
        "later",
        "sender@example.org",
        "t",
    )
    assert (row.created, row.hold) == (NOW, None)


def test_pages(store: Store) -> None:
    """A long list comes page by page, each from behind the last of the one before."""
    idents = put(store, *(message("a@example.org", "b@example.org", "c@example.org") for _ in range(5)))
    found: list[tuple[int, int]] = []
    while page := store.queue(filter=QueueFilter(), limit=4, after=found[-1] if found else None):
        found += [(r.message_id, r.n) for r in page]

    assert found == [(ident, n) for ident in idents for n in range(3)]


def test_ledger_for_an_address(store: Store) -> None:
    """What happened to an address is found whatever the case, newest first, as many as asked for."""
    put(store, message("User@Example.org", "other@example.org"))
    me = worker(store)
    for i in range(4):
        now = DUE + i * MINUTE
        store.settle(me, results(claim(store, me, now=now), Outcome.DEFERRED, at=now), now=now)

    assert [e.attempt for e in store.ledger_for("uSER@example.ORG", limit=3)] == [4, 3, 2]
    assert store.ledger_for("nobody@example.org", limit=3) == []
    assert store.ledger_for("no\udcffbody\0", limit=3) == []


def test_ledger_for_an_address_over_many_runs(
    store: Store, other: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An address is found in every run of the ledger, those of a writer before this one too."""
    monkeypatch.setattr(runs, "ROWS", 3)
    idents = put(store, *(message("a@example.org", "b@example.org", "c@example.org") for _ in range(5)))
    me = worker(store)
    for c in claim(store, me):
        store.settle(me, results([c], at=DUE + c.message_id % 10), now=DUE)
    (last,) = put(other, message("B@example.org"))
    other.settle(me, results(claim(other, me)), now=DUE + 1000)

    assert len(ask(store, "SELECT DISTINCT run FROM attempt")) == 6
    found = store.ledger_for("b@example.org", limit=100)
    assert sorted(e.message_id for e in found) == sorted([*idents, last])
    assert found == sorted(found, key=lambda e: (e.at, e.message_id, e.n), reverse=True)


def test_empty(store: Store) -> None:
    """A new spool shows nothing, and that is no error."""
    assert store.stats() == []
    assert store.left() == 0
    assert store.queue(filter=QueueFilter(), limit=5) == []
    assert store.queued_of(1) == []
    assert store.ledger_of(1) == []
    assert store.workers() == []
    assert store.contents([]) == {}
