"""What `worker` and `drain` share: signals, logs, and the progress of a drain."""

from __future__ import annotations

import signal
import sys
from collections import Counter
from contextlib import contextmanager
from time import monotonic
from typing import TYPE_CHECKING, TypeVar

import trio
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskProgressColumn,
    TextColumn,
    TimeRemainingColumn,
)

from spooler.delivery.claimer import Until
from spooler.errors import ConfigError, SpoolerError, TryAgainError
from spooler.events import Event, RouteDown, RouteUp, TransactionEnded
from spooler.ops.logging import EventLog
from spooler.result import Outcome
from spooler.spool.remote import spool_process
from spooler.worker import WorkerRun

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

    from spooler.cli.options import Settings

T = TypeVar("T")


def run_worker(settings: Settings, *, log_level: str) -> None:
    """Run a worker until a signal; raises TryAgainError if results could not be settled."""
    _check(settings)
    log = EventLog(level=log_level)

    async def main() -> bool:
        async with spool_process(settings.url) as spool:
            run = WorkerRun(spool=spool, config=settings.config, observe=log)
            return await _with_signals(run, log)

    if not _run(main):
        raise TryAgainError(
            "the spool did not take the last results",
            hint="they are taken over as uncertain when the spool is back",
        )


def run_drain(settings: Settings, *, until_empty: bool, quiet: bool, log_level: str) -> int:
    """Drain; return how many recipients are left that nobody holds."""
    _check(settings)
    log = EventLog(level=log_level)
    tally = DrainTally()

    def observe(event: Event) -> None:
        tally(event)
        log(event)

    async def main() -> int:
        async with spool_process(settings.url) as spool:
            run = WorkerRun(
                spool=spool, config=settings.config, observe=observe, until=Until(empty=until_empty)
            )
            total = await spool.left()
            with tally.shown(total=total, on=not quiet):
                await _with_signals(run, log)
            return await spool.left()

    left = _run(main)
    if not quiet:
        tally.summarise(left)
    return left


class DrainTally:
    """Counts what a drain did, and shows it."""

    def __init__(self) -> None:
        self.outcomes: Counter[Outcome] = Counter()
        self.down: dict[str, str] = {}
        self.began = monotonic()
        self._progress: Progress | None = None

    def __call__(self, event: Event) -> None:
        """Take an event."""
        match event:
            case TransactionEnded(results=results):
                outcomes = self.outcomes
                deferred = outcomes[Outcome.DEFERRED]
                for result in results:
                    outcomes[result.outcome] += 1
                if self._progress is not None:
                    ended = len(results) - (outcomes[Outcome.DEFERRED] - deferred)
                    self._progress.advance(self._progress.task_ids[0], ended)
            case RouteDown(route=route, why=why):
                self.down[route] = why
            case RouteUp(route=route):
                self.down.pop(route, None)
            case _:
                pass

    @contextmanager
    def shown(self, *, total: int, on: bool) -> Iterator[None]:
        """Show a progress bar, on a terminal only."""
        console = Console(stderr=True)
        if not on or not console.is_terminal:
            yield
            return
        columns = (
            TextColumn("draining"),
            BarColumn(),
            MofNCompleteColumn(),
            TaskProgressColumn(show_speed=True),
            TimeRemainingColumn(),
        )
        with Progress(*columns, console=console) as progress:
            progress.add_task("draining", total=total)
            self._progress = progress
            yield
        self._progress = None

    def summarise(self, left: int) -> None:
        """Print the end of the drain in a few words."""
        took = monotonic() - self.began
        done = self.outcomes.total()
        parts = [f"{self.outcomes[o]} {o.value}" for o in Outcome if self.outcomes[o]]
        rate = f", {done / took:,.0f} recipients/s" if took > 0 and done else ""
        print(f"{', '.join(parts) or 'nothing to do'} in {took:.1f} s{rate}; {left} left", file=sys.stderr)  # noqa: T201  # it is the command's output
        for route, why in self.down.items():
            print(f"route {route} is down: {why}", file=sys.stderr)  # noqa: T201  # it is the command's output


def _run(main: Callable[[], Awaitable[T]]) -> T:
    """Run in trio; an error that people can mend is raised as itself, not in a group."""
    try:
        return trio.run(main)
    except BaseExceptionGroup as group:
        errors: BaseException = group
        while isinstance(errors, BaseExceptionGroup) and len(errors.exceptions) == 1:
            errors = errors.exceptions[0]
        if isinstance(errors, SpoolerError):
            raise errors from None
        raise


def _check(settings: Settings) -> None:
    if not settings.config.routes:
        raise ConfigError(
            "no route is configured, so there is nowhere to deliver",
            hint="give --target DEST or write [routes.default] into the configuration",
        )


async def _with_signals(run: WorkerRun, log: EventLog) -> bool:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(log.run)
        await nursery.start(_watch_signals, run)
        settled = await run.run()
        nursery.cancel_scope.cancel()
    return settled


async def _watch_signals(run: WorkerRun, task_status: trio.TaskStatus[None]) -> None:
    with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
        task_status.started()
        async for _ in signals:
            run.stop()
