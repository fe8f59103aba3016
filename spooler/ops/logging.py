"""Log lines by structlog: for people on a terminal, JSON otherwise, always on standard error.

In systemd's journal each line has its level (see `spooler.ops.journald`).

One line per transaction and one per recipient that was not delivered. Lines are gathered and written
together: a write per line would cost more than the line. `flush` runs several times a second, at
every warning, and at exit. Whatever comes from outside is escaped.
"""

from __future__ import annotations

import datetime as dt
import logging
import os
import select
import stat
import sys
from functools import lru_cache
from typing import TYPE_CHECKING, TextIO

import msgspec
import structlog
import trio

from spooler.address import show
from spooler.events import (
    Claimed,
    ConfigRead,
    ConfigRefused,
    Connected,
    Doubt,
    DrainProgress,
    Event,
    Held,
    NotConnected,
    ProcessEnded,
    Risk,
    RouteDown,
    RoutePaused,
    RouteUp,
    SecurityTrouble,
    Serving,
    SessionEnded,
    Settled,
    SpoolTrouble,
    TransactionEnded,
    WindowMoved,
    WorkerState,
)
from spooler.ident import format_id
from spooler.ops.journald import prefixes
from spooler.result import Outcome, RecipientResult

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from structlog.typing import EventDict, Processor, WrappedLogger

_ENCODER = msgspec.json.Encoder()
_DELIVERED = Outcome.DELIVERED  # as in `spooler.lmtp.slots`: an enum's member by a name of its own
FLUSH_EVERY = 0.1  # seconds
_NOTABLE = frozenset({"stopping", "fenced", "rescued", "unrecovered", "orphaned"})  # of a worker's states
TEXT_LIMIT = 500  # characters of a server's reply in a line


class TransactionLine(msgspec.Struct, frozen=True, gc=False, tag_field="event", tag="transaction"):
    """The line of a transaction: as structlog would make it, at a tenth of the cost."""

    id: str
    sender: str
    size: int
    route: str
    destination: str
    mode: str
    recipients: int
    delivered: int
    ms: int
    level: str
    timestamp: str


class GatheringFile:
    """A text file whose `write` gathers and whose lines go out together with `drain`."""

    def __init__(self, file: TextIO) -> None:
        self._file = file
        self._lines: list[str] = []
        self._shared = _may_be_cut(file)

    def write(self, text: str) -> None:
        """Take a line."""
        self._lines.append(text)

    def flush(self) -> None:
        """Do nothing: structlog asks for this after each line."""

    def drain(self) -> None:
        """Write what was gathered; a reader that has gone away is no reason to stop delivering."""
        lines, self._lines = self._lines, []
        try:
            for text in _pieces(lines) if self._shared else ["".join(lines)]:
                self._file.write(text)
                self._file.flush()
        except (OSError, ValueError):
            return


