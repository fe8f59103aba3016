"""What a person sees of a dialogue: every line but the secrets, and contents by their size."""

from __future__ import annotations

import base64

import pytest

from spooler.lmtp.overhearing import Overhearing

SECRET = base64.b64encode(b"\0me\0s3cret")
CHALLENGE = base64.b64encode(b"<salt and nonce>")

Said = list[tuple[str, bytes]]

DATA: Said = [
    ("<", b"220 host\r\n"),
    (">", b"LHLO me\r\n"),
    ("<", b"250-host\r\n250 PIPELINING\r\n"),
    (">", b"MAIL FROM:<a@x>\r\nRCPT TO:<b@x>\r\nDATA\r\n"),
    ("<", b"250 ok\r\n250 ok\r\n354 go\r\n"),
    (">", b"Subject: x\r\n\r\nDATA\r\n..dot\r\n.\r\nMAIL FROM:<c@x>\r\nRCPT TO:<d@x>\r\nDATA\r\n"),
    ("<", b"250 done\r\n250 ok\r\n550 no\r\n554 none\r\n"),
    (">", b"RSET\r\nQUIT\r\n"),
    ("<", b"250 ok\r\n221 bye\r\n"),
]
SEEN_DATA = """
< 220 host
> LHLO me
< 250-host
< 250 PIPELINING
> MAIL FROM:<a@x>
> RCPT TO:<b@x>
> DATA
< 250 ok
< 250 ok
< 354 go
> (26 octets of content)
> .
> MAIL FROM:<c@x>
> RCPT TO:<d@x>
> DATA
< 250 done
< 250 ok
< 550 no
< 554 none
> RSET
> QUIT
< 250 ok
< 221 bye
"""
CHUNKS: Said = [
    (">", b"MAIL FROM:<a@x>\r\nRCPT TO:<b@x>\r\nBDAT 7\r\nDATA\r\n\nBDAT 0 LAST\r\nRSET\r\n"),
    ("<", b"250 ok\r\n"),
]
SEEN_CHUNKS = """
> MAIL FROM:<a@x>
> RCPT TO:<b@x>
> BDAT 7
> (7 octets of content)
> BDAT 0 LAST
> (0 octets of content)
> RSET
< 250 ok
"""
AUTH: Said = [
    (">", b"AUTH PLAIN " + SECRET + b"\r\n"),
    ("<", b"535-5.7.8 no to " + SECRET + b"\r\n535 5.7.8 no to '" + SECRET[:9] + b"', s3cret\r\n"),
    (">", b"AUTH EXTERNAL =\r\n"),
    ("<", b"535 not as = or s3cret\r\n"),
    (">", b"AUTH LOGIN\r\n"),
    ("<", b"334 " + CHALLENGE + b"\r\n"),
    (">", SECRET + b"\r\n"),
    ("<", b"334 " + CHALLENGE + b"\r\n"),
    (">", SECRET + b"\r\n"),
    ("<", b"235 2.7.0 welcome\r\n"),
    (">", b"MAIL FROM:<a@x>\r\n"),
]
SEEN_AUTH = """
> AUTH PLAIN ***
< 535-5.7.8 no to ***
< 535 5.7.8 no to '***', ***
> AUTH EXTERNAL ***
< 535 not as = or s3cret
> AUTH LOGIN
< 334 ***
> ***
< 334 ***
> ***
< 235 2.7.0 welcome
> MAIL FROM:<a@x>
"""


def seen(said: Said, *, cut: int) -> str:
    """What is told, one line each; blocks come `cut` octets at a time."""
    lines: list[str] = []
    overhearing = Overhearing(lambda direction, text: lines.append(f"{direction.value} {text}"))
    for side, block in said:
        take = overhearing.sent if side == ">" else overhearing.received
        for at in range(0, len(block), cut):
            take(block[at : at + cut])
    return "\n" + "".join(f"{line}\n" for line in lines)


@pytest.mark.parametrize("cut", [1, 2, 3, 5, 1000])
@pytest.mark.parametrize(
    ("said", "told"),
    [(DATA, SEEN_DATA), (CHUNKS, SEEN_CHUNKS), (AUTH, SEEN_AUTH)],
    ids=["data", "bdat", "auth"],
)
def test_a_dialogue(said: Said, told: str, cut: int) -> None:
    """Whole, and however the octets were cut; content that looks like a command is none."""
    assert seen(said, cut=cut) == told


def test_no_secret_is_told() -> None:
    """In no spelling of the command."""
    for command in (b"AUTH PLAIN ", b"auth plain ", b"Auth  Plain  "):
        assert "***" in seen([(">", command + SECRET + b"\r\n")], cut=1000)
        assert SECRET.decode() not in seen([(">", command + SECRET + b"\r\n")], cut=7)


def test_lines_are_safe_to_print() -> None:
    """What a server sends to a terminal is not obeyed there."""
    assert seen([("<", b"250 \x1b[2J\xff\r\n")], cut=1000) == "\n< 250 \\x1b[2J\\xff\n"


def test_a_line_without_an_end_is_bounded() -> None:
    """A server that never ends its line does not fill memory."""
    told = seen([("<", b"x" * 250_000)], cut=50_000)
    assert len(told.splitlines()) == 3


def test_notes() -> None:
    """What neither side said has a sign of its own."""
    lines: list[str] = []
    Overhearing(lambda direction, text: lines.append(f"{direction.value} {text}")).note("TLSv1.3")
    assert lines == ["* TLSv1.3"]
