"""Looking into the spool without changing it: counts, lists, single messages, the ledger.

A list scans the queue in the order of its key and stops at the limit: cheap without a filter or by message;
by anything else it may read the whole queue, which no worker waits for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

import msgspec
import sqlalchemy as sa

from spooler.records import GAUGES, LedgerEntry, MessageInfo, QueuedRecipient, QueueFilter, State, TallyRow
from spooler.spool import sql
from spooler.spool.schema import message, recipient
from spooler.spool.statements import looking as st

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from sqlalchemy import ColumnElement

    from spooler.spool.connect import Database

S = TypeVar("S", bound=msgspec.Struct)

_r, _m = recipient.c, message.c
_state = sa.case(
    (_r.lease.is_not(None), State.ACTIVE.value),
    (_r.hold.is_not(None), State.HELD.value),
    (_r.attempts > 0, State.DEFERRED.value),
    else_=State.WAITING.value,
)
_columns: dict[str, ColumnElement[Any]] = {
    **{name: column for name, column in _r.items() if name in QueuedRecipient.__struct_fields__},
    "state": _state,
    "uncertain": _r.may_be_delivered,
    **{name: _m[name] for name in ("sender", "size", "job", "tenant", "created", "expires")},
}
_list = (
    sa.select(*(_columns[name].label(name) for name in QueuedRecipient.__struct_fields__))
    .join_from(recipient, message, _m.id == _r.message_id)
    .order_by(_r.message_id, _r.n)
)


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


def queue(
    db: Database, which: QueueFilter, *, limit: int | None, after: tuple[int, int] | None
) -> list[QueuedRecipient]:
    """List queued recipients by key, from behind `after`."""
    query = _list.where(*_conditions(which)).limit(limit)
    if after is not None:
        query = query.where(sa.tuple_(_r.message_id, _r.n) > sa.tuple_(*after))
    return db.read(lambda conn: _structs(QueuedRecipient, conn.execute(query)))


def one_message(db: Database, ident: int) -> MessageInfo | None:
    """Return a message, or None."""
    found = db.read(lambda conn: _structs(MessageInfo, sql.run(conn, st.MESSAGE, id=ident)))
    return found[0] if found else None


def ledger_of(db: Database, ident: int) -> list[LedgerEntry]:
    """All that happened to a message, in order."""
    return db.read(lambda conn: _structs(LedgerEntry, sql.run(conn, st.LEDGER_OF, message_id=ident)))


def ledger_for(db: Database, address: str, *, limit: int) -> list[LedgerEntry]:
    """What happened to an address, newest first."""
    return db.read(
        lambda conn: _structs(
            LedgerEntry, sql.run(conn, st.LEDGER_FOR, address=sql.clean(address), limit=limit)
        )
    )


def _conditions(which: QueueFilter) -> list[ColumnElement[bool]]:
    conditions: list[ColumnElement[bool]] = []
    exact = {
        _r.message_id: which.message_id,
        _r.route: which.route,
        _state: which.state and which.state.value,
        _m.sender: which.sender,
        _m.job: which.job,
        _m.tenant: which.tenant,
    }
    conditions += [column == value for column, value in exact.items() if value is not None]
    if which.address is not None:
        conditions.append(sa.func.lower(_r.address) == sa.func.lower(which.address))
    if which.domain is not None:
        conditions.append(_r.domain == which.domain.lower())
    if which.uncertain:
        conditions.append(_r.may_be_delivered.is_(sa.true()))
    if which.state is not None and which.state not in GAUGES:
        conditions.append(sa.false())
    return conditions


def _structs(kind: type[S], rows: Iterable[Sequence[Any]]) -> list[S]:
    names = kind.__struct_fields__
    return [msgspec.convert(dict(zip(names, row, strict=True)), kind, strict=False) for row in rows]
