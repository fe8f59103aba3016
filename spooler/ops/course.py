"""How a drain went on: points of its course, few enough to be drawn however long it took."""

from __future__ import annotations

import msgspec

MOST = 400
"""Points that are kept; where there are more, every other one goes."""


class Point(msgspec.Struct, frozen=True, gc=False):
    """After `at` seconds: recipients that came to their end so far, and deferrals."""

    at: float
    ended: int
    deferred: int


class Course:
    """Mutable; one per drain."""

    def __init__(self) -> None:
        self.points: list[Point] = [Point(0.0, 0, 0)]
        self._every = 0.0

    def add(self, at: float, *, ended: int, deferred: int, last: bool = False) -> None:
        """Note where it is, if that is not too soon after the last time; the `last` point always stays."""
        if not last and at - self.points[-1].at < self._every:
            return
        self.points.append(Point(at, ended, deferred))
        if len(self.points) > MOST:
            self._every = 2 * at / MOST
            self.points = [self.points[0], *self.points[2::2]]

    def rate(self, seconds: float) -> float:
        """Recipients a second that came to their end, over the last seconds."""
        last = self.points[-1]
        first = next(point for point in self.points if last.at - point.at <= seconds)
        if first is last and len(self.points) > 1:
            first = self.points[-2]
        return (last.ended - first.ended) / (last.at - first.at) if last.at > first.at else 0.0

    def best(self) -> float:
        """The highest rate between two points that are at least a second apart, or over all of it."""
        best = 0.0
        first = self.points[0]
        for point in self.points:
            if point.at - first.at >= 1.0:
                best = max(best, (point.ended - first.ended) / (point.at - first.at))
                first = point
        return best or self.rate(float("inf"))
