"""What databases say when something is wrong, turned into errors for people: the one place that does it.

A statement that is itself wrong stays what it is, for that is a bug.
"""

from __future__ import annotations

import errno
import sqlite3
import stat
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from spooler.address import show
from spooler.errors import (
    ConfigError,
    NoInputError,
    NotPermittedError,
    SpoolerError,
    StorageError,
    TryAgainError,
    UnavailableError,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from typing import TypeGuard

    import psycopg

INIT = "spooler init"
_MAKE_ROOM = "make room; nothing that was accepted is lost"
_MAKE_WRITABLE = "make the file, its folder and its file system writable"
_SYSTEM = {
    errno.ENOSPC: ("disk full", _MAKE_ROOM),
    errno.EDQUOT: ("disk quota used up", _MAKE_ROOM),
    errno.EROFS: ("read-only", _MAKE_WRITABLE),
}
_SQLITE_TRANSIENT = {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}
_SQLITE_TAKEN = {
    sqlite3.SQLITE_CONSTRAINT_PRIMARYKEY,
    sqlite3.SQLITE_CONSTRAINT_ROWID,
    sqlite3.SQLITE_CONSTRAINT_UNIQUE,
}
# what another try in a new transaction can mend at once
_POSTGRES_TRANSIENT = ("40001", "40P01")
_POSTGRES_TAKEN = "23505"


@contextmanager
def translated(place: str) -> Iterator[None]:
    """Raise what databases raise as SpoolerError; `place` names the spool, without its password."""
    try:
        yield
    except database_errors() as error:
        told = explain(error, place)
        if told is None:
            raise
        raise told from error


def database_errors() -> tuple[type[Exception], ...]:
    """Everything that databases and their drivers raise."""
    mine = (SQLAlchemyError, sqlite3.Error, OSError)
    driver = sys.modules.get("psycopg")  # not loaded where nobody speaks with Postgres
    return mine if driver is None else (*mine, driver.Error)


def is_transient(error: BaseException) -> bool:
    """Whether the same transaction may well succeed when it is simply repeated."""
    cause = _cause(error)
    return _is_postgres(cause) and (cause.sqlstate or "") in _POSTGRES_TRANSIENT


def is_disconnect(error: BaseException) -> bool:
    """Whether the connection is gone."""
    return isinstance(error, DBAPIError) and error.connection_invalidated


def is_taken(error: BaseException) -> bool:
    """Whether a row with the same key is there already."""
    cause = _cause(error)
    if isinstance(cause, sqlite3.Error):
        return cause.sqlite_errorcode in _SQLITE_TAKEN
    return _is_postgres(cause) and cause.sqlstate == _POSTGRES_TAKEN


def explain(error: BaseException, place: str) -> SpoolerError | None:
    """Say it for people; None where it is a bug."""
    cause = _cause(error)
    if isinstance(cause, sqlite3.Error):
        return _sqlite(cause, place)
    if _is_postgres(cause):
        return _postgres(cause, place)
    if isinstance(cause, PermissionError):
        return NotPermittedError(
            f"{place}: {cause.strerror}: {cause.filename}", hint="run as the user that the spool belongs to"
        )
    if isinstance(cause, OSError):
        what, hint = _SYSTEM.get(cause.errno or 0, (cause.strerror or str(cause), "check the disk"))
        return StorageError(f"{place}: {what}", hint=hint)
    return None


def _is_postgres(error: BaseException) -> TypeGuard[psycopg.Error]:
    driver = sys.modules.get("psycopg")
    return driver is not None and isinstance(error, driver.Error)


def _cause(error: BaseException) -> BaseException:
    if isinstance(error, DBAPIError) and error.orig is not None:
        return error.orig
    return error


def _sqlite(error: sqlite3.Error, place: str) -> SpoolerError | None:  # a table, a line a case
    extended = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR)
    code = extended & 0xFF
    said = show(str(error))
    if code in _SQLITE_TRANSIENT:
        return TryAgainError(f"{place}: database is locked by another process", hint="try again")
    if code == sqlite3.SQLITE_FULL:
        return StorageError(f"{place}: disk full", hint=_MAKE_ROOM)
    if code == sqlite3.SQLITE_READONLY:
        return StorageError(f"{place}: read-only", hint=_MAKE_WRITABLE)
    if code in (sqlite3.SQLITE_PERM, sqlite3.SQLITE_AUTH):
        return NotPermittedError(f"{place}: access denied", hint="run as the user that the spool belongs to")
    if code == sqlite3.SQLITE_CANTOPEN:
        return NotPermittedError(
            f"{place}: cannot be opened: {said}", hint="check the permissions of the file and of its folder"
        )
    if code == sqlite3.SQLITE_NOTADB:
        return ConfigError(f"{place}: is not an SQLite database", hint="name another file in the URL")
    if code == sqlite3.SQLITE_CORRUPT:
        return StorageError(
            f"{place}: database is damaged: {said}", hint="restore it, or sqlite3 FILE .recover"
        )
    if code == sqlite3.SQLITE_IOERR:
        return StorageError(f"{place}: input/output error: {said}", hint="check the disk")
    if isinstance(error, sqlite3.OperationalError):
        return StorageError(f"{place}: {said}", hint=f"if it is not a spool of this version, run {INIT}")
    return None


