"""What the charts are drawn from."""

from __future__ import annotations

import itertools

from spooler.ops.history import FAR, NEAR, History
from spooler.records import State, TallyRow
from spooler.sample import Sample

SECOND = 1_000_000
START = 1_800_000_000 * SECOND


def sample(at: float, **counts: int) -> Sample:
    return Sample(
        at=START + int(at * SECOND),
        tallies=[
            TallyRow(route=route, state=State(state), count=count)
            for state, count in counts.items()
            for route in ("a", "b")
        ],
        oldest=[],
        due={},
        workers=[],
        standings={},
        pauses=[],
    )


def test_it_is_bounded_however_long_it_runs() -> None:
    """Two days at every two seconds: a quarter of an hour of points, and a day of coarse ones."""
    history = History()
    for i in range(2 * 86400 // 2):
        history.add(sample(i * NEAR[0], delivered=i))
    assert (len(history.near), len(history.far)) == (NEAR[1], FAR[1])
    times = [point.at for point in history.far]
    assert {b - a for a, b in itertools.pairwise(times)} == {60 * SECOND}
    assert history.near[-1].at - history.near[0].at == (NEAR[1] - 1) * 2 * SECOND


def test_looks_in_between_are_not_kept() -> None:
    """Whoever asks often makes no more points."""
    history = History()
    for i in range(100):
        history.add(sample(i / 10, waiting=1))
    assert len(history.near) == 7  # at 0.0, 1.5, 3.0 …


def test_the_rate_is_that_of_the_last_seconds() -> None:
    """Deliveries of all routes, by the time between the points; nothing is known with one."""
    history = History()
    history.add(sample(0, delivered=0))
    assert history.rate(10) == 0.0
    for i in range(1, 31):
        history.add(sample(2 * i, delivered=50 * i if i < 20 else 50 * 20))
    assert history.near[3].delivered == 300
    assert history.rate(10) == 0.0
    assert history.rate(30) == 2 * 250 / 30
    assert history.rate(0.1) == 0.0
