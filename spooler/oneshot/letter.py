"""The message of a one-shot delivery, read whole before anybody is talked to.

Its size goes into MAIL, and so does whether it is 8-bit. What is larger than a chunk lies in a file without
a name, so memory does not depend on the size.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, BinaryIO

import msgspec
import trio

from spooler.envelope import CHUNK_SIZE, BodyType, Content
from spooler.errors import DataError
from spooler.intake.normalise import MAX_SIZE, take_in
from spooler.intake.supplying import Supplies, complete

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Iterable, Iterator


class Letter(msgspec.Struct, frozen=True, kw_only=True):
    """A content that can be sent any number of times; `file` holds it where it is large."""

    content: Content
    file: BinaryIO | None = None

    @property
    def eight_bit(self) -> bool:
        """Whether it needs 8BITMIME."""
        return self.content.body is BodyType.EIGHT_BIT

    def read(self) -> bytes | AsyncGenerator[bytes, None]:
        """Return it whole if it is small, else in chunks."""
        return self.content.data if self.file is None else _chunks(self.file)


def write_letter(blocks: Iterable[bytes], *, supplies: Supplies | None, max_size: int = MAX_SIZE) -> Letter:
    """Read a message; `supplies` None takes it as it is, and refuses what would have to be changed.

    Raises DataError, and what `blocks` raises.
    """
    file: list[BinaryIO] = []

    def keep(chunks: Iterable[bytes]) -> int:
        import tempfile  # half the programs' start-ups would pay for it in vain

        file.append(tempfile.TemporaryFile())  # noqa: SIM115  # it lives as long as the process
        file[0].writelines(chunks)
        return 0

    if supplies is not None:
        content = take_in(complete(blocks, supplies), store_chunks=keep, max_size=max_size)
    else:
        given = _Counted(blocks)
        content = take_in(given, store_chunks=keep, max_size=max_size)
        if content.bare_lf or content.bare_cr or content.size != given.size:
            raise DataError(
                "the message cannot be sent as it is: it has lines that do not end in CRLF",
                hint="leave --raw out, and they will",
            )
    return Letter(content=content, file=file[0] if file else None)


class _Counted:
    """Blocks, and how many bytes went by."""

    def __init__(self, blocks: Iterable[bytes]) -> None:
        self.size = 0
        self._blocks = blocks

    def __iter__(self) -> Iterator[bytes]:
        for block in self._blocks:
            self.size += len(block)
            yield block


async def _chunks(file: BinaryIO) -> AsyncGenerator[bytes, None]:
    file.seek(0)
    while chunk := file.read(CHUNK_SIZE):
        await trio.lowlevel.checkpoint()
        yield chunk
