"""Workers and their leases: register, beat, claim, release; of dead ones see `spooler.spool.rescuing`.

Not every claim needs to be on disk before it is acted upon. On SQLite a claim is committed without fsync:
losing it takes a power cut, which also ends the worker that claimed, on the same machine. Its lease is
then simply not there, as after a rescue, and nothing later is there either, for the log loses only its
end. What that worker had already settled was synced, its own claim with it. On Postgres the database may
lose power while the worker goes on to deliver, so a claim is as durable as anything.
"""

from __future__ import annotations

import threading
from functools import partial
from typing import TYPE_CHECKING

import msgspec

from spooler.claim import Claim, Want
from spooler.envelope import Priority
from spooler.records import State, WorkerRow
from spooler.spool import isolating, sql
from spooler.spool.of_job import JobClaims
from spooler.spool.statements import leasing as st
from spooler.spool.tallies import Deltas, slot
from spooler.worker_standing import decode

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from sqlalchemy import Connection

    from spooler.ident import IdMaker
    from spooler.spool.connect import Database
    from spooler.worker_standing import WorkerStanding

Key = tuple[int, int]  # message_id, n

PAGE = 1000  # recipients in a transaction
LONG = 4  # recipients a message: from here on SQLite takes them quicker message by message
SHARE = 8  # a lower class that has something due gets at least 1/SHARE of a claim
_CLAIMS = msgspec.json.Decoder(list[Claim], strict=False)  # SQLite's JSON says 0 and 1 for false and true


