"""How much of the queue is moving: what the time until it is done is reckoned from."""

from __future__ import annotations

from typing import Any

import pytest

from spooler.ops.status import moving
from tests.ops.test_problems import DOWN, route
from tests.spool.making import NOW


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        ({"states": {"waiting": 5, "held": 2}, "due": NOW}, 5),
        ({"states": {"deferred": 5}, "due": NOW + 1}, 0),
        ({"states": {"deferred": 5, "active": 1}, "due": NOW + 1}, 6),
        ({"states": {"held": 2}}, 0),
        ({"states": {"waiting": 5}, "due": NOW, "served": False}, 0),
        ({"states": {"waiting": 5}, "due": NOW, "paused": True}, 0),
        ({"states": {"waiting": 5}, "due": NOW, "outage": DOWN}, 0),
    ],
)
def test_what_moves(more: dict[str, Any], expected: int) -> None:
    """Only on a route that takes mail, and where some of it is due or under way; what is held never."""
    assert moving([route(**more), route()], NOW) == expected
