"""Connections and transactions: how work gets done on either database, once, and whole or not at all.

`work` is a function of a connection and may be called again, in a new transaction, where the database asks
for it: it must have no effect but in the database. What is raised out of here is a SpoolerError, or a bug.
"""

from __future__ import annotations

import sqlite3
import threading
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, TypeVar, cast
from urllib.parse import quote

import psycopg
import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import StaticPool

from spooler.errors import TryAgainError, UnavailableError
from spooler.spool.faults import is_disconnect, is_transient, not_there, translated
from spooler.spool.lockfile import LockFile
from spooler.spool.place import Place, PostgresPlace, SqlitePlace

if TYPE_CHECKING:
    from collections.abc import Callable

    from sqlalchemy import Connection

T = TypeVar("T")

TRIES = 5
CACHE = 16 << 10  # KiB of SQLite pages in memory
BUSY = 10.0  # seconds that SQLite waits for a program that does not know our lock file
WAL_LIMIT = 64 << 20  # bytes: from here on whoever writes also checkpoints, worker or not
CONNECT_TIMEOUT = 10  # seconds, Postgres
CONNECTIONS = 4  # Postgres: a worker's threads, and one to spare


class RepeatTransaction(Exception):  # noqa: N818  # not an error: a demand
    """Raised by `work`: rows changed under it, so roll back and call it again."""


class Database(Protocol):
    """Runs work in transactions."""

    place: Place
    is_postgres: bool

    def write(
        self,
        work: Callable[[Connection], T],
        *,
        durable: bool = True,
        in_doubt: Callable[[T], object] | None = None,
    ) -> T:
        """Run in one transaction and commit.

        `durable`: the commit is on disk when this returns. `in_doubt` is called with the result if the commit
        failed in such a way that it may have happened.
        """

    def read(self, work: Callable[[Connection], T]) -> T:
        """Run statements that change nothing, each on its own."""

    def checkpoint(self) -> None:
        """Bring what the write-ahead log holds into the database, where that is ours to do."""

    def close(self) -> None:
        """Close all connections."""

    def abandon(self) -> None:
        """Close, having changed nothing."""


def connect(place: Place) -> Database:
    """Open a database that exists."""
    with translated(str(place)):
        if isinstance(place, SqlitePlace):
            return SqliteDatabase(place)
        return PostgresDatabase(place)


class SqliteDatabase:
    """One file, one connection; a lock file keeps the writers of all processes apart."""

    def __init__(self, place: SqlitePlace) -> None:
        missing = not_there(place.path, str(place))
        if missing is not None:
            raise missing
        self.place: Place = place
        self.is_postgres = False
        self._name = str(place)
        self._path = place.path
        self._wal = Path(f"{place.path}-wal")
        self._wal_limit = WAL_LIMIT
        self._mutex = threading.Lock()
        self._lock = LockFile(f"{place.path}.lock", place=self._name)
        self._engine = sa.create_engine("sqlite://", creator=self._connect, poolclass=StaticPool)
        self._conn = self._engine.connect()
        self._driver = cast("sqlite3.Connection", self._conn.connection.driver_connection)

    def _connect(self) -> sqlite3.Connection:
        driver = sqlite3.connect(
            f"file:{quote(str(self._path))}?mode=rw",  # never creates
            uri=True,
            timeout=BUSY,
            isolation_level=None,  # transactions are ours: always BEGIN IMMEDIATE
            check_same_thread=False,
            cached_statements=512,
        )
        try:
            for pragma in (
                "synchronous = FULL",
                "wal_autocheckpoint = 0",
                f"cache_size = {-CACHE}",
                "temp_store = MEMORY",
            ):
                driver.execute(f"PRAGMA {pragma}")
        except BaseException:
            driver.close()
            raise
        return driver

    def write(
        self,
        work: Callable[[Connection], T],
        *,
        durable: bool = True,
        in_doubt: Callable[[T], object] | None = None,
    ) -> T:
        """See `Database.write`."""
        with translated(self._name), self._mutex:
            self._lock.acquire()
            try:
                if not durable:
                    self._driver.execute("PRAGMA synchronous = NORMAL")
                try:
                    result = self._transact(work, in_doubt)
                finally:
                    if not durable:
                        self._driver.execute("PRAGMA synchronous = FULL")
                self._bound_wal()
                return result
            finally:
                self._lock.release()

    def _transact(self, work: Callable[[Connection], T], in_doubt: Callable[[T], object] | None) -> T:
        conn = self._conn
        for _ in range(TRIES):
            try:
                conn.exec_driver_sql("BEGIN IMMEDIATE")
                result = work(conn)
            except RepeatTransaction:
                conn.rollback()
                continue
            except BaseException:
                with suppress(DBAPIError):
                    conn.rollback()
                raise
            try:
                conn.commit()
            except BaseException:
                if in_doubt is not None:
                    in_doubt(result)
                with suppress(DBAPIError):
                    conn.rollback()
                raise
            return result
        raise _contention(self._name)

    def read(self, work: Callable[[Connection], T]) -> T:
        """See `Database.read`."""
        with translated(self._name), self._mutex:
            try:
                return work(self._conn)
            finally:
                with suppress(DBAPIError):
                    self._conn.rollback()  # SQLAlchemy's own notion of a transaction; SQLite has none open

    def checkpoint(self) -> None:
        """Move what the log holds into the file, under the writers' lock; readers are not waited for."""
        with translated(self._name), self._mutex:
            self._lock.acquire()
            try:
                self._driver.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()
            finally:
                self._lock.release()

    def _bound_wal(self) -> None:
        """Keep the log from growing for ever where no worker runs. Called under the lock.

        The commit has happened: nothing that goes wrong here may look as if it had not.
        """
        with suppress(sqlite3.Error, OSError):
            size = self._wal.stat().st_size
            if size <= self._wal_limit:
                return
            self._wal_limit = size + WAL_LIMIT
            self._driver.execute("PRAGMA busy_timeout = 0")  # a reader may keep it from shrinking: never wait
            try:
                self._driver.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
            finally:
                self._driver.execute(f"PRAGMA busy_timeout = {int(BUSY * 1000)}")
            if self._wal.stat().st_size < size:
                self._wal_limit = WAL_LIMIT

    def second(self) -> sqlite3.Connection:
        """Return a new connection that only reads and never waits; close it before this database."""
        return sqlite3.connect(
            f"file:{quote(str(self._path))}?mode=ro",
            uri=True,
            timeout=0,
            isolation_level=None,
            check_same_thread=False,
        )

    def close(self) -> None:
        """Close under the lock, for the last one to close checkpoints.

        If the lock is not to be had, another process is in the middle of writing, so this is not the last.
        """
        with self._mutex:
            with suppress(TryAgainError, OSError):
                self._lock.acquire()
            try:
                with suppress(DBAPIError):
                    self._conn.close()
                self._engine.dispose()
            finally:
                self._lock.close()

    def abandon(self) -> None:
        """Close a database that turned out to be somebody else's, without touching anything."""
        self._conn.close()
        self._engine.dispose()
        self._lock.close()


