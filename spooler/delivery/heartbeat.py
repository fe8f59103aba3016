"""The worker's sign of life, and its eye on the others'.

One row, beaten every 5 s, renews all leases of a worker. Another worker is dead when its counter has
not moved for 60 s of this machine's uptime (CLOCK_BOOTTIME, which runs on in suspend and does not
jump), counted only over our own successful beats: after an outage of the database nobody robs anybody.
Whoever can get at the journal of a dead worker goes by that (see `recovery`), at once; others wait 5 minutes
more for somebody who can, and then take all that it held as uncertain. Within one boot and PID namespace a
process that is not there any more, and left no journal, is dead at once.
"""

from __future__ import annotations

import os
import secrets
import socket
import time
from pathlib import Path
from typing import TYPE_CHECKING

import trio

from spooler.errors import SpoolerError
from spooler.events import SpoolTrouble, WorkerState
from spooler.policy import beats

if TYPE_CHECKING:
    from collections.abc import Callable

    from spooler.delivery.ports import Ground
    from spooler.delivery.recovery import Recovery


FIRST_LOOK = 10.0  # seconds: less than a heartbeat may be late


def whereabouts() -> str:
    """Name the host, its boot and our PID namespace: where this is the same, process ids mean the same."""
    try:
        namespace = str(Path("/proc/self/ns/pid").readlink())
    except OSError:
        namespace = secrets.token_hex(8)  # the same as nobody's
    return f"{socket.gethostname()} {boot_id()} {namespace}"


def boot_id() -> str:
    """Name this boot of this host."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        return secrets.token_hex(8)


def is_gone(pid: int) -> bool:
    """Whether no process has this number; one that took it over only makes us wait longer."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        return False
    return False


def boottime() -> float:
    """Seconds of uptime, suspend included."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


class Heartbeat:
    """One per worker; `run` is its task. `lost` is called once if we were declared dead.

    `standing` gives what the worker publishes of itself with each beat.
    """

    def __init__(
        self,
        ground: Ground,
        recovery: Recovery,
        *,
        lost: Callable[[], None],
        standing: Callable[[], str | None] = lambda: None,
        clock: Callable[[], float] = boottime,
    ) -> None:
        self._ground = ground
        self._recovery = recovery
        self._lost = lost
        self._standing = standing
        self._clock = clock
        self._last_good = clock()
        self.trouble = ""
        """Why the spool did not take the last beat, "" if it did."""
        self.fenced = False
        """Whether another worker declared this one dead: its leases are gone."""
        self._seen: dict[int, tuple[int, float]] = {}
        self._credit = 0.0
        self._beaten = trio.Event()
        self._whereabouts = whereabouts()

    @property
    def fresh(self) -> bool:
        """Whether our leases are surely respected by others, so that end-of-data may be sent."""
        return not self.fenced and self._clock() - self._last_good < beats.FRESH

    async def run(self) -> None:
        """Beat and observe until cancelled, or until we find that we were declared dead."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._watch)
            while not self.fenced:
                await trio.sleep(beats.PERIOD)
                try:
                    await self._beat()
                except SpoolerError as error:
                    self.trouble = str(error)
                    self._tell("beating", error)
            nursery.cancel_scope.cancel()

    async def first_look(self) -> None:
        """Take over what dead workers held before anything is claimed; what takes long goes on later."""
        with trio.move_on_after(FIRST_LOOK):
            await self.observe_others()

    async def _watch(self) -> None:
        """Observe the others after each good beat; no beat waits for a journal that the database refuses."""
        while True:
            await self._beaten.wait()
            self._beaten = trio.Event()
            try:
                await self.observe_others()
            except SpoolerError as error:
                self._tell("looking at other workers", error)

    def _tell(self, doing: str, error: SpoolerError) -> None:
        self._ground.observe(SpoolTrouble(doing=doing, why=str(error), retry_in=beats.PERIOD))

    async def _beat(self) -> None:
        ground = self._ground
        began = self._clock()
        taken = await ground.spool.beat(ground.worker, now=ground.clock(), standing=self._standing())
        self.trouble = ""
        if not taken:
            self.fenced = True
            ground.observe(
                WorkerState(
                    worker=ground.worker, state="fenced", detail="another worker declared this one dead"
                )
            )
            self._lost()
            return
        # time during which we could not beat ourselves says nothing about others
        self._credit += min(began - self._last_good, 2 * beats.PERIOD)
        self._last_good = began
        self._beaten.set()

    async def observe_others(self) -> None:
        """Look at the other workers' journals and counters, and take over what dead ones held."""
        ground = self._ground
        rows = await ground.spool.workers()
        gone = {row.id for row in rows if row.host == self._whereabouts and is_gone(row.pid)}
        # whose process is gone now has written its last: its journal is found here, or is in others' hands
        await self._recovery.run()
        gone = {worker for worker in gone if not self._recovery.has_journal(worker)}
        credit = self._credit  # before they are looked at, for settling a journal may take long
        present: dict[int, tuple[int, float]] = {}
        for row in await ground.spool.workers():
            if row.id != ground.worker:
                count, since = self._seen.get(row.id, (row.beat, credit))
                present[row.id] = (row.beat, since if count == row.beat else credit)
        self._seen = present
        for worker, (_, since) in list(present.items()):
            if worker in gone or credit - since >= beats.DEAD + beats.GRACE:
                taken = await self._recovery.take_over(worker)
                del self._seen[worker]
                ground.observe(
                    WorkerState(worker=worker, state="rescued", detail=f"{taken} recipients taken over")
                )
