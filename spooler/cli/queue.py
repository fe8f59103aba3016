"""`spooler queue`: what is still to do, one message whole, and the counts."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Unpack

import click

from spooler.address import show
from spooler.cli.options import json_option, limit_option, load, spool_options
from spooler.cli.render import (
    clock_time,
    human_duration,
    human_size,
    human_when,
    plain,
    print_json,
    print_table,
    reply_of,
)
from spooler.cli.route import describe_pause
from spooler.cli.selecting import SelectionWords, read_selection, selection_options
from spooler.cli.steering import COMMANDS
from spooler.errors import NoInputError, UsageError
from spooler.ident import format_id, now_us, parse_id
from spooler.records import GAUGES, QueuedRecipient, QueueFilter, State, TallyRow
from spooler.standing import Standing, standings

if TYPE_CHECKING:
    from pathlib import Path

    from spooler.records import MessageInfo
    from spooler.spool.store import Store

LIMIT = 50
_COUNTED = (*GAUGES, State.DELIVERED, State.FAILED, State.EXPIRED, State.UNCERTAIN)


@click.group("queue")
def command() -> None:
    """Look at what is queued, and change it."""


for _one in COMMANDS:
    command.add_command(_one)


@command.command("list")
@spool_options
@selection_options
@limit_option(LIMIT)
@json_option
def list_command(
    *, spool: str | None, config: Path | None, limit: int, as_json: bool, **words: Unpack[SelectionWords]
) -> None:
    """List recipients that are still to do, oldest message first."""
    wanted = read_selection(words, now=now_us())
    with _open(spool, config) as store:
        found = store.queue(filter=wanted, limit=limit + 1, after=None)
    shown, more = found[:limit], len(found) > limit
    if as_json:
        print_json({"recipients": shown, "more": more})
    elif not shown:
        nothing = QueueFilter() == wanted
        click.echo("The queue is empty." if nothing else "Nothing in the queue is like that.")
    else:
        _print_queue(shown, now_us())
        if more:
            click.echo(f"There are more: --limit shows more than {limit}, filters show others.", err=True)


@command.command("show")
@spool_options
@limit_option(LIMIT)
@json_option
@click.argument("ident", metavar="ID")
def show_command(*, spool: str | None, config: Path | None, ident: str, limit: int, as_json: bool) -> None:
    """Show a message and where each of its recipients stands."""
    number = read_id(ident)
    with _open(spool, config) as store:
        message = store.message(number)
        if message is None:
            raise unknown_message(ident)
        everybody = standings(store.queued_of(number), store.ledger_of(number))
    shown, counts = everybody[:limit], Counter(one.state for one in everybody)
    if as_json:
        print_json(
            {"message": message, "states": dict(counts), "recipients": shown, "more": len(everybody) > limit}
        )
        return
    now = now_us()
    _print_message(message, now)
    click.echo("states      " + ", ".join(f"{count:,} {state}" for state, count in counts.most_common()))
    click.echo()
    _print_standings(shown, now)
    if len(everybody) > limit:
        click.echo(f"There are {len(everybody) - limit:,} more: --limit shows more than {limit}.", err=True)


@command.command("stats")
@spool_options
@json_option
def stats_command(*, spool: str | None, config: Path | None, as_json: bool) -> None:
    """Count recipients by route and state, and name the workers."""
    with _open(spool, config) as store:
        table = _counts(store.stats())
        oldest = {route: _oldest(store, route) for route, counts in table.items() if _queued(counts)}
        workers = store.workers()
        pauses = store.pauses()
    now = now_us()
    if as_json:
        routes = {
            route: {**{state.value: counts[state] for state in State}, "oldest": oldest.get(route)}
            for route, counts in sorted(table.items())
        }
        print_json(
            {
                "routes": {route: plain(counts) for route, counts in routes.items()},
                "workers": workers,
                "paused": pauses,
            }
        )
        return
    if not table:
        click.echo("The spool is empty: nothing was ever queued.")
    else:
        rows = [
            [route, *(f"{counts[state]:,}" for state in _COUNTED), _age(oldest.get(route), now)]
            for route, counts in sorted(table.items())
        ]
        if len(rows) > 1:
            sums = [sum(counts[state] for counts in table.values()) for state in _COUNTED]
            ages = [when for when in oldest.values() if when is not None]
            rows.append(["total", *(f"{count:,}" for count in sums), _age(min(ages, default=None), now)])
        print_table(["route", *(f"#{state.value}" for state in _COUNTED), "#oldest"], rows)
    for pause in pauses:
        click.echo(f"route {show(pause.route)} is {describe_pause(pause, now)}")
    click.echo()
    if not workers:
        click.echo("No worker is running.")
        return
    print_table(
        ["worker", "host", "#pid", "running for", "last beat"],
        [
            [
                format_id(worker.id),
                worker.host.split()[0],
                str(worker.pid),
                human_duration(now - worker.started),
                human_when(worker.beat_at, now),
            ]
            for worker in workers
        ],
    )


def read_id(text: str) -> int:
    """Read a message id. Raises UsageError."""
    number = parse_id(text)
    if number is None:
        raise UsageError(
            f"'{show(text)}' is no message id", hint="ids have 13 characters; 'spooler queue list' shows them"
        )
    return number


def unknown_message(ident: str) -> NoInputError:
    """Say that the spool has no such message."""
    return NoInputError(
        f"message {show(ident)} is not in this spool",
        hint="ended messages are forgotten after the time in worker.retention",
    )


def _open(spool: str | None, config: Path | None) -> Store:
    settings = load(spool, config)
    from spooler.spool.store import Store

    return Store.open(settings.url)


def _counts(tallies: list[TallyRow]) -> dict[str, Counter[State]]:
    table: dict[str, Counter[State]] = {}
    for row in tallies:
        table.setdefault(row.route, Counter())[row.state] += row.count
    return table


def _queued(counts: Counter[State]) -> int:
    return sum(counts[state] for state in GAUGES)


def _oldest(store: Store, route: str) -> int | None:
    """When the oldest queued message of a route was made: ids sort by time."""
    first = store.queue(filter=QueueFilter(route=route), limit=1, after=None)
    return first[0].created if first else None


def _next(due: int, now: int) -> str:
    return "due" if due <= now else human_when(due, now)


def _age(when: int | None, now: int) -> str:
    return "" if when is None else human_duration(now - when)


def _print_queue(rows: list[QueuedRecipient], now: int) -> None:
    print_table(
        ["id", "age", "state", "#tries", "next", "route", "from", "to", "last reply"],
        [
            [
                format_id(row.message_id),
                human_duration(now - row.created),
                _state(row.state.value, uncertain=row.uncertain, hold=row.hold),
                str(row.attempts),
                "" if row.state in {State.ACTIVE, State.HELD} else _next(row.due, now),
                row.route,
                row.sender or "<>",
                row.address,
                reply_of(row.code, row.enhanced, row.text),
            ]
            for row in rows
        ],
        fold=("state", "from", "to", "last reply"),
    )


def _print_message(message: MessageInfo, now: int) -> None:
    size = f"{human_size(message.size)}, {message.body.value}" + (", smtputf8" if message.smtputf8 else "")
    mended = [
        f"{count:,} {what}"
        for count, what in (
            (message.bare_lf, "LF made CRLF"),
            (message.bare_cr, "bare CR made space"),
            (message.long_lines, "lines of over 998 bytes kept"),
        )
        if count
    ]
    for name, value in (
        ("message", format_id(message.id)),
        ("from", show(message.sender) or "<>"),
        ("recipients", f"{message.recipients:,}"),
        ("size", size),
        ("content", ", ".join(mended)),
        ("queued", f"{clock_time(message.created)} ({human_when(message.created, now)})"),
        ("not before", clock_time(message.not_before)),
        ("expires", f"{clock_time(message.expires)} ({human_when(message.expires, now)})"),
        ("priority", message.priority.name.lower()),
        ("job", show(message.job)),
        ("tenant", show(message.tenant)),
        ("key", show(message.idempotency_key or "")),
        ("envelope id", show(message.envid or "")),
        ("imported", _source(message)),
        ("sha256", message.sha256),
    ):
        if value:
            click.echo(f"{name:<12}{value}")


def _source(message: MessageInfo) -> str:
    if message.source is None:
        return ""
    return show(message.source, 300) + (f" at byte {message.source_offset}" if message.source_offset else "")


def _print_standings(rows: list[Standing], now: int) -> None:
    print_table(
        ["recipient", "state", "#tries", "next", "last", "where", "reply"],
        [
            [
                row.address,
                _state(row.state, uncertain=row.uncertain, hold=row.hold),
                str(row.attempts),
                "" if row.due is None or row.state in {"active", "held"} else _next(row.due, now),
                "" if row.at is None else human_when(row.at, now),
                row.destination,
                reply_of(row.code, row.enhanced, row.text),
            ]
            for row in rows
        ],
        fold=("recipient", "state", "where", "reply"),
    )


def _state(state: str, *, uncertain: bool, hold: str | None) -> str:
    if hold:
        state = f"{state}: {hold}"
    if not uncertain:
        return state
    return f"{state} (perhaps twice)" if state == "delivered" else f"{state} (may be delivered already)"
