"""What a database says of itself and of the spool in it, for a diagnosis: nothing is changed, not even made.

An SQLite file that nobody has open is read as one that does not change, because a plain reader would leave
files beside it. If somebody begins to write just then, it is read again as everybody does.
"""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

import msgspec
import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import StaticPool

from spooler.records import WorkerRow
from spooler.spool import sql
from spooler.spool.faults import not_there, translated
from spooler.spool.place import Place, PostgresPlace, SqlitePlace, parse_place
from spooler.spool.revision import REVISION
from spooler.spool.standing import revision_of
from spooler.spool.statements import leasing

if TYPE_CHECKING:
    from sqlalchemy import Connection

READ_WITHIN = 2.0  # seconds that an SQLite file may be locked

_SERVER = """
    SELECT current_setting('server_version'), current_setting('server_version_num')::int,
        pg_is_in_recovery(), current_setting('default_transaction_read_only') = 'on',
        current_setting('fsync') = 'on', current_setting('full_page_writes') = 'on',
        current_setting('synchronous_commit'), current_setting('max_connections')::int,
        current_setting('superuser_reserved_connections')::int,
        (SELECT count(*) FROM pg_stat_activity
            WHERE backend_type = 'client backend' AND application_name <> 'spooler'
            AND pid <> pg_backend_pid()),
        CAST(extract(epoch FROM clock_timestamp()) * 1000000 AS bigint)
    """
# of a server whose files this host has, and whose user may know where they are
_DATA = "SELECT setting FROM pg_settings WHERE name = 'data_directory'"
_WRITABLE = """
    SELECT coalesce(bool_and(has_table_privilege(c.oid, 'INSERT') AND has_table_privilege(c.oid, 'UPDATE')
        AND has_table_privilege(c.oid, 'DELETE')), TRUE)
    FROM pg_class c WHERE c.relname IN ('message', 'content_chunk', 'recipient', 'attempt', 'notice',
        'worker', 'tally') AND pg_table_is_visible(c.oid)
    """


class Spool(msgspec.Struct, frozen=True, kw_only=True):
    """What stands in the database; `revision` is None for an empty one, and then there is nothing else.

    `newest` is the id of the newest message, from which its time can be read.
    """

    revision: str | None
    needed: str = REVISION
    uuid: str = ""
    workers: list[WorkerRow] = []
    newest: int | None = None


class SqliteFacts(msgspec.Struct, frozen=True, kw_only=True):
    """An SQLite file."""

    path: Path
    version: str
    spool: Spool
    journal_mode: str


class PostgresFacts(msgspec.Struct, frozen=True, kw_only=True):
    """A server and a database on it.

    `others` counts connections of other programs; `clock` is the server's, µs UTC; `data` is its folder, None
    where that is another host's or not to be known.
    """

    version: str
    version_number: int
    standby: bool
    read_only: bool
    fsync: bool
    full_page_writes: bool
    synchronous_commit: str
    max_connections: int
    reserved: int
    others: int
    clock: int
    may_write: bool
    data: Path | None
    spool: Spool


Facts = SqliteFacts | PostgresFacts


def examine(url: str) -> Facts:
    """Look at the database of a spool; raises SpoolerError where it cannot be looked at."""
    place = parse_place(url)
    with translated(str(place)):
        return _sqlite(place) if isinstance(place, SqlitePlace) else _postgres(place)


def _sqlite(place: SqlitePlace) -> SqliteFacts:
    missing = not_there(place.path, str(place))
    if missing is not None:
        raise missing
    if not Path(f"{place.path}-wal").exists():
        try:
            return _read_file(place, "immutable=1")
        except (DBAPIError, sqlite3.Error):
            if not Path(f"{place.path}-wal").exists():
                raise
    return _read_file(place, "mode=ro")


def _read_file(place: SqlitePlace, how: str) -> SqliteFacts:
    def connect() -> sqlite3.Connection:
        return sqlite3.connect(
            f"file:{quote(str(place.path))}?{how}", uri=True, timeout=READ_WITHIN, isolation_level=None
        )

    engine = sa.create_engine("sqlite://", creator=connect, poolclass=StaticPool)
    try:
        with engine.connect() as conn:
            (mode,) = conn.exec_driver_sql("PRAGMA journal_mode").one()
            return SqliteFacts(
                path=place.path,
                version=sqlite3.sqlite_version,
                spool=_spool(conn, place),
                journal_mode="wal" if _is_wal(place.path) else str(mode),
            )
    finally:
        engine.dispose()


def _is_wal(path: Path) -> bool:
    """Read it from the file's header (its format's section 1.3.3): one read as immutable does not tell."""
    with path.open("rb") as file:
        return file.read(20)[18:20] == b"\2\2"


def _postgres(place: PostgresPlace) -> PostgresFacts:
    from spooler.spool.postgres import PostgresDatabase  # loads the driver, in vain where the spool is a file

    db = PostgresDatabase(place)
    try:
        return db.read(lambda conn: _ask_server(conn, place))
    finally:
        db.abandon()


def _ask_server(conn: Connection, place: PostgresPlace) -> PostgresFacts:
    row = conn.exec_driver_sql(_SERVER).one()
    names = (name for name in PostgresFacts.__struct_fields__ if name not in ("may_write", "data", "spool"))
    folder = conn.exec_driver_sql(_DATA).scalar_one_or_none()
    return PostgresFacts(
        **dict(zip(names, row, strict=True)),
        may_write=conn.exec_driver_sql(_WRITABLE).scalar_one(),
        data=Path(folder) if folder and _is_here(place) else None,
        spool=_spool(conn, place),
    )


def _is_here(place: PostgresPlace) -> bool:
    host = place.url.query.get("host") or place.url.host or ""
    return isinstance(host, str) and (not host or host.startswith(("/", "localhost", "127.0.0.1")))


def _spool(conn: Connection, place: Place) -> Spool:
    revision = revision_of(conn, place)
    if revision != REVISION:
        return Spool(revision=revision)
    return Spool(
        revision=revision,
        uuid=str(conn.execute(sa.text("SELECT uuid FROM spool")).scalar_one()),
        workers=[
            WorkerRow(**dict(zip(WorkerRow.__struct_fields__, row, strict=True)))
            for row in sql.run(conn, leasing.WORKERS)
        ],
        newest=conn.execute(sa.text("SELECT max(id) FROM message")).scalar_one(),
    )
