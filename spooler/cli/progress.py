"""What a drain did: counted, shown as a bar on a terminal, and summed up in the end."""

from __future__ import annotations

import sys
from collections import Counter
from contextlib import contextmanager
from time import monotonic
from typing import TYPE_CHECKING

from spooler.address import show
from spooler.events import Event, RouteDown, RouteUp, TransactionEnded
from spooler.result import Outcome
from spooler.supervise import Report

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

SHOW_EVERY = 0.25  # seconds
_LEFT = "deferred, held by another worker, or on a route that is not configured here; see spooler queue stats"
_WHY_LIMIT = 500  # characters of a server's words


class Tally:
    """Counts what one process did."""

    def __init__(self) -> None:
        self.outcomes: Counter[Outcome] = Counter()
        self.down: dict[str, str] = {}

    def __call__(self, event: Event) -> None:
        """Take an event."""
        match event:
            case TransactionEnded(results=results):
                outcomes = self.outcomes
                for result in results:
                    outcomes[result.outcome] += 1
            case RouteDown(route=route, why=why):
                self.down[route] = why
            case RouteUp(route=route):
                self.down.pop(route, None)
            case _:
                pass

    def report(self, *, total: int | None = None, left: int | None = None) -> Report:
        """Return what was counted."""
        outcomes = {outcome.value: count for outcome, count in self.outcomes.items()}
        return Report(outcomes=outcomes, down=dict(self.down), total=total, left=left)


def together(reports: Sequence[Report]) -> Report:
    """Sum up what several processes did.

    Each counted at its start and at its end, when others had begun or had not ended yet: the most there was
    at a start, and the least that was left at an end, are nearest to the truth.
    """
    outcomes: Counter[str] = Counter()
    down: dict[str, str] = {}
    for report in reports:
        outcomes.update(report.outcomes)
        down.update(report.down)
    return Report(
        outcomes=dict(outcomes),
        down=down,
        total=max((report.total for report in reports if report.total is not None), default=None),
        left=min((report.left for report in reports if report.left is not None), default=None),
    )


@contextmanager
def bar(*, on: bool) -> Iterator[Callable[[Report], None]]:
    """Show a progress bar, on a terminal only; call what is given with what was done so far."""
    if not on or not sys.stderr.isatty():
        yield lambda report: None  # noqa: ARG005  # as the other
        return
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TaskProgressColumn,
        TextColumn,
        TimeRemainingColumn,
    )

    columns = (
        TextColumn("draining"),
        BarColumn(),
        MofNCompleteColumn(),
        TaskProgressColumn(show_speed=True),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True)) as progress:
        task = progress.add_task("draining", total=None)

        def show(report: Report) -> None:
            ended = sum(report.outcomes.values()) - report.outcomes.get(Outcome.DEFERRED, 0)
            progress.update(task, completed=ended, total=report.total)

        yield show


class Summary:
    """Prints the end of a drain in a few words; made when it begins."""

    def __init__(self) -> None:
        self._began = monotonic()

    def show(self, report: Report) -> None:
        """Print it."""
        took = monotonic() - self._began
        done = sum(report.outcomes.values())
        parts = [f"{count} {o.value}" for o in Outcome if (count := report.outcomes.get(o, 0))]
        rate = f", {done / took:,.0f} recipients/s" if took > 0 and done else ""
        left = "unknown" if report.left is None else report.left
        why = f": {_LEFT}" if report.left else ""
        done_in = f"{', '.join(parts) or 'nothing to do'} in {took:.1f} s{rate}"
        print(f"{done_in}; {left} left{why}", file=sys.stderr)  # noqa: T201  # it is the command's output
        for route, why in report.down.items():
            print(f"route {route} is down: {show(why, _WHY_LIMIT)}", file=sys.stderr)  # noqa: T201  # it is the command's output
