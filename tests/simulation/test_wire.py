"""The simulation's own connection does what a stream does, or seeds fail for nothing."""

from __future__ import annotations

import contextlib

import trio

from tests.simulation.chance import Chance
from tests.simulation.wire import Gone, SimTransport, Wire

_SAID = b"LHLO client\r\nMAIL FROM:<s@sim>\r\nRCPT TO:<r@sim>\r\n"


class _Mortal:
    """A holder that dies in its second call."""

    def __init__(self) -> None:
        self.dead = False
        self.transport: SimTransport | None = None
        self._calls = 0

    def may_die(self, _how: str) -> bool:
        self._calls += 1
        if self._calls < 2:
            return False
        self.dead = True
        assert self.transport is not None
        self.transport.close()
        return True

    def beat_age(self) -> float:
        return 0.0


async def _heard(seed: int) -> bytes:
    """Send in two calls, die in the second; return what the server reads."""
    wire = Wire(Chance(seed), number=1)
    holder = _Mortal()
    transport = holder.transport = SimTransport(wire, holder)
    taken = transport.send(_SAID[:7])
    with contextlib.suppress(BrokenPipeError):
        transport.send(_SAID[taken:])
    heard = b""
    try:
        while await wire.arrived(trio.current_time() + 1):
            heard += wire.read()
    except Gone:
        pass
    return heard


async def test_what_the_dead_sent_arrives_from_its_beginning() -> None:
    """A kernel that takes octets of a dying process may lose the end of them, and never the beginning."""
    heard = [await _heard(seed) for seed in range(200)]
    assert all(_SAID.startswith(octets) for octets in heard)
    assert {len(octets) for octets in heard} >= {0, 7, len(_SAID)}
