"""`spooler queue hold/release/retry/reroute/remove/bounce`: what people do with what is queued."""

from __future__ import annotations

import getpass
import os
import socket
import sys
from collections import Counter
from collections.abc import Callable
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypedDict, TypeVar, Unpack

import click
import msgspec

from spooler.address import show
from spooler.cli.options import json_option, load, spool_options
from spooler.cli.render import plural, print_json, print_table
from spooler.cli.selecting import SelectionWords, read_duration, read_selection, selection_options
from spooler.cli.values import LINE, NAME, TEXT
from spooler.command import CANCELLED, GIVEN_UP, Command, Group, Order, Passed
from spooler.errors import NoInputError, UsageError
from spooler.ident import now_us, parse_id
from spooler.records import GAUGES, QueueFilter, State

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from spooler.cli.walking import Walk
    from spooler.spool.store import Store

_Command = TypeVar("_Command", bound=Callable[..., Any])

EX_INTERRUPTED = 130
LONGEST = 3650 * 86_400_000_000  # µs by which --extend goes
_DONE = {Command.BOUNCE: "bounced"}
_FOR = {  # the states that each is for
    Command.HOLD: {State.WAITING, State.DEFERRED, State.ACTIVE},
    Command.RELEASE: {State.HELD},
    Command.RETRY: {State.WAITING, State.DEFERRED},
    Command.REROUTE: {State.WAITING, State.DEFERRED, State.HELD},
    Command.REMOVE: {State.WAITING, State.DEFERRED, State.HELD},
    Command.BOUNCE: {State.WAITING, State.DEFERRED, State.HELD},
}
_ALREADY = {
    Command.HOLD: "held already",
    Command.RELEASE: "not held",
    Command.RETRY: "due already",
    Command.REROUTE: "on that route already",
}


class _Words(SelectionWords):
    """What all these commands are told."""

    spool: str | None
    config: Path | None
    idents: tuple[str, ...]
    everything: bool
    dry_run: bool
    reason: str
    wait: str
    as_json: bool


class _Facts(TypedDict, total=False):
    """What an order says beside its command, who gave it and why."""

    route: str
    enhanced: str
    text: str
    lifetime: int


def _steering(command: _Command) -> _Command:
    """Add what all these commands have."""
    for option in reversed(
        (
            spool_options,
            click.argument("idents", type=TEXT, nargs=-1, metavar="[ID]..."),
            selection_options,
            click.option("--all", "everything", is_flag=True, help="Really all that is queued."),
            click.option("--dry-run", is_flag=True, help="Count what is meant; change nothing."),
            click.option("--reason", type=LINE, default="", metavar="TEXT", help="Why; the ledger keeps it."),
            click.option(
                "--wait",
                default="10s",
                show_default=True,
                metavar="DURATION",
                help="How long to wait for what workers have in hand at the moment.",
            ),
            json_option,
        )
    ):
        command = option(command)
    return command


def _extend_option(command: _Command) -> _Command:
    return click.option(
        "--extend", metavar="DURATION", help="Give it at least so much time before it ends as expired."
    )(command)


@click.command("hold")
@_steering
def hold(**words: Unpack[_Words]) -> int:
    """Let recipients stay in the queue untried until they are released.

    \b
    Example:
      spooler queue hold --to @example.com --reason "their store is being moved"
    """
    return _run(Command.HOLD, words)


@click.command("release")
@_steering
@_extend_option
def release(*, extend: str | None, **words: Unpack[_Words]) -> int:
    """Let held recipients go; what workers died of before is forgiven."""
    return _run(Command.RELEASE, words, **_extended(extend))


@click.command("retry")
@_steering
@_extend_option
def retry(*, extend: str | None, **words: Unpack[_Words]) -> int:
    """Make what waits for its next attempt due now."""
    return _run(Command.RETRY, words, **_extended(extend))


@click.command("reroute")
@_steering
@click.option("--new-route", type=NAME, required=True, metavar="NAME", help="The route to take from now on.")
def reroute(*, new_route: str, **words: Unpack[_Words]) -> int:
    """Let recipients take another route; when they are due stays as it is.

    \b
    Example:
      spooler queue reroute --route old --new-route new && spooler queue retry --route new
    """
    return _run(Command.REROUTE, words, route=new_route)


@click.command("remove")
@_steering
def remove(**words: Unpack[_Words]) -> int:
    """Take recipients out of the queue without telling anybody; the ledger knows.

    \b
    Example:
      spooler queue remove --job june --reason "wrong list" --dry-run
    """
    return _run(Command.REMOVE, words)


