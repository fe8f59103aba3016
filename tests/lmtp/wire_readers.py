"""Two servers' ears: what a client said, as a strict and as a most lenient server reads it.

They share nothing with the product, nor with each other but the shape of what they return. The lenient one
takes CR, LF and CRLF for the end of a line in any mix, so it takes LF.LF, LF.CRLF, CRLF.LF and CR.CR for the
end of the data: whatever server is that careless, or less, is covered.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field


@dataclass(slots=True)
class Heard:
    """One transaction."""

    sender: bytes
    recipients: list[bytes] = field(default_factory=list)
    content: bytes = b""
    whole: bool = False


class SmugglingError(AssertionError):
    """Something was read that no client of ours says."""


def strict(stream: bytes) -> list[Heard]:
    """Read as RFC 5321 section 4.5.2 and RFC 3030 tell: only CRLF ends a line, only CRLF.CRLF the data."""
    return _Reader(stream, re.compile(rb"\r\n")).all()


def lenient(stream: bytes) -> list[Heard]:
    """Read as carelessly as any server seen in the wild, and more."""
    return _Reader(stream, re.compile(rb"\r\n|\r|\n")).all()


class _Reader:
    def __init__(self, stream: bytes, end: re.Pattern[bytes]) -> None:
        self._stream = stream
        self._end = end
        self._at = 0

    def all(self) -> list[Heard]:
        heard: list[Heard] = []
        while self._at < len(self._stream):
            line, _ = self._line()
            verb = line.partition(b" ")[0]
            if verb == b"MAIL":
                heard.append(Heard(_path(line, b"MAIL FROM:<")))
            elif verb == b"RCPT":
                heard[-1].recipients.append(_path(line, b"RCPT TO:<"))
            elif line == b"DATA":
                self._data(heard[-1])
            elif verb == b"BDAT":
                self._chunk(heard[-1], line)
            elif line not in (b"RSET", b"QUIT"):
                raise SmugglingError(f"not ours: {line!r}")
        return heard

    def _line(self) -> tuple[bytes, bytes]:
        match = self._end.search(self._stream, self._at)
        if match is None:
            raise SmugglingError(f"no end of {self._stream[self._at :][:80]!r}")
        line = self._stream[self._at : match.start()]
        self._at = match.end()
        return line, match.group()

    def _data(self, one: Heard) -> None:
        while True:
            line, end = self._line()
            if line == b".":
                one.whole = True
                return
            one.content += (line[1:] if line.startswith(b".") else line) + end

    def _chunk(self, one: Heard, line: bytes) -> None:
        match = re.fullmatch(rb"BDAT (\d+)( LAST)?", line)
        if match is None:
            raise SmugglingError(f"not ours: {line!r}")
        size = int(match[1])
        one.content += self._stream[self._at : self._at + size]
        self._at += size
        one.whole = match[2] is not None


def _path(line: bytes, before: bytes) -> bytes:
    if not line.startswith(before):
        raise SmugglingError(f"not ours: {line!r}")
    return line[len(before) :].partition(b">")[0]
