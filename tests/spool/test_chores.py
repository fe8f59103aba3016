"""Expiry, notices, sweeping, retention, partitions."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from msgspec.structs import replace

from spooler.envelope import BodyType, Content, NewRecipient, Notify
from spooler.result import Outcome
from spooler.spool import chores
from spooler.spool.statements import upkeep
from spooler.spool.store import Store
from tests.spool.making import (
    DAY,
    DUE,
    HEADERS,
    MINUTE,
    NOW,
    SECOND,
    act,
    ask,
    claim,
    content,
    counts,
    message,
    put,
    results,
    worker,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy import Connection

LATER = NOW + 10 * DAY


def expire(store: Store, *, routes: list[str] | None = None, now: int = LATER, limit: int = 1000) -> int:
    """End what is over its time."""
    return store.expire(routes=routes, now=now, limit=limit)


def test_expire(store: Store) -> None:
    """What nobody claims ends as expired, with its ledger row."""
    (ident,) = put(store, message("a@example.org", "b@example.org"))

    assert expire(store, now=NOW + DAY) == 0
    assert expire(store) == 2

    assert store.queued_of(ident) == []
    assert [(e.outcome, e.stage, e.worker, e.attempt, e.late) for e in store.ledger_of(ident)] == [
        ("expired", "local", 0, 1, False)
    ] * 2
    assert store.ledger_of(ident)[0].text == chores.EXPIRED
    assert counts(store) == {"expired": 2}


def test_expire_leaves_held_and_leased(store: Store) -> None:
    """What a person holds does not run out of time, and what a worker has is that worker's to end."""
    put(store, message("held@example.org", "leased@example.org", "free@example.org"))
    me = worker(store)
    claim(store, me, limit=3)
    act(store, "UPDATE recipient SET lease = NULL WHERE n <> 1")
    act(store, "UPDATE recipient SET hold = 'by hand' WHERE n = 0")
    act(store, "UPDATE tally SET count = 1 WHERE state = 'active'")
    act(store, "UPDATE tally SET count = 1 WHERE state = 'waiting' AND count > 0")
    act(store, "UPDATE tally SET count = 0 WHERE state = 'waiting' AND count < 0")
    act(store, "INSERT INTO tally VALUES (0, 'default', 'held', 1)")

    assert expire(store) == 1

    assert counts(store) == {"held": 1, "active": 1, "expired": 1}


def test_expire_by_route(store: Store) -> None:
    """Only the routes asked for are looked at, and another choice begins anew."""
    put(
        store,
        message(
            *(NewRecipient(address=f"{name}@example.org", route=name) for name in ("one", "two", "three"))
        ),
    )

    assert expire(store, routes=["one", "none"]) == 1
    assert expire(store, routes=["two"]) == 1
    assert expire(store, routes=["two"]) == 0
    assert expire(store) == 1


@pytest.mark.parametrize("limit", [1, 7, 20])
def test_expire_in_small_steps(store: Store, monkeypatch: pytest.MonkeyPatch, limit: int) -> None:
    """Each call ends no more than its limit, and together they end everything, in order of time."""
    monkeypatch.setattr(chores, "OVERDUE_PAGE", 3)
    early = put(store, *(message(*(f"u{i}@example.org" for i in range(5))) for _ in range(6)))
    put(store, message("late@example.org"), now=LATER)
    steps: list[int] = []
    while not steps or steps[-1] == limit:
        steps.append(expire(store, limit=limit))

    assert sum(steps) == 30
    assert all(store.queued_of(ident) == [] for ident in early)
    assert counts(store) == {"expired": 30, "waiting": 1}


