"""Makes results durable, in batches, and gives back what was claimed but not tried.

Results come in synchronously and leave in one spool transaction per batch; while one batch commits
the next gathers. What the spool refuses is kept and offered again, so nothing is forgotten while the
process lives; callers see the backlog and stop claiming.
"""

from __future__ import annotations

from collections import deque
from itertools import islice
from typing import TYPE_CHECKING, TypeVar

import trio

from spooler.errors import SpoolerError
from spooler.events import Settled, SpoolTrouble

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from spooler.delivery.ports import Ground
    from spooler.result import RecipientResult

BATCH = 1000  # results in one spool transaction
GATHER = 0.02  # seconds that a batch waits for company: the journal has its results already
FIRST_PAUSE = 0.2  # seconds after the spool refused
LONGEST_PAUSE = 10.0

T = TypeVar("T")


async def insist(ground: Ground, doing: str, act: Callable[[], Awaitable[T]]) -> T:
    """Do something on the spool, again and again until it works; each refusal is told."""
    pause = FIRST_PAUSE
    while True:
        try:
            return await act()
        except SpoolerError as error:
            wait = ground.rng.uniform(pause / 2, pause)
            ground.observe(SpoolTrouble(doing=doing, why=str(error), retry_in=wait))
        await trio.sleep(wait)
        pause = min(pause * 2, LONGEST_PAUSE)


class Settler:
    """One per worker; `run` is its task."""

    def __init__(self, ground: Ground) -> None:
        self._ground = ground
        self._results: deque[RecipientResult] = deque()
        self._returned: dict[int, list[tuple[int, int]]] = {}
        self._returning = 0  # of these, with those whose answer is waited for
        self._news = trio.Event()
        self._empty = trio.Event()
        self._empty.set()
        self.leasing = trio.Lock()
        """Held by who claims or gives back, until the spool has answered: giving back is repeated where
        the answer was lost, and would take away what was claimed again in between."""

    @property
    def backlog(self) -> int:
        """Recipients whose result, or whose giving back, is not durable yet."""
        return len(self._results) + self._returning

    def add(self, results: Sequence[RecipientResult]) -> None:
        """Take results to settle."""
        self._ground.journal.record(results)
        self._results.extend(results)
        self._tell()

    def give_back(self, keys: Sequence[tuple[int, int]], *, due: int) -> None:
        """Take recipients (message id, n) to release without an attempt, not due before `due` (µs UTC)."""
        self._returned.setdefault(due, []).extend(keys)
        self._returning += len(keys)
        self._tell()

    async def flushed(self) -> None:
        """Wait until everything that was added is durable."""
        await self._empty.wait()

    async def run(self, eased: Callable[[], None]) -> None:
        """Settle until cancelled; call `eased` after each batch, for who waits while the backlog is long."""
        while True:
            await self._news.wait()
            if len(self._results) < BATCH:
                await trio.sleep(GATHER)
            self._news = trio.Event()
            self._ground.journal.push()
            while self._results or self._returned:
                await self._settle_batch()
                eased()
            self._empty.set()

    def _tell(self) -> None:
        if self._results or self._returned:
            if self._empty.is_set():
                self._empty = trio.Event()
            self._news.set()

    async def _settle_batch(self) -> None:
        ground = self._ground
        batch = list(islice(self._results, BATCH))
        if batch:
            began = ground.clock()
            report = await insist(
                ground, "settling results", lambda: ground.spool.settle(ground.worker, batch, now=began)
            )
            for _ in batch:
                self._results.popleft()
            ground.journal.settled(len(batch))
            ground.observe(Settled(results=len(batch), late=report.late, took=ground.clock() - began))
        if self._returned:
            due, keys = self._returned.popitem()
            async with self.leasing:
                await insist(
                    ground,
                    "giving back recipients",
                    lambda: ground.spool.release(ground.worker, keys, due=due),
                )
            self._returning -= len(keys)
