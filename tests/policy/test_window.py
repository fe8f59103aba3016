"""The window finds a good number of sessions by itself, and gives way when the target asks for it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from spooler.policy.window import CALM, DEEPEST, FULL, HOLD, RELIEF, SHALLOW, SLOW, START, Phase, Window

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
    assert repr(bench.window) == "<Window 1 of 20, depth 4: proving that the route takes mail>"
    assert bench.window.finished(bench.now, saturated=True) is False


class DeepBench:
    """A target of chunked mode with a given throughput for sessions and depth, on a clock of its own."""

    def __init__(self, throughput: Callable[[int, int], float], *, limit: int = 10) -> None:
        self.window = Window(limit)
        self.now = 0.0
        self.throughput = throughput
        self.seen: list[tuple[int, int]] = []
        self.window.proven(self.now)

    def run(self, seconds: float, *, chunked: bool = True) -> DeepBench:
        """Deliver for so long."""
        window = self.window
        end = self.now + seconds
        while self.now < end:
            self.now += 1 / self.throughput(window.size, window.depth)
            if window.finished(self.now, saturated=True, chunked=chunked):
                self.seen.append((window.size, window.depth))
        return self


def far(sessions: int, depth: int) -> float:
    """A line of 20 ms, and a target that takes 4,000 a second."""
    return min(sessions * depth / 0.02, 4000.0)


def near(_sessions: int, _depth: int) -> float:
    """A store that is busy with the least."""
    return 800.0


def test_depth_and_sessions_grow_in_turn_where_the_target_is_far() -> None:
    """Each step doubles one of both, as long as it helps: after a second and a half the line is full."""
    bench = DeepBench(far).run(1.5)
    window = bench.window
    assert bench.seen[:3] == [(4, 8), (8, 8), (8, 16)]
    assert far(window.size, window.depth) == 4000.0
    bench.run(1.5)
    assert far(window.size, window.depth) == 4000.0
    assert window.size * window.depth <= 160


def test_no_deeper_than_helps() -> None:
    """A store that is full with little in flight keeps little in flight: it could all come twice."""
    bench = DeepBench(near).run(30)
    while bench.window.phase is not Phase.HOLDING:
        bench.run(0.1)
    assert (bench.window.size, bench.window.depth) == (START, SHALLOW)
    assert bench.window.why == "holding: more brought 800 instead of 800 transactions/s"
    tried = [seen for seen in bench.seen if seen != (START, SHALLOW)]
    assert set(tried) == {(START, 2 * SHALLOW), (2 * START, SHALLOW)}
    assert len(tried) < 20


def test_depth_alone_where_there_is_but_one_session() -> None:
    """One session allowed: depth grows to its own limit, and that is told."""
    bench = DeepBench(lambda _, depth: 50.0 * depth, limit=1).run(5)
    window = bench.window
    assert (window.size, window.depth, window.phase) == (1, DEEPEST, Phase.LIMITED)
    assert window.why == f"at the limit: {50 * DEEPEST:,} transactions/s"


def test_depth_stays_where_transactions_cannot_follow_each_other() -> None:
    """Without chunks there is nothing to learn about depth; when they come it is tried."""
    bench = DeepBench(far).run(5, chunked=False)
    assert (bench.window.size, bench.window.depth) == (10, SHALLOW)
    bench.run(30)
    assert bench.window.depth > SHALLOW


def test_a_gain_that_chance_hid_is_found_soon() -> None:
    """A step that seemed to bring nothing is tried again after a second, not after ten."""
    bench = Bench(lambda _: 1000.0).run(0.8)
    assert bench.window.size == START
    bench.throughput = lambda n: 250.0 * n
    assert bench.run(2.5).window.size > START


def test_fixed_by_configuration() -> None:
    """All that is allowed, once the route takes mail, and again some time after a refusal."""
    window = Window(10, adapt=False)
    assert window.size == 1
    window.proven(0.0)
    assert (window.size, window.depth, window.why) == (10, FULL, "fixed by configuration")
    assert not window.finished(1.0, saturated=True, chunked=True)
    assert window.refused(2.0)
    assert not window.refused(2.0)
    assert window.size == 7
    assert not window.finished(3.0, saturated=True)
    assert window.finished(2.0 + CALM, saturated=True)
    assert (window.size, window.phase) == (10, Phase.FIXED)


def test_steps_that_chance_seemed_to_reward_are_taken_back_in_the_long_run() -> None:
    """From time to time less is tried, and stays where nothing is lost; where it is, it does not."""
    bench = DeepBench(lambda sessions, depth: 100.0 * sessions * depth).run(3)
    assert (bench.window.size, bench.window.depth, bench.window.phase) == (10, DEEPEST, Phase.LIMITED)
    bench.run(30)
    while bench.window.phase is Phase.LESSENING:
        bench.run(0.1)
    assert (bench.window.size, bench.window.depth) == (10, DEEPEST)
    assert bench.window.why == "at the limit: less brought 16,000 instead of 32,000 transactions/s"
    bench.throughput = near
    bench.run(60)
    while bench.window.phase is not Phase.HOLDING:
        bench.run(0.1)
    assert (bench.window.size, bench.window.depth) == (START, SHALLOW)


def test_no_more_in_flight_than_is_answered_in_time() -> None:
    """Where each transaction takes long, depth is halved until what is in flight is answered soon."""
    bench = DeepBench(lambda sessions, depth: 100.0 * sessions * depth).run(3)
    window = bench.window
    assert window.depth == DEEPEST
    now = bench.now
    for depth in (16, 8, 4, 2, 1):
        now += 1
        assert window.finished(now, saturated=True, chunked=True, took=SLOW + 1)
        assert (window.depth, window.why) == (depth, "answers take long")
    assert not window.finished(now + 1, saturated=True, chunked=True, took=SLOW + 1)
    assert window.size == 10
    tried = set()
    for i in range(3000):
        window.finished(now + 2 + i / 100, saturated=True, chunked=True, took=0.1)
        tried.add(window.depth)
    assert tried == {1, 2}  # it answers sooner now, so more is tried; here it brings nothing


def test_no_deeper_than_would_be_answered_in_time() -> None:
    """Where twice as many in flight would be answered too late, depth is not tried at all."""
    window = Window(10)
    window.proven(0.0)
    for i in range(3000):
        window.finished(i / 100, saturated=True, chunked=True, took=SLOW * 0.6)
        assert window.depth == SHALLOW


def test_other_limits() -> None:
    """A lower limit holds at once; a higher one is tried soon; fixed ones are what they are set to."""
    window = Window(8)
    window.proven(0.0)
    window.size = 8
    window.change(2, adapt=True, now=1.0)
    assert (window.size, window.limit) == (2, 2)
    window.phase = Phase.LIMITED
    window.change(20, adapt=True, now=2.0)
    assert (window.size, window.phase) == (2, Phase.HOLDING)
    window.change(20, adapt=False, now=3.0)
    assert (window.size, window.depth, window.phase) == (20, FULL, Phase.FIXED)
    window.change(5, adapt=False, now=4.0)
    assert window.size == 5
    window.lost()
    window.change(9, adapt=True, now=5.0)
    assert (window.size, window.phase) == (1, Phase.PROBING)
