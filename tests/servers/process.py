"""Start a program, wait until it answers, stop it by its own process id.

Nothing here knows a particular server. Limits: POSIX only; a port that is free when asked for may be
taken before the server binds it, by a program that chooses from the same ports, which then shows as a
server that ended at start.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

SPOOLER = (sys.executable, "-m", "spooler")  # the product's command
START_WITHIN = 20.0  # seconds: a loaded CI machine starts Dovecot in about one
STOP_WITHIN = 10.0  # seconds
_PORTS = range(12_000, 32_000)  # below those that the system chooses from, here and on BSD
# processes that run tests side by side begin at places of their own
_BEGIN = secrets.randbelow(len(_PORTS))
_ports: Iterator[int] = itertools.cycle([*_PORTS[_BEGIN:], *_PORTS[:_BEGIN]])
_PAUSE = 0.02  # seconds between two looks at a server that starts
_SYSTEM_PATH = ("/usr/sbin", "/usr/local/sbin", "/sbin")  # where daemons are, and not on a user's PATH


class ServerError(Exception):
    """A server did not start, or did not answer in time."""


def find(program: str) -> str | None:
    """Return the path of a program, also from the folders of daemons; None where it is not installed."""
    path = os.pathsep.join((os.environ.get("PATH", os.defpath), *_SYSTEM_PATH))
    return shutil.which(program, path=path)


def free_port() -> int:
    """Return a TCP port on 127.0.0.1 that nobody has now; the system gives it to none who asks for any."""
    for port in itertools.islice(_ports, len(_PORTS)):
        with socket.socket() as sock, contextlib.suppress(OSError):
            sock.bind(("127.0.0.1", port))
            return port
    raise ServerError(f"no port from {_PORTS.start} to {_PORTS.stop - 1} is free")


def greets_on_port(port: int) -> bool:
    """Whether a server on 127.0.0.1 sends its greeting."""
    return _greets(socket.AF_INET, ("127.0.0.1", port))


def greets_on_socket(path: Path) -> bool:
    """Whether a server on a UNIX socket sends its greeting."""
    return _greets(socket.AF_UNIX, str(path))


def _greets(family: int, address: tuple[str, int] | str) -> bool:
    with socket.socket(family) as sock:
        sock.settimeout(2)
        try:
            sock.connect(address)
            return sock.recv(4) == b"220 "
        except OSError:
            return False


@contextlib.contextmanager
def folder() -> Iterator[Path]:
    """Yield a fresh folder that other users can pass through; its path is short enough for sockets."""
    with tempfile.TemporaryDirectory(prefix="sp", ignore_cleanup_errors=True) as name:
        path = Path(name)
        path.chmod(0o711)
        yield path


@contextlib.contextmanager
def running(
    argv: Sequence[object],
    *,
    ready: Callable[[], bool],
    log: Path,
    env: Mapping[str, str] | None = None,
    user: str | int | None = None,
    ending: signal.Signals = signal.SIGTERM,
) -> Iterator[subprocess.Popen[bytes]]:
    """Run `argv`, each made a string, until the block ends; enter it once `ready()` says so.

    Output goes to `log`. Raises ServerError with the end of the log when the program ends early or is
    not ready within `START_WITHIN`. It gets `ending`, and SIGKILL if it does not go within `STOP_WITHIN`.
    """
    with log.open("ab") as output:
        process = subprocess.Popen(
            [str(arg) for arg in argv],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=None if env is None else dict(env),
            user=user,
            # a group of its own: Ctrl-C in the terminal of the tests is not for the server
            process_group=0,
        )
    try:
        _wait_until(process, ready, log)
        yield process
    finally:
        stop(process, ending=ending)


def stop(
    process: subprocess.Popen[bytes],
    within: float = STOP_WITHIN,
    *,
    ending: signal.Signals = signal.SIGTERM,
) -> int:
    """End a process of ours and return its exit status; harmless where it ended already."""
    if process.poll() is None:
        process.send_signal(ending)
        try:
            process.wait(within)
        except subprocess.TimeoutExpired:
            process.kill()
    return process.wait()


def _wait_until(process: subprocess.Popen[bytes], ready: Callable[[], bool], log: Path) -> None:
    deadline = time.monotonic() + START_WITHIN
    while not ready():
        # the pause is a wait for the process to end, so that a failed start is noticed at once
        with contextlib.suppress(subprocess.TimeoutExpired):
            status = process.wait(_PAUSE)
            raise ServerError(f"{process.args!r} ended with {status} at start: {tail(log)}")
        if time.monotonic() > deadline:
            raise ServerError(f"{process.args!r} does not answer after {START_WITHIN:.0f} s: {tail(log)}")


def tail(log: Path, size: int = 2000) -> str:
    """Return the end of a log, for an error."""
    return log.read_bytes()[-size:].decode("utf-8", "replace") if log.exists() else ""


def children(pid: int) -> list[int]:
    """Return the processes that `pid` started and that still run; none where there is no /proc."""
    lists = list(Path(f"/proc/{pid}/task").glob("*/children"))
    if not lists:
        return _children_by_search(pid)
    found: list[int] = []
    for each in lists:
        with contextlib.suppress(OSError):  # the thread has just ended
            found += map(int, each.read_text().split())
    return found


def _children_by_search(pid: int) -> list[int]:
    """The same, where the kernel keeps no lists: every process of the machine is asked for its parent."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):  # it has just ended
            # behind the name, which may hold anything: its state, then its parent
            if int(stat.read_text(errors="replace").rpartition(")")[2].split()[1]) == pid:
                found.append(int(stat.parent.name))
    return found


def program_of(pid: int) -> str:
    """Return the name of the program that a process runs, "" where it cannot be told."""
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip()
    except OSError:
        return ""