class Leases:
    """What one store knows of its workers' leases."""

    def __init__(self, db: Database) -> None:
        self._db = db
        self._mutex = threading.Lock()
        self._owed: dict[tuple[str, int], int] = {}  # (route, priority) -> eighths of a recipient
        self._held: dict[int, int] = {}  # worker -> how many it holds, or more
        self._jobs = JobClaims(_CLAIMS.decode)
        self._doubtful: dict[int, list[Key]] = {}  # worker -> claims whose commit was not acknowledged

    def register(self, ids: IdMaker, *, host: str, pid: int, now: int) -> int:
        """Add a worker; returns its id, which is never used again."""
        worker = ids.make(now)
        self._db.write(lambda conn: sql.run(conn, st.ADD_WORKER, id=worker, host=host, pid=pid, now=now))
        self._held[worker] = 0
        return worker

    def beat(self, worker: int, *, now: int, standing: str | None) -> bool:
        """Renew all leases of a worker; False if it was declared dead."""
        # a beat that is lost in a power cut is of a worker that is lost with it
        return self._db.write(
            lambda conn: sql.change(conn, st.BEAT, worker=worker, now=now, standing=standing) == 1,
            durable=False,
        )

    def workers(self) -> list[WorkerRow]:
        """Return all workers that are registered, dead ones included until they are rescued."""
        names = WorkerRow.__struct_fields__
        return self._db.read(
            lambda conn: [
                WorkerRow(**dict(zip(names, row, strict=True))) for row in sql.run(conn, st.WORKERS)
            ]
        )

    def standings(self) -> dict[int, WorkerStanding]:
        """Return what workers publish of themselves."""
        rows = self._db.read(lambda conn: sql.run(conn, st.STANDINGS).all())
        return {ident: found for ident, text in rows if (found := decode(text)) is not None}

    def claim(self, worker: int, wants: Sequence[Want], *, now: int) -> list[Claim]:
        """Take due recipients under the lease of `worker`."""
        self._settle_doubts(worker)
        claims, owed = self._db.write(
            lambda conn: self._claim(conn, worker, wants, now),
            durable=False,
            in_doubt=lambda result: self._doubt(worker, result[0]),
        )
        self._owed = owed
        for want in wants:
            if want.job:
                self._jobs.claimed(want, [claim for claim in claims if claim.route == want.route])
        self._hold(worker, sum(len(claim.recipients) for claim in claims))
        return claims

    def _claim(
        self, conn: Connection, worker: int, wants: Sequence[Want], now: int
    ) -> tuple[list[Claim], dict[tuple[str, int], int]]:
        owed = dict(self._owed)
        deltas = Deltas()
        claims: list[Claim] = []
        take = _take_sqlite if conn.dialect.name == "sqlite" else _take_postgres
        for want in wants:
            if want.job:
                taken = self._jobs.claim(conn, worker, want, now=now)
                _count(deltas, want.route, taken)
                claims += taken
                continue
            for priority, limit in _shares(conn, worker, want, now, owed):
                taken = take(conn, worker, route=want.route, priority=priority, now=now, limit=limit)
                _count(deltas, want.route, taken)
                claims += taken
        deltas.apply(conn, worker)
        return claims, owed

    def claim_alone(self, worker: int, message_id: int, route: str, *, limit: int, due: int) -> list[Claim]:
        """Take recipients of one message, with nothing else; see `isolating.claim_json`."""
        self._settle_doubts(worker)

        def work(conn: Connection) -> list[Claim]:
            found = isolating.claim_json(
                conn,
                worker=worker,
                message_id=message_id,
                route=route,
                limit=limit,
                due=due,
            )
            claims = _CLAIMS.decode(found) if found else []
            deltas = Deltas()
            _count(deltas, route, claims)
            deltas.apply(conn, worker)
            return claims

        # on disk before anybody can die of it: deaths are counted by claims
        claims = self._db.write(work, in_doubt=lambda taken: self._doubt(worker, taken))
        self._hold(worker, sum(len(claim.recipients) for claim in claims))
        return claims

    def hold(self, worker: int, message_id: int, route: str, *, why: str) -> int:
        """Hold what is queued of a message on a route and with no worker; returns how many recipients."""
        return self._db.write(
            lambda conn: isolating.hold(conn, message_id=message_id, route=route, why=why, writer=worker)
        )

    def _doubt(self, worker: int, claims: Sequence[Claim]) -> None:
        keys = _keys(claims)
        self._doubtful.setdefault(worker, []).extend(keys)
        self._hold(worker, len(keys))

    def _settle_doubts(self, worker: int) -> None:
        """Give back what was claimed by a commit that was not acknowledged, if it happened."""
        doubtful = self._doubtful.get(worker)
        if doubtful:
            self.release(worker, doubtful, due=0)
            del self._doubtful[worker]

    def release(self, worker: int, keys: Sequence[Key], *, due: int) -> int:
        """Give back recipients that were not tried; returns how many still were this worker's."""
        if not keys:
            return 0

        def work(conn: Connection) -> int:
            return sum(
                unlease(conn, worker, page, partial(sql.run, conn, st.RELEASE, page, worker=worker, due=due))
                for page in sql.pages(st.RELEASE, list(dict.fromkeys(keys)))
            )

        released = self._db.write(work)
        self.settled(worker, released)
        return released

    def settled(self, worker: int, count: int) -> None:
        """So many leases of a worker are over."""
        self._hold(worker, -count)

    def _hold(self, worker: int, change: int) -> None:
        with self._mutex:  # threads claim and settle at once
            if worker in self._held:
                self._held[worker] += change

    def unregister(self, worker: int, *, now: int) -> None:
        """Remove a worker that is done; anything it still holds is released."""
        self._settle_doubts(worker)
        self._db.write(lambda conn: sql.run(conn, st.FENCE, worker=worker, now=now))
        if self._held.get(worker, 1) > 0:
            for keys in iter(lambda: self.next_leased(worker, (0, -1)), []):
                self.release(worker, keys, due=0)
        self.remove(worker)

    def next_leased(self, worker: int, after: Key) -> list[Key]:
        """Return the next recipients that a worker holds, none behind the last."""
        return self._db.read(
            lambda conn: [
                (row[0], row[1])
                for row in sql.run(
                    conn, st.NEXT_LEASED, worker=worker, message_id=after[0], n=after[1], limit=PAGE
                )
            ]
        )

    def remove(self, worker: int) -> None:
        """Forget a worker that holds nothing any more."""

        def work(conn: Connection) -> None:
            sql.run(conn, st.FOLD_TALLIES, worker=worker, slot=slot())
            if not self._db.is_postgres:
                sql.run(conn, st.REMOVE_TALLIES, worker=worker)
            sql.run(conn, st.REMOVE_WORKER, worker=worker)

        self._db.write(work)
        self._held.pop(worker, None)
        self._doubtful.pop(worker, None)


