"""What a worker holds, counted from outside: contents that anything in it still refers to, and its leases.

Contents are handed to it as `Weighed`, which is counted until the last reference to it is gone, wherever
the product keeps it. How much may be held follows from the configuration alone (docs/ARCHITECTURE.md).
"""

from __future__ import annotations

import gc
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from spooler.config import Config, Route
    from tests.simulation.chance import Chance

CHUNK = 1 << 18  # octets: what is longer comes in pieces of these
DEEPEST = 32  # transactions in flight on a session, where whole ones follow each other
BACKLOG = 4  # times what is claimed at once: more results that are not settled, and nothing is claimed
_NEAR = 0.6  # of a limit: whether a run said anything about it


class Weighed(bytes):
    """Octets that are counted as long as they are there."""

    kind: str
    scales: Scales

    def __del__(self) -> None:
        self.scales.take_off(self)


class Scales:
    """One worker's."""

    def __init__(self, config: Config, chance: Chance) -> None:
        routes = list(config.routes.values())
        claim = config.worker.claim
        self._chance = chance
        self._held = {"contents": 0, "pieces": 0}
        self._limits = {
            "contents": config.worker.buffer,
            # of a content that is streamed: the piece that is sent, and the next
            "pieces": sum(2 * CHUNK * route.sessions for route in routes),
        }
        under_way = sum(route.sessions * _open(route) * route.recipients for route in routes)
        # for each route what waits, what is claimed then and what is being given back; and the backlog
        self._leases = 3 * claim * len(routes) + under_way + BACKLOG * claim

    def put_on(self, octets: bytes, kind: str) -> bytes:
        """Count octets that the worker gets now, and hold all that it has against what is allowed."""
        weighed = Weighed(octets)
        weighed.kind, weighed.scales = kind, self
        self._held[kind] += len(weighed)
        if self._held[kind] > self._limits[kind]:
            gc.collect()  # nobody refers to what is part of a ring, and it is there all the same
        held, limit = self._held[kind], self._limits[kind]
        assert held <= limit, f"{held} octets of {kind} are in memory, allowed are {limit}"
        if held > _NEAR * limit:
            self._chance.hit(f"memory: nearly full of {kind}")
        return weighed

    def take_off(self, weighed: Weighed) -> None:
        """Forget octets that are gone."""
        self._held[weighed.kind] -= len(weighed)

    def claimed(self, leases: int) -> None:
        """Hold the number of recipients that are leased to it against what is allowed."""
        assert leases <= self._leases, f"{leases} recipients are claimed, allowed are {self._leases}"
        if leases > _NEAR * self._leases:
            self._chance.hit("memory: nearly all claimed that may be")


def _open(route: Route) -> int:
    """How many transactions may be under way on a session."""
    return {"chunked": DEEPEST, "pipelined": 2, "lockstep": 1}[route.mode]
