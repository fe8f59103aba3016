"""What `drain` does: in one process, or by keeping several; and what it was asked."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import trio

from spooler.cli import reporting
from spooler.cli.keeping import Kept, server, with_signals
from spooler.cli.progress import SHOW_EVERY, Following, Tally, bar, together
from spooler.cli.running import Shown, obeying, part_of, run_in_trio, told, unsettled, warn
from spooler.delivery.drain import Drain
from spooler.errors import TryAgainError
from spooler.events import ProcessEnded
from spooler.ident import now_us
from spooler.ops.logging import EventLog
from spooler.ops.manager import Manager
from spooler.ops.pulse import Gathering
from spooler.ops.report import TOP_REASONS, DrainReport, Why, sum_up
from spooler.policy.pace import Pace
from spooler.program import version
from spooler.spool.remote import spool_process
from spooler.supervise import Keeper, Report, Tether
from spooler.worker import WorkerRun

if TYPE_CHECKING:
    from collections.abc import Callable

    from spooler.cli.options import Settings
    from spooler.events import Event
    from spooler.spool.remote import RemoteSpool
    from spooler.spool.starting import Started


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """What a drain was asked on the command line.

    `routes`: of these alone, () is all; the settings have no others then.
    `max_rate` recipients a second, reached after `ramp` seconds; `deadline` µs UTC.
    """

    until_empty: bool = False
    job: str = ""
    routes: tuple[str, ...] = ()
    max_rate: float | None = None
    ramp: float = 0.0
    deadline: int | None = None
    quiet: bool = False
    as_json: bool = False
    reports: tuple[Path, ...] = ()

    @property
    def counts(self) -> bool:
        """Whether there is anybody to tell what came of it."""
        return not self.quiet or self.as_json or bool(self.reports)


def run_drain(settings: Settings, started: Started, asked: Asked, *, log_level: str) -> int:
    """Drain; return how many recipients are left that nobody holds. With a keeper, tell it instead."""
    log = EventLog(level=log_level)
    warn(settings, log)
    tether = Tether.of_environment()
    tally = Tally()
    total = 0
    why = Why.EMPTY if asked.until_empty else Why.DONE
    shown = Shown(
        settings.config.http, tether, log, counting=asked.counts, report=lambda: tally.report(total=total)
    )

    def observe(event: Event) -> None:
        tally(event)
        shown.observe(event)

    async def main() -> int:
        nonlocal total, why
        async with spool_process(started) as spool:
            run = WorkerRun(
                spool=spool,
                config=part_of(settings.config, tether),
                journals=settings.journals,
                observe=observe,
                drain=_drain(asked, parts=1 if tether is None else tether.part.count),
                spool_pid=spool.pid,
            )
            total = await _left(spool, asked)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(_regularly, lambda: tell(tally.report(total=total)))
                if tether is None:
                    late = await nursery.start(_stop_at, asked.deadline, run.stop)
                async with shown.while_running(run, spool):
                    if not await obeying(run, log, tether):
                        raise unsettled()
                if tether is None and run.asked_to_stop:
                    why = Why.DEADLINE if late.is_set() else Why.STOPPED
                nursery.cancel_scope.cancel()
            return await _left(spool, asked)

    def tell(report: Report) -> None:
        if tether is not None:
            tether.report(report, wait=False)
        else:
            following(report)

    with told(tether), bar(on=not asked.quiet and tether is None) as show:
        following = Following(show, log)
        left = run_in_trio(main)
    report = tally.report(total=total, left=left)
    if tether is not None:
        tether.report(report)
        return 0
    _end(asked, following, report, shown.gathering, why)
    return left


def keep_drain(kept: Kept, asked: Asked, *, log_level: str) -> int:
    """Run a drain in several processes until all are done; return how many recipients are left."""
    log = EventLog(level=log_level)
    gathering = Gathering()
    deaths = 0
    why = Why.EMPTY if asked.until_empty else Why.DONE

    def observe(event: Event) -> None:
        nonlocal deaths
        deaths += isinstance(event, ProcessEnded)
        log(event)

    with bar(on=not asked.quiet) as show:
        following = Following(show, log)

        def heard(part: int, report: Report) -> None:
            if report.pulse is not None:
                gathering.take(part, report.pulse)
            following(together(keeper.reports))

        keeper = Keeper(
            kept.argv, count=kept.count, env=kept.env, endless=False, observe=observe, heard=heard
        )

        async def main() -> bool:
            async with trio.open_nursery() as nursery:
                late: trio.Event = await nursery.start(_stop_at, asked.deadline, keeper.stop)
                await with_signals(keeper, log, server(kept, gathering, log), Manager())
                nursery.cancel_scope.cancel()
            return late.is_set()

        if run_in_trio(main):
            why = Why.DEADLINE
        elif keeper.asked_to_stop:
            why = Why.STOPPED
    report = together(keeper.reports)
    _end(asked, following, report, gathering, why, deaths=deaths)
    if report.left is None:
        raise TryAgainError("no process came to its end", hint="the log says why")
    return report.left


def _drain(asked: Asked, *, parts: int) -> Drain:
    """Make what one of so many processes is to do."""
    rate = asked.max_rate
    pace = None if rate is None else Pace(rate / parts, ramp=asked.ramp)
    return Drain(until_empty=asked.until_empty, job=asked.job, pace=pace)


async def _left(spool: RemoteSpool, asked: Asked) -> int:
    """How many recipients are queued, and not held, of what is to be drained."""
    routes = list(asked.routes) or None
    if asked.job:
        return sum(one.count for one in (await spool.job_left(routes, asked.job)).values())
    return await spool.left(routes)


async def _stop_at(
    deadline: int | None, stop: Callable[[], None], *, task_status: trio.TaskStatus[trio.Event]
) -> None:
    """Stop at a time of the wall clock, which may be set meanwhile; the event says whether it was that."""
    late = trio.Event()
    task_status.started(late)
    if deadline is None:
        return
    while True:
        left = (deadline - now_us()) / 1e6
        if left <= 0:
            break
        await trio.sleep(min(left, 1.0))
    late.set()
    stop()


async def _regularly(act: Callable[[], None]) -> None:
    while True:
        act()
        await trio.sleep(SHOW_EVERY)


def _end(
    asked: Asked, following: Following, report: Report, gathering: Gathering, why: Why, *, deaths: int = 0
) -> None:
    """Sum up, and tell what was asked for."""
    following(report, last=True)
    if why is Why.EMPTY and report.left:
        why = Why.DONE  # on a route that is not configured here there is more
    summary: DrainReport = sum_up(
        gathering.counts,
        gathering.errors.top(TOP_REASONS),
        following.course,
        down=report.down,
        version=version(),
        job=asked.job,
        began=following.began,
        took=int(following.took() * 1e6),
        why=why,
        max_rate=asked.max_rate,
        total=report.total,
        left=report.left,
        deaths=deaths,
    )
    reporting.tell(summary, quiet=asked.quiet, as_json=asked.as_json, paths=asked.reports)
