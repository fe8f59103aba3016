"""What `spooler top` shows: the spool now, and how fast it moves, found by comparing two looks at it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from spooler.ops.problems import Problem, problems
from spooler.ops.status import moving, stand
from spooler.ops.view import DestinationView, RouteView, WorkerView
from spooler.records import State

if TYPE_CHECKING:
    from spooler.sample import Sample

_GONE = (State.DELIVERED, State.FAILED, State.EXPIRED, State.REMOVED)


class Rates(msgspec.Struct, frozen=True, kw_only=True):
    """Recipients a second: delivered, deferred (attempts), failed or expired, and added to the queue."""

    delivered: float
    deferred: float
    failed: float
    added: float


class Frame(msgspec.Struct, frozen=True, kw_only=True):
    """The spool at `at`; `rates` by route since the look before. `moving` recipients are queued on routes
    that deliver; `done_in` seconds, at that rate, these are done.
    """

    at: int
    problems: list[Problem]
    routes: list[RouteView]
    rates: dict[str, Rates]
    destinations: list[DestinationView]
    workers: list[WorkerView]
    delivered_per_second: float
    moving: int
    done_in: float | None


def frame(before: Sample, after: Sample) -> Frame:
    """Compare two samples, of which the second is what is shown."""
    seconds = max((after.at - before.at) / 1e6, 0.001)
    routes, destinations, workers = stand(after, after.standings, after.at)
    earlier, later = _counts(before), _counts(after)
    rates = {
        route.name: _rates(earlier.get(route.name, {}), later.get(route.name, {}), seconds)
        for route in routes
    }
    delivered = sum(one.delivered for one in rates.values())
    todo = moving(routes, after.at)
    return Frame(
        at=after.at,
        problems=problems(
            answers=True,
            trouble="",
            seen=after.at,
            routes=routes,
            destinations=destinations,
            workers=workers,
            now=after.at,
        ),
        routes=routes,
        rates=rates,
        destinations=destinations,
        workers=workers,
        delivered_per_second=delivered,
        moving=todo,
        done_in=todo / delivered if delivered > 0 and todo else None,
    )


def _counts(sample: Sample) -> dict[str, dict[State, int]]:
    found: dict[str, dict[State, int]] = {}
    for row in sample.tallies:
        found.setdefault(row.route, {})[row.state] = row.count
    return found


def _rates(before: dict[State, int], after: dict[State, int], seconds: float) -> Rates:
    def grown(*states: State) -> float:
        return sum(after.get(state, 0) - before.get(state, 0) for state in states) / seconds

    queued = (State.WAITING, State.DEFERRED, State.ACTIVE, State.HELD)
    return Rates(
        delivered=grown(State.DELIVERED),
        deferred=grown(State.DEFERRALS),
        failed=grown(State.FAILED, State.EXPIRED),
        added=grown(*queued, *_GONE),  # what is there and what has gone: the rest came in; or another route
    )
