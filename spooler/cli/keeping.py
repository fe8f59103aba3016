"""`worker` and `drain` in several processes: how many, and what the one that keeps them says."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click
import trio

from spooler.cli.progress import Summary, bar, together
from spooler.cli.signals import watch_signals
from spooler.errors import SpoolerError, TryAgainError
from spooler.ops.logging import EventLog
from spooler.supervise import Keeper

if TYPE_CHECKING:
    from collections.abc import Sequence

    from spooler.cli.options import Settings

MOST = 8  # processes by default: with their connections far below what Postgres takes (max_connections)
CORES = 2  # that a worker keeps busy, measured: itself 1, its spool process, the database and a target 1


def how_many(settings: Settings, asked: int | None) -> int:
    """How many processes to run; says so if it cannot be as many as were asked for."""
    if not settings.url.startswith("postgres"):
        if asked is not None and asked > 1:
            click.echo("spooler: SQLite has one writer at a time: one process does the work", err=True)
        return 1
    count = asked or min(MOST, len(os.sched_getaffinity(0)) // CORES)
    # one that had no session on any route would have nothing to do
    return max(1, min(count, max((route.sessions for route in settings.config.routes.values()), default=1)))


class Kept:
    """The command that several processes run: its words, and what makes them take the same settings."""

    def __init__(
        self, settings: Settings, words: Sequence[str], *, config: Path | None, target: str | None, count: int
    ) -> None:
        # modules are looked for where this process found them: in the folder it runs in only if it did
        isolated = [] if sys.path[0] in ("", str(Path.cwd())) else ["-P"]
        self.argv = [sys.executable, *isolated, "-m", "spooler", *words]
        self.count = count
        # not as arguments, which everybody on the machine can read
        given = {
            "SPOOLER_SPOOL": settings.url,
            "SPOOLER_CONFIG": None if config is None else str(config),
            "SPOOLER_TARGET": target,
        }
        inherited = {name: value for name, value in os.environ.items() if name not in given}
        self.env = inherited | {name: value for name, value in given.items() if value is not None}


def keep_workers(kept: Kept, *, log_level: str) -> None:
    """Run workers until a signal."""
    log = EventLog(level=log_level)
    keeper = Keeper(kept.argv, count=kept.count, env=kept.env, endless=True, observe=log)
    trio.run(_with_signals, keeper, log)


def keep_drain(kept: Kept, *, log_level: str, quiet: bool) -> int:
    """Run a drain in several processes until all are done; return how many recipients are left."""
    log = EventLog(level=log_level)
    summary = Summary()
    with bar(on=not quiet) as show:
        keeper = Keeper(
            kept.argv,
            count=kept.count,
            env=kept.env,
            endless=False,
            observe=log,
            heard=lambda: show(together(keeper.reports)),
        )
        trio.run(_with_signals, keeper, log)
    report = together(keeper.reports)
    if not quiet:
        summary.show(report)
    if report.left is None:
        raise TryAgainError("no process came to its end", hint="the log says why")
    return report.left


async def _with_signals(keeper: Keeper, log: EventLog) -> None:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(log.run)
        await nursery.start(watch_signals, lambda _: keeper.stop())
        error = None
        try:
            await keeper.run()
        except SpoolerError as raised:
            error = raised
        nursery.cancel_scope.cancel()
    if error is not None:
        raise error
