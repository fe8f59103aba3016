"""What is asked of the spool by whoever shows how it stands; see `spooler.spool.store.Store`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from spooler.records import QueuedRecipient, QueueFilter
    from spooler.sample import Sample, Traced


class LookPort(Protocol):
    """Never waited for by delivery; all raise SpoolerError."""

    async def sample(self, *, now: int) -> Sample: ...
    async def trace(self, what: str, *, limit: int) -> Traced: ...
    async def queue(
        self,
        *,
        filter: QueueFilter,  # noqa: A002  # as the store's
        limit: int,
        after: tuple[int, int] | None = ...,
    ) -> list[QueuedRecipient]: ...
