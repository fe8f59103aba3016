"""Claims of one job alone, in the order in which its messages were enqueued; see `spooler.delivery.drain`.

Where a claim ended is remembered, so that a job is gone through once and not from its beginning each time;
behind its end it begins anew, for what has come due again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from spooler.records import JobLeft
from spooler.spool import isolating, sql
from spooler.spool.statements import of_job as st

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from sqlalchemy import Connection

    from spooler.claim import Claim, Want
    from spooler.spool.connect import Database


class JobClaims:
    """Where one store is in the jobs that it claims; `decode` reads a claim's JSON."""

    def __init__(self, decode: Callable[[str], list[Claim]]) -> None:
        self._decode = decode
        self._at: dict[tuple[str, str], int] = {}  # (job, route) -> message id

    def claim(self, conn: Connection, worker: int, want: Want, *, now: int) -> list[Claim]:
        """Take due recipients of a job on a route. Raises TryAgainError if the worker was declared dead."""
        isolating.check_living(conn, worker)
        after = self._at.get((want.job, want.route), 0)
        claims = self._take(conn, worker, want, after=after, now=now)
        if not claims and after:
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


def left(db: Database, routes: Sequence[str], job: str) -> dict[str, JobLeft]:
    """Look at all that is left of a job on these routes."""
    rows = db.read(lambda conn: [sql.run(conn, st.OF_JOB, route=route, job=job).one() for route in routes])
    return {route: JobLeft(*row) for route, row in zip(routes, rows, strict=True)}
