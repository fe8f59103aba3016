r"""The client role of LMTP (RFC 2033) without I/O: octets in, events out; envelopes in, octets out.

How it works
------------
Whoever queues a command appends a *slot* to a FIFO: a stage, a transaction, how many replies are due.
A reply belongs to the slot at the head, always, and the slot goes when its last reply is read. So
three questions have one answer each: what a reply is for (the head), what is waited for (`next_stage`:
the head), whether the session may be kept (`idle`: an empty FIFO, nothing open). A slot knows the
offset behind its command in the outgoing stream; a reply to what was not even taken out is a fault.
What may stand in a slot is a table in `spooler.lmtp.slots`; what follows from it is `_THEN` below.

    GREETING --220--> HELLO --LHLO, 250--> READY --QUIT--> CLOSING
        \________________\___________________\________________\__ 421, fault, eof, 221 --> CLOSED

A transaction goes through the FIFO as MAIL, RCPT (one slot, n replies), DATA, and once the caller has
given the body as FINAL, whose replies are counted when it comes to the head: one for each accepted
recipient (RFC 2033 section 4.2). With PIPELINING the first three are queued as one group; without,
each command when the reply to the one before is read. A transaction that ends without end-of-data is
followed by RSET, because a server may keep it open and take the next MAIL for a nested one (RFC 5321
section 4.1.4), and the next one's recipients for this one's.

What is proven
--------------
A server that gives too few or too many final replies shifts all that follow. So a transaction whose
replies are all read is *complete*, not more. It is *proven*, and only then Finished, by one of these
(the marker is explained in `spooler.lmtp.trust`):
 - the marker in the slot of a later MAIL, or a 354 in the slot of a later DATA: the stream is aligned
   there, so everything before it is in place;
 - for the last one, silence: nothing is due, all that was queued was sent, and the caller found
   nothing more to read (`silence_confirmed`), or the server closed, or said 421;
 - where the session ends on a destination with a marker: all its final replies are there and positive.
   None is the marker, so none answers a MAIL, and no other reply can come before that one's.
Nothing follows an end-of-data until trust allows it, and then one envelope at most. A refused
transaction gives no marker: its proof, and that of those before it, is carried forward, eight at most.

Offsets count octets from the first one queued. *Taken* is what `data_to_send` gave out, *sent* is what
the caller reported. Each question goes by the more careful one: a reply is final only if its
end-of-data was taken; silence proves only what was sent whole.

Limits: no STARTTLS, AUTH or BDAT yet. Deadlines, and what a reply means, are the caller's.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from spooler.lmtp import commands
from spooler.lmtp.capabilities import Capabilities
from spooler.lmtp.errors import LocalProtocolError, RemoteProtocolError
from spooler.lmtp.events import Event, Finished, GoAhead, Greeting, Ready, Refused, ServerClosing
from spooler.lmtp.grammar import END_OF_DATA
from spooler.lmtp.outgoing import Outgoing
from spooler.lmtp.proof import OpenTransactions
from spooler.lmtp.replies import ReplyReader
from spooler.lmtp.slots import CLOSING, DUE, Slot, State
from spooler.lmtp.stuffing import Stuffer
from spooler.lmtp.trust import Mode, Trust
from spooler.reply import Stage

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from spooler.lmtp.transaction import Transaction
    from spooler.reply import Reply

MAX_CARRIED = 8  # transactions that may wait for the same proof


class Client:
    """One connection's dialogue. Every method returns at once; not to be shared between threads."""

    def __init__(self, *, trust: Trust) -> None:
        self.trust = trust
        self.state = State.GREETING
        self.capabilities = Capabilities()
        self._reader = ReplyReader()
        self._fifo: deque[Slot] = deque((Slot(Stage.CONNECT, None, 1, 0),))
        self._open = OpenTransactions()
        self._current: Transaction | None = None  # whose envelope or body is under way
        self._lines: deque[bytes] = deque()  # its commands that wait for replies, without PIPELINING
        self._stuffer: Stuffer | None = None  # while its body is given
        self._outgoing = Outgoing()
        self._suspect = False  # a fault ended it: its last replies may be anybody's
        self.replies_read = 0
        """Replies so far, for deadlines: each is due from when the one before it was read."""

    def __repr__(self) -> str:
        due = " ".join(slot.stage for slot in self._fifo) or "nothing"
        return (
            f"<Client {self.state.value}: {due} due, {len(self._open)} open, {self._open.complete} unproven>"
        )

    # --- to look at

    @property
    def next_stage(self) -> Stage | None:
        """Stage of the reply that is due next, for its deadline; None if none is."""
        if self._fifo:
            return self._fifo[0].stage
        if self._open.complete and self._reader.pending:
            return Stage.FINAL  # half of one reply too many: the rest will tell
        return None

    @property
    def closed(self) -> bool:
        """Whether nothing more will be read or written: close the connection."""
        return self.state is State.CLOSED

    @property
    def idle(self) -> bool:
        """Whether the session may be kept: ready, and nothing unread, unsent or unproven."""
        return self.state is State.READY and not self._open and self._quiet()

    @property
    def awaiting_silence(self) -> bool:
        """Whether the last transactions are complete and lack only `silence_confirmed`."""
        return self._open.complete > 0 and self._quiet()

    @property
    def can_begin(self) -> bool:
        """Whether `begin` is allowed now."""
        if self.state is not State.READY or self._current is not None:
            return False
        if not self._open:
            return not self._fifo and not self._reader.pending
        return (
            self.capabilities.pipelining
            and len(self._open) < MAX_CARRIED
            and self.trust.may_overlap(len(self._open.newest().accepted))
        )

    @property
    def mode(self) -> Mode:
        """How the next transaction will go."""
        return self.trust.mode if self.capabilities.pipelining else Mode.LOCKSTEP

    # --- to speak

    def lhlo(self, name: str) -> None:
        """Greet the server, after Greeting."""
        if self.state is not State.HELLO or self._fifo:
            raise LocalProtocolError(f"LHLO is not due: {self!r}")
        self._outgoing.queue(commands.lhlo(name))
        self._expect(Stage.LHLO, None)

    def begin(self, transaction: Transaction) -> None:
        """Queue an envelope; raises LocalProtocolError, with nothing queued, if it must not be sent."""
        if transaction.begun or not self.can_begin:
            raise LocalProtocolError(f"no transaction may begin: {self!r}")
        group = commands.envelope(transaction, self.capabilities)
        self._open.add(transaction)
        self._current = transaction
        if self.mode is Mode.LOCKSTEP:
            self._lines.extend(group.splitlines(keepends=True))
            self._outgoing.queue(self._lines.popleft())
            self._expect(Stage.MAIL, transaction)
        else:
            self._outgoing.queue(group)
            self._expect(Stage.MAIL, transaction)
            self._expect(Stage.RCPT, transaction, len(transaction.recipients))
            self._expect(Stage.DATA, transaction)

    def body(self, data: bytes) -> None:
        """Queue a piece of the content, after GoAhead; does nothing once the server has closed."""
        if self._stuffer is not None:
            self._outgoing.queue(self._stuffer.feed(data))
        elif not self.closed:
            raise LocalProtocolError(f"no body is due: {self!r}")

    def end_body(self) -> None:
        """Queue what completes the last line, and the end-of-data; as `body`."""
        transaction, stuffer = self._current, self._stuffer
        if transaction is None or stuffer is None:
            if self.closed:
                return
            raise LocalProtocolError(f"no body is due: {self!r}")
        completion, end_of_data = stuffer.end()
        self._outgoing.queue(completion)
        self._outgoing.queue_end_of_data(end_of_data, transaction)
        self._expect(Stage.FINAL, transaction, 0)
        self._current = self._stuffer = None

    def quit(self) -> None:
        """Say goodbye; allowed where no reply and no proof is outstanding."""
        if self.state in (State.CLOSING, State.CLOSED) or self._open or self._fifo:
            raise LocalProtocolError(f"QUIT is not due: {self!r}")
        self._quit()

    def data_to_send(self) -> bytes:
        """Take all that is queued; nothing once the server has closed, so that what is SAFE stays so."""
        return b"" if self.closed else self._outgoing.take()

    def sent(self, count: int) -> None:
        """Report that the kernel (or, under TLS, the encrypted outgoing buffer) took `count` more octets.

        It must have been told of every octet before `unfinished` is asked.
        """
        self._outgoing.hand_over(count)

    # --- to listen

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
            for reply in replies:
                self._take(reply, events)
            self.replies_read += len(replies)
            if fault is not None and self.state is not State.CLOSED:
                raise fault
        except RemoteProtocolError as error:
            self._blame(str(error), events)
            raise
        return events

    def silence_confirmed(self) -> list[Event]:
        """Take note that a read without waiting found nothing; does nothing unless `awaiting_silence`."""
        events: list[Event] = []
        if self.awaiting_silence:
            self._prove(events)
        return events

    def eof(self) -> list[Event]:
        """Take note that the server closed the stream; then ask `unfinished`."""
        events = self.silence_confirmed()  # the end of the stream is the most thorough silence
        self._end()
        return events

    def deadline_passed(self) -> list[Event]:
        """Take note that the reply to `next_stage` did not come in time; then ask `unfinished`."""
        if self._fifo and self._fifo[0].stage is Stage.FINAL and self._fifo[0].read:
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

    # --- replies

    def _take(self, reply: Reply, events: list[Event]) -> None:
        """Give a reply to its slot."""
        slot = self._fifo[0] if self._fifo else None
        if slot is None or slot.at > self._outgoing.taken:
            if self.closed:
                return  # what follows a farewell does not matter
            if reply.code != CLOSING:
                raise RemoteProtocolError(f"the server sent '{reply}' where nothing was due")
            self._server_closes(None, reply, events)
            return
        stage = slot.stage
        if reply.code == CLOSING:
            self._server_closes(slot, reply, events)
            return
        if reply.code not in DUE[stage]:
            if reply.go_ahead:
                self._find_few()
            raise RemoteProtocolError(f"the server sent '{reply}' in the place of a reply to {stage}")
        if not self.trust.fits(stage, reply):
            if stage is not Stage.MAIL:
                self._find_few()
            self.trust.forget_marker()
            raise RemoteProtocolError(f"the server sent '{reply}' to {stage}: its replies are out of step")
        slot.answer(reply)
        if slot.read == slot.due:
            self._fifo.popleft()
        _THEN[stage](self, slot, reply, events)

    def _then_connect(self, slot: Slot, reply: Reply, events: list[Event]) -> None:
        if reply.positive:
            self.state = State.HELLO
            events.append(Greeting(reply))
        else:
            events.append(Refused(slot.stage, reply))

    def _then_lhlo(self, slot: Slot, reply: Reply, events: list[Event]) -> None:
        if reply.positive:
            self.state = State.READY
            self.capabilities = Capabilities.from_reply(reply)
            events.append(Ready(self.capabilities))
        else:
            events.append(Refused(slot.stage, reply))

    def _then_rset(self, _slot: Slot, reply: Reply, _events: list[Event]) -> None:
        self.trust.learn_rset(reply)

    def _then_mail(self, slot: Slot, reply: Reply, events: list[Event]) -> None:
        transaction = slot.transaction
        assert transaction is not None
        if reply.positive:
            if self._open.complete and self.trust.marker is not None:
                self._prove(events)
            if self._lines:
                self._outgoing.queue(self._lines.popleft())
                self._expect(Stage.RCPT, transaction, len(transaction.recipients))
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
        if not self._lines:
            return
        if slot.read < slot.due:
            self._outgoing.queue(self._lines.popleft())
            slot.at = self._outgoing.queued
        elif transaction.accepted:
            self._outgoing.queue(self._lines.popleft())
            self._expect(Stage.DATA, transaction)
        else:
            self._give_up(transaction)

    def _then_data(self, slot: Slot, reply: Reply, events: list[Event]) -> None:
        transaction = slot.transaction
        assert transaction is not None
        if not reply.go_ahead:
            self._give_up(transaction)
        elif transaction.accepted:
            self._prove(events)
            self._stuffer = Stuffer()
            events.append(GoAhead(transaction))
        elif transaction.mail is None or not transaction.mail.positive:
            # a dot would end whatever it holds open
            raise RemoteProtocolError(f"the server sent '{reply}' to DATA although it refused MAIL")
        else:
            # RFC 2033 section 4.2: for no recipient it owes no reply
            self._finish_envelope(transaction)
            self._prove(events)
            self._outgoing.queue(END_OF_DATA)
            self._quit()

    def _then_final(self, slot: Slot, _reply: Reply, _events: list[Event]) -> None:
        if slot.read == slot.due and slot.transaction is not None:
            self._open.finish(slot.transaction)

    def _then_quit(self, slot: Slot, reply: Reply, events: list[Event]) -> None:
        self._farewell(slot.stage, reply, events)

    def _server_closes(self, slot: Slot | None, reply: Reply, events: list[Event]) -> None:
        """421: it answers what is due, and nothing else will be answered."""
        if slot is not None:
            slot.answer(reply)
            if slot.stage is Stage.FINAL:
                self._fifo.popleft()
                self._then_final(slot, reply, events)
        events.extend(self.silence_confirmed())
        self._farewell(None if slot is None else slot.stage, reply, events)

    def _farewell(self, stage: Stage | None, reply: Reply, events: list[Event]) -> None:
        events.append(ServerClosing(stage, reply))
        self._end()

    # --- what follows

    def _finish_envelope(self, transaction: Transaction) -> None:
        """The transaction ends without a body."""
        self._open.finish(transaction)
        self._current = None
        self._lines.clear()

    def _give_up(self, transaction: Transaction) -> None:
        self._finish_envelope(transaction)
        self._outgoing.queue(commands.RSET)
        self._expect(Stage.RSET, None)

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
        if self.state is State.READY:
            self.trust.doubt(why)
        self._end()

    def _end(self) -> None:
        """Nothing more is read or written; leave to the destination's trust what there was to learn."""
        if self.closed:
            return
        self.state = State.CLOSED
        doubtful = self._open.appraise(
            sent=self._outgoing.sent, suspect=self._suspect, marked=self.trust.marker is not None
        )
        if doubtful and not self._suspect:
            self.trust.setback()
        self._fifo.clear()
        self._stuffer = self._current = None

    def _quit(self) -> None:
        self._outgoing.queue(commands.QUIT)
        self._expect(Stage.QUIT, None)
        self.state = State.CLOSING

    def _expect(self, stage: Stage, transaction: Transaction | None, due: int = 1) -> None:
        self._fifo.append(Slot(stage, transaction, due, self._outgoing.queued))

    def _quiet(self) -> bool:
        return not self._fifo and not self._reader.pending and self._outgoing.sent == self._outgoing.queued


__all__ = ["Client", "Event", "Finished", "GoAhead", "Greeting", "Ready", "Refused", "ServerClosing"]

_THEN: dict[Stage, Callable[[Client, Slot, Reply, list[Event]], None]] = {
    Stage.CONNECT: Client._then_connect,
    Stage.LHLO: Client._then_lhlo,
    Stage.RSET: Client._then_rset,
    Stage.MAIL: Client._then_mail,
    Stage.RCPT: Client._then_rcpt,
    Stage.DATA: Client._then_data,
    Stage.FINAL: Client._then_final,
    Stage.QUIT: Client._then_quit,
}
