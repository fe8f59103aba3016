"""A job is removed while a worker delivers others, on both databases."""

from __future__ import annotations

import pytest

from bench import steering
from bench.places import Spools


@pytest.mark.parametrize("kind", ["sqlite", "postgres"])
def test_a_job_is_removed_while_others_are_delivered(kind: str) -> None:
    """All of the job goes, nothing of the others, and their delivery goes on meanwhile."""
    with Spools() as spools:
        for _ in range(3):  # unless the machine stands still for the second that it takes
            said: list[str] = []
            figures = steering.measure(spools, kind, remove=6_000, others=6_000, say=said.append)
            assert (figures.removed, figures.left_of_job) == (6_000, 0)
            assert len(said) == 1
            if figures.delivered > 0 and figures.longest_gap < figures.took:
                break
        else:
            pytest.fail(f"nothing was delivered meanwhile, three times: {figures}")
