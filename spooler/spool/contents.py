"""Reading contents back."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, cast

from spooler.envelope import CHUNK_SIZE
from spooler.spool import sql
from spooler.spool.statements import upkeep as st

if TYPE_CHECKING:
    from collections.abc import Sequence

    import psycopg
    from sqlalchemy import Connection

    from spooler.spool.connect import Database

SLICE = 256  # contents read by one statement; whoever asks limits their bytes


def contents(db: Database, idents: Sequence[int]) -> dict[int, bytes]:
    """Return whole contents of one chunk each; those that are longer, or not there, are left out."""
    found = db.read(partial(_contents, idents=idents))
    for ident in [ident for ident, data in found.items() if len(data) == CHUNK_SIZE]:
        if chunk(db, ident, 1) is not None:
            del found[ident]
    return found


def chunk(db: Database, content: int, sequence: int) -> bytes | None:
    """Return one chunk of a content, or None behind its end."""
    found = db.read(lambda conn: sql.run(conn, st.CHUNK, content=content, sequence=sequence).first())
    return None if found is None else bytes(found[0])


def _contents(conn: Connection, idents: Sequence[int]) -> dict[int, bytes]:
    found: dict[int, bytes] = {}
    for start in range(0, len(idents), SLICE):
        found.update(_slice(conn, idents[start : start + SLICE]))
    return found


def _slice(conn: Connection, idents: Sequence[int]) -> dict[int, bytes]:
    if conn.dialect.name == "postgresql":
        # binary, for as text every byte would travel as two and be parsed
        driver = cast("psycopg.Connection", conn.connection.driver_connection)
        text, _ = st.CONTENTS.render("postgresql", 0)
        with driver.cursor(binary=True) as cursor:
            return dict(cursor.execute(text.encode(), (list(idents),)).fetchall())
    return dict(sql.run(conn, st.CONTENTS, [(ident,) for ident in idents]).all())
