"""Capabilities from LHLO replies as servers really give them."""

from __future__ import annotations

import pytest

from spooler.lmtp.capabilities import Capabilities
from spooler.reply import Reply

DOVECOT = (
    "host",
    "8BITMIME",
    "CHUNKING",
    "ENHANCEDSTATUSCODES",
    "PIPELINING",
    "XCLIENT ADDR PORT TTL TIMEOUT",
    "STARTTLS",
)


@pytest.mark.parametrize(
    ("lines", "capabilities"),
    [
        (("host",), Capabilities()),
        (("PIPELINING",), Capabilities()),
        (
            DOVECOT,
            Capabilities(chunking=True, eightbitmime=True, enhanced=True, pipelining=True, starttls=True),
        ),
        (("host", "pipelining", "8BitMime", ""), Capabilities(pipelining=True, eightbitmime=True)),
        (("host", "SMTPUTF8", "DSN"), Capabilities(smtputf8=True, dsn=True)),
        (("host", "SIZE 1000"), Capabilities(size=1000)),
        (("host", "SIZE"), Capabilities(size=0)),
        (("host", "SIZE 0"), Capabilities(size=0)),
        (("host", "SIZE lots"), Capabilities(size=0)),
        (("host", "SIZE " + "9" * 21), Capabilities(size=0)),
        (("host", "AUTH PLAIN login", "AUTH=LOGIN PLAIN"), Capabilities(auth=("PLAIN", "LOGIN"))),
        (("host", "   ", "-", "X-ODD  ", "PIPELINING"), Capabilities(pipelining=True)),
        (("host", "PIPELINING-NOT", "XPIPELINING"), Capabilities()),
    ],
)
def test_capabilities(lines: tuple[str, ...], capabilities: Capabilities) -> None:
    """Keywords are read without regard to case, odd lines passed over, the first line not looked at."""
    assert Capabilities.from_reply(Reply(250, "", lines)) == capabilities
