"""The part of the client role that listens: what each reply belongs to, and what follows from it.

`spooler.lmtp.client` explains the whole, and is the only one to use this. How things end is in
`spooler.lmtp.ending`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from spooler.lmtp.body import DataBody
from spooler.lmtp.ending import Ending
from spooler.lmtp.errors import RemoteProtocolError
from spooler.lmtp.events import Event, GoAhead, ServerClosing
from spooler.lmtp.grammar import END_OF_DATA
from spooler.lmtp.mode import Mode
from spooler.lmtp.slots import CLOSING, DUE, Slot, State
from spooler.reply import Stage

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from spooler.lmtp.trust import Trust
    from spooler.reply import Reply

# members of enums by a name of their own: to look one up in its class takes five times as long (Python 3.11)
_CLOSED = State.CLOSED
_MAIL, _RCPT, _DATA, _FINAL = Stage.MAIL, Stage.RCPT, Stage.DATA, Stage.FINAL
_CHUNKED = Mode.CHUNKED


class Listener(Ending):
    """Takes what the server says; `Client` adds what to say to it."""

    def __init__(self, *, trust: Trust) -> None:
        super().__init__(trust=trust)
        self.replies_read = 0
        """Replies so far, for deadlines: each is due from when the one before it was read."""

    def receive(self, data: bytes) -> list[Event]:
        """Take what was read; return what it tells, in order.

        Raises RemoteProtocolError: close the connection and ask `unfinished`. Of such a call nothing
        was reported; transactions that it proved before the fault are among the unfinished, proven.
        """
        if self.closed:
            return []
        events: list[Event] = []
        fault: RemoteProtocolError | None = None
        replies: Sequence[Reply]
        try:
            replies = self._reader.feed(data)
        except RemoteProtocolError as error:
            replies, fault = error.replies, error
        try:
            at, fifo = 0, self._fifo
            while at < len(replies):
                several = fifo[0].due - fifo[0].read > 1 if fifo else False
                at += (several and self._take_several(replies, at)) or self._take(replies[at], events)
            self.replies_read += len(replies)
            if fault is not None and self.state is not _CLOSED:
                raise fault
        except RemoteProtocolError as error:
            self._blame(str(error), events)
            raise
        return events

    # --- replies

    def _take_several(self, replies: Sequence[Reply], at: int) -> int:
        """Give replies from `at` on to the slot that they are due to, which waits for several.

        Returns how many: 0 where not all of them are what most are, a success in its place.
        """
        slot = self._fifo[0]
        if self._lines or slot.at > self._outgoing.taken:
            return 0
        run = replies[at : at + slot.due - slot.read]
        transaction, stage = slot.transaction, slot.stage
        marker = self._known_marker
        distinct = run[:1] if run.count(run[0]) == len(run) else run
        for reply in distinct:
            if not (
                reply.positive
                and reply.code in DUE[stage]
                and self.trust.fits(stage, reply, marker)
                and not slot.misplaced(reply, self.trust.rset)
            ):
                return 0
        if transaction is None or transaction.mail is None or not transaction.mail.positive:
            return 0
        slot.answer_several(run)
        if slot.read == slot.due:
            self._fifo.popleft()
            if stage is _FINAL:
                self._open.finish(transaction)
        return len(run)

    def _take(self, reply: Reply, events: list[Event]) -> int:
        """Give a reply to its slot; returns 1."""
        slot = self._fifo[0] if self._fifo else None
        if slot is not None and slot.for_nobody and slot.at <= self._outgoing.taken:
            slot = self._nobody(slot, reply)
            if slot is None:
                return 1
        if slot is None or slot.at > self._outgoing.taken:
            if self.closed:
                return 1  # what follows a farewell does not matter
            if reply.code != CLOSING or self._tls_due:
                raise RemoteProtocolError(f"the server sent '{reply}' where nothing was due")
            self._server_closes(None, reply, events)
            return 1
        stage = slot.stage
        if reply.code == CLOSING:
            self._server_closes(slot, reply, events)
            return 1
        if reply.code not in DUE[stage]:
            if reply.go_ahead:
                self._find_few()
            raise RemoteProtocolError(f"the server sent '{reply}' in the place of a reply to {stage}")
        marker = self._marker or self.trust.marker
        fits = marker is None or self.trust.fits(stage, reply, marker)
        if not fits or slot.misplaced(reply, self.trust.rset):
            if stage is not _MAIL:
                self._find_few()
            if not fits:
                self.trust.forget_marker()
            raise RemoteProtocolError(f"the server sent '{reply}' to {stage}: its replies are out of step")
        slot.answer(reply)
        if slot.read == slot.due:
            self._fifo.popleft()
        _THEN[stage](self, slot, reply, events)
        return 1

    def _nobody(self, slot: Slot, reply: Reply) -> Slot | None:
        """End a transaction whose last chunk was for nobody; return the reply's slot if it is another."""
        transaction = slot.transaction
        assert transaction is not None
        self._fifo.popleft()
        self._open.finish(transaction)
        if reply.code in DUE[_FINAL] and not reply.positive and reply.code != CLOSING:
            transaction.data = reply
            return None
        return self._fifo[0]  # RSET: it was queued when this was found to be for nobody, or before

    def _then_rset(self, _slot: Slot, reply: Reply, _events: list[Event]) -> None:
        self.trust.learn_rset(reply)

    def _then_mail(self, slot: Slot, reply: Reply, events: list[Event]) -> None:
        transaction = slot.transaction
        assert transaction is not None
        self._served.mail(reply)
        if reply.positive:
            if self._open.complete and self._known_marker is not None:
                self._prove(events)
            if self._lines:
                self._outgoing.queue(self._lines.popleft())
                self._expect(_RCPT, transaction, len(transaction.recipients))
        elif self._lines:
            self._give_up(transaction)

    def _then_rcpt(self, slot: Slot, reply: Reply, _events: list[Event]) -> None:
        transaction = slot.transaction
        assert transaction is not None
        if reply.positive:
            if transaction.mail is None or not transaction.mail.positive:
                # it belongs to some other transaction that the server holds open
                raise RemoteProtocolError(f"the server sent '{reply}' to RCPT although it refused MAIL")
            transaction.accepted.append(slot.read - 1)
        if transaction.mode is _CHUNKED:
            if slot.read == slot.due and not transaction.accepted:
                if transaction is self._current:
                    self._give_up(transaction)  # the rest of the content is not sent
                elif transaction.alone:
                    self._reset(transaction)
            return
        if not self._lines:
            return
        if slot.read < slot.due:
            self._outgoing.queue(self._lines.popleft())
            slot.at = self._outgoing.queued
        elif transaction.accepted:
            self._outgoing.queue(self._lines.popleft())
            self._expect(_DATA, transaction)
        else:
            self._give_up(transaction)

    def _then_data(self, slot: Slot, reply: Reply, events: list[Event]) -> None:
        transaction = slot.transaction
        assert transaction is not None
        if not reply.go_ahead:
            self._give_up(transaction)
        elif transaction.accepted:
            self._prove(events)
            self._body = DataBody(self._outgoing)
            events.append(GoAhead(transaction))
        elif transaction.mail is None or not transaction.mail.positive:
            # a dot would end whatever it holds open
            raise RemoteProtocolError(f"the server sent '{reply}' to DATA although it refused MAIL")
        else:
            # RFC 2033 section 4.2: for no recipient it owes no reply
            self._drop(transaction)
            self._open.finish(transaction)
            self._prove(events)
            self._outgoing.queue(END_OF_DATA)
            self._quit()

    def _then_body(self, slot: Slot, reply: Reply, _events: list[Event]) -> None:
        transaction = slot.transaction
        assert transaction is not None
        if transaction is not self._current:
            self._finish_given_up(transaction)
        elif not reply.positive:
            self._give_up(transaction)

    def _then_final(self, slot: Slot, _reply: Reply, _events: list[Event]) -> None:
        if slot.read == slot.due and slot.transaction is not None:
            self._open.finish(slot.transaction)

    def _then_quit(self, slot: Slot, reply: Reply, events: list[Event]) -> None:
        self._farewell(slot.stage, reply, events)

    def _server_closes(self, slot: Slot | None, reply: Reply, events: list[Event]) -> None:
        """421: it answers what is due, and nothing else will be answered."""
        if self._between:
            self._served.end("said so")
        if slot is not None:
            slot.answer(reply)
            if slot.stage is _FINAL:
                self._fifo.popleft()
                self._then_final(slot, reply, events)
        events.extend(self._prove_last())
        self._farewell(None if slot is None else slot.stage, reply, events)

    def _farewell(self, stage: Stage | None, reply: Reply, events: list[Event]) -> None:
        events.append(ServerClosing(stage, reply))
        self._end()


_THEN: dict[Stage, Callable[[Listener, Slot, Reply, list[Event]], None]] = {
    Stage.CONNECT: Listener._then_connect,
    Stage.LHLO: Listener._then_lhlo,
    Stage.STARTTLS: Listener._then_starttls,
    Stage.AUTH: Listener._then_auth,
    Stage.RSET: Listener._then_rset,
    Stage.MAIL: Listener._then_mail,
    Stage.RCPT: Listener._then_rcpt,
    Stage.DATA: Listener._then_data,
    Stage.BODY: Listener._then_body,
    Stage.FINAL: Listener._then_final,
    Stage.QUIT: Listener._then_quit,
}
