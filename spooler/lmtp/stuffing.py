"""Dot-stuffing of a content under DATA (RFC 5321 section 4.5.2), at the speed of `bytes.replace`.

The content is CRLF-normalised (`spooler.envelope.Content`) and may come in any pieces. A dot behind a
line feed gets a second one, and nothing else changes: in normalised content every LF is the end of a
CRLF, and should one ever be bare, the doubled dot keeps a lenient server from taking `LF.LF` or
`LF.CRLF` for the end of the data (CVE-2023-51764). A content must not carry a bare CR.
"""

from __future__ import annotations

from spooler.lmtp.grammar import CRLF, END_OF_DATA


class Stuffer:
    """Stuffs one content."""

    __slots__ = ("_tail",)

    def __init__(self) -> None:
        self._tail = CRLF  # the last two octets so far: nothing sent yet is the start of a line

    def feed(self, data: bytes) -> bytes:
        """Stuff the next piece."""
        if not data:
            return data
        # most contents have none, and rfind finds that out in half the time that replace takes
        stuffed = data.replace(b"\n.", b"\n..") if data.rfind(b"\n.") >= 0 else data
        if data[0] == 0x2E and self._tail[-1] == 0x0A:
            stuffed = b"." + stuffed
        self._tail = data[-2:] if len(data) > 1 else self._tail[-1:] + data
        return stuffed

    def end(self) -> tuple[bytes, bytes]:
        """Return what completes the last line (often nothing) and, apart from it, the end-of-data."""
        if self._tail == CRLF:
            return b"", END_OF_DATA
        return (b"\n" if self._tail.endswith(b"\r") else CRLF), END_OF_DATA