def test_expire_looks_once(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """A passage does not look again at what it has seen; what comes over its time later is found."""
    put(store, message(expires=NOW + SECOND))
    assert expire(store, now=NOW + MINUTE) == 1
    looked: list[tuple[int, int]] = []
    real = chores._overdue

    def watched(conn: Connection, after: tuple[int, int], now: int) -> list[tuple[int, int, bool]]:
        looked.append(after)
        return real(conn, after, now)

    monkeypatch.setattr(chores, "_overdue", watched)
    put(store, message(expires=NOW + 2 * MINUTE))

    assert expire(store, now=NOW + 3 * MINUTE) == 1
    assert expire(store, now=NOW + 3 * MINUTE) == 0
    assert min(looked) > (NOW, 0)

    put(store, message(expires=NOW))
    assert expire(store, now=NOW + 4 * MINUTE) == 0
    assert expire(store, now=NOW + 2 * DAY) == 1


def notices(store: Store) -> list[tuple[int, str, bytes | None]]:
    """All notices."""
    return ask(store, "SELECT n, kind, headers FROM notice ORDER BY message_id, n")


@pytest.mark.parametrize("outcome", [Outcome.FAILED, Outcome.EXPIRED])
def test_notices(store: Store, outcome: Outcome) -> None:
    """A failure is noted for the sender unless NOTIFY says otherwise, with the headers once a message."""
    flags = [Notify.DEFAULT, Notify.NEVER, Notify.FAILURE, Notify.SUCCESS, Notify.SUCCESS | Notify.FAILURE]
    put(store, message(*(NewRecipient(address=f"u{i}@example.org", notify=f) for i, f in enumerate(flags))))
    me = worker(store)

    store.settle(me, results(claim(store, me), outcome), now=DUE)

    assert notices(store) == [(0, "failure", HEADERS), (2, "failure", None), (4, "failure", None)]


def test_notices_one_by_one(store: Store) -> None:
    """Failures of one message that come one after the other share the headers of the first."""
    put(store, message("a@example.org", "b@example.org"))
    me = worker(store)
    for result in results(claim(store, me), Outcome.FAILED):
        store.settle(me, [result], now=DUE)

    assert notices(store) == [(0, "failure", HEADERS), (1, "failure", None)]


def test_notice_of_expiry_in_the_queue(store: Store) -> None:
    """What expires behind a dead route is noted too."""
    put(store)
    expire(store)

    assert notices(store) == [(0, "failure", HEADERS)]


@pytest.mark.parametrize("outcome", [Outcome.DELIVERED, Outcome.DEFERRED])
def test_no_notice(store: Store, outcome: Outcome) -> None:
    """Neither success nor deferral is noted, and nothing ever about the null sender's mail."""
    put(store)
    me = worker(store)
    store.settle(me, results(claim(store, me), outcome), now=DUE)
    put(store, message(sender=""))
    store.settle(me, results(claim(store, me), Outcome.FAILED), now=DUE)

    assert notices(store) == []


@pytest.mark.parametrize(
    ("data", "kept"),
    [(b"A: b\r\n\r\n", b"A: b\r\n"), (b"A: b\r\n", b"A: b\r\n"), (b"x" * 100_000, b"x" * 65536), (b"", b"")],
)
def test_headers_kept(store: Store, data: bytes, kept: bytes) -> None:
    """The header section is kept: up to the first empty line, or the first 64 KiB."""
    put(store, message(content=content(data)))
    me = worker(store)
    store.settle(me, results(claim(store, me), Outcome.FAILED), now=DUE)

    assert notices(store) == [(0, "failure", kept)]


def chunks(store: Store) -> set[int]:
    """The contents that are there."""
    return {row[0] for row in ask(store, "SELECT content FROM content_chunk")}


def test_sweep(store: Store) -> None:
    """A content goes when the last of its recipients ended, not before."""
    done, half, untouched = put(store, *(message("a@example.org", "b@example.org") for _ in range(3)))
    me = worker(store)
    batch = results(claim(store, me, limit=4))
    store.settle(me, batch[:3], now=DUE)

    assert store.sweep(now=DUE, limit=100) == 1
    assert chunks(store) == {half, untouched}
    assert store.sweep(now=DUE, limit=100) == 0
    store.settle(me, batch[3:], now=DUE)
    assert store.sweep(now=DUE, limit=100) == 1
    assert chunks(store) == {untouched}
    assert store.contents([done]) == {}


def test_sweep_finds_what_others_left(store: Store, other: Store) -> None:
    """Contents of messages that another process ended are found without a hint, in small steps."""
    idents = put(store, *(message() for _ in range(30)))
    me = worker(other)
    other.settle(me, results(claim(other, me, limit=25)), now=DUE)

    steps = [store.sweep(now=DUE, limit=10) for _ in range(4)]

    assert sum(steps) == 25
    assert chunks(store) == set(idents[25:])


def test_sweep_of_shared_content(store: Store) -> None:
    """A content that several messages have stays until all of them are done."""
    stored = store.store_chunks([b"one", b"two"], now=NOW)
    shared = Content(size=6, sha256="", body=BodyType.SEVEN_BIT, stored=stored)
    put(store, message(content=shared), message(content=shared))
    me = worker(store)
    batch = results(claim(store, me))
    store.settle(me, batch[:1], now=DUE)
    assert store.sweep(now=NOW + 2 * DAY, limit=100) == 0

    store.settle(me, batch[1:], now=DUE)

    assert store.sweep(now=DUE, limit=100) == 2
    assert chunks(store) == set()


def test_sweep_of_orphans(store: Store) -> None:
    """A content that was streamed in and never used is kept for a day."""
    stored = store.store_chunks([b"one"], now=NOW)

    assert store.sweep(now=NOW + DAY - SECOND, limit=100) == 0
    assert chunks(store) == {stored}
    assert store.sweep(now=NOW + DAY + SECOND, limit=100) == 1


def test_sweep_keeps_what_a_sender_wants_back(store: Store) -> None:
    """After a failure the content stays only if the sender asked for it with the notice."""
    full, headers = put(store, message(ret="FULL"), message(ret="HDRS"))
    me = worker(store)
    store.settle(me, results(claim(store, me), Outcome.FAILED), now=DUE)

    assert store.sweep(now=DUE, limit=100) == 1
    assert chunks(store) == {full}
    assert headers not in chunks(store)


def test_retire(store: Store) -> None:
    """Old messages that ended go with their ledger and notices; what is queued stays with its ledger."""
    ended, deferred, waiting = put(store, message(), message(), message(not_before=LATER))
    me = worker(store)
    first, second = results(claim(store, me), Outcome.FAILED)
    store.settle(me, [first, replace(second, outcome=Outcome.DEFERRED, due=LATER)], now=DUE)
    store.maintain(now=LATER)

    assert store.retire(before=NOW + 3 * DAY, limit=100) == 1

    assert (store.message(ended), store.ledger_of(ended), notices(store)) == (None, [], [])
    assert store.message(waiting) is not None
    assert store.message(deferred) is not None
    assert [e.outcome for e in store.ledger_of(deferred)] == ["deferred"]
    act(store, "UPDATE tally SET count = 0 WHERE state = 'failed'")  # that row was counted, and is gone


def test_retire_in_small_steps(store: Store) -> None:
    """No more than the limit goes at a time, in the end everything."""
    put(store, *(message() for _ in range(25)))
    expire(store)

    assert [store.retire(before=LATER + DAY, limit=10) for _ in range(4)] == [10, 10, 5, 0]
    act(store, "DELETE FROM tally")  # what was counted is gone


def test_young_ledger_keeps_the_message(store: Store) -> None:
    """A message lives as long as its youngest ledger row."""
    (ident,) = put(store)
    expire(store)

    assert store.retire(before=LATER - 1, limit=10) == 0
    assert store.message(ident) is not None


def test_maintain_twice(store: Store) -> None:
    """Housekeeping may be called as often as one likes."""
    for day in range(4):
        store.maintain(now=NOW + day * DAY)
        store.maintain(now=NOW + day * DAY)


@pytest.fixture
def on_postgres(postgres_url: str) -> Iterator[Store]:
    """An open spool on PostgreSQL."""
    with Store.open(postgres_url) as opened:
        yield opened


def partitions(store: Store) -> list[str]:
    """The ledger's partitions."""
    return [row[0] for row in ask(store, upkeep.PARTITIONS.text)]


def test_partitions_ahead(on_postgres: Store) -> None:
    """On PostgreSQL the ledger has a partition a day, made ahead (these tests are of 15 January 2027)."""
    on_postgres.maintain(now=NOW)
    assert partitions(on_postgres) == [
        "attempt_20270115",
        "attempt_20270116",
        "attempt_20270117",
        "attempt_default",
    ]

    on_postgres.maintain(now=NOW + 2 * DAY)

    assert partitions(on_postgres)[-2] == "attempt_20270119"


def test_results_without_partition(on_postgres: Store) -> None:
    """Results of a day without a partition are kept; that day then never gets one."""
    put(on_postgres)
    me = worker(on_postgres)
    on_postgres.settle(me, results(claim(on_postgres, me)), now=DUE)

    on_postgres.maintain(now=NOW)

    assert partitions(on_postgres) == ["attempt_20270116", "attempt_20270117", "attempt_default"]


def test_partitions_dropped(on_postgres: Store) -> None:
    """A day that is over its time goes whole, but not the ledger of what is still queued."""
    on_postgres.maintain(now=NOW)
    ended, queued = put(on_postgres, message(), message())
    me = worker(on_postgres)
    first, second = results(claim(on_postgres, me))
    on_postgres.settle(me, [first, replace(second, outcome=Outcome.DEFERRED, due=LATER)], now=DUE)

    assert on_postgres.retire(before=NOW + 12 * 3600 * SECOND, limit=10) == 1
    assert partitions(on_postgres)[0] == "attempt_20270115"
    assert on_postgres.retire(before=NOW + 2 * DAY, limit=10) == 0

    assert partitions(on_postgres) == ["attempt_20270117", "attempt_default"]
    assert on_postgres.ledger_of(ended) == []
    assert [e.outcome for e in on_postgres.ledger_of(queued)] == ["deferred"]
