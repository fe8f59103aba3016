"""The tables of the client role: its states, the replies that are due, and what may stand in their place."""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING

import msgspec

from spooler.lmtp.mode import Mode
from spooler.lmtp.transaction import Transaction
from spooler.reply import Reply, Stage

if TYPE_CHECKING:
    from collections.abc import Sequence

CLOSING = 421  # RFC 5321 section 3.8: may come at any time
GO_AHEAD = 354
CHALLENGE = 334  # RFC 4954 section 4: AUTH goes on
BAD_SEQUENCE = 503  # RFC 5321 section 3.3: RCPT without MAIL

_DONE = frozenset(range(200, 260)) - {220, 221}  # neither a greeting nor a farewell is anybody's success
_REFUSED = frozenset(range(400, 560))

DUE: dict[Stage, frozenset[int]] = {
    Stage.CONNECT: _REFUSED | {220},
    Stage.LHLO: _REFUSED | _DONE,
    Stage.STARTTLS: _REFUSED | {220},
    Stage.AUTH: _REFUSED | {235, CHALLENGE},
    Stage.RSET: _DONE,  # RFC 5321 section 4.1.1.5: it is never refused
    Stage.MAIL: _REFUSED | _DONE,
    Stage.RCPT: _REFUSED | _DONE,
    Stage.DATA: _REFUSED | {GO_AHEAD},
    Stage.BODY: _REFUSED | _DONE,  # a chunk that is not the last
    Stage.FINAL: _REFUSED | _DONE,
    Stage.QUIT: frozenset(range(200, 560)),  # nothing depends on it any more
}
"""Codes that may stand in a slot; any other is a fault of the server's (421 is looked at before)."""

# members of enums by a name of their own: to look one up in its class takes five times as long (Python 3.11)
_BODY, _DATA, _FINAL = Stage.BODY, Stage.DATA, Stage.FINAL
_MAIL, _RCPT, _RSET = Stage.MAIL, Stage.RCPT, Stage.RSET
_CHUNKED = Mode.CHUNKED


class State(Enum):
    """Of the connection."""

    GREETING = "greeting"
    HELLO = "hello"
    READY = "ready"
    CLOSING = "closing"
    """QUIT is on its way, nothing else may be sent."""
    CLOSED = "closed"
    """Nothing more is read or written: close the connection."""


class Slot(msgspec.Struct, eq=False, gc=False):
    """Replies that are due to one command, or to the recipients of one transaction.

    `due` 0 means: as many as recipients are accepted when the first is answered. `at` is the
    offset behind the command in the outgoing stream. RSET has the transaction that it follows where
    more was sent behind it at once.
    """

    stage: Stage
    transaction: Transaction | None
    due: int
    at: int
    read: int = 0

    @property
    def for_nobody(self) -> bool:
        """Whether it is the end of chunks that no recipient was accepted for."""
        return self.stage is _FINAL and self.transaction is not None and not self.transaction.accepted

    def misplaced(self, reply: Reply, rset: Reply | None) -> bool:
        """Whether a reply of a right class shows all the same that chunks are answered out of step."""
        transaction, stage = self.transaction, self.stage
        if transaction is None or transaction.mode is not _CHUNKED:
            return False
        if stage is _RSET:
            return reply != rset
        if stage is _RCPT:
            refused = transaction.mail is not None and not transaction.mail.positive
            return refused and reply.code != BAD_SEQUENCE
        return stage is _FINAL and reply.code == BAD_SEQUENCE

    def answer_several(self, replies: Sequence[Reply]) -> None:
        """Give positive replies, as many as are due at the most, to the recipients they are for."""
        transaction = self.transaction
        assert transaction is not None
        first, last = self.read, self.read + len(replies)
        if self.stage is _RCPT:
            transaction.rcpt[first:last] = replies
            transaction.accepted.extend(range(first, last))
        else:
            assert self.stage is _FINAL
            for i, reply in zip(transaction.accepted[first:last], replies, strict=True):
                transaction.final[i] = reply
        self.read = last

    def answer(self, reply: Reply) -> None:
        """Give a reply to its recipient or transaction: but for `answer_several` the only place that does."""
        transaction, stage = self.transaction, self.stage
        if transaction is not None:
            if stage is _FINAL:
                if self.due == 0:
                    self.due = len(transaction.accepted)
                transaction.final[transaction.accepted[self.read]] = reply
            elif stage is _RCPT:
                transaction.rcpt[self.read] = reply
            elif stage is _MAIL:
                transaction.mail = reply
            elif stage is _DATA or (stage is _BODY and not reply.positive):
                transaction.data = transaction.data or reply
        self.read += 1
