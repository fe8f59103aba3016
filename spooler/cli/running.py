"""What `worker` and `drain` do in one process: its signals, its logs, its keeper if it has one."""

from __future__ import annotations

import os
from contextlib import asynccontextmanager, contextmanager
from functools import partial
from typing import TYPE_CHECKING, TypeVar

import msgspec
import trio

from spooler import collector
from spooler.cli.progress import SHOW_EVERY, Summary, Tally, bar
from spooler.cli.signals import read_again, watch_reload, watch_signals
from spooler.delivery.claimer import Until
from spooler.errors import SpoolerError, TryAgainError
from spooler.events import Event, Risk, WorkerState
from spooler.ops.logging import EventLog
from spooler.ops.manager import Manager
from spooler.ops.metrics import Metrics
from spooler.ops.pulse import Taker, Teller
from spooler.spool.remote import spool_process
from spooler.supervise import Report, Tether
from spooler.worker import WorkerRun

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterator

    from spooler.cli.options import Settings
    from spooler.config import Config, Http
    from spooler.events import Observe
    from spooler.ops.pulse import Pulse
    from spooler.part import Part
    from spooler.spool.remote import RemoteSpool
    from spooler.spool.starting import Started

T = TypeVar("T")


def run_worker(settings: Settings, started: Started, *, log_level: str, reread: Callable[[], Config]) -> None:
    """Run a worker until a signal; raises TryAgainError if results could not be settled.

    `reread` reads the configuration again.
    """
    log = EventLog(level=log_level)
    _warn(settings, log)
    tether = Tether.of_environment()
    shown = Shown(settings.config.http, tether, log)

    async def main() -> bool:
        async with spool_process(started) as spool:
            run = WorkerRun(
                spool=spool,
                config=_part_of(settings.config, tether),
                journals=settings.journals,
                observe=shown.observe,
                spool_pid=spool.pid,
            )
            if tether is not None:
                tether.report(Report())
            async with shown.while_running(run, spool):
                return await _obeying(run, log, tether, reread=lambda: _part_of(reread(), tether))

    with _told(tether):
        if not _run(main):
            raise _unsettled()


def run_drain(
    settings: Settings,
    started: Started,
    *,
    until_empty: bool,
    quiet: bool,
    log_level: str,
) -> int:
    """Drain; return how many recipients are left that nobody holds. With a keeper, tell it instead."""
    log = EventLog(level=log_level)
    _warn(settings, log)
    tether = Tether.of_environment()
    tally = Tally()
    summary = Summary()
    total = 0

    shown = Shown(settings.config.http, tether, log, report=lambda: tally.report(total=total))

    def observe(event: Event) -> None:
        tally(event)
        shown.observe(event)

    async def main() -> int:
        nonlocal total
        async with spool_process(started) as spool:
            run = WorkerRun(
                spool=spool,
                config=_part_of(settings.config, tether),
                journals=settings.journals,
                observe=observe,
                until=Until(empty=until_empty),
                spool_pid=spool.pid,
            )
            total = await spool.left()
            with bar(on=not quiet and tether is None) as show:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(_regularly, lambda: tell(show))
                    async with shown.while_running(run, spool):
                        if not await _obeying(run, log, tether):
                            raise _unsettled()
                    nursery.cancel_scope.cancel()
            return await spool.left()

    def tell(show: Callable[[Report], None]) -> None:
        report = tally.report(total=total)
        show(report)
        if tether is not None:
            tether.report(report, wait=False)

    with _told(tether):
        left = _run(main)
    report = tally.report(total=total, left=left)
    if tether is not None:
        tether.report(report)
        return 0
    if not quiet:
        summary.show(report)
    return left


