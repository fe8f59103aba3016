"""Where a spool is: its URL read and checked, without touching anything."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import URL, make_url
from sqlalchemy.exc import ArgumentError

from spooler.address import show
from spooler.errors import UsageError

_FORMS = "give sqlite:///relative.db, sqlite:////absolute.db or postgresql://user@host/database"


@dataclass(frozen=True, slots=True)
class SqlitePlace:
    """A file; `path` is absolute."""

    path: Path

    def __str__(self) -> str:
        # in a URL these two mean something
        return "sqlite:///" + str(self.path).replace("%", "%25").replace("?", "%3F")


@dataclass(frozen=True, slots=True)
class PostgresPlace:
    """A database on a server."""

    url: URL

    def __str__(self) -> str:
        return self.url.set(drivername="postgresql").render_as_string(hide_password=True)


Place = SqlitePlace | PostgresPlace


def parse_place(text: str) -> Place:
    """Read a spool's URL; raises UsageError, which never shows a password."""
    try:
        url = make_url(text)
        scheme = url.drivername
    except (ArgumentError, ValueError):
        raise UsageError("the spool's URL is not understood", hint=_FORMS) from None
    if scheme in ("postgresql", "postgres", "postgresql+psycopg"):
        if not url.database:
            raise UsageError("the spool's URL names no database", hint=_FORMS)
        return PostgresPlace(url.set(drivername="postgresql+psycopg"))
    if scheme != "sqlite":
        raise UsageError(f"the spool's URL has the unsupported scheme '{show(scheme)}'", hint=_FORMS)
    if url.host or url.query or not url.database or url.database == ":memory:" or "\0" in url.database:
        raise UsageError("the spool's URL names no file", hint=_FORMS)
    return SqlitePlace(Path(url.database).absolute())
