"""The dialogue as a person may see it: octets of both sides in, lines out.

Contents are told by their size alone, and what goes on in AUTH behind the mechanism's name is masked, both
sides of it: a challenge may be turned into a guess at the secret, and a refusal may quote it. What was sent
is read with what the server answered: behind DATA comes content if, and only if, it said 354. Nothing here
decides anything.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from spooler.dialogue import Direction
from spooler.lmtp.grammar import CRLF
from spooler.lmtp.masking import MASK, Said
from spooler.lmtp.slots import CHALLENGE, GO_AHEAD
from spooler.lmtp.unstuff import Unstuffer

if TYPE_CHECKING:
    from spooler.dialogue import Overhear

_AUTH = re.compile(rb"(AUTH +[^ ]+)(?: +([^ ].*))?", re.IGNORECASE | re.DOTALL)
_BDAT = re.compile(rb"BDAT +([0-9]{1,18})(?: +LAST)? *", re.IGNORECASE)
_MOST = 100_000  # octets of a line that has not ended: more are told in pieces


class Overhearing:
    """One connection's."""

    def __init__(self, tell: Overhear) -> None:
        self._tell = tell
        self._sent = b""
        self._received = b""
        self._asked_data = False  # DATA was said, and not answered
        self._content: Unstuffer | None = None
        self._size = 0  # octets of content so far
        self._chunk = 0  # octets of a chunk to come
        self._in_auth = False
        self._said = Said()

    def note(self, text: str) -> None:
        """Tell of something that neither side said."""
        self._tell(Direction.NOTE, text)

    def sent(self, data: bytes) -> None:
        """Take what was handed over."""
        self._sent += data
        while self._sent:
            if self._content is not None:
                if not self._read_content(self._content):
                    return
            elif self._chunk:
                taken = min(self._chunk, len(self._sent))
                self._sent = self._sent[taken:]
                self._chunk -= taken
            else:
                line, end, rest = self._sent.partition(CRLF)
                if not end and len(line) < _MOST:
                    return
                self._sent = rest
                self._command(line)

    def received(self, data: bytes) -> None:
        """Take what was read."""
        self._received += data
        while True:
            line, end, rest = self._received.partition(CRLF)
            if not end and len(line) < _MOST:
                return
            self._received = rest
            self._reply(line)

    def _command(self, line: bytes) -> None:
        auth = _AUTH.fullmatch(line)
        chunk = _BDAT.fullmatch(line)
        if auth is not None:
            self._in_auth, self._said = True, Said()
            if auth[2]:
                self._said.add(auth[2])
            self._say(Direction.SENT, auth[1] + (f" {MASK}".encode() if auth[2] else b""))
            return
        if self._in_auth:
            self._said.add(line)
        self._say(Direction.SENT, MASK.encode() if self._in_auth else line)
        self._asked_data = line.upper() == b"DATA"
        if chunk is not None:
            self._chunk = int(chunk[1])
            self._summarise(self._chunk)

    def _reply(self, line: bytes) -> None:
        code, last = line[:3], line[3:4] != b"-"
        challenge = self._in_auth and code == str(CHALLENGE).encode()
        self._say(Direction.RECEIVED, b"%b %b" % (code, MASK.encode()) if challenge else line)
        if self._in_auth and last and not challenge:
            self._in_auth = False
        if self._asked_data and last and code == str(GO_AHEAD).encode():
            self._asked_data = False
            self._content, self._size = Unstuffer(), 0

    def _read_content(self, content: Unstuffer) -> bool:
        """Read on in a content; whether its end was there."""
        data, at = content.read(self._sent, 0)
        self._size += len(data)
        self._sent = self._sent[at:]
        if content.complete:
            self._content = None
            self._summarise(self._size)
            self._tell(Direction.SENT, ".")
        return content.complete

    def _summarise(self, octets: int) -> None:
        self._tell(Direction.SENT, f"({octets} octets of content)")

    def _say(self, direction: Direction, line: bytes) -> None:
        text = line.decode("utf-8", "backslashreplace")
        if self._in_auth and direction is Direction.RECEIVED:
            text = self._said.mask(text)
        if not text.isprintable():
            text = "".join(
                char if char.isprintable() else char.encode("unicode_escape").decode() for char in text
            )
        self._tell(direction, text)
