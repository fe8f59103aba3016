"""Counting by the transactions that change the counts: no number ever needs a scan."""

from __future__ import annotations

import os
from collections import Counter
from typing import TYPE_CHECKING

from spooler.records import State
from spooler.spool import sql
from spooler.spool.statements import shared

if TYPE_CHECKING:
    from sqlalchemy import Connection

SLOTS = 32
"""Rows for writers that are no workers: as many of them as will hardly meet."""


def slot() -> int:
    """Return the writer under which this process counts while it is no worker."""
    return os.getpid() % SLOTS


class Deltas(Counter[tuple[str, str]]):
    """Changes of counts, by route and state."""

    def move(self, route: str, old: str, new: str, count: int = 1) -> None:
        """So many recipients went from one state to another."""
        self[route, old] -= count
        self[route, new] += count

    def leave(self, route: str, states: dict[str, int]) -> None:
        """Recipients lost their lease; `states` says how many are what now."""
        for state, count in states.items():
            self.move(route, State.ACTIVE.value, state, count)

    def apply(self, conn: Connection, writer: int) -> None:
        """Write them down."""
        rows = [(route, state, count) for (route, state), count in self.items() if count]
        for page in sql.pages(shared.ADD_TALLIES, rows):
            sql.run(conn, shared.ADD_TALLIES, page, writer=writer)
