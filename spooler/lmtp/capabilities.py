"""What a server offers, from its reply to LHLO (RFC 2033 section 4.1, RFC 5321 section 4.1.1.1).

The first line is the server's name and is not looked at; keywords are read without regard to case;
a line that makes no sense is passed over, because an extension that we do not know is no fault.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from spooler.reply import Reply

_FLAGS = {
    "PIPELINING": "pipelining",
    "CHUNKING": "chunking",
    "8BITMIME": "eightbitmime",
    "SMTPUTF8": "smtputf8",
    "ENHANCEDSTATUSCODES": "enhanced",
    "DSN": "dsn",
    "STARTTLS": "starttls",
}
_MAX_SIZE_DIGITS = 20  # RFC 1870 section 4


class Capabilities(msgspec.Struct, frozen=True, kw_only=True):
    """Extensions on offer. `size` is the greatest message in octets: None not offered, 0 no limit."""

    pipelining: bool = False
    chunking: bool = False
    eightbitmime: bool = False
    smtputf8: bool = False
    enhanced: bool = False
    dsn: bool = False
    starttls: bool = False
    size: int | None = None
    auth: tuple[str, ...] = ()

    @classmethod
    def from_reply(cls, reply: Reply) -> Capabilities:
        """Read a positive reply to LHLO."""
        flags: dict[str, bool] = {}
        size: int | None = None
        auth: list[str] = []
        for line in reply.lines[1:]:
            # "AUTH=LOGIN" is how servers announced it before RFC 2554, and some still do
            keyword, *arguments = line.upper().replace("AUTH=", "AUTH ", 1).split() or [""]
            if keyword in _FLAGS:
                flags[_FLAGS[keyword]] = True
            elif keyword == "SIZE":
                size = _size(arguments)
            elif keyword == "AUTH":
                auth.extend(mechanism for mechanism in arguments if mechanism not in auth)
        return cls(**flags, size=size, auth=tuple(auth))


def _size(arguments: list[str]) -> int:
    """Read the limit; without one that makes sense there is none that we know."""
    text = arguments[0] if arguments else ""
    return int(text) if text.isascii() and text.isdigit() and len(text) <= _MAX_SIZE_DIGITS else 0
