"""The bench of metrics still runs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench import metrics

if TYPE_CHECKING:
    import pytest


def test_tiny(capsys: pytest.CaptureFixture[str]) -> None:
    """Each case has its figure; what it is says nothing at this size."""
    metrics.main(["--rounds", "1", "--scale", "0.03"])
    lines = capsys.readouterr().out.splitlines()
    assert [line.startswith("spooler, SQLite") for line in lines] == [True] * 3 + [False] * 3
    assert sum("a scrape takes " in line for line in lines) == 2
    assert sum("metrics cost " in line for line in lines) == 4
