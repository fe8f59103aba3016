"""Histograms as values that add up, and the bounds that they have. Times are µs."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from itertools import repeat
from operator import add, mul
from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

_S = 1_000_000
QUICK = tuple(
    int(seconds * _S)
    for seconds in (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 600)
)
"""Upper bounds of histograms of what is waited for: replies, connections, the database."""
LONG = tuple(
    int(seconds * _S)
    for seconds in (0.01, 0.05, 0.1, 0.5, 1, 5, 10, 30, 60, 300, 900, 3600, 14_400, 86_400, 5 * 86_400)
)
"""Of how long mail waits."""
SIZES = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000)
"""Of batches."""


class Histogram(msgspec.Struct):
    """How many values were in each bucket (above the bound before, up to its own), their sum, the greatest.

    The last bucket is for all above the last bound. Without any value there are no buckets.
    """

    buckets: list[int] = []
    total: int = 0
    greatest: int = 0

    def observe(
        self,
        values: Iterable[int],
        bounds: Sequence[int],
        weights: Sequence[int] | None = None,
        *,
        zero: int = 0,
    ) -> None:
        """Count values, each once or as often as `weights` says; without weights that is done in C. Values
        and bounds may be reckoned from another `zero`.
        """
        values = list(values)
        if not values:
            return
        buckets = self.buckets
        if not buckets:
            buckets += repeat(0, len(bounds) + 1)
        greatest = max(values) - zero
        if greatest > self.greatest:
            self.greatest = greatest
        places = map(bisect_left, repeat(bounds), values)
        if weights is None:
            counted: Iterable[tuple[int, int]] = Counter(places).items()
            self.total += sum(values)
        else:
            counted = zip(places, weights, strict=True)
            self.total += sum(map(mul, values, weights))
        for index, count in counted:
            buckets[index] += count
        if zero:
            self.total -= zero * (len(values) if weights is None else sum(weights))

    @property
    def count(self) -> int:
        """How many values there were."""
        return sum(self.buckets)

    def quantile(self, part: float, bounds: Sequence[int]) -> int:
        """Return what `part` of the values do not exceed, as if they were spread evenly within each bucket,
        up to the greatest. 0 without any value.
        """
        if not self.count:
            return 0
        wanted = part * self.count
        lower = 0
        for count, bound in zip(self.buckets, (*bounds, self.greatest), strict=True):
            upper = min(bound, self.greatest)
            if count and wanted <= count:
                return lower + int((upper - lower) * wanted / count)
            wanted -= count
            lower = upper
        return lower

    def add(self, other: Histogram) -> None:
        """Count what another counted."""
        if other.buckets:
            self.buckets = list(map(add, self.buckets, other.buckets)) if self.buckets else [*other.buckets]
        self.total += other.total
        self.greatest = max(self.greatest, other.greatest)
