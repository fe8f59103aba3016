"""`python -m bench.metrics`: what metrics cost, as a share of throughput.

A worker has one thread that delivers, and that is the one which counts: the share of time for which it is
busy with counting is the most that metrics can take of its throughput. So a stopwatch is on it while it
drains (`bench.stopwatch`). On top comes the processor time of a scrape, of the worker's and the spool's
process, over the time between two. Comparing drains with and without does not do: one after the other they
differ by more than what is to be found. Exit code 1 if it is above the limit in one of the cases.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
import urllib.request
from contextlib import ExitStack, suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

from bench.cases import CASES, POSTGRES, SQLITE
from bench.entrants import BenchError, environment
from bench.filling import fill
from bench.places import Spools, hindrance, stay_on_disk, target
from tests.servers.process import SPOOLER, children, folder, free_port, running, stop

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bench.cases import Case, Entrant

LIMIT = 0.03
ROUNDS = 3
MESSAGES = {"1x4k": 40_000, "50x4k": 8_000}
SCRAPES = 40
PAUSE = 0.6  # seconds between two of them: each finds the last sample too old and looks at the spool anew
EVERY = 15.0  # seconds between scrapes: what most people set
TIMEOUT = 300.0  # seconds


def share(case: Case, entrant: Entrant, spools: Spools) -> float:
    """Drain once; return which share of the time was spent with counting."""
    with ExitStack() as stack:
        place = stack.enter_context(folder())
        url = stack.enter_context(spools.new(entrant.spool, place))
        server = stack.enter_context(target(case.target, mailboxes=case.mailboxes))
        fill(url, messages=case.messages, recipients=case.recipients, size=case.size, to=server.mailboxes)
        spools.flush()
        said = place / "stopwatch"
        argv = [sys.executable, "-m", "bench.stopwatch", str(said), "drain", "--spool", url, "--quiet"]
        argv += ["--target", server.destination, "--http", f"127.0.0.1:{free_port()}"]
        with (place / "log").open("wb") as log:
            process = subprocess.Popen(
                argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environment()
            )
        stack.callback(stop, process)
        if process.wait(TIMEOUT):
            raise BenchError(f"{case.name}: the drain did not deliver all")
        found = json.loads(said.read_text())
    return float(found["spent"] / found["took"])


def scrape(entrant: Entrant, spools: Spools, *, times: int) -> float:
    """Return the processor time that a scrape takes of a worker's processes, in seconds."""
    with ExitStack() as stack:
        place = stack.enter_context(folder())
        url = stack.enter_context(spools.new(entrant.spool, place))
        server = stack.enter_context(target("sink"))
        port = free_port()
        argv = [*SPOOLER, "worker", "--spool", url, "--target", server.destination]
        argv += ["--http", f"127.0.0.1:{port}"]
        ready = partial(_scraped, port)
        worker = stack.enter_context(running(argv, ready=ready, log=place / "log", env=environment()))
        pids = [worker.pid, *children(worker.pid)]
        idle = -_processor_time(pids)
        time.sleep(times * PAUSE)
        idle += _processor_time(pids)
        busy = -_processor_time(pids)
        for _ in range(times):
            if not _scraped(port):
                raise BenchError("a scrape was not answered")
            time.sleep(PAUSE)
        busy += _processor_time(pids)
        return (busy - idle) / times


def _scraped(port: int) -> bool:
    with (
        suppress(OSError),
        urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as answer,
    ):
        return b"spooler_spool_up 1" in answer.read()
    return False


def _processor_time(pids: Sequence[int]) -> float:
    """Seconds that these processes have had, user and system."""
    total = 0
    for pid in pids:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        total += int(fields[11]) + int(fields[12])  # utime and stime: proc(5)
    return total / os.sysconf("SC_CLK_TCK")


def main(argv: Sequence[str] | None = None) -> int:
    """Measure and print; return an exit code."""
    parser = argparse.ArgumentParser(prog="python -m bench.metrics", description=__doc__)
    parser.add_argument("--rounds", type=int, default=ROUNDS, metavar="N", help=f"default {ROUNDS}")
    parser.add_argument("--scale", type=float, default=1.0, metavar="X", help="so many times the work")
    asked = parser.parse_args(argv)
    stay_on_disk()
    kind = "sink" if hindrance("smtp-sink") else "smtp-sink"
    worst = 0.0
    with Spools() as spools:
        for entrant in (SQLITE, POSTGRES):
            cost = scrape(entrant, spools, times=max(1, int(SCRAPES * asked.scale)))
            print(f"{entrant.name}: a scrape takes {1e3 * cost:.1f} ms of processor time", flush=True)
            for case in CASES:
                if case.name not in MESSAGES:
                    continue
                of = replace(case, messages=int(MESSAGES[case.name] * asked.scale), target=kind)
                shares = [share(of, entrant, spools) for _ in range(asked.rounds)]
                total = median(shares) + cost / EVERY
                print(
                    f"{entrant.name}, {case.title}: metrics cost {total:.1%}, counting {median(shares):.2%} "
                    f"({min(shares):.2%} to {max(shares):.2%}, {asked.rounds} rounds) "
                    f"and a scrape every {EVERY:g} s",
                    flush=True,
                )
                worst = max(worst, total)
    return 1 if worst > LIMIT else 0


if __name__ == "__main__":
    sys.exit(main())
