"""The window finds a good number of sessions by itself, and gives way when the target asks for it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from spooler.policy.window import HOLD, RELIEF, START, Phase, Window

if TYPE_CHECKING:
    from collections.abc import Callable


class Bench:
    """A target with a given throughput for each number of sessions, on a clock of its own."""

    def __init__(self, throughput: Callable[[int], float], *, limit: int = 20) -> None:
        self.window = Window(limit)
        self.now = 0.0
        self.throughput = throughput
        self.sizes: list[int] = []
        self.window.proven(self.now)

    def run(self, seconds: float, *, saturated: bool = True) -> Bench:
        """Deliver for so long."""
        end = self.now + seconds
        while self.now < end:
            self.now += 1 / self.throughput(self.window.size)
            if self.window.finished(self.now, saturated=saturated):
                self.sizes.append(self.window.size)
        return self


@pytest.mark.parametrize("best", [1, 3, 4, 6, 8, 12, 20, 50])
@pytest.mark.parametrize("peak", [200.0, 10_000.0])
def test_within_nine_tenths_of_the_best_fixed_number(best: int, peak: float) -> None:
    """Throughput that grows with sessions up to some number: the window settles where 90 % of it is had."""
    bench = Bench(lambda n: peak * min(n, best) / best).run(10)
    window = bench.window
    if best <= START:
        assert window.size <= START
    assert bench.throughput(window.size) >= 0.9 * bench.throughput(20)
    assert window.phase in (Phase.HOLDING, Phase.LIMITED, Phase.TRYING)


def test_more_sessions_that_do_harm_are_taken_back() -> None:
    """A target that gets slower with more sessions is left with few."""
    bench = Bench(lambda n: 1000 * n if n <= 4 else 4000 - 150 * (n - 4)).run(5)
    assert bench.window.size == START
    assert bench.window.phase is Phase.HOLDING


def test_it_tries_again_when_the_target_has_changed() -> None:
    """What did not help once may help later: after a while another step is tried."""
    bench = Bench(lambda _: 1000.0).run(3)
    assert bench.window.size == START
    bench.throughput = lambda n: 250.0 * n
    bench.run(HOLD + 5)
    assert bench.window.size == 20
    assert bench.window.phase is Phase.LIMITED


def test_refusals_shrink_it_once_at_a_time_and_it_recovers() -> None:
    """A burst of refusals counts as one; after some calm it grows again."""
    bench = Bench(lambda n: 100.0 * n).run(3)
    window = bench.window
    assert window.size == 20
    for _ in range(5):
        window.refused(bench.now)
    assert window.size == int(20 * RELIEF)
    assert window.phase is Phase.RELIEVING
    bench.run(4)
    assert window.size == int(20 * RELIEF)
    bench.run(6)
    assert window.size == 20


def test_never_below_one_nor_above_the_limit() -> None:
    """One session always remains; the configured limit is never passed."""
    window = Window(1)
    window.refused(0.0)
    assert (window.size, window.phase) == (1, Phase.PROBING)
    window.proven(0.0)
    assert (window.size, window.phase) == (1, Phase.LIMITED)
    assert window.finished(9.0, saturated=True) is False
    for i in range(20):
        window.refused(10.0 * i)
    assert window.size == 1
    bench = Bench(lambda n: 100.0 * n, limit=5).run(5)
    assert bench.window.size == 5
    assert max(bench.sizes) == 5


def test_without_enough_work_nothing_is_learnt() -> None:
    """An idle route keeps its size: there is nothing to compare."""
    bench = Bench(lambda n: 100.0 * n).run(5, saturated=False)
    assert bench.window.size == START


def test_lost_route_starts_again() -> None:
    """A route that is down goes back to one session, and says why."""
    bench = Bench(lambda n: 100.0 * n).run(3)
    bench.window.lost()
    assert repr(bench.window) == "<Window 1 of 20: proving that the route takes mail>"
    assert bench.window.finished(bench.now, saturated=True) is False
