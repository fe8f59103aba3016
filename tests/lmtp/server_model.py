"""A model of an LMTP server in a few lines, faithful or with a fault in its final replies.

It shares nothing with the product: it reads what it gets as RFC 2033, RFC 3030 and RFC 5321 say, decides
about each recipient by drawing, and keeps what it really delivered as the truth to compare with.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable

FAULTS = ["fewer", "one for all", "more", "one for each RCPT"]


class Flavour(NamedTuple):
    """What kind of server it is."""

    pipelining: bool
    enhanced: bool
    chunking: bool
    fault: str
    """"" none, else one of `FAULTS`: how its final replies differ from those that are due."""
    nested: bool
    """A refused transaction stays open until RSET, and the next MAIL is refused."""
    silent: bool
    """No reply to a last chunk for nobody (RFC 2033 section 4.3), else one refusal."""
    bland: bool
    """RSET is answered in the words of a final reply."""
    rare: bool
    """Its fault shows seldom, so that it passes probation."""
    busy: bool
    """It refuses every other MAIL."""


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
        self._named: list[tuple[str, bool]] = []  # every RCPT, and whether it was accepted
        self._data: bytes | None = None
        self._chunk: tuple[int, bool] | None = None
        self._chunks = b""
        self._chunk_failed = False
        self.output = self._reply(220, "", "host")

    @property
    def _accepted(self) -> list[str]:
        return [address for address, accepted in self._named if accepted]

    def feed(self, octets: bytes) -> None:
        """Take what the client sent."""
        self._input += octets
        while True:
            if self._chunk is not None:
                size, last = self._chunk
                if len(self._input) < size:
                    return
                chunk, self._input = self._input[:size], self._input[size:]
                self._chunk = None
                self._end_chunk(chunk, last=last)
                continue
            if b"\r\n" not in self._input:
                return
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
                    b"250-host\r\n"
                    + b"250-PIPELINING\r\n" * self.flavour.pipelining
                    + b"250-CHUNKING\r\n" * self.flavour.chunking
                    + b"250 X\r\n"
                )
            case "RSET":
                self._clear()
                self._say(250, "2.0.0", "saved" if self.flavour.bland else "reset")
            case "MAIL":
                self._mail(address)
            case "RCPT":
                self._rcpt(address)
            case "DATA":
                self._take_data()
            case "BDAT":
                _, size, *last = line.split(" ")
                assert last in ([], ["LAST"])
                self._chunk = int(size), bool(last)
            case _:
                assert verb == "QUIT", line
                self._say(221, "2.0.0", "bye")

    def _mail(self, address: str) -> None:
        refusal = self._draw(4 if self.flavour.busy else 24)
        if self._sender is not None:
            self._say(503, "5.5.1", "nested")
        elif refusal < 2:
            self._say(550 - 100 * refusal, f"{5 - refusal}.3.0", "no mail now")
        else:
            self._sender = address
            self._say(250, "2.1.0", "sender")

    def _rcpt(self, address: str) -> None:
        refusal = self._draw(8)
        if self._sender is None:
            self._say(503, "5.5.1", "no MAIL")
        elif refusal < 2:
            self._named.append((address, False))
            self._say(550 - 100 * refusal, f"{5 - refusal}.1.1", address)
        else:
            self._named.append((address, True))
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
        assert self._data is not None
        if line == b".":
            self._deliver(self._data)
        else:
            self._data += line.removeprefix(b".") + b"\r\n"

    def _end_chunk(self, chunk: bytes, *, last: bool) -> None:
        if self._sender is None or self._chunk_failed:
            self._say(503, "5.5.1", "no MAIL, or a chunk failed")
        elif not self._accepted:
            if not (last and self.flavour.silent):
                self._say(503, "5.5.1", "nobody")
            if last and (self.flavour.silent or not self.flavour.nested):
                self._clear()
            else:
                self._chunk_failed = True
        elif last:
            self._deliver(self._chunks + chunk + b"\r\n")
        elif self._draw(10):
            self._chunks += chunk
            self._say(250, "2.0.0", f"{len(chunk)} octets")
        else:
            self._chunk_failed = True
            self._say(452, "4.3.1", "disk full")

    def _deliver(self, content: bytes) -> None:
        assert self._sender is not None
        assert content == b"for %b\r\n" % self._sender.encode(), "content of another message"
        outcomes = {address: self._draw(4) > 0 for address in self._accepted}
        fault = self.flavour.fault if self._draw(20 if self.flavour.rare else 2) == 1 else ""
        if fault == "one for all":
            outcomes = dict.fromkeys(outcomes, next(iter(outcomes.values())))
        self.truth.setdefault(self._sender, {}).update(outcomes)
        replies = list(outcomes.values())
        if fault == "fewer":
            # often as many as a later transaction has replies whose MAIL is refused
            aimed = len(replies) > 4 and self._draw(2)
            replies = replies[:-4] if aimed else replies[: self._draw(len(replies))]
        elif fault == "one for all":
            replies = replies[:1]
        elif fault == "more":
            # often those of such a transaction
            replies += [True, False, False, False] if self._draw(2) else replies[-1:] * (1 + self._draw(2))
        elif fault == "one for each RCPT":
            replies = [outcomes.get(address, False) for address, _ in self._named]
        for delivered in replies:
            if delivered:
                self._say(250, "2.0.0", "saved")
            else:
                self._say(552, "5.2.2", "full")
        self._clear()

    def _clear(self) -> None:
        self._sender = self._data = None
        self._named = []
        self._chunks = b""
        self._chunk_failed = False
