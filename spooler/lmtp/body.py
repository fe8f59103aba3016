"""A content on its way out: stuffed behind DATA, or in chunks behind BDAT.

Both take pieces and an end, and queue octets. What may let the server deliver, and so decides
between safe and uncertain (DESIGN invariant 5), is behind DATA the line with the dot, and behind BDAT
the last octet of the last chunk, or its command where that chunk is empty (RFC 3030 section 2).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from spooler.lmtp import commands
from spooler.lmtp.stuffing import Stuffer

if TYPE_CHECKING:
    from spooler.lmtp.outgoing import Outgoing
    from spooler.lmtp.transaction import Transaction


class DataBody:
    """Behind DATA."""

    __slots__ = ("_outgoing", "_stuffer")

    def __init__(self, outgoing: Outgoing) -> None:
        self._outgoing = outgoing
        self._stuffer = Stuffer()

    def give(self, data: bytes) -> bool:
        """Queue a piece; return whether a reply is due to it: never."""
        self._outgoing.queue(self._stuffer.feed(data))
        return False

    def end(self, transaction: Transaction) -> None:
        """Queue what completes the last line, and the end-of-data."""
        completion, end_of_data = self._stuffer.end()
        self._outgoing.queue(completion)
        self._outgoing.queue_end_of_data(end_of_data, transaction, len(end_of_data))


class ChunkedBody:
    """Behind BDAT: a chunk for each piece, and nothing is stuffed.

    A piece is held until the next one or the end comes, because the last one says so in its command.
    """

    __slots__ = ("_held", "_outgoing")

    def __init__(self, outgoing: Outgoing) -> None:
        self._outgoing = outgoing
        self._held = b""

    def give(self, data: bytes) -> bool:
        """Take a piece and queue the one before; return whether a reply is due to that."""
        if not data:
            return False
        held, self._held = self._held, data
        if not held:
            return False
        self._outgoing.queue(commands.bdat(len(held), last=False))
        self._outgoing.queue(held)
        return True

    def end(self, transaction: Transaction) -> None:
        """Queue the last chunk."""
        held = self._held
        line = commands.bdat(len(held), last=True)
        if held:
            self._outgoing.queue(line)
            self._outgoing.queue_end_of_data(held, transaction, 1)
        else:
            self._outgoing.queue_end_of_data(line, transaction, len(line))
