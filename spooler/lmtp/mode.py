"""How transactions may follow one another on a session."""

from __future__ import annotations

from enum import IntEnum


class Mode(IntEnum):
    """How transactions may follow one another; a lower one is simpler."""

    LOCKSTEP = 0
    """Each command waits for the reply to the one before."""
    PIPELINED = 1
    """MAIL, RCPT and DATA in one write; the next envelope may share one with the body."""
    CHUNKED = 2
    """BDAT: whole transactions back to back."""

    @property
    def word(self) -> str:
        """For logs and the configuration."""
        return self.name.lower()

    @classmethod
    def of(cls, word: str) -> Mode:
        """Return the mode of a word; raises KeyError."""
        return cls[word.upper()]
