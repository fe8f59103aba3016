"""Finds the messages in files and folders: single messages, mbox files, Maildirs, trees of them.

- A folder with `cur`, `new` and `tmp` is a Maildir: `cur`, `new` and sub-folders are read; what lies beside
  them (index files, as a rule) is not. Any other folder is walked whole, in the order of its names.
- A file that begins with "From " is an mbox, unless it is called *.eml or lies in a Maildir; any other file
  is one message. See `spooler.intake.mbox` for the rules.
- Nothing is read twice: symbolic links to folders are followed, once each. Hidden files, what lies beside
  the parts of a Maildir, and what is neither file nor folder, is passed over and reported.

Files are streamed. Known limit: the names of one folder are held in memory, to sort them.
"""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING

from spooler.address import show
from spooler.errors import NoInputError
from spooler.intake.mbox import FROM_, Extent, split_mbox, unquote

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

BLOCK = 256 * 1024  # bytes read at once
_MAILDIR = frozenset({"cur", "new", "tmp"})


class FoundMessage:
    """A message that was found. Its file is open only until the next one is asked for.

    `path` is for people; `source` and `offset` say where the message is, the same in every run, even after
    a Maildir's file changed its flags. `sender` is from the mbox From_ line; None without one.
    """

    __slots__ = ("_descriptor", "_extent", "_quoted", "offset", "path", "sender", "source")

    def __init__(
        self,
        *,
        path: str,
        source: str,
        descriptor: int,
        extent: Extent,
        offset: int = 0,
        quoted: bool = False,
    ) -> None:
        self.path = path
        self.source = source
        self.offset = offset
        self.sender = extent.sender
        self._descriptor = descriptor
        self._extent = extent
        self._quoted = quoted

    @property
    def raw_size(self) -> int:
        """How many bytes of its file it takes."""
        return self._extent.end - self._extent.start

    def blocks(self) -> Iterator[bytes]:
        """Read its bytes, from the first; may be called again. Raises NoInputError."""
        blocks = self._read()
        return unquote(blocks) if self._quoted else blocks

    def _read(self) -> Iterator[bytes]:
        position, end = self._extent.start, self._extent.end
        while position < end:
            try:
                block = os.pread(self._descriptor, min(BLOCK, end - position), position)
            except OSError as error:
                raise _unreadable(error) from None
            if not block:
                raise NoInputError("became shorter while it was read", hint="import it again")
            position += len(block)
            yield block


class Passed:
    """Something that holds no message: why, and whether mail may be missing because of it."""

    __slots__ = ("path", "refused", "why")

    def __init__(self, path: str, why: str, *, refused: bool) -> None:
        self.path = path
        self.why = why
        self.refused = refused


Found = FoundMessage | Passed


def check_path(path: Path) -> int:
    """Return the mode of what is there. Raises NoInputError if there is nothing."""
    try:
        return path.stat().st_mode
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else str(error)
        raise NoInputError(f"{show(str(path), 300)} cannot be read: {why}", hint="check the path") from None


def find_messages(path: Path) -> Iterator[Found]:
    """Find the messages under a path, in a stable order. Raises NoInputError if there is no such path."""
    mode = check_path(path)
    real = path.resolve()
    if stat.S_ISDIR(mode):
        yield from _Walk().folder(real)
    elif stat.S_ISREG(mode):
        yield from _file(real)
    else:
        yield Passed(text_of(real), "is neither a file nor a folder", refused=True)


class _Walk:
    """One walk through a tree; remembers the folders it has seen."""

    def __init__(self) -> None:
        self._seen: set[tuple[int, int]] = set()

    def folder(self, path: Path) -> Iterator[Found]:
        try:
            status = path.stat()
            if (status.st_dev, status.st_ino) in self._seen:
                return
            self._seen.add((status.st_dev, status.st_ino))
            children = _names(path)
        except OSError as error:
            yield Passed(text_of(path), _unreadable(error).what, refused=True)
            return
        maildir = _MAILDIR.issubset(children) and all((path / part).is_dir() for part in _MAILDIR)
        for name in children:
            child = path / name
            if not maildir:
                yield from self._child(child)
            elif name in {"cur", "new"}:
                yield from _maildir(path, child)
            elif child.is_dir():
                if name != "tmp":
                    yield from self.folder(child.resolve())
            elif not name.startswith("."):
                yield Passed(text_of(child), "lies beside the parts of a Maildir", refused=False)

    def _child(self, path: Path) -> Iterator[Found]:
        try:
            mode = path.stat().st_mode
        except OSError as error:
            yield Passed(text_of(path), _unreadable(error).what, refused=True)
            return
        if path.name.startswith("."):
            yield Passed(text_of(path), "is hidden", refused=False)
        elif stat.S_ISDIR(mode):
            yield from self.folder(path.resolve())
        elif stat.S_ISREG(mode):
            yield from _file(path)
        else:
            yield Passed(text_of(path), "is neither a file nor a folder", refused=False)


def _maildir(maildir: Path, part: Path) -> Iterator[Found]:
    try:
        names = _names(part)
    except OSError as error:
        yield Passed(text_of(part), _unreadable(error).what, refused=True)
        return
    for name in names:
        if not name.startswith("."):  # such a file is no message, by the rules of Maildir
            # the flags behind the colon, and `new` or `cur`, change when somebody reads the mail
            yield from _file(part / name, source=maildir / name.partition(":")[0])


def _names(folder: Path) -> list[str]:
    with os.scandir(folder) as entries:
        return sorted(entry.name for entry in entries)


def _file(path: Path, *, source: Path | None = None) -> Iterator[Found]:
    """Find the messages of one file; with `source` it lies in a Maildir."""
    shown = text_of(path)
    place = text_of(source or path)
    try:
        # a FIFO that took the file's place must not block us
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY)
    except OSError as error:
        yield Passed(shown, _unreadable(error).what, refused=True)
        return
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            yield Passed(shown, "is neither a file nor a folder", refused=False)
            return
        size = status.st_size
        begins = os.pread(descriptor, len(FROM_), 0)
        if source is None and begins == FROM_:
            single = path.suffix.lower() == ".eml"
            for extent in split_mbox(descriptor, size, single=single):
                yield FoundMessage(
                    path=shown,
                    source=place,
                    descriptor=descriptor,
                    extent=extent,
                    offset=extent.offset,
                    quoted=not single,
                )
        else:
            extent = Extent(offset=0, start=0, end=size, sender=None)
            yield FoundMessage(path=shown, source=place, descriptor=descriptor, extent=extent)
    except OSError as error:
        yield Passed(shown, _unreadable(error).what, refused=True)
    finally:
        os.close(descriptor)


def text_of(path: Path) -> str:
    """Give a path as valid Unicode; what is not UTF-8 in it shows as \\xNN."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")


def _unreadable(error: OSError) -> NoInputError:
    return NoInputError(f"cannot be read: {error.strerror}", hint="check its permissions")
