"""The outgoing stream of a client: what is queued, taken and sent, in octets since its start.

*Queued* is what the protocol said, *taken* what the caller got to send, *sent* what it reported as
handed over. An end-of-data is marked when it is queued; its transaction turns uncertain as soon as
one octet of it is known to be handed over, and by nothing else (DESIGN invariant 5). Parts are given
out whole, joined into bursts: one system call for many envelopes and bodies.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from spooler.lmtp.errors import LocalProtocolError

if TYPE_CHECKING:
    from spooler.lmtp.transaction import Transaction

BURST = 128 * 1024  # octets joined for one send: more gains nothing and costs a greater copy


class Outgoing:
    """The counters are for reading."""

    __slots__ = ("_marked", "_parts", "queued", "sent", "taken")

    def __init__(self) -> None:
        self.queued = self.taken = self.sent = 0
        self._parts: deque[bytes] = deque()
        self._marked: deque[Transaction] = deque()

    @property
    def ends_unsent(self) -> bool:
        """Whether an end-of-data is queued of which no octet was handed over yet."""
        return bool(self._marked)

    def queue(self, data: bytes) -> None:
        """Add octets."""
        if data:
            self._parts.append(data)
            self.queued += len(data)

    def queue_end_of_data(self, data: bytes, transaction: Transaction, decisive: int) -> None:
        """Add octets the last `decisive` of which let the server deliver `transaction`."""
        self.queue(data)
        transaction.end_of_data_at = self.queued - decisive
        transaction.end_of_data_end = self.queued
        self._marked.append(transaction)

    def take(self) -> bytes:
        """Give out what is queued, or as much of it as makes a burst."""
        parts = self._parts
        if self.queued - self.taken <= BURST:
            burst = list(parts)
            parts.clear()
        else:
            burst = [parts.popleft()]
            size = len(burst[0])
            while parts and size + len(parts[0]) <= BURST:
                size += len(parts[0])
                burst.append(parts.popleft())
        data = burst[0] if len(burst) == 1 else b"".join(burst)
        self.taken += len(data)
        return data

    def hand_over(self, count: int) -> None:
        """Count `count` more octets as sent."""
        if count < 0 or self.sent + count > self.taken:
            raise LocalProtocolError(f"{count} octets more than {self.sent} cannot have been sent")
        self.sent += count
        while self._marked:
            at = self._marked[0].end_of_data_at
            if at is not None and self.sent <= at:
                break
            self._marked.popleft().uncertain = True
