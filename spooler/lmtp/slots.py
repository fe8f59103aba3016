"""The tables of the client role: its states, the replies that are due, and what may stand in their place."""

from __future__ import annotations

from enum import Enum

import msgspec

from spooler.lmtp.transaction import Transaction
from spooler.reply import Reply, Stage

CLOSING = 421  # RFC 5321 section 3.8: may come at any time
GO_AHEAD = 354

_DONE = frozenset(range(200, 260)) - {220, 221}  # neither a greeting nor a farewell is anybody's success
_REFUSED = frozenset(range(400, 560))

DUE: dict[Stage, frozenset[int]] = {
    Stage.CONNECT: _REFUSED | {220},
    Stage.LHLO: _REFUSED | _DONE,
    Stage.RSET: _DONE,  # RFC 5321 section 4.1.1.5: it is never refused
    Stage.MAIL: _REFUSED | _DONE,
    Stage.RCPT: _REFUSED | _DONE,
    Stage.DATA: _REFUSED | {GO_AHEAD},
    Stage.FINAL: _REFUSED | _DONE,
    Stage.QUIT: frozenset(range(200, 560)),  # nothing depends on it any more
}
"""Codes that may stand in a slot; any other is a fault of the server's (421 is looked at before)."""


class State(Enum):
    """Of the connection."""

    GREETING = "greeting"
    HELLO = "hello"
    READY = "ready"
    CLOSING = "closing"
    """QUIT is on its way, nothing else may be sent."""
    CLOSED = "closed"
    """Nothing more is read or written: close the connection."""


class Slot(msgspec.Struct, eq=False):
    """Replies that are due to one command, or to the recipients of one transaction.

    `due` 0 means: as many as recipients are accepted when the slot comes to the head. `at` is the
    offset behind the command in the outgoing stream.
    """

    stage: Stage
    transaction: Transaction | None
    due: int
    at: int
    read: int = 0

    def answer(self, reply: Reply) -> None:
        """Give a reply to its recipient or transaction: the only place that does."""
        transaction, stage = self.transaction, self.stage
        if transaction is not None:
            if stage is Stage.FINAL:
                if self.due == 0:
                    self.due = len(transaction.accepted)
                transaction.final[transaction.accepted[self.read]] = reply
            elif stage is Stage.RCPT:
                transaction.rcpt[self.read] = reply
            elif stage is Stage.MAIL:
                transaction.mail = reply
            else:
                transaction.data = reply
        self.read += 1
