"""What the spool looks like at one moment: enough for metrics and the status page, found without a scan."""

from __future__ import annotations

import msgspec

from spooler.command import Pause
from spooler.records import LedgerEntry, MessageInfo, QueuedRecipient, State, TallyRow, WorkerRow
from spooler.worker_standing import WorkerStanding


class Oldest(msgspec.Struct, frozen=True, gc=False):
    """The oldest message with a recipient of a route in a state."""

    route: str
    state: State
    message_id: int


class Sample(msgspec.Struct, frozen=True, kw_only=True):
    """The spool at `at`, µs UTC.

    `oldest` is complete where the queue begins with them: it comes from its first thousands of recipients,
    and from the first due ones of each route. `due` is when the first recipient of a route that may be
    claimed is or was due, µs UTC.
    """

    at: int
    tallies: list[TallyRow]
    oldest: list[Oldest]
    due: dict[str, int]
    workers: list[WorkerRow]
    standings: dict[int, WorkerStanding]
    pauses: list[Pause]


class Story(msgspec.Struct, frozen=True):
    """What is known of one message, or of one recipient of it, in the order in which it happened."""

    id: int
    message: MessageInfo | None
    events: list[LedgerEntry]
    queued: list[QueuedRecipient]


class Traced(msgspec.Struct, frozen=True):
    """The messages that are wanted, newest first; `more` were left out, or events of them."""

    messages: list[Story]
    more: bool
