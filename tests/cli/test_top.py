"""`spooler top`: once, as JSON, piped, and in a terminal until q."""

from __future__ import annotations

import os
import pty
import re
import subprocess
import sys
import time
from typing import TYPE_CHECKING

from spooler.ident import now_us
from spooler.result import Outcome
from spooler.worker_standing import Outage
from tests.cli.running import claim_all, result_of
from tests.cli.test_route import serve

if TYPE_CHECKING:
    from spooler.spool.store import Store
    from tests.cli.running import Runner


def put(spooler: Runner, *recipients: str) -> None:
    """Queue a message."""
    spooler("enqueue", "-f", "s@example.org", *recipients)


def test_once(spooler: Runner, store: Store) -> None:
    """Piped it is printed once: counts by state, what is down, which workers."""
    put(spooler, "a@x.example", "b@x.example")
    now = now_us()
    serve(store, outage=Outage(since=now - 90_000_000, failures=3, why="refused", probe_at=now))
    spooler("route", "pause", "other")
    lines = spooler("top", "--every", "0.2").out.splitlines()
    assert "2 recipients queued, 0 delivered/s" in lines[0]
    assert any(line.startswith("! ") and "unix:/lmtp" in line for line in lines)
    (route,) = [line for line in lines if line.startswith("default ")]
    assert route.split()[1:5] == ["2", "0", "0", "0"]
    assert route.endswith("down: refused")
    (place,) = [line for line in lines if line.startswith("unix:/lmtp ")]
    assert re.search(r"down for 1m 3\ds", place)
    assert any("host.example" in line and "4711" in line for line in lines)


def test_a_destination_that_was_not_tried(spooler: Runner, store: Store) -> None:
    """Of it nothing is known yet, neither good nor bad."""
    serve(store)
    (line,) = destinations(spooler)
    assert line.split()[1:5] == ["not", "tried", "yet", "chunked"]


def test_what_a_destination_takes(spooler: Runner, store: Store) -> None:
    """A limit that was learnt stands beside its mode."""
    serve(store, transactions=10)
    (line,) = destinations(spooler)
    assert "chunked, 10 transactions a session " in line


def destinations(spooler: Runner) -> list[str]:
    """The lines on the destination."""
    lines = spooler("top", "--once", "--every", "0.2").out.splitlines()
    return [line for line in lines if line.startswith("unix:/lmtp ")]


def test_nothing_runs(spooler: Runner) -> None:
    """An empty spool without a worker is shown as it is."""
    lines = spooler("top", "--once", "--every", "0.2").out.splitlines()
    assert "0 recipients queued" in lines[0]
    assert lines[1] == "! No worker is running"


def test_rates(spooler: Runner, store: Store) -> None:
    """What was delivered, deferred and failed between two looks, by route."""
    from spooler.ops.frame import frame

    put(spooler, "a@x.example", "b@x.example", "c@x.example")
    worker, (claim,) = claim_all(store)
    before = store.sample(now=0)
    put(spooler, "d@x.example")
    store.settle(
        worker,
        [
            result_of(claim, 0, Outcome.DELIVERED),
            result_of(claim, 1, Outcome.DEFERRED),
            result_of(claim, 2, Outcome.FAILED),
        ],
        now=now_us(),
    )
    one = frame(before, store.sample(now=2_000_000))
    rates = one.rates["default"]
    assert (rates.delivered, rates.deferred, rates.failed, rates.added) == (0.5, 0.5, 0.5, 0.5)
    assert (one.moving, one.done_in) == (0, None)  # no worker serves it


def test_json(spooler: Runner) -> None:
    """As JSON it has the counts, the problems and the rates."""
    put(spooler, "a@x.example")
    found = spooler("top", "--once", "--json", "--every", "0.2").json
    assert found["routes"][0]["states"]["waiting"] == 1
    assert found["rates"]["default"]["delivered"] == 0
    assert found["problems"][0]["what"] == "No worker is running"


def test_in_a_terminal(spooler: Runner, spool_url: str) -> None:
    """It fills the screen, looks again by itself, and q ends it with exit code 0."""
    put(spooler, "a@x.example")
    ours, theirs = pty.openpty()
    environment = {**os.environ, "SPOOLER_SPOOL": spool_url, "TERM": "xterm", "COLUMNS": "120", "LINES": "40"}
    argv = [sys.executable, "-m", "spooler", "top", "--every", "0.2"]
    with subprocess.Popen(argv, stdin=theirs, stdout=theirs, stderr=theirs, env=environment) as process:
        os.close(theirs)
        seen = b""
        deadline = time.monotonic() + 30
        while seen.count(b"recipient queued") < 3 and time.monotonic() < deadline:
            seen += os.read(ours, 1 << 16)
        os.write(ours, b"q")
        while True:  # until it has closed the terminal
            try:
                if not os.read(ours, 1 << 16):
                    break
            except OSError:
                break
        assert process.wait(30) == 0
    os.close(ours)
    assert seen.count(b"1 recipient queued") >= 3
