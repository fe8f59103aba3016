"""Content rules, applied once, at intake: what is stored is what every target is sent.

- LF without CR becomes CRLF and CR without LF becomes a space (RFC 5321 section 2.3.8 forbids both on
  the wire; targets that take them for line ends make SMTP smuggling possible). Both are counted.
- A last line without an end gets one. Lines of over 998 bytes (RFC 5321 section 4.5.3.1.6) are kept, for
  splitting them would break signatures, but counted.
- NUL is refused, and so are an empty message and one above the size limit.

The result does not depend on how the input is cut into blocks, and normalising it again changes nothing.
Memory: a few blocks, whatever the size of the message.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterable, Iterator
from itertools import chain

from spooler.envelope import CHUNK_SIZE, BodyType, Content
from spooler.errors import DataError

MAX_SIZE = 1 << 30  # bytes as stored; a default that no mail store takes and no disk minds
MAX_LINE = 1000  # bytes, CRLF included (RFC 5321 section 4.5.3.1.6)
_BARE_CR = re.compile(rb"\r(?!\n)")

StoreChunks = Callable[[Iterable[bytes]], int]
"""Takes the blocks of a large content, returns its id: `Store.store_chunks` with the time filled in."""


def refuse_nul(block: bytes, offset: int) -> None:
    """Raise DataError for a NUL in a block that stands at `offset` in its message."""
    nul = block.find(b"\0")
    if nul >= 0:
        raise DataError(
            f"the message has a NUL at byte offset {offset + nul}",
            hint="mail cannot carry NUL; encode such content as base64",
        )


def refuse_size(size: int, limit: int) -> None:
    """Raise DataError for a message above the limit, both in bytes."""
    if size > limit:
        raise DataError(
            f"the message is larger than the limit of {limit} bytes",
            hint="raise --max-size if the targets take such mail",
        )


class Normaliser:
    """Normalises one message, block by block: `feed` each block, then `finish`.

    The attributes are final after `finish`.
    """

    __slots__ = (
        "_column",
        "_hash",
        "_held",
        "_max",
        "_read",
        "ascii",
        "bare_cr",
        "bare_lf",
        "long_lines",
        "size",
    )

    def __init__(self, *, max_size: int = MAX_SIZE) -> None:
        self.size = 0
        self.bare_lf = 0
        self.bare_cr = 0
        self.long_lines = 0
        self.ascii = True
        self._max = max_size
        self._read = 0  # bytes of input seen, for the place of a NUL
        self._held = False  # the last block ended in a CR that has not been written yet
        self._column = 0  # bytes of the unfinished last line, stopping at MAX_LINE: then it is counted
        self._hash = hashlib.sha256()

    def feed(self, block: bytes) -> bytes:
        """Return what this block adds. Raises DataError for a NUL or above the size limit."""
        if not block:
            return b""
        refuse_nul(block, self._read)
        self._read += len(block)
        if self._held:
            block = b"\r" + block
        # whether a CR at the end is bare depends on what comes next
        self._held = block.endswith(b"\r")
        if self._held:
            block = block[:-1]
        return self._write(self._mend(block))

    def finish(self) -> bytes:
        """Return what is missing at the end. Raises DataError if there was nothing at all."""
        if not self._read:
            raise DataError("the message is empty", hint="a message has at least one byte")
        tail = b""
        if self._held:
            self._held = False
            self.bare_cr += 1
            tail = b" "
            self._write(tail)
        if self._column:
            tail += self._write(b"\r\n")
        return tail

    def content(self, *, data: bytes = b"", stored: int | None = None) -> Content:
        """Describe what was normalised, after `finish`."""
        return Content(
            size=self.size,
            sha256=self._hash.hexdigest(),
            body=BodyType.SEVEN_BIT if self.ascii else BodyType.EIGHT_BIT,
            data=data,
            stored=stored,
            bare_lf=self.bare_lf,
            bare_cr=self.bare_cr,
            long_lines=self.long_lines,
        )

    def _mend(self, block: bytes) -> bytes:
        lf, cr = block.count(b"\n"), block.count(b"\r")
        both = block.count(b"\r\n") if cr else 0
        if cr > both:
            # first, so that CR CR LF becomes a space and a line end
            block = _BARE_CR.sub(b" ", block)
            self.bare_cr += cr - both
        if lf > both:
            if both:
                block = block.replace(b"\r\n", b"\n")
            block = block.replace(b"\n", b"\r\n")
            self.bare_lf += lf - both
        return block

    def _write(self, block: bytes) -> bytes:
        if not block:
            return block
        self.size += len(block)
        refuse_size(self.size, self._max)
        if self.ascii and not block.isascii():
            self.ascii = False
        self._hash.update(block)
        self._measure(block)
        return block

    def _measure(self, block: bytes) -> None:
        """Count lines that are too long, hopping as far as a line may reach to the last line end there."""
        start, end, column = 0, len(block), self._column
        while start < end:
            if column < MAX_LINE:
                newline = block.rfind(b"\n", start, start + MAX_LINE - column)
                if newline < 0:
                    if column + end - start < MAX_LINE:
                        break  # unfinished, and may still be short enough
                    self.long_lines += 1
                    column = MAX_LINE
                    continue
            else:
                newline = block.find(b"\n", start)
                if newline < 0:
                    break
            start, column = newline + 1, 0
        self._column = min(MAX_LINE, column + end - start)


def take_in(blocks: Iterable[bytes], *, store_chunks: StoreChunks, max_size: int = MAX_SIZE) -> Content:
    """Normalise a message and store it if it is large.

    A message of at most `CHUNK_SIZE` bytes comes back whole; the chunks of a larger one have gone through
    `store_chunks`, and are nobody's (swept after a day) until the message that needs them is enqueued.
    Raises DataError for what is refused, and what `blocks` and `store_chunks` raise.
    """
    normaliser = Normaliser(max_size=max_size)
    pieces = _normalised(blocks, normaliser)
    first: list[bytes] = []
    held = 0
    for piece in pieces:
        first.append(piece)
        held += len(piece)
        if held > CHUNK_SIZE:
            stored = store_chunks(_rechunked(chain(first, pieces)))
            return normaliser.content(stored=stored)
    return normaliser.content(data=b"".join(first))


def normalise(data: bytes, *, max_size: int = MAX_SIZE) -> tuple[bytes, Content]:
    """Normalise a message that is in memory; the Content describes it and carries no data."""
    normaliser = Normaliser(max_size=max_size)
    normalised = normaliser.feed(data) + normaliser.finish()
    return normalised, normaliser.content()


def _normalised(blocks: Iterable[bytes], normaliser: Normaliser) -> Iterator[bytes]:
    for block in blocks:
        yield normaliser.feed(block)
    yield normaliser.finish()


def _rechunked(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """Cut into blocks of `CHUNK_SIZE`, the last one shorter."""
    waiting = bytearray()
    for piece in pieces:
        waiting += piece
        start = 0
        while len(waiting) - start >= CHUNK_SIZE:
            yield bytes(waiting[start : start + CHUNK_SIZE])
            start += CHUNK_SIZE
        del waiting[:start]
    if waiting:
        yield bytes(waiting)
