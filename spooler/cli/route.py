"""`spooler route`: the routes and how they stand; pausing one, and letting it go on."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import click
import msgspec

from spooler.address import show
from spooler.cli.options import json_option, load, spool_options
from spooler.cli.render import clock_time, human_when, print_json, print_table, shell_word
from spooler.cli.steering import who
from spooler.cli.values import LINE, NAME
from spooler.command import Pause
from spooler.config import check_route_name
from spooler.ident import now_us
from spooler.records import GAUGES
from spooler.worker_standing import Outage

if TYPE_CHECKING:
    from pathlib import Path

    from spooler.cli.options import Settings
    from spooler.spool.store import Store
    from spooler.worker_standing import RouteStanding


class RouteLine(msgspec.Struct, frozen=True, kw_only=True):
    """A route: how much is queued, how many workers serve it, and what keeps it from going."""

    route: str
    state: str
    queued: int
    workers: int
    destinations: list[str]
    pause: Pause | None
    outage: Outage | None


@click.group("route")
def command() -> None:
    """Look at routes, pause and resume them."""


@command.command("list")
@spool_options
@json_option
def list_command(*, spool: str | None, config: Path | None, as_json: bool) -> None:
    """List the routes that are configured, served, or have something queued."""
    settings = load(spool, config)
    from spooler.spool.store import Store

    with Store.open(settings.url) as store:
        lines = _lines(store, settings)
    if as_json:
        print_json({"routes": lines})
        return
    if not lines:
        click.echo("No route is known: none is configured, served, or has anything queued.")
        return
    now = now_us()
    print_table(
        ["route", "state", "#queued", "#workers", "destinations", "why"],
        [
            [
                line.route,
                line.state,
                f"{line.queued:,}",
                str(line.workers),
                ", ".join(line.destinations),
                describe_pause(line.pause, now) if line.pause else describe_outage(line.outage, now),
            ]
            for line in lines
        ],
        fold=("destinations", "why"),
    )


@command.command("pause")
@spool_options
@click.option("--reason", type=LINE, default="", metavar="TEXT", help="Why; it is shown until then.")
@click.argument("name", type=NAME, metavar="NAME")
def pause_command(*, spool: str | None, config: Path | None, reason: str, name: str) -> None:
    """Let nothing be delivered on a route until it is resumed, by whatever worker.

    What has begun comes to its end; within two seconds nothing more begins.
    """
    check_route_name(name)
    settings = load(spool, config)
    from spooler.spool.store import Store

    with Store.open(settings.url) as store:
        known = {line.route for line in _lines(store, settings)}
        paused = store.pause(name, who=who(), why=reason, now=now_us())
        (pause,) = [one for one in store.pauses() if one.route == name]
    if not paused:
        click.echo(f"route {show(name)} was {describe_pause(pause, now_us())}")
        return
    click.echo(f"route {show(name)} is paused; spooler route resume {shell_word(name)} lets it go on")
    if name not in known:
        click.echo("spooler: nothing is queued for such a route, and no worker serves it", err=True)


@command.command("resume")
@spool_options
@click.argument("name", type=NAME, metavar="NAME")
def resume_command(*, spool: str | None, config: Path | None, name: str) -> None:
    """Let a paused route go on."""
    settings = load(spool, config)
    from spooler.spool.store import Store

    with Store.open(settings.url) as store:
        resumed = store.resume(name)
    click.echo(f"route {show(name)} {'goes on' if resumed else 'was not paused'}")


def describe_pause(pause: Pause, now: int) -> str:
    """Say since when a route is paused, by whom and why."""
    since = f"{clock_time(pause.at)}, {human_when(pause.at, now)}"
    return f"paused by {pause.who} ({since})" + (f": {pause.why}" if pause.why else "")


def describe_outage(outage: Outage | None, now: int) -> str:
    """Say since when something is down, in whose words, and when it is tried again; "" if it is not."""
    if outage is None:
        return ""
    soon = outage.probe_at > now
    probe = f"tried again {human_when(outage.probe_at, now)}" if soon else "tried again soon"
    return f"down since {clock_time(outage.since)} ({human_when(outage.since, now)}), {probe}: {outage.why}"


def _lines(store: Store, settings: Settings) -> list[RouteLine]:
    queued: Counter[str] = Counter()
    for row in store.stats():
        if row.state in GAUGES:
            queued[row.route] += row.count
    pauses = {pause.route: pause for pause in store.pauses()}
    served: dict[str, list[RouteStanding]] = {}
    for standing in store.standings().values():
        for name, route in standing.routes.items():
            served.setdefault(name, []).append(route)
    configured = settings.config.routes
    names = sorted({*configured, *served, *pauses, *(name for name, count in queued.items() if count)})
    return [
        _line(
            name,
            queued=queued[name],
            pause=pauses.get(name),
            served=served.get(name, []),
            configured=configured[name].destinations if name in configured else [],
        )
        for name in names
    ]


def _line(
    name: str, *, queued: int, pause: Pause | None, served: list[RouteStanding], configured: list[str]
) -> RouteLine:
    outages = [one.outage for one in served if one.outage is not None]
    # a worker that gets through is enough
    outage = min(outages, key=lambda one: one.since) if outages and len(outages) == len(served) else None
    state = "paused" if pause else "down" if outage else "open" if served else "no worker"
    return RouteLine(
        route=name,
        state=state,
        queued=queued,
        workers=len(served),
        destinations=served[0].destinations if served else configured,
        pause=pause,
        outage=outage,
    )
