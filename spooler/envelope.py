"""What is handed in: messages, recipients and their options, before and while they are queued.

Times are int64 microseconds UTC. Addresses have been validated by `spooler.address`.
"""

from __future__ import annotations

from enum import IntEnum, IntFlag, StrEnum

import msgspec

DEFAULT_ROUTE = "default"
DEFAULT_LIFETIME = 5 * 24 * 3600 * 1_000_000  # µs: five days, as RFC 5321 section 4.5.4.1 advises
CHUNK_SIZE = 256 * 1024  # bytes: the most that one content chunk holds


class BodyType(StrEnum):
    """BODY= of RFC 6152: whether any byte of the content is above 127."""

    SEVEN_BIT = "7bit"
    EIGHT_BIT = "8bitmime"


class Priority(IntEnum):
    """Class of a message: a lower number is served first, none is starved."""

    URGENT = 0
    NORMAL = 1
    BULK = 2
    IDLE = 3


class Notify(IntFlag):
    """NOTIFY= of RFC 3461 section 4.1; DEFAULT where the sender said nothing."""

    DEFAULT = 0
    NEVER = 1
    SUCCESS = 2
    FAILURE = 4
    DELAY = 8


class NewRecipient(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One recipient to queue."""

    address: str
    route: str = DEFAULT_ROUTE
    notify: Notify = Notify.DEFAULT
    orcpt: str | None = None


class Content(msgspec.Struct, frozen=True, kw_only=True):
    """A content as it is stored: CRLF line ends, no bare CR or LF, no NUL.

    `stored` is the id of a content whose chunks are already in the spool (large contents are
    streamed in first); else `data` is the whole content of at most `CHUNK_SIZE` bytes.
    `size` (bytes) and `sha256` (lower-case hexadecimal) are of the bytes as stored. The three counts
    tell what normalisation mended (LF without CR, CR without LF) or kept (lines of over 998 bytes).
    """

    size: int
    sha256: str
    body: BodyType
    data: bytes = b""
    stored: int | None = None
    bare_lf: int = 0
    bare_cr: int = 0
    long_lines: int = 0


class ImportIdentity(msgspec.Struct, frozen=True, gc=False):
    """Where an imported message came from, so that it is not imported twice."""

    source: str
    offset: int
    digest: str


class NewMessage(msgspec.Struct, frozen=True, kw_only=True):
    """One message to put into the spool; `sender` "" is the null sender.

    `expires` None means `DEFAULT_LIFETIME` after the later of created and `not_before`.
    """

    sender: str
    recipients: tuple[NewRecipient, ...]
    content: Content
    smtputf8: bool = False
    priority: Priority = Priority.NORMAL
    envid: str | None = None
    ret: str | None = None
    job: str = ""
    tenant: str = ""
    not_before: int | None = None
    expires: int | None = None
    idempotency_key: str | None = None
    origin: ImportIdentity | None = None


class Enqueued(msgspec.Struct, frozen=True, gc=False):
    """The spool's answer, after its commit: the id, and whether it was there already
    (same tenant and idempotency key, or same import identity)."""

    id: int
    duplicate: bool
