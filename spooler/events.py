"""What happens while delivering, told to whoever listens: logs and metrics.

Delivery knows no subscriber: it calls one function, `Observe`, synchronously, so a subscriber must
be quick and must not raise.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import msgspec

from spooler.command import Pause
from spooler.result import RecipientResult


class TransactionEnded(msgspec.Struct, frozen=True):
    """One transaction and the result of each of its recipients; `took` in µs.

    Results are settled in the order in which they are told, each of them once.

    `answer` is the time from its end-of-data to its last final reply, proven, in µs; 0 where none was sent.
    `mode` is "none" where no dialogue took place: no session was to be had, or a rule of ours decided.
    """

    message_id: int
    sender: str
    size: int
    route: str
    destination: str
    mode: str
    took: int
    answer: int
    results: Sequence[RecipientResult]


class Claimed(msgspec.Struct, frozen=True):
    """So many recipients of a route came under this worker's lease, by one look at the spool."""

    route: str
    recipients: int


class Connected(msgspec.Struct, frozen=True):
    """A session is open, past LHLO; `took` in µs. `protection` is its version of TLS, "" without."""

    destination: str
    took: int
    protection: str = ""


class NotConnected(msgspec.Struct, frozen=True):
    """A destination gave no session; `why` is for people."""

    destination: str
    why: str


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

    `kind` is a name of `Trouble`; `why` says what to mend, for people.
    """

    route: str
    destination: str
    kind: str
    why: str
    retry_in: float


class RouteUp(msgspec.Struct, frozen=True):
    """A route that was down takes mail again."""

    route: str


class RoutePaused(msgspec.Struct, frozen=True):
    """A person has paused a route, or (None) resumed it."""

    route: str
    pause: Pause | None


class Settled(msgspec.Struct, frozen=True):
    """Results became durable, in this order; `late` of them no longer counted. `took` in µs."""

    results: Sequence[RecipientResult]
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


class ConfigRead(msgspec.Struct, frozen=True):
    """The configuration was read again: these options changed, and those change with a restart only."""

    changed: Sequence[str]
    restart: Sequence[str]


class ConfigRefused(msgspec.Struct, frozen=True):
    """A configuration that was read again is not acceptable: the old one stays in force."""

    why: str


class Risk(msgspec.Struct, frozen=True):
    """Something about this machine that may cost mail; `what` and `mend` are for people."""

    what: str
    mend: str


class Serving(msgspec.Struct, frozen=True):
    """Status and metrics are served at this address from now on."""

    address: str


class DrainProgress(msgspec.Struct, frozen=True):
    """How far a drain has come: recipients that came to their end, `total` there were when it began.

    `rate` a second, over the last seconds; `seconds_left` at that rate, None where it cannot be said.
    """

    ended: int
    total: int | None
    rate: float
    seconds_left: float | None


class ProcessEnded(msgspec.Struct, frozen=True):
    """A process of several ended unasked; another takes its place in `restart_in` seconds, or (None) none."""

    pid: int
    why: str
    restart_in: float | None


Event = (
    TransactionEnded
    | Claimed
    | Connected
    | NotConnected
    | SessionEnded
    | Doubt
    | WindowMoved
    | RouteDown
    | RouteUp
    | RoutePaused
    | SecurityTrouble
    | Settled
    | SpoolTrouble
    | WorkerState
    | ProcessEnded
    | Risk
    | Serving
    | Held
    | DrainProgress
    | ConfigRead
    | ConfigRefused
)
Observe = Callable[[Event], None]
