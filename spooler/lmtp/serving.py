"""What the server role has to tell, its states, bounds and answers: the tables of `spooler.lmtp.server`."""

from __future__ import annotations

from enum import Enum, auto

import msgspec

from spooler.lmtp.arguments import MailParameters, RcptParameters
from spooler.reply import Stage

CAPABILITIES = ("PIPELINING", "CHUNKING", "8BITMIME", "SMTPUTF8", "ENHANCEDSTATUSCODES", "DSN", "SIZE")


class ServerLimits(msgspec.Struct, frozen=True, kw_only=True):
    """Bounds: a command line in bytes with its CRLF, faults of syntax since the last content, and the
    content in bytes (0: none)."""

    line: int = 2048
    errors: int = 20
    size: int = 0


class Lhlo(msgspec.Struct, frozen=True, gc=False):
    """LHLO, or EHLO or HELO in SMTP; it also ends an open transaction. An answer is owed."""

    name: str


class MailFrom(msgspec.Struct, frozen=True, gc=False):
    """MAIL; "" is the null sender. An answer is owed."""

    sender: str
    parameters: MailParameters


class RcptTo(msgspec.Struct, frozen=True, gc=False):
    """RCPT. An answer is owed."""

    address: str
    parameters: RcptParameters


class DataStarted(msgspec.Struct, frozen=True, gc=False):
    """DATA, with at least one accepted recipient. 354 or a refusal is owed."""


class ChunkStarted(msgspec.Struct, frozen=True, gc=False):
    """BDAT, with at least one accepted recipient. Nothing is owed: the role answers all but the last."""

    size: int
    last: bool


class Content(msgspec.Struct, frozen=True, gc=False):
    """The next part of the content, dots unstuffed behind DATA."""

    data: bytes


class EndOfContent(msgspec.Struct, frozen=True, gc=False):
    """The content is complete; `replies` answers are owed.

    `size` is the unstuffed content's, in bytes; `too_big`: over the limit, and not given out in full.
    """

    size: int
    replies: int
    too_big: bool


class Reset(msgspec.Struct, frozen=True, gc=False):
    """RSET: the open transaction, if any, is gone. Answered already."""


class StartTls(msgspec.Struct, frozen=True, gc=False):
    """STARTTLS. Answered already: send that, agree on TLS, and call `secured`."""


class Quit(msgspec.Struct, frozen=True, gc=False):
    """QUIT. Answered already; the connection is to be closed."""


Event = (
    Lhlo | MailFrom | RcptTo | DataStarted | ChunkStarted | Content | EndOfContent | Reset | StartTls | Quit
)


class State(Enum):
    """Where the dialogue stands."""

    CONNECTED = auto()
    START = auto()
    """Greeted; LHLO is awaited."""
    REFUSED = auto()
    """The greeting refused: only QUIT is served (RFC 5321 section 3.1)."""
    READY = auto()
    MAIL = auto()
    """In a transaction without accepted recipients."""
    RCPT = auto()
    """In a transaction with accepted recipients."""
    CONTENT = auto()
    CHUNK = auto()
    """In the octets of a chunk."""
    SECURING = auto()
    """STARTTLS was answered: nothing is read before TLS stands."""
    CLOSED = auto()


OUT_OF_ORDER: dict[State, dict[bytes, str]] = {
    State.START: dict.fromkeys((b"MAIL", b"RCPT", b"DATA", b"STARTTLS"), "say hello first"),
    State.READY: dict.fromkeys((b"RCPT", b"DATA"), "MAIL comes first"),
    State.MAIL: {
        b"MAIL": "a transaction is open already",
        b"DATA": "no valid recipients",
        b"STARTTLS": "a transaction is open",
    },
    State.RCPT: {b"MAIL": "a transaction is open already", b"STARTTLS": "a transaction is open"},
}

ACCEPT: dict[Stage, tuple[int, str, str]] = {
    Stage.MAIL: (250, "2.1.0", "sender ok"),
    Stage.RCPT: (250, "2.1.5", "recipient ok"),
    Stage.DATA: (354, "", "end with a line that holds a dot alone"),
    Stage.FINAL: (250, "2.0.0", "delivered"),
}
