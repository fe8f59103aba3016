"""`spooler trace`: the whole story of a message or of an address, from the ledger and the queue."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from spooler.address import show
from spooler.cli.options import json_option, limit_option, load, spool_options
from spooler.cli.render import clock_time, human_size, human_when, print_json, print_table, reply_of
from spooler.cli.values import TEXT
from spooler.ident import format_id, now_us
from spooler.records import State

if TYPE_CHECKING:
    from pathlib import Path

    from spooler.records import LedgerEntry, QueuedRecipient
    from spooler.sample import Story

LIMIT = 200


@click.command("trace")
@spool_options
@limit_option(LIMIT, "At most so many events.")
@json_option
@click.argument("what", type=TEXT, metavar="ADDRESS|ID")
def command(*, spool: str | None, config: Path | None, what: str, limit: int, as_json: bool) -> None:
    """Tell what happened to a message, or to all mail for an address, newest message first."""
    settings = load(spool, config)
    from spooler.spool.store import Store

    with Store.open(settings.url) as store:
        found = store.trace(what, limit=limit)
    if as_json:
        print_json(found)
        return
    now = now_us()
    for number, story in enumerate(found.messages):
        if number:
            click.echo()
        _print_story(story, now)
    if found.more:
        click.echo(f"There is more: --limit shows more than {limit} events.", err=True)


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
