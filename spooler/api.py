"""The Python API: open a spool, enqueue, look at results; from plain code and from trio.

    with spooler.open_spool("sqlite:///spool.db") as spool:
        receipt = spool.enqueue("news@example.org", ["a@example.com"], b"Subject: hi\\n\\nHello\\n")
        for recipient in spool.results(receipt.id):
            print(recipient.address, recipient.state, recipient.text)

The spool must exist (`spooler init`). A `Spool` is used by one thread at a time. Every error that a caller
can do something about is a `spooler.SpoolerError`; its kinds are in `spooler.errors`.
"""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, BinaryIO, ParamSpec, TypedDict, TypeVar, Unpack

import msgspec
import trio

from spooler.address import show
from spooler.config import Config
from spooler.envelope import Notify, Priority
from spooler.errors import UsageError
from spooler.ident import format_id, now_us, parse_id
from spooler.intake.normalise import MAX_SIZE, take_in
from spooler.intake.submit import Options, address_to, check_label, check_options, make_message
from spooler.spool.store import Store
from spooler.standing import Standing, standings

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator
    from types import TracebackType

    from spooler.records import LedgerEntry, TallyRow

_BLOCK = 256 * 1024  # bytes read at once
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_P = ParamSpec("_P")
_T = TypeVar("_T")


class Receipt(msgspec.Struct, frozen=True):
    """What became of a message that was handed in; `str()` gives its id.

    `duplicate`: the idempotency key was known, nothing was queued, and the id is that of the message which
    has it. `repeated` recipients were named more than once and are queued once.
    """

    id: str
    duplicate: bool
    recipients: int
    repeated: int

    def __str__(self) -> str:
        return self.id


class EnqueueOptions(TypedDict, total=False):
    """What may be said of a message beside its envelope.

    `route` is the route of all recipients (default: by domain, then "default"). `not_before` is an aware
    time; `expires` is one, or a time span from the later of now and `not_before` (default: five days, or
    what the configuration says). `envid`, `ret` ("full" or "hdrs") and `notify` are those of RFC 3461. A
    content of over `max_size` bytes is refused.
    """

    job: str
    tenant: str
    priority: Priority
    route: str | None
    not_before: datetime | None
    expires: datetime | timedelta | None
    idempotency_key: str | None
    envid: str | None
    ret: str | None
    notify: Notify
    max_size: int


class Spool:
    """An open spool; made by `open_spool`."""

    def __init__(self, store: Store, config: Config) -> None:
        self._store = store
        self._config = config

    def enqueue(
        self,
        sender: str,
        recipients: Iterable[str],
        content: bytes | bytearray | memoryview | BinaryIO,
        **options: Unpack[EnqueueOptions],
    ) -> Receipt:
        """Queue a message; when this returns, it is safe on disk.

        `sender` "" is the null sender. `content` is a whole message, bytes or a binary file that is read to
        its end; LF line ends become CRLF. Raises DataError for an address or content that is refused,
        UsageError for an option, and StorageError, UnavailableError or TryAgainError from the spool.

            receipt = spool.enqueue("", ["a@example.com"], file, job="june", expires=timedelta(hours=4))
        """
        now = now_us()
        wishes = _options(options, now=now)
        addressees = address_to(
            _addresses(sender, recipients),
            config=self._config,
            route=options.get("route"),
            notify=options.get("notify", Notify.DEFAULT),
        )
        stored = take_in(
            _blocks(content),
            store_chunks=lambda chunks: self._store.store_chunks(chunks, now=now_us()),
            max_size=options.get("max_size", MAX_SIZE),
        )
        message = make_message(sender, addressees, stored, wishes, now=now)
        (answer,) = self._store.enqueue([message], now=now)
        return Receipt(
            format_id(answer.id), answer.duplicate, len(addressees.recipients), addressees.repeated
        )

    def results(self, ident: str | Receipt) -> list[Standing]:
        """Tell where each recipient of a message stands; empty if the spool does not know the message.

        Raises UsageError for what is no id.

            done = all(recipient.ended for recipient in spool.results(receipt))
        """
        number = parse_id(str(ident))
        if number is None:
            raise UsageError(f"'{ident}' is no message id", hint="ids have 13 characters")
        return standings(self._store.queued_of(number), self._store.ledger_of(number))

    def trace(self, address: str, *, limit: int = 100) -> list[LedgerEntry]:
        """Tell what happened to mail for an address, newest first, at most `limit` entries.

        last = spool.trace("a@example.com", limit=1)
        """
        return self._store.ledger_for(address, limit=limit)

    def stats(self) -> list[TallyRow]:
        """Count recipients by route and state.

        waiting = sum(row.count for row in spool.stats() if row.state == "waiting")
        """
        return self._store.stats()

    def close(self) -> None:
        """Close the spool."""
        self._store.close()

    def __enter__(self) -> Spool:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class TrioSpool:
    """A `Spool` for trio: the same methods, each in a thread, one at a time. Made by `open_spool_async`.

    A cancelled call ends before it starts, or is carried out.
    """

    def __init__(self, spool: Spool) -> None:
        self._spool = spool
        self._one = trio.CapacityLimiter(1)

    async def enqueue(
        self,
        sender: str,
        recipients: Iterable[str],
        content: bytes | bytearray | memoryview | BinaryIO,
        **options: Unpack[EnqueueOptions],
    ) -> Receipt:
        """As `Spool.enqueue`."""
        return await self._run(self._spool.enqueue, sender, recipients, content, **options)

    async def results(self, ident: str | Receipt) -> list[Standing]:
        """As `Spool.results`."""
        return await self._run(self._spool.results, ident)

    async def trace(self, address: str, *, limit: int = 100) -> list[LedgerEntry]:
        """As `Spool.trace`."""
        return await self._run(self._spool.trace, address, limit=limit)

    async def stats(self) -> list[TallyRow]:
        """As `Spool.stats`."""
        return await self._run(self._spool.stats)

    async def _run(self, method: Callable[_P, _T], *args: _P.args, **kwargs: _P.kwargs) -> _T:
        return await trio.to_thread.run_sync(partial(method, *args, **kwargs), limiter=self._one)


