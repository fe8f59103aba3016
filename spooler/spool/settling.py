"""Making results durable: the queue loses what ended, the ledger gains what happened, in one transaction.

Nearly always every result finds its recipient under its worker's lease, so that is tried first, with
guarded statements whose row counts tell. Results of one transaction mostly differ in the recipient alone:
such a *stretch* is one row for the database, which has the rest in the queue already. If the counts do not
add up, the database's transaction starts again, looks at what stands and decides for each result:

- it is in the ledger already: a repeat, nothing happens;
- delivered, and somebody else holds the recipient, or nobody: a final 2xx is a fact, the recipient is
  removed;
- anything else without the lease, or of a recipient that is gone: recorded as late, never an ending.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, NamedTuple

from sqlalchemy.exc import IntegrityError

from spooler.records import SettleReport, State
from spooler.result import Outcome
from spooler.spool import sql
from spooler.spool.connect import RepeatTransaction
from spooler.spool.notices import tell
from spooler.spool.statements import settling as st
from spooler.spool.tallies import Deltas

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import Connection

    from spooler.result import RecipientResult
    from spooler.spool.connect import Database

Key = tuple[int, int]
_TELLS_SENDER = (Outcome.FAILED, Outcome.EXPIRED)
LONG = 4  # results: from here on a stretch costs SQLite less than its recipients one by one


class Settled(NamedTuple):
    """What a batch came to; `leases` is how many leases of the worker it ended."""

    report: SettleReport
    leases: int


class _By(NamedTuple):
    """Who settles, when (µs UTC), and into which run of the ledger."""

    worker: int
    now: int
    run: int


class _Held(NamedTuple):
    """What stands of a recipient."""

    lease: int | None
    attempts: int
    hold: str | None
    route: str
    state: str


def settle(db: Database, worker: int, results: Sequence[RecipientResult], *, now: int, run: int) -> Settled:
    """Make a batch of results durable; doing it again changes nothing.

    `run` is the run of the ledger that it goes into.
    """
    if not results:
        return Settled(SettleReport(0, 0), 0)
    rounds = _rounds(results)
    careful = len(rounds) > 1
    by = _By(worker, now, run)

    def work(conn: Connection) -> Settled:
        nonlocal careful
        settled = late = leases = 0
        deltas = Deltas()
        for part in rounds:
            if careful:
                report, ended = _settle_each(conn, by, part, deltas)
            else:
                careful = True  # unless this succeeds
                report, ended = _settle_all(conn, by, part, deltas)
            settled += report.settled
            late += report.late
            leases += ended
        deltas.apply(conn, worker)
        return Settled(SettleReport(settled, late), leases)

    return db.write(work)


def _rounds(results: Sequence[RecipientResult]) -> list[list[RecipientResult]]:
    """Cut into batches that statements take, in order, no recipient twice in one."""
    most = st.RECORD.most_rows
    if len(results) <= most and len({(r.message_id, r.n) for r in results}) == len(results):
        return [list(results)]
    rounds: list[list[RecipientResult]] = []
    seen: set[Key] = set()
    for result in results:
        key = (result.message_id, result.n)
        if not rounds or key in seen or len(rounds[-1]) == most:
            rounds.append([])
            seen = set()
        seen.add(key)
        rounds[-1].append(result)
    return rounds


def _settle_all(conn: Connection, by: _By, results: Sequence[RecipientResult], deltas: Deltas) -> Settled:
    """Settle results that all have a right to their recipients; starts again if one has not."""
    long: list[Sequence[RecipientResult]] = []
    ending: list[RecipientResult] = []
    deferred: list[RecipientResult] = []
    telling: list[Key] = []
    counts: Counter[tuple[str, str, bool, bool]] = Counter()
    sqlite = conn.dialect.name == "sqlite"
    end = _end_on_sqlite if sqlite else _end_on_postgres
    for stretch in _stretches(results):
        first = stretch[0]
        outcome = first.outcome
        counts[first.route, outcome._value_, first.hold != "", first.uncertain] += len(stretch)
        if outcome is Outcome.DEFERRED:
            deferred += stretch
            continue
        if sqlite and len(stretch) < LONG:
            ending += stretch
        else:
            long.append(stretch)
        if outcome in _TELLS_SENDER:
            telling += [(r.message_id, r.n) for r in stretch]
    if telling:
        tell(conn, telling, now=by.now)
    if long:
        end(conn, by, long)
    if ending:
        _expect(
            sql.change(conn, st.END, [(r.message_id, r.n) for r in ending], worker=by.worker), len(ending)
        )
    if deferred:
        rows = [_deferral(r) for r in deferred]
        _expect(sql.change(conn, st.DEFER, rows, worker=by.worker), len(rows))
    if ending or deferred:
        sql.run(conn, st.RECORD, [_row(r, late=0) for r in ending + deferred], worker=by.worker, run=by.run)
    for (route, outcome_value, held, uncertain), count in counts.items():
        _count(deltas, route, outcome_value, State.ACTIVE.value, held=held, uncertain=uncertain, count=count)
    return Settled(SettleReport(len(results), 0), len(results))


def _stretches(results: Sequence[RecipientResult]) -> list[Sequence[RecipientResult]]:
    """Cut where anything but the address changes, or a number of the message is left out."""
    stretches = []
    start = 0
    p = results[0]
    for i, r in enumerate(results[1:], 1):
        if not (
            r.n == p.n + 1
            and r.message_id == p.message_id
            and r.at == p.at
            and r.text == p.text
            and r.outcome is p.outcome
            and r.stage is p.stage
            and r.code == p.code
            and r.waited == p.waited
            and r.took == p.took
            and r.attempt == p.attempt
            and r.route == p.route
            and r.destination == p.destination
            and r.enhanced == p.enhanced
            and r.due == p.due
            and r.uncertain is p.uncertain
            and r.hold == p.hold
        ):
            stretches.append(results[start:i])
            start = i
        p = r
    stretches.append(results[start:])
    return stretches


def _end_on_sqlite(conn: Connection, by: _By, stretches: Sequence[Sequence[RecipientResult]]) -> None:
    total = sum(map(len, stretches))
    rows = [(some[0].message_id, some[0].n, some[-1].n, *_facts(some[0])) for some in stretches]
    _expect(sql.change(conn, st.RECORD_STRETCHES, rows, worker=by.worker, run=by.run), total)
    _expect(sql.change_each(conn, st.END_STRETCH, [(*row[:3], by.worker) for row in rows]), total)


def _end_on_postgres(conn: Connection, by: _By, stretches: Sequence[Sequence[RecipientResult]]) -> None:
    keys = [(r.message_id, r.n, i) for i, some in enumerate(stretches, 1) for r in some]
    facts = sql.encoded([_facts(some[0]) for some in stretches])
    try:
        ended = sql.change(conn, st.END_ALIKE, keys, worker=by.worker, run=by.run, facts=facts)
    except IntegrityError as error:
        raise RepeatTransaction from error
    _expect(ended, len(keys))


def _settle_each(conn: Connection, by: _By, results: Sequence[RecipientResult], deltas: Deltas) -> Settled:
    keys = [(r.message_id, r.n) for r in results]
    standing = {(row[0], row[1]): _Held(*row[2:]) for row in sql.run(conn, st.STANDING, keys)}
    at = [(r.message_id, r.n, r.at) for r in results]
    recorded = {tuple(row) for row in sql.run(conn, st.RECORDED, at, worker=by.worker)}
    ending: list[Key] = []
    telling: list[Key] = []
    deferred: list[RecipientResult] = []
    deferred_held: list[RecipientResult] = []
    ledger: list[tuple[object, ...]] = []
    late = leases = 0
    for r in results:
        key = (r.message_id, r.n)
        held = standing.get(key)
        if (*key, r.at) in recorded:
            continue
        ours = held is not None and held.lease == by.worker and held.attempts < r.attempt
        if held is None or not (ours or r.outcome is Outcome.DELIVERED):
            deltas[r.route, State.LATE.value] += 1
            late += 1
            ledger.append(_row(r, late=1))
            continue
        leases += held.lease == by.worker
        ledger.append(_row(r, late=0))
        stays_held = held.hold is not None or r.hold != ""
        _count(
            deltas, held.route, r.outcome._value_, held.state, held=stays_held, uncertain=r.uncertain, count=1
        )
        if r.outcome is Outcome.DEFERRED:
            (deferred if held.hold is None else deferred_held).append(r)
            continue
        ending.append(key)
        if r.outcome in _TELLS_SENDER:
            telling.append(key)
    if telling:
        tell(conn, telling, now=by.now)
    if ending:
        _expect(sql.change(conn, st.REMOVE, ending), len(ending))
    for statement, some in ((st.DEFER, deferred), (st.DEFER_HELD, deferred_held)):
        if some:
            _expect(sql.change(conn, statement, [_deferral(r) for r in some], worker=by.worker), len(some))
    if ledger:
        sql.run(conn, st.RECORD, ledger, worker=by.worker, run=by.run)
    return Settled(SettleReport(len(ledger) - late, late), leases)


def _expect(rows: int, expected: int) -> None:
    if rows != expected:
        raise RepeatTransaction


def _count(
    deltas: Deltas, route: str, outcome: str, state: str, *, held: bool, uncertain: bool, count: int
) -> None:
    if outcome == Outcome.DEFERRED.value:
        deltas.move(route, state, State.HELD.value if held else State.DEFERRED.value, count)
        deltas[route, State.DEFERRALS.value] += count
        if uncertain:
            deltas[route, State.UNCERTAIN.value] += count
    else:
        deltas.move(route, state, outcome, count)


def _deferral(r: RecipientResult) -> tuple[object, ...]:
    return (
        r.message_id,
        r.n,
        r.due,
        r.attempt,
        1 if r.uncertain else 0,
        r.stage._value_,
        r.code,
        r.enhanced,
        r.text,
        r.hold,
    )


def _row(r: RecipientResult, *, late: int) -> tuple[object, ...]:
    # plain integers and strings: the driver binds those several times faster than their subclasses
    return (
        r.message_id,
        r.n,
        r.at,
        r.address,
        r.route,
        r.attempt,
        r.outcome._value_,
        1 if r.uncertain else 0,
        late,
        r.stage._value_,
        r.code,
        r.enhanced,
        r.text,
        r.destination,
        r.waited,
        r.took,
    )


def _facts(r: RecipientResult) -> tuple[object, ...]:
    """Give what the results of a stretch have in common."""
    return (
        r.at,
        r.route,
        r.attempt,
        r.outcome._value_,
        1 if r.uncertain else 0,
        r.stage._value_,
        r.code,
        r.enhanced,
        r.text,
        r.destination,
        r.waited,
        r.took,
    )
