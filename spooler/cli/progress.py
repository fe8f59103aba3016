"""How far a drain has come: counted, shown as a bar on a terminal, told in the log elsewhere."""

from __future__ import annotations

import sys
from collections import Counter
from contextlib import contextmanager, suppress
from time import monotonic
from typing import IO, TYPE_CHECKING, Any, TextIO, cast

from spooler.events import DrainProgress, Event, RouteDown, RouteUp, TransactionEnded
from spooler.ident import now_us
from spooler.ops.course import Course
from spooler.result import Outcome
from spooler.supervise import Report

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from spooler.events import Observe

SHOW_EVERY = 0.25  # seconds
TELL_EVERY = 10.0


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
    with Progress(*columns, console=Console(file=cast("IO[str]", _Gone(sys.stderr)))) as progress:
        task = progress.add_task("draining", total=None)

        def show(report: Report) -> None:
            ended = sum(report.outcomes.values()) - report.outcomes.get(Outcome.DEFERRED, 0)
            progress.update(task, completed=ended, total=report.total)

        yield show


class _Gone:
    """A stream that may be gone: a terminal that was closed ends no drain."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401  # stands for any attribute
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        """Write it, if that can be."""
        with suppress(OSError):
            self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        """The same."""
        with suppress(OSError):
            self._stream.flush()


class Following:
    """Follows a drain from its begin: a bar on a terminal, a line of the log now and then elsewhere."""

    def __init__(self, show: Callable[[Report], None], observe: Observe) -> None:
        self.course = Course()
        self.began = now_us()
        self._show = show
        self._observe = observe if not sys.stderr.isatty() else None
        self._start = monotonic()
        self._tell_at = TELL_EVERY

    def took(self) -> float:
        """Seconds since it began."""
        return monotonic() - self._start

    def __call__(self, report: Report, *, last: bool = False) -> None:
        """Take what was done so far."""
        self._show(report)
        at = self.took()
        deferred = report.outcomes.get(Outcome.DEFERRED, 0)
        ended = sum(report.outcomes.values()) - deferred
        self.course.add(at, ended=ended, deferred=deferred, last=last)
        if self._observe is not None and at >= self._tell_at:
            self._tell_at = at + TELL_EVERY
            rate = self.course.rate(TELL_EVERY)
            left = None if report.total is None or not rate else max(0, report.total - ended) / rate
            self._observe(DrainProgress(ended=ended, total=report.total, rate=rate, seconds_left=left))
