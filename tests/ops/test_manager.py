"""A service manager is told over a real datagram socket that a command is ready, lives and stops."""

from __future__ import annotations

import os
import signal
import socket
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest
import trio

from spooler.ops.manager import Manager
from tests.servers.own_sink import own_sink
from tests.supervise.command import put, running

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from trio.testing import MockClock


@contextmanager
def listening(address: str) -> Iterator[socket.socket]:
    """The manager's end; an address that begins with @ is an abstract one."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.bind("\0" + address[1:] if address.startswith("@") else address)
        sock.settimeout(20)
        yield sock


def said(sock: socket.socket) -> list[str]:
    """What has come so far."""
    sock.settimeout(0)
    found = []
    try:
        while True:
            found.append(sock.recv(100).decode())
    except BlockingIOError:
        return found


@pytest.mark.parametrize("abstract", [False, True])
def test_each_state_is_said_once(tmp_path: Path, abstract: bool) -> None:
    """By a path or by an abstract name, as the manager likes."""
    address = f"@spooler-{os.getpid()}" if abstract else str(tmp_path / "notify")
    with listening(address) as sock:
        manager = Manager({"NOTIFY_SOCKET": address})
        for _ in range(2):
            manager.ready()
            manager.stopping()
        assert said(sock) == ["READY=1", "STOPPING=1"]


async def test_signs_of_life_come_twice_as_often_as_asked_for(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    """A watchdog of 10 s is told every 5 s, as long as the loop turns."""
    with listening(str(tmp_path / "notify")) as sock:
        named = {"NOTIFY_SOCKET": str(tmp_path / "notify"), "WATCHDOG_USEC": "10000000"}
        with trio.move_on_after(21):
            await Manager({**named, "WATCHDOG_PID": str(os.getpid())}).run()
        assert said(sock) == ["WATCHDOG=1"] * 5  # at 0, 5, 10, 15 and 20
        with trio.move_on_after(21):
            await Manager({**named, "WATCHDOG_PID": "1"}).run()
        assert said(sock) == [], "it was another process that was asked"


@pytest.mark.parametrize("address", ["", "vsock:2:1", "/nowhere/notify"])
def test_a_manager_that_cannot_be_told_holds_up_nothing(address: str) -> None:
    """None, one of a kind that is not spoken to, one that is gone."""
    manager = Manager({"NOTIFY_SOCKET": address})
    manager.ready()
    manager.stopping()


def test_one_that_does_not_listen_holds_up_nothing(tmp_path: Path) -> None:
    """Its queue is full: nothing waits for it."""
    address = str(tmp_path / "notify")
    with listening(address) as sock:
        for _ in range(2000):
            Manager({"NOTIFY_SOCKET": address}).ready()
        assert 0 < len(said(sock)) < 2000


@pytest.mark.parametrize("processes", [1, 2])
def test_a_worker_tells_its_manager(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, processes: int
) -> None:
    """Ready when all its processes deliver, alive, and stopping when told to; nobody else speaks for it."""
    url: str = request.getfixturevalue("sqlite_url" if processes == 1 else "postgres_url")
    address = str(tmp_path / "notify")
    monkeypatch.setenv("NOTIFY_SOCKET", address)
    # a beat a second: what nobody reads is dropped when ten are waiting
    monkeypatch.setenv("WATCHDOG_USEC", "2000000")
    with listening(address) as sock, own_sink() as sink:
        where = ("--spool", url, "--target", sink.tcp, "--processes", str(processes))
        with running(tmp_path / "log", "worker", *where) as worker:
            heard = [sock.recv(100).decode()]
            while heard[-1] != "READY=1":
                heard.append(sock.recv(100).decode())
            assert set(heard[:-1]) <= {"WATCHDOG=1"}
            put(url, 1)
            worker.until(lambda: bool(worker.lines("transaction")))
            assert sock.recv(100) == b"WATCHDOG=1"
            assert set(said(sock)) <= {"WATCHDOG=1"}
            worker.process.send_signal(signal.SIGTERM)
            assert worker.ends() == 0
        rest = said(sock)
        assert rest.count("STOPPING=1") == 1
        assert set(rest) <= {"STOPPING=1", "WATCHDOG=1"}  # it may have stopped before the next beat
