"""kill -9 of real workers at random moments under full load, with a stop now and then."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.crash.killing import kill_workers

if TYPE_CHECKING:
    from pathlib import Path

KILLS = {"sqlite": 20, "postgres": 10}


@pytest.mark.long
@pytest.mark.parametrize("database", KILLS)
def test_workers_that_are_killed(database: str, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    """Nobody is lost, nothing is told that did not happen, and each second copy has its uncertain attempt."""
    url: str = request.getfixturevalue(f"{database}_url")
    tally = kill_workers(url, tmp_path, kills=KILLS[database], seed=4)
    print(tally)  # noqa: T201  # what the run came to, for whoever looks
    assert (tally.lost, tally.false_success, tally.unexplained) == ([], [], [])
    assert (tally.failed, tally.queued) == (0, 0)
    assert tally.uncertain < tally.recipients / 20
