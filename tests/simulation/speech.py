"""How a server reads and speaks: lines and octets in, replies out, and all that can go wrong with a reply.

Replies gather until the input is used up, as servers with PIPELINING do it (RFC 2920 section 3.2), and go out
in pieces cut anywhere.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import trio

from tests.simulation.wire import Gone

if TYPE_CHECKING:
    from tests.simulation.chance import Chance
    from tests.simulation.site import Profile
    from tests.simulation.wire import Wire

_GARBAGE = (
    b"nonsense\r\n",
    b"25O 2.0.0 ok\r\n",
    b"250 ok\n",
    b"250-first\r\n550 second\r\n",
    b"199 what\r\n",
    b"250 a\0b\r\n",
    b"\r\n",
)
_WRONG = {
    # codes that cannot stand in the place of a success, and two that tell nothing of the recipient
    "lhlo": (354, 220, 221, 503, 530),
    "mail": (354, 220, 221, 503, 530),
    "rcpt": (354, 220, 503, 530),
    "data": (250, 503, 530),
    "final": (354, 221, 503, 530),
}
PATIENCE = 400.0  # seconds that it waits for a command


class HangUp(Exception):  # noqa: N818  # not an error: what the server does
    """Close the connection; `reset`: with no regard for what is on its way."""

    def __init__(self, *, reset: bool = False) -> None:
        super().__init__()
        self.reset = reset


class Speech:
    """The server's end of one wire."""

    def __init__(self, profile: Profile, wire: Wire, chance: Chance) -> None:
        self.profile = profile
        self.chance = chance
        self.wire = wire
        self.at = 0
        """Octets consumed so far."""
        self.glued = False
        """What is to be said next goes out in one piece."""
        self._input = b""
        self._output: list[bytes] = []

    def note(self, *what: object) -> None:
        """Put into the trace."""
        self.chance.note(trio.current_time(), f"#{self.wire.number}", *what)

    async def pause(self) -> None:
        """Take a while."""
        await trio.sleep(self.chance.between(0, self.profile.pause))

    async def line(self, *, idle: bool = False) -> str:
        """Read a line; raises Gone, or HangUp where none comes. `idle`: nothing is under way."""
        while b"\r\n" not in self._input:
            await self._more(idle=idle)
        line, _, self._input = self._input.partition(b"\r\n")
        self.at += len(line) + 2
        return line.decode("utf-8", "surrogateescape")

    async def octets(self, size: int) -> bytes:
        """Read so many octets."""
        while len(self._input) < size:
            await self._more()
        data, self._input = self._input[:size], self._input[size:]
        self.at += size
        return data

    async def _more(self, *, idle: bool = False) -> None:
        await self.flush()
        if idle and not self._input and self.chance.strikes("idle connection closed"):
            if await self.wire.arrived(trio.current_time() + self.chance.between(0, 30)):
                self._input += self.wire.read()
                return
            if self.chance.may(0.5):
                await self.say(421, "4.4.2", "idle for too long")
            raise HangUp
        if not await self.wire.arrived(trio.current_time() + PATIENCE):
            raise HangUp
        await self.pause()
        self._input += self.wire.read()

    async def say(self, code: int, enhanced: str, text: str, *, stage: str = "") -> bool:
        """Reply, or say something wrong; whether the reply is what it was meant to be."""
        chance = self.chance
        if stage and stage != "connect":
            if code < 400 and stage in _WRONG and chance.strikes("misplaced code"):
                code, enhanced = chance.pick(_WRONG[stage]), ""
                self._put(code, enhanced, text)
                return False
            if chance.strikes("malformed reply"):
                self._output.append(chance.pick(_GARBAGE))
                return False
            if chance.strikes("oversized reply"):
                self._output.append(b"250 " + b"x" * 70_000 + b"\r\n")
                return False
        if chance.strikes("late reply"):
            await self.flush()
            await trio.sleep(math.exp(chance.between(0, 6)))
        if chance.strikes("dripping reply"):
            await self.flush()
            self._put(code, enhanced, text)
            await self.flush(drip=chance.between(0.01, 4))
        else:
            self._put(code, enhanced, text)
        return True

    @property
    def pending(self) -> bool:
        """Whether something was said that is not sent yet."""
        return bool(self._output)

    def put_raw(self, octets: bytes) -> None:
        """Say octets as they are."""
        self._output.append(octets)

    def _put(self, code: int, enhanced: str, text: str) -> None:
        shown = f"{enhanced} " if enhanced and self.profile.has("ENHANCEDSTATUSCODES") else ""
        if self.chance.may(0.05):
            self._output.append(f"{code}-{shown}{text}\r\n".encode())
        self._output.append(f"{code} {shown}{text}\r\n".encode())

    async def flush(self, *, drip: float = 0.0) -> None:
        """Send what was said."""
        data = b"".join(self._output)
        self._output.clear()
        glued, self.glued = self.glued, False
        if not data:
            return
        self.note("says", data if len(data) < 400 else len(data))
        chance = self.chance
        cuts: list[int] = []
        if drip:
            cuts = list(range(1, len(data)))
        elif not glued and chance.may(0.2):
            cuts = sorted(chance.rng.randrange(len(data)) for _ in range(chance.rng.randint(1, 3)))
        for start, end in zip([0, *cuts], [*cuts, len(data)], strict=True):
            if start:
                await trio.sleep(drip or chance.between(0, self.profile.pause))
            if start < end:
                self.wire.write(data[start:end])
            if self.wire.client_gone and drip:
                raise Gone
