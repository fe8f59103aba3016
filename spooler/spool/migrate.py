"""Making a spool, and bringing an old one to the newest schema. The only place that creates anything."""

from __future__ import annotations

import os
import uuid
from pathlib import Path
from typing import TYPE_CHECKING

import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory

import spooler
from spooler.errors import CannotCreateError
from spooler.ident import now_us
from spooler.spool.connect import connect
from spooler.spool.place import SqlitePlace, parse_place
from spooler.spool.revision import REVISION
from spooler.spool.schema import spool
from spooler.spool.standing import check_schema, revision_of, too_new

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from spooler.spool.place import Place

__all__ = ["check_schema", "create_or_upgrade", "head"]

_PAGE_SIZE = 4096  # bytes; measured: 8192 wastes half a page for each 4 KB content, 16384 gains nothing


def create_or_upgrade(url: str) -> str:
    """Make the spool at `url`, or upgrade it; returns what was done, in a few words."""
    place = parse_place(url)
    if isinstance(place, SqlitePlace):
        _create_file(place.path, str(place))
    db = connect(place)
    try:
        before = db.read(lambda conn: revision_of(conn, place))
        if before is not None and before > REVISION:
            raise too_new(place, before)
    except BaseException:
        db.abandon()
        raise
    try:
        if isinstance(place, SqlitePlace) and before is None:
            db.read(_prepare_file)
        done = db.write(lambda conn: _upgrade(conn, place))
    finally:
        db.close()
    if done is None:
        return f"{place}: made a spool"
    return f"{place}: nothing to do" if done == REVISION else f"{place}: upgraded from {done} to {REVISION}"


def head() -> str:
    """Return the newest revision among the migrations."""
    return str(ScriptDirectory.from_config(_config()).get_current_head())


def _upgrade(conn: Connection, place: Place) -> str | None:
    """Return the revision that was there before."""
    if conn.dialect.name == "postgresql":
        conn.execute(sa.text("SELECT pg_advisory_xact_lock(hashtext('spooler.migrate'))"))
    before = revision_of(conn, place)
    if before != REVISION:
        config = _config()
        config.attributes["connection"] = conn
        command.upgrade(config, "head")
    if before is None:
        conn.execute(spool.insert().values(uuid=str(uuid.uuid4()), created=now_us()))
    return before


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(_scripts()).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    return config


def _scripts() -> Path:
    package = Path(spooler.__file__).parent
    inside = package / "_migrations"  # in a wheel
    return inside if inside.is_dir() else package.parent / "migrations"


def _create_file(path: Path, place: str) -> None:
    """Create an empty file for its owner only, mail being private; SQLite's other files follow its mode."""
    try:
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_CLOEXEC, 0o600))
    except FileExistsError:
        return
    except OSError as error:
        raise CannotCreateError(
            f"{place}: cannot be created: {error.strerror}", hint="its folder must exist and be writable"
        ) from None


def _prepare_file(conn: Connection) -> None:
    conn.exec_driver_sql(f"PRAGMA page_size = {_PAGE_SIZE}")
    conn.exec_driver_sql("PRAGMA journal_mode = WAL")
