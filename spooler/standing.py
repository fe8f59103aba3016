"""Where each recipient of a message stands: the queue and the ledger put together."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from spooler.command import Command
from spooler.result import Outcome

if TYPE_CHECKING:
    from collections.abc import Iterable

    from spooler.records import LedgerEntry, QueuedRecipient

_GOING_ON = frozenset(
    {
        Outcome.DEFERRED.value,
        *(command.value for command in Command if not command.ends),
    }
)


class Standing(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One recipient: `state` is waiting, deferred, active, held, delivered, failed or expired, or the name of
    the command by which a person took it out of the queue.

    `due` is the next attempt, None when there is none. `at` is when the last thing happened, None before the
    first attempt; `stage`, `code`, `enhanced`, `text` and `destination` are of it. `uncertain`: an attempt
    ended without an answer, so a copy more may have been delivered. Times in µs UTC.
    """

    n: int
    address: str
    route: str
    state: str
    attempts: int
    due: int | None
    hold: str | None
    uncertain: bool
    at: int | None
    stage: str
    code: int
    enhanced: str
    text: str
    destination: str

    @property
    def ended(self) -> bool:
        """Whether nothing more will be done."""
        return self.due is None


def standings(queued: Iterable[QueuedRecipient], ledger: Iterable[LedgerEntry]) -> list[Standing]:
    """Put together what the queue and the ledger say of one message, in the order of its recipients."""
    entries: dict[int, list[LedgerEntry]] = {}
    for entry in sorted(ledger, key=lambda entry: entry.at):
        if not entry.late:
            entries.setdefault(entry.n, []).append(entry)
    found = {row.n: _queued(row, entries.get(row.n, [])) for row in queued}
    for n, story in entries.items():
        if n not in found:
            found[n] = _ended(story)
    return [found[n] for n in sorted(found)]


def _queued(row: QueuedRecipient, story: list[LedgerEntry]) -> Standing:
    last = next((entry for entry in reversed(story) if entry.who is None), None)
    return Standing(
        n=row.n,
        address=row.address,
        route=row.route,
        state=row.state.value,
        attempts=row.attempts,
        due=row.due,
        hold=row.hold,
        uncertain=row.uncertain,
        at=last.at if last else None,
        stage=row.stage,
        code=row.code,
        enhanced=row.enhanced,
        text=row.text,
        destination=last.destination if last else "",
    )


def _ended(story: list[LedgerEntry]) -> Standing:
    # nothing follows an ending but what other holders report, and that is late
    last = next((entry for entry in reversed(story) if entry.outcome not in _GOING_ON), story[-1])
    return Standing(
        n=last.n,
        address=last.address,
        route=last.route,
        state=last.outcome,
        attempts=max(entry.attempt for entry in story),
        due=None,
        hold=None,
        uncertain=any(entry.uncertain for entry in story),
        at=last.at,
        stage=last.stage,
        code=last.code,
        enhanced=last.enhanced,
        text=last.text,
        destination=last.destination,
    )
