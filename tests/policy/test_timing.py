"""Backoff, health, and how recipients are grouped."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spooler.policy.backoff import delay
from spooler.policy.health import LONGEST_PAUSE, STUBBORN_PAUSE, Health
from spooler.policy.plan import group, rotation, split


@given(st.integers(1, 2**63 - 1), st.integers(1, 200), st.integers(1, 10**9), st.integers(1, 10**12))
def test_delay_lies_in_the_upper_half(message_id: int, attempt: int, first: int, spread: int) -> None:
    """The delay is drawn from [d/2, d], d doubling up to the maximum."""
    maximum = first + spread
    d = min(first * 2 ** (attempt - 1), maximum)
    drawn = delay(message_id=message_id, attempt=attempt, first=first, maximum=maximum)
    assert d / 2 <= drawn <= d


def test_delay_is_the_same_for_a_message_and_attempt_and_spread_over_messages() -> None:
    """Recipients of a message come back together; messages come back all over the interval."""
    first = {delay(message_id=7, attempt=2, first=60, maximum=4000) for _ in range(3)}
    assert len(first) == 1
    draws = [delay(message_id=i, attempt=1, first=10**6, maximum=10**9) for i in range(4096)]
    quarters = [sum(lo <= (d - 500_000) / 125_000 < lo + 1 for d in draws) for lo in range(4)]
    assert min(quarters) > 900


def test_health_doubles_its_pauses_and_opens_at_the_first_success() -> None:
    """Each failure doubles the pause up to a minute; a success clears it at once."""
    health = Health()
    rng = random.Random(1)
    assert health.may_try(0.0)
    for n in range(10):
        longest = min(2.0**n, LONGEST_PAUSE)
        now = 100.0 + n
        pause = health.failed(now, rng, began=now - 0.5)
        assert longest / 2 <= pause <= longest
        assert health.down
        assert not health.may_try(now + pause - 0.001)
        assert health.may_try(now + pause)
    assert health.worked() is True
    assert health.worked() is False
    assert health.proven
    assert repr(health) == "<Health proven>"


def test_tries_of_one_outage_count_once() -> None:
    """What began before the first failure was known is no further probe, however late it fails."""
    health = Health()
    rng = random.Random(1)
    assert health.is_news(began=1.0)
    pause = health.failed(2.0, rng, began=1.0)
    for began, now in ((1.0, 2.0), (2.0, 2.1), (0.0, 9.0)):
        assert not health.is_news(began=began)
        assert health.failed(now, rng, began=began) == max(0.0, 2.0 + pause - now)
    assert health.failures == 1
    assert health.may_try(2.0 + pause)
    health.failed(2.5, rng, began=1.0, stubborn=True)
    health.failed(2.5, rng, began=1.0, stubborn=True)
    assert health.failures == 7, "the server counts each secret that it refuses"
    health.worked()
    health.failed(2.0, rng, began=1.0)
    health.failed(4.0, rng, began=3.0)
    assert health.failures == 2
    health.worked()
    assert health.is_news(began=1.0)


def test_what_a_person_must_mend_is_asked_for_seldom() -> None:
    """A refused secret counts for three failures, and the pauses grow to ten minutes."""
    health = Health()
    rng = random.Random(1)
    now = 0.0
    for longest in (4.0, 32.0, 256.0, STUBBORN_PAUSE, STUBBORN_PAUSE):
        pause = health.failed(now, rng, began=now, stubborn=True)
        assert longest / 2 <= pause <= longest
        now += pause
    assert health.worked() is True
    assert health.failed(now, rng, began=now) <= 1.0


def test_health_shows_its_state() -> None:
    """Its repr tells unknown from down."""
    health = Health()
    assert repr(health) == "<Health unknown>"
    health.failed(0.0, random.Random(1), began=0.0)
    assert repr(health) == "<Health down after 1>"


@given(st.integers(0, 1000), st.integers(1, 120))
def test_split_keeps_order_and_is_even(count: int, most: int) -> None:
    """Groups hold all recipients in order, none more than the limit, sizes differing by one at most."""
    groups = split(list(range(count)), most)
    assert [x for group in groups for x in group] == list(range(count))
    sizes = [len(group) for group in groups]
    assert max(sizes) <= most
    assert max(sizes) - min(sizes) <= 1
    assert len(groups) == max(1, -(-count // most))


def test_what_asks_something_special_travels_apart() -> None:
    """Special ones get groups of their own; where all or none are, nothing is taken apart."""
    assert group([1, 2, 3, 4, 5], 2, special=lambda n: n % 2 == 0) == [[1], [3, 5], [2, 4]]
    assert group([1, 3], 5, special=lambda n: n % 2 == 0) == [[1, 3]]
    assert group([2, 4], 5, special=lambda n: n % 2 == 0) == [[2, 4]]


@pytest.mark.parametrize(("turn", "order"), [(0, [0, 1, 2]), (1, [1, 2, 0]), (5, [2, 0, 1])])
def test_rotation(turn: int, order: list[int]) -> None:
    """Each turn begins at the next destination."""
    assert rotation(3, turn) == order


def test_one_looks_at_what_is_down() -> None:
    """While a probe is under way nobody else begins one; what came of it decides when the next is due."""
    health = Health()
    rng = random.Random(1)
    health.failed(0.0, rng, began=0.0)
    assert health.may_try(1.0)
    health.probing(1.0)
    assert not health.may_try(1.0)
    assert not health.may_try(LONGEST_PAUSE)
    assert health.may_try(1.0 + LONGEST_PAUSE)  # nothing came of it
    pause = health.failed(2.0, rng, began=1.0)
    assert health.may_try(2.0 + pause)
    health.worked()
    assert health.may_try(2.0)
