"""Where a bench works: a fresh spool on SQLite or Postgres, and a target that counts what it takes."""

from __future__ import annotations

import contextlib
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

from spooler.errors import UnavailableError
from spooler.spool.migrate import create_or_upgrade
from tests.servers.own_sink import own_sink
from tests.servers.postgres import postgres
from tests.servers.process import find, stop, tail
from tests.servers.smtp_sink import smtp_sink

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@dataclass(slots=True)
class Target:
    """A server to deliver to. `transactions` is how many it counted, and `delivered` how many recipients
    if it counts them; both are known when its block has ended."""

    destination: str
    transactions: int = 0
    delivered: int | None = None


def choose_target(asked: str) -> str:
    """Return "smtp-sink" or "sink" for what was asked; "auto" takes the first that is installed."""
    if asked == "auto":
        return "smtp-sink" if find("smtp-sink") else "sink"
    return asked


@contextlib.contextmanager
def target(kind: str) -> Iterator[Target]:
    """Run a target for the block."""
    if kind == "sink":
        with own_sink("--json") as own:
            counted = Target(own.tcp)
            yield counted
            stop(own.process)
            totals = json.loads(tail(own.root / "log").splitlines()[-1])
            counted.transactions, counted.delivered = totals["transactions"], totals["delivered"]
        return
    program = find("smtp-sink")
    if program is None:
        raise UnavailableError("smtp-sink is not installed", hint="install postfix, or use --target sink")
    with smtp_sink(program, count=True) as server:
        counted = Target(server.tcp)
        yield counted
        counted.transactions = server.messages()


@contextlib.contextmanager
def spool(kind: str, folder: Path) -> Iterator[str]:
    """Make a spool for the block, as durable as in production; yields its URL."""
    if kind == "sqlite":
        url = f"sqlite:///{folder}/spool.db"
        create_or_upgrade(url)
        yield url
        return
    with postgres(durable=True) as server:
        url = server.new_database()
        create_or_upgrade(url)
        yield url
