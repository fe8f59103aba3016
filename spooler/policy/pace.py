"""How many recipients a drain may claim: at most so many a second, and in the beginning fewer.

A bucket that is filled by time. It holds what may be claimed in a fifth of a second, so no more than that is
ever made up for at once; and nothing is claimed before a part of it is full, so that claims stay few. Nor is
more than a second's worth ever under way: a store that stood still gets no more than that at once.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

BURST = 0.2  # seconds
PART = 0.25  # of the bucket
FIRST = 0.1  # of the rate, where it climbs
UNDER_WAY = 1.0  # seconds' worth that may be claimed and not answered
LEAST_UNDER_WAY = 10  # recipients, or a slow rate would be slower still where answers take long
SHORTEST = 0.001  # seconds: what is shorter may be lost when it is added to a clock


class Pace:
    """Mutable; `rate` in recipients a second, `ramp` seconds until it is reached. Times are trio's."""

    def __init__(self, rate: float, *, ramp: float = 0.0) -> None:
        self._rate = rate
        self._ramp = ramp
        self._began: float | None = None
        self._seen = 0.0
        self._tokens = 0.0

    def __repr__(self) -> str:
        return f"<Pace {self._rate:g} a second, {self._tokens:.1f} in the bucket>"

    def rate(self, now: float) -> float:
        """How fast it may go now, in recipients a second."""
        if self._began is None or not self._ramp:
            return self._rate
        part = FIRST + (1 - FIRST) * (now - self._began) / self._ramp
        return self._rate * min(1.0, part)

    def allowed(self, now: float) -> int:
        """How many recipients may be claimed now."""
        if self._began is None:
            self._began = self._seen = now
        # by the rate in the middle of the time that went by
        self._tokens += (now - self._seen) * self.rate((now + self._seen) / 2)
        self._seen = now
        rate = self.rate(now)
        bucket = max(1.0, rate * BURST)
        self._tokens = min(self._tokens, bucket)
        return int(self._tokens) if self._tokens >= max(1.0, bucket * PART) else 0

    def under_way(self, now: float) -> int:
        """How many recipients may be claimed and not answered at a time."""
        return max(LEAST_UNDER_WAY, int(self.rate(now) * UNDER_WAY))

    def claimed(self, count: int) -> None:
        """So many were."""
        self._tokens -= count

    def pause(self, now: float) -> float:
        """Seconds until some may be claimed again, or it is to be asked again."""
        rate = self.rate(now)
        return max(SHORTEST, (max(1.0, rate * BURST * PART) - self._tokens) / rate)


def work(seconds: float, ramp: float) -> float:
    """How many seconds at full rate give as much as so many from the beginning of a ramp."""
    climbing = min(seconds, ramp)
    gained = FIRST * climbing + (1 - FIRST) * climbing**2 / (2 * ramp) if ramp else 0.0
    return gained + seconds - climbing


def lasting(work_: float, ramp: float) -> float:
    """How many seconds from the beginning of a ramp give as much as so many at full rate."""
    climbing = work(ramp, ramp)
    if work_ >= climbing:
        return ramp + work_ - climbing
    steep = (1 - FIRST) / ramp
    # the root of a quadratic, in the form that takes no difference of two like numbers
    return 2 * work_ / (FIRST + math.sqrt(FIRST**2 + 2 * steep * work_))


def shares(rooms: Sequence[int], most: int) -> list[int]:
    """Divide what may be claimed as evenly as there is room; what cannot be divided is for the first ones."""
    given = [0] * len(rooms)
    while most and (open_ := [place for place, room in enumerate(rooms) if given[place] < room]):
        part = max(1, most // len(open_))
        for place in open_:
            more = min(part, rooms[place] - given[place], most)
            given[place] += more
            most -= more
    return given
