"""What delivery needs of the spool, and what is shared by everything that one worker runs.

The spool is a protocol here: the product gives one in a process of its own, a simulation one that is
called inline. Nothing in `delivery` knows about databases.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Mapping, Sequence

    from spooler.claim import Claim, Want
    from spooler.events import Observe
    from spooler.journal.writer import Journal
    from spooler.records import SettleReport, WorkerRow
    from spooler.result import Doubtful, RecipientResult


class SpoolPort(Protocol):
    """See `spooler.spool.store.Store` for what each does; all raise SpoolerError."""

    @property
    def uuid(self) -> str: ...
    async def register(self, *, host: str, pid: int, now: int) -> int: ...
    async def beat(self, worker: int, *, now: int) -> bool: ...
    async def workers(self) -> list[WorkerRow]: ...
    async def unregister(self, worker: int, *, now: int) -> None: ...
    async def rescue(
        self, worker: int, *, now: int, due: int, uncertain: bool, doubtful: Mapping[str, Doubtful] = ...
    ) -> int: ...
    async def doubt(
        self,
        worker: int,
        keys: Sequence[tuple[int, int]],
        *,
        now: int,
        due: int,
        doubtful: Mapping[str, Doubtful] = ...,
    ) -> int: ...
    async def claim(self, worker: int, wants: Sequence[Want], *, now: int) -> list[Claim]: ...
    async def contents(self, content_ids: Sequence[int]) -> dict[int, bytes]: ...
    async def chunk(self, content: int, sequence: int) -> bytes | None: ...
    async def settle(self, worker: int, results: Sequence[RecipientResult], *, now: int) -> SettleReport: ...
    async def release(self, worker: int, keys: Sequence[tuple[int, int]], *, due: int) -> int: ...
    async def next_due(self, routes: Sequence[str], *, now: int) -> int | None: ...
    async def changed(self) -> float | None: ...
    async def left(self, routes: Sequence[str] | None = None) -> int: ...
    async def expire(self, *, routes: Sequence[str] | None, now: int, limit: int) -> int: ...
    async def sweep(self, *, now: int, limit: int) -> int: ...
    async def retire(self, *, before: int, limit: int) -> int: ...
    async def maintain(self, *, now: int) -> None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Ground:
    """What the parts of one worker share; `clock` gives µs UTC."""

    worker: int
    spool: SpoolPort
    journal: Journal
    clock: Callable[[], int]
    rng: random.Random
    observe: Observe
