"""`spooler trace`: the whole story of a message or of an address, from the ledger and the queue."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click
import msgspec

from spooler.address import show
from spooler.cli.options import TEXT, json_option, load, spool_options
from spooler.cli.queue import MOST, unknown_message
from spooler.cli.render import clock_time, human_size, human_when, print_json, print_table, reply_of
from spooler.errors import NoInputError
from spooler.ident import format_id, now_us, parse_id
from spooler.records import LedgerEntry, MessageInfo, QueuedRecipient, QueueFilter, State

if TYPE_CHECKING:
    from pathlib import Path

    from spooler.spool.store import Store

LIMIT = 200


class Story(msgspec.Struct, frozen=True):
    """What is known of one message, or of one recipient of it, in the order in which it happened."""

    id: int
    message: MessageInfo | None
    events: list[LedgerEntry]
    queued: list[QueuedRecipient]


@click.command("trace")
@spool_options
@click.option(
    "--limit", type=click.IntRange(1, MOST), default=LIMIT, show_default=True, help="At most so many events."
)
@json_option
@click.argument("what", type=TEXT, metavar="ADDRESS|ID")
def command(*, spool: str | None, config: Path | None, what: str, limit: int, as_json: bool) -> None:
    """Tell what happened to a message, or to all mail for an address, newest message first."""
    settings = load(spool, config)
    from spooler.spool.store import Store

    with Store.open(settings.url) as store:
        stories, more = _stories(store, what, limit)
    if as_json:
        print_json({"messages": stories, "more": more})
        return
    now = now_us()
    for number, story in enumerate(stories):
        if number:
            click.echo()
        _print_story(story, now)
    if more:
        click.echo(f"There is more: --limit shows more than {limit} events.", err=True)


def _stories(store: Store, what: str, limit: int) -> tuple[list[Story], bool]:
    number = None if "@" in what else parse_id(what)
    message = None if number is None else store.message(number)
    if number is not None and message is not None:
        events, queued = store.ledger_of(number), store.queued_of(number)
        events.sort(key=lambda entry: (entry.at, entry.n))
        more = len(events) > limit or len(queued) > limit
        return [Story(number, message, events[:limit], queued[:limit])], more
    address = what[1:-1] if what.startswith("<") and what.endswith(">") else what
    entries = store.ledger_for(address, limit=limit + 1)
    waiting = store.queue(filter=QueueFilter(address=address), limit=limit + 1, after=None)
    if not entries and not waiting:
        if number is not None:
            raise unknown_message(what)
        raise NoInputError(
            f"nothing is known of '{show(what)}'", hint="give a recipient's whole address, or a message's id"
        )
    more = len(entries) > limit or len(waiting) > limit
    entries, waiting = entries[:limit], waiting[:limit]
    known = {entry.message_id for entry in entries} | {row.message_id for row in waiting}
    idents = sorted(known, reverse=True)
    stories = {ident: Story(ident, store.message(ident), [], []) for ident in idents}
    for entry in sorted(entries, key=lambda entry: entry.at):
        stories[entry.message_id].events.append(entry)
    for row in waiting:
        stories[row.message_id].queued.append(row)
    return list(stories.values()), more


def _print_story(story: Story, now: int) -> None:
    title = f"message {format_id(story.id)}"
    if story.message is not None:
        title += f" from {show(story.message.sender) or '<>'}, {human_size(story.message.size)}"
        title += f", job {show(story.message.job)}" if story.message.job else ""
    click.echo(title)
    rows = []
    if story.message is not None:
        count = story.message.recipients
        rows.append(
            (clock_time(story.message.created), "queued", f"{count:,} in all" if count > 1 else "", "", "")
        )
    rows += [
        (
            clock_time(entry.at),
            _what(entry),
            entry.address,
            entry.destination,
            "; ".join(
                part for part in (reply_of(entry.code, entry.enhanced, entry.text), _person(entry)) if part
            ),
        )
        for entry in story.events
    ]
    rows += [("now", row.state.value, row.address, "", _outlook(row, now)) for row in story.queued]
    columns = ["when (UTC)", "what", "recipient", "where", "reply"]
    print_table(columns, rows, fold=columns[1:])


def _what(entry: LedgerEntry) -> str:
    what = entry.outcome
    if entry.attempt:
        what += f", try {entry.attempt}"
    if entry.stage and entry.outcome != "delivered" and not entry.who:
        what += f", at {entry.stage}"
    if entry.uncertain:
        what += ", may be delivered"
    return f"{what}, too late to count" if entry.late else what


def _person(entry: LedgerEntry) -> str:
    return f"by {entry.who}" + (f": {entry.why}" if entry.why else "") if entry.who else ""


def _outlook(row: QueuedRecipient, now: int) -> str:
    if row.state is State.HELD:
        return f"held: {row.hold}"
    if row.state is State.ACTIVE:
        return f"with worker {format_id(row.lease)}" if row.lease else "with a worker"
    tries = "first try" if row.attempts == 0 else f"try {row.attempts + 1}"
    doubt = "; may be delivered already" if row.uncertain else ""
    return f"{tries} {'due' if row.due <= now else human_when(row.due, now)}{doubt}"