def _shares(
    conn: Connection, worker: int, want: Want, now: int, owed: dict[tuple[str, int], int]
) -> list[tuple[Priority, int]]:
    """Divide a want among the classes: urgent first, but each that has something due gets its share.

    What is less than a whole recipient is owed to the class until the next claim (`owed`, changed here), so
    that nobody starves where little is wanted at a time.

    Raises TryAgainError if the worker was declared dead.
    """
    some = sql.run(conn, st.SOME_DUE, worker=worker, route=want.route, now=now).first()
    if some is None:
        raise isolating.dead()
    *due_of, goes_on = some
    if not goes_on:
        return []
    waiting = [priority for priority, any_due in zip(Priority, due_of, strict=True) if any_due]
    for priority in Priority:
        if priority not in waiting:
            owed.pop((want.route, priority), None)
    if len(waiting) <= 1:
        return [(priority, want.limit) for priority in waiting]
    counts = sql.run(conn, st.COUNT_DUE, route=want.route, now=now, limit=want.limit).one()
    due = dict(zip(Priority, counts, strict=True))
    reserved = {}
    free = want.limit
    for priority in waiting[1:]:
        credit = min(owed.get((want.route, priority), 0) + want.limit, SHARE * want.limit)
        reserved[priority] = min(credit // SHARE, due[priority], free)
        owed[want.route, priority] = credit - reserved[priority] * SHARE
        free -= reserved[priority]
    shares = []
    for priority in waiting:
        extra = min(free, due[priority] - reserved.get(priority, 0))
        free -= extra
        shares.append((priority, reserved.get(priority, 0) + extra))
    return [(priority, limit) for priority, limit in shares if limit]


def _take_sqlite(
    conn: Connection, worker: int, *, route: str, priority: Priority, now: int, limit: int
) -> list[Claim]:
    which = {"route": route, "priority": priority.value, "now": now, "limit": limit}
    found = sql.run(conn, st.LOOK_AT_DUE, **which).scalar_one()
    if found is None:
        return []
    claims = _CLAIMS.decode(found)
    total = sum(len(claim.recipients) for claim in claims)
    stretches = _stretches(worker, claims) if total >= LONG * len(claims) else None
    if stretches is not None:
        taken = sql.change_each(conn, st.TAKE_STRETCH, stretches)
    else:
        taken = sql.change(conn, st.TAKE_DUE, worker=worker, **which)
    if taken != total:
        raise AssertionError("a claim took other recipients than it looked at")
    return claims


def _stretches(worker: int, claims: Sequence[Claim]) -> list[tuple[int, int, int, int]] | None:
    """Give the first and the last number of each message's recipients; None if there are gaps."""
    stretches = []
    for claim in claims:
        numbers = [recipient.n for recipient in claim.recipients]
        first, last = min(numbers), max(numbers)
        if last - first + 1 != len(numbers):
            return None
        stretches.append((worker, claim.message_id, first, last))
    return stretches


def _take_postgres(
    conn: Connection, worker: int, *, route: str, priority: Priority, now: int, limit: int
) -> list[Claim]:
    found = sql.run(
        conn, st.CLAIM, worker=worker, route=route, priority=priority.value, now=now, limit=limit
    ).scalar_one()
    return _CLAIMS.decode(found) if found else []


def _count(deltas: Deltas, route: str, claims: Sequence[Claim]) -> None:
    total = sum(len(claim.recipients) for claim in claims)
    if not total:
        return
    new = sum(not recipient.attempts for claim in claims for recipient in claim.recipients)
    deltas.move(route, State.WAITING.value, State.ACTIVE.value, new)
    deltas.move(route, State.DEFERRED.value, State.ACTIVE.value, total - new)


def _keys(claims: Sequence[Claim]) -> list[Key]:
    return [(claim.message_id, recipient.n) for claim in claims for recipient in claim.recipients]


def unlease(conn: Connection, worker: int, keys: Sequence[Key], change: Callable[[], object]) -> int:
    """Do `change`, which takes the lease of `worker` off these rows, and count it; returns how many."""
    deltas = Deltas()
    total = 0
    for route, state, count in sql.run(conn, st.LEASED_STATES, keys, worker=worker).all():
        deltas.move(route, State.ACTIVE.value, state, count)
        total += count
    if total:
        change()
        deltas.apply(conn, worker)
    return total
