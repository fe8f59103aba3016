"""How everything stands, put together for people: what the JSON API and the status page show.

The spool tells what is queued, workers tell with each beat how their routes stand, and this command's own
processes what went wrong. Times are µs UTC; `spooler.plain` makes them readable.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import msgspec

from spooler.ident import time_of
from spooler.ops.errors import ErrorView
from spooler.ops.problems import Problem, problems
from spooler.ops.view import DestinationView, RouteView, WorkerView
from spooler.policy.beats import LATE
from spooler.records import GAUGES, State

if TYPE_CHECKING:
    from collections.abc import Iterable

    from spooler.command import Pause
    from spooler.ops.watch import Watch
    from spooler.records import WorkerRow
    from spooler.sample import Sample
    from spooler.worker_standing import DestinationStanding, RouteStanding, WorkerStanding

RATE_OVER = 10.0  # seconds
TOP_ERRORS = 12


class Status(msgspec.Struct, frozen=True, kw_only=True):
    """All of the page but its charts.

    `rate` is deliveries a second. `moving` recipients are queued on routes that deliver; `done_in` seconds,
    at that rate, these are done. `seen` is when the spool answered last.
    """

    at: int
    version: str
    started: int
    answers: bool
    trouble: str
    problems: list[Problem]
    seen: int | None
    rate: float
    moving: int
    done_in: float | None
    routes: list[RouteView]
    destinations: list[DestinationView]
    workers: list[WorkerView]
    errors: list[ErrorView]


async def status(watch: Watch, *, version: str) -> Status:
    """Put everything together."""
    sample = await watch.sample()
    now = watch.clock()
    workers: list[WorkerView] = []
    routes: list[RouteView] = []
    if sample is None:
        destinations = destinations_of(routes, watch.standings())
    else:
        routes, destinations, workers = stand(sample, watch.standings(), now)
    seen = None if sample is None else sample.at
    rate = watch.history.rate(RATE_OVER) if watch.answers else 0.0
    todo = moving(routes, now)
    return Status(
        at=now,
        version=version,
        started=watch.started,
        answers=watch.answers,
        trouble=watch.trouble or watch.gathering.refused,
        problems=problems(
            answers=watch.answers,
            trouble=watch.trouble,
            refused=watch.gathering.refused,
            seen=seen,
            routes=routes,
            destinations=destinations,
            workers=workers,
            now=now,
        ),
        seen=seen,
        rate=rate,
        moving=todo,
        done_in=todo / rate if rate > 0 and todo else None,
        routes=routes,
        destinations=destinations,
        workers=workers,
        errors=errors(watch, TOP_ERRORS),
    )


def moving(routes: Iterable[RouteView], now: int) -> int:
    """How many recipients are queued, and not held, on routes that take mail and have some to deliver now.

    How long others take depends on when they are due, and not on how fast it goes.
    """
    return sum(
        route.queued - route.states[State.HELD.value]
        for route in routes
        if route.served and not route.paused and route.outage is None
        if route.states[State.ACTIVE.value] or (route.due is not None and route.due <= now)
    )


def stand(
    sample: Sample, standings: dict[int, WorkerStanding], now: int
) -> tuple[list[RouteView], list[DestinationView], list[WorkerView]]:
    """Tell how all stands, without what workers told that give no sign of life any more: it is not so now."""
    workers = [worker_of(row, standings.get(row.id), sample.at) for row in sample.workers]
    silent = {worker.id for worker in workers if not worker.lives}
    living = {ident: standing for ident, standing in standings.items() if ident not in silent}
    routes = routes_of(sample, living, now)
    return routes, destinations_of(routes, living), workers


def errors(watch: Watch, most: int) -> list[ErrorView]:
    """Return the most frequent errors."""
    return [ErrorView.of(one) for one in watch.gathering.errors.top(most)]


def routes_of(sample: Sample, standings: dict[int, WorkerStanding], now: int) -> list[RouteView]:
    """Put together what the spool and the workers tell of each route."""
    counts: dict[str, Counter[State]] = {}
    for row in sample.tallies:
        counts.setdefault(row.route, Counter())[row.state] += row.count
    for standing in standings.values():
        for name in standing.routes:
            counts.setdefault(name, Counter())
    pauses = {pause.route: pause for pause in sample.pauses}
    for name in pauses:
        counts.setdefault(name, Counter())
    oldest: dict[str, int] = {}
    for one in sample.oldest:
        oldest[one.route] = min(oldest.get(one.route, one.message_id), one.message_id)
    return [
        _route(name, states, oldest.get(name), sample.due.get(name), standings, pauses.get(name), now)
        for name, states in sorted(counts.items())
    ]


def _route(
    name: str,
    counts: Counter[State],
    oldest: int | None,
    due: int | None,
    standings: dict[int, WorkerStanding],
    pause: Pause | None,
    now: int,
) -> RouteView:
    served = [(standing, standing.routes[name]) for standing in standings.values() if name in standing.routes]
    ones = [one for _, one in served]
    outages = [one.outage for one in ones if one.outage is not None]
    return RouteView(
        name=name,
        states={state.value: counts[state] for state in GAUGES},
        ended={state.value: counts[state] for state in State if state not in GAUGES},
        oldest=None if oldest is None else time_of(oldest),
        due=due,
        destinations=list(dict.fromkeys(place for one in ones for place in one.destinations)),
        served=bool(ones),
        paused=pause is not None,
        pause=pause,
        # where one worker gets through, the route is not down
        outage=min(outages, key=lambda one: one.since) if ones and len(outages) == len(ones) else None,
        limits=_limits(name, served, waits=any(counts[state] for state in GAUGES), due=due, now=now),
        phase=next((one.phase for one in ones if one.phase), ""),
        depth=max((one.depth for one in ones), default=0),
        **_sums(ones),
    )


def _sums(ones: list[RouteStanding]) -> dict[str, int]:
    return {
        "sessions": sum(one.sessions for one in ones),
        "window": sum(one.window for one in ones),
        "limit": sum(one.limit for one in ones),
        "shut": sum(one.shut_count for one in ones),
        "parked": sum(one.parked for one in ones),
    }


def _limits(
    name: str, served: list[tuple[WorkerStanding, RouteStanding]], *, waits: bool, due: int | None, now: int
) -> str:
    """Say what keeps a route from going faster."""
    if not waits:
        return ""
    if not served:
        return "no worker serves it"
    words = dict.fromkeys(standing.limited_by(name) for standing, _ in served)
    told = "; ".join(word for word in words if word)
    if told:
        return told
    return "nothing is due yet" if due is None or due > now else "claiming"


def destinations_of(routes: list[RouteView], standings: dict[int, WorkerStanding]) -> list[DestinationView]:
    """Put together what the workers tell of each destination."""
    names = dict.fromkeys(name for standing in standings.values() for name in standing.destinations)
    return [_destination(name, routes, list(standings.values())) for name in names]


def _destination(name: str, routes: list[RouteView], standings: list[WorkerStanding]) -> DestinationView:
    ones = [standing.destinations[name] for standing in standings if name in standing.destinations]
    outages = [one.outage for one in ones if one.outage is not None]
    mine = [route for route in routes if name in route.destinations]
    return DestinationView(
        name=name,
        routes=[route.name for route in mine],
        mode=ones[0].mode,
        sessions=sum(one.sessions for one in ones),
        idle=sum(one.idle for one in ones),
        takes=_takes(ones),
        doubts=sum(one.doubts for one in ones),
        last_doubt=next((one.last_doubt for one in ones if one.last_doubt), ""),
        proven=any(one.proven for one in ones),
        outage=min(outages, key=lambda one: one.since) if len(outages) == len(ones) else None,
        waiting=sum(route.queued - route.states[State.HELD.value] for route in mine),
    )


def _takes(ones: list[DestinationStanding]) -> str:
    """Say what the most careful worker learnt of a destination's limits."""
    learnt = (
        ("transaction", "session", [one.transactions for one in ones if one.transactions]),
        ("recipient", "transaction", [one.recipients for one in ones if one.recipients]),
    )
    return ", ".join(
        f"{min(limits):,} {what}{'s' * (min(limits) > 1)} a {of}" for what, of, limits in learnt if limits
    )


def worker_of(row: WorkerRow, standing: WorkerStanding | None, now: int) -> WorkerView:
    """Put together what is known of a worker; `now` is when the spool was looked at."""
    return WorkerView(
        id=row.id,
        host=row.host.split()[0],
        pid=row.pid,
        started=row.started,
        beat_at=row.beat_at,
        lives=now - row.beat_at < LATE * 1e6,
        version=standing.version if standing else "",
        routes=len(standing.routes) if standing else 0,
        sessions=sum(route.sessions for route in standing.routes.values()) if standing else 0,
        memory=sum(vitals.memory for vitals in standing.processes.values()) if standing else 0,
    )
