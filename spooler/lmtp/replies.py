"""Octets of a server in, whole replies out: strict, bounded, one pass over each block.

Accepted is RFC 5321 section 4.2 and no more: a code of [2-5][0-5][0-9], a blank or a hyphen or nothing,
text, CRLF; a reply of several lines repeats its code. A bare CR or LF, a NUL, another code, or more
than the limits of `spooler.lmtp.grammar` end the connection, because a reader that guesses where a
reply ends may give a recipient the answer of another.

The same octets give the same replies and the same fault, however they were cut. What a reader holds
is bounded: one unfinished reply, and a memo of short replies of one line. Most lines of a session
repeat ("250 2.1.5 Ok"), and the memo gives them back without looking at them again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from spooler.lmtp.errors import RemoteProtocolError
from spooler.lmtp.grammar import CRLF, ENHANCED_CODE, MAX_REPLY_LINE, MAX_REPLY_LINES, REPLY_LINE
from spooler.reply import Reply

if TYPE_CHECKING:
    from typing import NoReturn

_MAX_TEXT = MAX_REPLY_LINE - len(CRLF)  # octets of a line without its end
_MEMO_LINES = 256  # replies remembered, then all are forgotten: cheap, and no bookkeeping on a hit
_MEMO_OCTETS = 128  # of a line that is remembered


class ReplyReader:
    """Reads the replies of one connection."""

    __slots__ = ("_code", "_held", "_lines", "_memo", "_size")

    def __init__(self) -> None:
        self._held = b""  # the line that has not ended
        self._lines: list[bytes] = []  # texts of the reply that has not ended
        self._code = b""  # its code
        self._size = 0  # octets of its lines
        self._memo: dict[bytes, Reply] = {}

    @property
    def pending(self) -> int:
        """Octets held of a reply that has not ended."""
        return self._size + len(self._held)

    def feed(self, data: bytes) -> list[Reply]:
        """Take a block of any size; return the replies that it ends.

        Raises RemoteProtocolError, which carries the replies in front of the fault. The reader is of
        no more use then.
        """
        lines = (self._held + data if self._held else data).split(CRLF)
        self._held = held = lines.pop()
        replies: list[Reply] = []
        memo = self._memo
        for line in lines:
            reply = memo.get(line)
            if reply is None or self._lines:
                reply = self._line(line, replies)
            if reply is not None:
                replies.append(reply)
        if held:
            _check_held(held, replies)
        return replies

    def _line(self, line: bytes, replies: list[Reply]) -> Reply | None:
        """Take a line that is not in the memo, or within a reply of several."""
        if len(line) > _MAX_TEXT:
            _fault(f"a reply line of over {MAX_REPLY_LINE} octets", replies)
        match = REPLY_LINE.fullmatch(line)
        if match is None:
            _fault(f"not a reply: {line[:60]!r}", replies)
        code, separator, text = match.groups()
        if self._lines and code != self._code:
            _fault(f"codes {_ascii(self._code)} and {_ascii(code)} in one reply", replies)
        self._lines.append(text or b"")
        if separator == b"-":
            if len(self._lines) >= MAX_REPLY_LINES:
                _fault(f"a reply of over {MAX_REPLY_LINES} lines", replies)
            self._code = code
            self._size += len(line) + len(CRLF)
            return None
        reply = _reply(int(code), self._lines)
        if len(self._lines) == 1 and len(line) <= _MEMO_OCTETS:
            if len(self._memo) >= _MEMO_LINES:
                self._memo.clear()
            self._memo[line] = reply
        self._lines = []
        self._size = 0
        return reply


def _check_held(held: bytes, replies: list[Reply]) -> None:
    """Find at once what no continuation can mend: a peer that never sends CRLF must not be waited for."""
    if b"\n" in held or b"\0" in held or b"\r" in held[:-1]:
        _fault(f"a bare line end or NUL in a reply: {held[:60]!r}", replies)
    if len(held) > _MAX_TEXT and len(held.removesuffix(b"\r")) > _MAX_TEXT:
        _fault(f"a reply line of over {MAX_REPLY_LINE} octets", replies)


def _reply(code: int, raw: list[bytes]) -> Reply:
    texts = [_decode(line) for line in raw]
    match = ENHANCED_CODE.match(texts[0])
    if match is None or int(match[1][0]) != code // 100:
        return Reply(code, "", tuple(texts))
    enhanced = match[1]
    # RFC 2034 section 4: it stands in every line of a reply, and belongs to none of the texts
    return Reply(code, enhanced, tuple(_strip(text, enhanced) for text in texts))


def _strip(text: str, enhanced: str) -> str:
    match = ENHANCED_CODE.match(text)
    return text[match.end() :] if match is not None and match[1] == enhanced else text


def _decode(raw: bytes) -> str:
    text = raw.decode("utf-8", "backslashreplace")
    if text.isprintable():
        return text
    return "".join(
        char if char.isprintable() else char.encode("unicode_escape").decode("ascii") for char in text
    )


def _ascii(code: bytes) -> str:
    return code.decode("ascii")


def _fault(why: str, replies: list[Reply]) -> NoReturn:
    raise RemoteProtocolError(f"the server sent {why}", replies=replies)
