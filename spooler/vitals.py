"""What processes take of the machine, and what the spool process knows of itself."""

from __future__ import annotations

import os
from pathlib import Path

import msgspec

from spooler.histogram import Histogram

_PAGE = os.sysconf("SC_PAGE_SIZE")
_TICKS = os.sysconf("SC_CLK_TCK")


class Vitals(msgspec.Struct, frozen=True, gc=False):
    """A process: `cpu` in seconds since it started, `memory` is what is resident, in bytes."""

    cpu: float
    memory: int


class SpoolVitals(msgspec.Struct, frozen=True):
    """How long the database took, by kind of call and since this was last asked (see `spooler.spool.timing`).

    `connections` are open to it, `in_use` of them are at work.
    """

    calls: dict[str, Histogram]
    connections: int
    in_use: int


def vitals_of(pid: int) -> Vitals | None:
    """Look at a process; None where it is gone, or there is no /proc."""
    place = Path(f"/proc/{pid}")
    try:
        # proc(5): behind the name, which may hold anything, come the third field and those after it
        fields = (place / "stat").read_text(errors="replace").rpartition(")")[2].split()
        resident = int((place / "statm").read_text().split()[1])
    except (OSError, IndexError):
        return None
    return Vitals(cpu=(int(fields[11]) + int(fields[12])) / _TICKS, memory=resident * _PAGE)
