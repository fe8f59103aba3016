"""Which transactions of a session are open, which of those are complete, and what they are worth.

A transaction is open from its first command until it is reported; complete when every reply due to it
was read; proven when the stream was found aligned behind it. Replies come in order, so the complete
ones are always the oldest. See `spooler.lmtp.client` for what counts as proof.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from spooler.lmtp.transaction import Transaction


class OpenTransactions:
    """The open transactions of one session, oldest first."""

    __slots__ = ("_order", "complete")

    def __init__(self) -> None:
        self._order: deque[Transaction] = deque()
        self.complete = 0  # so many, from the left, are complete and wait for their proof

    def __len__(self) -> int:
        return len(self._order)

    def add(self, transaction: Transaction) -> None:
        """Open one."""
        transaction.begun = True
        self._order.append(transaction)

    def newest(self) -> Transaction:
        """Return the last one opened."""
        return self._order[-1]

    def finish(self, transaction: Transaction) -> None:
        """Its last reply was read."""
        transaction.complete = True
        self.complete += 1

    def prove(self) -> list[Transaction]:
        """The stream is aligned behind all that is complete: take these out."""
        proven = [self._order.popleft() for _ in range(self.complete)]
        self.complete = 0
        for transaction in proven:
            transaction.proven = True
            if transaction.end_of_data_end is not None:
                transaction.uncertain = True  # it was answered, so it was handed over
        return proven

    def put_back(self, proven: Iterable[Transaction]) -> None:
        """What was proven could not be reported."""
        self._order.extendleft(reversed(list(proven)))

    def gave_too_few(self) -> bool:
        """A reply came too early: had a transaction several final replies to give?"""
        return any(
            len(transaction.accepted) > 1 and transaction.end_of_data_end is not None
            for transaction in self._order
        )

    def appraise(self, *, sent: int, suspect: bool, marked: bool) -> bool:
        """Say what each is worth after the end of the session; return whether a complete one is in doubt.

        `sent` counts the octets handed over, of the whole stream; `suspect` says that a fault of the
        server's ended it, `marked` that the destination has a marker. (DESIGN invariant 6.)
        """
        aligned = True
        doubtful = False
        for transaction in self._order:
            if transaction.proven:
                continue
            if transaction.data is None or not transaction.data.go_ahead:
                transaction.envelope_provisional = suspect or not aligned
            end = transaction.end_of_data_end
            if marked and not suspect and transaction.complete and end is not None and sent >= end:
                # positive replies without the marker that are as many as due can be no other command's
                transaction.final_provisional = not all(
                    final is None or final.positive for final in transaction.final
                )
            else:
                # sent beyond its end: these may be another's; sent short of it: an answer to no question
                transaction.final_provisional = transaction.complete or sent != end
            doubtful = doubtful or (transaction.complete and transaction.final_provisional)
            aligned = False
        return doubtful

    def all(self) -> list[Transaction]:
        """Return them, in order."""
        return list(self._order)
