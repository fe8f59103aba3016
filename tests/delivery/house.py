"""A whole worker in one process: a real SQLite spool called inline, real sinks, a clock that jumps."""

from __future__ import annotations

import hashlib
import os
import random
from collections import Counter
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import msgspec
import trio

from spooler.config import Config, Duration, Retry, Route, Worker
from spooler.delivery.drain import Drain
from spooler.envelope import BodyType, Content, NewMessage, NewRecipient
from spooler.events import Settled, TransactionEnded
from spooler.ident import IdMaker
from spooler.sink.script import Script
from spooler.sink.server import serve
from spooler.sink.state import SinkOptions
from spooler.spool import migrate
from spooler.spool.store import Store
from spooler.worker import WorkerRun

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence
    from pathlib import Path

    from spooler.delivery.ports import SpoolPort
    from spooler.events import Event
    from spooler.policy.pace import Pace
    from spooler.sink.state import Sink
    from spooler.sink.store import Letter

CONTENT = b"Subject: x\r\n\r\nhello\r\n"
EPOCH = 1_800_000_000_000_000  # µs UTC at which the jumping clock begins


def clock() -> int:
    """Wall clock that follows trio's."""
    return EPOCH + int(trio.current_time() * 1_000_000)


class Inline:
    """A store whose methods are awaited and run at once, in the caller's thread."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401  # stands for any method
        method = getattr(self._store, name)

        async def call(*args: object, **kwargs: object) -> object:
            await trio.lowlevel.checkpoint()
            return method(*args, **kwargs)

        return call

    @property
    def uuid(self) -> str:
        """See Store."""
        return self._store.uuid

    async def changed(self) -> float | None:
        """Nothing is heard where time is made up: the spool is polled."""
        return await trio.sleep_forever()


class Inbox:
    """A sink's store that keeps in memory who got what."""

    keeps = True

    def __init__(self) -> None:
        self.copies: Counter[str] = Counter()
        self.digests: set[str] = set()

    async def deliver(self, letter: Letter, sender: str, recipients: Sequence[str]) -> list[bool]:
        """See the sink's Store."""
        self.copies.update(recipients)
        file = os.memfd_create("letter")
        letter.copy_to(file)
        self.digests.add(hashlib.sha256(os.pread(file, 1 << 30, 0)).hexdigest())
        os.close(file)
        return [True] * len(recipients)


class House:
    """A spool with a worker to run on it."""

    def __init__(self, store: Store, journals: Path) -> None:
        self.store = store
        self.journals = journals
        self.spool: SpoolPort = Inline(store)
        self.events: list[Event] = []

    def enqueue(
        self,
        *recipients: str,
        content: bytes = b"Subject: x\r\n\r\nhello\r\n",
        route: str = "default",
        **options: object,
    ) -> int:
        """Put one message in."""
        if len(content) > 256 * 1024:
            pieces = [content[i : i + 256 * 1024] for i in range(0, len(content), 256 * 1024)]
            stored: int | None = self.store.store_chunks(pieces, now=EPOCH)
        else:
            stored = None
        message = NewMessage(
            sender="sender@x",
            recipients=tuple(NewRecipient(address=address, route=route) for address in recipients),
            content=Content(
                size=len(content),
                sha256=hashlib.sha256(content).hexdigest(),
                body=BodyType.SEVEN_BIT if content.isascii() else BodyType.EIGHT_BIT,
                data=b"" if stored else content,
                stored=stored,
            ),
            **options,  # type: ignore[arg-type]  # each test names fields of NewMessage
        )
        (enqueued,) = self.store.enqueue([message], now=EPOCH)
        return enqueued.id

    def worker(
        self,
        routes: dict[str, Route],
        *,
        until_empty: bool | None = True,
        job: str = "",
        pace: Pace | None = None,
        options: Worker | None = None,
        clock: Callable[[], int] = clock,
        observe: Callable[[Event], None] | None = None,
    ) -> WorkerRun:
        """Make a worker; `until_empty` None: one that runs until it is stopped."""
        # a jumping clock takes a task that waits for a thread, as a sync does, for idle
        unsynced = msgspec.structs.replace(options or Worker(), journal_sync=Duration(0))
        return WorkerRun(
            spool=self.spool,
            config=Config(routes=routes, lhlo="client", worker=unsynced),
            journals=self.journals,
            observe=observe or self.events.append,
            drain=None if until_empty is None else Drain(until_empty=until_empty, job=job, pace=pace),
            clock=clock,
            uptime=trio.current_time,
            poll=1.0,
            rng=random.Random(1),
        )

    async def drain(self, *sinks: Sink, until_empty: bool = True, **route: object) -> None:
        """Deliver what is queued to the sinks, as one route."""
        with trio.fail_after(10 * 86400):
            await self.worker({"default": route_to(*sinks, **route)}, until_empty=until_empty).run()
        told = [one for event in self.events if isinstance(event, TransactionEnded) for one in event.results]
        settled = [one for event in self.events if isinstance(event, Settled) for one in event.results]
        assert settled == told, "in the order in which they were told, and each once"

    def story(self, message: int) -> list[tuple[str, int, str, bool]]:
        """Return (address, attempt, outcome, uncertain) of a message's ledger, in order."""
        entries = self.store.ledger_of(message)
        return [
            (e.address, e.attempt, e.outcome, e.uncertain) for e in sorted(entries, key=lambda e: (e.at, e.n))
        ]

    def outcomes(self) -> dict[str, int]:
        """Return the tallies of all routes by state, without zeros."""
        counts: Counter[str] = Counter()
        for row in self.store.stats():
            counts[row.state.value] += row.count
        return {state: count for state, count in counts.items() if count}


def route_to(*sinks: Sink, **options: object) -> Route:
    """Make a route to the sinks with short retries."""
    return Route(
        destinations=[str(sink.bound[0]) for sink in sinks],
        retry=Retry(first=Duration(10), maximum=Duration(60)),
        **options,  # type: ignore[arg-type]  # each test names fields of Route
    )


@asynccontextmanager
async def sink(
    inbox: Inbox | None = None, *, certificate: Path | None = None, implicit: bool = False, **script: object
) -> AsyncIterator[tuple[Sink, Inbox]]:
    """Run a sink that keeps its copies in memory; with a certificate it speaks TLS."""
    inbox = inbox or Inbox()
    options = SinkOptions(
        script=Script(**script),  # type: ignore[arg-type]  # each test names fields of Script
        tls_cert=certificate,
        tls_implicit=implicit,
    )
    async with trio.open_nursery() as nursery:

        async def start(task_status: trio.TaskStatus[Sink]) -> None:
            await serve(options, store=inbox, task_status=task_status)

        running = await nursery.start(start)
        yield running, inbox
        nursery.cancel_scope.cancel()


def make_spool(folder: Path) -> Store:
    """Make and open a spool, with the same ids in each run: a message's delays are drawn by its id."""
    url = f"sqlite:///{folder}/spool.db"
    migrate.create_or_upgrade(url)
    return Store.open(url, id_maker=IdMaker(7))
