"""`spooler init`: makes a spool, or brings an older one up to this version."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from spooler.cli.options import load, spool_options

if TYPE_CHECKING:
    from pathlib import Path


@click.command("init")
@spool_options
def command(spool: str | None, config: Path | None) -> None:
    """Create the spool, or bring one up to date.

    Nothing that is in it is lost; a spool that is up to date is left alone.
    """
    from spooler.spool.migrate import create_or_upgrade

    click.echo(create_or_upgrade(load(spool, config).url))
