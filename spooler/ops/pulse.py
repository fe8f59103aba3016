"""What the processes of a command tell whoever serves: counts, which are added up, and signs of life.

A worker that serves by itself takes its own pulse when it is asked; of several processes each sends it to the
keeper once a second, over the stream that there is between them.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Protocol

import msgspec
import trio

from spooler.errors import SpoolerError
from spooler.ops.counts import Counts
from spooler.ops.errors import Errors
from spooler.worker_standing import MOST_TEXT

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from spooler.ops.metrics import Metrics
    from spooler.vitals import SpoolVitals

PERIOD = 1.0  # seconds between two pulses of a process that is kept
WAIT = 1.0  # seconds that the spool process has to tell of itself
SILENT = 10.0  # seconds without one after which a process is not taken for alive


class Pulse(msgspec.Struct, frozen=True, omit_defaults=True):
    """Of the process that runs `worker`; `fresh`: its heartbeat is in time. `trouble` is why the spool did
    not take the last beat. `counts` since the last pulse.
    """

    worker: int
    fresh: bool
    counts: Counts
    connections: int = 0
    in_use: int = 0
    trouble: str = ""

    def pieces(self) -> Iterator[Pulse]:
        """Cut into pulses that fit a record."""
        for counts in self.counts.pieces():
            yield msgspec.structs.replace(self, counts=counts)


class Alive(Protocol):
    """What is looked at of a worker; see `spooler.worker.WorkerRun`."""

    @property
    def worker(self) -> int: ...
    @property
    def fresh(self) -> bool: ...
    @property
    def trouble(self) -> str: ...
    @property
    def syncs(self) -> tuple[int, float]: ...


class VitalsPort(Protocol):
    """What is asked of the spool process."""

    async def vitals(self) -> SpoolVitals: ...


class Taker:
    """Takes the pulse of the worker in this process."""

    def __init__(self, alive: Alive, spool: VitalsPort, metrics: Metrics) -> None:
        self._alive = alive
        self._spool = spool
        self._metrics = metrics
        self._syncs = (0, 0.0)
        self._connections = (0, 0)

    async def take(self) -> Pulse:
        """Take it; a spool process that does not answer in time is left out."""
        vitals = None
        with trio.move_on_after(WAIT):
            with suppress(SpoolerError):  # the worker is told by its own calls
                vitals = await self._spool.vitals()
        counts = self._metrics.take()
        if vitals is not None:
            counts.calls = vitals.calls
            self._connections = (vitals.connections, vitals.in_use)
        syncs, sync_time = self._alive.syncs
        counts.syncs = syncs - self._syncs[0]
        counts.sync_time = int((sync_time - self._syncs[1]) * 1e6)
        self._syncs = (syncs, sync_time)
        alive = self._alive
        return Pulse(alive.worker, alive.fresh, counts, *self._connections, trouble=alive.trouble[:MOST_TEXT])


class Teller:
    """Tells pulses to whoever gathers them; what could not be told is told with the next."""

    def __init__(self, taker: Taker, tell: Callable[[Pulse], bool]) -> None:
        self._taker = taker
        self._tell = tell
        self._owed = Counts()

    async def run(self) -> None:
        """Tell regularly until cancelled."""
        while True:
            await self.once()
            await trio.sleep(PERIOD)

    async def once(self) -> None:
        """Tell now."""
        pulse = await self._taker.take()
        owed, self._owed = self._owed, Counts()
        owed.add(pulse.counts)
        owed.errors += pulse.counts.errors
        for piece in msgspec.structs.replace(pulse, counts=owed).pieces():
            if not self._tell(piece):
                self._owed.add(piece.counts)
                self._owed.errors += piece.counts.errors


class Member(msgspec.Struct):
    """What was last heard of a process; `heard` in seconds of trio's clock."""

    pulse: Pulse
    heard: float

    @property
    def heard_lately(self) -> bool:
        """Whether it lives, as far as can be told."""
        return trio.current_time() - self.heard < SILENT

    @property
    def fresh(self) -> bool:
        """Whether it lives and its leases are respected."""
        return self.pulse.fresh and self.heard_lately


class Gathering:
    """All processes of a command, by their part's number. What one counted stays when it has ended."""

    def __init__(self) -> None:
        self.counts = Counts()
        self.errors = Errors()
        self.members: dict[int, Member] = {}

    @property
    def refused(self) -> str:
        """Why the spool takes a heartbeat of none of these processes, "" if it does of some."""
        troubles = [member.pulse.trouble for member in self.members.values() if member.heard_lately]
        return troubles[0] if troubles and all(troubles) else ""

    def take(self, part: int, pulse: Pulse) -> None:
        """Take a pulse."""
        self.counts.add(pulse.counts)
        self.errors.add(pulse.counts.errors)
        self.members[part] = Member(pulse, trio.current_time())
