"""Named statements for two databases, and how a whole batch of rows travels in one statement.

One statement a batch, never one a row: SQLite gives the interpreter lock up and takes it back at every
step, and Postgres costs a round trip. A batch stands in the text as the table `b`. On SQLite it is a
VALUES list of parameters (five times cheaper than json_each: no text is made and parsed); its length is
rounded up to one of a few sizes, with rows of zeros, so that the driver's cache of prepared statements is
hit. On Postgres, whose driver pays for each parameter, it is one JSON parameter. **Rows of zeros must have
no effect**: statements say `WHERE b.message_id > 0` or the like.

A text has `:name` for scalars and `{b}` for the batch; where the databases differ, `{lock}` and the like.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING, Any, TypeVar, cast

import msgspec

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterator, Sequence
    from typing import TypeAlias

    from sqlalchemy import Connection, CursorResult

    Rows: TypeAlias = CursorResult[*tuple[Any, ...]]

R = TypeVar("R")

SQLITE_MAX_PARAMETERS = 32_000  # SQLITE_MAX_VARIABLE_NUMBER is 32766 since 3.32
MAX_ROWS = 1024
_SIZES = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512, 768, MAX_ROWS)
_SCALAR = re.compile(r"(?<![:\w]):(\w+)")
_BATCH = "\0"

# what differs in a word or two
_WORDS = {
    "sqlite": {
        "lock": "",
        "share": "",
        "skip": "",
        "length": "length",
        "greatest": "max",
    },
    "postgresql": {
        "lock": "FOR UPDATE OF r",
        "share": "FOR SHARE",
        "skip": "FOR UPDATE OF r SKIP LOCKED",
        "length": "octet_length",
        "greatest": "greatest",
    },
}


@dataclass(frozen=True, eq=False)
class Statement:
    """A text, its batch's columns ("name type", Postgres' types), and a text for Postgres if that differs."""

    text: str
    columns: tuple[str, ...] = ()
    postgres: str = ""
    _rendered: dict[tuple[str, int], tuple[str, tuple[str, ...]]] = field(default_factory=dict, repr=False)

    @cached_property
    def most_rows(self) -> int:
        """How many rows one execution takes."""
        fitting = SQLITE_MAX_PARAMETERS // max(1, len(self.columns))
        return next(size for size in reversed(_SIZES) if size <= fitting)

    def render(self, dialect: str, rows: int) -> tuple[str, tuple[str, ...]]:
        """Return the driver's text for so many rows, and the names of its parameters in order."""
        found = self._rendered.get((dialect, rows))
        if found is None:
            found = self._rendered[dialect, rows] = self._render(dialect, rows)
        return found

    def _render(self, dialect: str, rows: int) -> tuple[str, tuple[str, ...]]:
        postgres = dialect == "postgresql"
        text = self.postgres if postgres and self.postgres else self.text
        for word, meaning in _WORDS[dialect].items():
            text = text.replace(f"{{{word}}}", meaning)
        if postgres:
            text = text.replace("%", "%%")
        names: list[str] = []

        def mark(match: re.Match[str]) -> str:
            names.append(match[1])
            return "%s" if postgres else "?"

        parts = text.split("{b}")
        rendered = _SCALAR.sub(mark, parts[0])
        for part in parts[1:]:
            rendered += _postgres_batch(self.columns) if postgres else _sqlite_batch(self.columns, rows)
            names.append(_BATCH)
            rendered += _SCALAR.sub(mark, part)
        return rendered, tuple(names)


@lru_cache(maxsize=64)
def _postgres_batch(columns: tuple[str, ...]) -> str:
    picks = []
    for i, column in enumerate(columns):
        name, _, kind = column.partition(" ")
        picks.append(f"CAST(e->>{i} AS {kind}) AS {name}")
    # The condition holds for every row, but Postgres takes it for a rare one: it expects few rows, and so
    # looks them up by an index, instead of reading the whole queue as long as that is short.
    source = "jsonb_array_elements(CAST(%s AS jsonb)) AS e WHERE jsonb_typeof(e) = 'array'"
    return f"b AS MATERIALIZED (SELECT {', '.join(picks)} FROM {source})"  # noqa: S608  # our own texts only


