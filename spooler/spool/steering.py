"""What people do with the queue: a page of it is looked through, what is selected is changed in batches.

Looking and changing are two steps, so that no lock is held while a long queue is looked through: a change
looks again at each of its recipients, and decides by what stands then.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError

from spooler.command import Command, Group, Key, Page, Passed, Steered
from spooler.records import State
from spooler.spool import sql
from spooler.spool.connect import RepeatTransaction
from spooler.spool.listing import recipients_like, state_of
from spooler.spool.notices import tell
from spooler.spool.schema import recipient
from spooler.spool.statements import settling
from spooler.spool.statements import steering as st
from spooler.spool.tallies import Deltas, slot

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import Connection, Row

    from spooler.command import Order
    from spooler.records import QueueFilter
    from spooler.spool.connect import Database
    from spooler.spool.runs import Runs

PAGE = 20_000
"""Recipients that are looked at in one statement."""
BATCH = 2000
"""Recipients that are changed in one transaction: some 50 ms of SQLite's only writer."""

_r = recipient.c


def select(db: Database, which: QueueFilter, *, after: Key) -> Page:
    """Look through a page of the queue, from behind `after`, for recipients that are to be changed."""
    upto = _page_end(db, after)
    query = sa.select(_r.message_id, _r.n).where(*_within(which, after, upto)).order_by(_r.message_id, _r.n)
    return Page(db.read(lambda conn: [(row[0], row[1]) for row in conn.execute(query)]), upto)


def count(db: Database, which: QueueFilter, *, after: Key) -> tuple[list[Group], Key | None]:
    """Count in a page of the queue what is selected; returns its last key too, None at the end."""
    upto = _page_end(db, after)
    kinds = sa.select(_r.route, state_of.label("state")).where(*_within(which, after, upto)).subquery()
    query = sa.select(kinds.c.route, kinds.c.state, sa.func.count()).group_by(kinds.c.route, kinds.c.state)
    return db.read(lambda conn: [Group(route, state, n) for route, state, n in conn.execute(query)]), upto


def _page_end(db: Database, after: Key) -> Key | None:
    scalars = {"message_id": after[0], "n": after[1], "skipped": PAGE - 1}
    row = db.read(lambda conn: sql.run(conn, st.PAGE_END, **scalars).first())
    return None if row is None else (row[0], row[1])


def _within(which: QueueFilter, after: Key, upto: Key | None) -> list[sa.ColumnElement[bool]]:
    key = sa.tuple_(_r.message_id, _r.n)
    conditions = [key > sa.tuple_(*after), *recipients_like(which)]
    return conditions if upto is None else [key <= sa.tuple_(*upto), *conditions]


def steer(db: Database, runs: Runs, order: Order, keys: Sequence[Key], *, now: int) -> Steered:
    """Do with these recipients, at most BATCH of them, what was ordered, in one transaction."""
    run = runs.take(len(keys), now=now)
    at = now

    def work(conn: Connection) -> Steered:
        nonlocal at
        found: list[Row[Any]] = []
        for page in sql.pages(st.EXAMINE, keys):
            found += sql.run(conn, st.EXAMINE, page).all()
        chosen, passed, again = _sort(order, found, now)
        missing = set(keys).difference((row.message_id, row.n) for row in found)
        if missing and db.is_postgres:  # on SQLite nobody else is changing anything
            locked = _queued(conn, sorted(missing))
            again += locked
            missing.difference_update(locked)
        passed[Passed.GONE] += len(missing)
        try:
            _change(conn, order, chosen, now=at, run=run)
        except IntegrityError as error:  # in the same microsecond something else was recorded of one of them
            at += 1
            raise RepeatTransaction from error
        deltas = Deltas()
        groups: Counter[tuple[str, str]] = Counter()
        for row in chosen:
            groups[row.route, row.state] += 1
            deltas[row.route, row.state] -= 1
            deltas[_then(order, row)] += 1
        deltas.apply(conn, slot())
        over = order.command in _SENDING and not order.lifetime
        return Steered(
            done=[Group(route, state, count) for (route, state), count in sorted(groups.items())],
            active=sum(row.state == State.ACTIVE for row in chosen),
            over_time=sum(row.expires <= now for row in chosen) if over else 0,
            passed={why: count for why, count in passed.items() if count},
            again=again,
        )

    return db.write(work)


