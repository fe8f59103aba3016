"""What happens while delivering, told to whoever listens: logs today, metrics next.

Delivery knows no subscriber: it calls one function, `Observe`, synchronously, so a subscriber must
be quick and must not raise.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import msgspec

from spooler.result import RecipientResult


class TransactionEnded(msgspec.Struct, frozen=True):
    """One transaction and the result of each of its recipients; `took` in µs.

    `mode` is "none" where no dialogue took place: no session was to be had, or a rule of ours decided.
    """

    message_id: int
    sender: str
    size: int
    route: str
    destination: str
    mode: str
    took: int
    results: Sequence[RecipientResult]


class SessionEnded(msgspec.Struct, frozen=True):
    """A connection was closed by a fault; `why` is for people."""

    route: str
    destination: str
    why: str


class Doubt(msgspec.Struct, frozen=True):
    """A destination's replies could not be matched to commands: it falls back to a simpler mode."""

    destination: str
    why: str
    mode: str


class WindowMoved(msgspec.Struct, frozen=True):
    """A route may have so many sessions now, and so many transactions in flight on each.

    `why` is for people.
    """

    route: str
    sessions: int
    limit: int
    depth: int
    why: str


class RouteDown(msgspec.Struct, frozen=True):
    """No destination of a route takes mail; it is probed again in `retry_in` seconds."""

    route: str
    why: str
    retry_in: float


class SecurityTrouble(msgspec.Struct, frozen=True):
    """A destination is not used because of TLS or AUTH; it is probed again in `retry_in` seconds.

    `why` says what to mend, for people.
    """

    route: str
    destination: str
    why: str
    retry_in: float


class RouteUp(msgspec.Struct, frozen=True):
    """A route that was down takes mail again."""

    route: str


class Settled(msgspec.Struct, frozen=True):
    """Results became durable; `late` of them no longer counted. `took` in µs."""

    results: int
    late: int
    took: int


class SpoolTrouble(msgspec.Struct, frozen=True):
    """The spool refused a statement; it is tried again in `retry_in` seconds."""

    doing: str
    why: str
    retry_in: float


class WorkerState(msgspec.Struct, frozen=True):
    """A worker started, drains after a signal, or stopped."""

    worker: int
    state: str
    detail: str = ""


class Held(msgspec.Struct, frozen=True):
    """So many recipients of a message are held for a person; `why` is what `queue list` shows."""

    message_id: int
    route: str
    recipients: int
    why: str


class Risk(msgspec.Struct, frozen=True):
    """Something about this machine that may cost mail; `what` and `mend` are for people."""

    what: str
    mend: str


class ProcessEnded(msgspec.Struct, frozen=True):
    """A process of several ended unasked; another takes its place in `restart_in` seconds, or (None) none."""

    pid: int
    why: str
    restart_in: float | None


Event = (
    TransactionEnded
    | SessionEnded
    | Doubt
    | WindowMoved
    | RouteDown
    | RouteUp
    | SecurityTrouble
    | Settled
    | SpoolTrouble
    | WorkerState
    | ProcessEnded
    | Risk
    | Held
)
Observe = Callable[[Event], None]
