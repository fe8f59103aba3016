"""Looks at the spool from time to time, and keeps what was seen last: whoever asks never waits for long.

A look costs the spool next to nothing (see `spooler.spool.sampling`); should one take long all the same, the
next comes the later, so that looking never takes more than a fiftieth of the time.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

from spooler.errors import SpoolerError
from spooler.ops.history import NEAR, History

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from spooler.ops.ports import LookPort
    from spooler.ops.pulse import Gathering
    from spooler.sample import Sample
    from spooler.worker_standing import WorkerStanding

SHARE = 50
RECENT = 0.5  # seconds: a sample that is no older is given again
WAIT = 2.0  # seconds that somebody waits for a new one; then the last has to do
STALE = 15.0  # seconds without an answer after which the database is taken for gone


class Watch:
    """One per command that serves; `run` is its task.

    `pulse` brings `gathering` up to date, where that is not done by itself. `standing` is this process's own
    worker as it stands now, where there is one.
    """

    def __init__(
        self,
        *,
        spool: LookPort,
        gathering: Gathering,
        clock: Callable[[], int],
        pulse: Callable[[], Awaitable[None]] | None = None,
        standing: Callable[[], tuple[int, WorkerStanding] | None] = lambda: None,
    ) -> None:
        self.spool = spool
        self.gathering = gathering
        self.clock = clock
        self.history = History()
        self.started = clock()
        self.trouble = ""
        """Why the spool did not answer the last time, "" if it did."""
        self._pulse = pulse
        self._standing = standing
        self._last: Sample | None = None
        self._looked = -STALE
        self._looking = trio.Lock()

    async def run(self) -> None:
        """Look regularly until cancelled."""
        while True:
            began = trio.current_time()
            await self._look()
            took = trio.current_time() - began
            await trio.sleep(max(NEAR[0] - took, took * SHARE))

    @property
    def answers(self) -> bool:
        """Whether the spool was seen lately, and had no trouble since."""
        return not self.trouble and trio.current_time() - self._looked < STALE

    async def sample(self) -> Sample | None:
        """Return how the spool stands: now, or when it was last seen; None if it never was."""
        if self._pulse is not None:
            await self._pulse()
        if trio.current_time() - self._looked >= RECENT:
            with trio.move_on_after(WAIT):
                await self._look()
        return self._last

    def standings(self) -> dict[int, WorkerStanding]:
        """What workers tell of themselves: our own now, others as of their last beat."""
        found = dict(self._last.standings) if self._last is not None else {}
        own = self._standing()
        if own is not None:
            found[own[0]] = own[1]
        return found

    def ours(self) -> dict[int, tuple[int, WorkerStanding]]:
        """The same of the workers of this command alone, by the number of their part, with their ids."""
        standings = self.standings()
        return {
            part: (member.pulse.worker, standings[member.pulse.worker])
            for part, member in sorted(self.gathering.members.items())
            if member.pulse.worker in standings
        }

    async def _look(self) -> None:
        async with self._looking:
            if trio.current_time() - self._looked < RECENT:
                return  # somebody else has just looked
            try:
                self._last = await self.spool.sample(now=self.clock())
            except SpoolerError as error:
                self.trouble = str(error)
                return
            self.trouble = ""
            self._looked = trio.current_time()
            self.history.add(self._last)
