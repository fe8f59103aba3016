"""No more a second than was asked for, and soon that many."""

from __future__ import annotations

import random
from itertools import pairwise

import pytest

from spooler.policy.pace import BURST, FIRST, Pace, lasting, shares, work


def _run(pace: Pace, seconds: float, *, most: int = 1000, rng: random.Random | None = None) -> list[float]:
    """Claim as a worker does; when each recipient was claimed."""
    now, claimed = 50.0, []
    while now < 50.0 + seconds:
        count = min(most, pace.allowed(now))
        pace.claimed(count)
        claimed += [now - 50.0] * count
        now += max(pace.pause(now), rng.uniform(0, 0.5) if rng else 0.001)
    return claimed


@pytest.mark.parametrize("rate", [0.5, 3, 100, 20_000])
def test_the_rate_is_kept_and_reached(rate: float) -> None:
    """Whatever the rate, over any stretch of time."""
    seconds = 20.0 if rate > 1 else 60.0
    claimed = _run(Pace(rate), seconds)
    assert len(claimed) >= rate * (seconds - 1) * 0.95
    burst = max(1.0, rate * BURST)
    for start in range(int(seconds) - 2):
        assert sum(start <= at < start + 2 for at in claimed) <= 2 * rate + burst + 1


def test_what_was_not_used_is_not_made_up_for() -> None:
    """After a pause no more than a fifth of a second's worth comes at once."""
    pace = Pace(100)
    assert pace.allowed(0.0) == 0
    assert pace.allowed(1000.0) == 20
    pace.claimed(20)
    assert pace.allowed(1000.0) == 0
    assert 0 < pace.pause(1000.0) <= BURST


def test_claims_come_at_uneven_times() -> None:
    """Who comes late now and then does not go faster for it."""
    claimed = _run(Pace(100), 100, rng=random.Random(1))
    assert 100 * 100 * 0.5 < len(claimed) <= 100 * 100 + 20


def test_the_rate_climbs() -> None:
    """From a tenth to all of it, evenly."""
    pace = Pace(1000, ramp=10)
    claimed = _run(pace, 20)
    seconds = [sum(second <= at < second + 1 for at in claimed) for second in range(20)]
    assert seconds[0] < 1000 * (FIRST + 0.15)
    assert all(later >= before * 0.9 for before, later in pairwise(seconds))
    assert 450 < seconds[4] < 600
    assert all(950 <= each <= 1050 for each in seconds[11:19])
    assert "a second" in repr(pace)


def test_a_pause_is_never_too_short_for_a_clock() -> None:
    """A clock that stands at a large number does not go on by 1e-17: that would be waiting without an end."""
    rng = random.Random(2)
    for _ in range(2000):
        pace, now = Pace(rng.uniform(0.1, 10_000)), rng.uniform(0, 1e7)
        pace.allowed(now)
        for _ in range(1000):
            now, before = now + pace.pause(now), now
            assert now > before
            if pace.allowed(now):
                break
        else:
            pytest.fail("nothing came free")


def test_how_long_it_takes_to_climb() -> None:
    """As the pace itself has it, and there and back."""
    claimed = _run(Pace(1000, ramp=10), 15)
    for seconds in (1, 5, 10, 14):
        assert sum(at <= seconds for at in claimed) == pytest.approx(1000 * work(seconds, 10), rel=0.1)
    for ramp in (0.0, 0.5, 10, 3600):
        for span in (0.0, 0.1, 1, 100, 5000):
            assert lasting(work(span, ramp), ramp) == pytest.approx(span)
    assert lasting(60, 1e15) == pytest.approx(60 / FIRST)  # it hardly climbs


@pytest.mark.parametrize(
    ("rooms", "most", "expected"),
    [
        ([], 5, []),
        ([10], 0, [0]),
        ([10], 50, [10]),
        ([10, 10], 1, [1, 0]),
        ([10, 10, 10], 7, [3, 2, 2]),
        ([0, 10, 10], 5, [0, 3, 2]),
        ([1, 2, 100], 20, [1, 2, 17]),
        ([100, 1], 20, [19, 1]),
        ([500, 500], 800, [400, 400]),
    ],
)
def test_shares_are_even_as_far_as_there_is_room(rooms: list[int], most: int, expected: list[int]) -> None:
    """Nobody is passed over for another who has more room, and nothing that could be used is left."""
    assert shares(rooms, most) == expected


def test_shares_whatever_is_asked() -> None:
    """All that can be taken is given, no more than there is room for, and shares of the unfilled are even."""
    rng = random.Random(3)
    for _ in range(500):
        rooms = [rng.randrange(50) for _ in range(rng.randrange(8))]
        most = rng.randrange(200)
        given = shares(rooms, most)
        assert sum(given) == min(most, sum(rooms))
        assert all(part <= room for part, room in zip(given, rooms, strict=True))
        short = [part for part, room in zip(given, rooms, strict=True) if part < room]
        if short:
            assert max(given) - min(short) <= 1
