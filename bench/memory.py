"""`python -m bench.memory`: how much more memory delivering takes than an idle worker holds.

Two loads: one large message, and a long queue. The idle figure is a worker's resident memory on an empty
spool, once it stays the same; the peak is the high-water mark of the process that delivers the load. Known
limit: needs Linux's /proc.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from bench import report
from bench.filling import fill
from bench.machine import describe
from bench.measured import measure, resident
from bench.places import choose_target, spool, target
from tests.servers.process import SPOOLER, folder, running, tail

if TYPE_CHECKING:
    from collections.abc import Sequence

LIMIT = 100 << 20  # bytes above an idle worker
_MIB = 1 << 20
_SETTLED = 10  # looks in a row at which an idle worker's memory is the same
_LOOK_EVERY = 0.1  # seconds
_PER_MESSAGE = 50  # recipients of each message of a long queue
_RESULTS = Path(__file__).with_name("results")


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """What is delivered: one message of `size` bytes, or `recipients` waiting, with 4 KB messages."""

    name: str
    size: int = 4096
    recipients: int = 1


FULL = (
    Load(name="one message of 200 MB", size=200 * 10**6),
    Load(name="500,000 recipients waiting", recipients=500_000),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """Bytes: of an idle worker, and at most while delivering a load. `seconds` is the drain's wall time."""

    name: str
    idle: int
    peak: int
    seconds: float

    @property
    def above(self) -> int:
        """What delivering took on top."""
        return self.peak - self.idle


def run(load: Load, *, kind: str) -> Usage:
    """Measure one load into a target of this kind."""
    with folder() as place, spool("sqlite", place) as url, target(kind) as server:
        where = ["--spool", url, "--target", server.destination]
        idle = _idle(where, place)
        _put(load, url, place)
        cost = measure(
            [*SPOOLER, "drain", *where, "--log-level", "warning"], folder=place, env=_environment()
        )
        if cost.status:
            raise RuntimeError(f"drain ended with {cost.status}: {cost.stderr[-2000:].decode()}")
    return Usage(name=load.name, idle=idle, peak=cost.peak, seconds=cost.wall)


def _environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith("SPOOLER_")}


def _idle(where: Sequence[str], place: Path) -> int:
    log = place / "worker.log"
    argv = [*SPOOLER, "worker", *where]
    with running(argv, ready=lambda: '"started"' in tail(log), log=log, env=_environment()) as worker:
        same, last = 0, 0
        while same < _SETTLED:
            time.sleep(_LOOK_EVERY)
            now = resident(worker.pid)
            same, last = (same + 1, last) if now == last else (0, now)
        return last


def _put(load: Load, url: str, place: Path) -> None:
    if load.recipients > 1:
        fill(url, messages=load.recipients // _PER_MESSAGE, recipients=_PER_MESSAGE, size=load.size)
        return
    line = b"x" * 70 + b"\r\n"
    big = place / "big.eml"
    with big.open("wb") as file:
        file.write(b"Subject: big\r\n\r\n")
        block = line * 10_000
        for _ in range(load.size // len(block)):
            file.write(block)
    argv = [*SPOOLER, "enqueue", "--spool", url, "-f", "bench@origin.test", "user@store.test"]
    with big.open("rb") as file:
        subprocess.run(argv, stdin=file, check=True, stdout=subprocess.DEVNULL, env=_environment())
    big.unlink()


def main(argv: Sequence[str] | None = None) -> int:
    """Measure the full loads, print and write the results; return 1 if one is above the limit."""
    parser = argparse.ArgumentParser(prog="python -m bench.memory", description=__doc__)
    parser.add_argument("--target", choices=("auto", "smtp-sink", "sink"), default="auto")
    asked = parser.parse_args(argv)
    usages = [run(load, kind=choose_target(asked.target)) for load in FULL]
    table = report.markdown(
        ("load", "idle, MiB", "peak, MiB", "above idle, MiB", "drain, s"),
        [
            (
                usage.name,
                *(f"{n / _MIB:.1f}" for n in (usage.idle, usage.peak, usage.above)),
                f"{usage.seconds:.1f}",
            )
            for usage in usages
        ],
    )
    print(table)
    report.write(
        _RESULTS,
        "memory",
        title="Memory",
        text=f"A SQLite spool; at most {LIMIT >> 20} MiB above an idle worker are allowed.\n\n{table}",
        facts=describe(),
        data=[asdict(usage) | {"above": usage.above} for usage in usages],
    )
    too_much = [usage.name for usage in usages if usage.above > LIMIT]
    for name in too_much:
        print(f"bench: {name}: more than {LIMIT >> 20} MiB above an idle worker", file=sys.stderr)
    return 1 if too_much else 0


if __name__ == "__main__":
    sys.exit(main())
