"""How a connection is protected: the levels, as Postfix names them, and what goes with them.

Known limits: no DANE (RFC 7672), no revocation lists; TLS is 1.2 or newer, always.
"""

from __future__ import annotations

import ipaddress
import re
from enum import StrEnum

import msgspec

from spooler.address import show
from spooler.destination import Destination, InetDestination
from spooler.errors import UsageError

_FINGERPRINT = re.compile(r"(?:sha256[:=])?((?:[0-9a-f]{2}:?){31}[0-9a-f]{2})", re.IGNORECASE)
_LABEL = r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?"
_NAME = re.compile(rf"{_LABEL}(?:\.{_LABEL})*")


class TlsLevel(StrEnum):
    """What a connection must have before mail, or a secret, is sent over it."""

    NONE = "none"
    """Plain text."""
    MAY = "may"
    """TLS, whoever it is with, where STARTTLS is offered and not refused; else plain text."""
    ENCRYPT = "encrypt"
    """TLS, whoever it is with."""
    VERIFY = "verify"
    """TLS, with a certificate of an authority that is trusted, whatever its name."""
    SECURE = "secure"
    """TLS, with a certificate of an authority that is trusted, for the host's own name or a given one."""
    FINGERPRINT = "fingerprint"
    """TLS, with one certificate, or one public key, that is known by its digest."""

    @property
    def required(self) -> bool:
        """Whether there is no going on without TLS."""
        return self not in (TlsLevel.NONE, TlsLevel.MAY)

    @property
    def trusts_authorities(self) -> bool:
        """Whether the certificate must be of an authority that is trusted."""
        return self in (TlsLevel.VERIFY, TlsLevel.SECURE)


class Tls(msgspec.Struct, frozen=True, kw_only=True):
    """How to protect a connection.

    `implicit`: TLS from the first octet on (wrapper mode) instead of STARTTLS (RFC 3207). `ca`, `cert` and
    `key` name PEM files: authorities to trust instead of the system's, our own certificate with its
    chain, and its key where it is not in the same file. `fingerprints` are SHA-256 digests in lower case
    without colons, of a certificate or of its public key (SubjectPublicKeyInfo). `names` are what the
    certificate may be for, where that is not the destination's host.
    """

    level: TlsLevel = TlsLevel.NONE
    implicit: bool = False
    ca: str = ""
    cert: str = ""
    key: str = ""
    fingerprints: tuple[str, ...] = ()
    names: tuple[str, ...] = ()


PLAIN = Tls()


def parse_fingerprint(text: str) -> str:
    """Read a SHA-256 digest in hexadecimal, with colons or without; raises UsageError."""
    match = _FINGERPRINT.fullmatch(text.strip())
    if match is None:
        raise UsageError(
            f"fingerprint '{show(text)}' is no SHA-256 digest",
            hint="give 64 hexadecimal digits, as openssl x509 -noout -fingerprint -sha256 prints them",
        )
    return match[1].replace(":", "").lower()


def accepted_names(tls: Tls, destination: Destination) -> tuple[str, ...]:
    """Return what a certificate may be for: names, or an address as it is written in a certificate."""
    if tls.names:
        return tuple(name.lower().rstrip(".") for name in tls.names)
    return (destination.host.lower().rstrip("."),) if isinstance(destination, InetDestination) else ()


def check_tls(tls: Tls, destination: Destination) -> None:
    """Refuse what contradicts itself, or would do less than it seems to; raises UsageError."""
    level = tls.level
    if tls.implicit and not level.required:
        raise UsageError(
            f"TLS from the start cannot be at level '{level}', which lets mail travel in plain text",
            hint="state a level from 'encrypt' on",
        )
    if tls.fingerprints and level is not TlsLevel.FINGERPRINT:
        raise UsageError(
            f"fingerprints are not looked at, at level '{level}'", hint="state level 'fingerprint'"
        )
    if level is TlsLevel.FINGERPRINT and not tls.fingerprints:
        raise UsageError("level 'fingerprint' needs fingerprints", hint="name one or more")
    if tls.ca and not level.trusts_authorities:
        raise UsageError(
            f"authorities are not looked at, at level '{level}'", hint="state level 'verify' or 'secure'"
        )
    if tls.names and level is not TlsLevel.SECURE:
        raise UsageError(f"names are not looked at, at level '{level}'", hint="state level 'secure'")
    if level is TlsLevel.SECURE and not accepted_names(tls, destination):
        raise UsageError(f"{destination} has no name that a certificate could be for", hint="name one")
    if tls.key and not tls.cert:
        raise UsageError("there is a key without a certificate", hint="name the certificate")
    if tls.cert and level is TlsLevel.NONE:
        raise UsageError("a certificate is of no use without TLS", hint="state a level")
    for name in tls.names:
        if not _NAME.fullmatch(name.lower().rstrip(".")) and not _is_address(name):
            raise UsageError(
                f"'{show(name)}' is no name of a certificate", hint="give a host name in ASCII, or an address"
            )


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True