class Shown:
    """What a process shows over HTTP, or tells its keeper who does; events go to its log in any case."""

    def __init__(
        self, http: Http, tether: Tether | None, log: EventLog, *, report: Callable[[], Report] = Report
    ) -> None:
        self._http = http
        self._tether = tether
        self._log = log
        self._report = report
        self.observe: Observe = log
        if http.listen:
            self._metrics = metrics = Metrics()

            def observe(event: Event) -> None:
                log(event)
                metrics(event)

            self.observe = observe

    @asynccontextmanager
    async def while_running(self, run: WorkerRun, spool: RemoteSpool) -> AsyncIterator[None]:
        """Show or tell for the block."""
        if not self._http.listen:
            yield
            return
        taker = Taker(run, spool, self._metrics)
        async with trio.open_nursery() as nursery:
            if self._tether is None:
                from spooler.cli.showing import serve_worker

                nursery.start_soon(serve_worker, self._http, run, spool, taker, self._log)
                yield
            else:
                teller = Teller(taker, partial(self._tell, self._tether))
                nursery.start_soon(teller.run)
                yield
                await teller.once()  # what was done since the last time
            nursery.cancel_scope.cancel()

    def _tell(self, tether: Tether, pulse: Pulse) -> bool:
        return tether.report(msgspec.structs.replace(self._report(), pulse=pulse), wait=False)


def _warn(settings: Settings, log: EventLog) -> None:
    """Tell of a risk that comes with this machine's SQLite, where the spool is a file of it."""
    if settings.url.startswith("sqlite:"):
        from spooler.spool.sqlite_race import warning  # loads SQLite, in vain where the spool is a server

        found = warning(settings.url)
        if found is not None:
            log(Risk(*found))


def _unsettled() -> TryAgainError:
    return TryAgainError(
        "the spool did not take the last results", hint="they are taken over as uncertain when it is back"
    )


async def _regularly(act: Callable[[], None]) -> None:
    while True:
        act()
        await trio.sleep(SHOW_EVERY)


def _part_of(config: Config, tether: Tether | None) -> Config:
    """Give each of several processes its share of every route's sessions; where it is 0, not the route."""
    if tether is None:
        return config
    share: Part = tether.part
    routes = {
        name: msgspec.structs.replace(route, sessions=share.share(route.sessions))
        for name, route in config.routes.items()
        if share.share(route.sessions)
    }
    return msgspec.structs.replace(config, routes=routes)


@contextmanager
def _told(tether: Tether | None) -> Iterator[None]:
    """Let the keeper say what is wrong: there may be several of us that meet the same."""
    try:
        yield
    except SpoolerError as error:
        if tether is None:
            raise
        tether.report(Report(error=str(error)))
        raise SystemExit(error.exit_code) from None


def _run(main: Callable[[], Awaitable[T]]) -> T:
    """Run in trio; an error that people can mend is raised as itself, not in a group."""
    collector.run_seldom()
    try:
        return trio.run(main)
    except BaseExceptionGroup as group:
        errors: BaseException = group
        while isinstance(errors, BaseExceptionGroup) and len(errors.exceptions) == 1:
            errors = errors.exceptions[0]
        if isinstance(errors, SpoolerError):
            raise errors from None
        raise


async def _obeying(
    run: WorkerRun, log: EventLog, tether: Tether | None, *, reread: Callable[[], Config] | None = None
) -> bool:
    """Run the worker, which stops when it is asked to; whether everything was settled.

    With `reread` it reads its configuration again when it is asked to.
    """
    asked = 0
    manager = Manager({} if tether is not None else os.environ)  # else the keeper tells it

    async def ready() -> None:
        await run.begun.wait()
        manager.ready()
        if tether is not None and reread is not None:
            tether.report(Report(begun=True))

    def stop(requests: int) -> None:
        nonlocal asked
        manager.stopping()
        while asked < requests:
            asked += 1
            run.stop()

    def reload() -> None:
        if reread is not None:
            read_again(reread, run.reload, log)

    def orphaned() -> None:
        log(WorkerState(worker=0, state="orphaned", detail="the process that started this one is gone"))
        stop(1)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(log.run)
        nursery.start_soon(manager.run)
        nursery.start_soon(ready)
        if reread is not None:
            await nursery.start(watch_reload, reread, run.reload, log)
        if tether is None:
            await nursery.start(watch_signals, lambda count: stop(count))
        else:
            # of these the keeper may know too: see `spooler.supervise`
            await nursery.start(watch_signals, lambda _: stop(1))
            nursery.start_soon(lambda: tether.obey(stop, orphaned=orphaned, reload=reload))
        settled = await run.run()
        if run.failure is not None:
            raise run.failure
        nursery.cancel_scope.cancel()
    return settled