def open_spool(url: str, *, config: Config | None = None) -> Spool:
    """Open a spool that exists; use it as a context manager.

    `config` (from `spooler.config.load_config`) gives the routes of domains and the lifetime of messages.
    Raises ConfigError for a schema of another version, NoInputError where there is no spool, UsageError
    for a wrong URL.

        with spooler.open_spool("sqlite:///spool.db") as spool: ...
    """
    return Spool(Store.open(url), config or Config())


@asynccontextmanager
async def open_spool_async(url: str, *, config: Config | None = None) -> AsyncIterator[TrioSpool]:
    """As `open_spool`, for trio.

    async with spooler.open_spool_async("sqlite:///spool.db") as spool: ...
    """
    spool = await trio.to_thread.run_sync(partial(open_spool, url, config=config))
    try:
        yield TrioSpool(spool)
    finally:
        with trio.CancelScope(shield=True):  # closing is quick, and must happen
            await trio.to_thread.run_sync(spool.close)


def _addresses(sender: str, recipients: Iterable[str]) -> list[str]:
    if isinstance(recipients, str | bytes) or not isinstance(recipients, Iterable):
        raise UsageError("the recipients are no list of addresses", hint="give a list: ['a@example.com']")
    addresses = list(recipients)
    for address in (sender, *addresses):
        if not isinstance(address, str):
            raise UsageError(f"address {show(repr(address))} is no text", hint="give a str")
    return addresses


def _options(given: EnqueueOptions, *, now: int) -> Options:
    route = given.get("route")
    size: object = given.get("max_size", MAX_SIZE)
    if route is not None:
        check_label("route", route)
    if not isinstance(given.get("notify", Notify.DEFAULT), Notify):
        raise UsageError("notify is no spooler.envelope.Notify", hint="give Notify.NEVER or the like")
    if not isinstance(size, int) or size < 1:
        raise UsageError(f"max_size {show(repr(size))} is no number of bytes", hint="give an int above 0")
    not_before, expires = _moment(given.get("not_before")), given.get("expires")
    if isinstance(expires, timedelta):
        until: int | None = max(now, not_before or 0) + expires // timedelta(microseconds=1)
    else:
        until = _moment(expires)
    options = Options(
        job=given.get("job", ""),
        tenant=given.get("tenant", ""),
        priority=given.get("priority", Priority.NORMAL),
        not_before=not_before,
        expires=until,
        idempotency_key=given.get("idempotency_key"),
        envid=given.get("envid"),
        ret=given.get("ret"),
    )
    return check_options(options, now=now)


def _moment(when: datetime | None) -> int | None:
    if when is None:
        return None
    if not isinstance(when, datetime):
        raise UsageError(f"{show(repr(when))} is no time", hint="use datetime.now(UTC) or the like")
    if when.tzinfo is None:
        raise UsageError(f"the time {when} names no time zone", hint="use datetime.now(UTC) or the like")
    return (when - _EPOCH) // timedelta(microseconds=1)


def _blocks(content: bytes | bytearray | memoryview | BinaryIO) -> Iterator[bytes]:
    if isinstance(content, bytearray | memoryview):
        content = bytes(content)
    if isinstance(content, bytes):
        for start in range(0, len(content), _BLOCK):
            yield content[start : start + _BLOCK]
        return
    if not callable(getattr(content, "read", None)):
        raise UsageError(
            f"the content is of type {type(content).__name__}", hint="give bytes or a binary file"
        )
    while block := content.read(_BLOCK):
        if not isinstance(block, bytes):
            raise UsageError("the content is a text file", hint="open it in binary mode")
        yield block
