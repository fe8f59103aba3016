"""Looking into the spool without changing it: counts, single messages, the ledger."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

import msgspec

from spooler.records import LedgerEntry, MessageInfo, State, TallyRow
from spooler.spool import sql
from spooler.spool.statements import looking as st

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from spooler.records import QueuedRecipient
    from spooler.spool.connect import Database

S = TypeVar("S", bound=msgspec.Struct)


def stats(db: Database) -> list[TallyRow]:
    """Sum the tallies."""
    return db.read(
        lambda conn: [
            TallyRow(route=route, state=State(state), count=count)
            for route, state, count in sql.run(conn, st.STATS)
        ]
    )


def left(db: Database, routes: Sequence[str] | None) -> int:
    """How many recipients are queued and not held; None means on any route."""
    gauges = (State.WAITING, State.DEFERRED, State.ACTIVE)
    return sum(
        row.count for row in stats(db) if row.state in gauges and (routes is None or row.route in routes)
    )


def next_due(db: Database, routes: Sequence[str]) -> int | None:
    """When the next recipient of these routes is or was due, µs UTC."""
    return db.read(
        lambda conn: min(
            (
                due
                for route in routes
                for due in sql.run(conn, st.NEXT_DUE, route=route).one()
                if due is not None
            ),
            default=None,
        )
    )


def ahead(db: Database, row: QueuedRecipient, *, limit: int) -> int:
    """How many recipients of its route and class are due before this one; at most `limit` are counted."""
    facts = {name: getattr(row, name) for name in ("route", "priority", "due", "message_id", "n")}
    return db.read(lambda conn: int(sql.run(conn, st.AHEAD, **facts, limit=limit).scalar_one()))


def one_message(db: Database, ident: int) -> MessageInfo | None:
    """Return a message, or None."""
    found = db.read(lambda conn: structs(MessageInfo, sql.run(conn, st.MESSAGE, id=ident)))
    return found[0] if found else None


def ledger_of(db: Database, ident: int) -> list[LedgerEntry]:
    """All that happened to a message, in order."""
    return db.read(lambda conn: structs(LedgerEntry, sql.run(conn, st.LEDGER_OF, message_id=ident)))


def ledger_for(db: Database, address: str, *, limit: int) -> list[LedgerEntry]:
    """What happened to an address, newest first."""
    return db.read(
        lambda conn: structs(
            LedgerEntry, sql.run(conn, st.LEDGER_FOR, address=sql.clean(address), limit=limit)
        )
    )


def structs(kind: type[S], rows: Iterable[Sequence[Any]]) -> list[S]:
    """Make one of each row, whose columns are its fields in order."""
    names = kind.__struct_fields__
    return [msgspec.convert(dict(zip(names, row, strict=True)), kind, strict=False) for row in rows]
