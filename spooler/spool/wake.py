"""Learning of new mail while there is nothing to do, without asking the tables for it.

**Postgres**: whoever commits something that is or may become due says NOTIFY on the spool's channel, in a
transaction of its own behind the commit: one that notifies holds a lock of the whole server until its
commit is on disk, so all who commit would queue up behind each other. A listener has a connection of its
own. It proves that words arrive before anybody relies on it: behind a pgbouncer that pools transactions
LISTEN succeeds and nothing is ever heard.

**SQLite**: a connection of its own asks for `PRAGMA data_version`, which changes with every commit of any
process, some fifty times a second and only while somebody waits for an answer.

A word that is lost (its sender died between commit and NOTIFY) costs time, never mail: whoever waits is
told for how long to rely on silence, and looks at the tables when that is over.
"""

from __future__ import annotations

import os
import secrets
import select
import threading
import time
from contextlib import suppress
from typing import TYPE_CHECKING, cast

from sqlalchemy.exc import SQLAlchemyError

from spooler.errors import SpoolerError, TryAgainError
from spooler.spool.connect import SqliteDatabase
from spooler.spool.faults import database_errors

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Sequence

    import psycopg

    from spooler.spool.connect import Database
    from spooler.spool.postgres import PostgresDatabase

SURE = 5.0  # seconds for which silence is relied on
LOOK = 0.02  # seconds between looks at SQLite: half of it is what an enqueued message waits, on average
GATHER = 0.01  # seconds for which words are gathered behind one that was told: a burst is one look
PROOF = 2.0  # seconds within which our own word must come back
AGAIN = (1.0, 30.0)  # seconds before one that cannot listen tries again, doubling


def channel(uuid: str) -> str:
    """Name the channel of a spool, which may share a database with other spools."""
    return f"spooler_{uuid.replace('-', '')}"


def announce(db: Database, uuid: str) -> None:
    """Say that something was committed that is due, or will be; never fails, for the commit has happened."""
    if db.is_postgres:
        with suppress(SpoolerError, SQLAlchemyError):
            _say(db, uuid, "")


def _say(db: Database, uuid: str, word: str) -> None:
    db.read(lambda conn: conn.exec_driver_sql("SELECT pg_notify(%s, %s)", (channel(uuid), word)))


class Waiter:
    """Waits for changes of one spool; one thread at a time, which `close` lets go."""

    def __init__(self, db: Database, uuid: str) -> None:
        self._ear = _Words(cast("PostgresDatabase", db), uuid) if db.is_postgres else _Versions(db)
        self._troubles: tuple[type[Exception], ...] = (SpoolerError, *database_errors())
        self._waiting = threading.Lock()
        self._closing = threading.Event()
        self._pause = 0.0

    def changed(self) -> float | None:
        """Wait until something may have changed since the last time; the first time returns soon.

        Returns for how many seconds one may rely on hearing of more; None if it will not be heard of.
        """
        with self._waiting:
            self._closing.wait(self._pause)
            if self._closing.is_set():
                return None
            try:
                self._ear.wait()
            except self._troubles:
                self._ear.close()
                self._pause = min(max(self._pause * 2, AGAIN[0]), AGAIN[1])
                return None
            self._pause = 0.0
            return SURE

    def close(self) -> None:
        """Let go whoever waits."""
        self._closing.set()
        self._ear.hush()
        with self._waiting:
            self._ear.close()


class _Versions:
    """Sees commits to SQLite."""

    def __init__(self, db: Database) -> None:
        self._db = db
        self._conn: sqlite3.Connection | None = None
        self._seen: int | None = None
        self._hushed = threading.Event()

    def wait(self) -> None:
        """Wait for a commit that was not seen yet; raises sqlite3.Error."""
        if self._conn is None:
            assert isinstance(self._db, SqliteDatabase)
            self._conn = self._db.second()
            self._seen = None
        while not self._hushed.wait(LOOK):
            (version,) = self._conn.execute("PRAGMA data_version").fetchone()
            if version != self._seen:
                self._seen = version
                return

    def hush(self) -> None:
        """End `wait`, for good."""
        self._hushed.set()

    def close(self) -> None:
        """Give up the connection; a new one is made when it is needed."""
        conn, self._conn = self._conn, None
        if conn is not None:
            conn.close()


class _Words:
    """Hears words on the spool's channel in Postgres."""

    def __init__(self, db: PostgresDatabase, uuid: str) -> None:
        self._db = db
        self._uuid = uuid
        self._conn: psycopg.Connection | None = None
        self._hushed, self._hush = os.pipe()

    def wait(self) -> None:
        """Wait for words, or begin to listen; raises what says that nothing will be heard."""
        if self._conn is None:
            self._conn = self._listen()
            self._prove(self._conn)
            return
        _readable([self._hushed], GATHER)
        # the server may say other things, such as that it goes down
        while self._hears(self._conn, None) and not self._words(self._conn):
            pass

    def _listen(self) -> psycopg.Connection:
        import psycopg.sql  # loaded for no file

        conn = self._db.second()
        try:
            conn.execute(psycopg.sql.SQL("LISTEN {}").format(psycopg.sql.Identifier(channel(self._uuid))))
        except BaseException:
            conn.close()
            raise
        return conn

    def _prove(self, conn: psycopg.Connection) -> None:
        """Make sure that a word comes back which was sent on another connection."""
        word = secrets.token_hex(8)
        _say(self._db, self._uuid, word)
        until = time.monotonic() + PROOF
        while self._hears(conn, until - time.monotonic()):
            if word in self._words(conn):
                return
        raise TryAgainError("no words arrive from the database")

    def _hears(self, conn: psycopg.Connection, seconds: float | None) -> bool:
        """Wait until the server says something; whether it does."""
        readable = _readable([conn.fileno(), self._hushed], seconds)
        return bool(readable) and self._hushed not in readable

    def _words(self, conn: psycopg.Connection) -> list[str]:
        conn.pgconn.consume_input()
        words = []
        while (notify := conn.pgconn.notifies()) is not None:
            words.append(notify.extra.decode("utf-8", "replace"))
        return words

    def hush(self) -> None:
        """End `wait`, for good."""
        os.write(self._hush, b".")

    def close(self) -> None:
        """Give up the connection; a new one is made when it is needed."""
        conn, self._conn = self._conn, None
        if conn is not None:
            conn.close()


def _readable(descriptors: Sequence[int], seconds: float | None) -> list[int]:
    """Wait for any of these to be readable; return which."""
    poller = select.poll()
    for descriptor in descriptors:
        poller.register(descriptor, select.POLLIN)
    found = poller.poll(None if seconds is None else max(0.0, seconds) * 1000)
    return [descriptor for descriptor, _ in found]
