"""Splits an mbox file (mboxo, mboxrd; LF or CRLF) into extents, without reading a message into memory.

A message begins after a From_ line: one that starts with "From ", at the start of the file or after an empty
line. The empty line before it belongs to no message. Bodies exist that have such a line unquoted, so:

- if the first From_ line of a file carries a weekday and a time, as all writers do, a line without them
  separates nothing ("From here on, ...");
- git writes its patches with the fixed date "Mon Sep 17 00:00:00 2001" for programs to know them by; such a
  line separates only in a file that begins with one, otherwise it is a patch that somebody attached.

">From " and ">>From " lose one ">" (mboxrd; in mboxo files a line that really began with ">From " loses
its own). Content-Length (mboxcl) is not heeded.
"""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

FROM_ = b"From "
_WINDOW = 1 << 20  # bytes looked at together
_LONGEST = 1000  # bytes of a From_ line: a longer one is text
_BEHIND = 2  # bytes before the line end in front of a From_ line, which tell whether a line is empty
_DATED = re.compile(rb"\b(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun)\b.*\d:\d\d")
_GIT = b" Mon Sep 17 00:00:00 2001"
_QUOTED = re.compile(rb"^>(>*From )", re.MULTILINE)
_QUOTED_WITHIN = re.compile(rb"(?<=\n)>(>*From )")
_MAY_BE_QUOTED = re.compile(rb">+(?:F(?:r(?:om?)?)?)?")


class Extent(msgspec.Struct, frozen=True, gc=False):
    """Where a message lies in its file: `offset` of its From_ line, `start` and `end` of its bytes."""

    offset: int
    start: int
    end: int
    sender: str | None


class _Line(msgspec.Struct, frozen=True, gc=False):
    """A From_ line; `before` is where the message in front of it ends."""

    before: int
    start: int
    end: int
    text: bytes


def split_mbox(descriptor: int, size: int, *, single: bool = False) -> Iterator[Extent]:
    """Split the first `size` bytes of a file that begins with "From ".

    With `single` it holds one message behind one From_ line. Raises OSError.
    """
    first = _first(os.pread(descriptor, _LONGEST, 0))
    if single:
        yield Extent(0, first.end, max(first.end, size), sender_of(first.text))
        return
    dated = _DATED.search(first.text) is not None
    git = _GIT in first.text
    last = first
    for line in _from_lines(descriptor, size):
        if (dated and not _DATED.search(line.text)) or (_GIT in line.text) != git:
            continue
        yield Extent(last.start, last.end, max(last.end, line.before), sender_of(last.text))
        last = line
    end = size - _empty_line_at_end(os.pread(descriptor, 4, max(last.end, size - 4)))
    yield Extent(last.start, last.end, max(last.end, end), sender_of(last.text))


def sender_of(line: bytes) -> str | None:
    """Return the address of a From_ line; "" for MAILER-DAEMON, which stands for the null sender."""
    words = line[len(FROM_) :].decode("utf-8", "surrogateescape").split()
    if not words:
        return None
    # list archives write "someone at example.com" to hide addresses
    if len(words) > 2 and words[1] == "at" and "@" not in words[0]:
        return f"{words[0]}@{words[2]}"
    if words[0] == "MAILER-DAEMON":
        return ""
    return words[0] if "@" in words[0] else None


def unquote(blocks: Iterable[bytes]) -> Iterator[bytes]:
    """Take one ">" off each quoted From_ line, however the lines are cut into blocks."""
    held = b""
    fresh = True  # the next block begins a line
    for piece in blocks:
        block = held + piece
        newline = block.rfind(b"\n")
        # the beginning of a quoted From_ line waits for the rest of it, within reason
        whole = fresh or newline >= 0
        cut = whole and len(block) - newline <= _LONGEST and _MAY_BE_QUOTED.fullmatch(block, newline + 1)
        held = block[newline + 1 :] if cut else b""
        ready = block[: newline + 1] if cut else block
        if b">From " in ready:
            ready = (_QUOTED if fresh else _QUOTED_WITHIN).sub(rb"\1", ready)
        if ready:
            fresh = ready.endswith(b"\n")
        yield ready
    if held:
        yield held


def _first(window: bytes) -> _Line:
    """The From_ line that the file begins with; without a line end it is all there is."""
    newline = window.find(b"\n")
    end = len(window) if newline < 0 else newline + 1
    return _Line(before=0, start=0, end=end, text=window[:end])


def _from_lines(descriptor: int, size: int) -> Iterator[_Line]:
    """Find the lines that start with "From " after an empty line, behind the first line of the file."""
    for base in range(0, size, _WINDOW):
        behind = min(_BEHIND, base)
        length = min(behind + _WINDOW + _LONGEST, size - base + behind)
        window = os.pread(descriptor, length, base - behind)
        at = window.find(b"\nFrom ", behind)
        while 0 <= at < behind + _WINDOW:
            before = at - 1 if window[at - 1 : at] == b"\r" else at
            end = window.find(b"\n", at + 1, at + 1 + _LONGEST)
            if window[before - 1 : before] == b"\n" and end > 0:
                place = base - behind
                yield _Line(before + place, at + 1 + place, end + 1 + place, window[at + 1 : end])
            at = window.find(b"\nFrom ", at + 1)


def _empty_line_at_end(tail: bytes) -> int:
    """How many bytes the empty line takes that a writer leaves behind the last message."""
    if tail.endswith(b"\n\n"):
        return 1
    return 2 if tail.endswith(b"\n\r\n") else 0
