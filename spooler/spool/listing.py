"""Lists of what is queued.

A list scans the queue in the order of its key and stops at the limit: cheap without a filter or by message;
by anything else it may read the whole queue, which no worker waits for. None of them makes a list, either, so
this and the tables that it is written with are loaded when somebody does.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from spooler.ident import floor_at
from spooler.records import GAUGES, QueuedRecipient, QueueFilter, State
from spooler.spool.looking import structs
from spooler.spool.schema import message, recipient

if TYPE_CHECKING:
    from sqlalchemy import ColumnElement

    from spooler.spool.connect import Database

_r, _m = recipient.c, message.c
state_of = sa.case(
    (_r.lease.is_not(None), State.ACTIVE.value),
    (_r.hold.is_not(None), State.HELD.value),
    (_r.attempts > 0, State.DEFERRED.value),
    else_=State.WAITING.value,
)
_columns: dict[str, ColumnElement[Any]] = {
    **{name: column for name, column in _r.items() if name in QueuedRecipient.__struct_fields__},
    "state": state_of,
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
    query = _list.where(*_of_recipient(which), *_of_message(which)).limit(limit)
    if after is not None:
        query = query.where(sa.tuple_(_r.message_id, _r.n) > sa.tuple_(*after))
    return db.read(lambda conn: structs(QueuedRecipient, conn.execute(query)))


def recipients_like(which: QueueFilter) -> list[ColumnElement[bool]]:
    """Make conditions on the queue alone, without a join.

    What is asked of a message is a subquery that stands for one value: neither database makes that a join
    with all messages.
    """
    conditions = _of_recipient(which)
    of_message = _of_message(which)
    if of_message:
        one = sa.select(sa.literal(1)).where(_m.id == _r.message_id, *of_message).limit(1)
        conditions.append(one.correlate(recipient).scalar_subquery().is_not(None))
    return conditions


def _of_message(which: QueueFilter) -> list[ColumnElement[bool]]:
    exact = {_m.sender: which.sender, _m.job: which.job, _m.tenant: which.tenant}
    return [column == value for column, value in exact.items() if value is not None]


def _of_recipient(which: QueueFilter) -> list[ColumnElement[bool]]:
    conditions: list[ColumnElement[bool]] = []
    exact = {
        _r.message_id: which.message_id,
        _r.route: which.route,
        state_of: which.state and which.state.value,
    }
    conditions += [column == value for column, value in exact.items() if value is not None]
    if which.before is not None:  # ids sort by the time of their making
        conditions.append(_r.message_id < floor_at(which.before))
    if which.since is not None:
        conditions.append(_r.message_id >= floor_at(which.since))
    if which.address is not None:
        conditions.append(sa.func.lower(_r.address) == sa.func.lower(which.address))
    if which.domain is not None:
        conditions.append(_r.domain == which.domain.lower())
    if which.uncertain:
        conditions.append(_r.may_be_delivered.is_(sa.true()))
    if which.state is not None and which.state not in GAUGES:
        conditions.append(sa.false())
    return conditions
