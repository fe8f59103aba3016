"""Which transactions of a session are open, which of those are complete, and what they are worth.

A transaction is open from its first command until it is reported; complete when every reply due to it
was read; proven when the stream was found aligned behind it. Replies come in order, so the complete
ones are always the oldest. See `spooler.lmtp.client` for what counts as proof.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from spooler.lmtp.mode import Mode

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from spooler.lmtp.transaction import Transaction
    from spooler.reply import Reply


class OpenTransactions:
    """The open transactions of one session, oldest first."""

    __slots__ = ("complete", "order")

    def __init__(self) -> None:
        self.order: deque[Transaction] = deque()
        """They themselves; for reading."""
        self.complete = 0  # so many, from the left, are complete and wait for their proof

    def __len__(self) -> int:
        return len(self.order)

    def add(self, transaction: Transaction) -> None:
        """Open one."""
        transaction.begun = True
        self.order.append(transaction)

    def finish(self, transaction: Transaction) -> None:
        """Its last reply was read."""
        transaction.complete = True
        self.complete += 1

    def prove(self) -> list[Transaction]:
        """The stream is aligned behind all that is complete: take these out."""
        proven = [self.order.popleft() for _ in range(self.complete)]
        self.complete = 0
        for transaction in proven:
            transaction.proven = True
            if transaction.end_of_data_end is not None:
                transaction.uncertain = True  # it was answered, so it was handed over
        return proven

    def put_back(self, proven: Iterable[Transaction]) -> None:
        """What was proven could not be reported."""
        self.order.extendleft(reversed(list(proven)))

    def gave_too_few(self) -> bool:
        """A reply came too early: had a transaction several final replies to give?"""
        return any(
            len(transaction.accepted) > 1 and transaction.end_of_data_end is not None
            for transaction in self.order
        )

    def appraise(
        self,
        *,
        sent: int,
        suspect: bool,
        marker: str | None,
        rset: Reply | None,
        owing: Collection[Transaction],
    ) -> bool:
        """Say what each is worth after the end of the session; return whether the overlap is to blame.

        `sent` counts the octets handed over, of the whole stream; `suspect` says that a fault of the
        server's ended it; `marker` and `rset` are what is known of the destination; `owing` are those
        whose chunks are followed by a RSET that was not answered. To blame is the
        overlap for each that is complete and in doubt, and for each that the server had not begun to
        answer when it may have had all of it. (DESIGN invariant 6.)
        """
        aligned = True
        costly = False
        for transaction in self.order:
            if transaction.proven:
                continue
            if transaction.data is None or not transaction.data.go_ahead:
                transaction.envelope_provisional = suspect or not aligned
            end = transaction.end_of_data_end
            if (
                marker is not None
                and not suspect
                and transaction.complete
                and end is not None
                and sent >= end
            ):
                # Positive replies without the marker that are as many as due can be no other command's.
                # Behind a chunk RSET comes before MAIL, so they must not look like its reply either. Where
                # that is missing, the last of several may be RSET's all the same, in other words.
                foreign = rset if transaction.mode is Mode.CHUNKED else None
                short = transaction in owing and len(transaction.accepted) > 1
                transaction.final_provisional = short or not all(
                    final is None or (final.positive and final != foreign) for final in transaction.final
                )
            else:
                # sent beyond its end: these may be another's; sent short of it: an answer to no question
                transaction.final_provisional = transaction.complete or sent != end
            if transaction.complete:
                costly = costly or transaction.final_provisional
            elif not aligned:
                costly = costly or transaction.uncertain
            aligned = False
        return costly

    def all(self) -> list[Transaction]:
        """Return them, in order."""
        return list(self.order)
