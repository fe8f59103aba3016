"""The part of the client role that ends things: transactions proven or given up, and the dialogue itself.

`spooler.lmtp.client` explains the whole; `spooler.lmtp.listener` builds on this.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from spooler.lmtp import commands
from spooler.lmtp.events import Event, Finished
from spooler.lmtp.limits import Served
from spooler.lmtp.mode import Mode
from spooler.lmtp.preamble import Preamble
from spooler.lmtp.proof import OpenTransactions
from spooler.lmtp.slots import State
from spooler.reply import Stage

if TYPE_CHECKING:
    from spooler.lmtp.body import ChunkedBody, DataBody
    from spooler.lmtp.transaction import Transaction
    from spooler.lmtp.trust import Trust

# members of enums by a name of their own: to look one up in its class takes five times as long (Python 3.11)
_READY, _CLOSING, _CLOSED = State.READY, State.CLOSING, State.CLOSED
_RSET, _MAIL = Stage.RSET, Stage.MAIL
_BODY, _FINAL, _QUIT = Stage.BODY, Stage.FINAL, Stage.QUIT
_CHUNKED, _LOCKSTEP = Mode.CHUNKED, Mode.LOCKSTEP
_BETWEEN = (_MAIL, _RSET)


class Ending(Preamble):
    """Knows the transactions that are open, and what becomes of them."""

    def __init__(self, *, trust: Trust) -> None:
        super().__init__()
        self.trust = trust
        self._open = OpenTransactions()
        self._current: Transaction | None = None  # whose envelope or body is under way
        self._lines: deque[bytes] = deque()  # its commands that wait for replies, without PIPELINING
        self._body: DataBody | ChunkedBody | None = None  # while it is given
        self._marker: str | None = None  # what chunked transactions in flight rely on, whatever is learnt
        self._reset_held = False  # RSET follows when silence shows that the refusal was one
        self._last_mode = _LOCKSTEP
        self._served = Served(trust.limits)
        self._suspect = False  # a fault ended it: its last replies may be anybody's

    def __repr__(self) -> str:
        due = " ".join(slot.stage for slot in self._fifo) or "nothing"
        return (
            f"<Client {self.state.value}: {due} due, {len(self._open)} open, {self._open.complete} unproven>"
        )

    @property
    def closed(self) -> bool:
        """Whether nothing more will be read or written: close the connection."""
        return self.state is _CLOSED

    @property
    def awaiting_silence(self) -> bool:
        """Whether the last transactions are complete and nothing goes on without `silence_confirmed`."""
        return self._open.complete > 0 and self._quiet()

    def silence_confirmed(self) -> list[Event]:
        """Take note that a read without waiting found nothing; does nothing unless `awaiting_silence`."""
        if self._reset_held and self.awaiting_silence:
            self._reset_held = False
            self._reset(None)
            return []
        return self._prove_last()

    def _prove_last(self) -> list[Event]:
        events: list[Event] = []
        if self.awaiting_silence:
            self._prove(events)
        return events

    def eof(self) -> list[Event]:
        """Take note that the server closed the stream; then ask `unfinished`."""
        events = self._prove_last()  # the end of the stream is the most thorough silence
        if self._between:
            self._served.end("closed")
        self._end()
        return events

    def deadline_passed(self) -> list[Event]:
        """Take note that the reply to `next_stage` did not come in time; then ask `unfinished`."""
        if self._fifo and self._fifo[0].stage is _FINAL and self._fifo[0].read:
            self.trust.too_few()  # it holds the connection and says no more
        self._end()
        return []

    def unfinished(self) -> list[Transaction]:
        """End the dialogue and return the transactions that were not reported, in order.

        Ask after an error, `eof`, `deadline_passed` or ServerClosing, and before closing for reasons
        of one's own. Some may be proven; of the others each says which of its replies are provisional,
        and whether it is uncertain.
        """
        self._end()
        return self._open.all()

    # --- what follows

    def _drop(self, transaction: Transaction) -> None:
        """No more of it is sent."""
        assert transaction is self._current
        self._current = self._body = None
        self._lines.clear()

    def _give_up(self, transaction: Transaction) -> None:
        """It ends without end-of-data."""
        self._drop(transaction)
        if transaction.mode is _CHUNKED:
            self._reset(None if transaction.alone else transaction)
        elif self._open.complete:
            # Were these replies surplus ones of those that wait for their proof, then a 354 would still
            # come, and what is sent now would be content. If so, it can be read already.
            self._reset_held = True
        else:
            self._reset(None)
        self._finish_given_up(transaction)

    def _finish_given_up(self, transaction: Transaction) -> None:
        if not self._fifo or self._fifo[0].stage is not _BODY:  # else chunks are under way
            self._open.finish(transaction)

    def _reset(self, transaction: Transaction | None) -> None:
        self._outgoing.queue(commands.RSET)
        self._expect(_RSET, transaction)

    def _prove(self, events: list[Event]) -> None:
        """Report all that is complete: the stream was found aligned behind it."""
        for transaction in self._open.prove():
            if transaction.end_of_data_end == self._outgoing.taken:
                self.trust.learn(transaction)  # nothing followed it
            events.append(Finished(transaction))

    def _find_few(self) -> None:
        if self._open.gave_too_few():
            self.trust.too_few()

    def _blame(self, why: str, events: list[Event]) -> None:
        self._open.put_back(event.transaction for event in events if isinstance(event, Finished))
        self._suspect = True
        if self.state is _READY:
            modes = [transaction.mode for transaction in self._open.all()]
            self.trust.doubt(why, max(modes, default=self._last_mode))
        self._end()

    def _end(self) -> None:
        """Nothing more is read or written; leave to the destination's trust what there was to learn."""
        if self.closed:
            return
        self.state = _CLOSED
        self._served.close()
        costly = self._open.appraise(
            sent=self._outgoing.sent,
            suspect=self._suspect,
            marker=self._known_marker,
            rset=self.trust.rset,
            owing=[slot.transaction for slot in self._fifo if slot.stage is _RSET and slot.transaction],
        )
        if costly and not self._suspect:
            self.trust.setback()
        self._fifo.clear()
        self._body = self._current = None

    def _quit(self) -> None:
        self._outgoing.queue(commands.QUIT)
        self._expect(_QUIT, None)
        self._served.close()
        self.state = _CLOSING

    @property
    def _between(self) -> bool:
        """Whether the server is between two transactions: none was begun to be answered."""
        return self.state is _READY and (not self._fifo or self._fifo[0].stage in _BETWEEN)

    @property
    def _known_marker(self) -> str | None:
        return self._marker or self.trust.marker

    def _quiet(self) -> bool:
        return not self._fifo and not self._reader.pending and self._outgoing.sent == self._outgoing.queued
