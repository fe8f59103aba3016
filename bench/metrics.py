"""`python -m bench.metrics`: what metrics cost, as a share of throughput.

A drain counts, and is scraped, in every other second only (`bench.now_and_then`). So seconds with and without
are of the same drain, on the same machine, at nearly the same time; two drains, one after the other, differ
by more than what is to be found. The rate of each second with metrics is compared with the mean of the two
around it; told is the mean of all, with its standard error. Exit code 1 if it is above the limit by more than
twice that.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import threading
import time
import urllib.request
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, replace
from itertools import pairwise
from math import sqrt
from statistics import mean, stdev
from typing import TYPE_CHECKING

from bench.cases import CASES, POSTGRES, SQLITE
from bench.entrants import BenchError, environment
from bench.filling import fill
from bench.now_and_then import counting
from bench.places import Spools, hindrance, stay_on_disk, target
from spooler.records import State
from spooler.spool.store import Store
from tests.servers.process import folder, free_port, stop

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from bench.cases import Case, Entrant

LIMIT = 0.03
ROUNDS = 4
MESSAGES = {"1x4k": 200_000, "50x4k": 30_000}
"""By case: for about half a minute."""
FROM, UNTIL = 0.05, 0.95  # of what is to be delivered: in between everything runs as it does for hours
LOOK = 0.02  # seconds
TIMEOUT = 300.0  # seconds


@dataclass(frozen=True, slots=True)
class Look:
    """How much was delivered at a time of the wall clock."""

    at: float
    delivered: int


def costs(case: Case, entrant: Entrant, spools: Spools) -> list[float]:
    """Drain once; return for each second with metrics how much throughput they took, as a share."""
    with ExitStack() as stack:
        place = stack.enter_context(folder())
        url = stack.enter_context(spools.new(entrant.spool, place))
        server = stack.enter_context(target(case.target, mailboxes=case.mailboxes))
        fill(url, messages=case.messages, recipients=case.recipients, size=case.size, to=server.mailboxes)
        spools.flush()
        port = free_port()
        argv = [sys.executable, "-m", "bench.now_and_then", "drain", "--spool", url, "--quiet"]
        argv += ["--target", server.destination, "--http", f"127.0.0.1:{port}"]
        log = stack.enter_context((place / "log").open("wb"))
        process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environment())
        stack.callback(stop, process)
        stack.enter_context(_scraping(port))
        looks = _watch(stack.enter_context(Store.open(url)), case.total, process)
        if process.wait(TIMEOUT):
            raise BenchError(f"{case.name}: the drain did not deliver all")
    return compared(looks)


def _watch(store: Store, total: int, process: subprocess.Popen[bytes]) -> list[Look]:
    looks: list[Look] = []
    limit = time.monotonic() + TIMEOUT
    while process.poll() is None and time.monotonic() < limit:
        delivered = sum(row.count for row in store.stats() if row.state is State.DELIVERED)
        if total * FROM < delivered < total * UNTIL and (not looks or delivered > looks[-1].delivered):
            looks.append(Look(time.time(), delivered))
        time.sleep(LOOK)
    return looks


@contextmanager
def _scraping(port: int) -> Iterator[None]:
    """Read the metrics as Prometheus does, only more often: once in each second that has any."""
    done = threading.Event()

    def scrape() -> None:
        while not done.wait(2.2 - time.time() % 2):  # soon after the beginning of the next such second
            with (
                suppress(OSError),
                urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as answer,
            ):
                answer.read()

    thread = threading.Thread(target=scrape)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


def compared(looks: Sequence[Look]) -> list[float]:
    """Read the rate of each whole second, and compare those with metrics with those around them."""
    if not looks:
        return []
    rates = {}
    for second in range(int(looks[0].at) + 1, int(looks[-1].at)):
        with suppress(ValueError):
            rates[second] = _at(looks, second + 1) - _at(looks, second)
    return [
        1 - rate / mean((rates[second - 1], rates[second + 1]))
        for second, rate in rates.items()
        if counting(second) and second - 1 in rates and second + 1 in rates
    ]


def _at(looks: Sequence[Look], when: float) -> float:
    """How much was delivered at a time, as if it grew evenly between two looks. Raises ValueError if nobody
    looked around then."""
    for before, after in pairwise(looks):
        if before.at <= when <= after.at:
            part = (when - before.at) / (after.at - before.at)
            return before.delivered + part * (after.delivered - before.delivered)
    raise ValueError(when)


def main(argv: Sequence[str] | None = None) -> int:
    """Measure and print; return an exit code."""
    parser = argparse.ArgumentParser(prog="python -m bench.metrics", description=__doc__)
    parser.add_argument("--rounds", type=int, default=ROUNDS, metavar="N", help=f"default {ROUNDS}")
    parser.add_argument("--scale", type=float, default=1.0, metavar="X", help="so many times the messages")
    asked = parser.parse_args(argv)
    stay_on_disk()
    kind = "sink" if hindrance("smtp-sink") else "smtp-sink"
    missed = False
    with Spools() as spools:
        for case in CASES:
            if case.name not in MESSAGES:
                continue
            of = replace(case, messages=int(MESSAGES[case.name] * asked.scale), target=kind)
            for entrant in (SQLITE, POSTGRES):
                found = [share for _ in range(asked.rounds) for share in costs(of, entrant, spools)]
                if len(found) < 2:
                    raise BenchError(f"{case.name}: over too soon; --scale makes it longer")
                error = stdev(found) / sqrt(len(found))
                print(
                    f"{case.title}, {entrant.name}: metrics cost {mean(found):.1%} ± {error:.1%} "
                    f"({len(found)} seconds with and without, {asked.rounds} rounds)",
                    flush=True,
                )
                missed |= mean(found) - 2 * error > LIMIT
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
