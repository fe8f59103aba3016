"""A model of an LMTP server in a few lines, faithful or with a fault in its final replies.

It shares nothing with the product: it reads what it gets as RFC 2033 and RFC 5321 say, decides about
each recipient by drawing, and keeps what it really delivered as the truth to compare with.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable


class Flavour(NamedTuple):
    """What kind of server it is."""

    pipelining: bool
    enhanced: bool
    fault: str
    """"" none, "fewer", "one for all" or "more" final replies than due."""
    nested: bool
    """A refused transaction stays open until RSET, and the next MAIL is refused."""


class Model:
    """One connection; `draw(n)` gives a number below n. `truth` is message to recipient to delivered?"""

    def __init__(
        self, flavour: Flavour, draw: Callable[[int], int], truth: dict[str, dict[str, bool]]
    ) -> None:
        self.flavour = flavour
        self.truth = truth
        self._draw = draw
        self._input = b""
        self._sender: str | None = None
        self._accepted: list[str] = []
        self._data: bytes | None = None
        self.output = self._reply(220, "", "host")

    def feed(self, octets: bytes) -> None:
        """Take what the client sent."""
        self._input += octets
        while b"\r\n" in self._input:
            line, _, self._input = self._input.partition(b"\r\n")
            if self._data is not None:
                self._content(line)
            else:
                self._command(line.decode())

    def _reply(self, code: int, enhanced: str, text: str) -> bytes:
        words = [str(code), *([enhanced] if enhanced and self.flavour.enhanced else []), text]
        return " ".join(words).encode() + b"\r\n"

    def _say(self, code: int, enhanced: str, text: str) -> None:
        self.output += self._reply(code, enhanced, text)

    def _command(self, line: str) -> None:
        verb = line.split(" ")[0].split(":")[0]
        address = line.partition("<")[2].partition(">")[0]
        match verb:
            case "LHLO":
                self.output += (
                    b"250-host\r\n" + b"250-PIPELINING\r\n" * self.flavour.pipelining + b"250 X\r\n"
                )
            case "RSET":
                self._clear()
                self._say(250, "2.0.0", "reset")
            case "MAIL":
                self._mail(address)
            case "RCPT":
                self._rcpt(address)
            case "DATA":
                self._take_data()
            case _:
                assert verb == "QUIT", line
                self._say(221, "2.0.0", "bye")

    def _mail(self, address: str) -> None:
        if self._sender is not None:
            self._say(503, "5.5.1", "nested")
        elif not self._draw(12):
            self._say(451, "4.3.0", "no mail now")
        else:
            self._sender = address
            self._say(250, "2.1.0", "sender")

    def _rcpt(self, address: str) -> None:
        refusal = self._draw(8)
        if self._sender is None:
            self._say(503, "5.5.1", "no MAIL")
        elif refusal < 2:
            self._say(550 - 100 * refusal, f"{5 - refusal}.1.1", address)
        else:
            self._accepted.append(address)
            self._say(250, "2.1.5", address)

    def _take_data(self) -> None:
        if self._accepted and self._draw(20):
            self._data = b""
            self._say(354, "", "go")
            return
        if self._accepted:
            self._say(452, "4.3.1", "disk full")
        else:
            self._say(503, "5.5.1", "nobody")
        if not self.flavour.nested:
            self._clear()

    def _content(self, line: bytes) -> None:
        if line != b".":
            assert self._data is not None
            self._data += line.removeprefix(b".") + b"\r\n"
            return
        assert self._sender is not None
        assert self._data == b"for %b\r\n" % self._sender.encode(), "content of another message"
        outcomes = [self._draw(4) > 0 for _ in self._accepted]
        if self.flavour.fault == "one for all":
            outcomes = outcomes[:1] * len(outcomes)
        for address, delivered in zip(self._accepted, outcomes, strict=True):
            self.truth.setdefault(self._sender, {})[address] = delivered
        count = len(outcomes)
        if self._draw(2):
            if self.flavour.fault == "fewer":
                count -= 1 + self._draw(count)
            elif self.flavour.fault == "one for all":
                count = 1
            elif self.flavour.fault == "more":
                outcomes += outcomes[-1:] * (1 + self._draw(2))
                count = len(outcomes)
        for delivered in outcomes[:count]:
            if delivered:
                self._say(250, "2.0.0", "saved")
            else:
                self._say(552, "5.2.2", "full")
        self._clear()

    def _clear(self) -> None:
        self._sender = self._data = None
        self._accepted = []
