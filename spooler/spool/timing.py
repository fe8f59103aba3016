"""How long calls of the spool take: counted where they are made, by kind."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from time import perf_counter_ns
from typing import TYPE_CHECKING

from spooler.histogram import QUICK, Histogram

if TYPE_CHECKING:
    from collections.abc import Iterator


class Timing:
    """Shared by the threads of the spool process."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._calls: dict[str, Histogram] = {}

    @contextmanager
    def of(self, call: str) -> Iterator[None]:
        """Time a call, whatever comes of it."""
        began = perf_counter_ns()
        try:
            yield
        finally:
            took = (perf_counter_ns() - began) // 1000
            with self._lock:
                self._calls.setdefault(call, Histogram()).observe([took], QUICK)

    def take(self) -> dict[str, Histogram]:
        """Return what was counted since the last time."""
        with self._lock:
            calls, self._calls = self._calls, {}
        return calls
