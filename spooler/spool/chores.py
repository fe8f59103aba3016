"""Chores: expiry behind dead routes, sweeping contents, retention.

Every chore works in small transactions and says how many rows it removed; as many as its limit means that
there may be more.
"""

from __future__ import annotations

import threading
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING

from spooler.ident import floor_at
from spooler.records import State
from spooler.spool import partitions, sql
from spooler.spool.notices import tell
from spooler.spool.statements import settling
from spooler.spool.statements import upkeep as st
from spooler.spool.tallies import Deltas, slot

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import Connection

    from spooler.spool.connect import Database
    from spooler.spool.runs import Runs

DAY = 86_400_000_000  # µs
LOOKS = 10  # contents that a sweep looks at for each that it may remove
OVERDUE_PAGE = 1000  # messages
OVERDUE_LOOKS = 100_000  # messages that one call for expiry looks at: some 0.2 s
EXPIRED = "its time was over before it could be delivered"
ENDED_MOST = 200_000  # messages remembered as worth a look, some 15 MB at most


class Chores:
    """What one store remembers from one chore to the next: where it was."""

    def __init__(self, db: Database, runs: Runs) -> None:
        self._db = db
        self._runs = runs
        self._mutex = threading.Lock()
        self._ended: dict[int, None] = {}
        self._swept_to = 0
        self._overdue_of: frozenset[str] | None = None
        self._overdue_to = (0, 0)  # expires, message id
        self._overdue_since: int | None = None
        self._partitions_to = 0

    def ended(self, messages: Sequence[int]) -> None:
        """Recipients of these messages ended: their contents are worth a look."""
        with self._mutex:
            if len(self._ended) < ENDED_MOST:
                self._ended.update(dict.fromkeys(messages))

    def expire(self, *, routes: Sequence[str] | None, now: int, limit: int) -> int:
        """End recipients that nobody claims and whose time is over, as expired.

        A passage looks at each message once, in the order in which they go over their time, and goes on from
        there; a new one begins a day later, for what was held, or came in with its time over.
        """
        wanted = None if routes is None else frozenset(routes)
        if self._overdue_since is None or wanted != self._overdue_of or now - self._overdue_since >= DAY:
            self._overdue_of, self._overdue_to, self._overdue_since = wanted, (0, 0), now
        ended = looked = 0
        while ended < limit and looked < OVERDUE_LOOKS:
            page = self._db.read(partial(_overdue, after=self._overdue_to, now=now))
            if not page:
                break
            looked += OVERDUE_PAGE
            some = [ident for _, ident, is_open in page if is_open]
            ended += self._expire(some, wanted, now, limit - ended)
            if ended < limit:  # through with this page
                self._overdue_to = page[-1][:2]
        return ended

    def _expire(self, messages: Sequence[int], routes: frozenset[str] | None, now: int, limit: int) -> int:
        ended = 0
        names = [""] if routes is None else sorted(routes)
        rows = [(ident, name) for ident in messages for name in names]
        for page in sql.pages(settling.OVERDUE_RECIPIENTS, rows):
            while ended < limit:
                run = self._runs.take(0, now=now)
                some = self._db.write(partial(_expire, which=page, now=now, limit=limit - ended, run=run))
                self._runs.take(some, now=now)
                ended += some
                if some == 0:
                    break
        return ended

    def sweep(self, *, now: int, limit: int) -> int:
        """Remove chunks that nobody needs any more, and those that nobody came to need for a day."""
        orphan = floor_at(now - DAY)
        removed = 0
        while removed < limit and (ended := self._take_ended(limit)):
            for rows in sql.pages(st.SWEEP_OF, [(ident,) for ident in ended]):
                removed += self._db.write(partial(_sweep_of, rows=rows, orphan=orphan))
        looked = 0
        while removed < limit and looked < LOOKS * limit:
            after = self._swept_to
            upto, count = self._db.read(partial(_next_contents, after=after, limit=limit))
            looked += count
            if not count:
                self._swept_to = 0
                break
            removed += self._db.write(partial(_sweep_range, after=after, upto=upto, orphan=orphan))
            self._swept_to = upto
        return removed

    def _take_ended(self, limit: int) -> list[int]:
        with self._mutex:
            taken = list(islice(self._ended, limit))
            for ident in taken:
                del self._ended[ident]
        return taken

    def retire(self, *, before: int, limit: int) -> int:
        """Remove messages with their ledger that ended before `before`; on Postgres, days of it first."""
        if self._db.is_postgres:
            partitions.drop_before(self._db, before)
        found = self._db.read(partial(_retirable, before=before, limit=limit))
        for rows in sql.pages(st.RETIRE_MESSAGES, found):
            self._db.write(partial(_retire, rows=rows))
        return len(found)

    def maintain(self, *, now: int) -> None:
        """Checkpoint SQLite's log; make Postgres' partitions of the ledger for today and two days more."""
        self._db.checkpoint()
        if self._db.is_postgres and now + DAY > self._partitions_to:
            self._partitions_to = partitions.make_ahead(self._db, now=now)


def _overdue(conn: Connection, after: tuple[int, int], now: int) -> list[tuple[int, int, bool]]:
    rows = sql.run(conn, settling.OVERDUE, expires=after[0], id=after[1], now=now, limit=OVERDUE_PAGE)
    return [(row[0], row[1], bool(row[2])) for row in rows]


def _expire(conn: Connection, which: Sequence[tuple[int, str]], now: int, limit: int, run: int) -> int:
    victims = sql.run(conn, settling.OVERDUE_RECIPIENTS, which, limit=limit).all()
    deltas = Deltas()
    ledger: list[tuple[object, ...]] = []
    for row in victims:
        deltas.move(row.route, row.state, State.EXPIRED.value)
        what = (now, row.address, row.route, row.attempts + 1, State.EXPIRED.value, 0, 0)
        ledger.append((row.message_id, row.n, *what, "local", 0, "", EXPIRED, "", max(0, now - row.due), 0))
    keys = [(row.message_id, row.n) for row in victims]
    tell(conn, keys, now=now)
    for page in sql.pages(settling.RECORD, ledger):
        sql.run(conn, settling.RECORD, page, worker=0, run=run)
    for some in sql.pages(settling.REMOVE, keys):
        sql.run(conn, settling.REMOVE, some)
    if victims:
        deltas.apply(conn, slot())
    return len(victims)


def _sweep_of(conn: Connection, rows: Sequence[tuple[int]], orphan: int) -> int:
    return sql.change(conn, st.SWEEP_OF, rows, orphan=orphan)


def _sweep_range(conn: Connection, after: int, upto: int, orphan: int) -> int:
    return sql.change(conn, st.SWEEP_RANGE, after=after, upto=upto, orphan=orphan)


def _next_contents(conn: Connection, after: int, limit: int) -> tuple[int, int]:
    upto, count = sql.run(conn, st.NEXT_CONTENTS, after=after, limit=limit).one()
    return upto, count


def _retirable(conn: Connection, before: int, limit: int) -> list[tuple[int]]:
    rows = sql.run(conn, st.RETIRABLE, floor=floor_at(before), before=before, limit=limit)
    return [(row[0],) for row in rows]


def _retire(conn: Connection, rows: Sequence[tuple[int]]) -> None:
    for statement in (st.RETIRE_NOTICES, st.RETIRE_LEDGER, st.RETIRE_MESSAGES):
        sql.run(conn, statement, rows)