_STATES: tuple[tuple[str, type[SpoolerError], str, str], ...] = (
    # prefix of SQLSTATE, kind, what, hint (PostgreSQL documentation, appendix A)
    ("08", UnavailableError, "connection to the database was lost", "try again"),
    ("57P", UnavailableError, "the database is shutting down or starting", "try again"),
    ("57014", TryAgainError, "the database cancelled a statement", "try again"),
    ("53100", StorageError, "disk full", _MAKE_ROOM),
    ("53300", UnavailableError, "the database takes no more connections", "raise max_connections"),
    ("53", StorageError, "the database is out of resources", "see its log"),
    ("58", StorageError, "the database had an input/output error", "see its log"),
    ("XX001", StorageError, "the database is damaged", "see its log"),
    ("XX002", StorageError, "the database is damaged", "see its log"),
    ("25006", StorageError, "read-only", "a spool cannot be on a standby: name the primary in the URL"),
    ("28", NotPermittedError, "the database refuses the user or the password", "mend the URL or pg_hba.conf"),
    ("42501", NotPermittedError, "permission denied", "grant the user all rights on the spool's tables"),
    ("3D000", ConfigError, "there is no such database", f"create it (createdb), then run {INIT}"),
    ("3F000", ConfigError, "there is no schema to create tables in", "set the user's search_path"),
    ("42P01", ConfigError, "a table is missing", f"run {INIT}"),
    ("42703", ConfigError, "a column is missing", f"run {INIT}"),
    ("40", TryAgainError, "the database rolled the transaction back", "try again"),
    ("55P03", TryAgainError, "database is locked by another process", "try again"),
)


def _postgres(error: psycopg.Error, place: str) -> SpoolerError | None:
    state = error.sqlstate or ""
    said = show(" ".join(str(error).split()), 200)
    for prefix, kind, what, hint in _STATES:
        if state.startswith(prefix):
            return kind(f"{place}: {what}: {said}", hint=hint)
    if isinstance(error, sys.modules["psycopg"].OperationalError):
        return _no_state(said, place)
    return None


def _no_state(said: str, place: str) -> SpoolerError:
    """A failed connection has a text only, from the server or from libpq."""
    if "authentication" in said or "pg_hba.conf" in said or "no password" in said:
        return NotPermittedError(
            f"{place}: the database refuses the user or the password: {said}",
            hint="mend the URL or pg_hba.conf",
        )
    if "database" in said and "does not exist" in said:
        return ConfigError(f"{place}: {said}", hint=f"create it (createdb), then run {INIT}")
    if "role" in said and "does not exist" in said:
        return NotPermittedError(f"{place}: {said}", hint="mend the user in the URL, or create it")
    return UnavailableError(f"{place}: the database does not answer: {said}", hint="is it running there?")


def not_there(path: Path, place: str) -> SpoolerError | None:
    """What keeps a file from being opened as a spool, seen without opening it; None if nothing."""
    try:
        status = path.stat()
    except FileNotFoundError:
        return NoInputError(f"{place}: there is no spool", hint=f"make one with: {INIT} --spool {place}")
    except OSError as error:
        return NotPermittedError(f"{place}: {error.strerror}", hint="check the permissions of its folder")
    if not stat.S_ISREG(status.st_mode):
        return NoInputError(f"{place}: is not a file", hint="name a file")
    return None
