"""What keeps several processes for `worker` and `drain`, and what it does for `worker`."""

from __future__ import annotations

import os
from functools import partial
from typing import TYPE_CHECKING

import trio

from spooler.cli.signals import watch_reload, watch_signals
from spooler.errors import SpoolerError
from spooler.ops.logging import EventLog
from spooler.ops.manager import Manager
from spooler.ops.pulse import Gathering
from spooler.spool.starting import interpreter
from spooler.supervise import Keeper

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence
    from pathlib import Path

    from spooler.cli.options import Settings
    from spooler.config import Config
    from spooler.supervise import Report


class Kept:
    """The command that several processes run: its words, and what makes them take the same settings."""

    def __init__(
        self, settings: Settings, words: Sequence[str], *, config: Path | None, target: str | None, count: int
    ) -> None:
        self.argv = [*interpreter(), "-m", "spooler", *words]
        self.count = count
        self.url = settings.url
        self.http = settings.config.http
        # not as arguments, which everybody on the machine can read
        given = {
            "SPOOLER_SPOOL": settings.url,
            "SPOOLER_CONFIG": None if config is None else str(config),
            "SPOOLER_TARGET": target,
        }
        inherited = {name: value for name, value in os.environ.items() if name not in given}
        self.env = inherited | {name: value for name, value in given.items() if value is not None}


def keep_workers(kept: Kept, *, log_level: str, reread: Callable[[], Config]) -> None:
    """Run workers until a signal; `reread` reads the configuration again, to see whether they can."""
    log = EventLog(level=log_level)
    gathering = Gathering()
    manager = Manager()
    begun: set[int] = set()

    def heard(part: int, report: Report) -> None:
        if report.begun:
            begun.add(part)
        if len(begun) == kept.count:
            manager.ready()
        if report.pulse is not None:
            gathering.take(part, report.pulse)

    keeper = Keeper(kept.argv, count=kept.count, env=kept.env, endless=True, observe=log, heard=heard)
    trio.run(with_signals, keeper, log, server(kept, gathering, log), manager, reread)


def server(kept: Kept, gathering: Gathering, log: EventLog) -> Callable[[], Awaitable[None]] | None:
    """Return what serves for all, None where nothing is to be served."""
    if not kept.http.listen:
        return None
    from spooler.cli.showing import serve_keeper

    return partial(serve_keeper, kept.http, kept.url, gathering, log)


async def with_signals(
    keeper: Keeper,
    log: EventLog,
    server: Callable[[], Awaitable[None]] | None,
    manager: Manager,
    reread: Callable[[], Config] | None = None,
) -> None:
    def stop(_: int) -> None:
        manager.stopping()
        keeper.stop()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(log.run)
        nursery.start_soon(manager.run)
        if server is not None:
            nursery.start_soon(server)
        if reread is not None:
            await nursery.start(watch_reload, reread, lambda _: keeper.reload(), log)
        await nursery.start(partial(watch_signals, stop, hangup=reread is None))
        error = None
        try:
            await keeper.run()
        except SpoolerError as raised:
            error = raised
        nursery.cancel_scope.cancel()
    if error is not None:
        raise error
