"""One look at the spool for metrics and the status page: tallies and ends of indexes, never a scan."""

from __future__ import annotations

from typing import TYPE_CHECKING

from spooler.records import GAUGES, State
from spooler.sample import Oldest, Sample
from spooler.spool import looking, pausing, sql
from spooler.spool.statements import looking as st

if TYPE_CHECKING:
    from spooler.records import WorkerRow
    from spooler.spool.connect import Database
    from spooler.worker_standing import WorkerStanding

HEAD = 2000
"""Recipients at the beginning of the queue among which the oldest ones are looked for."""


def sample(
    db: Database, *, workers: list[WorkerRow], standings: dict[int, WorkerStanding], now: int
) -> Sample:
    """Look; `workers` and `standings` were looked up before."""
    tallies = looking.stats(db)
    queued = sorted({row.route for row in tallies if row.state in GAUGES and row.count > 0})
    oldest = db.read(
        lambda conn: {
            (route, State(state)): ident for route, state, ident in sql.run(conn, st.OLDEST, head=HEAD)
        }
    )
    due: dict[str, int] = {}
    for route in queued:
        firsts = db.read(lambda conn, route=route: sql.run(conn, st.FIRST_DUE, route=route).all())  # type: ignore[misc]  # mypy infers no type for a lambda with a default
        for when, ident, attempts in firsts:
            due[route] = min(due.get(route, when), when)
            # behind the head: the first due one is the oldest of its kind, or nearly
            state = State.DEFERRED if attempts else State.WAITING
            oldest.setdefault((route, state), ident)
    return Sample(
        at=now,
        tallies=tallies,
        oldest=[Oldest(route, state, ident) for (route, state), ident in sorted(oldest.items())],
        due=due,
        workers=workers,
        standings=standings,
        pauses=pausing.pauses(db),
    )
