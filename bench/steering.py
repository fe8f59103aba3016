"""`python -m bench.steering`: `spooler queue remove --job` of a million recipients while a worker delivers.

A spool holds a job that is to be removed, scheduled for tomorrow, and mail of others that a worker delivers
to `spooler sink` all the while. Told are how long the command took, and the rate of delivery before it and
during it, with the longest time in which nobody was delivered to. Exit code 1 if anything of the job is left.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from itertools import pairwise
from typing import TYPE_CHECKING

import msgspec

from bench.claiming import read_size
from bench.filling import sample
from bench.places import Spools, addresses, stay_on_disk
from spooler.ident import now_us
from spooler.records import State
from spooler.spool.store import Store
from tests.servers.own_sink import own_sink
from tests.servers.process import SPOOLER, folder, running

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from contextlib import AbstractContextManager
    from pathlib import Path

    from spooler.envelope import NewMessage

JOB = "june"
TOMORROW = 86_400_000_000  # µs
BATCH = 2_000  # messages in a transaction that fills
LOOK = 0.1  # seconds between looks at what was delivered
BEFORE = 3.0  # seconds of delivery before the command
_CONTENT = 400  # bytes


class SteeringFigures(msgspec.Struct, frozen=True, kw_only=True):
    """What one run came to; rates in recipients a second, times in seconds."""

    spool: str
    removed: int
    took: float
    delivered: int
    """Of the others, while the command ran."""
    rate_before: float
    rate_during: float
    longest_gap: float
    """Without any delivery, while the command ran and mail of others was left."""
    left_of_job: int


def measure(
    spools: Spools, kind: str, *, remove: int, others: int, say: Callable[[str], None] = lambda _: None
) -> SteeringFigures:
    """Measure on one kind of spool."""
    with folder() as place, spools.new(kind, place) as url, own_sink() as sink:
        start = time.perf_counter()
        _fill(url, remove, others)
        say(f"{kind}: {remove + others:,} recipients filled in {time.perf_counter() - start:.0f} s")
        with Store.open(url) as store, _worker(url, sink.tcp, place) as worker:
            _until(lambda: _delivered(store) > 0, worker)
            until = time.monotonic() + min(BEFORE, others / 20_000)
            before = _watch(store, lambda: time.monotonic() >= until)
            began = time.monotonic()
            argv = [*SPOOLER, "queue", "remove", "--job", JOB, "--spool", url, "--reason", "bench"]
            with subprocess.Popen(argv, stdout=subprocess.DEVNULL) as command:
                during = _watch(store, lambda: command.poll() is not None)
            took = time.monotonic() - began
            _until(lambda: _delivered(store) >= others, worker)
            removed = sum(row.count for row in store.stats() if row.state is State.REMOVED)
            moved = [(when, count) for when, count in during if count < others] or during[:1]
            return SteeringFigures(
                spool=kind,
                removed=removed,
                took=took,
                delivered=during[-1][1] - during[0][1],
                rate_before=_rate(before),
                rate_during=_rate(moved),
                longest_gap=_longest_gap(moved),
                left_of_job=remove - removed,
            )


def _fill(url: str, remove: int, others: int) -> None:
    """Put the job in, scheduled for tomorrow, and then the others, due now."""
    with Store.open(url) as store:
        later = now_us() + TOMORROW
        for count, job, not_before in ((remove, JOB, later), (others, "other", None)):
            batch: list[NewMessage] = []
            for one in sample(messages=count, recipients=1, size=_CONTENT, to=addresses(1_000)):
                batch.append(msgspec.structs.replace(one, job=job, not_before=not_before))
                if len(batch) == BATCH:
                    store.enqueue(batch, now=now_us())
                    store.maintain(now=now_us())
                    batch = []
            if batch:
                store.enqueue(batch, now=now_us())


def _worker(url: str, target: str, place: Path) -> AbstractContextManager[subprocess.Popen[bytes]]:
    argv = [*SPOOLER, "worker", "--spool", url, "--target", target, "--log-level", "error"]
    return running(argv, ready=lambda: True, log=place / "worker.log")


def _delivered(store: Store) -> int:
    return sum(row.count for row in store.stats() if row.state is State.DELIVERED)


def _watch(store: Store, over: Callable[[], bool]) -> list[tuple[float, int]]:
    """Look at how many were delivered, until it is over."""
    seen = [(time.monotonic(), _delivered(store))]
    while not over():
        time.sleep(LOOK)
        seen.append((time.monotonic(), _delivered(store)))
    return seen


def _rate(seen: Sequence[tuple[float, int]]) -> float:
    (start, before), (end, after) = seen[0], seen[-1]
    return (after - before) / (end - start) if end > start else 0.0


def _longest_gap(seen: Sequence[tuple[float, int]]) -> float:
    gap = longest = 0.0
    for (start, before), (end, after) in pairwise(seen):
        gap = gap + end - start if after == before else 0.0
        longest = max(longest, gap)
    return longest


def _until(true: Callable[[], bool], worker: subprocess.Popen[bytes]) -> None:
    while not true():
        if worker.poll() is not None:
            raise RuntimeError("the worker ended")
        time.sleep(LOOK)


def main(argv: Sequence[str] | None = None) -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m bench.steering", description=__doc__)
    parser.add_argument("--remove", type=read_size, default=1_000_000, metavar="N", help="default 1m")
    parser.add_argument("--others", type=read_size, default=200_000, metavar="N", help="default 200k")
    parser.add_argument("--spool", choices=("sqlite", "postgres"), action="append", help="default: each")
    asked = parser.parse_args(argv)
    stay_on_disk()
    wrong = False
    with Spools() as spools:
        for kind in asked.spool or ("sqlite", "postgres"):
            figures = measure(
                spools,
                kind,
                remove=asked.remove,
                others=asked.others,
                say=lambda text: print(text, file=sys.stderr, flush=True),
            )
            wrong = wrong or figures.left_of_job != 0
            print(
                f"{kind}: {figures.removed:,} removed in {figures.took:.1f} s; delivered meanwhile "
                f"{figures.delivered:,}, at {figures.rate_during:,.0f}/s "
                f"(before: {figures.rate_before:,.0f}/s), longest gap {figures.longest_gap:.1f} s"
            )
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
