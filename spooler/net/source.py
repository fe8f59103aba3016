"""What a session asks of whoever has mail for it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from spooler.lmtp.transaction import Transaction
    from spooler.net.session import Session


class Source(Protocol):
    """Where a session's transactions come from and their results go to."""

    def next(self, session: Session) -> Transaction | None:
        """Return the next transaction for this session, None if there is none now.

        Asked as often as the session may begin one, so up to `Session.depth` are out at a time.
        """

    def content(self, transaction: Transaction) -> bytes | AsyncGenerator[bytes, None]:
        """Return the message: whole if it is small, else in chunks of at most `CHUNK_SIZE`."""

    def may_end(self) -> bool:
        """Whether end-of-data may be sent now."""

    def ending(self, transaction: Transaction) -> bool:
        """Note that the transaction's end-of-data is about to be sent; False if it may not."""

    def commit(self) -> bool:
        """Let what was noted outlive this process, before anything is sent; False if it would not."""

    def finished(self, transaction: Transaction) -> None:
        """Take a transaction whose replies are all read and proven."""
