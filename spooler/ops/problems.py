"""What is wrong now, in words: the first thing that somebody sees who looks because something is wrong."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import msgspec

from spooler.records import State

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from spooler.ops.view import DestinationView, RouteView, WorkerView

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
    routes: Sequence[RouteView],
    destinations: Sequence[DestinationView],
    workers: Sequence[WorkerView],
    now: int,
) -> list[Problem]:
    """Name everything that is wrong, the worst first."""
    found: list[Problem] = []
    if not answers:
        found.append(Problem(level="bad", what="The spool's database does not answer", why=trouble))
    if answers and not any(worker.lives for worker in workers):
        found.append(Problem(level="bad", what="No worker is running", waiting=_todo(routes)))
    found += _of_destinations(destinations, routes)
    found += _of_routes(routes, now)
    found += [
        Problem(
            level="warn",
            what=f"Worker {worker.pid} on {worker.host} gives no sign of life",
            since=worker.beat_at,
            why="what it holds is taken over once its journal is read, or after some minutes",
        )
        for worker in workers
        if not worker.lives
    ]
    return sorted(found, key=lambda one: one.level != "bad")


def _of_destinations(
    destinations: Sequence[DestinationView], routes: Sequence[RouteView]
) -> Iterator[Problem]:
    down = {route.name for route in routes if route.outage is not None}
    for place in destinations:
        if place.outage is not None:
            # where another destination of its routes takes mail, nothing waits for this one
            alone = any(route in down for route in place.routes)
            yield Problem(
                level="bad" if alone else "warn",
                what=f"{place.name} takes no mail" + ("" if alone else "; others take what is for it"),
                why=place.outage.why,
                since=place.outage.since,
                waiting=sum(_waiting(route) for route in routes if route.name in place.routes)
                if alone
                else 0,
                probe_at=place.outage.probe_at,
            )
        if place.doubts:
            yield Problem(
                level="warn",
                what=f"{place.name} answered out of step, so it is asked more carefully ({place.mode})",
                why=place.last_doubt,
            )


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
            yield Problem(level="warn", what=f"Route {route.name} is paused", waiting=waiting)
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
