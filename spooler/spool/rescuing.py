"""What dead workers held is taken from them: as never tried, or as perhaps delivered."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from spooler.ident import time_of
from spooler.policy.poison import SUSPECT
from spooler.records import State
from spooler.result import Doubtful
from spooler.spool import sql
from spooler.spool.leasing import unlease
from spooler.spool.statements import leasing as st
from spooler.spool.tallies import Deltas, slot

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sqlalchemy import Connection

    from spooler.spool.connect import Database
    from spooler.spool.leasing import Key, Leases
    from spooler.spool.runs import Runs

_BEYOND = 2**31 - 1  # what no number of a message's recipient, and none of deaths, comes to


class Rescues:
    """What one store takes from the dead."""

    def __init__(self, db: Database, runs: Runs, leases: Leases) -> None:
        self._db = db
        self._runs = runs
        self._leases = leases

    def rescue(
        self,
        worker: int,
        *,
        now: int,
        due: int,
        uncertain: bool,
        doubtful: Mapping[str, Doubtful],
        text: str,
    ) -> int:
        """Take a dead worker's recipients from it; returns how many there were."""
        # first nothing more can be claimed for it, then what it holds is looked for
        fenced = self._db.write(lambda conn: sql.change(conn, st.FENCE, worker=worker, now=now))
        if not fenced:
            return 0  # rescued already: a worker's row goes last
        rescued = 0
        last = (0, -1)
        most: int | None = None
        while keys := self._leases.next_leased(worker, last):
            last = keys[-1]
            if uncertain:
                rescued += self._take_doubtful(worker, keys, now=now, due=due, doubtful=doubtful, text=text)
            else:
                if most is None:
                    # a suspect that it held in company it was about to set aside: it did not die of that
                    company = self._leases.next_leased(worker, (keys[0][0], _BEYOND))
                    most = SUSPECT if company else _BEYOND
                rescued += self._db.write(partial(_take_safe, worker=worker, keys=keys, due=due, most=most))
        self._leases.remove(worker)
        return rescued

    def doubt(
        self,
        worker: int,
        keys: Sequence[Key],
        *,
        now: int,
        due: int,
        doubtful: Mapping[str, Doubtful],
        text: str,
    ) -> int:
        """Take recipients from a dead worker that may have been delivered; returns how many it still held.

        So it does with those that the worker has by its journal alone, for this database knows nothing of it.
        """
        return sum(
            self._take_doubtful(worker, page, now=now, due=due, doubtful=doubtful, text=text, adopt=True)
            for page in sql.pages(st.RECORD_UNCERTAIN, list(dict.fromkeys(keys)))
        )

    def _take_doubtful(
        self,
        worker: int,
        keys: Sequence[Key],
        *,
        now: int,
        due: int,
        doubtful: Mapping[str, Doubtful],
        text: str,
        adopt: bool = False,
    ) -> int:
        run = self._runs.take(len(keys), now=now)
        otherwise = Doubtful(due)

        def work(conn: Connection) -> int:
            deltas = Deltas()
            if adopt:
                _adopt(conn, worker, keys, deltas)
            routes: dict[str, Doubtful] = {}
            total = 0
            for route, state, count in sql.run(conn, st.LEASED_STATES, keys, worker=worker).all():
                routes[route] = doubtful.get(route, otherwise)
                # an uncertain attempt is an attempt
                held = state == State.HELD.value or routes[route].hold
                deltas.move(
                    route, State.ACTIVE.value, State.HELD.value if held else State.DEFERRED.value, count
                )
                deltas[route, State.DEFERRALS.value] += count
                deltas[route, State.UNCERTAIN.value] += count
                total += count
            if total:
                sql.run(conn, st.RECORD_UNCERTAIN, keys, worker=worker, now=now, text=text, run=run)
                for route, then in routes.items():
                    facts = {"route": route, "due": then.due, "hold": then.hold, "text": text}
                    sql.run(conn, st.RESCUE_UNCERTAIN, keys, worker=worker, **facts)
                deltas.apply(conn, slot())
            return total

        return self._db.write(work)


def _adopt(conn: Connection, worker: int, keys: Sequence[Key], deltas: Deltas) -> None:
    """Put those under the lease of an unknown worker that its journal says it had; see `st.ADOPT`."""
    whose = {"worker": worker, "since": time_of(worker)}
    found = sql.run(conn, st.FORGOTTEN_STATES, keys, **whose).all()
    for route, state, count in found:
        deltas.move(route, state, State.ACTIVE.value, count)
    if found:
        sql.run(conn, st.ADOPT, keys, **whose)


def _take_safe(conn: Connection, *, worker: int, keys: Sequence[Key], due: int, most: int) -> int:
    facts = {"worker": worker, "due": due, "most": most}
    return unlease(conn, worker, keys, partial(sql.run, conn, st.RESCUE_SAFE, keys, **facts))
