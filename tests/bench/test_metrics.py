"""The bench of metrics still runs, and finds what is there."""

from __future__ import annotations

import pytest

from bench import metrics
from bench.metrics import Look, compared
from bench.now_and_then import counting


@pytest.mark.alone
def test_tiny(capsys: pytest.CaptureFixture[str]) -> None:
    """Each case has its figure; what it is says nothing at this size."""
    metrics.main(["--rounds", "1", "--scale", "0.3"])
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 4
    assert all("metrics cost " in line for line in lines)


@pytest.mark.parametrize("cost", [0.0, 0.05, -0.1])
def test_what_it_finds(cost: float) -> None:
    """The share by which seconds with metrics are slower than those around, though all become faster."""
    delivered = 0.0
    looks = []
    for tick in range(200):
        at = 1_000_000.03 + tick / 20
        rate = 1000 * (1 + tick / 200)
        looks.append(Look(at, int(delivered)))
        delivered += rate * (1 - cost if counting(at) else 1) / 20
    found = compared(looks)
    assert len(found) == 3
    assert sum(found) / 3 == pytest.approx(cost, abs=0.01)
    assert compared([]) == []
