"""Where a bench works: fresh spools on SQLite and Postgres, and targets that count what they take.

Everything is made on a real disk: where the folder for temporary files is in memory, another is taken, for
commits that wait for no disk would flatter all who make them.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import smtplib
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from bench.delay import delayed
from spooler.errors import UnavailableError
from spooler.spool.migrate import create_or_upgrade
from tests.servers import cyrus as cyrus_server
from tests.servers.cyrus import cyrus
from tests.servers.dovecot import dovecot
from tests.servers.own_sink import FinalReply, own_sink
from tests.servers.postgres import Postgres, postgres
from tests.servers.process import find, stop, tail
from tests.servers.smtp_sink import smtp_sink

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_LMTP_OF_DOVECOT = (Path("/usr/lib/dovecot/lmtp"), Path("/usr/libexec/dovecot/lmtp"))
_IN_MEMORY = ("tmpfs", "ramfs")
_WARMING = b"Subject: the first mail\r\n\r\nmakes the mailbox.\r\n"


@dataclass(slots=True)
class Target:
    """A server to deliver to, on a port of 127.0.0.1.

    `transactions` is how many it counted, `delivered` how many recipients; None where it does not count them.
    Both are known when its block has ended.
    """

    port: int
    mailboxes: tuple[str, ...]
    transactions: int | None = None
    delivered: int | None = None
    record: tuple[FinalReply, ...] = ()

    @property
    def destination(self) -> str:
        """As spooler takes it."""
        return f"inet:127.0.0.1:{self.port}"


def addresses(mailboxes: int) -> tuple[str, ...]:
    """Return the names of so many mailboxes, to be served in turn."""
    return tuple(f"user{n}@store.test" for n in range(mailboxes))


def hindrance(kind: str) -> str | None:
    """Why a kind of target cannot be run here; None where it can."""
    if kind == "smtp-sink" and find("smtp-sink") is None:
        return "smtp-sink is not installed (Debian: postfix)"
    if kind == "dovecot" and (find("dovecot") is None or not any(path.exists() for path in _LMTP_OF_DOVECOT)):
        return "Dovecot is not installed (Debian: dovecot-core, dovecot-lmtpd)"
    if kind == "cyrus":
        return cyrus_server.hindrance()
    return None


@contextlib.contextmanager
def target(
    kind: str, *, mailboxes: int = 100, round_trip: float = 0.0, record: bool = False
) -> Iterator[Target]:
    """Run a target with so many mailboxes for the block, so many seconds of round-trip time away.

    With `record`, spooler's own sink notes every final reply.
    """
    if why := hindrance(kind):
        raise UnavailableError(why, hint="install it, or run other cases")
    with _SERVERS[kind](addresses(mailboxes), record=record) as running:
        if not round_trip:
            yield running
            return
        near = running.port
        with delayed(near, round_trip) as far:
            running.port = far
            yield running


@contextlib.contextmanager
def _smtp_sink(users: tuple[str, ...], *, record: bool) -> Iterator[Target]:  # noqa: ARG001 - as all
    program = find("smtp-sink")
    assert program, "nothing hinders it"
    with smtp_sink(program, count=True) as server:
        counted = Target(server.port, users)
        yield counted
        counted.transactions = server.messages()


@contextlib.contextmanager
def _own_sink(users: tuple[str, ...], *, record: bool) -> Iterator[Target]:
    with own_sink("--json", record=record) as own:
        counted = Target(own.port, users)
        yield counted
        stop(own.process)
        totals = json.loads(tail(own.root / "log").splitlines()[-1])
        counted.transactions, counted.delivered = totals["transactions"], totals["delivered"]
        if record:
            counted.record = tuple(own.final_replies())


@contextlib.contextmanager
def _dovecot(users: tuple[str, ...], *, record: bool) -> Iterator[Target]:  # noqa: ARG001 - as all
    program = find("dovecot")
    assert program, "nothing hinders it"
    with dovecot(program, users=users, storage="mdbox") as server:
        yield from _counted(server.port, users, server.count)


@contextlib.contextmanager
def _cyrus(users: tuple[str, ...], *, record: bool) -> Iterator[Target]:  # noqa: ARG001 - as all
    with cyrus() as server:
        yield from _counted(server.port, users, server.count)


def _counted(port: int, users: tuple[str, ...], count: Callable[[], int]) -> Iterator[Target]:
    """Make every mailbox by a first mail, then count what comes on top."""
    with smtplib.LMTP("127.0.0.1", port) as client:
        for user in users:
            client.sendmail("bench@origin.test", [user], _WARMING)
    before = count()
    counted = Target(port, users)
    yield counted
    counted.delivered = count() - before


_SERVERS: dict[str, Callable[..., contextlib.AbstractContextManager[Target]]] = {
    "smtp-sink": _smtp_sink,
    "sink": _own_sink,
    "dovecot": _dovecot,
    "cyrus": _cyrus,
}


class Spools:
    """Makes spools as durable as in production: a file, or a database of one Postgres that runs from the
    first request on. A context manager."""

    def __init__(self) -> None:
        self._stack = contextlib.ExitStack()
        self._postgres: Postgres | None = None

    def __enter__(self) -> Spools:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    @contextlib.contextmanager
    def new(self, kind: str, folder: Path) -> Iterator[str]:
        """Make a spool for the block; yields its URL."""
        if kind == "sqlite":
            url = f"sqlite:///{folder}/spool.db"
            create_or_upgrade(url)
            yield url
            return
        if self._postgres is None:
            self._postgres = self._stack.enter_context(postgres(durable=True))
        url = self._postgres.new_database()
        create_or_upgrade(url)
        try:
            yield url
        finally:
            self._postgres.drop_database(url)

    def flush(self) -> None:
        """Write to the disk what waits for it, so that a run does not pay for what went before."""
        if self._postgres is not None:
            self._postgres.checkpoint()
        os.sync()


def stay_on_disk() -> str:
    """Let temporary files lie on a disk; return the kind of file system, "" where it cannot be told."""
    for place in (Path(tempfile.gettempdir()), Path("/var/tmp"), Path.cwd()):
        kind = file_system(place)
        if kind not in _IN_MEMORY and os.access(place, os.W_OK):
            tempfile.tempdir = str(place)
            return kind
    return file_system(Path(tempfile.gettempdir()))


def file_system(place: Path) -> str:
    """Return the kind of file system that a folder is on, "" where it cannot be told."""
    try:
        mounts = Path("/proc/self/mounts").read_text()
    except OSError:
        return ""
    here = str(place.resolve())
    best = ("", "")
    for point, kind in re.findall(r"^\S+ (\S+) (\S+)", mounts, re.MULTILINE):
        inside = here == point or here.startswith(point.rstrip("/") + "/")
        if inside and len(point) >= len(best[0]):
            best = (point, kind)
    return best[1]