@click.command("bounce")
@_steering
@click.option("--text", type=LINE, default=GIVEN_UP, show_default=True, help="What is said to the sender.")
@click.option("--status", type=TEXT, default=CANCELLED, show_default=True, help="Enhanced code, 5.x.y.")
def bounce(*, text: str, status: str, **words: Unpack[_Words]) -> int:
    """Give recipients up as failed, with a notice to the sender as for any failure."""
    number = status.split(".")
    if len(number) != 3 or number[0] != "5" or not all(_is_detail(part) for part in number[1:]):
        raise UsageError(f"'{show(status)}' is no status of a failure", hint="give 5.x.y, as 5.7.1")
    if not text.strip():
        raise UsageError("--text says nothing", hint=f"leave it out for '{GIVEN_UP}'")
    return _run(Command.BOUNCE, words, enhanced=status, text=text)


COMMANDS = (hold, release, retry, reroute, remove, bounce)


def _is_detail(text: str) -> bool:
    """Whether it can stand in an enhanced status code (RFC 3463 section 2)."""
    return text.isascii() and text.isdigit() and len(text) <= 3


def _extended(extend: str | None) -> _Facts:
    if extend is None:
        return {}
    lifetime = read_duration("--extend", extend)
    if lifetime > LONGEST:
        raise UsageError(f"--extend {show(extend)} is longer than ten years", hint="write 4h or 5d")
    return {"lifetime": lifetime}


def _run(command: Command, words: _Words, **facts: Unpack[_Facts]) -> int:
    now = now_us()
    selections = _selections(words, now)
    patience = read_duration("--wait", words["wait"]) / 1e6
    settings = load(words["spool"], words["config"])
    if command is Command.REROUTE and settings.config.routes and facts["route"] not in settings.config.routes:
        raise UsageError(
            f"route {show(facts['route'])} is not configured",
            hint=f"known: {', '.join(map(show, settings.config.routes))}; "
            "routes are made in the configuration",
        )
    order = Order(command=command, who=who(), why=words["reason"], **facts)
    from spooler.spool.store import Store

    with Store.open(settings.url) as store:
        _know(store, selections, words["idents"])
        if command is Command.REROUTE and not settings.config.routes:
            _check_known(store, facts["route"])
        if words["dry_run"]:
            _count(store, order, selections, as_json=words["as_json"])
            return os.EX_OK
        return _do(store, order, selections, patience, as_json=words["as_json"])


def _check_known(store: Store, route: str) -> None:
    """Raise UsageError for a route that nobody has heard of: mail would wait there for ever."""
    known = {row.route for row in store.stats()}
    known.update(name for standing in store.standings().values() for name in standing.routes)
    if route not in known:
        raise UsageError(
            f"route {show(route)} has no mail and no worker, and no configuration was named",
            hint=f"give --config; known are: {', '.join(map(show, sorted(known))) or 'none'}",
        )


def _selections(words: _Words, now: int) -> list[QueueFilter]:
    """One for each id, or one; raises UsageError where nothing is selected and all was not asked for."""
    which = read_selection(words, now=now)
    if not words["idents"] and which == QueueFilter() and not words["everything"]:
        raise UsageError(
            "nothing is selected", hint="name ids, or select by --to, --route, --job ...; --all is everything"
        )
    idents = [parse_id(text) for text in dict.fromkeys(words["idents"])]
    if None in idents:
        text = words["idents"][idents.index(None)]
        raise UsageError(
            f"'{show(text)}' is no message id", hint="ids have 13 characters; an address is selected by --to"
        )
    return [msgspec.structs.replace(which, message_id=ident) for ident in idents] or [which]


def _know(store: Store, selections: Sequence[QueueFilter], idents: Sequence[str]) -> None:
    for which, text in zip(selections, dict.fromkeys(idents), strict=False):
        if which.message_id is not None and store.message(which.message_id) is None:
            raise NoInputError(f"message {show(text)} is not in this spool", hint="see 'spooler queue list'")


def _count(store: Store, order: Order, selections: Sequence[QueueFilter], *, as_json: bool) -> None:
    """Say what would be done."""
    from spooler.cli.walking import positions

    counts: Counter[tuple[str, str]] = Counter()
    for which in selections:
        for position in positions(which):
            groups, upto = store.count(which, after=position.key)
            position.move(upto)
            for group in groups:
                counts[group.route, group.state] += group.count
    there = order.route if order.command is Command.REROUTE else None  # already
    meant = sum(
        count
        for (route, state), count in counts.items()
        if State(state) in _FOR[order.command] and route != there
    )
    if as_json:
        print_json(
            {
                "command": order.command.value,
                "dry_run": True,
                "recipients": meant,
                "selected": [Group(route, state, count) for (route, state), count in sorted(counts.items())],
            }
        )
        return
    if not counts:
        click.echo("Nothing in the queue is like that.")
        return
    states = [state.value for state in GAUGES]
    routes = sorted({route for route, _ in counts})
    rows = [[route, *(f"{counts[route, state]:,}" for state in states)] for route in routes]
    print_table(["route", *(f"#{state}" for state in states)], rows)
    word = _DONE.get(order.command, order.command.value)
    most = "at most " if order.command is Command.RETRY else ""
    click.echo(f"{most}{plural(meant, 'recipient')} would be {word}; nothing was changed")


