"""Lists of what is queued.

A list scans the queue in the order of its key and stops at the limit: cheap without a filter or by message;
by anything else it may read the whole queue, which no worker waits for. None of them makes a list, either, so
this and the tables that it is written with are loaded when somebody does.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from spooler.records import GAUGES, QueuedRecipient, QueueFilter, State
from spooler.spool.looking import structs
from spooler.spool.schema import message, recipient

if TYPE_CHECKING:
    from sqlalchemy import ColumnElement

    from spooler.spool.connect import Database

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


def queue(
    db: Database, which: QueueFilter, *, limit: int | None, after: tuple[int, int] | None
) -> list[QueuedRecipient]:
    """List queued recipients by key, from behind `after`."""
    query = _list.where(*_conditions(which)).limit(limit)
    if after is not None:
        query = query.where(sa.tuple_(_r.message_id, _r.n) > sa.tuple_(*after))
    return db.read(lambda conn: structs(QueuedRecipient, conn.execute(query)))


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
