"""What a worker publishes of itself with each beat: what only it knows, for whoever looks at the spool.

It stands as JSON in the worker's row, so that `why`, `top` and the status page read it where the queue is. It
is bounded: lists of mailboxes and of transactions hold the few that matter most. Times are µs UTC.
"""

from __future__ import annotations

import msgspec

from spooler.vitals import Vitals

MOST_SHUT = 200
"""Shut mailboxes of a route that are named; `shut_count` counts all."""
MOST_SLOW = 50
"""Transactions of a route that are named."""
SLOW = 5_000_000
"""µs from which on a transaction under way is named."""
MOST_TEXT = 500
"""Characters of an explanation."""


class Outage(msgspec.Struct, frozen=True, gc=False):
    """Something does not take mail: since when, after how many failures in a row, and the last one's words.

    At `probe_at` somebody looks again; if nothing is to be done it is in the past.
    """

    since: int
    failures: int
    why: str
    probe_at: int


class ShutMailbox(msgspec.Struct, frozen=True, gc=False):
    """A mailbox that takes no mail for now, and when the next message tries it."""

    address: str
    until: int


class UnderWay(msgspec.Struct, frozen=True, gc=False):
    """A transaction that began some time ago and has not ended."""

    message_id: int
    since: int
    recipients: int


class DestinationStanding(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A destination: `mode` is the boldest way trusted there. Of its connections `sessions` are at work,
    and `idle` are kept for reuse. `proven`: it worked since it last failed. What is not, and has no outage
    either, was not tried yet. A session takes so many `transactions`, a transaction so many `recipients`, as
    was learnt of the server; 0 where no limit is known.
    """

    mode: str
    idle: int
    proven: bool = False
    sessions: int = 0
    transactions: int = 0
    recipients: int = 0
    doubts: int = 0
    last_doubt: str = ""
    outage: Outage | None = None


class RouteStanding(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A route, as one worker serves it."""

    destinations: list[str]
    claimed: int
    """Recipients under this worker's lease."""
    ready: int
    """Planned transactions that wait for a session."""
    parked: int
    """Recipients that wait for a mailbox to which others are delivered at the moment."""
    sessions: int
    """Connections that are at work, or being made."""
    window: int
    """Of them there may be so many now ..."""
    limit: int
    """... and never more than this."""
    depth: int
    """Transactions in flight on each, at most."""
    phase: str
    """Why the window is where it is."""
    paused: bool = False
    outage: Outage | None = None
    shut: list[ShutMailbox] = []
    shut_count: int = 0
    slow: list[UnderWay] = []


class JournalStanding(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A worker's journal."""

    octets: int = 0
    """Written, and still needed."""
    unsettled: int = 0
    """Results that are in it, and not yet in the spool."""
    unanswered: int = 0
    """Transactions whose end-of-data may be handed over, with no answer yet: each is a second copy if the
    worker dies now."""
    lag: float = 0.0
    """Seconds that the oldest note waits for a sync."""


class WorkerStanding(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A worker, at `at`."""

    at: int
    version: str
    routes: dict[str, RouteStanding]
    destinations: dict[str, DestinationStanding]
    backlog: int = 0
    """Results that are not settled yet."""
    buffered: int = 0
    """Bytes of contents in memory ..."""
    buffer: int = 0
    """... of at most so many."""
    suspects: int = 0
    """Messages that wait to be claimed alone."""
    journal: JournalStanding = JournalStanding()
    processes: dict[str, Vitals] = {}
    """What its processes take: "worker", and "spool" where that is a process of its own."""

    def limited_by(self, route: str) -> str:
        """Say what keeps a route from going faster, "" if nothing waits."""
        one = self.routes[route]
        if one.paused:
            return "paused"
        if one.outage is not None:
            return "down"
        if not one.claimed:
            return ""
        if self.buffered >= self.buffer:
            return "memory for contents (worker.buffer)"
        if one.ready:
            return f"sessions: {one.sessions} of {one.window}, {one.phase}"
        if one.parked:
            return "busy mailboxes"
        return "answers of the target"


_ENCODER = msgspec.json.Encoder()
_DECODER = msgspec.json.Decoder(WorkerStanding)


def encode(standing: WorkerStanding) -> str:
    """Write it as JSON."""
    return _ENCODER.encode(standing).decode()


def decode(text: str | None) -> WorkerStanding | None:
    """Read what `encode` wrote; None for nothing, and for what another version of this program wrote."""
    if not text:
        return None
    try:
        return _DECODER.decode(text)
    except msgspec.MsgspecError:
        return None
