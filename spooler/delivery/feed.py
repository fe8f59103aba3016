"""What a session works off: parcels of a lane as transactions, contents, and results back."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from spooler.delivery.lane import Ending, Lane
from spooler.delivery.parcel import Parcel, results_of
from spooler.delivery.settler import insist
from spooler.net.lost import SessionLostError
from spooler.policy import classify
from spooler.reply import Stage

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable

    from spooler.delivery.ports import Ground
    from spooler.lmtp.transaction import Transaction
    from spooler.net.pool import Target
    from spooler.net.session import Session

_COMPLETE = Ending(may_repeat=True)


class Feed:
    """A session's source (see `spooler.net.session.Source`) for a lane and one of its targets."""

    def __init__(
        self,
        *,
        lane: Lane,
        target: Target,
        ground: Ground,
        may_end: Callable[[], bool],
        may_begin: Callable[[], bool],
    ) -> None:
        self._lane = lane
        self._target = target
        self._ground = ground
        self._may_end = may_end
        self._may_begin = may_begin

    def next(self, session: Session) -> Transaction | None:
        """Take the next parcel that fits the server; what does not fit is settled on the way."""
        lane = self._lane
        capabilities = session.capabilities
        # What waits is shared: a session gets one more if each of the others could have as many as it
        # has. Else the first would take all of a short line, and it would go out one by one.
        if lane.ready and session.open * (lane.window.size - 1) >= lane.ready:
            return None
        most = self._target.trust.most_recipients()
        while self._may_begin() and (parcel := lane.pop(session, most=most)) is not None:
            claim = parcel.claim
            verdict = classify.unfit(
                size=claim.size,
                eight_bit=parcel.eight_bit,
                utf8=parcel.utf8,
                size_limit=capabilities.size,
                takes_eight_bit=capabilities.eightbitmime,
                takes_utf8=capabilities.smtputf8,
            )
            if verdict is None:
                parcel.started = self._ground.clock()
                return parcel.transaction()
            lane.resolve(parcel, results_of(parcel.recipients, parcel, verdict, lane.around(self._target)))
        return None

    def content(self, transaction: Transaction) -> bytes | AsyncGenerator[bytes, None]:
        """Return the message whole if it was read ahead, else as it comes from the spool."""
        parcel = parcel_of(transaction)
        return parcel.content if parcel.content is not None else self._chunks(parcel)

    def may_end(self) -> bool:
        """Whether end-of-data may be sent: only while our leases are surely respected."""
        return self._may_end()

    def ending(self, transaction: Transaction) -> bool:
        """Note that end-of-data may be handed over from now on, if it may."""
        if not self._may_end():
            return False
        parcel = parcel_of(transaction)
        parcel.ended = self._ground.clock()
        self._ground.journal.intend(transaction, parcel.claim.message_id, [r.n for r in parcel.recipients])
        return True

    def commit(self) -> bool:
        """Write what was noted to the journal; whether that could be done."""
        return self._ground.journal.push()

    def finished(self, transaction: Transaction) -> None:
        """Judge a transaction whose replies were all read and proven."""
        self._lane.conclude(
            transaction,
            parcel_of(transaction),
            target=self._target,
            mode=transaction.mode.word,
            ending=_COMPLETE,
        )

    async def _chunks(self, parcel: Parcel) -> AsyncGenerator[bytes, None]:
        ground, content = self._ground, parcel.claim.content
        sent = 0
        sequence = 0
        while sent < parcel.claim.size:
            # a server that will not wait for a spool that is gone hangs up: nothing was handed over
            chunk = await insist(ground, "reading a content", partial(ground.spool.chunk, content, sequence))
            if not chunk:
                raise SessionLostError(classify.CONTENT_GONE, Stage.LOCAL)
            sent += len(chunk)
            sequence += 1
            yield chunk


def parcel_of(transaction: Transaction) -> Parcel:
    """Return the parcel that a transaction carries."""
    parcel = transaction.tag
    assert isinstance(parcel, Parcel)
    return parcel
