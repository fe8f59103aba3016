"""Mail addresses as the envelope carries them: checked, never rewritten but for the domain's case.

RFC 5321 section 4.1.2 and RFC 6531 section 3.3. An address without a domain is accepted (`postmaster`, and
the local names that mail stores know); limits are those of RFC 5321 section 4.5.3.1.
"""

from __future__ import annotations

import re
from functools import cache
from typing import NamedTuple

from spooler.errors import DataError

MAX_LOCAL = 64  # octets
MAX_PATH = 254  # octets without the angle brackets
_LITERAL = re.compile(r"\[[\x21-\x5a\x5e-\x7e]+\]")
_UNSAFE = r"\x00-\x1f\x7f\x80-\x9f\u2028\u2029\ud800-\udfff"
_TURNING = r"\u200e\u200f\u202a-\u202e\u2066-\u2069"


class _Patterns(NamedTuple):
    loose_local: re.Pattern[str]
    quoted: re.Pattern[str]
    domain: re.Pattern[str]
    unsafe: re.Pattern[str]


@cache
def _patterns(*, ascii: bool) -> _Patterns:  # noqa: A002  # as `str.isascii`
    """Compile them when they are first needed: those for all of Unicode take 20 ms, and few addresses do."""
    more = "" if ascii else r"\x80-\U0010FFFF"
    label = rf"[A-Za-z0-9_{more}](?:[A-Za-z0-9_{more}-]*[A-Za-z0-9_{more}])?"
    return _Patterns(
        loose_local=re.compile(rf"[A-Za-z0-9!#$%&'*+/=?^_`{{|}}~.{more}-]+"),
        quoted=re.compile(rf'"(?:[\x20\x21\x23-\x5b\x5d-\x7e{more}]|\\[\x20-\x7e])*"'),
        domain=re.compile(rf"{label}(?:\.{label})*\.?"),
        unsafe=re.compile(r"[\x00-\x1f\x7f]" if ascii else f"[{_UNSAFE}]"),
    )


@cache
def _unshown() -> re.Pattern[str]:
    return re.compile(f"[{_UNSAFE}{_TURNING}]")


def split(address: str) -> tuple[str, str]:
    """Split into local part and domain; the domain is "" where there is none."""
    local, at, domain = address.rpartition("@")
    return (local, domain) if at else (address, "")


def show(text: str, limit: int = 80) -> str:
    """Make a stranger's text safe to print in one line: control characters are escaped, and
    what changes the direction of writing.
    """
    safe = text
    if not (text.isascii() and text.isprintable()):
        safe = _unshown().sub(lambda m: m.group().encode("unicode_escape").decode("ascii"), text)
    return safe if len(safe) <= limit else safe[: limit - 1] + "…"


def check_recipient(address: str) -> str:
    """Return the address of somebody mail is to be sent to, with its domain in lower case.

    Raises DataError that names what is wrong with it.
    """
    return _check(address, "recipient")


def check_sender(address: str) -> str:
    """As `check_recipient`, but "" and "<>" are the null sender, returned as ""."""
    if address in ("", "<>"):
        return ""
    return _check(address, "sender")


def needs_smtputf8(address: str) -> bool:
    """Whether the address cannot travel without SMTPUTF8 (RFC 6531)."""
    return not address.isascii()


def _check(address: str, what: str) -> str:
    if address.startswith("<") and address.endswith(">"):
        address = address[1:-1]
    why = fault_of(address)
    if not why and ">" in address:  # may stand in quotes, but is never sent: many take it for the end
        why = "contains a '>'"
    if why:
        raise DataError(f"{what} address '{show(address)}' {why}", hint="give it as local-part@domain")
    local, domain = split(address)
    return f"{local}@{domain.lower()}" if domain else local


def fault_of(address: str) -> str:
    """Say what keeps a text from being an address (RFC 5321 section 4.1.2), "" if nothing does."""
    if not address:
        return "is empty"
    patterns = _patterns(ascii=address.isascii())
    if patterns.unsafe.search(address):
        if any("\ud800" <= char <= "\udfff" for char in address):
            return "is not UTF-8"
        return "contains a line break or another control character"
    local, domain = split(address)
    if not local:
        return "has no local part"
    if local.startswith('"'):
        if not patterns.quoted.fullmatch(local):
            return "has a malformed quoted local part"
    elif not patterns.loose_local.fullmatch(local):
        # stray dots are kept: such mailboxes exist, and they are the store's to judge
        return "has a local part with characters that must be quoted"
    if address.endswith("@"):
        return "has no domain after the @"
    if domain and not (patterns.domain.fullmatch(domain) or _LITERAL.fullmatch(domain)):
        return "has a malformed domain"
    if len(local.encode()) > MAX_LOCAL:
        return f"has a local part of more than {MAX_LOCAL} octets (RFC 5321 section 4.5.3.1.1)"
    if len(address.encode()) > MAX_PATH:
        return f"is longer than {MAX_PATH} octets (RFC 5321 section 4.5.3.1.3)"
    return ""
