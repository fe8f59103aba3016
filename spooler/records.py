"""What the spool shows when it is asked: workers, counts, queued recipients, messages, the ledger.

Read-only values; times are µs UTC, durations µs. Texts that came from strangers are safe to store, and
`spooler.address.show` makes them safe to print.
"""

from __future__ import annotations

from enum import StrEnum

import msgspec

from spooler.envelope import BodyType, Notify, Priority


class State(StrEnum):
    """The states that tallies count: four gauges of the queue, then counters of what happened."""

    WAITING = "waiting"
    """Queued, never attempted."""
    DEFERRED = "deferred"
    """Queued, attempted before."""
    ACTIVE = "active"
    """Under a worker's lease."""
    HELD = "held"
    """Not tried until a person releases it."""
    DELIVERED = "delivered"
    FAILED = "failed"
    EXPIRED = "expired"
    DEFERRALS = "deferrals"
    """Attempts that ended in a deferral."""
    UNCERTAIN = "uncertain"
    """Of these, attempts that may have delivered."""
    LATE = "late"
    """Results that came without right to their recipient, kept in the ledger only."""
    REMOVED = "removed"
    """Taken out of the queue by a person."""


GAUGES = (State.WAITING, State.DEFERRED, State.ACTIVE, State.HELD)


class WorkerRow(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A worker's heartbeat; `beat` counts up, `beat_at` is by that worker's own clock."""

    id: int
    host: str
    pid: int
    started: int
    beat: int
    beat_at: int


class TallyRow(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """How many recipients of a route are in a state, or came to an end in it."""

    route: str
    state: State
    count: int


class JobLeft(msgspec.Struct, frozen=True, gc=False):
    """Of a job on a route: how many recipients are queued and not held, and when the first that nobody has is
    or was due, µs UTC."""

    count: int
    due: int | None


class QueueFilter(msgspec.Struct, frozen=True, kw_only=True):
    """Which queued recipients to show; None (or False) means any. Addresses are compared without case.

    Of messages made `before` this time, or at or after `since` (µs UTC).
    """

    message_id: int | None = None
    route: str | None = None
    state: State | None = None
    address: str | None = None
    domain: str | None = None
    sender: str | None = None
    job: str | None = None
    tenant: str | None = None
    uncertain: bool = False
    before: int | None = None
    since: int | None = None


class QueuedRecipient(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One recipient still to do, with what a list shows of its message.

    `stage`, `code`, `enhanced` and `text` are of its last attempt; `stage` is "" before the first.
    """

    message_id: int
    n: int
    address: str
    route: str
    priority: Priority
    state: State
    due: int
    attempts: int
    claims: int
    hold: str | None
    lease: int | None
    uncertain: bool
    notify: Notify
    orcpt: str | None
    stage: str
    code: int
    enhanced: str
    text: str
    sender: str
    size: int
    job: str
    tenant: str
    created: int
    expires: int


class MessageInfo(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A message, whether or not anything of it is still queued; `recipients` is how many it had."""

    id: int
    sender: str
    recipients: int
    size: int
    sha256: str
    body: BodyType
    smtputf8: bool
    envid: str | None
    ret: str | None
    job: str
    tenant: str
    priority: Priority
    created: int
    not_before: int | None
    expires: int
    content: int
    bare_lf: int
    bare_cr: int
    long_lines: int
    idempotency_key: str | None
    source: str | None
    source_offset: int | None


class LedgerEntry(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What happened to a recipient once: an attempt, or a person's command.

    `outcome` is one of `spooler.result.Outcome`, or the name of a command, which has `who` (and `why`).
    `worker` is 0 where no worker made the attempt. `late`: the result had no right to the recipient any
    more and changed nothing.
    """

    message_id: int
    n: int
    at: int
    worker: int
    address: str
    route: str
    attempt: int
    outcome: str
    uncertain: bool
    late: bool
    stage: str
    code: int
    enhanced: str
    text: str
    destination: str
    waited: int
    took: int
    who: str | None
    why: str | None


class SettleReport(msgspec.Struct, frozen=True, gc=False):
    """How many results took effect, and how many came too late to (repeats count as neither)."""

    settled: int
    late: int
