"""The places where servers usually listen."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

from spooler.destination import InetDestination, UnixDestination
from spooler.oneshot.usual import SOCKETS, usual_destinations, usual_port

if TYPE_CHECKING:
    from pathlib import Path

    import pytest


def _listen(path: Path) -> None:
    path.parent.mkdir(parents=True)
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(str(path))  # the name stays


def test_only_this_host_where_there_are_no_sockets(tmp_path: Path) -> None:
    """A plain file in a usual place is no socket."""
    (tmp_path / "run/dovecot").mkdir(parents=True)
    (tmp_path / "run/dovecot/lmtp").touch()
    assert usual_destinations(24, root=tmp_path) == [InetDestination("localhost", 24)]


def test_sockets_come_first_each_once(tmp_path: Path) -> None:
    """/var/run is mostly the same as /run."""
    _listen(tmp_path / "run/dovecot/lmtp")
    _listen(tmp_path / "run/cyrus/socket/lmtp")
    _listen(tmp_path / "var/spool/postfix/private/dovecot-lmtp")
    (tmp_path / "var/run").symlink_to(tmp_path / "run")
    assert usual_destinations(2003, root=tmp_path) == [
        UnixDestination(str(tmp_path / "run/dovecot/lmtp")),
        UnixDestination(str(tmp_path / "var/spool/postfix/private/dovecot-lmtp")),
        UnixDestination(str(tmp_path / "run/cyrus/socket/lmtp")),
        InetDestination("localhost", 2003),
    ]


def test_every_usual_socket_is_looked_for(tmp_path: Path) -> None:
    """Each in its turn."""
    for name in SOCKETS:
        _listen(tmp_path / name)
    found = usual_destinations(24, root=tmp_path)
    assert found[:-1] == [UnixDestination(str(tmp_path / name)) for name in SOCKETS]


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
