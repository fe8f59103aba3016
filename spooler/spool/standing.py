"""What a database is to this program: a spool of its own version, of another, or something else."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import sqlalchemy as sa

from spooler.errors import ConfigError, NoInputError, SpoolerError
from spooler.spool.faults import INIT
from spooler.spool.revision import REVISION

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from spooler.spool.connect import Database
    from spooler.spool.place import Place

VERSIONS = "alembic_version"
_SPOOL = "spool"  # the table with the one row
_NUMBERED = re.compile(r"\d{4}")


def check_schema(db: Database) -> str:
    """Return the spool's UUID; raises if the database is no spool that this program can work with."""
    return db.read(lambda conn: _check(conn, db.place))


def revision_of(conn: Connection, place: Place) -> str | None:
    """Return the schema's revision, None for an empty database; raises ConfigError for a foreign one."""
    there = set(sa.inspect(conn).get_table_names())
    if VERSIONS not in there or _SPOOL not in there:
        from spooler.spool.schema import metadata  # costs more to load than all else here

        # Postgres: tables of others may stand beside ours, but not under our names
        ours = {*metadata.tables, VERSIONS}
        foreign = there & ours if db_is_shared(conn) else there
        if foreign:
            raise _foreign(place)
        return None
    revision = conn.execute(sa.text(f"SELECT version_num FROM {VERSIONS}")).scalar_one_or_none()  # noqa: S608  # ours
    if revision is None or not _NUMBERED.fullmatch(revision):
        raise _foreign(place)
    return str(revision)


def db_is_shared(conn: Connection) -> bool:
    """Whether others may keep tables in the same database."""
    return conn.dialect.name == "postgresql"


def too_new(place: Place, revision: str) -> SpoolerError:
    """Say that the program is older than the spool."""
    return ConfigError(
        f"{place}: the spool has schema {revision}, this program knows {REVISION} at most",
        hint="upgrade spooler, or use another spool",
    )


def _check(conn: Connection, place: Place) -> str:
    revision = revision_of(conn, place)
    if revision is None:
        raise NoInputError(
            f"{place}: there is no spool in this database", hint=f"make one with: {INIT} --spool URL"
        )
    if revision > REVISION:
        raise too_new(place, revision)
    if revision < REVISION:
        raise ConfigError(
            f"{place}: the spool has the older schema {revision}, this program needs {REVISION}",
            hint=f"stop all workers and run: {INIT} --spool URL",
        )
    return str(conn.execute(sa.text("SELECT uuid FROM spool")).scalar_one())


def _foreign(place: Place) -> SpoolerError:
    return ConfigError(
        f"{place}: the database belongs to something else",
        hint="give the URL of a spool, or of a new database and run " + INIT,
    )
