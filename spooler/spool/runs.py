"""Runs of the ledger: so many rows, one after another, that SQLite's index of addresses keeps together.

An index of addresses alone takes each new row on a page of its own, anywhere in it: with a thousand
rows, a thousand pages to read, to log and to bring into the file, the more the longer the ledger. Within a
run new entries meet on a few pages, and the pages of runs that are over rest. Whoever looks for an address
looks into each run: some 3 µs, for two thousand rows of the ledger.
"""

from __future__ import annotations

import threading

ROWS = 2000  # in a run, or a batch more


class Runs:
    """Numbers the runs of one writer: a run's number is the time when it began, µs UTC."""

    def __init__(self) -> None:
        self._mutex = threading.Lock()
        self._run = 0
        self._left = 0

    def take(self, rows: int, *, now: int) -> int:
        """Return the run that so many rows go into."""
        with self._mutex:
            if self._left <= 0:
                self._run = max(now, self._run + 1)
                self._left = ROWS
            self._left -= rows
            return self._run
