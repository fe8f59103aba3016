r"""The client role of LMTP (RFC 2033) without I/O: octets in, events out; envelopes in, octets out.

How it works
------------
Whoever queues a command appends a *slot* to a FIFO: a stage, a transaction, how many replies are due.
A reply belongs to the slot at the head, always, and the slot goes when its last reply is read. So
three questions have one answer each: what a reply is for (the head), what is waited for (`next_stage`:
the head), whether the session may be kept (`idle`: an empty FIFO, nothing open). A slot knows the
offset behind its command in the outgoing stream; a reply to what was not even taken out is a fault.
What may stand in a slot is a table in `spooler.lmtp.slots`, what follows from it one in
`spooler.lmtp.listener`; what comes before mail (STARTTLS, AUTH) is in `spooler.lmtp.preamble`, how
transactions and the dialogue end in `spooler.lmtp.ending`.

    GREETING --220--> HELLO --LHLO, 250--> READY --QUIT--> CLOSING
        \________________\___________________\________________\__ 421, fault, eof, 221 --> CLOSED

A transaction goes through the FIFO as MAIL, RCPT (one slot, n replies), DATA, and once the caller has
given the body as FINAL, whose replies are counted when it comes to the head: one for each accepted
recipient (RFC 2033 section 4.2). With PIPELINING the first three are queued as one group; without,
each command when the reply to the one before is read. A transaction that ends without end-of-data is
followed by RSET, because a server may keep it open and take the next MAIL for a nested one (RFC 5321
section 4.1.4), and the next one's recipients for this one's. While others wait for their proof it is
held until a read finds nothing: a server that takes it for content must not get it.

Where trust allows it, chunks (RFC 3030) take the place of DATA, and nothing is waited for: the body is
due at once (`body_due`), and many transactions are in flight, bounded by `depth` and `WINDOW`:

    MAIL RCPT* BDAT LAST RSET  MAIL RCPT* BDAT LAST RSET  ...

So each but the first is led by RSET, and the last of a burst ends with a command that is answered. A
last chunk for nobody gets one refusal (Dovecot 2.3) or no reply (RFC 2033 section 4.3); RSET is never
refused, so what comes tells. The last of several chunks is sent only when the others were taken: what
a server says to it after a refusal is nowhere written.

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
   None is the marker, so none answers a MAIL, and no other reply can come before that one's (behind
   chunks RSET's does: none may look like that, and where they are several that must be there too).
Nothing follows an end-of-data until trust allows it, and then one envelope at most (but for chunks).
No more transactions begin on a session than the destination is known to allow (`spooler.lmtp.limits`).
A refused transaction gives no marker: its proof, and that of those before it, is carried forward,
eight at most (`depth` of chunked ones).

Offsets count octets from the first one queued. *Taken* is what `data_to_send` gave out, *sent* is what
the caller reported. Each question goes by the more careful one: a reply is final only if its
end-of-data was taken; silence proves only what was sent whole.

Limits: deadlines, and what a reply means, are the caller's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from spooler.lmtp import commands
from spooler.lmtp.body import ChunkedBody
from spooler.lmtp.errors import LocalProtocolError
from spooler.lmtp.listener import Listener
from spooler.lmtp.mode import Mode
from spooler.lmtp.slots import State
from spooler.reply import Stage

if TYPE_CHECKING:
    from spooler.lmtp.transaction import Transaction
    from spooler.lmtp.trust import Trust

MAX_CARRIED = 8  # transactions that may wait for the same proof
DEPTH = 16  # chunked transactions in flight: on a line of 20 ms more gains little, and each may be doubled
WINDOW = 1024 * 1024  # octets in flight beyond which no chunked transaction begins
# members of enums by a name of their own: to look one up in its class takes five times as long (Python 3.11)
_BODY, _DATA, _FINAL, _MAIL, _RCPT = Stage.BODY, Stage.DATA, Stage.FINAL, Stage.MAIL, Stage.RCPT
_CLOSED, _CLOSING, _READY = State.CLOSED, State.CLOSING, State.READY
_CHUNKED, _LOCKSTEP, _PIPELINED = Mode.CHUNKED, Mode.LOCKSTEP, Mode.PIPELINED


class Client(Listener):
    """One connection's dialogue. Every method returns at once; not to be shared between threads."""

    def __init__(self, *, trust: Trust) -> None:
        super().__init__(trust=trust)
        self.depth = DEPTH
        """Most chunked transactions in flight; the caller may change it at any time."""

    # --- to look at

    @property
    def next_stage(self) -> Stage | None:
        """Stage of the reply that is due next, for its deadline; None if none is."""
        if self._fifo:
            return self._fifo[0].stage
        if self._open.complete and self._reader.pending:
            return _FINAL  # half of one reply too many: the rest will tell
        return None

    @property
    def idle(self) -> bool:
        """Whether the session may be kept: ready, and nothing unread, unsent or unproven."""
        return self.state is _READY and not self._open and self._quiet()

    @property
    def can_begin(self) -> bool:
        """Whether `begin` is allowed now."""
        if self.state is not _READY or self._current is not None or self._reset_held:
            return False
        begun = self._open.order
        if not self._served.may_begin(alone=not begun):
            return False
        if not begun:
            return not self._fifo and not self._reader.pending
        mode, newest = self.mode, begun[-1]
        if mode is _LOCKSTEP or newest.alone:
            return False
        if newest.mode is not _CHUNKED and not self.trust.may_overlap(len(newest.accepted)):
            return False
        if mode is _CHUNKED:
            return len(begun) < self.depth and self.in_flight < WINDOW
        return len(begun) < MAX_CARRIED

    @property
    def worn(self) -> bool:
        """Whether the server allows no more transactions on this session: quit it."""
        return self._served.over

    @property
    def open(self) -> int:
        """How many transactions are begun and not finished."""
        return len(self._open.order)

    @property
    def in_flight(self) -> int:
        """Octets from where the first open transaction began."""
        return self._outgoing.queued - self._open.order[0].begun_at if self._open.order else 0

    @property
    def body_due(self) -> Transaction | None:
        """The transaction whose body, or the rest of it, is to be given now."""
        return self._current if self._body is not None else None

    @property
    def chunks_unanswered(self) -> bool:
        """Whether `end_body` must wait for the replies to chunks."""
        return self._body is not None and bool(self._fifo) and self._fifo[-1].stage is _BODY

    @property
    def ends_unsent(self) -> bool:
        """Whether an end-of-data is queued of which no octet was handed over yet."""
        return self._outgoing.ends_unsent

    @property
    def mode(self) -> Mode:
        """How the next transaction will go."""
        if not self.capabilities.pipelining:
            return _LOCKSTEP
        if self.capabilities.chunking and self.trust.may_chunk:
            return _CHUNKED
        return min(self.trust.mode, _PIPELINED)

    # --- to speak

    def begin(self, transaction: Transaction) -> None:
        """Queue an envelope; raises LocalProtocolError, with nothing queued, if it must not be sent."""
        if transaction.begun or not self.can_begin:
            raise LocalProtocolError(f"no transaction may begin: {self!r}")
        group = commands.envelope(transaction, self.capabilities)
        mode = transaction.mode = self._last_mode = self.mode
        if not self._open.order:
            self._marker = None
        if mode is _CHUNKED:
            self._begin_chunked(transaction)
        transaction.begun_at = self._outgoing.queued
        transaction.place = self._served.begun
        self._served.begin()
        self._open.add(transaction)
        self._current = transaction
        if mode is _LOCKSTEP:
            self._lines.extend((group + commands.DATA).splitlines(keepends=True))
            self._outgoing.queue(self._lines.popleft())
            self._expect(_MAIL, transaction)
            return
        self._outgoing.queue(group)
        if mode is _PIPELINED:
            self._outgoing.queue(commands.DATA)
        self._expect(_MAIL, transaction)
        self._expect(_RCPT, transaction, len(transaction.recipients))
        if mode is _PIPELINED:
            self._expect(_DATA, transaction)

    def _begin_chunked(self, transaction: Transaction) -> None:
        self._body = ChunkedBody(self._outgoing)
        self._marker = self._known_marker
        if not self.trust.may_overlap(len(transaction.recipients), _CHUNKED):
            transaction.alone = True
            self._reset(None)

    def body(self, data: bytes) -> None:
        """Queue a piece of the content (256 KiB at most, for each may become a chunk) while `body_due`.

        Does nothing once the server has closed.
        """
        if self._body is not None:
            if self._body.give(data):
                self._expect(_BODY, self._current)
        elif not self.closed:
            raise LocalProtocolError(f"no body is due: {self!r}")

    def end_body(self) -> None:
        """Queue what completes the content, and the end-of-data; as `body`, but not `chunks_unanswered`."""
        transaction, body = self._current, self._body
        if transaction is None or body is None or self.chunks_unanswered:
            if self.closed:
                return
            raise LocalProtocolError(f"no end of a body is due: {self!r}")
        body.end(transaction)
        self._expect(_FINAL, transaction, 0)
        self._current = self._body = None
        if transaction.mode is _CHUNKED and not transaction.alone:
            self._reset(transaction)

    def quit(self) -> None:
        """Say goodbye; allowed where no reply and no proof is outstanding."""
        if self.state in (_CLOSING, _CLOSED) or self._open or self._fifo:
            raise LocalProtocolError(f"QUIT is not due: {self!r}")
        self._quit()

    def data_to_send(self) -> bytes:
        """Take a burst of what is queued, b"" if there is none: call again after it was sent.

        Nothing comes once the server has closed, so that what is SAFE stays so.
        """
        outgoing = self._outgoing
        if outgoing.taken == outgoing.queued or self.state is _CLOSED:
            return b""
        return outgoing.take()

    def sent(self, count: int) -> None:
        """Report that the kernel (or, under TLS, the encrypted outgoing buffer) took `count` more octets.

        It must have been told of every octet before `unfinished` is asked.
        """
        self._outgoing.hand_over(count)
