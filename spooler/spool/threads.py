"""The spool for trio: the same methods as `Store`, awaited, run wherever the injected runner runs them.

The product runs them in threads: one at a time on SQLite, whose writers would only wait for each other, a
few on Postgres. What has begun is not abandoned when the caller is cancelled, for a commit must be known
of. A simulation injects a runner that calls the function at once.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Protocol, TypeVar

import trio
import trio.lowlevel

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from spooler.claim import Claim, Want
    from spooler.envelope import Enqueued, ImportIdentity, NewMessage
    from spooler.records import (
        LedgerEntry,
        MessageInfo,
        QueuedRecipient,
        QueueFilter,
        SettleReport,
        TallyRow,
        WorkerRow,
    )
    from spooler.result import RecipientResult
    from spooler.spool.store import Store

T = TypeVar("T")

POSTGRES_THREADS = 3  # claiming, settling, and the beat with the chores


class Runner(Protocol):
    """Calls a function that blocks, and awaits its result."""

    async def __call__(self, function: Callable[[], T], /) -> T:
        """Run it."""


class Threads:
    """A runner with so many threads at a time."""

    def __init__(self, most: int) -> None:
        self._limiter = trio.CapacityLimiter(most)

    async def __call__(self, function: Callable[[], T], /) -> T:
        """Run it in a thread, to its end."""
        return await trio.to_thread.run_sync(function, limiter=self._limiter, abandon_on_cancel=False)


async def inline(function: Callable[[], T], /) -> T:
    """Run it at once, in the caller's thread: for simulations."""
    await trio.lowlevel.checkpoint()
    return function()


class AsyncSpool:
    """An open `Store`, for trio. Closing it is the business of whoever opened the store."""

    def __init__(self, store: Store, runner: Runner | None = None) -> None:
        self._store = store
        self._run: Runner = runner or Threads(POSTGRES_THREADS if store.is_postgres else 1)

    @property
    def uuid(self) -> str:
        """The spool's identity."""
        return self._store.uuid

    async def store_chunks(self, chunks: Iterable[bytes], *, now: int) -> int:
        """See `Store.store_chunks`."""
        return await self._run(partial(self._store.store_chunks, chunks, now=now))

    async def enqueue(self, messages: Sequence[NewMessage], *, now: int) -> list[Enqueued]:
        """See `Store.enqueue`."""
        return await self._run(partial(self._store.enqueue, messages, now=now))

    async def imported(self, identities: Sequence[ImportIdentity]) -> set[ImportIdentity]:
        """See `Store.imported`."""
        return await self._run(partial(self._store.imported, identities))

    async def register(self, *, host: str, pid: int, now: int) -> int:
        """See `Store.register`."""
        return await self._run(partial(self._store.register, host=host, pid=pid, now=now))

    async def beat(self, worker: int, *, now: int) -> bool:
        """See `Store.beat`."""
        return await self._run(partial(self._store.beat, worker, now=now))

    async def workers(self) -> list[WorkerRow]:
        """See `Store.workers`."""
        return await self._run(self._store.workers)

    async def unregister(self, worker: int, *, now: int) -> None:
        """See `Store.unregister`."""
        await self._run(partial(self._store.unregister, worker, now=now))

    async def rescue(self, worker: int, *, now: int, due: int, uncertain: bool) -> int:
        """See `Store.rescue`."""
        return await self._run(partial(self._store.rescue, worker, now=now, due=due, uncertain=uncertain))

    async def claim(self, worker: int, wants: Sequence[Want], *, now: int) -> list[Claim]:
        """See `Store.claim`."""
        return await self._run(partial(self._store.claim, worker, wants, now=now))

    async def contents(self, content_ids: Sequence[int]) -> dict[int, bytes]:
        """See `Store.contents`."""
        return await self._run(partial(self._store.contents, content_ids))

    async def chunk(self, content: int, sequence: int) -> bytes | None:
        """See `Store.chunk`."""
        return await self._run(partial(self._store.chunk, content, sequence))

    async def settle(self, worker: int, results: Sequence[RecipientResult], *, now: int) -> SettleReport:
        """See `Store.settle`."""
        return await self._run(partial(self._store.settle, worker, results, now=now))

    async def release(self, worker: int, keys: Sequence[tuple[int, int]], *, now: int) -> int:
        """See `Store.release`."""
        return await self._run(partial(self._store.release, worker, keys, now=now))

    async def next_due(self, routes: Sequence[str], *, now: int) -> int | None:
        """See `Store.next_due`."""
        return await self._run(partial(self._store.next_due, routes, now=now))

    async def left(self, routes: Sequence[str] | None = None) -> int:
        """See `Store.left`."""
        return await self._run(partial(self._store.left, routes))

    async def expire(self, *, routes: Sequence[str] | None, now: int, limit: int) -> int:
        """See `Store.expire`."""
        return await self._run(partial(self._store.expire, routes=routes, now=now, limit=limit))

    async def stats(self) -> list[TallyRow]:
        """See `Store.stats`."""
        return await self._run(self._store.stats)

    async def queue(
        self,
        *,
        filter: QueueFilter,  # noqa: A002  # as Store's
        limit: int,
        after: tuple[int, int] | None = None,
    ) -> list[QueuedRecipient]:
        """See `Store.queue`."""
        return await self._run(partial(self._store.queue, filter=filter, limit=limit, after=after))

    async def message(self, message_id: int) -> MessageInfo | None:
        """See `Store.message`."""
        return await self._run(partial(self._store.message, message_id))

    async def queued_of(self, message_id: int) -> list[QueuedRecipient]:
        """See `Store.queued_of`."""
        return await self._run(partial(self._store.queued_of, message_id))

    async def ledger_of(self, message_id: int) -> list[LedgerEntry]:
        """See `Store.ledger_of`."""
        return await self._run(partial(self._store.ledger_of, message_id))

    async def ledger_for(self, address: str, *, limit: int) -> list[LedgerEntry]:
        """See `Store.ledger_for`."""
        return await self._run(partial(self._store.ledger_for, address, limit=limit))

    async def sweep(self, *, now: int, limit: int) -> int:
        """See `Store.sweep`."""
        return await self._run(partial(self._store.sweep, now=now, limit=limit))

    async def retire(self, *, before: int, limit: int) -> int:
        """See `Store.retire`."""
        return await self._run(partial(self._store.retire, before=before, limit=limit))

    async def maintain(self, *, now: int) -> None:
        """See `Store.maintain`."""
        await self._run(partial(self._store.maintain, now=now))
