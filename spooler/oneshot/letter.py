"""The message of a one-shot delivery, read whole before anybody is talked to.

Its size goes into MAIL, and so does whether it is 8-bit. What is larger than a chunk lies in a file without
a name, so memory does not depend on the size.
"""

from __future__ import annotations

from contextlib import ExitStack, contextmanager
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


@contextmanager
def letter_of(
    blocks: Iterable[bytes], *, supplies: Supplies | None, max_size: int = MAX_SIZE
) -> Iterator[Letter]:
    """Read a message, and keep it for the block.

    `supplies` None takes it as it is, and refuses what would have to be changed. Raises DataError, and
    what `blocks` raises.
    """
    with ExitStack() as kept:
        file: BinaryIO | None = None

        def keep(chunks: Iterable[bytes]) -> int:
            import tempfile  # few messages are so large, and every start would pay for it

            nonlocal file
            file = kept.enter_context(tempfile.TemporaryFile())
            file.writelines(chunks)
            return 0

        given = _Counted(blocks)
        completed = given if supplies is None else complete(given, supplies)
        content = take_in(completed, store_chunks=keep, max_size=max_size)
        if supplies is None and (content.bare_lf or content.bare_cr or content.size != given.size):
            raise DataError(
                "the message cannot be sent as it is: it has lines that do not end in CRLF",
                hint="leave --raw out, and they will",
            )
        yield Letter(content=content, file=file)


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
