"""Targets are shared by routes."""

from __future__ import annotations

import pytest

from spooler.destination import parse_destination
from spooler.lmtp.trust import Mode
from spooler.net.pool import Pool

STORE = parse_destination("inet:127.0.0.1:24")
OTHER = parse_destination("inet:127.0.0.2:24")


@pytest.mark.parametrize("modes", [[Mode.LOCKSTEP, Mode.CHUNKED], [Mode.PIPELINED, Mode.LOCKSTEP]])
def test_the_most_careful_mode_of_all_routes_holds(modes: list[Mode]) -> None:
    """Routes that name the same destination have one target, whatever their order; others have their own."""
    pool = Pool()
    first, second = (pool.target(STORE, mode=mode) for mode in modes)
    assert first is second
    assert first.mode == "lockstep"
    assert pool.target(OTHER).mode == "chunked"
