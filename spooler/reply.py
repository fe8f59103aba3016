"""Replies and the stages they belong to: the vocabulary of the dialogue.

Sources: RFC 5321 section 4.2 (replies), RFC 3463 and RFC 2034 (enhanced status codes), RFC 2033.
"""

from __future__ import annotations

from enum import StrEnum

import msgspec


class Stage(StrEnum):
    """Where in a dialogue something happened."""

    LOCAL = "local"
    """Before or without any dialogue: a rule of ours, expiry, a person's command."""
    CONNECT = "connect"
    """Name look-up, connection, greeting."""
    LHLO = "lhlo"
    STARTTLS = "starttls"
    AUTH = "auth"
    RSET = "rset"
    MAIL = "mail"
    RCPT = "rcpt"
    DATA = "data"
    """The DATA command and its 354; BDAT's intermediate chunks."""
    BODY = "body"
    """The content on its way: nothing of the end-of-data was handed over."""
    FINAL = "final"
    """The reply that each accepted recipient gets after the end-of-data (RFC 2033 section 4.2)."""
    QUIT = "quit"


class Reply(msgspec.Struct, frozen=True, gc=False):
    """One reply of the server.

    `code` is the three digits; `enhanced` is "2.1.5", or "" where the first line carried none or one
    of a class that contradicts the code; `lines` are the texts behind the codes, one a line, safe to
    print and store (no control characters, valid Unicode).
    """

    code: int
    enhanced: str
    lines: tuple[str, ...]
    positive: bool = False
    """Whether the command was done (2yz); follows from the code, and is asked for eight times a message."""

    def __post_init__(self) -> None:
        msgspec.structs.force_setattr(self, "positive", 200 <= self.code < 300)

    @property
    def text(self) -> str:
        """All lines as one."""
        return " ".join(line for line in self.lines if line)

    @property
    def go_ahead(self) -> bool:
        """Whether the server waits for more (3yz)."""
        return 300 <= self.code < 400

    @property
    def temporary(self) -> bool:
        """Whether trying again may help (4yz)."""
        return 400 <= self.code < 500

    @property
    def permanent(self) -> bool:
        """Whether the server refuses for good (5yz)."""
        return 500 <= self.code < 600

    @property
    def ends_session(self) -> bool:
        """Whether a refusal is about the session: it closes (421), or had its share of messages (4.4.5).

        RFC 3463 section 3.5 calls 4.4.5 congestion; Stalwart says it to MAIL when a session had enough.
        """
        return self.code == 421 or (self.enhanced == "4.4.5" and self.temporary)

    def __str__(self) -> str:
        return " ".join(part for part in (str(self.code), self.enhanced, self.text) if part)
