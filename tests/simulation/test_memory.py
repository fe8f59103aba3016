"""Memory is bounded by configuration (invariant 9): the runs with more mail than a worker may hold."""

from __future__ import annotations

from collections import Counter

import pytest

from spooler.config import Config, Route, Worker
from tests.simulation.chance import Chance
from tests.simulation.coverage import MEMORY
from tests.simulation.many import run_many
from tests.simulation.memory import CHUNK, Scales

SEEDS = [seed for seed in range(40) if Chance(seed).tight]


def test_no_worker_holds_more_than_it_may() -> None:
    """Contents that anything refers to, and recipients that are leased, stay within what is configured.

    A few seeds, for the mutations: `test_seeds` has these and more.
    """
    assert len(SEEDS) == 5
    assert run_many(SEEDS).failed == {}


def test_scales() -> None:
    """What is too much is noticed as soon as it is there, and what is gone does not count."""
    config = Config(
        routes={"default": Route(destinations=["unix:/x"], sessions=1, recipients=1, mode="lockstep")},
        worker=Worker(claim=2, buffer=CHUNK),
    )
    chance = Chance(4)
    scales = Scales(config, chance)
    held: list[bytes] = []
    for _ in range(3):
        held.clear()
        held += [scales.put_on(b"x" * (CHUNK // 2), "contents") for _ in range(2)]
    with pytest.raises(AssertionError, match="octets of contents"):
        held.append(scales.put_on(b"x", "contents"))
    scales.claimed(3 * 2 + 1 + 4 * 2)
    with pytest.raises(AssertionError, match="recipients are claimed"):
        scales.claimed(3 * 2 + 1 + 4 * 2 + 1)
    assert chance.hits == Counter({MEMORY[0]: 3, MEMORY[1]: 1})