class PostgresDatabase:
    """A pool of connections; each transaction takes one."""

    def __init__(self, place: PostgresPlace) -> None:
        self.place: Place = place
        self.is_postgres = True
        self._name = str(place)
        self._engine = sa.create_engine(
            place.url,
            isolation_level="READ COMMITTED",
            pool_size=CONNECTIONS,
            max_overflow=CONNECTIONS,
            connect_args={
                "connect_timeout": CONNECT_TIMEOUT,
                "application_name": "spooler",
                # plans are made with the values at hand: one made for others can be a sequential scan of the
                # queue; and a pgbouncer that pools transactions loses prepared statements
                "prepare_threshold": None,
                "keepalives_idle": 30,
                "keepalives_interval": 10,
                "keepalives_count": 3,
                "tcp_user_timeout": 60_000,
            },
        )
        self._reader = self._engine.execution_options(isolation_level="AUTOCOMMIT")
        try:
            self._engine.connect().close()
        except BaseException:
            self._engine.dispose()
            raise

    def write(
        self,
        work: Callable[[Connection], T],
        *,
        durable: bool = True,  # noqa: ARG002  # every commit is: the database may lose power while a worker goes on
        in_doubt: Callable[[T], object] | None = None,
    ) -> T:
        """See `Database.write`."""
        with translated(self._name):
            lost = False
            for _ in range(TRIES):
                with self._engine.connect() as conn:
                    try:
                        result = work(conn)
                    except RepeatTransaction:
                        conn.rollback()
                        continue
                    except DBAPIError as error:
                        # nothing was committed; a pooled connection may have died long ago
                        if is_transient(error) or (is_disconnect(error) and not lost):
                            lost = lost or is_disconnect(error)
                            continue
                        raise
                    try:
                        conn.commit()
                    except DBAPIError as error:
                        if is_transient(error):
                            continue
                        if in_doubt is not None:
                            in_doubt(result)
                        raise UnavailableError(
                            f"{self._name}: the connection was lost during a commit, which may have happened",
                            hint="look before repeating, or use an idempotency key",
                        ) from error
                    return result
            raise _contention(self._name)

    def read(self, work: Callable[[Connection], T]) -> T:
        """See `Database.read`."""
        with translated(self._name):
            with self._reader.connect() as conn:
                try:
                    return work(conn)
                except DBAPIError as error:
                    if not is_disconnect(error):
                        raise
                except psycopg.OperationalError:  # work may use the driver itself
                    conn.invalidate()
            with self._reader.connect() as conn:
                return work(conn)

    def second(self) -> psycopg.Connection:
        """Return a new connection, not of the pool, which commits each statement; close it."""
        with translated(self._name):
            pooled = self._engine.raw_connection()
            driver = cast("psycopg.Connection", pooled.driver_connection)
            pooled.detach()
            driver.autocommit = True
            return driver

    def checkpoint(self) -> None:
        """Nothing to do: the server does."""

    def close(self) -> None:
        """Close the pool."""
        self._engine.dispose()

    def abandon(self) -> None:
        """As `close`."""
        self._engine.dispose()


def _contention(name: str) -> TryAgainError:
    return TryAgainError(f"{name}: others keep changing the same rows", hint="try again")
