"""Content behind DATA as it arrives: where it ends, and its dots unstuffed.

RFC 5321 sections 4.1.1.4 and 4.5.2. The end is CRLF "." CRLF and nothing else, across any cut; the CRLF
before the dot belongs to the content. Bare CR and LF are content like everything else. Nothing is done per
line: a block costs a search, and a replacement where a line begins with a dot.
"""

from __future__ import annotations

_END = b"\r\n.\r\n"
_BEGUN_ENDS = (b"\r\n.\r", b"\r\n.", b"\r\n", b"\r")  # what a block may end with of `_END`
_DOT = 46


class Unstuffer:
    """Reads one content; `complete` once its end was seen."""

    def __init__(self) -> None:
        self.complete = False
        self._begun = False

    def read(self, buffer: bytes, at: int) -> tuple[bytes, int]:
        """Read on from `at`: return content, b"" if there is none yet, and up to where it was read.

        What is left (at most 4 bytes before the end is seen) is to be given again with what follows.
        """
        if not self._begun:
            # the CRLF of the DATA command stands before the first byte: a dot there is stuffed, or the end
            head = buffer[at : at + 3]
            if head == b".\r\n":
                self.complete = True
                return b"", at + 3
            if head in (b"", b".", b".\r"):
                return b"", at
            self._begun = True
            at += head[0] == _DOT
        end = buffer.find(_END, at)
        if end >= 0:
            self.complete = True
            stop, after = end + 2, end + len(_END)
        else:
            stop = len(buffer) - next((len(tail) for tail in _BEGUN_ENDS if buffer.endswith(tail, at)), 0)
            after = stop
        data = buffer[at:stop]
        # in what is not the end every CRLF "." is a stuffed dot, and no two of them overlap
        return data.replace(b"\r\n.", b"\r\n") if b"\r\n." in data else data, after
