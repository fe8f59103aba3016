"""Message and worker ids: 63 bits, ordered by time, made without asking anybody.

Layout, most significant first: 51 bits of microseconds since 2025-01-01 UTC (enough until 2096) and
a tag of 12 bits, random per maker. One maker never repeats itself, not even when its clock steps
back. Two makers meet only with the same tag in the same microsecond; the spool refuses the second
by its primary key, and the second draws again with `redraw`.

People see 13 characters of Crockford's base 32 in lower case, which sort as the ids do.
"""

from __future__ import annotations

import secrets
import threading
import time

EPOCH = 1_735_689_600_000_000  # 2025-01-01T00:00:00Z in µs since 1970
TAG_BITS = 12
_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"
_VALUES = {c: i for i, c in enumerate(_ALPHABET)} | {"o": 0, "i": 1, "l": 1}
_PAIRS = [a + b for a in _ALPHABET for b in _ALPHABET]
_LENGTH = 13


def now_us() -> int:
    """Wall clock, int64 microseconds UTC since 1970: the spool's unit of time."""
    return time.time_ns() // 1000


class IdMaker:
    """Makes ids; safe to share between threads. A `tag` that is given makes them the same in each run."""

    def __init__(self, tag: int | None = None) -> None:
        self._lock = threading.Lock()
        self._last = 0
        self._tag = secrets.randbits(TAG_BITS) if tag is None else tag

    def make(self, now: int) -> int:
        """Make a new id; `now` in µs UTC."""
        with self._lock:
            self._last = max(self._last + 1, now - EPOCH)
            return self._last << TAG_BITS | self._tag

    def redraw(self) -> None:
        """Take another tag, after the spool already had an id that was made here."""
        with self._lock:
            self._tag = (self._tag + 1 + secrets.randbelow((1 << TAG_BITS) - 1)) % (1 << TAG_BITS)


def time_of(ident: int) -> int:
    """When an id was made, µs UTC."""
    return (ident >> TAG_BITS) + EPOCH


def floor_at(when: int) -> int:
    """Return the smallest id that can have been made at `when`, µs UTC."""
    return max(0, when - EPOCH) << TAG_BITS


def format_id(ident: int) -> str:
    """Give the form that people see, 13 characters."""
    pairs = _PAIRS
    return (
        _ALPHABET[ident >> 60]
        + pairs[ident >> 50 & 1023]
        + pairs[ident >> 40 & 1023]
        + pairs[ident >> 30 & 1023]
        + pairs[ident >> 20 & 1023]
        + pairs[ident >> 10 & 1023]
        + pairs[ident & 1023]
    )


def parse_id(text: str) -> int | None:
    """Read the form that people see; None if `text` is not an id. Case does not matter."""
    if len(text) != _LENGTH:
        return None
    ident = 0
    for char in text.lower():
        value = _VALUES.get(char)
        if value is None:
            return None
        ident = ident << 5 | value
    return ident if ident < 1 << 63 else None
