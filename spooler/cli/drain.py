"""`spooler drain`: deliver until nothing is due, then stop."""

from __future__ import annotations

import datetime as dt
import sys
from typing import TYPE_CHECKING

import click
import msgspec

from spooler.address import show
from spooler.cli.options import (
    Settings,
    how_many,
    json_option,
    load,
    need_routes,
    processes_option,
    spool_options,
    target_options,
)
from spooler.cli.selecting import read_duration
from spooler.cli.showing import OFF, http_option, showing
from spooler.cli.values import FILE, NAME, FiniteRange
from spooler.config import parse_duration
from spooler.errors import UsageError
from spooler.ident import now_us

if TYPE_CHECKING:
    from pathlib import Path

    from spooler.cli.draining import Asked


@click.command()
@spool_options
@target_options
@processes_option
@http_option("nowhere")
@click.option(
    "--route", "routes", type=NAME, multiple=True, metavar="NAME", help="Only this route; may be said again."
)
@click.option("--job", type=NAME, metavar="NAME", help="Only mail of this job.")
@click.option(
    "--max-rate",
    type=FiniteRange(min=0, min_open=True),
    metavar="N",
    help="At most so many recipients a second, over all processes of this command.",
)
@click.option(
    "--ramp", metavar="DURATION", help="Reach --max-rate evenly in this time, from a tenth of it: 90s, 15m."
)
@click.option(
    "--deadline",
    metavar="WHEN",
    help="Begin nothing after this: in 90s, 15m or 4h; at 06:00; at 2027-01-31T06:00 (local time).",
)
@click.option("--until-empty", is_flag=True, help="Go on until nothing is left, waiting for retries.")
@click.option(
    "--dry-run", is_flag=True, help="Say what would be drained, and what is in its way; deliver nothing."
)
@click.option(
    "--report",
    "reports",
    type=FILE,
    multiple=True,
    metavar="FILE",
    help="Write the report here in the end: FILE.txt, FILE.json or FILE.html.",
)
@json_option
@click.option("--quiet", is_flag=True, help="No progress bar, no summary.")
@click.option(
    "--log-level",
    type=click.Choice(["debug", "info", "warning", "error"]),
    default=None,
    help="Least level of the log lines on standard error; default: info, on a terminal error.",
)
def command(
    *,
    spool: str | None,
    config: Path | None,
    target: str | None,
    processes: int | None,
    http: str | None,
    routes: tuple[str, ...],
    job: str | None,
    max_rate: float | None,
    ramp: str | None,
    deadline: str | None,
    until_empty: bool,
    dry_run: bool,
    reports: tuple[Path, ...],
    as_json: bool,
    quiet: bool,
    log_level: str | None,
) -> None:
    """Deliver what is due, then stop.

    Ends when nothing is due any more on a route that takes mail; with --until-empty when nothing is
    left at all (what is held does not count). Exit code 0 if nothing is left, 75 if something is.

    \b
    Examples:
      spooler drain --spool sqlite:///spool.db --target inet:127.0.0.1:24
      spooler drain --config /etc/spooler/main.toml --job june --max-rate 500 --ramp 10m --report june.html
    """
    settings = _only(load(spool, config, target), routes)
    need_routes(settings)
    if ramp is not None and max_rate is None:
        raise UsageError("--ramp says how --max-rate is reached", hint="give --max-rate too")
    climb = 0.0 if ramp is None else read_duration("--ramp", ramp) / 1e6
    now = now_us()
    until = None if deadline is None else _moment(deadline, now)
    if dry_run:
        from spooler.cli.planning import plan

        if reports:
            raise UsageError(
                "a dry run has nothing to report",
                hint="--json prints its plan for programs",
            )
        plan(settings, job=job or "", max_rate=max_rate, ramp=climb, deadline=until, as_json=as_json)
        return
    from spooler.cli import reporting

    settings = showing(settings, http, unasked=False)
    reporting.check_paths(reports)
    level = log_level or ("error" if sys.stderr.isatty() else "info")
    count = how_many(settings, processes)
    started = None
    if count == 1:
        from spooler.spool.starting import start

        started = start(settings.url)  # before the rest is loaded
    from spooler.cli.draining import Asked, keep_drain, run_drain

    asked = Asked(
        until_empty=until_empty,
        job=job or "",
        routes=routes,
        max_rate=max_rate,
        ramp=climb,
        deadline=until,
        quiet=quiet,
        as_json=as_json,
        reports=reports,
    )
    if started is None:
        from spooler.cli.keeping import Kept

        kept = Kept(settings, _words(asked, settings, level), config=config, target=target, count=count)
        left = keep_drain(kept, asked, log_level=level)
    else:
        left = run_drain(settings, started, asked, log_level=level)
    if left:
        sys.exit(75)


def _only(settings: Settings, names: tuple[str, ...]) -> Settings:
    """Keep these routes, all if none are named. Raises UsageError for one that is not configured."""
    if not names:
        return settings
    routes = settings.config.routes
    for name in names:
        if name not in routes:
            known = ", ".join(map(show, routes)) or "none"
            raise UsageError(f"route {show(name)} is not configured", hint=f"configured are: {known}")
    chosen = {name: routes[name] for name in names}
    config = msgspec.structs.replace(settings.config, routes=chosen, domains={})  # which are for intake
    return msgspec.structs.replace(settings, config=config)


def _moment(text: str, now: int) -> int:
    """Read a duration from now, or a time of the local clock, as µs UTC. Raises UsageError."""
    duration = parse_duration(text)
    if duration is not None:
        return now + duration.us
    try:
        if len(text) == len("06:00"):
            clock = dt.time.fromisoformat(text)
            today = dt.datetime.now().astimezone()
            when = today.replace(hour=clock.hour, minute=clock.minute, second=0, microsecond=0)
            when += dt.timedelta(days=when <= today)
        else:
            when = dt.datetime.fromisoformat(text).astimezone()
    except ValueError:
        raise UsageError(
            f"--deadline '{show(text)}' is no time", hint="write 90s, 15m, 4h, 06:00 or 2027-01-31T06:00"
        ) from None
    moment = int(when.timestamp() * 1e6)
    if moment <= now:
        raise UsageError(f"--deadline {show(text)} is over", hint="give a time that comes")
    return moment


def _words(asked: Asked, settings: Settings, level: str) -> list[str]:
    """Say to one of several processes what this one was asked; the deadline is for who keeps them."""
    words = ["drain", "--log-level", level, "--http", settings.config.http.listen or OFF]
    for name in asked.routes:
        words += ["--route", name]
    if not asked.counts:
        words.append("--quiet")
    if asked.job:
        words += ["--job", asked.job]
    if asked.max_rate is not None:
        words += ["--max-rate", str(asked.max_rate), "--ramp", f"{asked.ramp:f}s"]
    return [*words, *(["--until-empty"] if asked.until_empty else [])]
