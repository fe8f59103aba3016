"""The whole story of a message or of an address, from the ledger and the queue."""

from __future__ import annotations

from typing import TYPE_CHECKING

from spooler.address import show
from spooler.errors import NoInputError
from spooler.ident import parse_id
from spooler.records import QueueFilter
from spooler.sample import Story, Traced
from spooler.spool import listing, looking

if TYPE_CHECKING:
    from spooler.records import LedgerEntry, MessageInfo, QueuedRecipient
    from spooler.spool.connect import Database


def trace(db: Database, what: str, *, limit: int) -> Traced:
    """Find a message by its id, or all mail for an address; at most `limit` events. Raises NoInputError."""
    number = None if "@" in what else parse_id(what)
    message = None if number is None else looking.one_message(db, number)
    if message is not None:
        return _of_message(db, message, limit)
    address = what[1:-1] if what.startswith("<") and what.endswith(">") else what
    entries = looking.ledger_for(db, address, limit=limit + 1)
    waiting = listing.queue(db, QueueFilter(address=address), limit=limit + 1, after=None)
    if not entries and not waiting:
        if number is not None:
            raise NoInputError(
                f"message {show(what)} is not in this spool",
                hint="ended messages are forgotten after the time in worker.retention",
            )
        raise NoInputError(
            f"nothing is known of '{show(what)}'", hint="give a recipient's whole address, or a message's id"
        )
    more = len(entries) > limit or len(waiting) > limit
    return Traced(_stories(db, entries[:limit], waiting[:limit]), more)


def _of_message(db: Database, message: MessageInfo, limit: int) -> Traced:
    events = sorted(looking.ledger_of(db, message.id), key=lambda entry: (entry.at, entry.n))
    queued = listing.queue(db, QueueFilter(message_id=message.id), limit=limit + 1, after=None)
    more = len(events) > limit or len(queued) > limit
    return Traced([Story(message.id, message, events[:limit], queued[:limit])], more)


def _stories(db: Database, entries: list[LedgerEntry], waiting: list[QueuedRecipient]) -> list[Story]:
    """Put together what belongs to one message, the newest first."""
    known = {entry.message_id for entry in entries} | {row.message_id for row in waiting}
    stories = {
        ident: Story(ident, looking.one_message(db, ident), [], []) for ident in sorted(known, reverse=True)
    }
    for entry in sorted(entries, key=lambda entry: entry.at):
        stories[entry.message_id].events.append(entry)
    for row in waiting:
        stories[row.message_id].queued.append(row)
    return list(stories.values())
