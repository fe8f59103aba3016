"""Connections and transactions: how work gets done on either database, once, and whole or not at all.

`work` is a function of a connection and may be called again, in a new transaction, where the database asks
for it: it must have no effect but in the database. What is raised out of here is a SpoolerError, or a bug.
"""

from __future__ import annotations

import os
import sqlite3
import threading
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, TypeVar, cast
from urllib.parse import quote

import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import StaticPool

from spooler.errors import StorageError, TryAgainError
from spooler.spool.faults import not_there, translated
from spooler.spool.lockfile import LockFile
from spooler.spool.place import Place, SqlitePlace

if TYPE_CHECKING:
    from collections.abc import Callable

    from sqlalchemy import Connection

T = TypeVar("T")

TRIES = 5
CACHE = 8 << 10  # KiB of SQLite pages in memory; measured: more gains nothing
BUSY = 10.0  # seconds that SQLite waits for a program that does not know our lock file
WAL_LIMIT = 64 << 20  # bytes: from here on whoever writes also checkpoints, worker or not


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

    def connections(self) -> tuple[int, int]:
        """How many are open, and how many of them are at work."""

    def close(self) -> None:
        """Close all connections."""

    def abandon(self) -> None:
        """Close, having changed nothing."""


def connect(place: Place) -> Database:
    """Open a database that exists."""
    with translated(str(place)):
        if isinstance(place, SqlitePlace):
            return SqliteDatabase(place)
        from spooler.spool.postgres import (
            PostgresDatabase,  # loads the driver, in vain where the spool is a file
        )

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
        self._file = place.path.stat()
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
                self._find()
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
        raise contention(self._name)

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
                self._find()
                self._driver.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()
            finally:
                self._lock.release()

    def _find(self) -> None:
        """Raise StorageError if another file has the name of ours now, or none.

        What is written to a file that was moved is seen by nobody, and its log has the other's name.
        """
        with suppress(FileNotFoundError):
            if os.path.samestat(self._path.stat(), self._file):
                return
        raise StorageError(
            f"{self._name}: the file was moved, removed or replaced while it was in use",
            hint="stop all workers, put the right one in its place, and start again",
        )

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

    def connections(self) -> tuple[int, int]:
        """See `Database.connections`."""
        return 1, int(self._mutex.locked())

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


def contention(name: str) -> TryAgainError:
    """Say that TRIES were not enough."""
    return TryAgainError(f"{name}: others keep changing the same rows", hint="try again")
