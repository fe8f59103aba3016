"""Puts together what a worker publishes of itself; see `spooler.worker_standing`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

from spooler.lmtp.limits import NONE
from spooler.program import version
from spooler.vitals import vitals_of
from spooler.worker_standing import (
    MOST_SHUT,
    MOST_SLOW,
    MOST_TEXT,
    SLOW,
    DestinationStanding,
    JournalStanding,
    Outage,
    RouteStanding,
    ShutMailbox,
    UnderWay,
    WorkerStanding,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from spooler.delivery.claimer import Claimer
    from spooler.delivery.crew import Crew
    from spooler.delivery.settler import Settler
    from spooler.journal.writer import Journal
    from spooler.net.pool import Target
    from spooler.policy.health import Health


class Publisher:
    """One per worker; `crews` by route, `processes` by name. `clock` gives µs UTC."""

    def __init__(
        self,
        *,
        crews: Mapping[str, Crew],
        claimer: Claimer,
        settler: Settler,
        journal: Journal,
        processes: Mapping[str, int],
        clock: Callable[[], int],
    ) -> None:
        self._crews = crews
        self._claimer = claimer
        self._settler = settler
        self._journal = journal
        self._processes = processes
        self._clock = clock

    def standing(self) -> WorkerStanding:
        """Say how everything stands now."""
        now = self._clock()
        # what keeps trio's time was at its zero then
        zero = now - int(trio.current_time() * 1e6)
        targets = {target.name: target for crew in self._crews.values() for target in crew.targets}
        return WorkerStanding(
            at=now,
            version=version(),
            routes={
                name: _route(crew, now, zero)
                for name, crew in self._crews.items()
                if not crew.lane.stopping or crew.lane.held
            },
            destinations={name: _destination(target, zero) for name, target in targets.items()},
            backlog=self._settler.backlog,
            buffered=sum(crew.lane.held_bytes for crew in self._crews.values()),
            buffer=self._claimer.limits.buffer,
            suspects=self._claimer.suspects,
            journal=JournalStanding(
                octets=self._journal.octets,
                unsettled=self._journal.unsettled,
                unanswered=self._journal.unanswered,
                lag=self._journal.lag,
            ),
            processes={
                name: found for name, pid in self._processes.items() if (found := vitals_of(pid)) is not None
            },
        )


def _route(crew: Crew, now: int, zero: int) -> RouteStanding:
    lane = crew.lane
    window = lane.window
    slow = sorted(
        (parcel.started, parcel.claim.message_id, len(parcel.recipients))
        for parcel in lane.under_way()
        if 0 < parcel.started <= now - SLOW
    )
    shut, shut_count = lane.shut(MOST_SHUT)
    return RouteStanding(
        destinations=[target.name for target in crew.targets],
        claimed=lane.held,
        ready=lane.ready,
        parked=lane.parked,
        sessions=crew.busy,
        window=window.size,
        limit=window.limit,
        depth=window.depth,
        phase=window.why,
        paused=lane.paused,
        outage=_outage(lane.health, zero),
        shut=[ShutMailbox(address, until) for address, until in shut],
        shut_count=shut_count,
        slow=[UnderWay(ident, since, recipients) for since, ident, recipients in slow[:MOST_SLOW]],
    )


def _destination(target: Target, zero: int) -> DestinationStanding:
    return DestinationStanding(
        mode=target.mode,
        proven=target.health.proven,
        sessions=target.busy,
        idle=len(target.idle),
        transactions=_known(target.trust.limits.transactions),
        recipients=_known(target.trust.recipients),
        doubts=target.trust.doubts,
        last_doubt=target.trust.last_doubt[:MOST_TEXT],
        outage=_outage(target.health, zero),
    )


def _known(limit: int) -> int:
    return 0 if limit == NONE else limit


def _outage(health: Health, zero: int) -> Outage | None:
    if not health.down:
        return None
    return Outage(
        since=zero + int(health.since * 1e6),
        failures=health.failures,
        why=health.why[:MOST_TEXT],
        probe_at=zero + int(health.retry_at * 1e6),
    )
