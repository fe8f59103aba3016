"""The reader of DATA's content: where it ends, and what is unstuffed."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spooler.lmtp.unstuff import Unstuffer


def read(blocks: list[bytes]) -> tuple[bytes, bytes, bool]:
    """Feed blocks as a server does; return the content, what is left, and whether it is complete."""
    unstuffer, content, buffer = Unstuffer(), b"", b""
    for block in blocks:
        buffer += block
        while not unstuffer.complete:
            data, at = unstuffer.read(buffer, 0)
            buffer = buffer[at:]
            content += data
            if not data:
                break
    return content, buffer, unstuffer.complete


@pytest.mark.parametrize(
    ("wire", "content"),
    [
        (b".\r\n", b""),
        (b"\r\n.\r\n", b"\r\n"),
        (b"a\r\n.\r\n", b"a\r\n"),
        (b"..\r\n.\r\n", b".\r\n"),
        (b".a\r\n.\r\n", b"a\r\n"),
        (b"a\r\n..b\r\n...\r\n.\r\n", b"a\r\n.b\r\n..\r\n"),
        (b"a\r\n.b\r\n.\r\n", b"a\r\nb\r\n"),
        (b"\r\n\r\n..\r\n\r\n.\r\n", b"\r\n\r\n.\r\n\r\n"),
        (b".\r.\r\n.\r\n", b"\r.\r\n"),
    ],
)
def test_content_is_unstuffed_up_to_its_end(wire: bytes, content: bytes) -> None:
    """The end is found and the dots go, whole or a byte at a time; what follows is not touched."""
    rest = b"MAIL FROM:<>\r\n"
    assert (content, rest, True) == read([wire + rest])
    assert (content, rest, True) == read([bytes([byte]) for byte in wire + rest])


@pytest.mark.parametrize(
    "wire",
    [
        b"a\n.\n",
        b"a\n.\r\n",
        b"a\r\n.\n",
        b"a\r.\r",
        b"a\r\r\n.\r\r\n",
        b"a\r\n.\r.\r\n",
        b"a\r\n.\0\r\n",
        b"a\r\n. \r\n",
        b".\n",
        b".\r",
        b"\n.\r\n",
    ],
)
def test_nothing_but_crlf_dot_crlf_ends_content(wire: bytes) -> None:
    """No bare CR or LF, and nothing beside the dot, makes an end of data (RFC 5321 section 4.1.1.4)."""
    assert not read([wire])[2]
    assert not read([bytes([byte]) for byte in wire])[2]
    content, rest, complete = read([wire + b"MAIL\r\n.\r\n"])
    assert complete
    assert b"MAIL\r\n" in content
    assert rest == b""


lines = st.lists(st.lists(st.sampled_from([b".", b"\r", b"\n", b"a", b"\xff"]), max_size=5).map(b"".join))


@given(lines=lines, cuts=st.lists(st.integers(min_value=1, max_value=6)), rest=st.binary(max_size=9))
def test_any_content_survives_stuffing_and_any_cut(lines: list[bytes], cuts: list[int], rest: bytes) -> None:
    """Whatever is stuffed line by line comes out as it was, wherever the blocks were cut."""
    content = b"".join(line + b"\r\n" for line in lines)
    parts = content.split(b"\r\n")  # a line may hold a CR and the next begin with LF
    wire = b"\r\n".join(b"." + part if part.startswith(b".") else part for part in parts) + b".\r\n"
    blocks, at = [], 0
    for cut in cuts:
        blocks.append((wire + rest)[at : at + cut])
        at += cut
    blocks.append((wire + rest)[at:])
    assert (content, rest, True) == read(blocks)


def test_little_is_left_in_the_buffer() -> None:
    """Of an endless content at most four bytes wait for what follows."""
    for tail in (b"a", b"\r", b"\r\n", b"\r\n.", b"\r\n.\r"):
        content, left, complete = read([b"x" * 100_000 + tail])
        assert not complete
        assert len(left) <= 4
        assert content + left == b"x" * 100_000 + tail
