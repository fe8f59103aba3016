"""`spooler top`: the queue, routes, destinations and workers, live in a terminal, over the spool alone."""

from __future__ import annotations

import select
import sys
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

import click

from spooler.address import show
from spooler.cli.options import json_option, load, spool_options
from spooler.cli.render import clock_time, human_duration, human_size, human_when, plural, print_json
from spooler.cli.values import FiniteRange
from spooler.ident import format_id, now_us
from spooler.ops.frame import Frame, frame

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from rich.console import Console, RenderableType
    from rich.table import Table

    from spooler.ops.view import DestinationView, RouteView
    from spooler.sample import Sample
    from spooler.spool.store import Store

FIRST = 0.5  # seconds between the two looks that the first frame compares
_WIDTH = 160  # columns where output is no terminal


@click.command("top")
@spool_options
@click.option(
    "--every",
    type=FiniteRange(min=0.2, max=3600),
    default=2.0,
    show_default=True,
    metavar="SECONDS",
    help="Time between looks.",
)
@click.option("--once", is_flag=True, help="Show it once; so too where output is no terminal.")
@json_option
def command(*, spool: str | None, config: Path | None, every: float, once: bool, as_json: bool) -> None:
    """Show how the spool stands and moves, until q or ^C.

    No worker need run here, or at all. With --json a line at each look.
    """
    settings = load(spool, config)
    from spooler.spool.store import Store

    with Store.open(settings.url) as store:
        if as_json:
            for one in _frames(store, every):
                print_json(one)
                if once:
                    return
        elif once or not sys.stdout.isatty():
            _print(next(_frames(store, every)))
        else:
            _live(store, every)


def _frames(store: Store, every: float) -> Iterator[Frame]:
    """Look again and again; whoever takes frames waits in between."""
    before = store.sample(now=now_us())
    pause = min(FIRST, every)
    while True:
        time.sleep(pause)
        pause = every
        before, one = _next(store, before)
        yield one


def _next(store: Store, before: Sample) -> tuple[Sample, Frame]:
    after = store.sample(now=now_us())
    return after, frame(before, after)


def _live(store: Store, every: float) -> None:
    from rich.console import Console
    from rich.live import Live

    console = Console(highlight=False, markup=False, emoji=False)
    before = store.sample(now=now_us())
    with _keys() as quits, Live(console=console, screen=True, auto_refresh=False) as live:
        if quits(min(FIRST, every)):
            return
        while True:
            before, one = _next(store, before)
            live.update(_render(one), refresh=True)
            if quits(every):
                return


@contextmanager
def _keys() -> Iterator[_Quits]:
    """Take keys as they are pressed, for the block."""
    if not sys.stdin.isatty():
        yield _Quits(keys=False)
        return
    import termios
    import tty

    before = termios.tcgetattr(sys.stdin)
    tty.setcbreak(sys.stdin)
    try:
        yield _Quits(keys=True)
    finally:
        termios.tcsetattr(sys.stdin, termios.TCSADRAIN, before)


class _Quits:
    """Waits some seconds; whether q was pressed meanwhile."""

    def __init__(self, *, keys: bool) -> None:
        self._keys = keys

    def __call__(self, seconds: float) -> bool:
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0:
            if not self._keys:
                time.sleep(left)
            elif select.select([sys.stdin], [], [], left)[0] and sys.stdin.read(1) in ("q", "Q", ""):
                return True
        return False


def _print(one: Frame) -> None:
    from rich.console import Console

    console: Console = Console(
        width=None if sys.stdout.isatty() else _WIDTH, highlight=False, markup=False, emoji=False
    )
    with console.capture() as captured:
        console.print(_render(one))
    click.echo("\n".join(line.rstrip() for line in captured.get().splitlines()))


def _render(one: Frame) -> RenderableType:
    from rich.console import Group
    from rich.text import Text

    queued = sum(route.queued for route in one.routes)
    head = f"spooler  {clock_time(one.at)}  {plural(queued, 'recipient')} queued"
    head += f", {one.delivered_per_second:,.0f} delivered/s"
    if one.done_in is not None and queued:
        moving = "" if one.moving == queued else f"{one.moving:,} on routes that deliver "
        head += f", {moving}done in {human_duration(int(one.done_in * 1e6))}"
    parts: list[RenderableType] = [Text(head, style="bold")]
    for problem in one.problems:
        since = f", since {human_when(problem.since, one.at)}" if problem.since is not None else ""
        verb = "waits" if problem.waiting == 1 else "wait"
        waits = f"; {plural(problem.waiting, 'recipient')} {verb}" if problem.waiting else ""
        why = f": {show(problem.why, 300)}" if problem.why else ""
        style = "bold red" if problem.level == "bad" else "yellow"
        parts.append(Text(f"! {show(problem.what, 200)}{since}{waits}{why}", style=style))
    parts += [Text(), _routes(one)]
    if one.destinations:
        parts += [Text(), _destinations(one)]
    if one.workers:
        parts += [Text(), _workers(one)]
    return Group(*parts)


def _table(*names: str) -> Table:
    from rich.table import Table

    table = Table(box=None, pad_edge=False, show_edge=False, header_style="bold")
    for name in names:
        right = name.startswith("#")
        table.add_column(name.removeprefix("#"), justify="right" if right else "left", overflow="fold")
    return table


def _routes(one: Frame) -> Table:
    table = _table(
        "route", "#waiting", "#deferred", "#active", "#held", "#oldest",
        "#delivered/s", "#deferred/s", "#failed/s", "#sessions", "limited by",
    )  # fmt: skip
    for route in one.routes:
        rates = one.rates[route.name]
        table.add_row(
            show(route.name),
            *(f"{count:,}" for count in route.states.values()),
            human_duration(one.at - route.oldest) if route.oldest is not None else "",
            *(f"{rate:,.0f}" for rate in (rates.delivered, rates.deferred, rates.failed)),
            f"{route.sessions}/{route.window}" if route.served else "",
            show("paused" if route.paused else _limits(route), 200),
        )
    return table


def _limits(route: RouteView) -> str:
    return f"down: {route.outage.why}" if route.outage is not None else route.limits


def _destinations(one: Frame) -> Table:
    table = _table("destination", "health", "mode", "#sessions", "#idle", "why")
    for place in one.destinations:
        table.add_row(
            show(place.name),
            _health(place, one.at),
            f"{place.mode}, {place.takes}" if place.takes else place.mode,
            str(place.sessions),
            str(place.idle),
            show(place.outage.why if place.outage is not None else place.last_doubt, 200),
        )
    return table


def _health(place: DestinationView, now: int) -> str:
    if place.outage is not None:
        return f"down for {human_duration(now - place.outage.since)}"
    if place.doubts:
        return f"{place.doubts} doubts"
    return "good" if place.proven else "not tried yet"


def _workers(one: Frame) -> Table:
    table = _table("worker", "host", "#pid", "running for", "last beat", "#sessions", "#memory")
    for worker in one.workers:
        table.add_row(
            format_id(worker.id),
            show(worker.host),
            str(worker.pid),
            human_duration(one.at - worker.started),
            human_when(worker.beat_at, one.at) + ("" if worker.lives else ", silent"),
            str(worker.sessions),
            human_size(worker.memory) if worker.memory else "",
        )
    return table
