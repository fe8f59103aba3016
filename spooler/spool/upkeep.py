"""Reading contents, and the chores: expiry behind dead routes, sweeping contents, retention, partitions.

Every chore works in small transactions and says how many rows it removed; as many as its limit means that
there may be more.
"""

from __future__ import annotations

import datetime as dt
import threading
from typing import TYPE_CHECKING, cast

import msgspec

from spooler.envelope import CHUNK_SIZE
from spooler.ident import floor_at
from spooler.records import State
from spooler.spool import sql
from spooler.spool.notices import tell
from spooler.spool.statements import settling
from spooler.spool.statements import upkeep as st
from spooler.spool.tallies import Deltas, slot

if TYPE_CHECKING:
    from collections.abc import Sequence

    import psycopg
    from sqlalchemy import Connection

    from spooler.spool.connect import Database

DAY = 86_400_000_000  # µs
SLICE = 64  # contents read by one statement: at most 16 MiB, and two copies of them for a moment
LOOKS = 10  # contents that a sweep looks at for each that it may remove
OVERDUE_PAGE = 1000  # messages
OVERDUE_LOOKS = 100_000  # messages that one call for expiry looks at: some 0.2 s
EXPIRED = "its time was over before it could be delivered"
ENDED_MOST = 200_000  # messages remembered as worth a look, 10 MB at most
_LENGTHS = msgspec.json.Decoder(list[tuple[int, int]])


def contents(db: Database, idents: Sequence[int]) -> dict[int, bytes]:
    """Return whole contents of one chunk each; those that are longer, or not there, are left out."""
    found: dict[int, bytes] = {}
    for start in range(0, len(idents), SLICE):
        some = idents[start : start + SLICE]
        found.update(db.read(lambda conn, some=some: _contents(conn, some)))
    for ident in [ident for ident, data in found.items() if len(data) == CHUNK_SIZE]:
        if chunk(db, ident, 1) is not None:
            del found[ident]
    return found


def chunk(db: Database, content: int, sequence: int) -> bytes | None:
    """Return one chunk of a content, or None behind its end."""
    return db.read(
        lambda conn: sql.run(conn, st.CHUNK, content=content, sequence=sequence).scalar_one_or_none()
    )


def _contents(conn: Connection, idents: Sequence[int]) -> dict[int, bytes]:
    if conn.dialect.name == "postgresql":
        # binary, for as text every byte would travel as two and be parsed
        driver = cast("psycopg.Connection", conn.connection.driver_connection)
        text, _ = st.CONTENTS.render("postgresql", 0)
        with driver.cursor(binary=True) as cursor:
            return dict(cursor.execute(text, (list(idents),)).fetchall())
    lengths, blob = sql.run(conn, st.CONTENTS, [(ident,) for ident in idents]).one()
    found = {}
    start = 0
    for ident, length in _LENGTHS.decode(lengths):
        found[ident] = blob[start : start + length]
        start += length
    return found


