"""A job is removed while a worker delivers others, on both databases."""

from __future__ import annotations

import pytest

from bench import steering
from bench.places import Spools


@pytest.mark.parametrize("kind", ["sqlite", "postgres"])
def test_a_job_is_removed_while_others_are_delivered(kind: str) -> None:
    """All of the job goes, nothing of the others, and their delivery goes on meanwhile."""
    said: list[str] = []
    with Spools() as spools:
        figures = steering.measure(spools, kind, remove=6_000, others=6_000, say=said.append)
    assert (figures.removed, figures.left_of_job) == (6_000, 0)
    assert figures.delivered > 0
    assert figures.longest_gap < figures.took
    assert len(said) == 1
