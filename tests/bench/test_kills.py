"""The bench of kills runs, and reports what came of it; in full it is `make bench-kills`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from bench.figures import KillFigures, Kills
from bench.kills import main
from bench.report import kills_table

if TYPE_CHECKING:
    from pathlib import Path

_ROW = KillFigures(
    spool="sqlite",
    target="sink",
    kills=4,
    recipients=9000,
    lost=0,
    false_success=0,
    false_failure=0,
    duplicates=6,
    uncertain=8,
    unexplained=0,
)


def test_a_kill_is_counted_and_reported(tmp_path: Path) -> None:
    """One worker dies, nothing is lost, and both files are there."""
    assert main(["--kills", "1", "--spool", "sqlite", "--results", str(tmp_path)]) == 0
    kept = msgspec.json.decode((tmp_path / "kills.json").read_bytes(), type=Kills)
    (row,) = kept.rows
    assert (row.kills, row.lost, row.unexplained) == (1, 0, 0)
    assert row.recipients > 1000
    assert kills_table(kept) in (tmp_path / "kills.md").read_text()


def test_what_would_be_wrong() -> None:
    """Uncertain attempts account for second copies; anything else makes the bench fail."""
    assert _ROW.sound
    for fault in ("lost", "false_success", "false_failure", "unexplained"):
        assert not msgspec.structs.replace(_ROW, **{fault: 1}).sound
    table = kills_table(Kills(facts={}, sessions=20, rows=[_ROW]))
    assert [line.split(" | ")[7:9] for line in table.splitlines()[2:]] == [
        ["            6", "  1.50"],
        ["            6", "  0.60"],
    ]
