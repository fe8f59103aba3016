"""`spooler worker`: deliver until told to stop."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from spooler.cli.options import how_many, load, need_routes, processes_option, spool_options, target_options
from spooler.cli.showing import OFF, http_option, showing
from spooler.errors import UsageError

if TYPE_CHECKING:
    from pathlib import Path

    from spooler.config import Config


@click.command()
@spool_options
@target_options
@processes_option
@http_option("as in the configuration, which is 127.0.0.1:9024 unless it says otherwise")
@click.option(
    "--log-level",
    type=click.Choice(["debug", "info", "warning", "error"]),
    default="info",
    show_default=True,
    help="Least level of the log lines on standard error.",
)
def command(
    *,
    spool: str | None,
    config: Path | None,
    target: str | None,
    processes: int | None,
    http: str | None,
    log_level: str,
) -> None:
    """Deliver what is in the spool until told to stop.

    SIGTERM or SIGINT: claim nothing more, let transactions end, settle, exit 0. The same signal
    again: stop at once; what is unanswered is recorded as uncertain. SIGHUP: read the configuration
    again; one with an error is refused whole, and the old one stays. Of several processes the one that
    was started takes the signals for all, and starts another for each that dies.

    \b
    Example:
      spooler worker --spool sqlite:////var/lib/spooler/spool.db --target unix:/run/dovecot/lmtp
    """

    def reread() -> Config:
        if config is None:
            raise UsageError("no configuration file is named, so there is nothing to read again")
        again = showing(load(spool, config, target), http, unasked=True)
        need_routes(again)
        return again.config

    settings = showing(load(spool, config, target), http, unasked=True)
    need_routes(settings)
    count = how_many(settings, processes)
    if count > 1:
        from spooler.cli.keeping import Kept, keep_workers

        words = ["worker", "--log-level", log_level, "--http", settings.config.http.listen or OFF]
        kept = Kept(settings, words, config=config, target=target, count=count)
        keep_workers(kept, log_level=log_level, reread=reread)
        return
    from spooler.spool.starting import start

    started = start(settings.url)  # before the rest is loaded
    from spooler.cli.running import run_worker

    run_worker(settings, started, log_level=log_level, reread=reread)