class EventLog:
    """Subscribes to events and writes them as log lines."""

    def __init__(self, *, file: TextIO | None = None, level: str = "info") -> None:
        target = file or sys.stderr
        self._gathering = GatheringFile(target)
        self._terminal = target.isatty()
        threshold = logging.getLevelNamesMapping()[level.upper()]
        self._informs = threshold <= logging.INFO
        self._insists = self._terminal and threshold > logging.WARNING
        leads = prefixes(target)
        self._lead = leads["info"]
        self._log = structlog.wrap_logger(
            structlog.WriteLogger(self._gathering),  # type: ignore[arg-type]  # it needs write and flush alone
            processors=_processors(leads, terminal=self._terminal),
            wrapper_class=structlog.make_filtering_bound_logger(threshold),
            cache_logger_on_first_use=True,
        )
        self._handlers: dict[type, Callable[..., None]] = {
            TransactionEnded: self._transaction,
            Claimed: self._claimed,
            Connected: self._connected,
            NotConnected: self._not_connected,
            SessionEnded: self._session,
            Doubt: self._doubt,
            WindowMoved: self._window,
            RouteDown: self._route_down,
            RouteUp: self._route_up,
            RoutePaused: self._route_paused,
            SecurityTrouble: self._security_trouble,
            Settled: self._settled,
            SpoolTrouble: self._spool_trouble,
            WorkerState: self._worker,
            ProcessEnded: self._process_ended,
            Risk: self._risk,
            Serving: self._serving,
            Held: self._held,
            DrainProgress: self._progress,
            ConfigRead: self._config_read,
            ConfigRefused: self._config_refused,
        }

    def __call__(self, event: Event) -> None:
        """Take an event (see `spooler.events.Observe`)."""
        self._handlers[type(event)](event)

    def flush(self) -> None:
        """Write the lines gathered so far."""
        self._gathering.drain()

    async def run(self) -> None:
        """Flush regularly until cancelled, and once more then."""
        try:
            while True:
                await trio.sleep(FLUSH_EVERY)
                self.flush()
        finally:
            self.flush()

    def _transaction(self, event: TransactionEnded) -> None:
        queue_id = format_id(event.message_id)
        delivered = 0
        for result in event.results:
            if result.outcome is _DELIVERED:
                delivered += 1
            else:
                self._not_delivered(queue_id, result)
        line = TransactionLine(
            id=queue_id,
            sender=show(event.sender),
            size=event.size,
            route=event.route,
            destination=event.destination,
            mode=event.mode,
            recipients=len(event.results),
            delivered=delivered,
            ms=event.took // 1000,
            level="info",
            timestamp=_stamp(event.results[0].at),
        )
        if self._terminal:
            fields = msgspec.structs.asdict(line)
            del fields["level"], fields["timestamp"]
            self._log.info("transaction", **fields)
        elif self._informs:
            self._gathering.write(f"{self._lead}{_ENCODER.encode(line).decode()}\n")

    def _not_delivered(self, queue_id: str, result: RecipientResult) -> None:
        self._log.warning(
            "uncertain" if result.uncertain else result.outcome.value,
            id=queue_id,
            recipient=show(result.address, 254),
            attempt=result.attempt,
            stage=result.stage.value,
            code=result.code,
            enhanced=result.enhanced,
            text=show(result.text, TEXT_LIMIT),
            route=result.route,
            destination=result.destination,
            retry_at=_iso(result.due) if result.due else None,
        )

    def _claimed(self, event: Claimed) -> None:
        self._log.debug("claimed", route=event.route, recipients=event.recipients)

    def _connected(self, event: Connected) -> None:
        self._log.debug("connected", destination=event.destination, ms=event.took // 1000)

    def _not_connected(self, event: NotConnected) -> None:
        self._log.info("not connected", destination=event.destination, why=show(event.why, TEXT_LIMIT))

    def _session(self, event: SessionEnded) -> None:
        self._log.warning(
            "session lost", route=event.route, destination=event.destination, why=show(event.why, TEXT_LIMIT)
        )

    def _doubt(self, event: Doubt) -> None:
        self._log.error(
            "replies out of step",
            destination=event.destination,
            why=show(event.why, TEXT_LIMIT),
            mode=event.mode,
        )

    def _window(self, event: WindowMoved) -> None:
        self._log.info(
            "sessions",
            route=event.route,
            sessions=event.sessions,
            limit=event.limit,
            depth=event.depth,
            why=event.why,
        )

    def _route_down(self, event: RouteDown) -> None:
        self._log.error(
            "route down",
            route=event.route,
            why=show(event.why, TEXT_LIMIT),
            retry_in=round(event.retry_in, 1),
        )

    def _route_up(self, event: RouteUp) -> None:
        self._log.info("route up", route=event.route)

    def _route_paused(self, event: RoutePaused) -> None:
        if event.pause is None:
            self._log.warning("route resumed", route=event.route)
        else:
            self._log.warning(
                "route paused", route=event.route, who=event.pause.who, why=show(event.pause.why, TEXT_LIMIT)
            )

    def _security_trouble(self, event: SecurityTrouble) -> None:
        self._log.error(
            "security trouble",
            route=event.route,
            destination=event.destination,
            why=show(event.why, TEXT_LIMIT),
            retry_in=round(event.retry_in, 1),
        )

    def _settled(self, event: Settled) -> None:
        self._log.debug("settled", results=len(event.results), late=event.late, ms=event.took // 1000)

    def _spool_trouble(self, event: SpoolTrouble) -> None:
        self._log.error(
            "spool trouble",
            doing=event.doing,
            why=show(event.why, TEXT_LIMIT),
            retry_in=round(event.retry_in, 1),
        )

    def _worker(self, event: WorkerState) -> None:
        write = self._log.info
        if event.state in _NOTABLE:
            # who sits at a terminal and asked it to stop is answered, whatever else is not to be shown
            write = self._log.error if self._insists else self._log.warning
        write("worker", state=event.state, worker=format_id(event.worker), detail=event.detail)

    def _process_ended(self, event: ProcessEnded) -> None:
        self._log.error(
            "process ended", pid=event.pid, why=show(event.why, TEXT_LIMIT), restart_in=event.restart_in
        )

    def _held(self, event: Held) -> None:
        self._log.error(
            "held",
            id=format_id(event.message_id),
            route=event.route,
            recipients=event.recipients,
            why=show(event.why, TEXT_LIMIT),
        )

    def _progress(self, event: DrainProgress) -> None:
        left = event.seconds_left
        self._log.info(
            "progress",
            ended=event.ended,
            total=event.total,
            per_second=round(event.rate),
            seconds_left=None if left is None else round(left),
        )

    def _serving(self, event: Serving) -> None:
        self._log.info("serving", at=event.address)

    def _config_read(self, event: ConfigRead) -> None:
        write = self._log.warning if event.restart else self._log.info
        write("configuration read", changed=list(event.changed), needs_restart=list(event.restart))

    def _config_refused(self, event: ConfigRefused) -> None:
        self._log.error(
            "configuration refused", why=show(event.why, TEXT_LIMIT), now="the old one stays in force"
        )

    def _risk(self, event: Risk) -> None:
        self._log.warning("risk", what=event.what, mend=event.mend)


def _may_be_cut(file: TextIO) -> bool:
    """Whether lines of other processes may come between parts of one write: pipes and sockets."""
    try:
        return not stat.S_ISREG(os.fstat(file.fileno()).st_mode)
    except (OSError, ValueError):
        return False


def _pieces(lines: Iterable[str]) -> Iterator[str]:
    """Join lines to texts that a pipe takes whole (POSIX, write, PIPE_BUF)."""
    some: list[str] = []
    size = 0
    for line in lines:
        length = len(line) if line.isascii() else len(line.encode("utf-8", "backslashreplace"))
        if some and size + length > select.PIPE_BUF:
            yield "".join(some)
            some, size = [], 0
        some.append(line)
        size += length
    if some:
        yield "".join(some)


def _processors(leads: Mapping[str, str], *, terminal: bool) -> list[Processor]:
    shared: list[Processor] = [
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    if terminal:
        return [
            *shared,
            structlog.dev.ConsoleRenderer(colors=not os.environ.get("NO_COLOR"), pad_event_to=16),
        ]

    def json(_logger: WrappedLogger, _method: str, event: EventDict) -> str:
        return leads[event["level"]] + msgspec.json.encode(event).decode()

    return [*shared, json]


@lru_cache(maxsize=4)
def _second(when: int) -> str:
    return dt.datetime.fromtimestamp(when, tz=dt.UTC).strftime("%Y-%m-%dT%H:%M:%S")


def _stamp(when: int) -> str:
    """Write µs UTC as structlog does."""
    return f"{_second(when // 1_000_000)}.{when % 1_000_000:06}Z"


def _iso(when: int) -> str:
    return dt.datetime.fromtimestamp(when / 1_000_000, tz=dt.UTC).isoformat(timespec="seconds")
