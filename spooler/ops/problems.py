"""What is wrong now, in words: the first thing that somebody sees who looks because something is wrong."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import msgspec

from spooler.records import State

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from spooler.ops.view import DestinationView, RouteView, WorkerView

MOST = 12  # problems that are named
OVERDUE = 600_000_000  # µs that mail may be due on a route that lives before somebody is told


class Problem(msgspec.Struct, frozen=True, kw_only=True):
    """One thing: `what` is so, `since` when (µs UTC), and `why`, in the words of whoever knows.

    `waiting` recipients wait for its end; at `probe_at` it is looked at again. "bad" needs somebody now.
    """

    level: Literal["bad", "warn"]
    what: str
    why: str = ""
    since: int | None = None
    waiting: int = 0
    probe_at: int | None = None


def problems(
    *,
    answers: bool,
    trouble: str,
    refused: str = "",
    seen: int | None,
    routes: Sequence[RouteView],
    destinations: Sequence[DestinationView],
    workers: Sequence[WorkerView],
    now: int,
) -> list[Problem]:
    """Name what is wrong, the worst first; `seen` is when the spool answered last (µs UTC), `refused` why it
    takes no heartbeat.

    Of very many the first ones are named, and how many there are more.
    """
    found: list[Problem] = []
    if not answers:
        old = "; the queue and its routes are shown as they were then" if seen is not None else ""
        why = f"{trouble}{old}"
        found.append(Problem(level="bad", what="The spool's database does not answer", why=why, since=seen))
    elif refused or not any(worker.lives for worker in workers):
        # where nothing is written no worker is seen to live
        what = "The spool's database takes nothing that is written" if refused else "No worker is running"
        found.append(Problem(level="bad", what=what, why=refused, waiting=_todo(routes)))
        found += [one for one in _of_routes(routes, now) if one.level == "warn"]  # of no route is one
    else:
        found += _of_destinations(destinations, routes)
        found += _of_routes(routes, now)
    if answers and not refused:
        found += [_silence(worker) for worker in workers if not worker.lives]
    found.sort(key=lambda one: (one.level != "bad", -one.waiting))
    if len(found) > MOST:
        rest = found[MOST - 1 :]
        more = f"And {len(rest)} more like these"
        found[MOST - 1 :] = [Problem(level=rest[0].level, what=more, why="spooler top shows all")]
    return found


def _silence(worker: WorkerView) -> Problem:
    return Problem(
        level="warn",
        what=f"Worker {worker.pid} on {worker.host} gives no sign of life",
        since=worker.beat_at,
        why="what it holds is taken over once its journal is read, or after some minutes",
    )


def _of_destinations(
    destinations: Sequence[DestinationView], routes: Sequence[RouteView]
) -> Iterator[Problem]:
    """One for each route that is down, or for several that go the same way; one for any other destination."""
    places = {place.name: place for place in destinations}
    ways: dict[tuple[str, ...], list[RouteView]] = {}
    for route in routes:
        if route.outage is not None and any(name in places for name in route.destinations):
            ways.setdefault(tuple(route.destinations), []).append(route)
    told: set[str] = set()
    for names, some in ways.items():
        told.update(names)
        outages = [route.outage for route in some if route.outage is not None]
        first = min(outages, key=lambda one: one.since)
        what, why = f"None of {len(names)} destinations of {_named(some)} takes mail", first.why
        if len(names) == 1:
            own = places[names[0]].outage  # its words do not name it again
            what, why = f"{names[0]} takes no mail", (own or first).why
        yield Problem(
            level="bad",
            what=what,
            why=why,
            since=first.since,
            waiting=sum(map(_waiting, some)),
            probe_at=min(one.probe_at for one in outages),
        )
    for place in destinations:
        if place.outage is not None and place.name not in told:
            yield Problem(
                level="warn",
                what=f"{place.name} takes no mail; others take what is for it",
                why=place.outage.why,
                since=place.outage.since,
                probe_at=place.outage.probe_at,
            )
        if place.doubts:
            yield Problem(
                level="warn",
                what=f"{place.name} answered out of step, so it is asked more carefully ({place.mode})",
                why=place.last_doubt,
            )


def _named(routes: Sequence[RouteView]) -> str:
    return f"route {routes[0].name}" if len(routes) == 1 else f"{len(routes)} routes"


def _of_routes(routes: Sequence[RouteView], now: int) -> Iterator[Problem]:
    for route in routes:
        waiting = _waiting(route)
        held = route.states[State.HELD.value]
        if held:
            yield Problem(
                level="warn",
                what=f"On route {route.name} {held:,} {_recipients(held)} held until a person decides",
            )
        if route.paused:
            pause = route.pause
            yield Problem(
                level="warn",
                what=f"Route {route.name} is paused",
                why="" if pause is None else f"by {pause.who}" + (f": {pause.why}" if pause.why else ""),
                since=None if pause is None else pause.at,
                waiting=waiting,
            )
        elif waiting and not route.served:
            yield Problem(level="bad", what=f"No worker serves route {route.name}", waiting=waiting)
        elif route.outage is None and route.due is not None and now - route.due > OVERDUE:
            yield Problem(
                level="warn",
                what=f"Route {route.name} is behind: mail has been due",
                since=route.due,
                why=f"limited by {route.limits}" if route.limits else "",
                waiting=waiting,
            )


def _waiting(route: RouteView) -> int:
    return route.queued - route.states[State.HELD.value]


def _todo(routes: Sequence[RouteView]) -> int:
    return sum(map(_waiting, routes))


def _recipients(count: int) -> str:
    return "recipient is" if count == 1 else "recipients are"
