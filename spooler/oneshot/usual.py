"""Where LMTP servers usually listen on their own machine."""

from __future__ import annotations

import os
import socket
import stat
from pathlib import Path

from spooler.destination import DEFAULT_PORT, Destination, InetDestination, UnixDestination

SOCKETS = (
    "run/dovecot/lmtp",
    "var/run/dovecot/lmtp",
    "var/spool/postfix/private/dovecot-lmtp",
    "run/cyrus/socket/lmtp",
    "var/run/cyrus/socket/lmtp",
    "var/lib/cyrus/socket/lmtp",
    "var/lib/imap/socket/lmtp",
    "var/imap/socket/lmtp",
)
"""Dovecot's own, the one that its manual makes for Postfix, and Cyrus's on several systems."""


def usual_destinations(port: int, *, root: Path = Path("/")) -> list[Destination]:
    """Return the sockets that are there, each once, and then this host's port."""
    found: dict[str, Destination] = {}
    for name in SOCKETS:
        path = root / name
        if _is_socket(path):
            found.setdefault(os.path.realpath(path), UnixDestination(str(path)))
    return [*found.values(), InetDestination("localhost", port)]


def usual_port() -> int:
    """Return the port of the service `lmtp`, by the services file, else 24."""
    try:
        return socket.getservbyname("lmtp", "tcp")
    except OSError:
        return DEFAULT_PORT


def _is_socket(path: Path) -> bool:
    try:
        return stat.S_ISSOCK(path.stat().st_mode)
    except OSError:
        return False
