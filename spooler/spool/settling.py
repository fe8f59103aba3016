"""Making results durable: the queue loses what ended, the ledger gains what happened, in one transaction.

Nearly always every result finds its recipient under its worker's lease, so that is tried first, with
guarded statements whose row counts tell. If they do not add up, the transaction starts again, looks at
what stands and decides for each result:

- it is in the ledger already: a repeat, nothing happens;
- delivered, and somebody else holds the recipient, or nobody: a final 2xx is a fact, the recipient is
  removed;
- anything else without the lease, or of a recipient that is gone: recorded as late, never an ending.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, NamedTuple

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


class Settled(NamedTuple):
    """What a batch came to; `leases` is how many leases of the worker it ended."""

    report: SettleReport
    leases: int


class _Held(NamedTuple):
    """What stands of a recipient."""

    lease: int | None
    attempts: int
    hold: str | None
    route: str
    state: str


def settle(db: Database, worker: int, results: Sequence[RecipientResult], *, now: int) -> Settled:
    """Make a batch of results durable; doing it again changes nothing."""
    if not results:
        return Settled(SettleReport(0, 0), 0)
    rounds = _rounds(results)
    careful = len(rounds) > 1

    def work(conn: Connection) -> Settled:
        nonlocal careful
        settled = late = leases = 0
        deltas = Deltas()
        for part in rounds:
            if careful:
                report, ended = _settle_each(conn, worker, part, now, deltas)
            else:
                careful = True  # unless this succeeds
                report, ended = _settle_all(conn, worker, part, now, deltas)
            settled += report.settled
            late += report.late
            leases += ended
        deltas.apply(conn, worker)
        return Settled(SettleReport(settled, late), leases)

    return db.write(work)


def _rounds(results: Sequence[RecipientResult]) -> list[list[RecipientResult]]:
    """Cut into batches that statements take, in order, no recipient twice in one."""
    rounds: list[list[RecipientResult]] = []
    seen: set[Key] = set()
    for result in results:
        key = (result.message_id, result.n)
        if not rounds or key in seen or len(rounds[-1]) == st.RECORD.most_rows:
            rounds.append([])
            seen = set()
        seen.add(key)
        rounds[-1].append(result)
    return rounds


def _settle_all(
    conn: Connection, worker: int, results: Sequence[RecipientResult], now: int, deltas: Deltas
) -> Settled:
    """Settle results that all have a right to their recipients; starts again if one has not."""
    endings = [(r.message_id, r.n) for r in results if r.outcome is not Outcome.DEFERRED]
    if endings:
        telling = [(r.message_id, r.n) for r in results if r.outcome in _TELLS_SENDER]
        if telling:
            tell(conn, telling, now=now)
        _expect(sql.change(conn, st.END, endings, worker=worker), len(endings))
    if len(endings) < len(results):
        deferred = [_deferral(r) for r in results if r.outcome is Outcome.DEFERRED]
        _expect(sql.change(conn, st.DEFER, deferred, worker=worker), len(deferred))
    sql.run(conn, st.RECORD, [_row(r, late=0) for r in results], worker=worker)
    for (route, outcome), count in Counter([(r.route, r.outcome._value_) for r in results]).items():
        _count(deltas, route, outcome, State.ACTIVE.value, held=False, count=count)
    return Settled(SettleReport(len(results), 0), len(results))


def _settle_each(
    conn: Connection, worker: int, results: Sequence[RecipientResult], now: int, deltas: Deltas
) -> Settled:
    keys = [(r.message_id, r.n) for r in results]
    standing = {(row[0], row[1]): _Held(*row[2:]) for row in sql.run(conn, st.STANDING, keys)}
    at = [(r.message_id, r.n, r.at) for r in results]
    recorded = {tuple(row) for row in sql.run(conn, st.RECORDED, at, worker=worker)}
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
        ours = held is not None and held.lease == worker and held.attempts < r.attempt
        if held is None or not (ours or r.outcome is Outcome.DELIVERED):
            deltas[r.route, State.LATE.value] += 1
            late += 1
            ledger.append(_row(r, late=1))
            continue
        leases += held.lease == worker
        ledger.append(_row(r, late=0))
        _count(deltas, held.route, r.outcome._value_, held.state, held=held.hold is not None)
        if r.outcome is Outcome.DEFERRED:
            (deferred if held.hold is None else deferred_held).append(r)
            continue
        ending.append(key)
        if r.outcome in _TELLS_SENDER:
            telling.append(key)
    if telling:
        tell(conn, telling, now=now)
    if ending:
        _expect(sql.change(conn, st.REMOVE, ending), len(ending))
    for statement, some in ((st.DEFER, deferred), (st.DEFER_HELD, deferred_held)):
        if some:
            _expect(sql.change(conn, statement, [_deferral(r) for r in some], worker=worker), len(some))
    if ledger:
        sql.run(conn, st.RECORD, ledger, worker=worker)
    return Settled(SettleReport(len(ledger) - late, late), leases)


def _expect(rows: int, expected: int) -> None:
    if rows != expected:
        raise RepeatTransaction


def _count(deltas: Deltas, route: str, outcome: str, state: str, *, held: bool, count: int = 1) -> None:
    if outcome == Outcome.DEFERRED.value:
        deltas.move(route, state, State.HELD.value if held else State.DEFERRED.value, count)
        deltas[route, State.DEFERRALS.value] += count
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
