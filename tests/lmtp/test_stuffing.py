"""Dot-stuffing, undone by a reader that shares nothing with it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spooler.lmtp.stuffing import Stuffer


def stuff(*pieces: bytes) -> bytes:
    """The octets that go on the wire for a content in these pieces, end-of-data included."""
    stuffer = Stuffer()
    fed = b"".join([stuffer.feed(piece) for piece in pieces])
    completion, end_of_data = stuffer.end()
    assert end_of_data == b".\r\n"
    return fed + completion + end_of_data


def unstuff(wire: bytes) -> tuple[bytes, bytes]:
    """Read lines as RFC 5321 section 4.5.2 tells a server to; return the content and what is behind it."""
    content = b""
    while True:
        line, end, wire = wire.partition(b"\r\n")
        assert end, "no end of data"
        if line == b".":
            return content, wire
        content += line.removeprefix(b".") + b"\r\n"


@pytest.mark.parametrize(
    ("pieces", "wire"),
    [
        ((), b".\r\n"),
        ((b"",), b".\r\n"),
        ((b".",), b"..\r\n.\r\n"),
        ((b".\r\n",), b"..\r\n.\r\n"),
        ((b"..\r\n",), b"...\r\n.\r\n"),
        ((b"\r\n",), b"\r\n.\r\n"),
        ((b"a",), b"a\r\n.\r\n"),
        ((b"a\r\n.b\r\n",), b"a\r\n..b\r\n.\r\n"),
        ((b"a\r\n", b".b\r\n"), b"a\r\n..b\r\n.\r\n"),
        ((b"a\r", b"\n.b\r\n"), b"a\r\n..b\r\n.\r\n"),
        ((b"a\r", b"\n", b".b\r\n"), b"a\r\n..b\r\n.\r\n"),
        ((b"a\r\n", b"", b".\r\n"), b"a\r\n..\r\n.\r\n"),
        ((b"a", b".b\r\n"), b"a.b\r\n.\r\n"),
        ((b"a\r",), b"a\r\n.\r\n"),
        ((b"a\r\n.\r\n.\r\n",), b"a\r\n..\r\n..\r\n.\r\n"),
        ((b"a\r\n.",), b"a\r\n..\r\n.\r\n"),
    ],
)
def test_wire(pieces: tuple[bytes, ...], wire: bytes) -> None:
    """The first octet, every seam, a lone dot, a missing last line end and nothing at all are right."""
    assert stuff(*pieces) == wire


def test_what_completes_the_last_line_is_apart_from_the_end_of_data() -> None:
    """Only the dot line may make a message uncertain, so it comes by itself."""
    stuffer = Stuffer()
    stuffer.feed(b"a")
    assert stuffer.end() == (b"\r\n", b".\r\n")


NORMALISED = st.lists(st.sampled_from([b"\r\n", b".", b"..", b"a", b"\xff"]), max_size=40).map(b"".join)


@given(data=st.data(), content=NORMALISED)
def test_round_trip(data: st.DataObject, content: bytes) -> None:
    """Cut anywhere, a content comes back identical, completed at most by its last line end."""
    cuts = sorted(data.draw(st.lists(st.integers(0, len(content)), max_size=8)))
    pieces = [content[a:b] for a, b in zip([0, *cuts], [*cuts, len(content)], strict=True)]
    whole = content if not content or content.endswith(b"\r\n") else content + b"\r\n"
    assert unstuff(stuff(*pieces) + b"MAIL FROM:<>\r\n") == (whole, b"MAIL FROM:<>\r\n")


@given(data=st.data(), content=st.lists(st.sampled_from([b"\n", b"\r\n", b".", b"a"]), max_size=40))
def test_no_line_feed_is_followed_by_a_lone_dot(data: st.DataObject, content: list[bytes]) -> None:
    """Not even content that was never normalised can end the data for a lenient server."""
    cut = data.draw(st.integers(0, len(content)))
    wire = stuff(b"".join(content[:cut]), b"".join(content[cut:]))
    lines = wire.removesuffix(b".\r\n").replace(b"\r\n", b"\n").split(b"\n")
    assert b"." not in lines
