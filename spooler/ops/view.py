"""Routes, destinations and workers as they are shown to people; `spooler.ops.status` puts them together.

Times are µs UTC; `spooler.plain` makes them readable.
"""

from __future__ import annotations

import msgspec

from spooler.command import Pause
from spooler.worker_standing import Outage


class RouteView(msgspec.Struct, frozen=True, kw_only=True):
    """A route over all workers. `states` are recipients queued, `ended` what became of others since the spool
    was made; `limits` says what keeps it from going faster, in words, "" where nothing waits.
    """

    name: str
    states: dict[str, int]
    ended: dict[str, int]
    oldest: int | None
    due: int | None
    destinations: list[str]
    served: bool
    paused: bool
    pause: Pause | None
    outage: Outage | None
    limits: str
    sessions: int = 0
    window: int = 0
    limit: int = 0
    depth: int = 0
    phase: str = ""
    shut: int = 0
    parked: int = 0

    @property
    def queued(self) -> int:
        """Recipients that wait for something."""
        return sum(self.states.values())


class DestinationView(msgspec.Struct, frozen=True, kw_only=True):
    """A destination over all workers; `waiting` is what is queued on its `routes` and not held. One that is
    neither `proven` nor has an outage was not tried yet. `takes` says in words what was learnt of its limits,
    "" where none are known.
    """

    name: str
    routes: list[str]
    mode: str
    sessions: int
    idle: int
    takes: str
    doubts: int
    last_doubt: str
    proven: bool
    outage: Outage | None
    waiting: int


class WorkerView(msgspec.Struct, frozen=True, kw_only=True):
    """A worker; `lives`: its heartbeat came in time. `routes` it serves."""

    id: int
    host: str
    pid: int
    started: int
    beat_at: int
    lives: bool
    version: str
    routes: int
    sessions: int
    memory: int
