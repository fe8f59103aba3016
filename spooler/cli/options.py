"""Options that several commands share, and what they mean: where the spool is, what the routes are."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click
import msgspec

from spooler.address import show
from spooler.cli.values import FILE, NAME, TEXT
from spooler.config import Config, Route, check_config, load_config
from spooler.envelope import DEFAULT_ROUTE
from spooler.errors import ConfigError, UsageError
from spooler.journal.place import root_of
from spooler.part import VARIABLE

MOST = 8  # processes by default: with their connections far below what Postgres takes (max_connections)
CORES = 2  # that a worker keeps busy, measured: itself 1, its spool process, the database and a target 1
MOST_ROWS = 1_000_000  # of a list

_Command = TypeVar("_Command", bound=Callable[..., Any])


class Settings(msgspec.Struct, frozen=True):
    """The spool's URL and the configuration that holds for this run."""

    url: str
    config: Config

    @property
    def journals(self) -> Path:
        """The folder of the workers' journals."""
        return Path(self.config.worker.journal) if self.config.worker.journal else root_of(self.url)


def spool_options(command: _Command) -> _Command:
    """Add --spool and --config (parameters `spool` and `config`)."""
    command = click.option(
        "--config",
        type=FILE,
        envvar="SPOOLER_CONFIG",
        show_envvar=True,
        help="Configuration file (TOML).",
    )(command)
    return click.option(
        "--spool",
        type=NAME,
        metavar="URL",
        envvar="SPOOLER_SPOOL",
        show_envvar=True,
        help="The spool, for example sqlite:///spool.db or postgresql://user@host/database.",
    )(command)


def target_options(command: _Command) -> _Command:
    """Add --target (parameter `target`)."""
    return click.option(
        "--target",
        type=TEXT,
        metavar="DEST",
        envvar="SPOOLER_TARGET",
        show_envvar=True,
        help="Where the route 'default' leads: unix:/path, inet:host:port.",
    )(command)


def processes_option(command: _Command) -> _Command:
    """Add --processes (parameter `processes`)."""
    return click.option(
        "--processes",
        type=click.IntRange(min=1),
        metavar="N",
        help="Processes that share the work, and each route's sessions; default: as many as help "
        "(SQLite: always one).",
    )(command)


def json_option(command: _Command) -> _Command:
    """Add --json (parameter `as_json`)."""
    return click.option("--json", "as_json", is_flag=True, help="Print JSON.")(command)


def limit_option(
    default: int, said: str = "At most so many."
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Give what adds --limit (parameter `limit`)."""
    return click.option(
        "--limit",
        type=click.IntRange(1, MOST_ROWS),
        default=default,
        show_default=True,
        metavar="N",
        help=said,
    )


def load(spool: str | None, config: Path | None, target: str | None = None) -> Settings:
    """Read the configuration, if one is named, and find the spool's URL.

    Raises UsageError, NoInputError or ConfigError.
    """
    settings = load_config(config) if config else Config()
    if target is not None:
        settings = aim(settings, target)
    url = spool or settings.spool
    if not url:
        raise UsageError(
            "no spool is named",
            hint="give --spool sqlite:///spool.db, set SPOOLER_SPOOL, or name a configuration with spool = …",
        )
    return Settings(url, settings)


def need_routes(settings: Settings) -> None:
    """Raise ConfigError if there is nowhere to deliver."""
    if not settings.config.routes:
        raise ConfigError(
            "no route is configured, so there is nowhere to deliver",
            hint="give --target DEST or write [routes.default] into the configuration",
        )


def how_many(settings: Settings, asked: int | None) -> int:
    """How many processes to run; says so if it cannot be as many as asked for. In one of several: 1."""
    if VARIABLE in os.environ:
        return 1
    if not settings.url.startswith("postgres"):
        if asked is not None and asked > 1:
            click.echo("spooler: SQLite has one writer at a time: one process does the work", err=True)
        return 1
    count = asked or min(MOST, len(os.sched_getaffinity(0)) // CORES)
    # one that had no session on any route would have nothing to do
    return max(1, min(count, max((route.sessions for route in settings.config.routes.values()), default=1)))


def aim(config: Config, target: str) -> Config:
    """Lead the route "default" to `target`."""
    known = config.routes.get(DEFAULT_ROUTE)
    route = msgspec.structs.replace(known, destinations=[target]) if known else Route(destinations=[target])
    aimed = msgspec.structs.replace(config, routes={**config.routes, DEFAULT_ROUTE: route})
    try:
        check_config(aimed)
    except UsageError as error:
        if "no tls level" not in error.what:
            raise
        raise UsageError(
            f"target {show(target)} is off this machine, and no tls level is stated for it",
            hint=f'write a configuration with [routes.{DEFAULT_ROUTE}] and tls = "secure", or another level; '
            '"none" if mail may travel in plain text there',
        ) from None
    return aimed
