"""The product's commands as a service manager has them: processes with a log, signals and children."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from spooler.ident import now_us
from spooler.spool.store import Store
from tests.servers.process import SPOOLER, tail
from tests.spool.making import message

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

_PATIENCE = 60.0  # seconds for what takes two or three on a quiet machine


class Command:
    """`spooler ARGUMENTS`, or what stands for it, with a log, in a process group of its own."""

    def __init__(self, log: Path, *arguments: str, program: Sequence[str] = SPOOLER) -> None:
        self._log = log
        self.known: set[int] = set()
        """The processes that were ever looked at, to be ended with this one."""
        environment = {name: value for name, value in os.environ.items() if not name.startswith("SPOOLER_")}
        with log.open("wb") as file:
            self.process = subprocess.Popen(
                [*program, *arguments],
                stderr=file,
                stdin=subprocess.DEVNULL,
                env=environment,
                process_group=0,
            )

    def lines(self, event: str, **fields: object) -> list[dict[str, Any]]:
        """Return the log's lines of an event."""
        whole, _, _being_written = self._log.read_text().rpartition("\n")
        found = [json.loads(line) for line in whole.split("\n") if line.startswith("{")]
        return [one for one in found if one["event"] == event and fields.items() <= one.items()]

    def spoken(self) -> list[str]:
        """Return the lines that are for people."""
        return [line for line in self._log.read_text().splitlines() if not line.startswith("{")]

    def until(self, true: Callable[[], bool]) -> None:
        """Wait until something is so, which the command brings about."""
        deadline = time.monotonic() + _PATIENCE
        while not true():
            assert time.monotonic() < deadline, tail(self._log)
            time.sleep(0.02)

    def children(self) -> list[int]:
        """Return the processes that the command started."""
        found = children_of(self.process.pid)
        self.known |= set(found)
        return found

    def ends(self) -> int:
        """Wait for the end; returns the exit code."""
        return self.process.wait(_PATIENCE)


def children_of(pid: int) -> list[int]:
    """Return the children of a process, whichever of its threads started them, as Linux knows them."""
    lists = Path(f"/proc/{pid}/task").glob("*/children")
    return [int(word) for one in lists for word in one.read_text().split()]


def is_there(pid: int) -> bool:
    """Whether a process runs (one that nobody has waited for yet has ended)."""
    try:
        status = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False
    return status.rpartition(")")[2].split()[0] != "Z"


@contextmanager
def running(log: Path, *arguments: str, program: Sequence[str] = SPOOLER) -> Iterator[Command]:
    """Run a command for the block; whatever is left of it then is killed."""
    command = Command(log, *arguments, program=program)
    try:
        yield command
    finally:
        if command.process.poll() is None:
            command.children()
            command.process.kill()
            command.process.wait()
        for pid in filter(is_there, command.known):
            os.kill(pid, signal.SIGKILL)


def put(url: str, count: int, *, start: int = 0) -> list[str]:
    """Enqueue so many messages to one recipient each; returns the addresses."""
    addresses = [f"user{i}@example.org" for i in range(start, start + count)]
    with Store.open(url) as store:
        store.enqueue([message(address) for address in addresses], now=now_us())
    return addresses
