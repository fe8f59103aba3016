"""Run a program and measure what it costs: wall time, processor time, peak memory.

The peak is the high-water mark that Linux keeps for the memory of the process (VmHWM) and of those it
started, each at its own worst moment, added up, looked at while it runs. Known limits: what is reached in
the last moments before the end may be missed; where there is no /proc it cannot be told.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_LOOK_EVERY = 0.05  # seconds
_KIB = 1024
_HIGH_WATER = re.compile(rb"^VmHWM:\s+(\d+) kB", re.MULTILINE)
_RESIDENT = re.compile(rb"^VmRSS:\s+(\d+) kB", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Cost:
    """What a run took; times in seconds, memory in bytes."""

    status: int
    wall: float
    user: float
    system: float
    peak: int
    stdout: bytes
    stderr: bytes

    @property
    def cpu(self) -> float:
        """User and system time together."""
        return self.user + self.system


def resident(pid: int) -> int:
    """Return the memory that a process and those it started hold now, bytes; 0 where it cannot be told."""
    return sum(_status(member, _RESIDENT) for member in _family(pid))


def high_water(pid: int) -> int:
    """Return the most memory that they held so far, each for itself, bytes; 0 where it cannot be told."""
    return sum(_status(member, _HIGH_WATER) for member in _family(pid))


def _family(pid: int) -> list[int]:
    """Return a process and all that it started, in turn, as far as they live."""
    family = [pid]
    for member in family:
        try:
            text = Path(f"/proc/{member}/task/{member}/children").read_text(encoding="ascii")
        except OSError:
            continue
        family += map(int, text.split())
    return family


def measure(argv: Sequence[object], *, folder: Path, env: Mapping[str, str]) -> Cost:
    """Run `argv` in `folder` to its end; its output goes to files there and is returned."""
    stdout, stderr = folder / "stdout", folder / "stderr"
    with stdout.open("wb") as out, stderr.open("wb") as err:
        start = time.perf_counter()
        process = subprocess.Popen(
            [str(arg) for arg in argv],
            cwd=folder,
            env=dict(env),
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=err,
        )
        peak = 0
        while True:
            # the process is ours alone to wait for, or its usage would be lost with its status
            pid, status, usage = os.wait4(process.pid, os.WNOHANG)
            if pid:
                break
            peak = max(peak, high_water(process.pid))
            time.sleep(_LOOK_EVERY if time.perf_counter() - start > 1 else _LOOK_EVERY / 10)
        wall = time.perf_counter() - start
        process.returncode = os.waitstatus_to_exitcode(status)
    return Cost(
        status=process.returncode,
        wall=wall,
        user=usage.ru_utime,
        system=usage.ru_stime,
        peak=peak or usage.ru_maxrss * (1 if sys.platform == "darwin" else _KIB),
        stdout=stdout.read_bytes(),
        stderr=stderr.read_bytes(),
    )


def _status(pid: int, field: re.Pattern[bytes]) -> int:
    try:
        found = field.search(Path(f"/proc/{pid}/status").read_bytes())
    except OSError:
        return 0
    return int(found[1]) * _KIB if found else 0
