"""Where `worker` and `drain` show how they stand, and what serves it.

A command in one process serves by itself. Of several processes each tells its pulse to the keeper, which
serves for all: one address, one truth. What serves is loaded only where it is wanted.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import click
import msgspec
import trio

from spooler.config import check_config
from spooler.errors import SpoolerError, UnavailableError
from spooler.events import Risk
from spooler.ident import now_us
from spooler.spool.remote import spool_process

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from spooler.cli.options import Settings
    from spooler.config import Http
    from spooler.events import Observe
    from spooler.ops.pulse import Gathering, Taker
    from spooler.records import QueuedRecipient, QueueFilter
    from spooler.sample import Sample, Traced
    from spooler.spool.remote import RemoteSpool
    from spooler.worker import WorkerRun

OFF = "off"
AGAIN = 5.0  # seconds until the keeper's own spool process is started again


def http_option(default: str) -> Callable[[Any], Any]:
    """Add --http (parameter `http`); `default` says what is done without it."""
    return click.option(
        "--http",
        metavar="ADDRESS:PORT",
        envvar="SPOOLER_HTTP",
        show_envvar=True,
        help=f"Serve metrics, health and the status page here, or '{OFF}'; default: {default}.",
    )


def showing(settings: Settings, asked: str | None, *, unasked: bool) -> Settings:
    """Put into the configuration where to serve; `unasked`: also where the command line does not say.

    Raises UsageError, and what is wrong with the file of the token.
    """
    http = settings.config.http
    if asked is not None:
        http = msgspec.structs.replace(http, listen="" if asked == OFF else asked)
    elif not unasked:
        http = msgspec.structs.replace(http, listen="")
    config = msgspec.structs.replace(settings.config, http=http)
    check_config(config)
    if http.listen:
        from spooler.ops.guard import read_token  # loads what serves

        read_token(http.token_file)
    return msgspec.structs.replace(settings, config=config)


async def serve_worker(
    http: Http, run: WorkerRun, spool: RemoteSpool, taker: Taker, gathering: Gathering, observe: Observe
) -> None:
    """Serve for a command in one process until cancelled."""
    from spooler.ops.guard import read_token
    from spooler.ops.service import show
    from spooler.ops.watch import Watch

    listen = http.parsed
    assert listen is not None

    async def pulse() -> None:
        gathering.take(0, await taker.take())

    watch = Watch(spool=spool, gathering=gathering, clock=now_us, pulse=pulse, standing=run.own_standing)
    await show(watch, listen, token=read_token(http.token_file), observe=observe)


async def serve_keeper(http: Http, url: str, gathering: Gathering, observe: Observe) -> None:
    """Serve for a command of several processes until cancelled."""
    from spooler.ops.guard import read_token
    from spooler.ops.service import show
    from spooler.ops.watch import Watch

    listen = http.parsed
    assert listen is not None
    spool = KeepersSpool(url, observe)
    watch = Watch(spool=spool, gathering=gathering, clock=now_us)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(spool.run)
        await show(watch, listen, token=read_token(http.token_file), observe=observe)


class KeepersSpool:
    """A spool process for looks alone, started again when it ends: the keeper does not end with it."""

    def __init__(self, url: str, observe: Observe) -> None:
        self._url = url
        self._observe = observe
        self._spool: RemoteSpool | None = None
        self._why = "it is being opened"

    async def run(self) -> None:
        """Keep it until cancelled."""
        while True:
            try:
                async with spool_process(self._url) as self._spool:
                    await trio.sleep_forever()
            except* SpoolerError as group:
                why = "; ".join(str(error) for error in group.exceptions)
                if why != self._why:
                    self._observe(
                        Risk(what=f"the status page does not see the spool: {why}", mend="it tries on")
                    )
                self._why = why
            finally:
                self._spool = None
            await trio.sleep(AGAIN)

    async def sample(self, *, now: int) -> Sample:
        """See `spooler.ops.ports`, here and below."""
        return await self._there().sample(now=now)

    async def trace(self, what: str, *, limit: int) -> Traced:
        return await self._there().trace(what, limit=limit)

    async def queue(
        self,
        *,
        filter: QueueFilter,  # noqa: A002  # as the store's
        limit: int,
        after: tuple[int, int] | None = None,
    ) -> list[QueuedRecipient]:
        return await self._there().queue(filter=filter, limit=limit, after=after)

    def _there(self) -> RemoteSpool:
        if self._spool is None:
            raise UnavailableError(f"the spool does not answer: {self._why}", hint="try again")
        return self._spool
