"""The half of the server role that answers: what is owed, how an answer is written, and what it changes.

`spooler.lmtp.server` explains the whole, and is the only one to use this.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from spooler.lmtp.errors import LocalProtocolError
from spooler.lmtp.serving import ACCEPT, State
from spooler.lmtp.unstuff import Unstuffer
from spooler.reply import Stage

if TYPE_CHECKING:
    from collections.abc import Sequence

    from spooler.lmtp.serving import ServerLimits

_ENHANCED = re.compile(r"([245])\.[0-9]{1,3}\.[0-9]{1,3}")
_TEXT = re.compile(r"[^\x00-\x08\x0a-\x1f\x7f]*")


class Answering:
    """Gives answers, and keeps the state that they lead to; `Server` adds what is read."""

    def __init__(self, *, name: str, capabilities: Sequence[str], limits: ServerLimits, smtp: bool) -> None:
        self.name = name
        self.capabilities = tuple(capabilities)
        self.limits = limits
        self.smtp = smtp
        self.state = State.CONNECTED
        self.owed: Stage | None = Stage.CONNECT
        self.owed_replies = 1
        self._extended = False  # whether the client's hello asked for extensions
        self._enhanced = "ENHANCEDSTATUSCODES" in self.capabilities
        self._out: list[bytes] = []
        self._buffer = b""
        self._at = 0  # what stands before is done with
        self._errors = 0
        self._accepted = 0
        self._unstuffer = Unstuffer()
        self._size = 0
        self._chunks_taken = self._chunk_failed = False  # in this transaction
        self._prepared = {stage: self._render(*answer) for stage, answer in ACCEPT.items()}

    # the application's side

    @property
    def closing(self) -> bool:
        """Whether the connection is to be closed once `data_to_send()` is sent."""
        return self.state is State.CLOSED

    def accept(self) -> None:
        """Give the usual positive answer to what is owed."""
        stage = self.owed
        if stage in self._prepared:
            self._out.append(self._prepared[stage])
            self._answered(ACCEPT[stage][0])
        elif stage is Stage.CONNECT:
            self.reply(220, "", f"{self.name} {'ESMTP' if self.smtp else 'LMTP'}")
        elif stage is Stage.LHLO:
            announced = [
                f"SIZE {self.limits.size}" if capability == "SIZE" else capability
                for capability in (self.capabilities if self._extended else ())
            ]
            self.reply(250, "", [self.name, *announced])
        else:
            raise LocalProtocolError("no answer is owed")

    def reply(self, code: int, enhanced: str, text: str | Sequence[str]) -> None:
        """Answer what is owed; several texts make a reply of several lines.

        Raises LocalProtocolError if nothing is owed or the reply cannot stand there. 421 closes.
        """
        stage = self.owed
        if stage is None:
            raise LocalProtocolError("no answer is owed")
        if not (400 <= code < 600 or (code == 354 if stage is Stage.DATA else 200 <= code < 300)):
            raise LocalProtocolError(f"{code} cannot answer {stage.value}")
        self._out.append(self._render(code, enhanced, text))
        self._answered(code)

    def secured(self) -> None:
        """Take note that TLS stands: all that was said is forgotten, and it is not offered again."""
        self.capabilities = tuple(name for name in self.capabilities if name != "STARTTLS")
        self.state, self._buffer, self._at = State.START, b"", 0

    def data_to_send(self) -> bytes:
        """Return the answers since the last call."""
        out, self._out = self._out, []
        return out[0] if len(out) == 1 else b"".join(out)

    # answers

    def _render(self, code: int, enhanced: str, text: str | Sequence[str]) -> bytes:
        lines = [text] if isinstance(text, str) else text
        if not lines or not all(_TEXT.fullmatch(line) for line in lines):
            raise LocalProtocolError("the text of a reply holds a control character, or there is none")
        match = _ENHANCED.fullmatch(enhanced)
        if enhanced and not (match and int(match[1]) == code // 100):
            raise LocalProtocolError(f"{enhanced} does not go with {code}")
        prefix = f"{enhanced} " if enhanced and self._enhanced else ""
        rendered = [f"{code}-{prefix}{line}\r\n" for line in lines[:-1]]
        rendered.append(f"{code} {prefix}{lines[-1]}\r\n")
        return "".join(rendered).encode()

    def _answered(self, code: int) -> None:
        stage, positive = self.owed, code < 400
        self.owed_replies -= 1
        if self.owed_replies == 0:
            self.owed = None
        if code == 421:  # RFC 5321 section 3.8: closes the channel wherever it stands
            self._close()
        elif stage is Stage.CONNECT:
            self.state = State.START if positive else State.REFUSED
        elif stage is Stage.LHLO:
            self.state = State.READY if positive else State.START
        elif stage is Stage.MAIL and positive:
            self.state, self._accepted, self._size = State.MAIL, 0, 0
            self._chunks_taken = self._chunk_failed = False
        elif stage is Stage.RCPT and positive:
            self.state = State.RCPT
            self._accepted += 1
        elif stage is Stage.DATA and positive:
            self.state, self._unstuffer, self._size = State.CONTENT, Unstuffer(), 0
        elif stage is Stage.FINAL and self.owed is None:
            self.state = State.READY

    def _owe(self, stage: Stage, replies: int = 1) -> None:
        self.owed, self.owed_replies = stage, replies

    def _say(self, code: int, enhanced: str, text: str) -> None:
        self._out.append(self._render(code, enhanced, text))

    def _complain(self, code: int, enhanced: str, text: str) -> None:
        """Answer a fault of the client's; too many of them end the connection."""
        self._say(code, enhanced, text)
        self._errors += 1
        if self._errors >= self.limits.errors:
            self._say(421, "4.7.0", "too many errors")
            self._close()

    def _close(self) -> None:
        self.state, self.owed, self._buffer, self._at = State.CLOSED, None, b"", 0
