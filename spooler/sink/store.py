"""Where the sink's mail goes: nowhere, or a Maildir per recipient; and the record of every final reply.

A copy in a Maildir is durable (file and folder synchronised) before its recipient is answered; it holds the
bytes as they arrived. A record's line is handed to the kernel before its reply is sent, so it survives the
death of the sink, not that of the machine. Contents of more than a megabyte wait in a temporary file, which
is written from the event loop: a big message holds up the others for that long.
"""

from __future__ import annotations

import hashlib
import itertools
import os
import re
import socket
import tempfile
import time
from typing import TYPE_CHECKING, Protocol
from urllib.parse import quote

import msgspec
import trio

from spooler.errors import CannotCreateError, NotPermittedError, SpoolerError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

_IN_MEMORY = 1024 * 1024  # bytes of one content
_HEAD = 64 * 1024  # bytes in which a header is looked for
_COPY = 256 * 1024  # bytes copied at a time
_MAX_NAME = 200  # bytes of a folder's name; file systems allow 255
_TEST_HEADER = re.compile(rb"^X-Spooler-Test:[ \t]*([^\r\n]*)", re.IGNORECASE | re.MULTILINE)


class Letter:
    """A content on its way in: its size, and as much of the rest as somebody wants."""

    def __init__(self, *, keep: bool, digest: bool) -> None:
        self.size = 0
        self._sha256 = hashlib.sha256() if digest else None
        self._head = b""
        self._file = tempfile.SpooledTemporaryFile(max_size=_IN_MEMORY) if keep else None  # noqa: SIM115 - `close`

    def write(self, data: bytes) -> None:
        """Add what arrived."""
        if self._sha256 is not None:
            self._sha256.update(data)
            if self.size < _HEAD:
                self._head += data[: _HEAD - self.size]
        if self._file is not None:
            self._file.write(data)
        self.size += len(data)

    @property
    def sha256(self) -> str:
        """Digest in lower-case hexadecimal, "" if none was asked for."""
        return self._sha256.hexdigest() if self._sha256 is not None else ""

    @property
    def test_header(self) -> str | None:
        """The value of X-Spooler-Test, if the header has one and a digest was asked for."""
        match = _TEST_HEADER.search(self._head.partition(b"\r\n\r\n")[0])
        return match[1].decode(errors="replace").strip() if match else None

    def copy_to(self, target: int) -> None:
        """Write the whole content, which was kept, to a file descriptor."""
        if self._file is None:
            raise ValueError("this content was not kept")
        self._file.seek(0)
        while data := self._file.read(_COPY):
            _write_all(target, data)

    def close(self) -> None:
        """Let go of what was kept."""
        if self._file is not None:
            self._file.close()


class Store(Protocol):
    """Takes delivered mail."""

    @property
    def keeps(self) -> bool:
        """Whether the content is needed, or only its size."""

    async def deliver(self, letter: Letter, sender: str, recipients: Sequence[str]) -> list[bool]:
        """Store a copy for each recipient; whether each one is stored for good."""


class Nowhere:
    """Takes everything and keeps nothing."""

    keeps = False

    async def deliver(self, letter: Letter, sender: str, recipients: Sequence[str]) -> list[bool]:  # noqa: ARG002 - the protocol's
        """See `Store.deliver`."""
        return [True] * len(recipients)


class Maildir:
    """A Maildir per recipient under one folder; raises SpoolerError if that cannot be written."""

    keeps = True

    def __init__(self, root: Path, *, trace_headers: bool = False) -> None:
        self._root = root
        self._trace_headers = trace_headers
        self._count = itertools.count(1)
        self._host = re.sub(r"[^A-Za-z0-9.-]", "_", socket.gethostname())
        self._made: set[Path] = set()
        try:
            root.mkdir(parents=True, exist_ok=True)
            tempfile.TemporaryFile(dir=root).close()
        except OSError as error:
            raise _cannot(f"cannot write Maildirs to {root}", error) from None

    async def deliver(self, letter: Letter, sender: str, recipients: Sequence[str]) -> list[bool]:
        """See `Store.deliver`; in a thread, since it waits for the disk."""

        def store() -> list[bool]:
            return [self._deliver_one(letter, sender, recipient) for recipient in recipients]

        return await trio.to_thread.run_sync(store)

    def _deliver_one(self, letter: Letter, sender: str, recipient: str) -> bool:
        folder = self._root / folder_name(recipient)
        now = time.time_ns() // 1000
        name = f"{now // 1_000_000}.M{now % 1_000_000}P{os.getpid()}Q{next(self._count)}.{self._host}"
        written = folder / "tmp" / name
        try:
            self._make(folder)
            file = os.open(written, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            try:
                if self._trace_headers:
                    _write_all(file, f"Return-Path: <{sender}>\r\nDelivered-To: {recipient}\r\n".encode())
                letter.copy_to(file)
                os.fsync(file)
            finally:
                os.close(file)
            written.rename(folder / "new" / name)
            _sync_folder(folder / "new")
        except OSError:
            written.unlink(missing_ok=True)
            return False
        return True

    def _make(self, folder: Path) -> None:
        if folder in self._made:
            return
        for part in ("tmp", "new", "cur"):
            (folder / part).mkdir(parents=True, exist_ok=True)
        _sync_folder(folder)
        _sync_folder(self._root)
        self._made.add(folder)


class Line(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One final reply in the record; `time` in µs UTC.

    `answered` is false where a copy was delivered and the connection then dropped instead of answering.
    """

    time: int
    connection: int
    transaction: int
    sender: str
    recipient: str
    code: int
    answered: bool
    size: int
    sha256: str
    test: str | None


class Record:
    """A file of JSON lines, appended to; raises SpoolerError if it cannot be opened."""

    def __init__(self, path: Path) -> None:
        try:
            self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
        except OSError as error:
            raise _cannot(f"cannot append to {path}", error) from None
        self._encoder = msgspec.json.Encoder()

    def write(self, lines: Sequence[Line]) -> None:
        """Append lines by one write; raises OSError."""
        _write_all(self._file, self._encoder.encode_lines(lines))

    def close(self) -> None:
        """Close the file."""
        os.close(self._file)


def folder_name(address: str) -> str:
    """Make a name for an address's folder: safe in any file system, and no two addresses share one."""
    name = quote(address, safe="@+=")
    if name.startswith("."):
        name = f"%2E{name[1:]}"
    if len(name) > _MAX_NAME:  # "%-" is no quoted byte, so that no short address has such a name
        name = f"{name[:_MAX_NAME]}%-{hashlib.sha256(address.encode()).hexdigest()[:32]}"
    return name


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _write_all(file: int, data: bytes) -> None:
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(file, rest) :]


def _cannot(what: str, error: OSError) -> SpoolerError:
    why = (os.strerror(error.errno) if error.errno else str(error)).lower()
    kind = NotPermittedError if isinstance(error, PermissionError) else CannotCreateError
    return kind(f"{what}: {why}", hint="give a path that this user can write")
