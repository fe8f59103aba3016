"""`spooler drain --dry-run`: what there is to drain, what is in its way, and how long it takes at least."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import click
import msgspec

from spooler.address import show
from spooler.cli.render import human_duration, local_time, plural, print_json, print_table
from spooler.cli.walking import positions
from spooler.ident import now_us
from spooler.ops.status import routes_of
from spooler.policy.pace import lasting, work
from spooler.records import QueueFilter, State
from spooler.spool.store import Store

if TYPE_CHECKING:
    from collections.abc import Sequence

    from spooler.cli.options import Settings
    from spooler.command import Pause
    from spooler.ops.view import RouteView

LEAST = 0.01  # recipients a second: below this a figure says nothing
_WHY_LIMIT = 200  # characters


class RoutePlan(msgspec.Struct, frozen=True, kw_only=True):
    """Of a route: recipients by state, where they go, and what is in the way, "" if nothing is."""

    route: str
    waiting: int
    deferred: int
    active: int
    held: int
    destinations: list[str]
    sessions: int
    paused: bool
    obstacle: str

    @property
    def todo(self) -> int:
        """Recipients that a drain of it would deliver in the end."""
        return self.waiting + self.deferred


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """`recipients` that would be delivered, on routes that are not paused; `seconds` it takes at least, None
    without a rate; `rate` that is needed to be done by the deadline."""

    dry_run: bool
    job: str
    recipients: int
    routes: list[RoutePlan]
    seconds: float | None
    rate: float | None


def plan(
    settings: Settings,
    *,
    job: str,
    max_rate: float | None,
    ramp: float,
    deadline: int | None,
    as_json: bool,
) -> None:
    """Look, and say."""
    now = now_us()
    routes = settings.config.routes
    with Store.open(settings.url) as store:
        sample = store.sample(now=now)
        views = {view.name: view for view in routes_of(sample, sample.standings, now)}
        pauses = {pause.route: pause for pause in sample.pauses}
        counts = _counts(store, job) if job else _tallied(views)
    names = [name for name in routes if name in counts or not job]
    plans = [
        RoutePlan(
            route=name,
            **{
                state: counts.get(name, Counter())[state]
                for state in ("waiting", "deferred", "active", "held")
            },
            destinations=list(routes[name].destinations),
            sessions=routes[name].sessions,
            paused=name in pauses,
            obstacle=_obstacle(views.get(name), pauses.get(name), now),
        )
        for name in names
    ]
    todo = sum(one.todo for one in plans if not one.paused)
    left = None if deadline is None else (deadline - now) / 1e6
    made = Plan(
        dry_run=True,
        job=job,
        recipients=todo,
        routes=plans,
        seconds=None if max_rate is None else lasting(todo / max_rate, ramp),
        rate=None if left is None or left <= 0 else todo / work(left, ramp),
    )
    if as_json:
        print_json(made)
        return
    elsewhere = {name: sum(found.values()) for name, found in counts.items() if name not in routes}
    if job and not counts:
        click.echo(f"nothing is queued of job {show(job)}; nothing was done")
        return
    _print(made, elsewhere, max_rate=max_rate, deadline=deadline)


def _tallied(views: dict[str, RouteView]) -> dict[str, Counter[str]]:
    """Of the whole queue: nothing is read of it."""
    return {name: Counter(view.states) for name, view in views.items() if view.queued}


def _counts(store: Store, job: str) -> dict[str, Counter[str]]:
    """Of a job: the queue is gone through."""
    counts: dict[str, Counter[str]] = {}
    which = QueueFilter(job=job)
    for position in positions(which):
        groups, upto = store.count(which, after=position.key)
        position.move(upto)
        for group in groups:
            counts.setdefault(group.route, Counter())[group.state] += group.count
    return counts


def _obstacle(view: RouteView | None, pause: Pause | None, now: int) -> str:
    if pause is not None:
        return f"paused by {show(pause.who)}: spooler route resume"
    if view is None:
        return ""
    if view.outage is not None:
        since = human_duration(now - view.outage.since)
        return f"down for {since}: {show(view.outage.why, _WHY_LIMIT)}"
    if view.states[State.ACTIVE.value]:
        return "other workers are at it"
    return ""


def _print(made: Plan, elsewhere: dict[str, int], *, max_rate: float | None, deadline: int | None) -> None:
    print_table(
        [
            "route",
            "#to deliver",
            "#of these deferred",
            "#with workers",
            "#held",
            "to",
            "#sessions",
            "in the way",
        ],
        [_row(one) for one in made.routes],
    )
    of = f" of job {show(made.job)}" if made.job else ""
    click.echo(f"{plural(made.recipients, 'recipient')}{of} would be delivered; nothing was done")
    for one in made.routes:
        if one.paused and one.todo:
            click.echo(f"{plural(one.todo, 'recipient')} of route {show(one.route)} would not: it is paused")
    for name, count in sorted(elsewhere.items()):
        click.echo(f"{plural(count, 'recipient')} of route {show(name)} would not: it is not drained here")
    if made.seconds is not None:
        click.echo(f"at {max_rate:g} a second that takes {human_duration(int(made.seconds * 1e6))} or more")
    if made.rate is not None and deadline is not None:
        click.echo(f"by {local_time(deadline)} it takes {_rate(made.rate)} a second")


def _rate(rate: float) -> str:
    if 0 < rate < LEAST:
        return f"less than {LEAST}"
    return f"{rate:,.1f}" if rate >= 1 else f"{rate:.2g}"


def _row(one: RoutePlan) -> Sequence[str]:
    return [
        show(one.route),
        f"{one.todo:,}",
        f"{one.deferred:,}",
        f"{one.active:,}",
        f"{one.held:,}",
        ", ".join(map(show, one.destinations)),
        f"{one.sessions}",
        one.obstacle,
    ]
