"""`python -m bench.stopwatch FILE …`: the command `spooler …`, with a stopwatch on its metrics.

For `bench.metrics`. It is the command itself, with two methods wrapped: how long a process was in them goes
to FILE as JSON when it ends, with the time from the first event that it was told to the last.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING

from spooler.cli.main import main
from spooler.ops.metrics import Metrics

if TYPE_CHECKING:
    from spooler.events import Event
    from spooler.ops.counts import Counts

_count, _take = Metrics.__call__, Metrics.take


class Stopwatch:
    """Seconds in metrics, and when events were told (seconds of the process's own clock)."""

    def __init__(self) -> None:
        self.spent = 0.0
        self.first: float | None = None
        self.last = 0.0

    def count(self, metrics: Metrics, event: Event) -> None:
        """Stand for `Metrics.__call__`."""
        began = perf_counter()
        _count(metrics, event)
        self.last = perf_counter()
        self.spent += self.last - began
        if self.first is None:
            self.first = began

    def take(self, metrics: Metrics) -> Counts:
        """Stand for `Metrics.take`."""
        began = perf_counter()
        counts = _take(metrics)
        self.spent += perf_counter() - began
        return counts


def run(argv: list[str]) -> int:
    """Run the command; return its exit code."""
    watch = Stopwatch()
    Metrics.__call__ = lambda self, event: watch.count(self, event)  # type: ignore[method-assign]  # see above
    Metrics.take = lambda self: watch.take(self)  # type: ignore[method-assign]  # see above
    code = main(argv[1:])
    took = watch.last - (watch.first or 0.0)
    Path(argv[0]).write_text(json.dumps({"spent": watch.spent, "took": took}))
    return code


if __name__ == "__main__":
    sys.exit(run(sys.argv[1:]))
