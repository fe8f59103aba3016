"""What stands in a journal, and how: frames of a length, a checksum and MessagePack.

A segment is a file of frames. Its first frame is the head; each other one holds the notes that were written
together. A frame is written whole or not at all as far as its reader is concerned: the length and the
CRC-32 of what follows come first, and where they do not fit, or the length is 0 (space that was reserved),
the segment ends. What its writer's death cut off is the end of the last frame, so a frame behind one that
does not fit tells that the file has rotted.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from enum import Enum
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


class Ending(Enum):
    """What is behind the last frame of a segment that can be read."""

    WHOLE = "whole"
    """Nothing."""
    TORN = "torn"
    """A part of one frame: it was not written whole, so nothing that depended on it was done."""
    ROTTEN = "rotten"
    """More than that: notes are lost."""


Note: TypeAlias = Intent | Void | Results

_ENCODER = msgspec.msgpack.Encoder()
_HEAD = msgspec.msgpack.Decoder(Head)
_NOTES = msgspec.msgpack.Decoder(list[Intent | Void | Results])


def frame(content: Head | Sequence[Note]) -> bytes:
    """Make the frame of a head, or of notes."""
    body = _ENCODER.encode(content)
    return b"".join((len(body).to_bytes(4, "big"), zlib.crc32(body).to_bytes(4, "big"), body))


class UnknownVersionError(Exception):
    """It was written by another version of this program."""


def head_of(segment: bytes) -> Head | None:
    """Read the head; None if there is none that is whole. Raises UnknownVersionError."""
    for body in _bodies(segment):
        try:
            head = _HEAD.decode(body)
        except msgspec.MsgspecError:
            raise UnknownVersionError from None
        if head.version != VERSION:
            raise UnknownVersionError
        return head
    return None


def notes_of(segment: bytes) -> tuple[list[Note], Ending]:
    """Read the notes behind the head; return them, and what is behind the last that can be read."""
    notes: list[Note] = []
    end = 0
    for number, body in enumerate(_bodies(segment)):
        try:
            notes += _NOTES.decode(body) if number else ()
        except msgspec.MsgspecError:
            return notes, Ending.ROTTEN  # it was written whole, so it says something
        end += PREFIX + len(body)
    if not segment[end:].strip(b"\0"):
        return notes, Ending.WHOLE
    return notes, Ending.ROTTEN if _any_frame(segment, end + 1) else Ending.TORN


def _bodies(segment: bytes) -> Iterator[bytes]:
    at = 0
    while (body := _body_at(segment, at)) is not None:
        yield body
        at += PREFIX + len(body)


def _body_at(segment: bytes, at: int) -> bytes | None:
    """Return the content of the frame that begins here; None if that is none."""
    length = int.from_bytes(segment[at : at + 4], "big")
    if not 0 < length <= min(LONGEST, len(segment) - at - PREFIX):
        return None
    body = segment[at + PREFIX : at + PREFIX + length]
    return body if zlib.crc32(body) == int.from_bytes(segment[at + 4 : at + PREFIX], "big") else None


def _any_frame(segment: bytes, start: int) -> bool:
    """Whether a frame begins at any octet from `start` on."""
    # no frame is as long as 16 MiB but by a bug: its length begins with a zero
    at = segment.find(b"\0", start)
    last = len(segment.rstrip(b"\0"))
    while 0 <= at < last:
        if _body_at(segment, at) is not None:
            return True
        at = segment.find(b"\0", at + 1)
    return False
