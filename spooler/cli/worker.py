"""`spooler worker`: deliver until told to stop."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from spooler.cli.options import load, spool_options, target_options

if TYPE_CHECKING:
    from pathlib import Path


@click.command()
@spool_options
@target_options
@click.option(
    "--log-level",
    type=click.Choice(["debug", "info", "warning", "error"]),
    default="info",
    show_default=True,
    help="Least level of the log lines on standard error.",
)
def command(spool: str | None, config: Path | None, target: str | None, log_level: str) -> None:
    """Deliver what is in the spool until told to stop.

    SIGTERM or SIGINT: claim nothing more, let transactions end, settle, exit 0. The same signal
    again: stop at once; what is unanswered is recorded as uncertain.

    \b
    Example:
      spooler worker --spool sqlite:////var/lib/spooler/spool.db --target unix:/run/dovecot/lmtp
    """
    from spooler.cli.running import run_worker

    run_worker(load(spool, config, target), log_level=log_level)
