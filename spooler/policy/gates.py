"""What a queued recipient waits at, and when that clears: the whole of it, in the order of the way through.

A pure decision over what the queue says of it and what workers publish of themselves. Times are µs UTC.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

import msgspec

from spooler.policy import beats
from spooler.policy.poison import SUSPECT, deaths
from spooler.reply import Stage

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from spooler.command import Pause
    from spooler.records import QueuedRecipient, WorkerRow
    from spooler.worker_standing import RouteStanding, WorkerStanding


class GateKind(StrEnum):
    """Each is one thing that can keep a recipient from being delivered."""

    HELD = "held"
    UNDER_WAY = "under way"
    WITH_WORKER = "with a worker"
    WORKER_SILENT = "with a worker that is silent"
    OVER_TIME = "over its time"
    PAUSED = "route paused"
    NO_WORKER = "no worker"
    NO_WORKER_FOR_ROUTE = "no worker for this route"
    SCHEDULED = "scheduled"
    MAILBOX_SHUT = "mailbox shut"
    HOLD_OFF = "uncertain"
    RETRY = "not due"
    PUT_OFF = "put off"
    ROUTE_DOWN = "route down"
    SUSPECT = "suspect"
    QUEUED_BEHIND = "others first"
    NOTHING = "nothing"


class Gate(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that a recipient waits for: since when if that is known, until when if it clears by itself.

    `worker` is the one that it is with.
    """

    kind: GateKind
    why: str = ""
    since: int | None = None
    clears: int | None = None
    worker: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """What is known beside the recipient's row.

    `held_at`: when a person held it. `not_before` is its message's. `doubtful`: its last attempt was
    uncertain. `ahead`: how many are due before it.
    """

    workers: Sequence[WorkerRow]
    standings: Mapping[int, WorkerStanding]
    pauses: Mapping[str, Pause]
    held_at: int | None = None
    not_before: int | None = None
    doubtful: bool = False
    ahead: int = 0


def gates(row: QueuedRecipient, around: Surroundings, *, now: int) -> list[Gate]:
    """Name the gates that are shut, the first one that it comes to first; never none."""
    found: list[Gate] = []
    if row.hold is not None:
        found.append(Gate(kind=GateKind.HELD, why=row.hold, since=around.held_at))
    alive = [worker for worker in around.workers if not _silent(worker, now)]
    if row.lease is not None:
        nobody = [] if alive else [Gate(kind=GateKind.NO_WORKER)]  # to take it over
        return [_leased(row, row.lease, around, now), *nobody, *found]
    if row.hold is None and row.expires <= now:
        found.append(Gate(kind=GateKind.OVER_TIME, since=row.expires))
    pause = around.pauses.get(row.route)
    if pause is not None:
        by = f"by {pause.who}" + (f": {pause.why}" if pause.why else "")
        found.append(Gate(kind=GateKind.PAUSED, why=by, since=pause.at))
    if row.due > now:
        found.append(_not_due(row, around, now))
    known = [around.standings[worker.id] for worker in alive if worker.id in around.standings]
    serving = [standing for standing in known if row.route in standing.routes]
    if not alive:
        found.append(Gate(kind=GateKind.NO_WORKER))
    elif not serving and len(known) == len(alive):  # one that has not told yet may serve it
        found.append(Gate(kind=GateKind.NO_WORKER_FOR_ROUTE, why=_routes_of(known)))
    elif serving:
        found += _at_workers(row, serving, around, now, goes_on=pause is None)
    return found or [Gate(kind=GateKind.NOTHING)]


def _leased(row: QueuedRecipient, lease: int, around: Surroundings, now: int) -> Gate:
    worker = next((one for one in around.workers if one.id == lease), None)
    if worker is None:
        return Gate(kind=GateKind.WORKER_SILENT, why="it is not registered any more", worker=lease)
    where = f"on {worker.host.partition(' ')[0]}, process {worker.pid}"
    if _silent(worker, now):
        return Gate(
            kind=GateKind.WORKER_SILENT,
            why=where,
            since=worker.beat_at,
            clears=max(now, worker.beat_at + int((beats.DEAD + beats.GRACE) * 1e6)),
            worker=lease,
        )
    standing = around.standings.get(lease)
    route = standing.routes.get(row.route) if standing is not None else None
    if standing is None or route is None:
        return Gate(kind=GateKind.WITH_WORKER, why=where, worker=lease)
    for slow in route.slow:
        if slow.message_id == row.message_id:
            return Gate(kind=GateKind.UNDER_WAY, why=where, since=slow.since, worker=lease)
    limit = standing.limited_by(row.route)
    why = f"{where}; it waits for {limit}" if limit else where
    return Gate(kind=GateKind.WITH_WORKER, why=why, worker=lease)


def _not_due(row: QueuedRecipient, around: Surroundings, now: int) -> Gate:
    for standing in around.standings.values():
        route = standing.routes.get(row.route)
        for mailbox in route.shut if route is not None else ():
            if mailbox.address == row.address and mailbox.until > now:
                return Gate(
                    kind=GateKind.MAILBOX_SHUT, why=_last_words(row), clears=max(row.due, mailbox.until)
                )
    if around.not_before is not None and around.not_before > now and not row.attempts:
        return Gate(kind=GateKind.SCHEDULED, clears=row.due)
    if not row.attempts:
        suspect = deaths(claims=row.claims, attempts=row.attempts) >= SUSPECT
        why = "" if suspect else "its mailbox was busy, or takes no mail for now"
        return Gate(kind=GateKind.PUT_OFF, why=why, clears=row.due)
    kind = GateKind.HOLD_OFF if around.doubtful else GateKind.RETRY
    return Gate(kind=kind, why=_last_words(row), clears=row.due)


def _at_workers(
    row: QueuedRecipient, serving: Sequence[WorkerStanding], around: Surroundings, now: int, *, goes_on: bool
) -> list[Gate]:
    found: list[Gate] = []
    routes = [standing.routes[row.route] for standing in serving]
    outages = [route.outage for route in routes if route.outage is not None]
    if len(outages) == len(routes):  # none gets through
        first = min(outages, key=lambda outage: outage.probe_at)
        found.append(
            Gate(
                kind=GateKind.ROUTE_DOWN,
                why=first.why,
                since=min(outage.since for outage in outages),
                clears=max(now, first.probe_at),
            )
        )
    died = deaths(claims=row.claims, attempts=row.attempts)
    if died >= SUSPECT:
        found.append(Gate(kind=GateKind.SUSPECT, why=f"{died} workers died with it"))
    if goes_on and not found and row.due <= now and (around.ahead or all(map(_is_full, routes))):
        limits = sorted({limit for standing in serving if (limit := standing.limited_by(row.route))})
        found.append(Gate(kind=GateKind.QUEUED_BEHIND, why="; ".join(limits)))
    return found


def _is_full(route: RouteStanding) -> bool:
    return route.ready > 0 or route.parked > 0


def _silent(worker: WorkerRow, now: int) -> bool:
    return now - worker.beat_at > beats.LATE * 1e6


def _last_words(row: QueuedRecipient) -> str:
    """What its last attempt ended with."""
    if not row.stage:
        return ""
    reply = " ".join(part for part in (str(row.code) if row.code else "", row.enhanced, row.text) if part)
    at = "" if row.stage == Stage.LOCAL else f" at {row.stage}"
    return f"try {row.attempts} ended{at} with {reply or 'nothing said'}"


def _routes_of(standings: Sequence[WorkerStanding]) -> str:
    names = sorted({name for standing in standings for name in standing.routes})
    return f"served are {', '.join(names)}" if names else "none is served"
