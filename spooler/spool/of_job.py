"""Claims of one job alone, in the order in which its messages were enqueued; see `spooler.delivery.drain`.

Where a claim ended is remembered, so that a job is gone through once and not from its beginning each time.
For what has come due again it begins anew behind its end, and once a minute where more comes in all the time.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from spooler.records import GAUGES, JobLeft
from spooler.spool import isolating, looking, sql
from spooler.spool.statements import of_job as st

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from sqlalchemy import Connection

    from spooler.claim import Claim, Want
    from spooler.spool.connect import Database


ROUND = 60_000_000  # µs


class JobClaims:
    """Where one store is in the jobs that it claims; `decode` reads a claim's JSON."""

    def __init__(self, decode: Callable[[str], list[Claim]]) -> None:
        self._decode = decode
        self._at: dict[tuple[str, str], int] = {}  # (job, route) -> message id
        self._begun: dict[tuple[str, str], int] = {}  # when it was gone through from its beginning, µs UTC

    def claim(self, conn: Connection, worker: int, want: Want, *, now: int) -> list[Claim]:
        """Take due recipients of a job on a route. Raises TryAgainError if the worker was declared dead."""
        isolating.check_living(conn, worker)
        place = (want.job, want.route)
        fresh = 0 <= now - self._begun.get(place, now) < ROUND
        after = self._at.get(place, 0) if fresh else 0
        claims = self._take(conn, worker, want, after=after, now=now) if after else []
        if not claims:
            self._begun[place] = now
            claims = self._take(conn, worker, want, after=0, now=now)
        return claims

    def claimed(self, want: Want, claims: Sequence[Claim]) -> None:
        """Remember where a claim ended, once it is committed."""
        place = (want.job, want.route)
        if claims:
            self._at[place] = max(claim.message_id for claim in claims)  # of which there may be more
        else:
            self._at.pop(place, None)

    def _take(self, conn: Connection, worker: int, want: Want, *, after: int, now: int) -> list[Claim]:
        which = {"job": want.job, "route": want.route, "after": after, "now": now, "limit": want.limit}
        found = sql.look_and_take(
            conn, st.LOOK_AT_JOB, st.TAKE_OF_JOB, st.CLAIM_OF_JOB, worker=worker, **which
        )
        return self._decode(found) if found else []


def left(db: Database, routes: Sequence[str] | None, job: str) -> dict[str, JobLeft]:
    """Look at all that is left of a job on these routes; None means on all that have mail."""
    if routes is None:
        routes = sorted({row.route for row in looking.stats(db) if row.count and row.state in GAUGES})
    rows = db.read(lambda conn: [sql.run(conn, st.OF_JOB, route=route, job=job).one() for route in routes])
    return {route: JobLeft(*row) for route, row in zip(routes, rows, strict=True)}
