"""Routes that a person has paused: nothing is claimed from them, by whatever worker."""

from __future__ import annotations

from typing import TYPE_CHECKING

from spooler.command import Pause
from spooler.spool import sql
from spooler.spool.looking import structs
from spooler.spool.statements import pausing as st

if TYPE_CHECKING:
    from spooler.spool.connect import Database


def pauses(db: Database) -> list[Pause]:
    """Name the routes that are paused."""
    return db.read(lambda conn: structs(Pause, sql.run(conn, st.PAUSES)))


def pause(db: Database, route: str, *, who: str, why: str, now: int) -> bool:
    """Let nothing be claimed from a route; False if it was paused already."""
    facts = {"route": route, "who": who, "why": why, "now": now}
    return db.write(lambda conn: sql.change(conn, st.PAUSE, **facts) == 1)


def resume(db: Database, route: str) -> bool:
    """Let a route go on; False if it was not paused."""
    return db.write(lambda conn: sql.change(conn, st.RESUME, route=route) == 1)
