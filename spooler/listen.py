"""Where this program listens itself: `address:port`, `[ipv6-address]:port` or `localhost:port`."""

from __future__ import annotations

import ipaddress
import re

import msgspec

from spooler.address import show
from spooler.errors import UsageError

_NOTATION = "give address:port, such as 127.0.0.1:9024, [::1]:9024 or 0.0.0.0:9024"
_LISTEN = re.compile(r"(?:\[(?P<literal>[0-9A-Fa-f:.]+)\]|(?P<host>[0-9.]+|localhost)):(?P<port>[0-9]{1,5})")


class Listen(msgspec.Struct, frozen=True):
    """An address and a port; 0 is any that is free."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def local(self) -> bool:
        """Whether nobody but this machine can connect."""
        return ipaddress.ip_address(self.host).is_loopback


def parse_listen(text: str) -> Listen:
    """Read the notation; raises UsageError."""
    match = _LISTEN.fullmatch(text)
    if match is not None and int(match["port"]) < 1 << 16:
        host = match["literal"] or match["host"]
        try:
            address = ipaddress.ip_address("127.0.0.1" if host == "localhost" else host)
        except ValueError:
            pass
        else:
            return Listen(str(address), int(match["port"]))
    raise UsageError(f"'{show(text)}' is no address to listen on", hint=_NOTATION)
