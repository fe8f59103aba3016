"""What stands in a journal, and how: frames of a length, a checksum and MessagePack.

A segment is a file of frames. Its first frame is the head; each other one holds the notes that were written
together. A frame is written whole or not at all as far as its reader is concerned: the length and the
CRC-32 of what follows come first, and where they do not fit, or the length is 0 (space that was reserved),
the segment ends.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, TypeAlias

import msgspec

from spooler.result import RecipientResult

if TYPE_CHECKING:
    from collections.abc import Iterator

VERSION = 1
PREFIX = 8  # octets in front of a frame's content
LONGEST = 1 << 26  # octets of a frame's content, by far


class Head(msgspec.Struct, frozen=True, array_like=True, tag="head"):
    """Whose segment it is. `boot` names the host's boot: see `spooler.journal.reader`."""

    version: int
    spool: str
    worker: int
    boot: str
    number: int


class Intent(msgspec.Struct, frozen=True, array_like=True, tag="intent", gc=False):
    """End-of-data may be handed over from now on for recipients `n` of a message."""

    message_id: int
    n: Sequence[int]


class Void(msgspec.Struct, frozen=True, array_like=True, tag="void", gc=False):
    """Nothing of it was handed over for these, and they are tried again."""

    message_id: int
    n: Sequence[int]


class Results(msgspec.Struct, frozen=True, array_like=True, tag="results", gc=False):
    """What became of recipients."""

    results: Sequence[RecipientResult]


Note: TypeAlias = Intent | Void | Results

_ENCODER = msgspec.msgpack.Encoder()
_HEAD = msgspec.msgpack.Decoder(Head)
_NOTES = msgspec.msgpack.Decoder(list[Intent | Void | Results])


def frame(content: Head | Sequence[Note]) -> bytes:
    """Make the frame of a head, or of notes."""
    body = _ENCODER.encode(content)
    return b"".join((len(body).to_bytes(4, "big"), zlib.crc32(body).to_bytes(4, "big"), body))


def head_of(segment: bytes) -> Head | None:
    """Read the head; None if it is none that this version knows."""
    for body in _bodies(segment):
        try:
            head = _HEAD.decode(body)
        except msgspec.MsgspecError:
            return None
        return head if head.version == VERSION else None
    return None


def notes_of(segment: bytes) -> tuple[list[Note], bool]:
    """Read the notes behind the head; return them, and whether they end where nothing was written."""
    notes: list[Note] = []
    end = 0
    for number, body in enumerate(_bodies(segment)):
        try:
            notes += _NOTES.decode(body) if number else ()
        except msgspec.MsgspecError:
            return notes, False
        end += PREFIX + len(body)
    return notes, not segment[end:].strip(b"\0")


def _bodies(segment: bytes) -> Iterator[bytes]:
    at = 0
    while at + PREFIX <= len(segment):
        length = int.from_bytes(segment[at : at + 4], "big")
        body = segment[at + PREFIX : at + PREFIX + length]
        if not 0 < length <= LONGEST or len(body) < length:
            return
        if zlib.crc32(body) != int.from_bytes(segment[at + 4 : at + PREFIX], "big"):
            return
        yield body
        at += PREFIX + length
