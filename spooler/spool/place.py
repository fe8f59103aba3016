"""Where a spool is: its URL read and checked, without touching anything."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote_plus

from sqlalchemy import URL, make_url
from sqlalchemy.exc import ArgumentError

from spooler.address import show
from spooler.errors import UsageError

_FORMS = "give sqlite:///relative.db, sqlite:////absolute.db or postgresql://user@host/database"

_SECRETS = frozenset({"password", "sslpassword"})
_MASK = "***"


@dataclass(frozen=True, slots=True)
class SqlitePlace:
    """A file; `path` is absolute and without links."""

    path: Path

    def __str__(self) -> str:
        # in a URL these two mean something
        return "sqlite:///" + str(self.path).replace("%", "%25").replace("?", "%3F")


@dataclass(frozen=True, slots=True)
class PostgresPlace:
    """A database on a server."""

    url: URL

    def __str__(self) -> str:
        secret = dict.fromkeys(_SECRETS & self.url.query.keys(), _MASK)
        url = self.url.set(drivername="postgresql").update_query_dict(secret)
        return url.render_as_string(hide_password=True).replace(quote_plus(_MASK), _MASK)


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
        _check_query(url)
        return PostgresPlace(url.set(drivername="postgresql+psycopg"))
    if scheme != "sqlite":
        raise UsageError(f"the spool's URL has the unsupported scheme '{show(scheme)}'", hint=_FORMS)
    if url.host or not url.database or url.database == ":memory:" or "\0" in url.database:
        raise UsageError("the spool's URL names no file", hint=_FORMS)
    _, begun, options = text.partition("?")  # `url.query` is without those that have no value
    if begun:
        raise UsageError(
            f"the spool's URL has the unknown option '{show(options.partition('=')[0])}'",
            hint="an SQLite file takes none; a ? in its name is written %3F",
        )
    # its log and its lock lie beside it: one place, whatever links lead there
    return SqlitePlace(Path(url.database).resolve())


def _check_query(url: URL) -> None:
    """Know the options before the driver does, which takes a wrong one for a fault of the program."""
    from psycopg.pq import Conninfo  # loaded for no file

    known = {option.keyword.decode() for option in Conninfo.get_defaults()}
    for name in url.query:
        if name not in known:
            raise UsageError(
                f"the spool's URL has the unknown option '{show(name)}'",
                hint="those of libpq are known, such as connect_timeout and sslmode",
            )
    timeout = url.query.get("connect_timeout", "0")
    if not (isinstance(timeout, str) and timeout.isascii() and timeout.isdigit()):
        raise UsageError("the spool's URL has a connect_timeout that is no number", hint="give seconds")
