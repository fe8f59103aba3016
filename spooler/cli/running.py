"""What `worker` does in one process, and what `drain` does alike: signals, logs, a keeper if there is one."""

from __future__ import annotations

import os
from contextlib import asynccontextmanager, contextmanager
from functools import partial
from typing import TYPE_CHECKING, TypeVar

import msgspec
import trio

from spooler import collector
from spooler.cli.signals import read_again, watch_reload, watch_signals
from spooler.errors import SpoolerError, TryAgainError
from spooler.events import Event, Risk, WorkerState
from spooler.ops.logging import EventLog
from spooler.ops.manager import Manager
from spooler.ops.metrics import Metrics
from spooler.ops.pulse import Gathering, Taker, Teller
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
    warn(settings, log)
    tether = Tether.of_environment()
    shown = Shown(settings.config.http, tether, log)

    async def main() -> bool:
        async with spool_process(started) as spool:
            run = WorkerRun(
                spool=spool,
                config=part_of(settings.config, tether),
                journals=settings.journals,
                observe=shown.observe,
                spool_pid=spool.pid,
            )
            if tether is not None:
                tether.report(Report())
            async with shown.while_running(run, spool):
                return await obeying(run, log, tether, reread=lambda: part_of(reread(), tether))

    with told(tether):
        if not run_in_trio(main):
            raise unsettled()


class Shown:
    """What a process shows over HTTP, or tells its keeper who does; events go to its log in any case.

    `counting`: events are counted in any case too, for a report; `gathering` has the counts in the end.
    """

    def __init__(
        self,
        http: Http,
        tether: Tether | None,
        log: EventLog,
        *,
        counting: bool = False,
        report: Callable[[], Report] = Report,
    ) -> None:
        self._http = http
        self._tether = tether
        self._log = log
        self._report = report
        self._counts = counting or bool(http.listen)
        self.gathering = Gathering()
        self.observe: Observe = log
        if self._counts:
            self._metrics = metrics = Metrics()

            def observe(event: Event) -> None:
                log(event)
                metrics(event)

            self.observe = observe

    @asynccontextmanager
    async def while_running(self, run: WorkerRun, spool: RemoteSpool) -> AsyncIterator[None]:
        """Show or tell for the block."""
        if not self._counts:
            yield
            return
        taker = Taker(run, spool, self._metrics)
        async with trio.open_nursery() as nursery:
            if self._tether is None:
                if self._http.listen:
                    from spooler.cli.showing import serve_worker

                    nursery.start_soon(serve_worker, self._http, run, spool, taker, self.gathering, self._log)
                yield
                self.gathering.take(0, await taker.take())
            else:
                teller = Teller(taker, partial(self._tell, self._tether))
                nursery.start_soon(teller.run)
                yield
                await teller.once()  # what was done since the last time
            nursery.cancel_scope.cancel()

    def _tell(self, tether: Tether, pulse: Pulse) -> bool:
        return tether.report(msgspec.structs.replace(self._report(), pulse=pulse), wait=False)


def warn(settings: Settings, log: EventLog) -> None:
    """Tell of a risk that comes with this machine's SQLite, where the spool is a file of it."""
    if settings.url.startswith("sqlite:"):
        from spooler.spool.sqlite_race import warning  # loads SQLite, in vain where the spool is a server

        found = warning(settings.url)
        if found is not None:
            log(Risk(*found))


def unsettled() -> TryAgainError:
    return TryAgainError(
        "the spool did not take the last results", hint="they are taken over as uncertain when it is back"
    )


def part_of(config: Config, tether: Tether | None) -> Config:
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
def told(tether: Tether | None) -> Iterator[None]:
    """Let the keeper say what is wrong: there may be several of us that meet the same."""
    try:
        yield
    except SpoolerError as error:
        if tether is None:
            raise
        tether.report(Report(error=str(error)))
        raise SystemExit(error.exit_code) from None


def run_in_trio(main: Callable[[], Awaitable[T]]) -> T:
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


async def obeying(
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
            await nursery.start(partial(watch_signals, lambda count: stop(count), hangup=reread is None))
        else:
            # of these the keeper may know too: see `spooler.supervise`
            await nursery.start(partial(watch_signals, lambda _: stop(1), hangup=reread is None))
            nursery.start_soon(tether.live)
            nursery.start_soon(lambda: tether.obey(stop, orphaned=orphaned, reload=reload))
        settled = await run.run()
        if run.failure is not None:
            raise run.failure
        nursery.cancel_scope.cancel()
    return settled