def _sqlite_batch(columns: tuple[str, ...], rows: int) -> str:
    names = ", ".join(column.partition(" ")[0] for column in columns)
    row = f"({','.join('?' * len(columns))})"
    return f"b({names}) AS (VALUES {','.join([row] * rows)})"


def run(
    conn: Connection, statement: Statement, rows: Sequence[tuple[Any, ...]] = (), /, **scalars: object
) -> Rows:
    """Execute; `rows` is the batch, at most `statement.most_rows`."""
    dialect = conn.dialect.name
    if not statement.columns:
        text, names = statement.render(dialect, 0)
        return conn.exec_driver_sql(text, tuple(scalars[name] for name in names))
    if not 0 < len(rows) <= statement.most_rows:
        raise ValueError(f"a batch of {len(rows)} rows")
    parameters: list[Any] = []
    if dialect == "postgresql":
        text, names = statement.render(dialect, 0)
        batch = encoded(rows)
        parameters += [batch if name == _BATCH else scalars[name] for name in names]
    else:
        size = next(size for size in _SIZES if size >= len(rows))
        text, names = statement.render(dialect, size)
        flat = [value for row in rows for value in row]
        flat += [0] * ((size - len(rows)) * len(statement.columns))
        for name in names:
            if name == _BATCH:
                parameters += flat
            else:
                parameters.append(scalars[name])
    try:
        return conn.exec_driver_sql(text, tuple(parameters))
    except UnicodeEncodeError:  # SQLite's driver met a lone surrogate, before it executed anything
        return conn.exec_driver_sql(text, tuple(map(storable, parameters)))


def change(
    conn: Connection, statement: Statement, rows: Sequence[tuple[Any, ...]] = (), /, **scalars: object
) -> int:
    """Execute, and return how many rows were inserted, updated or deleted."""
    if conn.dialect.name == "postgresql":
        return run(conn, statement, rows, **scalars).rowcount
    # SQLite's driver counts no rows of a statement that begins with WITH
    driver = cast("sqlite3.Connection", conn.connection.driver_connection)
    before = driver.total_changes
    run(conn, statement, rows, **scalars)
    return driver.total_changes - before


def look_and_take(
    conn: Connection, look: Statement, take: Statement, both: Statement, /, *, worker: int, **which: object
) -> str | None:
    """Take rows under the lease of `worker`, and return them as JSON; None if there are none.

    Postgres does it in one statement, `both`; on SQLite, where nobody else writes meanwhile, what `look`
    shows is what `take` takes.
    """
    found: str | None
    if conn.dialect.name != "sqlite":
        found = run(conn, both, worker=worker, **which).scalar_one()
        return found
    found = run(conn, look, **which).scalar_one()
    if found is not None:
        run(conn, take, worker=worker, **which)
    return found


def change_each(conn: Connection, statement: Statement, rows: Sequence[tuple[Any, ...]]) -> int:
    """Execute once for each row of scalars, in the text's order; return how many rows changed. SQLite only.

    For few executions that change many rows each: see above.
    """
    driver = cast("sqlite3.Connection", conn.connection.driver_connection)
    text, _ = statement.render("sqlite", 0)
    before = driver.total_changes
    conn.exec_driver_sql(text, list(rows))
    return driver.total_changes - before


def pages(statement: Statement, rows: Sequence[R]) -> Iterator[Sequence[R]]:
    """Cut a long list of rows into batches that `statement` takes."""
    step = statement.most_rows
    for start in range(0, len(rows), step):
        yield rows[start : start + step]


def encoded(rows: Sequence[tuple[Any, ...]]) -> str:
    """Encode for Postgres, which takes neither NUL nor lone surrogates in a text."""
    try:
        encoded = msgspec.json.encode(rows)
    except UnicodeEncodeError:
        encoded = b"\\u0000"
    if b"\\u0000" in encoded:
        encoded = msgspec.json.encode([tuple(map(storable, row)) for row in rows])
    return encoded.decode()


def clean(text: str) -> str:
    """Take out of a text what a database refuses: NUL goes, lone surrogates are spelt out."""
    if text.isascii() and "\0" not in text:
        return text
    return text.replace("\0", "").encode("utf-8", "backslashreplace").decode()


def storable(value: object) -> object:
    """Clean a value if it is a text."""
    return clean(value) if isinstance(value, str) else value
