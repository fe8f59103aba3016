"""The part of the client role that comes before mail: greeting, LHLO, STARTTLS (RFC 3207), AUTH (RFC 4954).

    GREETING --220--> HELLO --LHLO, 250--> READY --AUTH, 235--> READY
                        ^                    |
                        |______ 220 _________| STARTTLS

Nothing may be in flight around STARTTLS: what a server, or somebody between, sent behind its 220 in plain
text would be taken for words said under TLS (CVE-2011-0411), so a single octet of it is a fault. What was
offered before TLS is forgotten (RFC 3207 section 4.2). What is said when is decided in
`spooler.lmtp.opening`.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from spooler.lmtp import commands
from spooler.lmtp.capabilities import Capabilities
from spooler.lmtp.errors import LocalProtocolError, RemoteProtocolError
from spooler.lmtp.events import Authenticated, Challenge, Greeting, Ready, Refused, TlsDue
from spooler.lmtp.outgoing import Outgoing
from spooler.lmtp.replies import ReplyReader
from spooler.lmtp.slots import CHALLENGE, Slot, State
from spooler.reply import Stage

if TYPE_CHECKING:
    from spooler.lmtp.events import Event
    from spooler.lmtp.transaction import Transaction
    from spooler.reply import Reply


class Preamble:
    """What `spooler.lmtp.ending` builds on."""

    def __init__(self) -> None:
        self.state = State.GREETING
        self.capabilities = Capabilities()
        self._reader = ReplyReader()
        self._outgoing = Outgoing()
        self._fifo: deque[Slot] = deque((Slot(Stage.CONNECT, None, 1, 0),))
        self._tls_due = False  # nothing may be heard until the next LHLO was said

    # --- to speak

    def lhlo(self, name: str) -> None:
        """Greet the server, after Greeting, and again when TLS stands."""
        if self.state is not State.HELLO or self._fifo:
            raise LocalProtocolError(f"LHLO is not due: {self!r}")
        self._tls_due = False
        self._outgoing.queue(commands.lhlo(name))
        self._expect(Stage.LHLO, None)

    def starttls(self) -> None:
        """Ask for TLS; TlsDue or Refused follows."""
        if self.state is not State.READY or self._fifo or not self.capabilities.starttls:
            raise LocalProtocolError(f"STARTTLS is not due: {self!r}")
        self._outgoing.queue(commands.STARTTLS)
        self._expect(Stage.STARTTLS, None)

    def authenticate(self, line: bytes) -> None:
        """Say AUTH, or the answer to a Challenge, without the line's end; a Challenge may follow.

        Else Authenticated or Refused does.
        """
        if self.state is not State.READY or self._fifo:
            raise LocalProtocolError(f"AUTH is not due: {self!r}")
        self._outgoing.queue(commands.auth(line))
        self._expect(Stage.AUTH, None)

    def _expect(self, stage: Stage, transaction: Transaction | None, due: int = 1) -> None:
        self._fifo.append(Slot(stage, transaction, due, self._outgoing.queued))

    # --- to hear

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

    def _then_starttls(self, slot: Slot, reply: Reply, events: list[Event]) -> None:
        if not reply.positive:
            events.append(Refused(slot.stage, reply))
            return
        if self._reader.pending:
            raise RemoteProtocolError("octets in plain text follow the reply to STARTTLS")
        self.state = State.HELLO
        self.capabilities = Capabilities()
        self._tls_due = True
        events.append(TlsDue())

    def _then_auth(self, slot: Slot, reply: Reply, events: list[Event]) -> None:
        if reply.positive:
            events.append(Authenticated(reply))
        elif reply.code == CHALLENGE:
            events.append(Challenge(reply))
        else:
            events.append(Refused(slot.stage, reply))
