"""The places where servers usually listen."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

import pytest

from spooler.destination import InetDestination, UnixDestination
from spooler.oneshot.usual import SOCKETS, usual_destinations, usual_port
from tests.servers.process import folder

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def root() -> Iterator[Path]:
    """What stands for /; its path is short enough for a socket's."""
    with folder() as place:
        yield place


def _listen(path: Path) -> None:
    path.parent.mkdir(parents=True)
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(str(path))  # the name stays


def test_only_this_host_where_there_are_no_sockets(root: Path) -> None:
    """A plain file in a usual place is no socket."""
    (root / "run/dovecot").mkdir(parents=True)
    (root / "run/dovecot/lmtp").touch()
    assert usual_destinations(24, root=root) == [InetDestination("localhost", 24)]


def test_sockets_come_first_each_once(root: Path) -> None:
    """/var/run is mostly the same as /run."""
    _listen(root / "run/dovecot/lmtp")
    _listen(root / "run/cyrus/socket/lmtp")
    _listen(root / "var/spool/postfix/private/dovecot-lmtp")
    (root / "var/run").symlink_to(root / "run")
    assert usual_destinations(2003, root=root) == [
        UnixDestination(str(root / "run/dovecot/lmtp")),
        UnixDestination(str(root / "var/spool/postfix/private/dovecot-lmtp")),
        UnixDestination(str(root / "run/cyrus/socket/lmtp")),
        InetDestination("localhost", 2003),
    ]


def test_every_usual_socket_is_looked_for(root: Path) -> None:
    """Each in its turn."""
    for name in SOCKETS:
        _listen(root / name)
    found = usual_destinations(24, root=root)
    assert found[:-1] == [UnixDestination(str(root / name)) for name in SOCKETS]


def test_the_port_is_that_of_the_services_file(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the file does not know lmtp, it is 24."""
    monkeypatch.setattr(
        socket, "getservbyname", lambda name, protocol: {("lmtp", "tcp"): 2003}[name, protocol]
    )
    assert usual_port() == 2003

    def unknown(name: str, protocol: str) -> int:
        raise OSError("service/proto not found")

    monkeypatch.setattr(socket, "getservbyname", unknown)
    assert usual_port() == 24
