"""What was said in AUTH, to be hidden where a server repeats it: some quote what they cannot read."""

from __future__ import annotations

import base64
import binascii
import re

MASK = "***"
_LEAST = 4  # characters that are looked for: a piece of a response, for servers cut what they quote
_PIECE = re.compile(rf"[A-Za-z0-9+/=]{{{_LEAST},}}")


class Said:
    """One connection's."""

    def __init__(self) -> None:
        self._encoded: list[str] = []
        self._clear: list[str] = []

    def add(self, response: bytes) -> None:
        """Take note of a response as it is sent: base64."""
        self._encoded.append(response.decode("ascii", "replace"))
        try:
            clear = base64.b64decode(response, validate=True).decode()
        except (binascii.Error, UnicodeDecodeError):
            return
        secret = clear.rpartition("\0")[2]  # of PLAIN (RFC 4616); LOGIN has nothing in front of it
        if len(secret) >= _LEAST:
            self._clear.append(secret)

    def mask(self, text: str) -> str:
        """Return a server's words without it."""
        for clear in self._clear:
            text = text.replace(clear, MASK)
        return _PIECE.sub(self._masked, text) if self._encoded else text

    def _masked(self, match: re.Match[str]) -> str:
        piece = match.group()
        return MASK if any(piece in encoded for encoded in self._encoded) else piece
