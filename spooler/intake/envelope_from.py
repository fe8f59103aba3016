"""The envelope of an imported message, from what delivery wrote into its header.

Sender: the topmost Return-Path. Recipients: every X-Original-To, Delivered-To and X-Envelope-To, in the
order in which they stand; To and Cc only if asked for, because mailing lists and blind copies make them
lie. Addresses are taken as they are; `spooler.address` judges them afterwards.

Headers of real mail are broken in every way, so nothing here raises but DataError. The standard library's
header parser is not used for that part: it replaces bytes that are not ASCII, in addresses too.
"""

from __future__ import annotations

import re
from email.utils import getaddresses

import msgspec

from spooler.address import show
from spooler.errors import DataError

HEAD_LIMIT = 256 * 1024  # bytes: a longer header part is cut there
_DELIVERED = (b"x-original-to", b"delivered-to", b"x-envelope-to")
_FIELD = re.compile(
    rb"^(return-path|x-original-to|delivered-to|x-envelope-to|to|cc)[ \t]*:(.*(?:\n[ \t].*)*)",
    re.IGNORECASE | re.MULTILINE,
)
_SOURCE_ROUTE = re.compile(r"<@[^:<>]*:")
_LIST = "mailing list "  # ezmlm: "Delivered-To: mailing list someone@example.org", against loops


class Envelope(msgspec.Struct, frozen=True, gc=False):
    """What a header says; `sender` None and no recipients mean that it says nothing."""

    sender: str | None
    recipients: tuple[str, ...]


def envelope_of(head: bytes, *, visible: bool = False) -> Envelope:
    """Read the header part of a normalised message; with `visible`, To and Cc name recipients too.

    `head` may reach into the body. Raises DataError for a To or Cc that is no list of addresses.
    """
    sender: str | None = None
    recipients: dict[str, None] = {}
    for match in _FIELD.finditer(head_of(head).replace(b"\r\n", b"\n")):
        kind = match[1].lower()
        text = " ".join(match[2].decode("utf-8", "surrogateescape").split())
        if kind == b"return-path":
            sender = _path(text) if sender is None else sender
        elif kind in _DELIVERED:
            if not text.lower().startswith(_LIST):
                recipients[_path(text)] = None
        elif visible:
            recipients.update(dict.fromkeys(_mailboxes(kind.decode().capitalize(), text)))
    recipients.pop("", None)
    return Envelope(sender, tuple(recipients))


def head_of(data: bytes) -> bytes:
    """Return the header part of a normalised message's beginning."""
    if data.startswith(b"\r\n"):
        return b""
    at = data.find(b"\r\n\r\n", 0, HEAD_LIMIT)
    return data[: at + 2] if at >= 0 else data[:HEAD_LIMIT]


def _path(text: str) -> str:
    """Take the address out of its angle brackets, and a source route (RFC 5321 appendix C) off it."""
    text = _SOURCE_ROUTE.sub("<", text)
    start, end = text.find("<"), text.rfind(">")
    return text[start + 1 : end].strip() if 0 <= start < end else text


def _mailboxes(name: str, text: str) -> list[str]:
    found = [address for _, address in getaddresses([text])]
    named = [address for address in found if "@" in address]
    # a group such as "undisclosed-recipients:;" (RFC 5322 section 3.4) names nobody, and says so
    group = ":" in text and text.endswith(";")
    if text and len(named) < len(found) and not group:
        raise DataError(
            f"header {name} '{show(text)}' is not a list of addresses", hint="name the recipients with -t"
        )
    return named
