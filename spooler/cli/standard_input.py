"""The message on standard input, or in a file, in blocks."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, BinaryIO

import click

from spooler.address import show
from spooler.errors import NoInputError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

BLOCK = 256 * 1024  # bytes read at once


def standard_input(name: str) -> Iterator[bytes]:
    """Read what is redirected or typed into the command `name`; raises NoInputError."""
    if sys.stdin is None:
        raise NoInputError("there is no standard input", hint="redirect the message into the command")
    if sys.stdin.isatty():
        click.echo(f"{name}: type the message, then Ctrl-D", err=True)
    yield from _blocks(sys.stdin.buffer, "standard input", "redirect a file into the command")


def message_file(path: Path, *, mend: str = "name a file that this user can read") -> Iterator[bytes]:
    """Read a file; raises NoInputError."""
    what = f"message {show(str(path), 300)}"
    try:
        file = path.open("rb")
    except (OSError, ValueError) as error:
        raise _unreadable(what, error, mend) from None
    with file:
        yield from _blocks(file, what, mend)


def _blocks(file: BinaryIO, what: str, mend: str) -> Iterator[bytes]:
    typed = file.isatty()
    while True:
        try:
            block: bytes | None = file.read(BLOCK)
        except OSError as error:
            raise _unreadable(what, error, mend) from None
        if block is None:  # it does not wait, and a message may not be cut short
            raise NoInputError(f"{what} cannot be read: it has nothing to read yet", hint=mend)
        if block:
            yield block
        if not block or (typed and len(block) < BLOCK):  # one Ctrl-D is enough
            return


def _unreadable(what: str, error: Exception, mend: str) -> NoInputError:
    why = (error.strerror if isinstance(error, OSError) else "") or str(error)
    return NoInputError(f"{what} cannot be read: {why.lower()}", hint=mend)
