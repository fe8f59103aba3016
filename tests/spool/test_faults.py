"""What goes wrong outside is told in one line, with a hint, and loses nothing that was accepted."""

from __future__ import annotations

import errno
import fcntl
import os
import sqlite3
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import psycopg
import pytest
from sqlalchemy.exc import OperationalError

from spooler.errors import (
    ConfigError,
    NotPermittedError,
    SpoolerError,
    StorageError,
    TryAgainError,
    UnavailableError,
)
from spooler.spool import connect, faults
from spooler.spool.lockfile import LockFile
from spooler.spool.store import Store
from tests.spool.making import DUE, NOW, ask, claim, content, counts, message, put, results, worker

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.servers.postgres import Postgres


def pragma(store: Store, text: str) -> None:
    """Set a PRAGMA on the store's own connection."""
    store._db.read(lambda conn: conn.exec_driver_sql(f"PRAGMA {text}"))


@pytest.fixture
def store(sqlite_url: str) -> Iterator[Store]:
    """An open spool on SQLite."""
    with Store.open(sqlite_url) as opened:
        yield opened


def test_disk_full(store: Store) -> None:
    """A full disk is told; what was accepted is there, and results are settled when there is room."""
    first = put(store, *(message() for _ in range(20)))
    me = worker(store)
    batch = results(claim(store, me))
    (pages,) = ask(store, "PRAGMA page_count")[0]
    pragma(store, f"max_page_count = {pages}")

    with pytest.raises(StorageError, match="disk full") as caught:
        put(store, *(message(content=content(b"x" * 100_000)) for _ in range(20)))
    assert "make room" in caught.value.hint

    pragma(store, "max_page_count = 1000000")
    assert store.settle(me, batch, now=DUE).settled == 20
    assert counts(store) == {"delivered": 20}
    assert len(ask(store, "SELECT id FROM message")) == len(first)


def test_read_only(store: Store) -> None:
    """A spool that cannot be written can be looked at, and says so when it is to be changed."""
    put(store)
    pragma(store, "query_only = ON")

    with pytest.raises(StorageError, match="read-only"):
        put(store)
    assert store.left() == 1


