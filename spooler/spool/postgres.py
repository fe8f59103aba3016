"""A spool on Postgres (see `spooler.spool.connect`): a module that is loaded only where there is one."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar, cast

import psycopg
import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError

from spooler.errors import UnavailableError
from spooler.spool.connect import TRIES, RepeatTransaction, contention
from spooler.spool.faults import is_disconnect, is_transient, translated

if TYPE_CHECKING:
    from collections.abc import Callable

    from sqlalchemy import Connection

    from spooler.spool.place import Place, PostgresPlace

T = TypeVar("T")

CONNECT_TIMEOUT = 10  # seconds
CONNECTIONS = 4  # a worker's threads, and one to spare
_OPTIONS = {
    # of libpq and psycopg, where the spool's URL does not say otherwise
    "connect_timeout": CONNECT_TIMEOUT,
    "application_name": "spooler",
    # plans are made with the values at hand: one made for others can be a sequential scan of the
    # queue; and a pgbouncer that pools transactions loses prepared statements
    "prepare_threshold": None,
    "keepalives_idle": 30,
    "keepalives_interval": 10,
    "keepalives_count": 3,
    "tcp_user_timeout": 60_000,
}


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
            connect_args={name: value for name, value in _OPTIONS.items() if name not in place.url.query},
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
            raise contention(self._name)

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
