"""Run a program and measure what it costs: wall time, processor time, peak memory.

The peak is the high-water mark that Linux keeps for a process's own memory (VmHWM), looked at while it
runs, and summed over the processes that it starts. Known limits: what is reached in the last moments before
the end may be missed; where there is no /proc the kernel's maximum for the child is taken, which counts the
parent at the time of the fork too.
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

from tests.servers.process import ServerError, children, stop, tail

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_LOOK_EVERY = 0.05  # seconds
_LOOK_FOR_CHILDREN_EVERY = 0.5  # seconds: where the kernel keeps no lists, all processes are asked
_LIMIT = 1800.0  # seconds
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


class Family:
    """A process and those that it started: their memory together, bytes.

    What several of them share (a library's code) is counted for each.
    """

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self._peaks: dict[int, int] = {}
        self._looked = 0.0

    def look(self) -> None:
        """Note how much memory each of them held at most so far."""
        for pid in self._members():
            self._peaks[pid] = max(self._peaks.get(pid, 0), _status(pid, _HIGH_WATER))

    @property
    def peak(self) -> int:
        """The sum of the most that each of them held."""
        return sum(self._peaks.values())

    def resident(self) -> int:
        """What they hold now; 0 where it cannot be told."""
        return sum(_status(pid, _RESIDENT) for pid in self._members())

    def _members(self) -> list[int]:
        now = time.monotonic()
        if now - self._looked < _LOOK_FOR_CHILDREN_EVERY:
            return [self._pid, *(pid for pid in self._peaks if pid != self._pid)]
        self._looked = now
        found, new = [], [self._pid]
        while new:
            found += new
            new = [child for pid in new for child in children(pid)]
        for pid in found:
            self._peaks.setdefault(pid, 0)
        return found


def measure(argv: Sequence[object], *, folder: Path, env: Mapping[str, str]) -> Cost:
    """Run `argv` in `folder` to its end; its output goes to files there and is returned.

    Raises ServerError if it does not end within half an hour.
    """
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
        family = Family(process.pid)
        while True:
            # the process is ours alone to wait for, or its usage would be lost with its status
            pid, status, usage = os.wait4(process.pid, os.WNOHANG)
            if pid:
                break
            took = time.perf_counter() - start
            if took > _LIMIT:
                stop(process)
                raise ServerError(f"{argv!r} does not end: {tail(stderr)}")
            family.look()
            time.sleep(_LOOK_EVERY if took > 1 else _LOOK_EVERY / 10)
        wall = time.perf_counter() - start
        process.returncode = os.waitstatus_to_exitcode(status)
    return Cost(
        status=process.returncode,
        wall=wall,
        user=usage.ru_utime,
        system=usage.ru_stime,
        peak=family.peak or usage.ru_maxrss * (1 if sys.platform == "darwin" else _KIB),
        stdout=stdout.read_bytes(),
        stderr=stderr.read_bytes(),
    )


def _status(pid: int, field: re.Pattern[bytes]) -> int:
    try:
        found = field.search(Path(f"/proc/{pid}/status").read_bytes())
    except OSError:
        return 0
    return int(found[1]) * _KIB if found else 0