_SENDING = frozenset({Command.RELEASE, Command.RETRY, Command.REROUTE})


def _sort(
    order: Order, found: Sequence[Row[Any]], now: int
) -> tuple[list[Row[Any]], Counter[Passed], list[Key]]:
    """Tell those that the command is for, those that stay as they are, and those to come back to."""
    chosen: list[Row[Any]] = []
    passed: Counter[Passed] = Counter()
    again: list[Key] = []
    for row in found:
        why = _passed(order, row, now)
        if why is None:
            chosen.append(row)
        elif why is Passed.ACTIVE and order.command.waits:
            again.append((row.message_id, row.n))
        else:
            passed[why] += 1
    return chosen, passed, again


def _passed(order: Order, row: Row[Any], now: int) -> Passed | None:
    match order.command:
        case Command.HOLD:
            return Passed.ALREADY if row.hold is not None else None
        case Command.RELEASE:
            return Passed.ALREADY if row.hold is None else None
        case Command.RETRY:
            if row.state == State.HELD:
                return Passed.HELD
            if row.state == State.ACTIVE:
                return Passed.ACTIVE
            if row.not_before is not None and row.not_before > now:
                return Passed.EARLY
            return Passed.ALREADY if row.due <= now else None
        case Command.REROUTE if row.route == order.route:
            return Passed.ALREADY
        case _:
            return Passed.ACTIVE if row.state == State.ACTIVE else None


def _queued(conn: Connection, keys: Sequence[Key]) -> list[Key]:
    return [(row[0], row[1]) for page in sql.pages(st.QUEUED, keys) for row in sql.run(conn, st.QUEUED, page)]


def _change(conn: Connection, order: Order, chosen: Sequence[Row[Any]], *, now: int, run: int) -> None:
    command = order.command
    keys = [(row.message_id, row.n) for row in chosen]
    record = {
        "now": now,
        "outcome": command.value,
        "enhanced": order.enhanced if command is Command.BOUNCE else "",
        "text": _text(order),
        "run": run,
        "who": order.who,
        "why": order.why or None,
    }
    if command is Command.BOUNCE:
        tell(conn, keys, now=now)
    for page in sql.pages(st.RECORD, keys):
        sql.run(conn, st.RECORD, page, **record)
        match command:
            case Command.HOLD:
                sql.run(conn, st.HOLD, page, hold=_held_by(order))
            case Command.RELEASE:
                sql.run(conn, st.RELEASE, page)
            case Command.RETRY:
                sql.run(conn, st.RETRY, page, now=now)
            case Command.REROUTE:
                sql.run(conn, st.REROUTE, page, route=order.route)
            case Command.REMOVE | Command.BOUNCE:
                sql.run(conn, settling.REMOVE, page)
    if order.lifetime:
        messages = sorted({message_id for message_id, _ in keys})
        for some in sql.pages(st.PROLONG, messages):
            sql.run(conn, st.PROLONG, [(ident,) for ident in some], expires=now + order.lifetime)


def _text(order: Order) -> str:
    if order.command is Command.BOUNCE:
        return order.text
    return f"to route {order.route}" if order.command is Command.REROUTE else ""


def _held_by(order: Order) -> str:
    return f"by {order.who}: {order.why}" if order.why else f"by {order.who}"


def _then(order: Order, row: Row[Any]) -> tuple[str, str]:
    """Return in which route and state a recipient counts from now on."""
    match order.command:
        case Command.REMOVE | Command.BOUNCE:
            return row.route, order.command.value
        case Command.REROUTE:
            return order.route, row.state
        case Command.HOLD if row.state != State.ACTIVE:
            return row.route, State.HELD.value
        case Command.RELEASE if row.state != State.ACTIVE:
            return row.route, State.DEFERRED.value if row.attempts else State.WAITING.value
        case _:
            return row.route, row.state
