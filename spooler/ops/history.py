"""The last minutes and the last day in numbers, for the charts: two rings, bounded, in memory alone."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

import msgspec

from spooler.records import State

if TYPE_CHECKING:
    from spooler.sample import Sample

NEAR = (2.0, 450)  # seconds between points, and how many: a quarter of an hour
FAR = (60.0, 1440)  # and a day
EARLY = 500_000  # µs by which a look may come too soon for a point and be taken all the same
_QUEUED = (State.WAITING, State.DEFERRED, State.ACTIVE, State.HELD)
_ENDED = (State.DELIVERED, State.FAILED, State.EXPIRED, State.DEFERRALS)


class Point(msgspec.Struct, frozen=True, gc=False):
    """The whole spool at `at` (µs UTC): what is queued by state, and what came about since it was made."""

    at: int
    waiting: int
    deferred: int
    active: int
    held: int
    delivered: int
    failed: int
    expired: int
    deferrals: int


class History:
    """Mutable; one per command that serves."""

    def __init__(self) -> None:
        self._rings: list[tuple[float, deque[Point]]] = [
            (every, deque(maxlen=most)) for every, most in (NEAR, FAR)
        ]

    def add(self, sample: Sample) -> None:
        """Note a sample where its time has come."""
        sums = dict.fromkeys((*_QUEUED, *_ENDED), 0)
        for row in sample.tallies:
            if row.state in sums:
                sums[row.state] += row.count
        point = Point(sample.at, *sums.values())
        for every, ring in self._rings:
            if not ring or point.at - ring[-1].at >= every * 1e6 - EARLY:
                ring.append(point)

    @property
    def near(self) -> list[Point]:
        """The last minutes, oldest first."""
        return list(self._rings[0][1])

    @property
    def far(self) -> list[Point]:
        """The last day, oldest first."""
        return list(self._rings[1][1])

    def rate(self, seconds: float) -> float:
        """Deliveries a second over the last seconds; 0.0 before anything is known."""
        ring = self._rings[0][1]
        if len(ring) < 2:
            return 0.0
        last = ring[-1]
        first = next(point for point in ring if last.at - point.at <= seconds * 1e6)
        if first is last:
            first = ring[-2]
        return (last.delivered - first.delivered) / ((last.at - first.at) / 1e6)
