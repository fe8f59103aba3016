"""Claims are measured from backlogs of several lengths, on both databases."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from bench import claiming
from bench.figures import Claims
from bench.places import Spools
from bench.report import write_claims

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize("recipients", [1, 10_000], ids=["one", "many"])
def test_claims_from_each_backlog_are_timed(recipients: int, tmp_path: Path) -> None:
    """Each backlog has its figures, and the growth is that of the longest against the shortest."""
    said: list[str] = []
    rows = []
    with Spools() as spools:
        for kind in ("sqlite", "postgres") if recipients == 1 else ("sqlite",):
            rows += claiming.measure(
                sizes=(2_500, 5_000),
                spools=spools,
                kind=kind,
                recipients=recipients,
                rounds=2,
                say=said.append,
            )
    assert [row.backlog for row in rows] == [2_500, 5_000] * (len(rows) // 2)
    assert all(row.claim.median > 0 and row.settle.median > 0 for row in rows)
    assert len(said) == len(rows)
    kept = Claims(facts={}, claim=claiming.CLAIM, rounds=2, rows=rows)
    assert kept.growth("sqlite", rows[0].shape) == rows[1].claim.median / rows[0].claim.median
    write_claims(kept, tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {"claims.json", "claims.md", "claims.svg"}


def test_sizes_are_read_with_their_units() -> None:
    """As people write them."""
    assert [claiming.read_size(text) for text in ("10k", "5M", "700")] == [10_000, 5_000_000, 700]