class Chores:
    """What one store remembers from one chore to the next: where it was."""

    def __init__(self, db: Database) -> None:
        self._db = db
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
            expires, ident = self._overdue_to
            page = self._db.read(
                lambda conn, e=expires, i=ident: sql.run(
                    conn, settling.OVERDUE, expires=e, id=i, now=now, limit=OVERDUE_PAGE
                ).all()
            )
            if not page:
                break
            looked += OVERDUE_PAGE
            ended += self._expire([row.id for row in page if row.open], wanted, now, limit - ended)
            if ended < limit:  # through with this page
                self._overdue_to = (page[-1].expires, page[-1].id)
        return ended

    def _expire(self, messages: Sequence[int], routes: frozenset[str] | None, now: int, limit: int) -> int:
        ended = 0
        rows = [
            (ident, route) for ident in messages for route in (("",) if routes is None else sorted(routes))
        ]
        for page in sql.pages(settling.OVERDUE_RECIPIENTS, rows):
            while ended < limit:
                some = self._db.write(
                    lambda conn, page=page, left=limit - ended: _expire(conn, page, now, left)
                )
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
                removed += self._db.write(
                    lambda conn, rows=rows: sql.change(conn, st.SWEEP_OF, rows, orphan=orphan)
                )
        looked = 0
        while removed < limit and looked < LOOKS * limit:
            after = self._swept_to
            upto, count = self._db.read(
                lambda conn, after=after: sql.run(conn, st.NEXT_CONTENTS, after=after, limit=limit).one()
            )
            looked += count
            if not count:
                self._swept_to = 0
                break
            removed += self._db.write(
                lambda conn, after=after, upto=upto: (
                    sql.change(conn, st.SWEEP_RANGE, after=after, upto=upto, orphan=orphan)
                )
            )
            self._swept_to = upto
        return removed

    def _take_ended(self, limit: int) -> list[int]:
        with self._mutex:
            taken = sorted(self._ended)[:limit] if len(self._ended) > limit else list(self._ended)
            for ident in taken:
                del self._ended[ident]
        return taken

    def retire(self, *, before: int, limit: int) -> int:
        """Remove messages with their ledger that ended before `before`; on Postgres whole days of the ledger."""
        if self._db.is_postgres:
            self._drop_partitions(before)
        floor = floor_at(before)
        found = self._db.read(
            lambda conn: [
                (row[0],) for row in sql.run(conn, st.RETIRABLE, floor=floor, before=before, limit=limit)
            ]
        )
        for rows in sql.pages(st.RETIRE_MESSAGES, found):

            def work(conn: Connection, rows: Sequence[tuple[int]] = rows) -> None:
                for statement in (st.RETIRE_NOTICES, st.RETIRE_LEDGER, st.RETIRE_MESSAGES):
                    sql.run(conn, statement, rows)

            self._db.write(work)
        return len(found)

    def maintain(self, *, now: int) -> None:
        """Checkpoint SQLite's log; make Postgres' partitions of the ledger for today and two days more."""
        self._db.checkpoint()
        if self._db.is_postgres and now + DAY > self._partitions_to:
            today = now // DAY * DAY
            for first in range(today, today + 3 * DAY, DAY):
                self._db.write(lambda conn, first=first: _make_partition(conn, first))
            self._partitions_to = today + 3 * DAY

    def _drop_partitions(self, before: int) -> None:
        names = self._db.read(lambda conn: [row[0] for row in sql.run(conn, st.PARTITIONS)])
        for name in names:
            first = _first_of(name)
            if first is not None and first + DAY <= before:
                self._db.write(lambda conn, name=name: _drop_partition(conn, name))


def _expire(conn: Connection, which: Sequence[tuple[int, str]], now: int, limit: int) -> int:
    victims = sql.run(conn, settling.OVERDUE_RECIPIENTS, which, limit=limit).all()
    deltas = Deltas()
    ledger: list[tuple[object, ...]] = []
    for row in victims:
        deltas.move(row.route, row.state, State.EXPIRED.value)
        ledger.append(
            (row.message_id, row.n, now, row.address, row.route, row.attempts + 1, State.EXPIRED.value)
            + (0, 0, "local", 0, "", EXPIRED, "", max(0, now - row.due), 0)
        )
    keys = [(row.message_id, row.n) for row in victims]
    tell(conn, keys, now=now)
    for page in sql.pages(settling.RECORD, ledger):
        sql.run(conn, settling.RECORD, page, worker=0)
    for some in sql.pages(settling.REMOVE, keys):
        sql.run(conn, settling.REMOVE, some)
    if victims:
        deltas.apply(conn, slot())
    return len(victims)


def _partition(first: int) -> str:
    return f"attempt_{dt.datetime.fromtimestamp(first / 1e6, tz=dt.UTC):%Y%m%d}"


def _first_of(name: str) -> int | None:
    day = name.removeprefix("attempt_")
    if not day.isdigit():
        return None
    return int(dt.datetime.strptime(day, "%Y%m%d").replace(tzinfo=dt.UTC).timestamp()) * 1_000_000


def _make_partition(conn: Connection, first: int) -> None:
    sql.run(conn, st.PATIENCE)
    sql.run(conn, st.ONE_AT_A_TIME)
    name = _partition(first)
    names = {row[0] for row in sql.run(conn, st.PARTITIONS)}
    # a day whose rows went into the default partition stays there
    if name in names or sql.run(conn, st.STRAYED, first=first, last=first + DAY).first() is not None:
        return
    conn.exec_driver_sql(
        f"CREATE TABLE {name} PARTITION OF attempt FOR VALUES FROM ({first}) TO ({first + DAY})"
    )


def _drop_partition(conn: Connection, name: str) -> None:
    """Drop a day, but for what concerns messages that are still queued: that moves to the default partition."""
    sql.run(conn, st.PATIENCE)
    sql.run(conn, st.ONE_AT_A_TIME)
    if name not in {row[0] for row in sql.run(conn, st.PARTITIONS)}:
        return
    conn.exec_driver_sql(f"ALTER TABLE attempt DETACH PARTITION {name}")
    conn.exec_driver_sql(
        f"INSERT INTO attempt SELECT a.* FROM {name} a"  # noqa: S608  # a name that we made ourselves
        " WHERE EXISTS (SELECT 1 FROM recipient r WHERE r.message_id = a.message_id)"
    )
    conn.exec_driver_sql(f"DROP TABLE {name}")
