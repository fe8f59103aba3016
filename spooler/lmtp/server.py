"""The server's role in LMTP (or SMTP) without any I/O: bytes in, events out, replies in between.

How it is used: construct a `Server`, `accept()` the connection (or `reply` something else), then for each
block that arrives call `receive(block)` and take events with `next_event()` until it gives None; whenever
`owed` is not None the application owes an answer, by `accept()` or `reply(...)`, and gets no event before it
has given it. So a block of pipelined commands is handled strictly in order (RFC 2920 section 3.2), and what
follows DATA is content or commands by what DATA was answered. `data_to_send()` then holds the answers to the
whole block, for one write. When `closing` is true: send, and close.

The role itself answers what is out of order (503), malformed (500, 501, 553, 555), over the announced SIZE
(552), and NOOP, RSET, VRFY, HELP and QUIT. After the content exactly one answer is due for each accepted
recipient, in their order, duplicates included (RFC 2033 section 4.2); in SMTP, one for all. A client's faults
never raise; `LocalProtocolError` says that the application broke these rules.

End of data is CRLF "." CRLF and nothing else (RFC 5321 section 4.1.1.4): no bare LF or CR ever counts as a
line end, neither in content, which passes as it is, nor in commands, which are refused. A transaction ends
with its last final reply, RSET, LHLO or QUIT, and with nothing else: after a refused DATA it is still open.

The octets of a chunk (BDAT, RFC 3030) are read whatever is answered. The role answers each but the last, and
after one that failed all that follow, until RSET. A last one for nobody is refused, and the transaction
stays open, as Dovecot 2.3 does; with `silent_for_nobody` it ends without a reply (RFC 2033 section 4.3).

STARTTLS (RFC 3207) is served where it is announced: the role answers it, and forgets what the client sent
ahead (CVE-2011-0411); the application agrees on TLS once that answer is sent, and says `secured()`.

Memory: one block, plus at most one line. Limits: no AUTH, no BINARYMIME.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from spooler.lmtp.answering import Answering
from spooler.lmtp.arguments import Refused, read_mail, read_rcpt
from spooler.lmtp.serving import (
    CAPABILITIES,
    OUT_OF_ORDER,
    ChunkStarted,
    Content,
    DataStarted,
    EndOfContent,
    Event,
    Lhlo,
    MailFrom,
    Quit,
    RcptTo,
    Reset,
    ServerLimits,
    StartTls,
    State,
)
from spooler.reply import Stage

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

_CHUNK = re.compile(rb"([0-9]{1,18})(?:[ \t]+(LAST))?", re.IGNORECASE)  # RFC 3030 section 2


class Server(Answering):
    """One connection, seen from the server; see the module's text.

    `name` is what it calls itself; `capabilities` are announced in this order, SIZE with its limit.
    """

    def __init__(
        self,
        *,
        name: str,
        capabilities: Sequence[str] = CAPABILITIES,
        limits: ServerLimits | None = None,
        smtp: bool = False,
        silent_for_nobody: bool = False,
    ) -> None:
        super().__init__(name=name, capabilities=capabilities, limits=limits or ServerLimits(), smtp=smtp)
        self._skipping = False  # inside a line that is too long
        self._smtputf8 = False
        self._silent_for_nobody = silent_for_nobody
        self._chunk = ChunkStarted(0, last=False)
        self._chunk_left = 0  # octets of it that did not come yet
        self._chunk_refused = ""  # why, if it is
        self._outside = State.READY  # the state around a chunk

    # the application's side

    def receive(self, data: bytes) -> None:
        """Take what arrived; then call `next_event` until it gives None."""
        rest = self._buffer[self._at :]
        self._buffer = rest + data if rest else data
        self._at = 0

    def next_event(self) -> Event | None:
        """Return the next event; None until more is received or an answer that is owed is given."""
        while self.owed is None and self.state not in (State.CLOSED, State.SECURING):
            if self.state is State.CONTENT:
                return self._content()
            if self.state is State.CHUNK:
                event = self._in_chunk()
                if event is None and self._chunk_left:
                    return None
            else:
                line = self._line()
                if line is None:
                    return None
                event = self._command(line)
            if event is not None:
                return event
        return None

    # commands

    def _line(self) -> bytes | None:
        """Return the next command line without its end, b"" for a refused one, None if there is none."""
        buffer, at = self._buffer, self._at
        if self._skipping:
            end = buffer.find(b"\n", at)
            if end < 0:
                self._at = len(buffer)
                return None
            self._at, self._skipping = end + 1, False
            self._complain(500, "5.5.2", "line too long")  # RFC 5321 section 4.5.3.1.9
            return b""
        end = buffer.find(b"\n", at, at + self.limits.line)
        if end < 0:
            self._skipping = len(buffer) - at >= self.limits.line
            return self._line() if self._skipping else None
        self._at = end + 1
        line = buffer[at : end - 1]
        if end == at or buffer[end - 1] != 13 or b"\r" in line or b"\0" in line:
            self._complain(500, "5.5.2", "a line ends with CRLF and holds no CR, LF or NUL")
            return b""
        if not line:
            self._complain(500, "5.5.2", "empty line")
        return line

    def _command(self, line: bytes) -> Event | None:
        if not line:
            return None  # answered already
        verb, _, argument = line.partition(b" ")
        verb = verb.upper()
        read = _READERS.get(verb)
        if read is None or (verb in _HELLOS and (verb == b"LHLO") == self.smtp):
            text = "this is SMTP, send EHLO" if self.smtp else "this is LMTP, send LHLO"
            self._complain(500, "5.5.1", text if verb in _HELLOS else "command not recognised")
            return None
        complaint = OUT_OF_ORDER.get(self.state, {}).get(verb)
        if self.state is State.REFUSED and verb != b"QUIT":
            complaint = "only QUIT is served here"
        if complaint is not None:
            self._say(503, "5.5.1", complaint)
            return None
        try:
            return read(self, argument.strip(b" \t"))
        except Refused as refused:
            self._complain(*refused.answer)
            return None

    def _read_hello(self, argument: bytes, *, extended: bool = True) -> Event:
        if not argument or not argument.isascii() or b" " in argument:
            raise Refused(501, "5.5.4", "expected one host name")
        self.state, self._extended = State.START, extended
        self._owe(Stage.LHLO)
        return Lhlo(argument.decode())

    def _read_helo(self, argument: bytes) -> Event:
        return self._read_hello(argument, extended=False)

    def _read_mail(self, argument: bytes) -> Event | None:
        sender, parameters = read_mail(argument, self.capabilities)
        limit = self.limits.size
        if limit and parameters.size is not None and parameters.size > limit:  # RFC 1870 section 6.1
            self._say(552, "5.3.4", "message is over the size limit")
            return None
        self._smtputf8 = parameters.smtputf8
        self._owe(Stage.MAIL)
        return MailFrom(sender, parameters)

    def _read_rcpt(self, argument: bytes) -> Event:
        address, parameters = read_rcpt(argument, self.capabilities, smtputf8=self._smtputf8)
        self._owe(Stage.RCPT)
        return RcptTo(address, parameters)

    def _read_data(self, argument: bytes) -> Event | None:
        _none(argument)
        if self._chunks_taken:
            self._say(503, "5.5.1", "BDAT has begun, DATA cannot follow")  # RFC 3030 section 2
            return None
        self._owe(Stage.DATA)
        return DataStarted()

    def _read_bdat(self, argument: bytes) -> Event | None:
        match = _CHUNK.fullmatch(argument)
        if "CHUNKING" not in self.capabilities:
            raise Refused(500, "5.5.1", "command not recognised")
        if match is None:
            raise Refused(501, "5.5.4", "expected BDAT SIZE [LAST]")
        self._chunk = ChunkStarted(int(match[1]), last=match[2] is not None)
        self._chunk_left = self._chunk.size
        if self.state is State.MAIL:
            self._chunk_refused = "no valid recipients"
        elif self.state is not State.RCPT:
            self._chunk_refused = "MAIL comes first"
        else:
            self._chunk_refused = "a chunk failed, send RSET" if self._chunk_failed else ""
        self._outside, self.state = self.state, State.CHUNK
        return None if self._chunk_refused else self._chunk

    def _read_rset(self, argument: bytes) -> Event:
        _none(argument)
        if self.state in (State.MAIL, State.RCPT):
            self.state = State.READY
        self._say(250, "2.0.0", "reset")
        return Reset()

    def _read_quit(self, argument: bytes) -> Event:
        _none(argument)
        self._say(221, "2.0.0", "bye")
        self._close()
        return Quit()

    def _read_starttls(self, argument: bytes) -> Event:
        if "STARTTLS" not in self.capabilities:
            raise Refused(502, "5.5.1", "command not recognised")
        _none(argument)
        self._say(220, "2.0.0", "begin TLS now")
        self.state, self._buffer, self._at = State.SECURING, b"", 0
        return StartTls()

    def _read_noop(self, _argument: bytes) -> None:
        self._say(250, "2.0.0", "ok")

    def _read_vrfy(self, _argument: bytes) -> None:
        self._say(252, "2.1.5", "send some mail, it will be tried")  # RFC 5321 section 3.5.3

    def _read_help(self, _argument: bytes) -> None:
        self._say(214, "2.0.0", "RFC 5321 and RFC 2033")

    # content

    def _content(self) -> Event | None:
        content, limit = self._unstuffer, self.limits.size
        while not content.complete:
            data, self._at = content.read(self._buffer, self._at)
            self._size += len(data)
            if data and not (limit and self._size > limit):
                return Content(data)
            if not data and not content.complete:
                return None
        self._errors = 0
        self._owe(Stage.FINAL, 1 if self.smtp else self._accepted)
        return EndOfContent(self._size, self.owed_replies, too_big=bool(limit) and self._size > limit)

    def _in_chunk(self) -> Event | None:
        """Read on in a chunk; None when it has ended, or more must arrive."""
        limit = self.limits.size
        end = min(self._at + self._chunk_left, len(self._buffer))
        data, self._at = self._buffer[self._at : end], end
        self._chunk_left -= len(data)
        if not self._chunk_refused:
            self._size += len(data)
            if data and not (limit and self._size > limit):
                return Content(data)
        return None if self._chunk_left else self._end_chunk()

    def _end_chunk(self) -> Event | None:
        last, self.state = self._chunk.last, self._outside
        too_big = bool(self.limits.size) and self._size > self.limits.size
        if self._chunk_refused:
            if last and self.state is State.MAIL and self._silent_for_nobody:
                self.state = State.READY
            else:
                self._say(503, "5.5.1", self._chunk_refused)
            return None
        if last:
            self._errors = 0
            self._owe(Stage.FINAL, 1 if self.smtp else self._accepted)
            return EndOfContent(self._size, self.owed_replies, too_big=too_big)
        self._chunks_taken = True
        self._chunk_failed = too_big
        if too_big:
            self._say(552, "5.3.4", "message is over the size limit")
        else:
            self._say(250, "2.0.0", f"{self._chunk.size} octets taken")
        return None


def _none(argument: bytes) -> None:
    if argument:
        raise Refused(501, "5.5.4", "this command has no argument")


_HELLOS = frozenset({b"LHLO", b"EHLO", b"HELO"})
_READERS: dict[bytes, Callable[[Server, bytes], Event | None]] = {
    b"LHLO": Server._read_hello,
    b"EHLO": Server._read_hello,
    b"HELO": Server._read_helo,
    b"MAIL": Server._read_mail,
    b"RCPT": Server._read_rcpt,
    b"DATA": Server._read_data,
    b"BDAT": Server._read_bdat,
    b"RSET": Server._read_rset,
    b"QUIT": Server._read_quit,
    b"STARTTLS": Server._read_starttls,
    b"NOOP": Server._read_noop,
    b"VRFY": Server._read_vrfy,
    b"HELP": Server._read_help,
}
