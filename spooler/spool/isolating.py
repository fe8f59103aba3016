"""Claiming the suspects of one message alone, and holding a message; see `spooler.delivery.isolation`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from spooler.errors import TryAgainError
from spooler.records import State
from spooler.spool import sql
from spooler.spool.connect import RepeatTransaction
from spooler.spool.statements import isolating as st
from spooler.spool.tallies import Deltas

if TYPE_CHECKING:
    from sqlalchemy import Connection


def claim_json(
    conn: Connection, *, worker: int, message_id: int, route: str, limit: int, due: int
) -> str | None:
    """Take recipients of one message on a route that are due by then, those first with which most died.

    Returns them as claims do, None if there are none. Raises TryAgainError if the worker was declared dead.
    """
    check_living(conn, worker)
    which = {"message_id": message_id, "route": route, "due": due, "limit": limit}
    return sql.look_and_take(conn, st.LOOK_ALONE, st.TAKE_ALONE, st.CLAIM_ALONE, worker=worker, **which)


def hold(conn: Connection, *, message_id: int, route: str, why: str, writer: int) -> int:
    """Hold what is queued of a message on a route and with no worker; returns how many recipients."""
    deltas = Deltas()
    total = 0
    for state, count in sql.run(conn, st.HOLDABLE, message_id=message_id, route=route).all():
        deltas.move(route, state, State.HELD.value, count)
        total += count
    if total:
        if sql.run(conn, st.HOLD, message_id=message_id, route=route, why=why).rowcount != total:
            raise RepeatTransaction  # another worker gave some back just then
        deltas.apply(conn, writer)
    return total


def check_living(conn: Connection, worker: int) -> None:
    """Let nobody fence a worker until its claim is committed. Raises TryAgainError if that was done."""
    if sql.run(conn, st.LIVING, worker=worker).first() is None:
        raise dead()


def dead() -> TryAgainError:
    """Say that a worker has no right to claim any more."""
    return TryAgainError("this worker was declared dead", hint="its recipients were taken over; start again")
