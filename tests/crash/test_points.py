"""Death at the numbered points of journal, settling, claiming and intake, and again in the recovery.

Reduced size: one call of each moment of each point here; `python -m tests.crash.stepping` goes through all.
"""

from __future__ import annotations

import shutil

import pytest

from tests.crash.points import POINTS, WORKER
from tests.crash.stepping import place, quick_folder, step

# what does not touch the database is gone through once
OF = {"sqlite": POINTS, "postgres": [point for point in POINTS if point.side != WORKER or point.recovery]}


@pytest.mark.long
@pytest.mark.parametrize("database", OF)
def test_death_at_every_point(database: str, request: pytest.FixtureRequest) -> None:
    """Nothing is lost, nothing told that did not happen, no second copy without its uncertain attempt."""
    with quick_folder() as root:
        if database == "sqlite":
            url = f"sqlite:///{shutil.copy(request.getfixturevalue('sqlite_template'), root / 'spool.db')}"
        else:
            url = request.getfixturevalue("postgres_url")
        with place(url, root) as here:
            assert step(here, OF[database], every=False, say=lambda _: None) == []
            died, asked = sum(here.hits.values()), sum(here.hits.values()) + sum(here.missed.values())
    print(f"{died} deaths of {asked}, missed: {+here.missed}")  # noqa: T201  # for whoever looks
    assert died > 0.8 * asked
    assert [name for name, often in here.hits.items() if not often] == []
