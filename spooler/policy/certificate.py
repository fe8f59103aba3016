"""What a certificate says, and whether it is the right one: octets in, no I/O, no clock.

X.509 is read as far as is needed here (RFC 5280 section 4.1): how long it lasts, and its public key.
That its signatures hold is checked by OpenSSL, where a level asks for it. Names are matched as RFC 9525
section 6 wants it: by subjectAltName alone, a wildcard stands for one whole label, the first, of three
labels at least.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import ipaddress
from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

_SEQUENCE, _UTC_TIME, _GENERALIZED_TIME, _VERSION = 0x30, 0x17, 0x18, 0xA0  # DER tags
_LONG = 0x80  # the length stands in as many octets as the other bits say


class Certificate(msgspec.Struct, frozen=True, kw_only=True):
    """`fingerprint` and `key_fingerprint` are SHA-256 in lower case; `not_after` in seconds UTC."""

    fingerprint: str
    key_fingerprint: str
    not_after: int


class MalformedError(Exception):
    """These octets are no certificate."""


def read_certificate(der: bytes) -> Certificate:
    """Read one in DER; raises MalformedError."""
    try:
        return _read(der)
    except (IndexError, ValueError):
        raise MalformedError("the server's certificate is malformed") from None


def matching(names: Iterable[str], alternatives: Sequence[tuple[str, str]]) -> bool:
    """Whether a certificate is for one of the names, which are in lower case.

    `alternatives` are its subjectAltName, as ("DNS", "*.example.org") or ("IP Address", "192.0.2.1").
    """
    return any(_matches(name, kind, value) for name in names for kind, value in alternatives)


def shown(alternatives: Sequence[tuple[str, str]]) -> str:
    """Write for people whom a certificate is for."""
    return ", ".join(value for kind, value in alternatives if kind in ("DNS", "IP Address")) or "nobody"


def colons(digest: str) -> str:
    """Write a digest as people and openssl do."""
    return ":".join(digest[i : i + 2] for i in range(0, len(digest), 2)).upper()


def _matches(name: str, kind: str, value: str) -> bool:
    if kind == "IP Address":
        try:
            return ipaddress.ip_address(name) == ipaddress.ip_address(value.strip())
        except ValueError:
            return False
    pattern = value.lower().rstrip(".")
    if kind != "DNS":
        return False
    first, _, rest = pattern.partition(".")
    if first != "*":
        return pattern == name
    label, _, domain = name.partition(".")
    return bool(label) and "." in rest and domain == rest


def _read(der: bytes) -> Certificate:
    outer = _children(der, 0, len(der))
    (certificate,) = outer
    signed = _children(der, *certificate.content)[0]
    parts = _children(der, *signed.content)
    if parts[0].tag == _VERSION:
        parts = parts[1:]
    # serialNumber, signature, issuer, validity, subject, subjectPublicKeyInfo
    validity, key = parts[3], parts[5]
    if validity.tag != _SEQUENCE or key.tag != _SEQUENCE:
        raise ValueError("not in the order of RFC 5280")
    last = _children(der, *validity.content)[1]
    return Certificate(
        fingerprint=hashlib.sha256(der).hexdigest(),
        key_fingerprint=hashlib.sha256(der[key.start : key.content[1]]).hexdigest(),
        not_after=_time(last.tag, der[slice(*last.content)].decode("ascii")),
    )


class _Element(msgspec.Struct, frozen=True):
    tag: int
    start: int
    content: tuple[int, int]


def _children(der: bytes, at: int, end: int) -> list[_Element]:
    """Return the elements that stand from `at` to `end`, one behind the other."""
    found = []
    while at < end:
        tag, length, content = der[at], der[at + 1], at + 2
        if length & _LONG:
            octets = length & ~_LONG
            length, content = int.from_bytes(der[content : content + octets], "big"), content + octets
        if content + length > end:
            raise ValueError("an element that ends behind its own")
        found.append(_Element(tag, at, (content, content + length)))
        at = content + length
    return found


def _time(tag: int, text: str) -> int:
    """Read a time (RFC 5280 section 4.1.2.5), which is UTC."""
    if tag == _UTC_TIME:
        text = ("19" if int(text[:2]) >= 50 else "20") + text
    elif tag != _GENERALIZED_TIME:
        raise ValueError("no time")
    when = dt.datetime.strptime(text, "%Y%m%d%H%M%SZ").replace(tzinfo=dt.UTC)
    return int(when.timestamp())
