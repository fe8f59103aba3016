"""No statement of the hot path ever reads a whole table, however long the queue is."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import pytest

from spooler.spool import schema, sql
from spooler.spool.sql import Statement
from spooler.spool.statements import intake, leasing, looking, settling, shared, steering, upkeep
from tests.spool.making import DUE, NOW, act, claim, keys, message, put, worker

if TYPE_CHECKING:
    from spooler.spool.store import Store

QUEUED = 100_000

_DUE = {"route": "default", "priority": 1, "now": DUE, "limit": 500}
_ADDRESS, _ROUTE = "a@example.org", "default"
_KEY = (1, 2)
_DOUBT = {"worker": 9, "route": "default", "due": DUE, "hold": "", "text": ""}
_FACTS = f'[{DUE}, "{_ROUTE}", 1, "delivered", 0, "final", 250, "", "", "", 0, 0]'
_COMMAND = {"now": DUE, "outcome": "held", "enhanced": "", "text": "", "run": 1, "who": "", "why": ""}
_STRETCH = (1, 0, 9, DUE, _ROUTE, 1, "delivered", 0, "final", 250, "", "", "", 0, 0)


def _statements() -> list[tuple[str, Statement, tuple[Any, ...], dict[str, Any]]]:
    """Name, statement, one row of its batch, scalars."""
    record = (*_KEY, 3, _ADDRESS, _ROUTE, 1, "failed", 0, 0, "final", 250, "", "", "", 0, 0)
    deferral = (*_KEY, DUE, 1, 0, "final", 450, "", "", "")
    return [
        ("count due", leasing.COUNT_DUE, (), _DUE),
        ("some due", leasing.SOME_DUE, (), _DUE | {"worker": 9}),
        ("release", leasing.RELEASE, _KEY, {"worker": 9, "due": 0}),
        ("states", leasing.LEASED_STATES, _KEY, {"worker": 9}),
        ("rescue", leasing.RESCUE_SAFE, _KEY, {"worker": 9, "due": DUE, "most": 3}),
        ("rescue uncertain", leasing.RESCUE_UNCERTAIN, _KEY, _DOUBT),
        ("record uncertain", leasing.RECORD_UNCERTAIN, _KEY, {"worker": 9, "now": DUE, "text": "", "run": 1}),
        ("end", settling.END, _KEY, {"worker": 9}),
        ("defer", settling.DEFER, deferral, {"worker": 9}),
        ("remove", settling.REMOVE, _KEY, {}),
        ("standing", settling.STANDING, _KEY, {}),
        ("record", settling.RECORD, record, {"worker": 9, "run": 1}),
        ("recorded", settling.RECORDED, (*_KEY, DUE), {"worker": 9}),
        ("overdue", settling.OVERDUE, (), {"expires": 0, "id": 0, "now": NOW, "limit": 1000}),
        ("overdue recipients", settling.OVERDUE_RECIPIENTS, (1, ""), {"limit": 1000}),
        ("notices", shared.ADD_NOTICES, (*_KEY, 1), {"now": DUE}),
        ("next due", looking.NEXT_DUE, (), {"route": "default"}),
        ("page end", steering.PAGE_END, (), {"message_id": 1, "n": 1, "skipped": 1000}),
        ("examine", steering.EXAMINE, _KEY, {"now": DUE}),
        ("record a command", steering.RECORD, _KEY, _COMMAND),
        ("command: hold", steering.HOLD, _KEY, {"hold": ""}),
        ("command: release", steering.RELEASE, _KEY, {}),
        ("command: retry", steering.RETRY, _KEY, {"now": DUE}),
        ("command: reroute", steering.REROUTE, _KEY, {"route": "other"}),
        ("command: prolong", steering.PROLONG, (1,), {"expires": DUE}),
        ("ahead", looking.AHEAD, (), _DUE | {"due": DUE, "message_id": 1, "n": 0}),
        ("ledger", looking.LEDGER_OF, (), {"message_id": 1}),
        ("ledger of an address", looking.LEDGER_FOR, (), {"address": "a", "limit": 10}),
        ("keys", intake.FIND_KEYS, ("", "k"), {}),
        ("origins", intake.FIND_ORIGINS, ("s", 1, "d"), {}),
        ("next contents", upkeep.NEXT_CONTENTS, (), {"after": 0, "limit": 100}),
        ("sweep of", upkeep.SWEEP_OF, (1,), {"orphan": 0}),
        ("sweep range", upkeep.SWEEP_RANGE, (), {"after": 0, "upto": 1, "orphan": 0}),
    ]


_CLAIM: dict[str, list[tuple[str, Statement, tuple[Any, ...], dict[str, Any]]]] = {
    "sqlite": [
        ("look", leasing.LOOK_AT_DUE, (), _DUE),
        ("take", leasing.TAKE_DUE, (), _DUE | {"worker": 9}),
        ("contents", upkeep.CONTENTS, (1,), {}),
    ],
    "postgresql": [("claim", leasing.CLAIM, (), _DUE | {"worker": 9})],
}
_END: dict[str, list[tuple[str, Statement, tuple[Any, ...], dict[str, Any]]]] = {
    "sqlite": [
        ("record stretches", settling.RECORD_STRETCHES, _STRETCH, {"worker": 9, "run": 1}),
        ("take stretch", leasing.TAKE_STRETCH, (), {"message_id": 1, "first": 0, "last": 9, "worker": 9}),
        ("end stretch", settling.END_STRETCH, (), {"message_id": 1, "first": 0, "last": 9, "worker": 9}),
    ],
    "postgresql": [
        ("end alike", settling.END_ALIKE, (*_KEY, 1), {"worker": 9, "run": 1, "facts": f"[{_FACTS}]"}),
    ],
}


def plan(store: Store, statement: Statement, row: tuple[Any, ...], scalars: dict[str, Any]) -> str:
    """What the database means to do, for a full batch."""
    explained = Statement(
        f"EXPLAIN QUERY PLAN {statement.text}",
        statement.columns,
        postgres=f"EXPLAIN {statement.postgres or statement.text}",
    )
    rows = [row] * 500 if row else []
    return store._db.read(
        lambda conn: "\n".join(str(line[-1]) for line in sql.run(conn, explained, rows, **scalars))
    )


@pytest.fixture
def long_queue(store: Store) -> Store:
    """One message to 100,000 recipients, half of them leased, and 30,000 other messages in the ledger."""
    (ident,) = put(store, message(*(f"user{i}@example.org" for i in range(QUEUED))))
    act(store, "UPDATE recipient SET lease = 1 WHERE n % 2 = 1")
    act(store, f"UPDATE tally SET count = {QUEUED // 2} WHERE state = 'waiting'")
    act(store, f"INSERT INTO tally VALUES (1, 'default', 'active', {QUEUED // 2})")
    columns = [c.name for c in schema.message.c if c.name not in ("id", "content")]
    numbers = "WITH RECURSIVE g(v) AS (SELECT 1 UNION ALL SELECT v + 1 FROM g WHERE v < 30000)"
    others = f"SELECT id + v, content + v, {', '.join(columns)} FROM message, g WHERE id = :id"
    act(store, f"{numbers} INSERT INTO message (id, content, {', '.join(columns)}) {others}", id=ident)
    act(store, f"{numbers} INSERT INTO content_chunk SELECT :id + v, 0, 'x' FROM g", id=ident)
    return store


def test_plans(long_queue: Store) -> None:
    """Everything goes through an index: right after filling, and when statistics are there."""
    dialect = "postgresql" if long_queue.is_postgres else "sqlite"
    big = "recipient|message|attempt|content_chunk|r|m|a|c"
    mark = "Seq Scan on" if long_queue.is_postgres else "SCAN"
    scan = re.compile(rf"{mark} (?:{big})\b(?! USING)")

    for analysed in (False, True):
        if analysed:
            act(long_queue, "ANALYZE")
        for name, statement, row, scalars in _statements() + _CLAIM[dialect] + _END[dialect]:
            if name in ("keys", "origins") and not analysed:
                continue  # the few thousand messages are cheaper to read, as long as nobody counted the keys
            found = plan(long_queue, statement, row, scalars)
            assert not scan.search(found), f"{name}, analysed: {analysed}\n{found}"
        for name, statement, row, scalars in _CLAIM[dialect][:2]:
            found = plan(long_queue, statement, row, scalars)
            assert "recipient_claimable" in found, f"{name}, analysed: {analysed}\n{found}"
        for statement, more in ((leasing.COUNT_DUE, {}), (leasing.SOME_DUE, {"worker": 9})):
            found = plan(long_queue, statement, (), _DUE | more)
            assert found.count("recipient_claimable") == 4, found


def test_looking_for_metrics_reads_no_more_of_a_longer_queue(long_queue: Store) -> None:
    """The oldest are looked for at the head of the queue, in its own order, and what is due by the index."""
    for analysed in (False, True):
        if analysed:
            act(long_queue, "ANALYZE")
        found = plan(long_queue, looking.FIRST_DUE, (), {"route": "default"})
        assert found.count("recipient_claimable") == 4, found
        found = plan(long_queue, looking.OLDEST, (), {"head": 2000})
        if long_queue.is_postgres:
            assert "recipient_pkey" in found, found
            assert "Sort Key: r." not in found, found
        else:
            assert "FOR ORDER BY" not in found, found
        assert "Limit" in found or not long_queue.is_postgres, found

    sample = long_queue.sample(now=DUE)
    assert {one.state.value for one in sample.oldest} == {"waiting", "active"}
    assert sample.due == {"default": NOW}


def test_long_queue(long_queue: Store) -> None:
    """From a long queue exactly what is wanted is taken."""
    taken = keys(claim(long_queue, worker(long_queue), limit=500))

    assert len(taken) == len(set(taken)) == 500
    assert all(n % 2 == 0 for _, n in taken)
