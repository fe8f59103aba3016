"""Why recipients are still queued: gathers from the spool what `spooler.policy.gates` decides by."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from spooler.command import Command
from spooler.policy.gates import Gate, Surroundings, gates
from spooler.records import QueuedRecipient
from spooler.result import Outcome

if TYPE_CHECKING:
    from collections.abc import Sequence

    from spooler.records import LedgerEntry
    from spooler.spool.store import Store

AHEAD = 100_000
"""So many at most are counted that are due before it."""


class Explained(msgspec.Struct, frozen=True):
    """A queued recipient, the gates that it waits at, and how many are due before it, at most AHEAD."""

    recipient: QueuedRecipient
    gates: list[Gate]
    ahead: int


def explain(store: Store, rows: Sequence[QueuedRecipient], *, now: int) -> list[Explained]:
    """Say for each of some recipients what it waits at."""
    workers, standings = store.workers(), store.standings()
    pauses = {pause.route: pause for pause in store.pauses()}
    explained = []
    stories: dict[int, list[LedgerEntry]] = {}
    for row in rows:
        if row.message_id not in stories:
            stories[row.message_id] = store.ledger_of(row.message_id)
        story = [entry for entry in stories[row.message_id] if entry.n == row.n]
        message = store.message(row.message_id)
        claimable = row.lease is None and row.hold is None and row.due <= now
        ahead = store.ahead(row, limit=AHEAD) if claimable else 0
        around = Surroundings(
            workers=workers,
            standings=standings,
            pauses=pauses,
            held_at=_last(story, Command.HOLD.value),
            not_before=message.not_before if message is not None else None,
            doubtful=_is_doubtful(story),
            ahead=ahead,
        )
        explained.append(Explained(row, gates(row, around, now=now), ahead))
    return explained


def clears(found: Sequence[Gate]) -> int | None:
    """When the last of these gates is open, µs UTC; None if that is not known."""
    times = [gate.clears for gate in found]
    if any(when is None for when in times):
        return None
    return max((when for when in times if when is not None), default=None)


def _last(story: Sequence[LedgerEntry], outcome: str) -> int | None:
    return max((entry.at for entry in story if entry.outcome == outcome and entry.who), default=None)


def _is_doubtful(story: Sequence[LedgerEntry]) -> bool:
    attempts = [entry for entry in story if entry.who is None and entry.outcome == Outcome.DEFERRED.value]
    return bool(attempts) and max(attempts, key=lambda entry: entry.at).uncertain
