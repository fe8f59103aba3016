"""Chores beside delivery: checkpoints, expiry behind dead routes, sweeping contents, retention.

Chores yield to delivery: sweeping takes at most a fifth of the time while mail is going out.
"""

from __future__ import annotations

from time import perf_counter
from typing import TYPE_CHECKING

import trio
import trio.lowlevel

from spooler.errors import SpoolerError
from spooler.events import SpoolTrouble

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from spooler.delivery.ports import Ground

CHECKPOINT_EVERY = 1.0  # seconds
EXPIRE_EVERY = 30.0
RETIRE_EVERY = 600.0
SWEEP_EVERY = 30.0
SHARE = 4  # a sweep that took t is followed by a pause of at least t times this
LIMIT = 1000  # rows touched by one call


class Housekeeping:
    """One per worker; `run` is its task."""

    def __init__(self, *, ground: Ground, retention: int) -> None:
        self._ground = ground
        self.retention = retention

    async def run(self) -> None:
        """Do chores until cancelled."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._regularly, "checkpointing", self._checkpoint, CHECKPOINT_EVERY)
            nursery.start_soon(self._regularly, "expiring", self._expire, EXPIRE_EVERY)
            nursery.start_soon(self._regularly, "sweeping", self.sweep, SWEEP_EVERY)
            nursery.start_soon(self._regularly, "retiring", self._retire, RETIRE_EVERY)

    async def sweep(self) -> None:
        """Remove contents that nobody needs any more."""
        while True:
            began = perf_counter()
            if await self._ground.spool.sweep(now=self._ground.clock(), limit=LIMIT) < LIMIT:
                return
            await trio.sleep((perf_counter() - began) * SHARE)

    async def _checkpoint(self) -> None:
        await self._ground.spool.maintain(now=self._ground.clock())

    async def _expire(self) -> None:
        """End what is over its time where no claim would find it: behind dead or unknown routes."""
        now = self._ground.clock()
        while await self._ground.spool.expire(routes=None, now=now, limit=LIMIT) == LIMIT:
            await trio.lowlevel.checkpoint()

    async def _retire(self) -> None:
        before = self._ground.clock() - self.retention
        while await self._ground.spool.retire(before=before, limit=LIMIT) == LIMIT:
            await trio.lowlevel.checkpoint()

    async def _regularly(self, doing: str, chore: Callable[[], Awaitable[None]], every: float) -> None:
        while True:
            await trio.sleep(every)
            try:
                await chore()
            except SpoolerError as error:
                self._ground.observe(SpoolTrouble(doing=doing, why=str(error), retry_in=every))
