"""How long an enqueued message waits for an idle worker, in the whole product."""

from __future__ import annotations

import random
import statistics
import time
from typing import TYPE_CHECKING

import pytest

from spooler.ident import now_us
from spooler.spool.store import Store
from tests.servers.own_sink import own_sink
from tests.spool.making import message
from tests.supervise.command import running

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.alone

_TIMES = 50
_BOUNDS = {"sqlite": 0.050, "postgresql": 0.020}  # seconds, the median; measured: 0.017 and 0.014
_SLACK = 5  # times as long is let pass: the machine may have other things to do


def test_an_idle_worker_is_quick(spool_url: str, tmp_path: Path) -> None:
    """From the call that enqueues to the final reply of the target, whoever enqueues: some milliseconds."""
    waits = []
    with (
        own_sink() as sink,
        Store.open(spool_url) as store,
        running(tmp_path / "log", "worker", "--spool", spool_url, "--target", sink.tcp) as worker,
    ):
        worker.until(lambda: bool(worker.lines("worker", state="started")))
        for i in range(_TIMES):
            began = now_us()
            (enqueued,) = store.enqueue([message(f"user{i}@example.org")], now=began)
            worker.until(lambda: store.left() == 0)
            (entry,) = store.ledger_of(enqueued.id)
            assert entry.outcome == "delivered"
            waits.append((entry.at - began) / 1e6)
            time.sleep(random.uniform(0.05, 0.1))  # not in step with what the worker does regularly
    kind = spool_url.partition(":")[0]
    assert statistics.median(waits[1:]) <= _BOUNDS[kind] * _SLACK, sorted(waits)
