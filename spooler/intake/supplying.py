"""What a submission agent supplies where a person or a script left it out (RFC 6409 section 8).

From, Date and Message-ID, if the header lacks them, and the empty line that ends the header. What is a
header is decided by RFC 5322 section 2.2: it goes on as long as lines are fields or continue one. A first
line that is neither, such as `begin 644 x` of uuencode, begins the body, and the whole header is supplied.
The line that mbox files put in front of a message ("From ", a space behind it) is left out. Nothing else is
touched: a message that lacks nothing comes out as it went in.

Memory: the header, and a block.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import msgspec

from spooler.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

MAX_HEADER = 256 * 1024  # bytes that are looked at; real headers end long before
MAX_LINE = 1000  # bytes, its end included (RFC 5321 section 4.5.3.1.6): a name is shorter
_FIELD = re.compile(rb"([!-9;-~]+)[ \t]*:")  # with the white space that obsolete syntax allows (section 4.5)
_MBOX = b"From "
_CRLF = b"\r\n"


class Supplies(msgspec.Struct, frozen=True, kw_only=True):
    """What is put in where it is missing: each the value of its field, in the order of the header."""

    sender: str
    """From: the envelope's sender, as an address of RFC 5322."""
    date: str
    message_id: str

    def fields(self) -> tuple[tuple[bytes, bytes], ...]:
        """Return names and values."""
        return (
            (b"From", self.sender.encode()),
            (b"Date", self.date.encode()),
            (b"Message-ID", self.message_id.encode()),
        )


def author(sender: str, host: str) -> str:
    """Write an envelope's sender ("" is the null one) as From has it; `host` completes a local name.

    What envelopes are lenient about (see `spooler.address`), dots at odd places, is quoted.
    """
    if not sender:
        return f"MAILER-DAEMON@{host}"
    local, at, domain = sender.rpartition("@")
    if not at:
        local, domain = sender, host
    if "" in local.split("."):
        local = f'"{local}"'
    return f"{local}@{domain}"


def complete(blocks: Iterable[bytes], supplies: Supplies) -> Iterator[bytes]:
    """Give a message with what it lacked; an empty one stays empty.

    Raises DataError where there is no end to the header.
    """
    rest = iter(blocks)
    head = bytearray()
    end = None
    for block in rest:
        head += block
        end = _end_of_header(head)
        if end is not None:
            break
        if len(head) > MAX_HEADER:
            raise DataError(
                f"the header of the message does not end within {MAX_HEADER} bytes",
                hint="put an empty line behind it",
            )
    if not head:
        return
    if end is None:  # it ended there: its last line may lack its end
        end = _end_of_header(head + b"\n\n")
        end = len(head) if end is None else min(end, len(head))
    yield _completed(bytes(head), supplies, end)
    yield from rest


def _completed(head: bytes, supplies: Supplies, end: int) -> bytes:
    """Complete a header that ends at `end`, in front of its empty line or of a body without one."""
    start = _behind_mbox_line(head)
    header, body = head[start:end], head[end:]
    if header and not header.endswith(b"\n"):
        header += _CRLF
    known = {match[1].lower() for line in header.split(b"\n") if (match := _FIELD.match(line))}
    supplied = b"".join(
        b"%b: %b\r\n" % (name, value) for name, value in supplies.fields() if name.lower() not in known
    )
    return header + supplied + (b"" if _is_empty(body) else _CRLF) + body


def _end_of_header(head: bytearray) -> int | None:
    """Find where the header ends, None if that is not to be seen yet."""
    at = first = _behind_mbox_line(head)
    if head.startswith(_MBOX) and head.count(b"\n", 0, 2 * MAX_LINE) < 2 and len(head) < 2 * MAX_LINE:
        return None
    while True:
        newline = head.find(b"\n", at)
        line = head[at : newline if newline >= 0 else None]
        if newline < 0 and len(line) < MAX_LINE:
            return None
        continues = at > first and line.startswith((b" ", b"\t"))
        if not continues and not _FIELD.match(line):
            return at
        if newline < 0:
            return None
        at = newline + 1


def _behind_mbox_line(head: bytes | bytearray) -> int:
    """Return where the message itself begins: behind a line of an mbox file, if a field follows it."""
    if not head.startswith(_MBOX):
        return 0
    behind = head.find(b"\n") + 1
    return behind if behind and _FIELD.match(head, behind) else 0


def _is_empty(body: bytes) -> bool:
    """Whether it begins with an empty line."""
    return body.startswith((b"\n", _CRLF))
