"""What a service manager is told: that the command is ready, lives, and stops (sd_notify(3)).

A datagram each to $NOTIFY_SOCKET; where that is not set nothing is said, and one that cannot be told is no
reason to stop. Signs of life come from the event loop that delivers: where it turns no more they end, and
the manager starts the command again. A database or a target that is down is no reason for that.
"""

from __future__ import annotations

import os
import socket
from contextlib import suppress
from typing import TYPE_CHECKING

import trio

if TYPE_CHECKING:
    from collections.abc import Mapping


class Manager:
    """The manager of this process, if it has one; `run` is its task."""

    def __init__(self, environment: Mapping[str, str] = os.environ) -> None:
        self._address = environment.get("NOTIFY_SOCKET", "")
        self._every = _watchdog(environment) / 2
        self._said: set[str] = set()

    def ready(self) -> None:
        """Say, once, that it works."""
        self._say_once("READY=1")

    def stopping(self) -> None:
        """Say, once, that it was told to stop, and lets what is under way come to its end."""
        self._say_once("STOPPING=1")

    async def run(self) -> None:
        """Give signs of life until cancelled, twice as often as asked for."""
        while self._every:
            self._say("WATCHDOG=1")
            await trio.sleep(self._every)

    def _say_once(self, text: str) -> None:
        if text not in self._said:
            self._said.add(text)
            self._say(text)

    def _say(self, text: str) -> None:
        if not self._address.startswith(("/", "@")):
            return
        address = "\0" + self._address[1:] if self._address[0] == "@" else self._address
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock, suppress(OSError):
            sock.sendto(text.encode(), socket.MSG_DONTWAIT, address)


def _watchdog(environment: Mapping[str, str]) -> float:
    """Return after how many seconds without a sign of life this process is ended, 0 for never."""
    text = environment.get("WATCHDOG_USEC", "")
    if environment.get("WATCHDOG_PID") not in (None, str(os.getpid())) or not text.isdecimal():
        return 0.0
    return int(text) / 1e6
