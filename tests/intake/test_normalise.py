"""Content rules at intake: line ends, NUL, long lines, size, chunks."""

from __future__ import annotations

import hashlib
import re
import tracemalloc
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spooler.envelope import CHUNK_SIZE, BodyType, Content
from spooler.errors import DataError
from spooler.intake.normalise import Normaliser, normalise, take_in

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

MESSAGES = st.lists(
    st.sampled_from([b"\r", b"\n", b"\r\n", b".", b" ", b"a", b"\xe4", b"b" * 997, b"c" * 998, b"d" * 2500]),
    min_size=1,
    max_size=30,
).map(b"".join)


class ChunkStore:
    """Keeps the chunks of large contents in memory."""

    def __init__(self) -> None:
        self.contents: list[list[bytes]] = []

    def store_chunks(self, chunks: Iterable[bytes]) -> int:
        self.contents.append(list(chunks))
        return len(self.contents)


def reference(data: bytes) -> bytes:
    """The rules, written byte by byte."""
    out = bytearray()
    for i, byte in enumerate(data):
        if byte == 10 and (i == 0 or data[i - 1] != 13):
            out += b"\r\n"
        elif byte == 13 and data[i + 1 : i + 2] != b"\n":
            out += b" "
        else:
            out.append(byte)
    return bytes(out) if out.endswith(b"\r\n") else bytes(out) + b"\r\n"


def in_pieces(data: bytes, sizes: list[int]) -> Iterator[bytes]:
    at = 0
    for size in sizes:
        yield data[at : at + size]
        at += size
    yield data[at:]


@pytest.mark.parametrize(
    ("given_bytes", "stored", "bare_lf", "bare_cr"),
    [
        (b"a\r\nb\r\n", b"a\r\nb\r\n", 0, 0),
        (b"a\nb\n", b"a\r\nb\r\n", 2, 0),
        (b"a\nb\r\nc", b"a\r\nb\r\nc\r\n", 1, 0),
        (b"a\rb\r\n", b"a b\r\n", 0, 1),
        (b"a\r", b"a \r\n", 0, 1),
        (b"\n", b"\r\n", 1, 0),
        (b"a\r\r\n", b"a \r\n", 0, 1),
        (b"a\n\rb", b"a\r\n b\r\n", 1, 1),
        (b"a\r\n.\rMAIL", b"a\r\n. MAIL\r\n", 0, 1),
        (b"a\n.\nb", b"a\r\n.\r\nb\r\n", 2, 0),
        (b"a\n.\r\nb", b"a\r\n.\r\nb\r\n", 1, 0),
        (b"a\r\n.\nb", b"a\r\n.\r\nb\r\n", 1, 0),
    ],
)
def test_line_ends(given_bytes: bytes, stored: bytes, bare_lf: int, bare_cr: int) -> None:
    """LF without CR becomes CRLF, a bare CR a space, a last line gets an end; both kinds are counted."""
    data, content = normalise(given_bytes)
    assert (data, content.bare_lf, content.bare_cr) == (stored, bare_lf, bare_cr)


@given(MESSAGES, st.lists(st.integers(0, 40), max_size=30))
def test_any_cut_gives_the_same(message: bytes, sizes: list[int]) -> None:
    """However the input is cut, bytes, counts and digest are those of the rules."""
    whole, expected = normalise(message)
    normaliser = Normaliser()
    data = b"".join([normaliser.feed(piece) for piece in in_pieces(message, sizes)]) + normaliser.finish()
    assert data == whole == reference(message)
    assert normaliser.content() == expected
    assert expected.size == len(data)
    assert expected.sha256 == hashlib.sha256(data).hexdigest()


@given(MESSAGES)
def test_again_changes_nothing(message: bytes) -> None:
    """What was normalised once is clean: no bare CR or LF, so no end of data that only some see."""
    once, counts = normalise(message)
    twice, clean = normalise(once)
    assert twice == once
    assert (clean.bare_lf, clean.bare_cr) == (0, 0)
    assert clean.long_lines == counts.long_lines
    assert not re.search(rb"[^\r]\n|\r[^\n]|^\n|\r\Z", once)


@given(MESSAGES, st.lists(st.integers(0, 1200), max_size=20))
def test_long_lines_are_counted_and_kept(message: bytes, sizes: list[int]) -> None:
    """A line of over 998 bytes without its end is counted once, wherever blocks end."""
    normaliser = Normaliser()
    data = b"".join([normaliser.feed(piece) for piece in in_pieces(message, sizes)]) + normaliser.finish()
    assert normaliser.long_lines == sum(len(line) > 998 for line in data.split(b"\r\n"))


def test_body_type() -> None:
    """One byte above 127 anywhere makes it 8bitmime."""
    assert normalise(b"abc\n")[1].body == BodyType.SEVEN_BIT
    assert normalise(b"abc\n\xe4\n")[1].body == BodyType.EIGHT_BIT


def test_empty_is_refused() -> None:
    """A message without a byte is refused, whichever way it comes."""
    for blocks in ([], [b""], [b"", b""]):
        with pytest.raises(DataError, match="empty"):
            take_in(blocks, store_chunks=ChunkStore().store_chunks)


def test_nul_is_refused_with_its_place() -> None:
    """The offset of a NUL counts bytes of the input, over all blocks."""
    normaliser = Normaliser()
    normaliser.feed(b"a\nb\n\r")
    with pytest.raises(DataError, match="byte offset 7"):
        normaliser.feed(b"\nc\0")


def test_size_limit_counts_what_is_stored() -> None:
    """The limit holds for the normalised bytes, and the error names it."""
    assert normalise(b"a\nb\n", max_size=6)[1].size == 6
    with pytest.raises(DataError, match="limit of 5 bytes"):
        normalise(b"a\nb\n", max_size=5)


@pytest.mark.parametrize(
    "size", [1, CHUNK_SIZE - 2, CHUNK_SIZE, CHUNK_SIZE + 2, 3 * CHUNK_SIZE, 3 * CHUNK_SIZE + 2]
)
def test_large_contents_are_stored_in_whole_chunks(size: int) -> None:
    """Up to one chunk a content stays in memory; a larger one goes to the store in full chunks."""
    data = (b"x" * 62 + b"\r\n") * (size // 64 + 1)
    data = data[-size:]
    expected, _ = normalise(data)
    store = ChunkStore()
    content = take_in(in_pieces(data, [1, 70_000, 500_000]), store_chunks=store.store_chunks)
    if len(expected) <= CHUNK_SIZE:
        assert (content.data, content.stored, store.contents) == (expected, None, [])
    else:
        assert (content.data, content.stored) == (b"", 1)
        assert b"".join(store.contents[0]) == expected
        assert [len(chunk) for chunk in store.contents[0][:-1]] == [CHUNK_SIZE] * (len(store.contents[0]) - 1)
        assert 0 < len(store.contents[0][-1]) <= CHUNK_SIZE
    assert content.size == len(expected)
    assert content.sha256 == hashlib.sha256(expected).hexdigest()


def test_memory_does_not_grow_with_the_message() -> None:
    """100 MB pass through in a few blocks."""
    block = b"x" * 79 + b"\n"
    block *= CHUNK_SIZE // len(block)

    def count(chunks: Iterable[bytes]) -> int:
        return sum(len(chunk) for chunk in chunks)

    tracemalloc.start()
    try:
        content: Content = take_in((block for _ in range(400)), store_chunks=count)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert content.stored == content.size > 100_000_000
    assert peak < 16 * CHUNK_SIZE
