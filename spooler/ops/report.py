"""What a drain came to, as a record; `spooler.ops.report_page` makes it a page.

Times are µs, but for those of the course, which are seconds.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING

import msgspec

from spooler.histogram import LONG, QUICK, Histogram
from spooler.ops.course import Course, Point
from spooler.ops.errors import ErrorView
from spooler.result import Outcome

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from spooler.ops.counts import Counts, ErrorCount

TOP_REASONS = 20


class Why(StrEnum):
    """Why a drain came to its end."""

    DONE = "nothing was due any more"
    EMPTY = "nothing was left"
    DEADLINE = "its deadline came"
    STOPPED = "it was stopped"


class Times(msgspec.Struct, frozen=True, kw_only=True):
    """What so many of the values do not exceed, found between the bounds of a histogram."""

    count: int
    mean: int
    p50: int
    p90: int
    p95: int
    p99: int

    @classmethod
    def of(cls, histogram: Histogram, bounds: Sequence[int]) -> Times:
        """Read a histogram."""
        count = histogram.count
        half, nine, most, nearly = (histogram.quantile(part, bounds) for part in (0.5, 0.9, 0.95, 0.99))
        mean = histogram.total // count if count else 0
        return cls(count=count, mean=mean, p50=half, p90=nine, p95=most, p99=nearly)


class RouteReport(msgspec.Struct, frozen=True, kw_only=True):
    """Of one route: recipients by outcome (attempts where deferred), and how it was delivered."""

    name: str
    outcomes: dict[str, int]
    transactions: dict[str, dict[str, int]]
    """By destination and mode."""
    octets: int
    retries: int
    uncertain: int
    held: int
    down: str
    """Why it took no mail in the end; "" if it did."""


class DrainReport(msgspec.Struct, frozen=True, kw_only=True):
    """`routes` that were drained, `began` µs UTC, `took`; `left` recipients of what was to be drained, None
    where that could not be counted. `held`: how many of the deferred wait for a person. `deaths`: processes
    that died; what they did last is in the ledger, and not in these figures.
    """

    version: str
    job: str
    began: int
    took: int
    why: Why
    max_rate: float | None
    total: int | None
    left: int | None
    outcomes: dict[str, int]
    uncertain: int
    held: int
    deaths: int
    rate: float
    """Recipients that came to their end, a second; `best` over a second of it."""
    best: float
    routes: list[RouteReport]
    waited: Times
    """From being due to the begin of the transaction."""
    delivery: Times
    """From being enqueued to being delivered."""
    answer: Times
    """From end-of-data to the last final reply."""
    reasons: list[ErrorView]
    """Why recipients were not delivered."""
    course: list[Point]


def sum_up(
    counts: Counts,
    errors: Sequence[ErrorCount],
    course: Course,
    *,
    down: Mapping[str, str],
    version: str,
    job: str,
    began: int,
    took: int,
    why: Why,
    max_rate: float | None,
    total: int | None,
    left: int | None,
    deaths: int = 0,
) -> DrainReport:
    """Make the report of what was counted."""
    waited, delivery, answer = Histogram(), Histogram(), Histogram()
    outcomes = dict.fromkeys((outcome.value for outcome in Outcome), 0)
    for route in counts.routes.values():
        waited.add(route.queue_time)
        delivery.add(route.delivery_time)
        answer.add(route.answer_time)
        for outcome, count in route.outcomes.items():
            outcomes[outcome] += count
    ended = sum(count for outcome, count in outcomes.items() if outcome != Outcome.DEFERRED)
    return DrainReport(
        version=version,
        job=job,
        began=began,
        took=took,
        why=why,
        max_rate=max_rate,
        total=total,
        left=left,
        outcomes=outcomes,
        uncertain=sum(route.uncertain for route in counts.routes.values()),
        held=sum(route.held for route in counts.routes.values()),
        deaths=deaths,
        rate=ended / (took / 1e6) if took else 0.0,
        best=max(course.best(), ended / (took / 1e6) if took else 0.0),
        routes=[
            RouteReport(
                name=name,
                outcomes=route.outcomes,
                transactions=route.transactions,
                octets=route.octets,
                retries=route.retries,
                uncertain=route.uncertain,
                held=route.held,
                down=down.get(name, ""),
            )
            for name, route in sorted(counts.routes.items())
        ],
        waited=Times.of(waited, LONG),
        delivery=Times.of(delivery, LONG),
        answer=Times.of(answer, QUICK),
        reasons=[ErrorView.of(error) for error in errors],
        course=course.points,
    )
