"""What is supplied to a message that a person or a script hands in."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spooler.errors import DataError
from spooler.intake.supplying import MAX_HEADER, Supplies, author, complete

SUPPLIES = Supplies(
    sender="a@example.org", date="Fri, 01 Jan 2027 10:00:00 +0100", message_id="<1@host.example>"
)
FROM = b"From: a@example.org\r\n"
DATE = b"Date: Fri, 01 Jan 2027 10:00:00 +0100\r\n"
ID = b"Message-ID: <1@host.example>\r\n"
ALL = FROM + DATE + ID


def _complete(*blocks: bytes) -> bytes:
    return b"".join(complete(blocks, SUPPLIES))


@pytest.mark.parametrize(
    ("given", "completed"),
    [
        (b"Subject: Test Email\n", b"Subject: Test Email\n" + ALL + b"\r\n"),
        (b"Subject: Test Email", b"Subject: Test Email\r\n" + ALL + b"\r\n"),
        (b"Subject: x\n\nbody\n", b"Subject: x\n" + ALL + b"\nbody\n"),
        (b"Subject: x\r\n\r\nbody", b"Subject: x\r\n" + ALL + b"\r\nbody"),
        (b"begin 644 a.txt\n#86)C\n`\nend\n", ALL + b"\r\nbegin 644 a.txt\n#86)C\n`\nend\n"),
        (b"hello", ALL + b"\r\nhello"),
        (b"\nbody: of text\n", ALL + b"\nbody: of text\n"),
        (b"\n", ALL + b"\n"),
        (b" not a continuation\n", ALL + b"\r\n not a continuation\n"),
        (
            b"Subject: x\nbody without an empty line\n",
            b"Subject: x\n" + ALL + b"\r\nbody without an empty line\n",
        ),
        (b"Subject: a\n b\n\tc\n\nbody\n", b"Subject: a\n b\n\tc\n" + ALL + b"\nbody\n"),
        (b"FROM: x\nMessage-Id : <2@x>\n\n", b"FROM: x\nMessage-Id : <2@x>\n" + DATE + b"\n"),
        (b"From a@x Fri Jan  1 10:00:00 2027\nSubject: x\n\n", b"Subject: x\n" + ALL + b"\n"),
        (b"From here on it is text\nand more\n", ALL + b"\r\nFrom here on it is text\nand more\n"),
        (
            b"From: x\nSubject: y\n\nDate: in the body\n",
            b"From: x\nSubject: y\n" + DATE + ID + b"\nDate: in the body\n",
        ),
        (b"", b""),
    ],
)
def test_what_is_missing_is_supplied(given: bytes, completed: bytes) -> None:
    """Fields that are not there go behind those that are; the empty line and nothing else is added."""
    assert _complete(given) == completed


@given(
    head=st.sampled_from([b"Subject: x\n", b"From a@x\nTo: y\n", b"begin 644 x\n", b"A: b\r\n c\r\n", b""]),
    tail=st.binary(max_size=40),
    cuts=st.lists(st.integers(0, 60), max_size=5),
)
def test_it_does_not_matter_how_the_input_is_cut(head: bytes, tail: bytes, cuts: list[int]) -> None:
    """The same bytes in other blocks give the same message."""
    whole = head + tail
    places = [0, *sorted(min(cut, len(whole)) for cut in cuts), len(whole)]
    blocks = [whole[start:end] for start, end in itertools.pairwise(places)]
    assert _complete(*blocks) == _complete(whole)


def test_a_complete_message_is_not_touched() -> None:
    """One with all three fields comes out as it went in, block for block behind its header."""
    whole = [b"Received: x\r\nFROM: a\r\ndate: b\r\nMessage-Id: c\r\n\r\nbody\r\n", b"\xff\x00\n.\n", b"end"]
    assert list(complete(whole, SUPPLIES)) == whole


def test_a_header_without_an_end_is_refused_and_a_long_line_is_a_body() -> None:
    """Memory has a bound; what has no line ends at all is no header."""
    with pytest.raises(DataError, match="does not end within 262144 bytes"):
        _complete(b"X: y\n" * (MAX_HEADER // 5 + 1))
    long = b"x" * (2 * MAX_HEADER)
    assert _complete(long) == ALL + b"\r\n" + long


@pytest.mark.parametrize(
    ("sender", "written"),
    [
        ("a@example.org", "a@example.org"),
        ("", "MAILER-DAEMON@host.example"),
        ("root", "root@host.example"),
        ("a..b@x", '"a..b"@x'),
        ('"a b"@x', '"a b"@x'),
        ("ü@x", "ü@x"),
    ],
)
def test_the_author_is_the_sender(sender: str, written: str) -> None:
    """In the form that RFC 5322 has addresses in."""
    assert author(sender, "host.example") == written
