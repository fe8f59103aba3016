"""Postgres' ledger by the day: partitions made ahead, and dropped whole when their time is over."""

from __future__ import annotations

import datetime as dt
from functools import partial
from typing import TYPE_CHECKING

from spooler.spool import sql
from spooler.spool.statements import upkeep as st

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from spooler.spool.connect import Database

DAY = 86_400_000_000  # µs
AHEAD = 3  # days, today included


def make_ahead(db: Database, *, now: int) -> int:
    """Make the partitions of the next days; returns until when there are some, µs UTC."""
    today = now // DAY * DAY
    for first in range(today, today + AHEAD * DAY, DAY):
        db.write(partial(_make, first=first))
    return today + AHEAD * DAY


def drop_before(db: Database, before: int) -> None:
    """Drop the partitions whose days were over at `before`."""
    for name in db.read(_names):
        first = _first_of(name)
        if first is not None and first + DAY <= before:
            db.write(partial(_drop, name=name))


def _names(conn: Connection) -> list[str]:
    return [row[0] for row in sql.run(conn, st.PARTITIONS)]


def _first_of(name: str) -> int | None:
    day = name.removeprefix("attempt_")
    if not day.isdigit():
        return None
    return int(dt.datetime.strptime(day, "%Y%m%d").replace(tzinfo=dt.UTC).timestamp()) * 1_000_000


def _make(conn: Connection, first: int) -> None:
    sql.run(conn, st.PATIENCE)
    sql.run(conn, st.ONE_AT_A_TIME)
    name = f"attempt_{dt.datetime.fromtimestamp(first // 1_000_000, tz=dt.UTC):%Y%m%d}"
    # a day whose rows went into the default partition stays there
    if name in _names(conn) or sql.run(conn, st.STRAYED, first=first, last=first + DAY).first() is not None:
        return
    conn.exec_driver_sql(
        f"CREATE TABLE {name} PARTITION OF attempt FOR VALUES FROM ({first}) TO ({first + DAY})"
    )


def _drop(conn: Connection, name: str) -> None:
    """Drop a day; what concerns messages that are still queued moves to the default partition."""
    sql.run(conn, st.PATIENCE)
    sql.run(conn, st.ONE_AT_A_TIME)
    if name not in _names(conn):
        return
    conn.exec_driver_sql(f"ALTER TABLE attempt DETACH PARTITION {name}")
    conn.exec_driver_sql(
        f"INSERT INTO attempt SELECT a.* FROM {name} a"  # noqa: S608  # a name that we made ourselves
        " WHERE EXISTS (SELECT 1 FROM recipient r WHERE r.message_id = a.message_id)"
    )
    conn.exec_driver_sql(f"DROP TABLE {name}")
