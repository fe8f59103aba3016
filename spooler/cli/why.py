"""`spooler why`: what a message, or the mail for an address, waits at, and when that clears."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from spooler.address import show
from spooler.cli.options import json_option, limit_option, load, spool_options
from spooler.cli.queue import unknown_message
from spooler.cli.render import clock_time, human_duration, human_when, plain, print_json, reply_of, shell_word
from spooler.cli.values import TEXT
from spooler.errors import NoInputError
from spooler.explain import AHEAD, Explained, clears, explain
from spooler.ident import format_id, now_us, parse_id
from spooler.policy.gates import Gate, GateKind
from spooler.records import QueueFilter
from spooler.standing import Standing, standings

if TYPE_CHECKING:
    from pathlib import Path

    from spooler.records import QueuedRecipient
    from spooler.spool.store import Store

LIMIT = 20
_SAYS = {
    GateKind.HELD: "it is held",
    GateKind.UNDER_WAY: "it is being delivered at this moment by worker {worker}",
    GateKind.WITH_WORKER: "worker {worker} has it in hand",
    GateKind.WORKER_SILENT: "worker {worker}, which has it in hand, gives no sign of life",
    GateKind.OVER_TIME: "its time is over: it ends as expired at the next look",
    GateKind.PAUSED: "route {route} is paused",
    GateKind.NO_WORKER: "no worker is running",
    GateKind.NO_WORKER_FOR_ROUTE: "no worker serves route {route}",
    GateKind.SCHEDULED: "it is scheduled for later",
    GateKind.MAILBOX_SHUT: "its mailbox takes no mail for now; one message looks again then",
    GateKind.HOLD_OFF: "its last attempt may have delivered it, so it is held off",
    GateKind.RETRY: "it is not due for its next try",
    GateKind.PUT_OFF: "a worker put it off untried",
    GateKind.ROUTE_DOWN: "route {route} is down",
    GateKind.SUSPECT: "it is tried alone, when nothing else is under way",
    GateKind.QUEUED_BEHIND: "others are due before it",
    GateKind.NOTHING: "nothing: it is claimed next",
}
_MENDS = {
    GateKind.HELD: "spooler queue release {which}",
    GateKind.PAUSED: "spooler route resume {route}",
    GateKind.NO_WORKER: "start one: spooler worker, or spooler drain",
    GateKind.NO_WORKER_FOR_ROUTE: "configure the route, or spooler queue reroute",
    GateKind.RETRY: "spooler queue retry {which}",
    GateKind.HOLD_OFF: "spooler queue retry {which}, at the risk of a second copy",
}
_UNTIL = {GateKind.ROUTE_DOWN: "next probe", GateKind.WORKER_SILENT: "taken over at the latest"}


@click.command("why")
@spool_options
@limit_option(LIMIT)
@json_option
@click.argument("what", type=TEXT, metavar="ID|ADDRESS")
def command(*, spool: str | None, config: Path | None, what: str, limit: int, as_json: bool) -> None:
    """Say what a message, or all mail for an address, waits at, and when that clears.

    \b
    Example:
      spooler why someone@example.com
    """
    settings = load(spool, config)
    now = now_us()
    number = None if "@" in what else parse_id(what)
    from spooler.spool.store import Store

    with Store.open(settings.url) as store:
        rows, ended = _find(store, what, number, limit)
        explained = explain(store, rows[:limit], now=now)
    if as_json:
        print_json(
            {
                "recipients": [_plain(one) for one in explained],
                "ended": ended,
                "more": len(rows) > limit,
            }
        )
        return
    for one in explained:
        _print(one, now, alone=number is None)
    for standing in ended[:limit]:
        reply = reply_of(standing.code, standing.enhanced, standing.text)
        when = f"{clock_time(standing.at)}, " if standing.at is not None else ""
        ago = human_when(standing.at, now) if standing.at is not None else ""
        click.echo(f"{show(standing.address)} waits for nothing: {standing.state} ({when}{ago})", nl=False)
        click.echo(f": {show(reply, 500)}" if reply else "")
    if len(rows) > limit or len(ended) > limit:
        click.echo(f"There are more: --limit shows more than {limit}.", err=True)


def _find(
    store: Store, what: str, number: int | None, limit: int
) -> tuple[list[QueuedRecipient], list[Standing]]:
    """Find what is queued of a message (`number`) or for an address, and, where nothing is, how it ended.

    Raises NoInputError.
    """
    if number is not None:
        if store.message(number) is None:
            raise unknown_message(what)
        rows = store.queue(filter=QueueFilter(message_id=number), limit=limit + 1)
        return rows, [] if rows else standings([], store.ledger_of(number))
    address = what[1:-1] if what.startswith("<") and what.endswith(">") else what
    rows = store.queue(filter=QueueFilter(address=address), limit=limit + 1)
    if rows:
        return rows, []
    newest = store.ledger_for(address, limit=1)
    if not newest:
        raise NoInputError(
            f"nothing is known of '{show(what)}'", hint="give a recipient's whole address, or a message's id"
        )
    (entry,) = newest
    ended = standings([], store.ledger_of(entry.message_id))
    return [], [one for one in ended if one.n == entry.n]


def _plain(one: Explained) -> dict[str, object]:
    row = one.recipient
    return {
        "message_id": format_id(row.message_id),
        "n": row.n,
        "address": row.address,
        "route": row.route,
        "state": row.state.value,
        "attempts": row.attempts,
        "gates": plain(one.gates),
        "clears": plain({"clears": clears(one.gates)})["clears"],
        "ahead": one.ahead,
    }


def _print(one: Explained, now: int, *, alone: bool) -> None:
    """Tell of a recipient; `alone`: not of its message, so what is proposed is for no other recipient."""
    row = one.recipient
    which = format_id(row.message_id) + (f" --to {shell_word(row.address)}" if alone else "")
    age = human_duration(now - row.created)
    tries = f"tried {row.attempts} times" if row.attempts > 1 else "tried once"
    if not row.attempts:
        tries = "not tried yet"
    click.echo(f"{show(row.address)}, message {format_id(row.message_id)}, queued for {age}, {tries}")
    for number, gate in enumerate(one.gates):
        click.echo(f"  {'waits' if number == 0 else 'and'}: {_sentence(gate, one, now)}")
        mend = _MENDS.get(gate.kind)
        if mend is not None:
            click.echo(f"    {mend.format(which=which, route=shell_word(row.route))}")
    if row.uncertain:
        click.echo("  it may be delivered already: an earlier attempt ended without an answer")


def _sentence(gate: Gate, one: Explained, now: int) -> str:
    row = one.recipient
    worker = format_id(gate.worker) if gate.worker is not None else ""
    text = _SAYS[gate.kind].format(worker=worker, route=show(row.route))
    if gate.kind is GateKind.QUEUED_BEHIND and one.ahead:
        most = "more than " if one.ahead >= AHEAD else ""
        text = f"{most}{one.ahead:,} others are due before it"
    if gate.since is not None:
        word = "last beat" if gate.kind is GateKind.WORKER_SILENT else "since"
        text += f", {word} {clock_time(gate.since)} ({human_when(gate.since, now)})"
    if gate.clears is not None:
        word = _UNTIL.get(gate.kind, "until")
        text += f", {word} {clock_time(gate.clears)} ({human_when(gate.clears, now)})"
    return f"{text}: {show(gate.why, 500)}" if gate.why else text
