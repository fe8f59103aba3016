"""Where an LMTP server listens, in the notation that Postfix made common.

`unix:/path`, `inet:host`, `inet:host:port`, `inet:[address]:port`, `inet:[ipv6:address]:port`.
LMTP has no port of its own by RFC 2033 section 5 (never 25); 24 is what everybody uses.
"""

from __future__ import annotations

import ipaddress
import re
from typing import assert_never

import msgspec

from spooler.address import show
from spooler.errors import UsageError

DEFAULT_PORT = 24
_NOTATION = "give unix:/path, inet:host, inet:host:port, inet:[address]:port or inet:[ipv6:address]:port"
_HOST = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9_.-]*[A-Za-z0-9_.])?")
_INET = re.compile(r"(?:\[(?P<literal>[^\[\]]*)\]|(?P<host>[^:\[\]]*))(?::(?P<port>[^:]*))?")


class UnixDestination(msgspec.Struct, frozen=True):
    """A UNIX-domain stream socket."""

    path: str

    def __str__(self) -> str:
        return f"unix:{self.path}"


class InetDestination(msgspec.Struct, frozen=True):
    """A TCP port on a host; `host` is a name or an IPv4 or IPv6 address without brackets."""

    host: str
    port: int = DEFAULT_PORT

    def __str__(self) -> str:
        host = f"[ipv6:{self.host}]" if ":" in self.host else self.host
        return f"inet:{host}:{self.port}"


Destination = UnixDestination | InetDestination


def parse_destination(text: str, *, port: int = DEFAULT_PORT) -> Destination:
    """Read the notation; `port` is taken where it states none. Raises UsageError that says what is wrong."""
    scheme, _, rest = text.partition(":")
    if scheme == "unix":
        if not rest.startswith("/") or "\0" in rest:
            raise UsageError(f"destination '{show(text)}' has no absolute socket path", hint=_NOTATION)
        return UnixDestination(rest)
    match = _INET.fullmatch(rest) if scheme == "inet" else None
    if match is None:
        raise UsageError(f"destination '{show(text)}' is not understood", hint=_NOTATION)
    stated = match["port"]
    return InetDestination(_host(match, text), port if stated is None else _port(stated, text))


def is_local(destination: Destination) -> bool:
    """Whether nothing sent there leaves this machine: a UNIX socket, or a loopback address."""
    match destination:
        case UnixDestination():
            return True
        case InetDestination(host=host):
            if host.lower().rstrip(".") == "localhost":
                return True
            try:
                return ipaddress.ip_address(host).is_loopback
            except ValueError:
                return False
        case _:
            assert_never(destination)


def _host(match: re.Match[str], text: str) -> str:
    literal: str | None = match["literal"]
    if literal is None:
        host: str = match["host"]
        if not _HOST.fullmatch(host):
            raise UsageError(f"destination '{show(text)}' has no valid host", hint=_NOTATION)
        return host
    # Postfix writes [host] to mean "no MX look-up"; LMTP knows no MX, so it is the host itself
    if _HOST.fullmatch(literal) and not literal.lower().startswith("ipv6:"):
        return literal
    address = literal[5:] if literal.lower().startswith("ipv6:") else literal
    try:
        return ipaddress.ip_address(address).compressed
    except ValueError:
        raise UsageError(
            f"destination '{show(text)}' has no valid address in its brackets", hint=_NOTATION
        ) from None


def _port(port: str, text: str) -> int:
    if port.isascii() and port.isdigit() and 0 < int(port) < 65536:
        return int(port)
    raise UsageError(f"destination '{show(text)}' has no valid port", hint="1 to 65535")
