"""One message for some of its recipients on one session, and how far it has come.

A `Transaction` is made by the caller, filled in by the client alone, and read by the caller when the
client hands it back: finished, with every reply proven to be its own, or unfinished, and then with the word
on which replies can be relied on. What a reply means is not decided here.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from spooler.envelope import BodyType, Notify
from spooler.lmtp.mode import Mode
from spooler.reply import Reply


class Recipient(msgspec.Struct, frozen=True, gc=False):
    """One address of a transaction; `orcpt` is not xtext-encoded, its type may be left out (rfc822)."""

    address: str
    notify: Notify = Notify.DEFAULT
    orcpt: str | None = None


class Transaction(msgspec.Struct, kw_only=True, eq=False):
    """An envelope and its progress. `tag` is the caller's own.

    `sender` "" is the null sender; `size` counts the octets of the content without stuffing.
    Everything below `tag` is the client's to write. `rcpt[i]` and `final[i]` are the replies to
    recipient i, None until read; `accepted` are the indices that got a positive reply to RCPT, in
    order. `data` is the reply to DATA, or the refusal of a chunk. Offsets count octets in the
    connection's outgoing stream: `begun_at` is where it begins, `end_of_data_at` the first one of the
    end-of-data, `end_of_data_end` the first one behind it; both None until it is queued.
    """

    sender: str
    recipients: Sequence[Recipient]
    size: int | None = None
    body: BodyType = BodyType.SEVEN_BIT
    smtputf8: bool = False
    envid: str | None = None
    ret: str | None = None
    tag: object = None

    mail: Reply | None = None
    rcpt: list[Reply | None] = []
    data: Reply | None = None
    final: list[Reply | None] = []
    accepted: list[int] = []
    mode: Mode = Mode.LOCKSTEP
    begun_at: int = 0
    place: int = 0
    """How many were begun before it on its session."""
    end_of_data_at: int | None = None
    end_of_data_end: int | None = None

    begun: bool = False
    """It was given to a client, and is of no use to another."""
    alone: bool = False
    """Chunked, and in probation: nothing follows it until it is proven."""
    complete: bool = False
    """Every reply due was read; whether each is its own is another question."""
    proven: bool = False
    """Complete, and every reply is its own: a marker or silence said so (invariant 6)."""
    uncertain: bool = False
    """Some octet of the end-of-data was handed over: the message may have been delivered."""
    envelope_provisional: bool = False
    """When it was given up, the replies in front of the 354 could still have been another's."""
    final_provisional: bool = False
    """When it was given up, the final replies could still have been another's."""

    def __post_init__(self) -> None:
        count = len(self.recipients)
        self.rcpt = [None] * count
        self.final = [None] * count
