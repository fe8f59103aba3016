"""What people do with the queue: a page of it is looked through, what is selected is changed in batches.

Looking and changing are two steps, so that no lock is held while a long queue is looked through: a change
looks again at each of its recipients, and decides by what stands then.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any, NamedTuple

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

    from sqlalchemy import Connection

    from spooler.command import Order
    from spooler.records import QueueFilter
    from spooler.spool.connect import Database
    from spooler.spool.runs import Runs

PAGE = 20_000
"""Recipients that are looked at in one statement."""
BATCH = 2000
"""Recipients that are changed in one transaction: some 30 ms of SQLite's only writer."""

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


class _Kind(NamedTuple):
    """What is decided by, the same for all recipients of a kind.

    `late`: due later; `early`: not to be sent before later; `over`: over their time.
    """

    route: str
    state: str
    tried: bool
    held: bool
    late: bool
    early: bool
    over: bool


def steer(db: Database, runs: Runs, order: Order, keys: Sequence[Key], *, now: int) -> Steered:
    """Do with these recipients, at most BATCH of them, what was ordered, in one transaction."""
    run = runs.take(len(keys), now=now)
    at = now

    def work(conn: Connection) -> Steered:
        nonlocal at
        kinds = _examine(conn, keys, now)
        chosen = {kind: some for kind, some in kinds.items() if _passed(order, kind) is None}
        passed: Counter[Passed] = Counter()
        again: list[Key] = []
        for kind, some in kinds.items():
            why = _passed(order, kind)
            if why is Passed.ACTIVE and order.command.waits:
                again += some
            elif why is not None:
                passed[why] += len(some)
        missing = len(keys) - sum(map(len, kinds.values()))
        if missing and db.is_postgres:  # on SQLite nobody else is changing anything
            locked = _queued(conn, sorted(set(keys).difference(*kinds.values())))
            again += locked
            missing -= len(locked)
        passed[Passed.GONE] += missing
        try:
            _change(conn, order, [key for some in chosen.values() for key in some], now=at, run=run)
        except IntegrityError as error:  # in the same microsecond something else was recorded of one of them
            at += 1
            raise RepeatTransaction from error
        groups: Counter[tuple[str, str]] = Counter()
        deltas = Deltas()
        for kind, some in chosen.items():
            groups[kind.route, kind.state] += len(some)
            deltas[kind.route, kind.state] -= len(some)
            deltas[_then(order, kind)] += len(some)
        deltas.apply(conn, slot())
        ends_soon = order.command in _SENDING and not order.lifetime
        return Steered(
            done=[Group(route, state, count) for (route, state), count in sorted(groups.items())],
            active=sum(len(some) for kind, some in chosen.items() if kind.state == State.ACTIVE),
            over_time=sum(len(some) for kind, some in chosen.items() if kind.over and ends_soon),
            passed={why: count for why, count in passed.items() if count},
            again=again,
        )

    return db.write(work)


_SENDING = frozenset({Command.RELEASE, Command.RETRY, Command.REROUTE})


def _examine(conn: Connection, keys: Sequence[Key], now: int) -> dict[_Kind, list[Key]]:
    """See what stands of these recipients; those that somebody else is changing are left out."""
    found: dict[tuple[Any, ...], list[Key]] = {}
    for page in sql.pages(st.EXAMINE, keys):
        for message_id, n, *facts in sql.run(conn, st.EXAMINE, page, now=now):
            found.setdefault(tuple(facts), []).append((message_id, n))
    return {_Kind(*facts): some for facts, some in found.items()}


def _passed(order: Order, kind: _Kind) -> Passed | None:
    """Why recipients of a kind stay as they are, if they do."""
    match order.command:
        case Command.HOLD:
            return Passed.ALREADY if kind.held else None
        case Command.RELEASE:
            return None if kind.held else Passed.ALREADY
        case Command.RETRY:
            if kind.state == State.ACTIVE:
                return Passed.ACTIVE
            if kind.held:
                return Passed.HELD
            if kind.early:
                return Passed.EARLY
            return None if kind.late else Passed.ALREADY
        case Command.REROUTE if kind.route == order.route:
            return Passed.ALREADY
        case _:
            return Passed.ACTIVE if kind.state == State.ACTIVE else None


def _queued(conn: Connection, keys: Sequence[Key]) -> list[Key]:
    return [(row[0], row[1]) for page in sql.pages(st.QUEUED, keys) for row in sql.run(conn, st.QUEUED, page)]


def _change(conn: Connection, order: Order, keys: Sequence[Key], *, now: int, run: int) -> None:
    command = order.command
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


def _then(order: Order, kind: _Kind) -> tuple[str, str]:
    """Return in which route and state recipients of a kind count from now on."""
    match order.command:
        case Command.REMOVE | Command.BOUNCE:
            return kind.route, order.command.value
        case Command.REROUTE:
            return order.route, kind.state
        case Command.HOLD if kind.state != State.ACTIVE:
            return kind.route, State.HELD.value
        case Command.RELEASE if kind.state != State.ACTIVE:
            return kind.route, State.DEFERRED.value if kind.tried else State.WAITING.value
        case _:
            return kind.route, kind.state
