"""The bench of metrics still runs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench import metrics

if TYPE_CHECKING:
    import pytest


def test_tiny(capsys: pytest.CaptureFixture[str]) -> None:
    """Each case has its figure; what it is says nothing at this size."""
    metrics.main(["--rounds", "1", "--messages", "20"])
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 4
    assert all("metrics cost " in line for line in lines)
