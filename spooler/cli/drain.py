"""`spooler drain`: deliver until nothing is due, then stop."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from spooler.cli.options import how_many, load, need_routes, processes_option, spool_options, target_options
from spooler.cli.showing import OFF, http_option, showing

if TYPE_CHECKING:
    from pathlib import Path


@click.command()
@spool_options
@target_options
@processes_option
@http_option("nowhere")
@click.option("--until-empty", is_flag=True, help="Go on until nothing is left, waiting for retries.")
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
    until_empty: bool,
    quiet: bool,
    log_level: str | None,
) -> None:
    """Deliver what is due, then stop.

    Ends when nothing is due any more on a route that takes mail; with --until-empty when nothing is
    left at all (what is held does not count). Exit code 0 if nothing is left, 75 if something is.

    \b
    Example:
      spooler drain --spool sqlite:///spool.db --target inet:127.0.0.1:24
    """
    settings = showing(load(spool, config, target), http, unasked=False)
    need_routes(settings)
    level = log_level or ("error" if sys.stderr.isatty() else "info")
    count = how_many(settings, processes)
    if count > 1:
        from spooler.cli.keeping import Kept, keep_drain

        words = ["drain", "--log-level", level, *(["--until-empty"] if until_empty else [])]
        words += ["--http", settings.config.http.listen or OFF]
        kept = Kept(settings, words, config=config, target=target, count=count)
        left = keep_drain(kept, log_level=level, quiet=quiet)
    else:
        from spooler.spool.starting import start

        started = start(settings.url)  # before the rest is loaded
        from spooler.cli.running import run_drain

        left = run_drain(settings, started, until_empty=until_empty, quiet=quiet, log_level=level)
    if left:
        sys.exit(75)
