"""A place where mail is taken: what its servers are like, and the connections to it."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import trio

from spooler.net.transport import ConnectError
from tests.simulation.dialogue import Dialogue
from tests.simulation.wire import SimTransport, Wire

if TYPE_CHECKING:
    from tests.simulation.chance import Chance
    from tests.simulation.truth import Truth
    from tests.simulation.wire import Holder

_OFFERS = ("PIPELINING", "CHUNKING", "ENHANCEDSTATUSCODES", "8BITMIME", "SMTPUTF8", "SIZE")


class Profile(NamedTuple):
    """What its servers are like, all the time."""

    offers: frozenset[str]
    size: int
    """The limit that SIZE announces, 0 for none."""
    recipients: int
    """Most recipients in a transaction, where there is such a limit (RFC 5321 section 4.5.3.1.10)."""
    sessions: int
    """Most connections at a time, where there is such a limit."""
    marked: bool
    """MAIL is answered with an enhanced code of its own."""
    bland: bool
    """RSET is answered in the words of a final reply."""
    nested: bool
    """A transaction that was refused at DATA stays open until RSET."""
    silent: bool
    """No reply to a last chunk for nobody (RFC 2033 section 4.3), else one refusal."""
    pause: float
    """Seconds that it takes over things, about."""

    def has(self, keyword: str) -> bool:
        """Whether an extension is offered."""
        return keyword in self.offers


def draw_profile(chance: Chance) -> Profile:
    """Make up a kind of server; most offer all that is usual."""
    offers = {keyword for keyword in _OFFERS if chance.may(0.85)}
    return Profile(
        offers=frozenset(offers),
        size=chance.pick((0, 0, 1 << 20, 1000)),
        recipients=chance.pick((1000, 1000, 1, 2, 3)),
        sessions=chance.pick((1000, 1000, 1, 2)),
        marked=chance.may(0.8),
        bland=chance.may(0.15),
        nested=chance.may(0.3),
        silent=chance.may(0.5),
        pause=chance.pick((0.0005, 0.01, 0.01, 0.2, 2.5)),
    )


class Site:
    """One destination; its servers run in `nursery`."""

    def __init__(self, chance: Chance, truth: Truth, nursery: trio.Nursery) -> None:
        self.profile = draw_profile(chance)
        self._chance = chance
        self._truth = truth
        self._nursery = nursery
        self._open = 0

    async def dial(self, holder: Holder, *, number: int) -> SimTransport:
        """Connect; raises ConnectError."""
        chance = self._chance
        await trio.sleep(chance.between(0, self.profile.pause))
        if chance.strikes("no connection"):
            if chance.may(0.3):
                await trio.sleep(chance.between(0, 100))
            raise ConnectError("connection refused")
        wire = Wire(chance, number=number)
        self._nursery.start_soon(self._serve, wire)
        return SimTransport(wire, holder)

    async def _serve(self, wire: Wire) -> None:
        for keyword in ("PIPELINING", "CHUNKING", "ENHANCEDSTATUSCODES"):
            self._chance.hit(f"{'with' if self.profile.has(keyword) else 'without'} {keyword}")
        self._open += 1
        try:
            crowded = self._open > self.profile.sessions
            await Dialogue(self.profile, wire, self._chance, self._truth, crowded=crowded).run()
        finally:
            self._open -= 1