def test_locked_by_another_process(store: Store, sqlite_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever finds the lock taken waits for a while, and then says that it is."""
    monkeypatch.setattr(store._db._lock, "_patience", 0.05)  # type: ignore[attr-defined]  # SQLite's has one
    with Path(sqlite_url.removeprefix("sqlite:///") + ".lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        with pytest.raises(TryAgainError, match="locked by another process"):
            put(store)
        assert store.left() == 0  # looking needs no lock

    put(store)
    assert store.left() == 1


def test_lock_is_waited_for(tmp_path: Path) -> None:
    """A lock that is given back in time is taken."""
    first, second = (LockFile(str(tmp_path / "lock"), place="here") for _ in range(2))
    first.acquire()
    assert not second.try_acquire()
    waiting = threading.Thread(target=second.acquire)
    waiting.start()
    first.release()
    waiting.join()

    assert not first.try_acquire()
    second.close()
    assert first.try_acquire()
    first.close()
    first.close()


def test_locked_by_a_foreign_program(store: Store, sqlite_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A program that knows nothing of the lock file, sqlite3 for one, is waited for and told as well."""
    pragma(store, "busy_timeout = 50")
    foreign = sqlite3.connect(sqlite_url.removeprefix("sqlite:///"), isolation_level=None)
    foreign.execute("BEGIN IMMEDIATE")

    with pytest.raises(TryAgainError, match="locked by another process"):
        put(store)

    foreign.execute("COMMIT")
    foreign.close()
    put(store)


def test_many_writers(sqlite_url: str) -> None:
    """Writers of several processes take turns; nobody fails."""
    errors: list[SpoolerError] = []

    def run() -> None:
        try:
            with Store.open(sqlite_url) as mine:
                for _ in range(20):
                    put(mine)
        except SpoolerError as error:
            errors.append(error)

    threads = [threading.Thread(target=run) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert errors == []
    with Store.open(sqlite_url) as mine:
        assert mine.left() == 80


def test_log_is_bounded_without_a_worker(
    store: Store, sqlite_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever writes keeps the log from growing for ever; a reader in the way only puts it off."""
    monkeypatch.setattr(connect, "WAL_LIMIT", 200_000)
    store._db._wal_limit = 200_000  # type: ignore[attr-defined]  # SQLite's has one
    wal = Path(sqlite_url.removeprefix("sqlite:///") + "-wal")
    sizes = []
    for _ in range(10):
        put(store, message(content=content(b"x" * 100_000)))
        sizes.append(wal.stat().st_size)
    assert max(sizes) < 500_000

    reader = sqlite3.connect(sqlite_url.removeprefix("sqlite:///"), isolation_level=None)
    reader.execute("BEGIN")
    reader.execute("SELECT count(*) FROM message").fetchall()
    for _ in range(10):
        put(store, message(content=content(b"x" * 100_000)))
    assert wal.stat().st_size > 500_000
    reader.execute("COMMIT")
    reader.close()
    for _ in range(5):
        put(store, message(content=content(b"x" * 100_000)))
    assert wal.stat().st_size < 500_000


def test_checkpoint_that_fails(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was committed is acknowledged, even if the log cannot be brought in just then."""
    store._db._wal_limit = 0  # type: ignore[attr-defined]  # SQLite's has one
    monkeypatch.setattr(store._db, "_wal", Path("/nonexistent"))

    put(store)

    assert store.left() == 1


def test_commit_that_fails(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """A commit that fails is an error; nothing of it is there, and the worker goes on with the next claim."""
    put(store)
    me = worker(store)
    full = sqlite3.OperationalError("database or disk is full")
    full.sqlite_errorcode = sqlite3.SQLITE_FULL

    def fail() -> None:
        raise OperationalError("COMMIT", {}, full)

    with monkeypatch.context() as patch:
        patch.setattr(store._db._conn, "commit", fail)  # type: ignore[attr-defined]  # SQLite's has one
        with pytest.raises(StorageError, match="disk full"):
            claim(store, me)
        with pytest.raises(StorageError, match="disk full"):
            put(store)
    assert counts(store) == {"waiting": 1}

    assert [r.claims for c in claim(store, me) for r in c.recipients] == [1]
    store.unregister(me, now=DUE)
    assert counts(store) == {"waiting": 1}


def test_durability_of_commits(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Everything that is acknowledged is synced; a claim and a beat are not, and the next commit is again."""
    modes: dict[str, int] = {}
    db = store._db
    real = db._transact  # type: ignore[attr-defined]  # SQLite's has one

    def watched(work: object, in_doubt: object) -> object:
        modes[doing] = db._driver.execute("PRAGMA synchronous").fetchone()[0]  # type: ignore[attr-defined]  # SQLite's
        return real(work, in_doubt)

    monkeypatch.setattr(db, "_transact", watched)
    doing = "enqueue"
    put(store)
    doing = "register"
    me = worker(store)
    doing = "beat"
    store.beat(me, now=NOW)
    doing = "claim"
    claims = claim(store, me)
    doing = "settle"
    store.settle(me, results(claims), now=DUE)
    doing = "unregister"
    store.unregister(me, now=DUE)

    normal, full = 1, 2
    assert modes == {
        "enqueue": full,
        "register": full,
        "beat": normal,
        "claim": normal,
        "settle": full,
        "unregister": full,
    }


def told(error: BaseException) -> SpoolerError:
    """What a person is told of an error, also if SQLAlchemy wrapped it."""
    plain = faults.explain(error, "sqlite:///x")
    assert plain is not None
    assert isinstance(error, Exception)
    wrapped = faults.explain(OperationalError("SELECT", {}, error), "sqlite:///x")
    assert str(wrapped) == str(plain)
    assert "\n" not in str(plain)
    assert plain.hint
    return plain


@pytest.mark.parametrize(
    ("code", "kind", "what"),
    [
        (sqlite3.SQLITE_BUSY_SNAPSHOT, TryAgainError, "locked"),
        (sqlite3.SQLITE_LOCKED, TryAgainError, "locked"),
        (sqlite3.SQLITE_FULL, StorageError, "disk full"),
        (sqlite3.SQLITE_READONLY_DIRECTORY, StorageError, "read-only"),
        (sqlite3.SQLITE_PERM, NotPermittedError, "access denied"),
        (sqlite3.SQLITE_CANTOPEN, NotPermittedError, "cannot be opened"),
        (sqlite3.SQLITE_NOTADB, ConfigError, "not an SQLite database"),
        (sqlite3.SQLITE_CORRUPT, StorageError, "damaged"),
        (sqlite3.SQLITE_IOERR_FSYNC, StorageError, "input/output error"),
        (sqlite3.SQLITE_ERROR, StorageError, "said"),
    ],
)
def test_sqlite_errors(code: int, kind: type[SpoolerError], what: str) -> None:
    """Each of SQLite's errors has its kind and its words."""
    error = sqlite3.OperationalError("said so\non two lines")
    error.sqlite_errorcode = code

    found = told(error)

    assert type(found) is kind
    assert what in found.what


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (psycopg.errors.AdminShutdown, UnavailableError),
        (psycopg.errors.ConnectionFailure, UnavailableError),
        (psycopg.errors.TooManyConnections, UnavailableError),
        (psycopg.errors.QueryCanceled, TryAgainError),
        (psycopg.errors.DeadlockDetected, TryAgainError),
        (psycopg.errors.LockNotAvailable, TryAgainError),
        (psycopg.errors.DiskFull, StorageError),
        (psycopg.errors.OutOfMemory, StorageError),
        (psycopg.errors.IoError, StorageError),
        (psycopg.errors.DataCorrupted, StorageError),
        (psycopg.errors.ReadOnlySqlTransaction, StorageError),
        (psycopg.errors.InvalidPassword, NotPermittedError),
        (psycopg.errors.InsufficientPrivilege, NotPermittedError),
        (psycopg.errors.InvalidCatalogName, ConfigError),
        (psycopg.errors.UndefinedTable, ConfigError),
    ],
)
def test_postgres_errors(error: type[psycopg.Error], kind: type[SpoolerError]) -> None:
    """Each of PostgreSQL's errors has its kind."""
    assert type(told(error("said so\non two lines"))) is kind


@pytest.mark.parametrize(
    ("said", "kind"),
    [
        ("connection refused", UnavailableError),
        ("FATAL: password authentication failed", NotPermittedError),
        ("FATAL: no pg_hba.conf entry for host", NotPermittedError),
        ('FATAL: database "x" does not exist', ConfigError),
        ('FATAL: role "x" does not exist', NotPermittedError),
    ],
)
def test_postgres_refusals(said: str, kind: type[SpoolerError]) -> None:
    """A connection that fails has only words: they are understood."""
    assert type(told(psycopg.OperationalError(said))) is kind


@pytest.mark.parametrize(
    ("number", "kind"),
    [
        (errno.EACCES, NotPermittedError),
        (errno.ENOSPC, StorageError),
        (errno.EROFS, StorageError),
        (errno.EIO, StorageError),
    ],
)
def test_system_errors(number: int, kind: type[SpoolerError]) -> None:
    """So have the operating system's."""
    assert type(told(OSError(number, os.strerror(number), "file"))) is kind


@pytest.mark.parametrize(
    "error", [ValueError("x"), sqlite3.ProgrammingError("x"), psycopg.errors.SyntaxError("x")]
)
def test_bugs_stay_bugs(error: Exception) -> None:
    """What is a mistake of ours is not dressed up."""
    assert faults.explain(error, "") is None
    with pytest.raises(type(error)), faults.translated(""):
        raise error


def test_damaged_file(sqlite_url: str) -> None:
    """A damaged file is an error, not a traceback."""
    with Store.open(sqlite_url) as store:
        put(store, *(message() for _ in range(200)))
    path = Path(sqlite_url.removeprefix("sqlite:///"))
    with path.open("r+b") as file:
        for page in range(32, 200):
            file.seek(page * 4096)
            file.write(b"\xff" * 4096)

    with Store.open(sqlite_url) as store, pytest.raises(StorageError, match="damaged"):
        claim(store, worker(store), limit=500)


def test_a_file_that_was_moved_or_replaced(sqlite_url: str) -> None:
    """Nothing more is written to a file that lost its name, until it is back: nobody would see it."""
    path = Path(sqlite_url.removeprefix("sqlite:///"))
    aside = path.with_suffix(".aside")
    with Store.open(sqlite_url) as store:
        put(store, message())
        ours = worker(store)
        path.rename(aside)
        for there in (False, True):
            if there:
                path.write_bytes(aside.read_bytes())
            for act in (lambda: claim(store, ours), lambda: store.maintain(now=NOW)):
                with pytest.raises(StorageError, match=r"moved, removed or replaced .*\(stop all workers"):
                    act()
        aside.rename(path)
        assert len(claim(store, ours)) == 1


def test_one_lock_whatever_links_lead_to_the_file(sqlite_url: str) -> None:
    """Two processes that name the file differently keep out of each other's way all the same."""
    path = Path(sqlite_url.removeprefix("sqlite:///"))
    link = path.parent / "link.db"
    link.symlink_to(path)
    with Store.open(f"sqlite:///{link}") as store:
        put(store, message())
    assert not list(path.parent.glob("link.db?*"))


def test_no_database_server() -> None:
    """A server that is not there is told, without the password."""
    with pytest.raises(UnavailableError, match="does not answer") as caught:
        Store.open("postgresql://u:geheim@127.0.0.1:1/spool")

    assert "geheim" not in str(caught.value)


def test_no_such_database(postgres_server: Postgres) -> None:
    """A database that does not exist, and a user that does not, are told."""
    with pytest.raises(ConfigError, match="does not exist"):
        Store.open(postgres_server.url("nowhere"))
    with pytest.raises(NotPermittedError, match="does not exist"):
        Store.open(postgres_server.url("postgres").replace("spooler@", "nobody@"))


def test_database_server_restarted(postgres_url: str, postgres_server: Postgres) -> None:
    """Connections that died while they were idle are replaced, unseen."""
    with Store.open(postgres_url) as store:
        put(store)
        cut(postgres_server)
        put(store)
        cut(postgres_server)
        assert store.left() == 2
        cut(postgres_server)
        me = worker(store)
        cut(postgres_server)
        claims = claim(store, me)
        cut(postgres_server)
        assert len(store.contents([c.content for c in claims])) == 2


def cut(server: Postgres) -> None:
    """Cut all connections of the product."""
    with psycopg.connect(server.url("postgres"), autocommit=True) as conn:
        conn.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'spooler'"
        )


def test_connection_lost_in_a_commit(
    postgres_url: str, postgres_server: Postgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A commit whose fate is unknown is told as such; a claim of that kind is put right by the next."""
    with Store.open(postgres_url) as store:
        put(store)
        me = worker(store)
        real = store._db._engine.dialect.do_commit  # type: ignore[attr-defined]  # Postgres' has one

        def lossy(connection: object) -> None:
            real(connection)
            cut(postgres_server)
            real_connection = connection.driver_connection  # type: ignore[attr-defined]  # it is a connection
            real_connection.execute("SELECT 1")

        with monkeypatch.context() as patch:
            patch.setattr(store._db._engine.dialect, "do_commit", lossy)  # type: ignore[attr-defined]  # as above
            with pytest.raises(UnavailableError, match="which may have happened"):
                claim(store, me)
        assert counts(store) == {"active": 1}

        assert [r.claims for c in claim(store, me) for r in c.recipients] == [1]


def test_settling_whose_commit_was_not_acknowledged(
    postgres_url: str, postgres_server: Postgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is told as such, and settling the same again changes nothing: the ledger has each result once."""
    with Store.open(postgres_url) as store:
        (ident,) = put(store, message("a@example.org", "b@example.org"))
        me = worker(store)
        batch = results(claim(store, me))
        real = store._db._engine.dialect.do_commit  # type: ignore[attr-defined]  # Postgres' has one

        def lossy(connection: object) -> None:
            real(connection)
            cut(postgres_server)
            connection.driver_connection.execute("SELECT 1")  # type: ignore[attr-defined]  # it is a connection

        with monkeypatch.context() as patch:
            patch.setattr(store._db._engine.dialect, "do_commit", lossy)  # type: ignore[attr-defined]  # as above
            with pytest.raises(UnavailableError, match="which may have happened"):
                store.settle(me, batch, now=DUE)
        report = store.settle(me, batch, now=DUE)
        assert (report.settled, report.late) == (0, 0)
        assert counts(store) == {"delivered": 2}
        assert [entry.outcome for entry in store.ledger_of(ident)] == ["delivered"] * 2


def test_read_only_server(postgres_url: str) -> None:
    """A standby, or a database set read-only, is told."""
    with Store.open(postgres_url + "&options=-c%20default_transaction_read_only%3Don") as store:
        with pytest.raises(StorageError, match="read-only"):
            put(store)
        assert store.left() == 0
