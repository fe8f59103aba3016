"""Memory does not grow with a message or with the queue.

Reduced size: 60 MB and 20,000 recipients here; 100 MB a message and 1,000,000 are `make bench-memory`, whose
last figures stand in bench/results/.
"""

from __future__ import annotations

import sys

import pytest

from bench.memory import Load, run
from bench.places import Spools

_LIMIT = 40 << 20  # bytes above an idle worker: less than the message that is delivered


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="peak memory is read from /proc")
@pytest.mark.parametrize(
    "load",
    [Load(name="large", size=60 * 10**6), Load(name="queue", recipients=20_000)],
    ids=lambda load: load.name,
)
def test_delivering_takes_little_more_than_an_idle_worker(load: Load) -> None:
    """Neither a large message nor a long queue is held in memory."""
    with Spools() as spools:
        usage = run(load, kind="sink", spools=spools)
    assert usage.idle > 0
    assert usage.above < _LIMIT, f"{usage.above >> 20} MiB above an idle worker"