def _do(
    store: Store, order: Order, selections: Sequence[QueueFilter], patience: float, *, as_json: bool
) -> int:
    """Do it; return the exit code."""
    from spooler.cli.walking import Interrupt, Walk
    from spooler.spool.steering import PAGE

    interrupt = Interrupt()
    queued = sum(row.count for row in store.stats() if row.state in GAUGES)
    with _bar(order, queued) as tell, interrupt.watched():
        walk = Walk(
            store=store,
            order=order,
            gentle=not store.is_postgres and bool(store.workers()),
            interrupt=interrupt,
            tell=tell,
        )
        for which in selections:
            walk.over(which)
        if walk.through:
            walk.come_back(patience)
    not_seen = 0 if walk.through else max(0, queued - walk.pages * PAGE)
    if as_json:
        _print_as_json(walk, not_seen)
    else:
        _print(walk, not_seen)
    if not walk.through:
        return EX_INTERRUPTED
    return os.EX_TEMPFAIL if walk.again else os.EX_OK


def _print_as_json(walk: Walk, not_seen: int) -> None:
    groups = [Group(route, state, count) for (route, state), count in sorted(walk.done.items())]
    print_json(
        {
            "command": walk.order.command.value,
            "dry_run": False,
            "recipients": sum(walk.done.values()),
            "done": groups,
            "with_worker": walk.active,
            "over_time": walk.over_time,
            "passed": {why.name.lower(): count for why, count in walk.passed.items()},
            "left": len(walk.again),
            "interrupted": not walk.through,
            "not_seen": not_seen,
        }
    )


def _print(walk: Walk, not_seen: int) -> None:
    command = walk.order.command
    done = sum(walk.done.values())
    if not done and not walk.passed and not walk.again and walk.through:
        click.echo("Nothing in the queue is like that.")
        return
    parts = [f"{count:,} {state} on {show(route)}" for (route, state), count in sorted(walk.done.items())]
    word = _DONE.get(command, command.value)
    click.echo(f"{plural(done, 'recipient')} {word}" + (f": {', '.join(parts)}" if parts else ""))
    if walk.active:
        then = "if they come back, unless they are delivered" if command is Command.HOLD else "as they are"
        click.echo(f"{walk.active:,} of them are with a worker now: {word} {then}")
    if walk.over_time:
        click.echo(f"{walk.over_time:,} of them are over their time and will end as expired", nl=False)
        click.echo("" if command is Command.REROUTE else ": --extend 1d gives them a day")
    passed = [f"{count:,} {_why(command, why)}" for why, count in walk.passed.items()]
    if passed:
        click.echo(f"left as they are: {', '.join(passed)}")
    if walk.again:
        click.echo(
            f"{len(walk.again):,} are with a worker now: say it again for what comes back of them, or first "
            "'spooler route pause', which gives back what is not on the wire"
        )
    if not walk.through:
        click.echo(f"interrupted: some {not_seen:,} of the queue were not looked at; say it again to go on")


def _why(command: Command, why: Passed) -> str:
    return _ALREADY.get(command, why.value) if why is Passed.ALREADY else why.value


def who() -> str:
    """Name the person who gives a command: the one behind sudo, if there is one, and this host."""
    try:
        user = os.environ.get("SUDO_USER") or getpass.getuser()
    except (KeyError, OSError):  # an id that nobody has
        user = f"uid {os.getuid()}"
    return f"{user}@{socket.gethostname()}"


@contextmanager
def _bar(order: Order, queued: int) -> Iterator[Callable[[Walk], None]]:
    """Show how far it came, on a terminal only."""
    if not sys.stderr.isatty():
        yield lambda walk: None  # noqa: ARG005  # as the other
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    from spooler.spool.steering import PAGE

    word = _DONE.get(order.command, order.command.value)
    columns = (
        TextColumn("looking through the queue"),
        BarColumn(),
        TextColumn(f"{{task.fields[done]:,}} {word}"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("", total=queued, done=0)

        def show_it(walk: Walk) -> None:
            progress.update(task, completed=min(walk.pages * PAGE, queued), done=sum(walk.done.values()))

        yield show_it
