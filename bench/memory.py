"""`python -m bench.memory`: how much more memory delivering takes than an idle worker holds.

Two loads: large messages, and a long queue. The idle figure is a worker's resident memory on an empty spool,
once it stays the same; the peak is the high-water mark of the drain that delivers the load. Both are summed
over a worker's processes; what those share is counted for each. Known limit: needs Linux's /proc.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from bench import report
from bench.entrants import BenchError, environment, last_line
from bench.figures import LoadFigures, Memory
from bench.filling import fill
from bench.machine import describe
from bench.measured import Family, measure
from bench.places import Spools, addresses, hindrance, stay_on_disk, target
from tests.servers.process import SPOOLER, folder, running, tail

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

LIMIT = 150 * 10**6  # bytes: the most that a worker may hold
_MIB = 1 << 20
_SETTLED = 10  # looks in a row at which an idle worker's memory is the same
_LOOK_EVERY = 0.1  # seconds
_PER_MESSAGE = 50  # recipients of each message of a long queue


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """What is delivered: so many messages of `size` bytes to one recipient, or `recipients` waiting, with 4
    KB messages."""

    name: str
    messages: int = 1
    size: int = 4096
    recipients: int = 1
    spool: str = "sqlite"


FULL = (
    Load(name="20 messages of 100 MB", messages=20, size=100 * 10**6),
    Load(name="1,000,000 recipients waiting", recipients=1_000_000),
    Load(name="20 messages of 100 MB", messages=20, size=100 * 10**6, spool="postgres"),
    Load(name="1,000,000 recipients waiting", recipients=1_000_000, spool="postgres"),
)


def run(load: Load, *, kind: str, spools: Spools) -> LoadFigures:
    """Measure one load into a target of this kind."""
    with folder() as place, spools.new(load.spool, place) as url, target(kind) as server:
        where = ["--spool", url, "--target", server.destination]
        idle = _idle(where, place)
        _put(load, url, place)
        cost = measure([*SPOOLER, "drain", *where], folder=place, env=environment())
        if cost.status:
            raise BenchError(f"drain ended with {cost.status}: {last_line(cost.stderr)}")
    return LoadFigures(name=load.name, spool=load.spool, idle=idle, peak=cost.peak, seconds=cost.wall)


def _idle(where: Sequence[str], place: Path) -> int:
    log = place / "worker.log"
    argv = [*SPOOLER, "worker", *where]
    with running(argv, ready=lambda: '"started"' in tail(log), log=log, env=environment()) as worker:
        family = Family(worker.pid)
        same, last = 0, 0
        while same < _SETTLED:
            time.sleep(_LOOK_EVERY)
            family.look()
            now = family.resident()
            same, last = (same + 1, last) if now == last else (0, now)
        return last


def _put(load: Load, url: str, place: Path) -> None:
    if load.recipients > 1:
        fill(
            url,
            messages=load.recipients // _PER_MESSAGE,
            recipients=_PER_MESSAGE,
            size=load.size,
            to=addresses(100 * _PER_MESSAGE),
        )
        return
    line = b"x" * 70 + b"\r\n"
    big = place / "big.eml"
    with big.open("wb") as file:
        file.write(b"Subject: big\r\n\r\n")
        block = line * 10_000
        for _ in range(load.size // len(block)):
            file.write(block)
    argv = [*SPOOLER, "enqueue", "--spool", url, "-f", "bench@origin.test", "user@store.test"]
    for _ in range(load.messages):
        with big.open("rb") as file:
            subprocess.run(argv, stdin=file, check=True, stdout=subprocess.DEVNULL, env=environment())
    big.unlink()


def measure_all(kind: str, *, say: Callable[[str], None]) -> Memory:
    """Measure the full loads."""
    rows = []
    with Spools() as spools:
        for load in FULL:
            rows.append(run(load, kind=kind, spools=spools))
            say(f"{load.spool}, {load.name}: at most {rows[-1].peak / _MIB:.0f} MiB")
    return Memory(facts=describe(), rows=rows)


def main(argv: Sequence[str] | None = None) -> int:
    """Measure the full loads, print and write the results; return 1 if one is above the limit."""
    parser = argparse.ArgumentParser(prog="python -m bench.memory", description=__doc__)
    parser.add_argument("--target", choices=("smtp-sink", "sink"), default=None)
    parser.add_argument("--results", type=Path, default=report.RESULTS, metavar="DIR")
    asked = parser.parse_args(argv)
    stay_on_disk()
    kind = asked.target or ("sink" if hindrance("smtp-sink") else "smtp-sink")
    memory = measure_all(kind, say=lambda text: print(text, file=sys.stderr, flush=True))
    print(report.memory_table(memory))
    report.write_memory(memory, asked.results)
    too_much = [row for row in memory.rows if row.peak > LIMIT]
    for row in too_much:
        print(f"bench: {row.spool}, {row.name}: more than {LIMIT / _MIB:.0f} MiB", file=sys.stderr)
    return 1 if too_much else 0


if __name__ == "__main__":
    sys.exit(main())
